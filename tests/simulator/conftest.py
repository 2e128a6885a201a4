import numpy as np
import pytest

from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.feed import Feed, Requests


@pytest.fixture(scope="session")
def small_feed() -> Feed:
    return Feed.create(WorldConfig(users=40, items=120, seed=3))


@pytest.fixture(scope="session")
def small_requests() -> Requests:
    """Users 0, 1, ..., 39 on devices 0, 1, 2, 0, ..."""
    return Requests(
        users=np.arange(40, dtype=np.int32),
        devices=(np.arange(40) % 3).astype(np.int8),
        timestamps=np.zeros(40, np.int64),
    )
