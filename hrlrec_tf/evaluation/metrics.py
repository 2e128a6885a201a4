"""Click prediction metrics on displayed rows, overall and per slice; scikit-learn where it has them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics

_POSITION_GROUPS = ((1, "1"), (3, "2-3"), (6, "4-6"), (10, "7-10"))  # last position of a group, its name


def position_group(position: int) -> str:
    """The slice of a position, from 1: "1", "2-3", "4-6", "7-10" or ">10"."""
    return next((name for last, name in _POSITION_GROUPS if position <= last), ">10")


def auc(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Area under the ROC curve; NaN where only one class occurs."""
    if len(np.unique(labels)) < 2:
        return float("nan")
    return float(metrics.roc_auc_score(labels, predictions))


def gauc(users: np.ndarray, labels: np.ndarray, predictions: np.ndarray) -> float:
    """AUC per user, averaged with the users' row counts; users with one class only are left out."""
    rows = pd.DataFrame({"user": users, "label": labels, "prediction": predictions})
    total, weight = 0.0, 0
    for _, group in rows.groupby("user", sort=False):
        if group["label"].nunique() == 2:
            total += len(group) * auc(group["label"].to_numpy(), group["prediction"].to_numpy())
            weight += len(group)
    return total / weight if weight else float("nan")


def rela_impr(model_auc: float, base_auc: float) -> float:
    """Relative improvement over a base model in percent (Yan et al. 2014; Sec. 4.4): AUC above chance, compared."""
    return ((model_auc - 0.5) / (base_auc - 0.5) - 1.0) * 100.0


def click_metrics(rows: pd.DataFrame) -> Mapping[str, Any]:
    """All metrics of scored rows.

    Args:
      rows: columns user_id, channel, position, label (0 or 1), prediction; see `scoring.score_sessions`.

    Returns:
      auc, gauc, log_loss, calibration (predicted over actual clicks), click_rate, rows, auc_by_channel,
      auc_by_position.
    """
    labels, predictions = rows["label"].to_numpy(), rows["prediction"].to_numpy()
    clicks = float(labels.sum())
    return {
        "rows": len(rows),
        "click_rate": clicks / max(len(rows), 1),
        "auc": auc(labels, predictions),
        "gauc": gauc(rows["user_id"].to_numpy(), labels, predictions),
        "log_loss": float(metrics.log_loss(labels, predictions, labels=[0, 1])) if len(rows) else float("nan"),
        "calibration": float(predictions.sum()) / clicks if clicks else float("nan"),
        "auc_by_channel": _by_slice(rows, rows["channel"]),
        "auc_by_position": _by_slice(rows, rows["position"].map(position_group)),
    }


def _by_slice(rows: pd.DataFrame, keys: pd.Series) -> dict[str, float]:
    return {
        str(key): auc(group["label"].to_numpy(), group["prediction"].to_numpy()) for key, group in rows.groupby(keys)
    }
