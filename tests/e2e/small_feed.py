"""Five days of a small feed, with limits that say nothing of how good a tiny model is."""

import pathlib

from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.logs import write_log

WORLD = WorldConfig(users=60, items=120, days=5, requests_per_day=60)

_LIMITS = (
    "data: {hours: 1.0, rows: [0.1, 10.0]}\n"
    "model: {auc_change: -1.0, channel_auc_change: -1.0, rela_impr: -1000, channel_rela_impr: -1000, "
    "mean_share_change: 100, max_share_change: 100}\n"
    "thresholds: {auc: 0.0, calibration: [0.0, 100.0]}\n"
)


def write(folder: pathlib.Path) -> pathlib.Path:
    """Writes `log/` (2024-01-01 to 2024-01-05) and `limits.yaml` into a folder; returns it."""
    write_log(WORLD, folder / "log", progress=False)
    write_limits(folder)
    return folder


def write_limits(folder: pathlib.Path) -> None:
    """Writes `limits.yaml`, which `options` names."""
    (folder / "limits.yaml").write_text(_LIMITS, "utf-8")


def options(folder: pathlib.Path, *settings: str) -> list[str]:
    """Words of a daily run of this feed, whichever way it runs, with settings of its model."""
    words = ["--train-days", "2", "--limits", str(folder / "limits.yaml")]
    return words + [word for setting in settings for word in ("--set", setting)]
