"""State encoder of one level (Sec. 3.2, eq. 1 and 2): field interaction, then a GRU over impressed behaviours.

The paper's ablations (Table 4) are switches: dense layers for the self-attention, average pooling for the GRU.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from hrlrec_tf.errors import ConfigError
from hrlrec_tf.networks.checks import check_choice, check_share, check_size
from hrlrec_tf.networks.dropout import Dropout
from hrlrec_tf.networks.gru import GRU
from hrlrec_tf.networks.pooling import MeanPooling

_SEQUENCES: dict[str, type[GRU] | type[MeanPooling]] = {"gru": GRU, "mean": MeanPooling}
_FORMS = ("attention", "dense")
_WINDOWS = ("fixed", "sliding")


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class FieldInteraction(tf.keras.layers.Layer):
    """Transformer over the fields of one behaviour (eq. 1).

    Multi-head self-attention over the n fields, residual, layer normalisation and feed-forward, then concatenation.

    Args:
      heads: attention heads; must divide the field size.
      dropout: rate after attention and feed-forward.
      form: `attention` (the paper's), or `dense`: a fully connected layer over all fields in its place (Table 4).

    Call:
      fields: [..., n, D]. Returns [..., n * D].

    Raises:
      ConfigError: `form` is unknown, n or D is, or `heads` does not divide D.
    """

    def __init__(self, heads: int = 4, dropout: float = 0.0, form: str = "attention", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_choice("FieldInteraction", "form", form, _FORMS)
        check_share("FieldInteraction", "dropout", dropout)
        check_size("FieldInteraction", "heads", heads)
        self.heads, self.dropout_rate, self.form = heads, dropout, form
        self.supports_masking = True

    def build(self, shape: tf.TensorShape) -> None:
        count, dim = shape[-2], shape[-1]
        if count is None or dim is None:
            raise ConfigError(
                f"FieldInteraction: fields must be [..., n, D] with n and D known, got {shape}; give the input a shape"
            )
        if dim % self.heads:
            raise ConfigError(
                f"FieldInteraction: heads must divide the field size, got {self.heads} and {dim}; choose for "
                "instance 4 and 32"
            )
        dtype = self.dtype_policy
        if self.form == "attention":
            self.queries_keys_values = tf.keras.layers.Dense(3 * dim, dtype=dtype, name="queries_keys_values")
            self.output_projection = tf.keras.layers.Dense(dim, dtype=dtype, name="output_projection")
        else:
            self.all_fields = tf.keras.layers.Dense(count * dim, activation="relu", dtype=dtype, name="all_fields")
        self.feed_forward = tf.keras.Sequential(
            [
                tf.keras.layers.Dense(2 * dim, activation="relu", dtype=dtype),
                tf.keras.layers.Dense(dim, dtype=dtype),
            ],
            name="feed_forward",
        )
        # Statistics of 32 numbers need float32, whatever the rest computes in.
        self.attention_norm = tf.keras.layers.LayerNormalization(name="attention_norm", dtype="float32")
        self.output_norm = tf.keras.layers.LayerNormalization(name="output_norm", dtype="float32")
        self.dropout = Dropout(self.dropout_rate, dtype=dtype)
        super().build(shape)

    def call(self, fields: tf.Tensor, training: bool = False) -> tf.Tensor:
        shape = tf.shape(fields)
        count, dim = fields.shape[-2], fields.shape[-1]
        # One row per field: layers run faster on matrices than on tensors of higher rank.
        rows = tf.reshape(fields, [-1, dim])
        mixed = self._attention(rows, count) if self.form == "attention" else self._dense(rows, count)
        rows = self.attention_norm(rows + self.dropout(mixed, training=training))
        rows = tf.cast(rows, self.compute_dtype)
        rows = self.output_norm(rows + self.dropout(self.feed_forward(rows), training=training))
        merged = tf.reshape(rows, tf.concat([shape[:-2], [count * dim]], axis=0))
        merged = tf.ensure_shape(merged, [*fields.shape[:-2], count * dim])
        return tf.cast(merged, self.compute_dtype)

    def _attention(self, rows: tf.Tensor, count: int) -> tf.Tensor:
        """Scaled dot-product attention among the `count` fields of each behaviour: [R * n, D] -> [R * n, D]."""
        dim = rows.shape[-1]
        size = dim // self.heads
        split = tf.reshape(self.queries_keys_values(rows), [-1, count, 3, self.heads, size])
        queries, keys, values = tf.unstack(tf.transpose(split, [2, 0, 3, 1, 4]))
        scores = tf.cast(tf.matmul(queries, keys, transpose_b=True), tf.float32)
        attended = tf.matmul(tf.cast(_softmax(scores, size**-0.5), values.dtype), values)
        return self.output_projection(tf.reshape(tf.transpose(attended, [0, 2, 1, 3]), [-1, dim]))

    def _dense(self, rows: tf.Tensor, count: int) -> tf.Tensor:
        """What stands in for attention: [R * n, D] -> [R * n, D]."""
        dim = rows.shape[-1]
        return tf.reshape(self.all_fields(tf.reshape(rows, [-1, count * dim])), [-1, dim])

    def get_config(self) -> dict:
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout_rate, "form": self.form}


def _softmax(scores: tf.Tensor, scale: float) -> tf.Tensor:
    """Softmax of `scale * scores` over the last axis.

    Over rows as short as these, sums by a product with ones take half the time of TensorFlow's own operation.
    """

    @tf.custom_gradient
    def softmax(scores: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        powers = tf.exp((scores - tf.reduce_max(scores, axis=-1, keepdims=True)) * scale)
        weights = powers / _sums(powers)
        return weights, lambda slopes: (slopes - _sums(slopes * weights)) * (weights * scale)

    return softmax(scores)


def _sums(values: tf.Tensor) -> tf.Tensor:
    """Sums over the last axis, in the place of each of its elements."""
    size = values.shape[-1]
    rows = tf.matmul(tf.reshape(values, [-1, size]), tf.ones([size, size], values.dtype))
    return tf.reshape(rows, tf.shape(values))


class Carry(NamedTuple):
    """What a serving step hands to the next; see `StateEncoder.start`."""

    memory: tf.Tensor  # [B, M] of the sequence layer; with a sliding window the initial state
    rows: tf.Tensor  # [B, m, n * D] the window; m = 0 where it is fixed
    mask: tf.Tensor  # [B, m] bool


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class StateEncoder(tf.keras.layers.Layer):
    """Sequence encoder over behaviours whose initial state is the projected user profile (eq. 2).

    With a fixed window one pass over history and placed rows yields the states of all positions: s_t is the hidden
    state after the history and the t - 1 rows placed before t. With a sliding window (the letter of eq. 2) s_t sees the
    last S - T + 1 rows before t, whether history or placed, in a pass of its own. Masked rows leave the state as it is,
    so an empty history gives s_1 = the projected profile.

    Args:
      units: size of the state.
      heads: attention heads of the field interaction.
      dropout: rate inside the field interaction.
      sequence: `gru` (the paper's) or `mean`, average pooling (Table 4).
      fields: `attention` (the paper's) or `dense` (Table 4).
      window: `fixed` or `sliding`.

    Call:
      fields: [B, S, n, D] behaviours, oldest first; S may be unknown. profile: [B, P]; None starts at zero.
      mask: [B, S], bool or 0 and 1, False for padding; None takes the mask that Keras carries, or all rows.
      states: how many of the last states to return, T <= S + 1.
      Returns [B, T, units]: the states before the last T - 1 rows and after each of them.

    Raises:
      ConfigError: a switch or a size is wrong, or `fields` has not rank 4.
    """

    def __init__(
        self,
        units: int = 128,
        heads: int = 4,
        dropout: float = 0.0,
        sequence: str = "gru",
        fields: str = "attention",
        window: str = "fixed",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_size("StateEncoder", "units", units)
        check_choice("StateEncoder", "sequence", sequence, _SEQUENCES)
        check_choice("StateEncoder", "fields", fields, _FORMS)
        check_choice("StateEncoder", "window", window, _WINDOWS)
        self.units, self.heads, self.dropout_rate = units, heads, dropout
        self.sequence_form, self.fields_form, self.window = sequence, fields, window
        self.interaction = FieldInteraction(heads, dropout, fields, dtype=self.dtype_policy, name="interaction")
        self.initial = tf.keras.layers.Dense(units, activation="tanh", dtype=self.dtype_policy, name="initial")
        self.sequence = _SEQUENCES[sequence](units, name=sequence)

    def call(
        self,
        fields: tf.Tensor,
        profile: tf.Tensor | None = None,
        mask: tf.Tensor | None = None,
        states: int = 1,
        training: bool = False,
    ) -> tf.Tensor:
        if fields.shape[1] is not None and not 1 <= states <= fields.shape[1] + 1:
            raise ConfigError(
                f"StateEncoder: states must lie between 1 and rows + 1, got {states} for {fields.shape[1]} rows; ask "
                "for fewer, or give more rows"
            )
        rows, mask, initial = self._prepare(fields, profile, mask, training)
        if self.window == "fixed":
            found = tf.transpose(self._all_states(rows, mask, initial)[-states:], [1, 0, 2])
        else:
            windows = tf.stack([_cut(rows, t, states) for t in range(states)], axis=1)
            masks = tf.stack([_cut(mask, t, states) for t in range(states)], axis=1)
            length = tf.shape(windows)[2]
            last = self._all_states(
                tf.reshape(windows, [-1, length, rows.shape[-1]]),
                tf.reshape(masks, [-1, length]),
                tf.repeat(initial, states, axis=0),
            )[-1]
            found = tf.reshape(last, [-1, states, self.units])
        return tf.cast(found, self.compute_dtype)

    def start(self, rows: tf.Tensor, profile: tf.Tensor, mask: tf.Tensor) -> Carry:
        """Encodes a history for `read` and `advance`: interacted rows [B, H, n * D], profile [B, P], mask [B, H]."""
        initial = tf.cast(self.initial(profile), tf.float32)
        if self.window == "sliding":
            return Carry(initial, rows, mask)
        memory = self.sequence.memory(tf.transpose(rows, [1, 0, 2]), initial, tf.transpose(mask))
        return Carry(memory, rows[:, :0], mask[:, :0])

    def read(self, carry: Carry) -> tf.Tensor:
        """The state that a carry stands for: [B, units]."""
        if self.window == "sliding":
            return self._all_states(carry.rows, carry.mask, carry.memory)[-1]
        return self.sequence.read(carry.memory)

    def advance(self, carry: Carry, row: tf.Tensor) -> Carry:
        """One more placed row, interacted [B, n * D]: one step of the sequence layer."""
        if self.window == "sliding":
            rows = tf.concat([carry.rows[:, 1:], row[:, tf.newaxis]], axis=1)
            mask = tf.concat([carry.mask[:, 1:], tf.ones_like(carry.mask[:, :1])], axis=1)
            return Carry(carry.memory, rows, mask)
        return carry._replace(memory=self.sequence.step(row, carry.memory))

    def _prepare(
        self, fields: tf.Tensor, profile: tf.Tensor | None, mask: tf.Tensor | None, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Interacted rows [B, S, n * D], mask [B, S] and initial state [B, units]."""
        if fields.shape.rank != 4:
            raise ConfigError(
                f"StateEncoder: fields must be [batch, rows, fields, size], got rank {fields.shape.rank}; add the axis "
                "it lacks"
            )
        rows = self.interaction(fields, training=training)
        mask = tf.fill(tf.shape(fields)[:2], True) if mask is None else tf.cast(mask, tf.bool)
        if profile is None:
            return rows, mask, tf.zeros([tf.shape(fields)[0], self.units])
        return rows, mask, tf.cast(self.initial(profile), tf.float32)

    def _all_states(self, rows: tf.Tensor, mask: tf.Tensor, initial: tf.Tensor) -> tf.Tensor:
        """States before, between and after all rows, time first: [S + 1, B, units] float32."""
        return self.sequence(tf.transpose(rows, [1, 0, 2]), initial, tf.transpose(mask))

    def compute_mask(self, inputs: tf.Tensor, mask: tf.Tensor | None = None) -> None:
        """States are never padding."""

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.units,
            "heads": self.heads,
            "dropout": self.dropout_rate,
            "sequence": self.sequence_form,
            "fields": self.fields_form,
            "window": self.window,
        }


def _cut(values: tf.Tensor, t: int, states: int) -> tf.Tensor:
    """The S - T + 1 entries that the state of place t, from 0, sees."""
    return values[:, t : tf.shape(values)[1] - (states - 1 - t)]
