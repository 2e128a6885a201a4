import numpy as np
import oracles
import pytest
import tensorflow as tf

from hrlrec_tf.errors import ConfigError
from hrlrec_tf.layers import ChannelConstrainedRetrieval

RNG = np.random.default_rng(8)
B, N, D = 20, 9, 4
CHANNEL_ACTIONS, ITEM_ACTIONS = RNG.normal(size=(2, B, D)).astype(np.float32)
CANDIDATES = RNG.normal(size=(B, N, D)).astype(np.float32)
CHANNELS = RNG.choice(["news", "video", "article"], size=(B, N))
AVAILABLE = RNG.random((B, N)) < 0.5
AVAILABLE[0] = False


def expected(b: int, candidates: np.ndarray, channels: np.ndarray, available: np.ndarray) -> tuple[str, int]:
    """Channel and index for one request, by loops."""
    free = [i for i in range(N) if available[i]]
    if not free:
        return "", -1
    channel = channels[max(free, key=lambda i: oracles.cosine(CHANNEL_ACTIONS[b], candidates[i]))]
    inside = [i for i in free if channels[i] == channel]
    return channel, max(inside, key=lambda i: oracles.cosine(ITEM_ACTIONS[b], candidates[i]))


def pick(*candidates) -> tuple[list[str], list[int]]:
    picked = ChannelConstrainedRetrieval()(CHANNEL_ACTIONS, ITEM_ACTIONS, *candidates)
    assert picked["index"].dtype == tf.int32
    return [channel.decode() for channel in picked["channel"].numpy()], picked["index"].numpy().tolist()


def test_item_is_the_nearest_available_one_inside_the_channel():
    by_hand = [expected(b, CANDIDATES[b], CHANNELS[b], AVAILABLE[b]) for b in range(B)]
    assert list(zip(*pick(CANDIDATES, CHANNELS, tf.constant(AVAILABLE)))) == by_hand
    assert by_hand[0] == ("", -1) and len({channel for channel, _ in by_hand}) == 4
    unconstrained = [
        max((i for i in range(N) if AVAILABLE[b, i]), key=lambda i: oracles.cosine(ITEM_ACTIONS[b], CANDIDATES[b, i]))
        for b in range(1, B)
    ]
    assert unconstrained != [index for _, index in by_hand[1:]]  # the constraint binds


def test_one_set_of_candidates_for_all():
    everything = np.ones(N, bool)
    by_hand = [expected(b, CANDIDATES[0], CHANNELS[0], everything) for b in range(B)]
    assert list(zip(*pick(CANDIDATES[0], CHANNELS[0]))) == by_hand


def test_nothing_is_picked_twice_when_placed_items_are_made_unavailable():
    available, seen = AVAILABLE.copy(), [set() for _ in range(B)]
    for _ in range(N + 1):
        for b, index in enumerate(pick(CANDIDATES, CHANNELS, tf.constant(available))[1]):
            assert index not in seen[b] and (index == -1 or AVAILABLE[b, index])
            if index >= 0:
                seen[b].add(index)
                available[b, index] = False
    assert [len(indices) for indices in seen] == AVAILABLE.sum(1).tolist()


def test_ties_go_to_the_first():
    candidates = np.array([[1, 0, 0, 0], [2, 0, 0, 0], [1, 0, 0, 0]], np.float32)
    action = tf.constant([[1.0, 0.0, 0.0, 0.0]])
    picked = ChannelConstrainedRetrieval()(action, action, candidates, tf.constant([2, 1, 1]))
    assert (picked["channel"].numpy(), picked["index"].numpy()) == (2, 0)


def test_half_precision_embeddings_do_not_tie():
    """Cosines .9999 and .9998 are one bfloat16."""
    candidates = tf.constant([[1, 0.015625], [1, 0.0078125]], tf.bfloat16)
    action = tf.constant([[1.0, 0.0]])
    picked = ChannelConstrainedRetrieval(dtype="mixed_bfloat16")(action, action, candidates, tf.constant([1, 1]))
    assert picked["index"].numpy() == [1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            (CHANNEL_ACTIONS, ITEM_ACTIONS[:, :3], CANDIDATES, CHANNELS),
            "must be equal, got channel_actions 4, item_actions 3, candidates 4; give actions and embeddings one size",
        ),
        ((CHANNEL_ACTIONS, ITEM_ACTIONS, CANDIDATES[0, 0], CHANNELS), r"candidates must be \[N, D\] or \[B, N, D\]"),
        (
            (CHANNEL_ACTIONS, ITEM_ACTIONS, CANDIDATES, CHANNELS, AVAILABLE.astype(np.float32)),
            "available must be bool, got float32; compare it, for instance ids != 0",
        ),
    ],
)
def test_what_is_refused(arguments, sentence):
    with pytest.raises(ConfigError, match=sentence):
        ChannelConstrainedRetrieval()(*(tf.constant(argument) for argument in arguments))
