"""Table 4: what HRL-Rec loses without one of its parts (Sec. 4.6)."""

from collections.abc import Sequence

from hrlrec_tf.experiments.cells import Cell
from hrlrec_tf.experiments.exhibit import Exhibit, Published, Row, hrl_rec

ABLATIONS = {
    "no-gru": ("without GRU", ("network.sequence=mean",), Published(0.7879, 24.58)),
    "no-attention": ("without self-attention", ("network.fields=dense",), Published(0.8065, 32.63)),
    "gamma-0": ("without future rewards (γ = 0)", ("losses.gamma=0.0",), Published(0.7967, 28.39)),
    "no-similarity": ("without similarity loss", ("losses.similarity=0",), Published(0.8045, 31.76)),
    "no-ctr": ("without click loss", ("losses.ctr=0", "losses.action_ctr=0"), Published(0.8032, 31.20)),
    # Not in the paper: does reinforcement learning add to the supervised losses?
    "supervised": ("without reinforcement learning", ("losses.channel=0", "losses.item=0"), None),
}


def exhibit(preset: str, settings: Sequence[str] = ()) -> Exhibit:
    """HRL-Rec, the paper's five ablations, a sixth one, and LR as the base of RelaImpr.

    Args:
      preset: of HRL-Rec.
      settings: of every form of HRL-Rec, beside the preset.
    """
    whole = hrl_rec(preset, settings)
    rows = [
        Row(label, hrl_rec(preset, settings, name, change), published)
        for name, (label, change, published) in ABLATIONS.items()
    ]
    return Exhibit(
        "table4",
        "HRL-Rec without one of its parts",
        [Row("HRL-Rec", whole, Published(0.8097, 34.01)), *rows, Row("LR", Cell("lr", "lr"), Published(0.7311, 0.0))],
        base="lr",
        reference=whole.name,
    )
