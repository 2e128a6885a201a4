"""Click prediction metrics on displayed rows: the definitions, and all of them on rows in memory.

scikit-learn where it has them. `evaluator` computes the same on any number of rows, with intervals.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import metrics

from hrlrec_tf.evaluation import grouped

POSITION_GROUPS = ("1", "2-3", "4-6", "7-10", ">10")
_LAST_POSITIONS = (1, 3, 6, 10)  # of each group but the last
ACTIVITY_GROUPS = ("0", "1-10", "11-40", ">40")
_MOST_IMPRESSIONS = (0, 10, 40)
CALIBRATION_BINS = 15


def position_group(position: int) -> str:
    """The slice of a position, from 1: "1", "2-3", "4-6", "7-10" or ">10"."""
    return POSITION_GROUPS[int(np.searchsorted(_LAST_POSITIONS, position))]


def position_codes(positions: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Places in POSITION_GROUPS of positions [N]."""
    return np.searchsorted(_LAST_POSITIONS, positions)


def activity_codes(impressions: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Places in ACTIVITY_GROUPS of what users had seen before the list: impressions [N]; below 0 is unknown: -1."""
    seen = np.asarray(impressions)
    return np.where(seen < 0, -1, np.searchsorted(_MOST_IMPRESSIONS, seen))


def auc(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Area under the ROC curve; NaN where only one class occurs."""
    if len(np.unique(labels)) < 2:
        return float("nan")
    return float(metrics.roc_auc_score(labels, predictions))


def gauc(users: np.ndarray, labels: np.ndarray, predictions: np.ndarray) -> float:
    """AUC per user, averaged with the users' row counts (Zhu et al. 2017); users with one class only are left out."""
    names, user = np.unique(users, return_inverse=True)
    aucs = grouped.group_aucs(user, np.asarray(labels), np.asarray(predictions), len(names))
    rows = np.bincount(user, minlength=len(names))
    known = np.isfinite(aucs)
    return float(np.average(aucs[known], weights=rows[known])) if known.any() else float("nan")


def row_log_losses(labels: np.ndarray, probabilities: np.ndarray) -> npt.NDArray[np.float64]:
    """Cross-entropy of each row [N]; probabilities 0 and 1 are moved inwards by the spacing of float64, as
    scikit-learn does.
    """
    smallest = np.finfo(np.float64).eps
    inside = np.clip(np.asarray(probabilities, np.float64), smallest, 1 - smallest)
    losses: npt.NDArray[np.float64] = -np.log(np.where(labels, inside, 1 - inside))
    return losses


def equal_mass_bins(counts: np.ndarray, bins: int) -> npt.NDArray[np.int64]:
    """Splits ordered values into bins of about equally many rows; rows of one value stay together.

    Args:
      counts: [K] rows of each value, ascending by value.
      bins: most bins to make.

    Returns:
      [K] bin of each value, ascending: where the value's middle row stands in order, times `bins`.
    """
    middle = np.cumsum(counts, dtype=np.float64) - np.asarray(counts) / 2
    total = float(np.sum(counts))
    return np.minimum(middle * (bins / total), bins - 1).astype(np.int64) if total else np.zeros(len(counts), np.int64)


def calibration_error(rows: np.ndarray, predicted: np.ndarray, clicked: np.ndarray) -> float:
    """Expected calibration error (Naeini et al. 2015): |predicted - clicked| of bins, averaged with their rows.

    Args:
      rows: [bins] rows.
      predicted: [bins] summed predictions.
      clicked: [bins] clicked rows.

    Returns:
      The error, in units of probability; NaN without rows. Even of a perfect model it is above 0 on few rows.
    """
    total = float(np.sum(rows))
    return float(np.abs(np.asarray(predicted) - clicked).sum()) / total if total else float("nan")


def rela_impr(model_auc: float, base_auc: float) -> float:
    """Relative improvement over a base model in percent (Yan et al. 2014; Sec. 4.4): AUC above chance, compared.

    NaN over a base at chance.
    """
    return ((model_auc - 0.5) / (base_auc - 0.5) - 1.0) * 100.0 if base_auc != 0.5 else float("nan")


def click_metrics(rows: pd.DataFrame, probability: bool = True) -> Mapping[str, Any]:
    """Metrics of scored rows in memory, without intervals: what training looks at after each epoch.

    Args:
      rows: columns user_id, channel, position, label (0 or 1), prediction; see `scoring.score_sessions`.
      probability: whether predictions are probabilities; if not (no click loss), log loss and calibration are NaN.

    Returns:
      auc, gauc, log_loss, calibration (predicted over actual clicks), click_rate, rows, auc_by_channel,
      auc_by_position.
    """
    labels, predictions = rows["label"].to_numpy(), rows["prediction"].to_numpy()
    clicks, known = float(labels.sum()), len(rows) > 0 and probability
    positions = pd.Series(np.array(POSITION_GROUPS)[position_codes(rows["position"])], rows.index, dtype=object)
    return {
        "rows": len(rows),
        "click_rate": clicks / max(len(rows), 1),
        "auc": auc(labels, predictions),
        "gauc": gauc(rows["user_id"].to_numpy(), labels, predictions),
        "log_loss": float(row_log_losses(labels, predictions).mean()) if known else float("nan"),
        "calibration": float(predictions.sum()) / clicks if clicks and probability else float("nan"),
        "auc_by_channel": _by_slice(rows, rows["channel"]),
        "auc_by_position": _by_slice(rows, positions),
    }


def _by_slice(rows: pd.DataFrame, keys: pd.Series) -> dict[str, float]:
    return {
        str(key): auc(group["label"].to_numpy(), group["prediction"].to_numpy()) for key, group in rows.groupby(keys)
    }
