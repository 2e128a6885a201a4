"""Figure 3: AUC by discount factor and by length of the input sequence (Sec. 4.7).

The paper prints curves without numbers: AUC rises and falls with each, highest at gamma = 0.3 and at 50 rows.
"""

from collections.abc import Sequence
from typing import cast

from hrlrec_tf import models
from hrlrec_tf.config import Config, NetworkConfig
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.experiments.exhibit import Exhibit, Row, hrl_rec
from hrlrec_tf.features import FeatureSpec
from hrlrec_tf.networks.list_network import history_rows

GAMMAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
LENGTHS = (5, 10, 20, 30, 40, 50, 60, 80, 100)
DISCOUNT, LENGTH = "discount factor γ", "rows of the input sequence"


def exhibit(
    preset: str,
    spec: FeatureSpec,
    settings: Sequence[str] = (),
    gammas: Sequence[float] = GAMMAS,
    lengths: Sequence[int] = LENGTHS,
) -> Exhibit:
    """Both panels.

    Args:
      preset: of HRL-Rec.
      spec: of the sessions, which limit the length.
      settings: of every form of HRL-Rec, beside the preset.
      gammas: discount factors. lengths: rows that a state sees, m of eq. 2.

    Raises:
      ConfigError: a discount factor or a length lies outside its range.
    """
    whole, rows, left_out = hrl_rec(preset, settings), [], []
    for gamma in gammas:
        cell = hrl_rec(preset, settings, f"gamma-{gamma:g}", [f"losses.gamma={float(gamma)}"])
        rows.append(Row(f"γ\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{gamma:g}", cell, panel=DISCOUNT, x=gamma))
    own = _own_length(spec, preset, settings)
    for length in lengths:
        change = [f"network.sequence_length={length}"] if length != own else []
        cell = hrl_rec(preset, settings, f"length-{length}", change)
        try:
            history_rows(spec, _network(preset, [*settings, *change]))
        except ConfigError as error:
            left_out.append(f"{length} rows: {error}")
        else:
            rows.append(Row(f"{length}\N{NO-BREAK SPACE}rows", cell, panel=LENGTH, x=length))
    if all(row.cell.name != whole.name for row in rows):
        rows.append(Row("HRL-Rec", whole))
    return Exhibit("fig3", "Discount factor and sequence length", rows, whole.name, whole.name, left_out)


def _network(preset: str, settings: Sequence[str]) -> NetworkConfig:
    return cast(Config, models.settings("hrl-rec", preset).override(settings)).network


def _own_length(spec: FeatureSpec, preset: str, settings: Sequence[str]) -> int:
    """Rows that a state sees without `network.sequence_length`."""
    network = _network(preset, settings)
    return network.sequence_length or spec.history_length + (spec.list_length - 1 if network.window == "fixed" else 0)
