import numpy as np
import pytest

from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.requests import Requests


def make_requests(users: int, day: int = 0, hour: float = 12.0) -> Requests:
    """Users 0, 1, 2, ... on devices 0, 1, 2, 0, ... in moods 0, 1, 2, ..."""
    each = np.arange(users, dtype=np.int32)
    times = np.full(users, WorldConfig().start_timestamp + day * 86_400_000 + int(hour * 3_600_000), np.int64)
    return Requests(day, each, np.zeros(users, np.int32), (each % 3).astype(np.int8), each % 10, times)


@pytest.fixture(scope="session")
def small_feed() -> Feed:
    return Feed.create(WorldConfig(users=40, items=120, seed=3))


@pytest.fixture(scope="session")
def small_requests() -> Requests:
    return make_requests(40)
