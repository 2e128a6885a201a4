"""Line, bar and scatter charts as SVG to be inlined in a page."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from hrlrec_tf.experiments import formatting
from hrlrec_tf.experiments.drawing import HEIGHT, STEPS, Ink, Reference, Series, as_svg, drawing, legend, short

_ROW = 0.24  # inches per bar
_X_TICKS = 8
_X_GAP = 0.07  # of the axis, between two of these
_X_LABELS = 10
_X_CHARACTERS = 48  # that fit side by side
_DASHES = ("solid", (0, (4, 2)), (0, (1, 1)), (0, (5, 1, 1, 1)))


def line_chart(
    name: str,
    alt: str,
    x: Sequence[float],
    series: Sequence[Series],
    x_label: str,
    reference: Reference | None = None,
    log: bool = False,
    marks: bool = True,
) -> str:
    """Lines over whole numbers such as epochs.

    Args:
      name: of the chart, unique in its page.
      alt: what the chart shows, for those who do not see it.
      x: [N] positions on the horizontal axis.
      series: lines of N values each.
      x_label: what `x` counts.
      reference: a level to compare with.
      log: vertical axis in powers of ten; values from 0 down are left out.
      marks: whether every value has a dot.

    Returns:
      An `svg` element; "" when no series has a finite value.
    """
    if log:
        series = [dataclasses.replace(line, values=[v if v > 0 else math.nan for v in line.values]) for line in series]
    drawable = [line for line in series if line.drawable]
    if not drawable:
        return ""
    with drawing(HEIGHT) as (figure, axes):
        for line in drawable:
            style = _DASHES[line.dash % len(_DASHES)]
            axes.plot(
                x,
                line.values,
                color=line.ink.value[0],
                linestyle=style,
                marker="o" if marks else "",
                label=short(line.name),
            )
        if reference is not None and math.isfinite(reference.value):
            axes.axhline(reference.value, color=Ink.TEXT.value[0], linewidth=0.8, linestyle=(0, (1, 2)))
            axes.annotate(
                reference.name, (1, reference.value), (0, 3), ("axes fraction", "data"), "offset points", ha="right"
            )
        axes.set_xlabel(x_label)
        few = len(x) <= _X_TICKS
        axes.xaxis.set_major_locator(FixedLocator(_apart(x)) if few else MaxNLocator(_X_TICKS, integer=True))
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=STEPS, min_n_ticks=3))
        axes.grid(axis="y")
        axes.margins(x=0.04, y=0.12)
        legend(figure, drawable)
        return as_svg(figure, name, alt)


def _apart(x: Sequence[float]) -> list[float]:
    """Those of some ascending positions whose labels do not touch; the last one is among them."""
    least, shown = _X_GAP * (x[-1] - x[0]), [x[-1]]
    for place in reversed(x):
        if shown[-1] - place > least:
            shown.append(place)
    return shown[::-1]


def bar_chart(
    name: str,
    alt: str,
    labels: Sequence[str],
    series: Sequence[Series],
    digits: int = 3,
    unit: str = "",
    baseline: float = 0.0,
    reference: Reference | None = None,
) -> str:
    """Horizontal bars, one group per label, first label on top, each with its value.

    Args:
      name: of the chart, unique in its page.
      alt: what the chart shows, for those who do not see it.
      labels: [N] what each group is.
      series: bars of N values each.
      digits: decimals of the values.
      unit: what follows a value.
      baseline: where bars start.
      reference: a value to compare with.

    Returns:
      An `svg` element; "" when no series has a finite value.
    """
    drawable = [bars for bars in series if bars.drawable]
    if not drawable:
        return ""
    rows = np.arange(len(labels))
    thickness = 0.72 / len(drawable)
    with drawing(0.75 + len(labels) * (_ROW * len(drawable) + 0.08)) as (figure, axes):
        for i, bars in enumerate(drawable):
            values = np.asarray(bars.values, dtype=float)
            centers = rows + (i - (len(drawable) - 1) / 2) * thickness
            drawn = np.where(np.isfinite(values), values - baseline, 0.0)
            axes.barh(centers, drawn, thickness * 0.9, baseline, color=bars.ink.value[0], label=bars.name)
            for center, value in zip(centers, values, strict=True):
                text = f"{value:.{digits}f}{unit}" if math.isfinite(value) else formatting.DASH
                # In a column of their own, where no line crosses them.
                axes.annotate(text, (1, center), (4, 0), ("axes fraction", "data"), "offset points", va="center")
        if reference is not None and math.isfinite(reference.value):
            axes.axvline(reference.value, color=Ink.TEXT.value[0], linewidth=0.8, linestyle=(0, (1, 2)))
            axes.annotate(
                reference.name, (reference.value, 1), (0, 3), ("data", "axes fraction"), "offset points", ha="center"
            )
        axes.set_yticks(rows, [short(label) for label in labels])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS, min_n_ticks=3))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{unit}"))
        axes.grid(axis="x")
        axes.margins(x=0.04, y=0.03)
        legend(figure, drawable)
        return as_svg(figure, name, alt)


def scatter_chart(
    name: str,
    alt: str,
    x: Sequence[float],
    y: Sequence[float],
    x_label: str,
    best: int,
    curve: Sequence[tuple[float, float]] = (),
    labels: Sequence[str] | None = None,
    log: bool = False,
) -> str:
    """Dots, one of them marked, with a curve through them.

    Args:
      name: of the chart, unique in its page.
      alt: what the chart shows, for those who do not see it.
      x: [N] positions on the horizontal axis.
      y: [N] positions on the vertical axis, finite.
      x_label: what `x` is.
      best: which dot is marked.
      curve: (x, y) from left to right; with `labels`, a dash at each.
      labels: what stands at x = 0, 1, ... instead of a number.
      log: whether the horizontal axis is logarithmic.

    Returns:
      An `svg` element; "" when there are no dots.
    """
    if not len(x):
        return ""
    with drawing(HEIGHT) as (figure, axes):
        axes.plot(x, y, "o", color=Ink.FIRST.value[0], markersize=5, alpha=0.55, markeredgewidth=0)
        if curve:
            places, levels = zip(*curve, strict=True)
            if labels is not None:
                axes.hlines(levels, np.subtract(places, 0.3), np.add(places, 0.3), color=Ink.QUIET.value[0])
            else:
                axes.plot(places, levels, color=Ink.QUIET.value[0])
        axes.plot(x[best], y[best], "o", color=Ink.SECOND.value[0], markersize=8, markeredgewidth=0)
        axes.set_xlabel(x_label)
        if labels is not None:
            shown = range(0, len(labels), math.ceil(len(labels) / _X_LABELS))
            axes.set_xticks(shown, [short(labels[i]) for i in shown])
            if sum(len(labels[i]) for i in shown) > _X_CHARACTERS:
                axes.tick_params(axis="x", labelrotation=20)
            axes.set_xlim(-0.6, len(labels) - 0.4)
        elif log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=STEPS, min_n_ticks=3))
        axes.grid(axis="y")
        axes.margins(x=0.04, y=0.12)
        return as_svg(figure, name, alt)
