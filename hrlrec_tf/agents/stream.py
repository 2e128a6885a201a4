"""The sessions of a training run as what the agents learn from, epoch after epoch."""

from collections.abc import Sequence

import tensorflow as tf

from hrlrec_tf.agents.experience import RewardModel
from hrlrec_tf.config import Config
from hrlrec_tf.data.hiding import hide_in_batches
from hrlrec_tf.data.input import SessionDataset, SessionReader, Share


class ExperienceStream:
    """Batches of `ListExperience`.

    Args:
      config: all settings. reader: of the sessions. files: session files.
      sizes: `kept_bytes` of `SessionDataset`.

    Raises:
      DataError: there are no files. ConfigError: rewards name a channel that the sessions do not have.
    """

    def __init__(self, config: Config, reader: SessionReader, files: Sequence[str], **sizes: int) -> None:
        self._config, self._reader = config, reader
        self._sessions = SessionDataset(reader, files, **sizes)
        unknown = reader.spec.id_rule("channel").unknown
        self._rewards = RewardModel(config.rewards, reader.vocabulary("channel"), unknown)

    def count(self) -> int:
        """Number of lists."""
        return self._sessions.count()

    def epoch(
        self, number: int, skip: int = 0, share: Share | None = None, batch_size: int | None = None
    ) -> tf.data.Dataset:
        """One epoch, or one worker's share of it, without its first `skip` batches; see `SessionDataset.batches`.

        Args:
          number: from 0; it decides the order.
          batch_size: lists; by default `training.batch_size`.
        """
        training = self._config.training
        seed = training.seed * 100_003 + number
        sessions = self._sessions.batches(batch_size or training.batch_size, seed, skip, share)
        if training.hidden_ids:
            sessions = hide_in_batches(sessions, self._reader.spec, self._reader.sizes, training.hidden_ids, seed, skip)
        return sessions.map(self._rewards.experience, num_parallel_calls=tf.data.AUTOTUNE)
