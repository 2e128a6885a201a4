"""The pictures of training's health: values against returns, dead critics, gradients, and whom the lists differ for."""

from collections.abc import Mapping, Sequence
from typing import Any

from hrlrec_tf.experiments.drawing import Ink, Reference
from hrlrec_tf.experiments.run_charts import LEVELS, Chart, Line, both_levels, curve, of_split

_SHARE = "channel_share/"  # panel metrics of the channel mix
_INKS = (Ink.FIRST, Ink.SECOND, Ink.THIRD, Ink.FOURTH, Ink.FIFTH, Ink.SIXTH)
_VALUES = {
    "overestimation": (
        "Overestimation",
        "Mean Q minus the mean discounted return of the log; far above 0, values feed on themselves.",
    ),
    "q_return_correlation": (
        "Q against return, row by row",
        "Correlation of Q and the discounted return; 0 means that Q knows the mean only.",
    ),
    "dead_share": (
        "Dead critic outputs",
        "Share of rows whose Q is exactly 0, where a ReLU passes no gradient.",
    ),
    "nearest_item_distance": (
        "Distance to the nearest item",
        "1 − cosine of an action and its nearest real item, within the logged channel at the item level.",
    ),
}


def health_charts(records: Sequence[Mapping[str, Any]], prefix: str = "") -> list[Chart]:
    """Values, weights of rows if there are any, gradients and the panel's lists, by epoch.

    Args:
      records: lines of a model folder's `metrics.jsonl`.
      prefix: of the pictures' names, where a page shows several runs.
    """
    return [
        *_value_charts(of_split(records, "train"), prefix),
        *_weight_charts(of_split(records, "train"), prefix),
        *_gradient_charts(of_split(records, "train"), prefix),
        *_panel_charts(of_split(records, "panel"), prefix),
    ]


def _value_charts(train: Sequence[Mapping[str, Any]], prefix: str) -> list[Chart]:
    none = Reference("none", 0.0)
    return [
        curve(
            f"{prefix}{metric}",
            title,
            caption,
            train,
            both_levels(metric),
            none if metric == "overestimation" else None,
        )
        for metric, (title, caption) in _VALUES.items()
    ]


def _weight_charts(train: Sequence[Mapping[str, Any]], prefix: str) -> list[Chart]:
    """Of a run with `losses.propensity_cap`."""
    metric, title = "effective_sample_size", "Effective sample size"
    if not any(metric in record for record in train):
        return []
    caption = (
        "Rows of equal weight that tell as much as a batch weighted by inverse propensity; far below, a few decide."
    )
    lines = _lines({"effective rows": metric, "rows of a batch": "similarity_pool"})
    return [curve(f"{prefix}{metric}", title, caption, train, lines)]


def _gradient_charts(train: Sequence[Mapping[str, Any]], prefix: str) -> list[Chart]:
    caption = "Norm before clipping, of each part's weights, in powers of ten."
    parts = ("encoder", "actor", "critic", "click_head")
    charts = []
    for level, name, _ in LEVELS:
        lines = _lines({part.replace("_", " "): f"{level}_{part}_gradient_norm" for part in parts})
        title = f"Gradients, {name}"
        charts.append(curve(f"{prefix}gradients-{level}", title, caption, train, lines, log=True))
    shared = {"item tower": "items_gradient_norm", "other tables": "tables_gradient_norm", "all": "gradient_norm"}
    title = "Gradients, shared tables"
    return [*charts, curve(f"{prefix}gradients", title, caption, train, _lines(shared), log=True)]


def _panel_charts(panel: Sequence[Mapping[str, Any]], prefix: str) -> list[Chart]:
    requests = f"{panel[-1].get('requests')} requests" if panel else "fixed requests"
    names = {name for record in panel for name in record if name.startswith(_SHARE)}
    channels = sorted(names, key=lambda name: (-sum(record.get(name, 0.0) for record in panel), name))
    # A channel that no list has is not in the record.
    whole = [{**dict.fromkeys(channels, 0.0), **record} for record in panel]
    mix = {name.removeprefix(_SHARE): name for name in channels[: len(_INKS)]}
    cut = f" The {len(_INKS)} largest of {len(channels)}." if len(channels) > len(_INKS) else ""
    figures = {
        "distinct_lists_per_user": (
            "Distinct lists per user",
            f"Of {requests} that get the same candidates; near 0, everybody gets one list.",
        ),
        "between_user_channel_variance": (
            "Between-user channel variance",
            "How much the users' channel mixes differ; at 0, all users see the same mix.",
        ),
    }
    return [
        *(
            curve(f"{prefix}{metric}", title, caption, panel, _lines({title.lower(): metric}))
            for metric, (title, caption) in figures.items()
        ),
        curve(
            f"{prefix}panel-mix",
            "Channel mix while training",
            f"Share of each channel in the panel's lists.{cut}",
            whole,
            _lines(mix),
        ),
    ]


def _lines(metrics: Mapping[str, str]) -> list[Line]:
    """Name -> metric as lines of different colours."""
    return [(name, metric, ink) for (name, metric), ink in zip(metrics.items(), _INKS, strict=False)]
