"""How to evaluate; the one home of its defaults."""

import dataclasses

from hrlrec_tf.errors import ConfigError

REPLICATES = 200  # enough for intervals of one model
COMPARE_METRICS = ("auc", "gauc", "log_loss", "ndcg", "hit_rate")
COMPARE_REPLICATES = 2000  # the smallest p is 1 / 2001
_MOST_REPLICATES = 100_000


@dataclasses.dataclass(frozen=True)
class Options:
    """How to evaluate.

    Attributes:
      replicates: B of the bootstrap over users; 0 leaves intervals and p-values out.
      seed: of the bootstrap.
      ndcg_at: K of NDCG@K per list.
      hit_rate_at: K of hit rate@K per list.
      slices: whether slices are evaluated too.

    Raises:
      ConfigError: a number is out of its range.
    """

    replicates: int = REPLICATES
    seed: int = 0
    ndcg_at: int = 10
    hit_rate_at: int = 1
    slices: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.replicates <= _MOST_REPLICATES:
            raise ConfigError(f"replicates must be from 0 to {_MOST_REPLICATES}: got {self.replicates}")
        if self.seed < 0:
            raise ConfigError(f"the seed must be 0 or more: got {self.seed}")
        if min(self.ndcg_at, self.hit_rate_at) < 1:
            raise ConfigError(
                f"NDCG and hit rate look at 1 or more places of a list: got {self.ndcg_at} and {self.hit_rate_at}"
            )
