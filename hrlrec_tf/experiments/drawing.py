"""What all charts share: the page's colours, a styled figure, and the figure as SVG to be inlined in a page.

Matplotlib draws with stand-in colours, which become CSS custom properties (`Ink`), so that one picture fits light and
dark pages. Text stays text and takes the page's font. A chart is drawn as wide as a phone and scales from there.
"""

import contextlib
import dataclasses
import enum
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hrlrec_tf.experiments import formatting

HEIGHT = 2.7  # inches, of 72 units
STEPS = (1, 2, 2.5, 5, 10)  # between ticks, times a power of ten

_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
_WIDTH = 4.6
_LEGEND_LETTERS = 42  # in one line of a legend, keys included; more make it two columns
_KEY_LETTERS = 4  # that a line's key is wide
_LABEL = 22  # characters of a bar's label
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


def legend(figure: Figure, series: Sequence[Series]) -> None:
    """Names the series above the axes, where there are several."""
    if len(series) > 1:
        letters = sum(len(short(each.name)) + _KEY_LETTERS for each in series)
        columns = len(series) if letters <= _LEGEND_LETTERS else 2
        figure.legend(loc="outside upper left", ncols=columns, borderaxespad=0.2, handlelength=1.6)


def as_svg(figure: Figure, name: str, alt: str) -> str:
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
    """A label cut to the room there is."""
    words = " ".join(formatting.text(label).split())
    return words if len(words) <= _LABEL else f"{words[: _LABEL - 1]}…"
