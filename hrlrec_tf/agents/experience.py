"""What the agents learn from: whole lists with their rewards."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from hrlrec_tf import propensity, rewards
from hrlrec_tf.config import RewardConfig
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.losses import masked_mean
from hrlrec_tf.networks.embeddings import Batch

# Feedback of the current list and what was made from it: never part of an observation.
FEEDBACK = (
    "clicks",
    "dwell_seconds",
    "weight",
    "new_tags_in_list",
    "new_tags_to_user",
    "propensity_channel",
    "propensity_item",
    "explored",
)


class ListExperience(NamedTuple):
    """One batch of displayed lists.

    A list is one experience: its T positions are the trajectory's steps, so that no transition is lost at its end.
    """

    observation: Batch  # session features without the current list's feedback
    channel_reward: tf.Tensor  # [B, T] float
    item_reward: tf.Tensor  # [B, T] float
    clicks: tf.Tensor  # [B, T] int
    valid: tf.Tensor  # [B, T] float; 0 for padding and rows outside the split
    propensity: tf.Tensor  # [B, T] float; p(d_t | prefix) of what was displayed, 1 where the log has none


def experience_spec(observation_spec: Batch, list_length: int) -> ListExperience:
    """Specs of one list of `list_length` rows, without a batch dimension."""

    def rows(name: str, dtype: tf.DType = tf.float32) -> tf.TensorSpec:
        return tf.TensorSpec([list_length], dtype, name)

    return ListExperience(
        observation=observation_spec,
        channel_reward=rows("channel_reward"),
        item_reward=rows("item_reward"),
        clicks=rows("clicks", tf.int64),
        valid=rows("valid"),
        propensity=rows("propensity"),
    )


def row_weights(experience: ListExperience, cap: float) -> tf.Tensor:
    """What each row counts in losses that are expectations over displayed items: [B, T].

    Args:
      experience: the lists.
      cap: `losses.propensity_cap`; 0: `valid` alone.
    """
    return experience.valid * propensity.capped_weights(experience.propensity, cap) if cap else experience.valid


def weight_metrics(experience: ListExperience, cap: float) -> dict[str, tf.Tensor]:
    """How much of a batch is left by its `row_weights`: name -> scalar; nothing where rows are not weighted."""
    if not cap:
        return {}
    capped = tf.cast(experience.propensity * cap < 1, tf.float32)
    return {
        "effective_sample_size": propensity.effective_sample_size(row_weights(experience, cap)),
        "capped_share": masked_mean(capped, experience.valid),
    }


class RewardModel:
    """Both levels' rewards of logged lists.

    Args:
      config: combination, weights and biases of eq. 7.
      channels: names of the known channels, in the order of their ids from 1.
      unknown: number of ids that other channels share.

    Raises:
      ConfigError: weights are given for a channel the data does not have.
    """

    def __init__(self, config: RewardConfig, channels: Sequence[str], unknown: int = 1) -> None:
        strange = sorted(set(config.channel_weights) - set(channels))
        if strange:
            raise ConfigError(
                f"rewards.channel_weights names {strange[0]!r}, which no training row has; "
                f"channels: {', '.join(channels)}"
            )
        self._config = config
        rows = [
            config.weights,
            *(config.channel_weights.get(name, config.weights) for name in channels),
            *[config.weights] * unknown,
        ]
        self._weights = tf.constant(rows, tf.float32)  # row 0 is padding, the last rows are out of vocabulary

    def experience(self, batch: Batch) -> ListExperience:
        """Splits a session batch into observation and feedback, and computes the rewards."""
        factors = tf.stack(
            [
                tf.cast(batch["clicks"], tf.float32),
                batch["dwell_seconds"] / self._config.dwell_unit_seconds,
                tf.cast(batch["new_tags_in_list"], tf.float32),
                tf.cast(batch["new_tags_to_user"], tf.float32),
            ],
            axis=-1,
        )
        weights = tf.gather(self._weights, batch["channel"])
        return ListExperience(
            observation={name: values for name, values in batch.items() if name not in FEEDBACK},
            channel_reward=rewards.channel_reward(batch["clicks"]),
            item_reward=rewards.item_reward(factors, weights, self._config.biases, self._config.combine),
            clicks=batch["clicks"],
            valid=batch["weight"],
            propensity=batch["propensity_channel"] * batch["propensity_item"],
        )
