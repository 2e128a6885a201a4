"""Charts of estimates with their intervals, of lines over dates and of a grid, as SVG to be inlined in a page."""

import datetime
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from hrlrec_tf.experiments import formatting
from hrlrec_tf.experiments.drawing import HEIGHT, STEPS, Ink, Reference, Series, as_svg, drawing, legend, short

_ROW = 0.32  # inches per estimate
_LEAST, _MOST = 0.08, 0.85  # how opaque a grid's cells are
_FEW_COLUMNS = 12  # that have room for their values


def interval_chart(
    name: str,
    alt: str,
    labels: Sequence[str],
    values: Sequence[float],
    bounds: Sequence[tuple[float, float]],
    texts: Sequence[str],
    inner: Sequence[tuple[float, float]] = (),
    unit: str = "",
    reference: Reference | None = None,
    log: bool = False,
) -> str:
    """A dot per label with a line from its lower to its upper bound, first label on top.

    Args:
      name: of the chart, unique in its page.
      alt: what the chart shows, for those who do not see it.
      labels: [N] what each estimate is of.
      values: [N], NaN where there is none.
      bounds: [N] lower and upper bound, NaN where there are none.
      texts: [N] what stands beside each.
      inner: [N] a second, thicker line within.
      unit: what follows a number of the axis.
      reference: a value to compare with.
      log: whether the axis is logarithmic.

    Returns:
      An `svg` element; "" when no value is finite.
    """
    if not np.isfinite(np.asarray(values, dtype=float)).any():
        return ""
    with drawing(0.75 + _ROW * len(labels)) as (figure, axes):
        for row, (value, (low, high)) in enumerate(zip(values, bounds, strict=True)):
            axes.plot([low, high], [row, row], color=Ink.FIRST.value[0], linewidth=1.6)
            if inner:
                axes.plot(inner[row], [row, row], color=Ink.FIRST.value[0], linewidth=5, solid_capstyle="butt")
            dot = Ink.SECOND if inner else Ink.FIRST
            axes.plot([value], [row], "o", color=dot.value[0], markersize=6, markeredgewidth=0)
            axes.annotate(texts[row], (1, row), (4, 0), ("axes fraction", "data"), "offset points", va="center")
        if log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(numticks=5))
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            axes.xaxis.set_major_locator(MaxNLocator(4, steps=STEPS, min_n_ticks=3))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{unit}"))
        if reference is not None and math.isfinite(reference.value):
            axes.axvline(reference.value, color=Ink.TEXT.value[0], linewidth=0.8, linestyle=(0, (1, 2)))
            axes.annotate(
                reference.name, (reference.value, 1), (0, 3), ("data", "axes fraction"), "offset points", ha="center"
            )
        axes.set_yticks(range(len(labels)), [short(label) for label in labels])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.grid(axis="x")
        axes.margins(x=0.06)
        return as_svg(figure, name, alt)


def date_chart(name: str, alt: str, days: Sequence[int], series: Sequence[Series], unit: str = "") -> str:
    """Lines over dates.

    Args:
      name: of the chart, unique in its page.
      alt: what the chart shows, for those who do not see it.
      days: [N] days since 1970.
      series: lines of N values each.
      unit: what follows a number of the vertical axis.

    Returns:
      An `svg` element; "" when no series has a finite value.
    """
    drawable = [line for line in series if line.drawable]
    if not drawable:
        return ""
    pattern = "%b %Y" if days[-1] - days[0] > 300 else "%d %b"
    with drawing(HEIGHT) as (figure, axes):
        for line in drawable:
            marker = "o" if len(days) < 20 else ""
            axes.plot(days, line.values, color=line.ink.value[0], marker=marker, label=short(line.name))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda day, _: day_text(round(day), pattern)))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=STEPS, min_n_ticks=3))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}{unit}"))
        axes.grid(axis="y")
        axes.margins(x=0.04)
        axes.set_ylim(0, 1.1 * max(np.nanmax(np.asarray(line.values, dtype=float)) for line in drawable) or 1)
        if len(days) == 1:
            axes.set_xlim(days[0] - 1, days[0] + 1)
        legend(figure, drawable)
        return as_svg(figure, name, alt)


def grid_chart(
    name: str, alt: str, rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]], x_label: str
) -> str:
    """Cells that are the darker the larger their value, each with its value where there is room.

    Args:
      name: of the chart, unique in its page.
      alt: what the chart shows, for those who do not see it.
      rows, columns: labels.
      values: [rows][columns], NaN where there is none.
      x_label: what the columns are.

    Returns:
      An `svg` element; "" when no value is finite.
    """
    table = np.asarray(values, dtype=float).reshape(len(rows), len(columns))
    if not np.isfinite(table).any():
        return ""
    low, high = np.nanmin(table), np.nanmax(table)
    with drawing(0.75 + 0.28 * len(rows)) as (figure, axes):
        for (row, column), value in np.ndenumerate(table):
            if not math.isfinite(value):
                continue
            alpha = _LEAST + (_MOST - _LEAST) * (value - low) / (high - low if high > low else 1)
            axes.add_patch(Rectangle((column, row), 0.96, 0.94, color=Ink.FIRST.value[0], alpha=alpha, linewidth=0))
            if len(columns) <= _FEW_COLUMNS:
                axes.text(column + 0.48, row + 0.48, f"{value:.0f}", ha="center", va="center", fontsize=9)
        axes.set_xlim(0, len(columns))
        axes.set_ylim(len(rows), 0)
        shown = range(0, len(columns), max(math.ceil(len(columns) / _FEW_COLUMNS), 1))
        axes.set_xticks([column + 0.48 for column in shown], [columns[column] for column in shown])
        axes.set_yticks([row + 0.48 for row in range(len(rows))], [short(label) for label in rows])
        axes.tick_params(length=0)
        axes.spines[["bottom"]].set_visible(False)
        axes.set_xlabel(x_label)
        return as_svg(figure, name, alt)


def day_text(day: int, pattern: str = "%Y-%m-%d") -> str:
    """Days since 1970 as a date."""
    try:
        return (datetime.date(1970, 1, 1) + datetime.timedelta(days=day)).strftime(pattern)
    except OverflowError:
        return formatting.DASH
