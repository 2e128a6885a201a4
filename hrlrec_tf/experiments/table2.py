"""Table 2: HRL-Rec against click prediction models on displayed lists (Sec. 4.4)."""

from collections.abc import Sequence

from hrlrec_tf.experiments.cells import Cell
from hrlrec_tf.experiments.exhibit import Exhibit, Published, Row, hrl_rec

_BASELINES = {
    "lr": ("LR", Published(0.7311, 0.0)),
    "fm": ("FM", Published(0.7585, 11.86)),
    "nfm": ("NFM", Published(0.7620, 13.37)),
    "afm": ("AFM", Published(0.7686, 16.23)),
    "wide-deep": ("Wide&Deep", Published(0.7801, 21.20)),
    "deepfm": ("DeepFM", Published(0.7819, 21.98)),
    "autoint": ("AutoInt", Published(0.7837, 22.76)),
}
_OURS = Published(0.8097, 34.01)


def exhibit(preset: str, settings: Sequence[str] = (), history: bool = False) -> Exhibit:
    """The eight rows.

    Args:
      preset: of HRL-Rec.
      settings: of HRL-Rec, beside the preset.
      history: give the baselines pooled as-of history too, which the paper does not say; adds a ninth row, a logistic
        regression on six such features.
    """
    ours = hrl_rec(preset, settings)
    suffix, inputs = ("-history", ("inputs.history=true",)) if history else ("", ())
    rows = [
        Row(f"{label}{suffix}", Cell(f"{model}{suffix}", model, settings=inputs), published)
        for model, (label, published) in _BASELINES.items()
    ]
    if history:
        rows.insert(0, Row("six-feature LR", Cell("history-lr", "history-lr")))
    return Exhibit(
        "table2-history" if history else "table2",
        "Click prediction on displayed lists" + (", baselines with pooled history" if history else ""),
        [*rows, Row("HRL-Rec", ours, _OURS)],
        base=f"lr{suffix}",
        reference=ours.name,
    )
