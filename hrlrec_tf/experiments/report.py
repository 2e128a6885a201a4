"""The report of one run: one self-contained HTML page for desk and phone, light and dark, without scripts.

Everything a page says comes in as plain data, so that any part may be missing (a dash) and none can run code: all text
is escaped, and the page's own policy forbids scripts and network requests.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from hrlrec_tf.evaluation.panel import PanelStatistics
from hrlrec_tf.experiments import evaluation_charts, formatting, health_charts, run_charts
from hrlrec_tf.version import __version__

_SPLITS = ("train", "validation", "eval")
_CHIP_COLORS = 6


@dataclasses.dataclass(frozen=True)
class RunReport:
    """What a run's page shows; whatever is left out shows as missing.

    Attributes:
      title: heading of the page.
      log: `summary.json` of `hrlrec prepare`.
      settings: `Config.to_dict()`.
      training: lines of the model folder's `metrics.jsonl`.
      evaluation: `metrics.click_metrics` of the evaluation rows, or `Evaluation.to_dict()` for intervals and a curve.
      logged_shares: channel -> share of the logged lists' rows.
      panel: the lists that the model ranks for a panel of requests.
      sample: one ranked list, best first; rows with position, item_id, channel, click_probability, q_channel, q_item.
      blessed: whether the model reached its thresholds; None when nothing was checked.
      reasons: why it was not blessed, one sentence each.
      thresholds: metric -> least value, or (least, most).
      places: what -> the folder, file or command where it is.
      commands: what a command does -> the command line to type next.
      versions: package -> version.
    """

    title: str
    log: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    training: Sequence[Mapping[str, Any]] = ()
    evaluation: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    logged_shares: Mapping[str, float] = dataclasses.field(default_factory=dict)
    panel: PanelStatistics | None = None
    sample: Sequence[Mapping[str, Any]] = ()
    blessed: bool | None = None
    reasons: Sequence[str] = ()
    thresholds: Mapping[str, float | Sequence[float]] = dataclasses.field(default_factory=dict)
    places: Mapping[str, str] = dataclasses.field(default_factory=dict)
    commands: Mapping[str, str] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)


def write_report(path: str | os.PathLike[str], run: RunReport) -> pathlib.Path:
    """Writes the page to `path`; returns the path."""
    return write_page(path, render(run))


def write_page(path: str | os.PathLike[str], page: str) -> pathlib.Path:
    """Writes a page to `path`, first under a temporary name, then renamed; returns the path."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path


def render(run: RunReport) -> str:
    """The page as HTML."""
    shares = run.logged_shares
    order = sorted(shares, key=lambda channel: (-shares[channel], channel))
    evaluation = run.evaluation
    overall = evaluation.get("auc")
    quality = [
        run_charts.auc_chart("auc-channel", "AUC by channel", evaluation.get("auc_by_channel", {}), overall, order),
        run_charts.auc_chart("auc-position", "AUC by position", evaluation.get("auc_by_position", {}), overall),
        run_charts.calibration_chart(run.training),
    ]
    if "slices" in evaluation:  # what `hrlrec evaluate` found, with intervals
        quality = [*evaluation_charts.evaluation_charts(evaluation), run_charts.calibration_chart(run.training)]
    return template("report.html.j2").render(
        title=run.title,
        run=run,
        version=__version__,
        quality=quality,
        mix=run_charts.channel_mix_chart(shares, run.panel, order),
        training=run_charts.training_charts(run.training),
        health=health_charts.health_charts(run.training),
        predicted_rate=_product(evaluation.get("click_rate"), evaluation.get("calibration")),
        thresholds=[(name, _threshold(bounds)) for name, bounds in run.thresholds.items()],
        chips=_chips([*order, *(str(row.get("channel")) for row in run.sample)]),
        splits=_splits(run.log),
        rejected=[(reason, formatting.count(rows)) for reason, rows in _most_first(run.log.get("rejected", {}))],
    )


@functools.cache
def template(name: str) -> jinja2.Template:
    """A page to be filled with plain data."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hrlrec_tf", "experiments"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: value if hasattr(value, "__html__") else formatting.text(value),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for each in ("number", "count", "percent", "time", "setting"):
        environment.filters[each] = getattr(formatting, each)
    return environment.get_template(name)


def _product(*factors: Any) -> float | None:
    return functools.reduce(lambda a, b: a * b, factors) if all(map(formatting.finite, factors)) else None


def _threshold(bounds: float | Sequence[float]) -> str:
    if isinstance(bounds, Sequence):
        return f"from {bounds[0]:g} to {bounds[1]:g}"
    return f"at least {bounds:g}"


def _chips(channels: Sequence[str]) -> dict[str, int]:
    """Channel -> number of its colour; those beyond the palette share colour 0."""
    distinct = list(dict.fromkeys(channels))
    return {channel: i + 1 if i < _CHIP_COLORS else 0 for i, channel in enumerate(distinct)}


def _splits(log: Mapping[str, Any]) -> list[tuple[str, Any, Any, Sequence[Any]]]:
    """Per split of the log: name, lists, rows, and rows of each channel in the order of `log["channels"]`."""
    channels = log.get("channels", {})
    return [
        (
            split,
            log.get("requests", {}).get(split),
            log.get("rows", {}).get(split),
            [rows.get(split) for rows in channels.values()],
        )
        for split in _SPLITS
    ]


def _most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda entry: -entry[1])
