"""Line, bar and scatter charts as SVG to be inlined in a page.

Matplotlib draws with stand-in colours, which become CSS custom properties (`Ink`), so that one picture fits light and
dark pages. Text stays text and takes the page's font. A chart is drawn as wide as a phone and scales from there.
"""

import contextlib
import dataclasses
import enum
import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from hrlrec_tf.experiments import formatting

_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
_WIDTH, _HEIGHT = 4.6, 2.7  # inches, of 72 units
_ROW = 0.24  # inches per bar
_X_TICKS = 8
_X_LABELS = 10
_X_CHARACTERS = 48  # that fit side by side
_STEPS = (1, 2, 2.5, 5, 10)  # between ticks, times a power of ten
_LEGEND_LETTERS = 34  # in one line of a legend; more make it two columns
_LABEL = 22  # characters of a bar's label
_DASHES = ("solid", (0, (4, 2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
_REFERENCE = re.compile(r"url\(#([^)]+)\)")

ElementTree.register_namespace("", _SVG)
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")


class Ink(enum.Enum):
    """What a mark is drawn in: the stand-in colour, and the CSS value that replaces it."""

    TEXT = ("#010101", "currentColor")
    FAINT = ("#020202", "var(--grid)")
    FIRST = ("#030303", "var(--first)")
    SECOND = ("#040404", "var(--second)")
    QUIET = ("#050505", "var(--quiet)")
    THIRD = ("#060606", "var(--chip3)")
    FOURTH = ("#070707", "var(--chip4)")
    FIFTH = ("#080808", "var(--chip5)")
    SIXTH = ("#090909", "var(--chip6)")


@dataclasses.dataclass(frozen=True)
class Series:
    """One line, or one set of bars.

    Attributes:
      name: for the legend.
      values: NaN where there is none.
      ink: its colour.
      dash: number of a line's pattern, so that colour is not the only difference.
    """

    name: str
    values: Sequence[float]
    ink: Ink
    dash: int = 0

    @property
    def drawable(self) -> bool:
        """Whether there is anything to draw."""
        return bool(np.isfinite(np.asarray(self.values, dtype=float)).any())


@dataclasses.dataclass(frozen=True)
class Reference:
    """A value to compare with: a thin dashed line with its name."""

    name: str
    value: float


def line_chart(
    name: str,
    alt: str,
    x: Sequence[float],
    series: Sequence[Series],
    x_label: str,
    reference: Reference | None = None,
    log: bool = False,
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

    Returns:
      An `svg` element; "" when no series has a finite value.
    """
    if log:
        series = [dataclasses.replace(line, values=[v if v > 0 else math.nan for v in line.values]) for line in series]
    drawable = [line for line in series if line.drawable]
    if not drawable:
        return ""
    with drawing(_HEIGHT) as (figure, axes):
        for line in drawable:
            style = _DASHES[line.dash % len(_DASHES)]
            axes.plot(x, line.values, color=line.ink.value[0], linestyle=style, marker="o", label=short(line.name))
        if reference is not None and math.isfinite(reference.value):
            axes.axhline(reference.value, color=Ink.TEXT.value[0], linewidth=0.8, linestyle=(0, (1, 2)))
            axes.annotate(
                reference.name, (1, reference.value), (0, 3), ("axes fraction", "data"), "offset points", ha="right"
            )
        axes.set_xlabel(x_label)
        axes.xaxis.set_major_locator(FixedLocator(x) if len(x) <= _X_TICKS else MaxNLocator(_X_TICKS, integer=True))
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=_STEPS, min_n_ticks=3))
        axes.grid(axis="y")
        axes.margins(x=0.04, y=0.12)
        _legend(figure, drawable)
        return to_svg(figure, name, alt)


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
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=_STEPS, min_n_ticks=3))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{unit}"))
        axes.grid(axis="x")
        axes.margins(x=0.04, y=0.03)
        _legend(figure, drawable)
        return to_svg(figure, name, alt)


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
    with drawing(_HEIGHT) as (figure, axes):
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
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=_STEPS, min_n_ticks=3))
        axes.grid(axis="y")
        axes.margins(x=0.04, y=0.12)
        return to_svg(figure, name, alt)


_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hrlrec",
    "text.parse_math": False,
    "font.size": 11,
    "text.color": Ink.TEXT.value[0],
    "xtick.labelcolor": Ink.TEXT.value[0],
    "ytick.labelcolor": Ink.TEXT.value[0],
    "axes.labelcolor": Ink.TEXT.value[0],
    "axes.edgecolor": Ink.FAINT.value[0],
    "xtick.color": Ink.FAINT.value[0],
    "ytick.color": Ink.FAINT.value[0],
    "grid.color": Ink.FAINT.value[0],
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "lines.linewidth": 1.8,
    "lines.markersize": 3.5,
    "legend.frameon": False,
}


@contextlib.contextmanager
def drawing(height: float) -> Iterator[tuple[Figure, Axes]]:
    """A styled figure of one set of axes; it must be written within the context."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # Which glyphs Matplotlib's own font has does not matter: the page's font draws the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.subplots()
        axes.spines[["top", "right", "left"]].set_visible(False)
        yield figure, axes


def _legend(figure: Figure, series: Sequence[Series]) -> None:
    if len(series) > 1:
        letters = sum(len(short(each.name)) for each in series)
        columns = len(series) if letters <= _LEGEND_LETTERS else 2
        figure.legend(loc="outside upper left", ncols=columns, borderaxespad=0.2, handlelength=1.6)


def to_svg(figure: Figure, name: str, alt: str) -> str:
    """The figure as an `svg` element whose ids are unique in a page and whose colours are the page's."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    for element in root.iter():
        _adapt(element, name)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-label", formatting.text(alt))
    return ElementTree.tostring(root, encoding="unicode")


def _adapt(element: ElementTree.Element, name: str) -> None:
    for key, value in element.attrib.items():
        if key == "id":
            element.set(key, f"{name}-{value}")
        elif key == _LINK:
            element.set(key, f"#{name}-{value.removeprefix('#')}")
        else:
            value = _REFERENCE.sub(rf"url(#{name}-\1)", value)
            for ink in Ink:
                value = value.replace(*ink.value)
            element.set(key, value)


def short(label: str) -> str:
    """A label in one line, cut where there is no room for more."""
    words = " ".join(formatting.text(label).split())
    return words if len(words) <= _LABEL else f"{words[: _LABEL - 1]}…"
