"""Chart of estimates with their intervals along a number, as SVG to be inlined in a page."""

import math
from collections.abc import Sequence

from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from hrlrec_tf.experiments.drawing import HEIGHT, STEPS, Ink, as_svg, drawing

_X_TICKS = 12


def point_chart(
    name: str,
    alt: str,
    x: Sequence[float],
    values: Sequence[float],
    bounds: Sequence[tuple[float, float]],
    x_label: str,
    marked: float | None = None,
) -> str:
    """Dots, each with a line from its lower to its upper bound, joined from left to right.

    Args:
      name: of the chart, unique in its page.
      alt: what the chart shows, for those who do not see it.
      x: [N] ascending.
      values: [N], NaN where there is none.
      bounds: [N] lower and upper bound, NaN where there are none.
      x_label: what `x` is.
      marked: x of the dot that stands out.

    Returns:
      An `svg` element; "" when no value is finite.
    """
    known = [each for each in zip(x, values, bounds, strict=True) if math.isfinite(each[1])]
    if not known:
        return ""
    with drawing(HEIGHT) as (figure, axes):
        axes.plot([at for at, *_ in known], [value for _, value, _ in known], color=Ink.QUIET.value[0], linewidth=1.2)
        for at, value, (low, high) in known:
            ink = (Ink.SECOND if at == marked else Ink.FIRST).value[0]
            axes.plot([at, at], [low, high], color=ink, linewidth=1.6)
            axes.plot([at], [value], "o", color=ink, markersize=6, markeredgewidth=0)
        places = FixedLocator([at for at, *_ in known]) if len(known) <= _X_TICKS else MaxNLocator(_X_TICKS)
        axes.xaxis.set_major_locator(places)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=STEPS, min_n_ticks=3))
        axes.set_xlabel(x_label)
        axes.grid(axis="y")
        axes.margins(x=0.04, y=0.12)
        return as_svg(figure, name, alt)
