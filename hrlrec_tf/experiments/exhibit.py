"""What an exhibit of the paper consists of: rows that are trained, and the figures that the paper prints for them."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

from hrlrec_tf import models
from hrlrec_tf.experiments.cells import Cell


class Published(NamedTuple):
    """What the paper measured on its own data (IRec-4B), to compare shapes with, not values."""

    auc: float
    rela_impr: float  # percent, over LR


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table or one point of a figure.

    Attributes:
      label: as the paper calls it.
      cell: what is trained for it.
      published: the paper's figures; None where it prints none.
      panel: of a figure: the panel's axis, e.g. "discount factor".
      x: of a figure: where on that axis.
    """

    label: str
    cell: Cell
    published: Published | None = None
    panel: str = ""
    x: float = math.nan


@dataclasses.dataclass(frozen=True)
class Exhibit:
    """A table or figure of the paper.

    Attributes:
      name: `table2`, `table4` or `fig3`.
      title: what it shows.
      rows: in the paper's order.
      base: cell that RelaImpr is over.
      reference: cell that is tested against every other one.
      left_out: what the paper has and these sessions cannot show, one sentence each.
    """

    name: str
    title: str
    rows: Sequence[Row]
    base: str
    reference: str
    left_out: Sequence[str] = ()

    @property
    def cells(self) -> list[Cell]:
        """Every cell once: two panels of a figure share one."""
        return list({row.cell.name: row.cell for row in self.rows}.values())


def hrl_rec(preset: str, settings: Sequence[str] = (), name: str = "", change: Sequence[str] = ()) -> Cell:
    """A cell of HRL-Rec, the preset's own where `change` changes nothing.

    Args:
      preset: `paper` or `best`.
      settings: of all cells of the exhibit.
      name: what `change` is called in the cell's name.
      change: settings of this cell alone.
    """
    whole = models.settings("hrl-rec", preset).override(settings)
    changed = whole.override(change) != whole
    suffix, extra = (f"-{name}", tuple(change)) if changed else ("", ())
    return Cell(f"hrl-rec-{preset}{suffix}", "hrl-rec", preset, (*settings, *extra))
