"""Measured values with their intervals, as SVG: one row per name, or along a number."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from hrlrec_tf.experiments.charts import HEIGHT, STEPS, Ink, drawing, short, to_svg

_ROW = 0.3  # inches per row
_X_TICKS = 12


@dataclasses.dataclass(frozen=True)
class Interval:
    """A value and its bounds; NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def reach(self) -> tuple[float, float]:
        """Distances from the value to both bounds; 0 without bounds."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return 0.0, 0.0
        return max(self.value - self.low, 0.0), max(self.high - self.value, 0.0)


def row_chart(
    name: str, alt: str, labels: Sequence[str], values: Sequence[Interval], marked: int | None = None, digits: int = 4
) -> str:
    """A dot with its interval per label, first label on top.

    Args:
      name: of the chart, unique in its page.
      alt: what the chart shows, for those who do not see it.
      labels: [N]. values: [N].
      marked: row that stands out.
      digits: decimals of the values.

    Returns:
      An `svg` element; "" when no value is finite.
    """
    places = [i for i, each in enumerate(values) if math.isfinite(each.value)]
    if not places:
        return ""
    with drawing(0.7 + len(labels) * _ROW) as (figure, axes):
        for i in places:
            ink = Ink.SECOND if i == marked else Ink.FIRST
            reach = np.array(values[i].reach)[:, np.newaxis]
            axes.errorbar([values[i].value], [i], xerr=reach, fmt="o", color=ink.value[0], markersize=5, capsize=3)
            # In a column of their own, where no line crosses them.
            text = f"{values[i].value:.{digits}f}"
            axes.annotate(text, (1, i), (4, 0), ("axes fraction", "data"), "offset points", va="center")
        axes.set_yticks(range(len(labels)), [short(label) for label in labels])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS, min_n_ticks=3))
        axes.grid(axis="x")
        axes.margins(x=0.06)
        return to_svg(figure, name, alt)


def point_chart(
    name: str, alt: str, x: Sequence[float], values: Sequence[Interval], x_label: str, marked: float | None = None
) -> str:
    """Dots with their intervals along a number, joined by a line.

    Args:
      name: of the chart, unique in its page.
      alt: what the chart shows, for those who do not see it.
      x: [N] ascending. values: [N].
      x_label: what `x` is.
      marked: x of the point that stands out.

    Returns:
      An `svg` element; "" when no value is finite.
    """
    known = [(at, each) for at, each in zip(x, values, strict=True) if math.isfinite(each.value)]
    if not known:
        return ""
    with drawing(HEIGHT) as (figure, axes):
        axes.plot([at for at, _ in known], [each.value for _, each in known], color=Ink.QUIET.value[0])
        for at, each in known:
            _dot(axes, at, each, Ink.SECOND if at == marked else Ink.FIRST)
        axes.set_xlabel(x_label)
        ticks = FixedLocator([at for at, _ in known]) if len(known) <= _X_TICKS else MaxNLocator(_X_TICKS)
        axes.xaxis.set_major_locator(ticks)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=STEPS, min_n_ticks=3))
        axes.grid(axis="y")
        axes.margins(x=0.04, y=0.12)
        return to_svg(figure, name, alt)


def _dot(axes: Axes, at: float, value: Interval, ink: Ink) -> None:
    reach = np.array(value.reach)[:, np.newaxis]
    axes.errorbar([at], [value.value], yerr=reach, fmt="o", color=ink.value[0], markersize=5, capsize=3)
