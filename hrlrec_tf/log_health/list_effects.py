"""Does what stands above change the click below? A test on whole lists, without knowing the policy that made them.

Two logistic models of the click of a row that has rows above it, on users that neither has seen: `base` knows the row,
its user before the list and, in lists that were asked for as a whole, the other rows and how high they stand; `above`
also knows which of them stand above. A policy fills a list with what the user likes and puts the best first, and it may
know the user better than `base` does: what the list holds and how its channels, tags and appeal spread from top to
bottom tells this taste, so both models have it. What is left is whether the same row stood just above or just below.
Controls:

* `shuffled`: as `above`, in a random order of the list. What it gains is no effect of order;
* `next_same_channel`: the row below, beside `above`; a click cannot owe to it, unless the user reads ahead;
* `feedback`: what clicks above add. A model may not use them within the list; they tell the mood of the moment.

The p-value is that of a Wald test of all coefficients of `above`, robust to dependence within users. Lists that a
list rule made of single impressions are no lists to a user: what came next may be the system's answer to the click, so
the other rows are not used there, and an effect of order may be the system's doing.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hrlrec_tf.log_health import logistic
from hrlrec_tf.log_health.list_features import Design, design
from hrlrec_tf.log_health.reading import Array, Lists

MOST_ROWS = 150_000  # that the test reads
ALPHA = 0.01
MATERIAL_AUC = 0.002  # a smaller gain would drown in the noise between seeds of a trained model

_LEAST_USERS, _LEAST_ROWS, _LEAST_CLASS = 40, 500, 100
_DRAWS = 2_000
EFFECTS = {
    "previous_same_channel": "the row right above has the same channel",
    "same_channel_above": "each row above of the same channel",
    "tags_above": "each tag shared with a row above",
}
CONTROL = "next_same_channel"


def test(lists: Sequence[Lists], seed: int = 0) -> dict[str, Any]:
    """Tests whether order inside lists matters.

    Args:
      lists: whole lists, all of each user.
      seed: of folds, shuffles and draws.

    Returns:
      `verdict`: yes, none, unclear (a random order tells as much), few (too few lists to tell) or impossible (no list
      has two rows, or one class only), `reason` where it was not tested, `rows`, `users`, `lists`, `rule_share` (of
      lists made by a list rule), and, where it was tested, `auc` of the models, `gains`, `odds_ratios`, `p_value` and
      `p_value_shuffled`.
    """
    long = [each.take((each.item >= 0).sum(axis=1) >= 2) for each in lists]
    if not sum(len(each.user) for each in long):
        return _untested("impossible", "no list has two rows", 0, 0, 0, 0.0)
    lines = design(long, seed)
    size = (len(lines.user), len(np.unique(lines.user)), sum(len(each.user) for each in long))
    clicks = int(lines.clicked.sum())
    if clicks in (0, size[0]):
        what = "clicked" if clicks else "passed over"
        return _untested("impossible", f"all rows were {what}", *size, lines.rule_share)
    if size[0] < _LEAST_ROWS or size[1] < _LEAST_USERS or min(clicks, size[0] - clicks) < _LEAST_CLASS:
        least = f"{_LEAST_ROWS} rows with a row above, {_LEAST_USERS} users and {_LEAST_CLASS} rows of each class"
        found = f"{size[0]} rows, {size[1]} users, {min(clicks, size[0] - clicks)} rows of the rarer class"
        return _untested("few", f"the test needs {least}; the log has {found}", *size, lines.rule_share)
    measured = _measure(lines, seed)
    return measured | {
        "verdict": _verdict(measured), "reason": "",
        "rows": size[0], "users": size[1], "lists": size[2], "rule_share": lines.rule_share,
    }  # fmt: skip


def _measure(lines: Design, seed: int) -> dict[str, Any]:
    base = lines.matrix("base", "rest")
    known = {
        name: np.column_stack([base, lines.matrix(*groups)])
        for name, groups in (("above", ["above"]), ("shuffled", ["shuffled"]), ("feedback", ["above", "feedback"]))
    }
    predicted = {
        name: logistic.predictions(columns, lines.clicked, lines.fold)
        for name, columns in {"base": base, **known}.items()
    }
    draws = logistic.UserBootstrap(lines.user, lines.clicked, _DRAWS, seed)
    compared = {
        "above": ("base", "above"),
        "shuffled": ("base", "shuffled"),
        "order": ("shuffled", "above"),
        "feedback": ("above", "feedback"),
    }
    return {
        "auc": {name: draws.auc(each) for name, each in predicted.items()},
        "gains": {
            name: {
                "auc": draws.auc_gain(predicted[before], predicted[after]),
                "log_loss": draws.log_loss_gain(predicted[before], predicted[after]),
            }
            for name, (before, after) in compared.items()
        },
        "p_value": _joint(base, known["above"], lines),
        "p_value_shuffled": _joint(base, known["shuffled"], lines),
        "odds_ratios": {
            **{name: _odds(lines.groups["above"][name], base, lines) for name in EFFECTS},
            CONTROL: _odds(lines.groups["below"][CONTROL], known["above"], lines),
        },
    }


def _joint(base: Array, columns: Array, lines: Design) -> float:
    if columns.shape[1] == base.shape[1]:
        return math.nan
    return logistic.fit(columns, lines.clicked, lines.user).wald(slice(base.shape[1], None))


def _odds(column: Array, others: Array, lines: Design) -> dict[str, float]:
    return logistic.odds_ratio(column.astype(np.float64), others, lines.clicked, lines.user)


def _verdict(measured: dict[str, Any]) -> str:
    """Yes, where coefficients and new users agree and a random order does not explain it; none, where no gain matters.

    Neither alone is enough: coefficients also tell what is left of a policy's taste, see `docs/log-health.md`.
    """
    gains = measured["gains"]
    if measured["p_value"] < ALPHA and gains["above"]["log_loss"]["p_value"] < ALPHA:
        by_order = not measured["p_value_shuffled"] < ALPHA or gains["order"]["log_loss"]["p_value"] < ALPHA
        return "yes" if by_order else "unclear"
    return "none" if gains["above"]["auc"]["high"] < MATERIAL_AUC else "few"


def _untested(verdict: str, reason: str, rows: int, users: int, lists: int, rule_share: float) -> dict[str, Any]:
    return {
        "verdict": verdict, "reason": reason,
        "rows": rows, "users": users, "lists": lists, "rule_share": rule_share,
    }  # fmt: skip
