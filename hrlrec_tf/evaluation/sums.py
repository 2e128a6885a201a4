"""Per-user sums of scored rows, from which every metric but AUC and calibration error is a ratio.

A bootstrap over users then only adds these sums up with weights, whatever the number of rows.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hrlrec_tf.evaluation import grouped, metrics
from hrlrec_tf.evaluation.options import Options

NAMES = ("rows", "clicks", "predicted", "log_loss", "gauc", "gauc_rows", "ndcg", "hits", "lists")
RATIOS = {  # metric -> the sum above and the sum below
    "click_rate": ("clicks", "rows"),
    "gauc": ("gauc", "gauc_rows"),
    "log_loss": ("log_loss", "rows"),
    "calibration": ("predicted", "clicks"),
    "ndcg": ("ndcg", "lists"),
    "hit_rate": ("hits", "lists"),
}

Floats = npt.NDArray[np.float64]


class Rows(NamedTuple):
    """Rows of one part, one model and one slice.

    Attributes:
      users: U, users of the part.
      lists: lists of the part.
      user: [N] from 0 to `users` - 1.
      list: [N] from 0 to `lists` - 1.
      label: [N] clicked.
      prediction: [N].
    """

    users: int
    lists: int
    user: npt.NDArray[np.int64]
    list: npt.NDArray[np.int64]
    label: npt.NDArray[np.bool_]
    prediction: Floats


def user_sums(rows: Rows, options: Options) -> Floats:
    """Sums of NAMES by user: [users, len(NAMES)].

    `gauc` is a user's AUC times rows, where it exists; a list counts in `lists` where it has a click and a second row
    among `rows`, and gives `ndcg` and `hits`.
    """
    user, users = rows.user, rows.users
    count = np.bincount(user, minlength=users)
    aucs = grouped.group_aucs(user, rows.label, rows.prediction, users)
    gains = grouped.list_gains(rows.list, rows.label, rows.prediction, rows.lists, options.ndcg_at, options.hit_rate_at)
    owner = np.zeros(rows.lists, np.int64)
    owner[rows.list] = user
    valid = np.isfinite(gains.ndcg)
    columns = {
        "rows": count,
        "clicks": np.bincount(user, rows.label, users),
        "predicted": np.bincount(user, rows.prediction, users),
        "log_loss": np.bincount(user, metrics.row_log_losses(rows.label, rows.prediction), users),
        "gauc": np.where(np.isfinite(aucs), np.nan_to_num(aucs) * count, 0.0),
        "gauc_rows": np.where(np.isfinite(aucs), count, 0),
        "ndcg": np.bincount(owner[valid], gains.ndcg[valid], users),
        "hits": np.bincount(owner[valid], gains.hit_rate[valid], users),
        "lists": np.bincount(owner[valid], minlength=users),
    }
    return np.stack([columns[name] for name in NAMES], axis=1).astype(np.float64)


def ratios(sums: Floats) -> dict[str, Floats]:
    """The metrics of RATIOS, from sums [..., len(NAMES)]: [...] each; NaN where there is nothing below."""
    of = {name: sums[..., place] for place, name in enumerate(NAMES)}
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            metric: np.where(of[below] > 0, of[above] / of[below], np.nan) for metric, (above, below) in RATIOS.items()
        }
