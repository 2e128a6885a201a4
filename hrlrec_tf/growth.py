"""Weights of a model that goes on under other vocabularies: every row follows its value.

What has one row per id: the embedding tables, and in each level's cumulative path the blocks of its kernel that see one
number per channel. A value that the other model knew takes its rows along, those of the targets and of Adam's moments
included. A new value starts where the other model had it, on the row of unknown values that its hash names, so that
growth itself changes no prediction; its moments start at 0, and so do its rows in the cumulative path, for the counts
of a channel never seen mean nothing yet.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hrlrec_tf.data.input import SessionReader
from hrlrec_tf.features import IdRule
from hrlrec_tf.networks.level import StateLevel
from hrlrec_tf.networks.list_network import ListNetwork

_MOMENTS = 2  # that Adam keeps of each weight


class Rows(NamedTuple):
    """Where the rows of one vocabulary's ids come from.

    Attributes:
      source: int64 [ids], row of the other model.
      new: bool [ids], True where that is the row of unknown values and the value has a row of its own now.
      left_out: values with a row of their own in the other model that have none now.
    """

    source: npt.NDArray[np.int64]
    new: npt.NDArray[np.bool_]
    left_out: int

    @property
    def unchanged(self) -> bool:
        """Whether every row stays where it is."""
        return not (self.left_out or self.new.any() or (self.source != np.arange(len(self.source))).any())

    def counts(self, unknown: int) -> dict[str, int]:
        """Values with a row of their own, beside "" and the `unknown` last ids."""
        own = self.new[1 : len(self.new) - unknown]
        return {"kept": int((~own).sum()), "added": int(own.sum()), "left_out": self.left_out}


class Growth:
    """How the ids of one model follow from those of another.

    Args:
      old: reader of the other model's sessions. new: of this one's; features and rules of ids are the same.
      min_item_impressions: `network.min_item_impressions` of both.
    """

    def __init__(self, old: SessionReader, new: SessionReader, min_item_impressions: int) -> None:
        self._spec = new.spec
        old_sizes, new_sizes = (reader.sizes_for(min_item_impressions) for reader in (old, new))
        self.rows = {
            name: _rows(
                new.spec.id_rule(name), old.vocabulary(name), new.vocabulary(name), old_sizes[name], new_sizes[name]
            )
            for name in new.sizes
        }

    @property
    def needed(self) -> bool:
        """Whether any row moves."""
        return not all(rows.unchanged for rows in self.rows.values())

    def counts(self, network: ListNetwork) -> dict[str, dict[str, int]]:
        """Of the vocabularies that a network embeds: values `kept`, `added` and `left_out`."""
        tables = network.embedding.vocabulary_tables
        return {name: self.rows[name].counts(self._spec.id_rule(name).unknown) for name in tables}

    def carry_over(self, old: Any, new: Any) -> None:
        """Takes an agent's networks, targets, optimizer, noise and step over into another of the same settings.

        Args: agents as `agents.builder.build_agent` makes them; the first is left as it is.
        """
        for theirs, ours in ((old.model, new.model), (old.target, new.target)):
            moves = self._moves(theirs, ours)
            for before, after in zip(theirs.variables, ours.variables, strict=True):
                _carry(before, after, moves.get(after.ref()), moment=False)
        moves, trained = self._moves(old.model, new.model), new.model.trainable_variables
        leading = len(new.optimizer.variables) - _MOMENTS * len(trained)  # scalars: its step and its learning rate
        for place, (before, after) in enumerate(zip(old.optimizer.variables, new.optimizer.variables, strict=True)):
            move = moves.get(trained[(place - leading) // _MOMENTS].ref()) if place >= leading else None
            _carry(before, after, move, moment=True)
        for name, generator in new.generators.items():
            generator.reset(old.generators[name].state)
        new.train_step_counter.assign(old.train_step_counter)

    def _moves(self, old: ListNetwork, new: ListNetwork) -> dict[Any, "_Move"]:
        """Of the weights with rows by vocabulary, by reference."""
        moves = {}
        for name, table in new.embedding.vocabulary_tables.items():
            rows = self.rows[name]
            moves[table.ref()] = _Move(rows.source, np.zeros_like(rows.new), rows.new)
        for level, ours in new.levels.items():
            kernel = ours.cumulative.dense.kernel
            moves[kernel.ref()] = _kernel_move(self.rows["channel"], old.levels[level], old, ours, new)
        return moves


class _Move(NamedTuple):
    """How the rows of a weight move."""

    source: npt.NDArray[np.int64]  # [rows] of the other model's weight
    new: npt.NDArray[np.bool_]  # [rows] that start at 0
    new_moments: npt.NDArray[np.bool_]  # [rows] whose moments start at 0


def _kernel_move(rows: Rows, old_level: StateLevel, old: ListNetwork, level: StateLevel, new: ListNetwork) -> _Move:
    """Of a cumulative path's kernel: blocks of channels follow their channels, all else stays in order."""
    before = old_level.cumulative.channel_rows(old.embedding.channels, old_level.constrained)
    after = level.cumulative.channel_rows(new.embedding.channels, level.constrained)
    sizes = [each.cumulative.dense.kernel.shape[0] for each in (old_level, level)]
    source, fresh = np.zeros(sizes[1], np.int64), np.zeros(sizes[1], bool)
    source[after] = before[:, rows.source]
    fresh[after[:, rows.new]] = True
    others = [np.setdiff1d(np.arange(size), block) for size, block in zip(sizes, (before, after), strict=True)]
    source[others[1]] = others[0]
    return _Move(source, fresh, fresh)


def _carry(before: tf.Variable, after: tf.Variable, move: _Move | None, moment: bool) -> None:
    values = before.numpy()
    if move is not None:
        values = values[move.source]
        values[move.new_moments if moment else move.new] = 0
    after.assign(values)


def _rows(rule: IdRule, old: list[str], new: list[str], old_size: int, new_size: int) -> Rows:
    """Rows of one vocabulary; values beyond a size have no row of their own, they share that of unknown ones."""
    old_own, new_own = (size - 1 - rule.unknown for size in (old_size, new_size))
    known = {value: place + 1 for place, value in enumerate(old[:old_own])}
    values = new[:new_own]
    unknown = tf.strings.to_hash_bucket_fast(values, rule.unknown).numpy() if values else []
    own = [known.get(value, old_own + 1 + int(bucket)) for value, bucket in zip(values, unknown, strict=True)]
    source = np.concatenate([[0], own, old_own + 1 + np.arange(rule.unknown)]).astype(np.int64)
    new_rows = np.zeros(new_size, bool)
    new_rows[1 : new_own + 1] = [value not in known for value in values]
    return Rows(source, new_rows, old_own - int((~new_rows[1 : new_own + 1]).sum()))
