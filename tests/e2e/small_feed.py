"""Five days of a small feed, with limits that say nothing of how good a tiny model is."""

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

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


def assert_equal_cards(found: dict, wanted: dict, within: float = 1e-3) -> None:
    """Compares what two model cards hold, numbers with a tolerance."""
    here, there = dict(_leaves(found)), dict(_leaves(wanted))
    numbers = {place: value for place, value in there.items() if isinstance(value, (int, float))}
    assert {place: here.pop(place, None) for place in numbers} == pytest.approx(numbers, abs=within, nan_ok=True)
    assert here == {place: value for place, value in there.items() if place not in numbers}


def _leaves(value: Any, place: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """(place, value) of what a card holds."""
    if isinstance(value, (dict, list)):
        for name, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(each, (*place, name))
    else:
        yield place, value
