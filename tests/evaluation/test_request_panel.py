import collections

import numpy as np
import pytest
import sessions
import tiny

from hrlrec_tf.agents.builder import build_network
from hrlrec_tf.evaluation import request_panel
from hrlrec_tf.evaluation.request_panel import RequestPanel

FILE = "validation/sessions-0.tfrecord.gz"


@pytest.fixture(scope="module")
def network(reader):
    return build_network(tiny.config(), reader)


@pytest.fixture
def make(network, reader, prepared, eager):
    return lambda seed=0, size=6: RequestPanel(network, reader, [str(prepared / FILE)], seed, size)


def test_all_requests_get_the_popular_items(make, prepared, reader):
    panel = make()
    ids, channels = panel._candidates.item_id.numpy(), panel._candidates.channel.numpy()
    assert ids.shape == channels.shape and len(ids) == 6 and (ids == ids[0]).all()
    displayed = collections.Counter()
    for example in request_panel.session_records([str(prepared / FILE)]).batch(64):
        displayed.update(reader.parse(example)["item_id"].values.numpy())
    del displayed[b""]
    # Random sessions share request ids, so a few rows count as repeated.
    assert set(ids[0]) <= set(displayed) and len(set(ids[0])) == ids.shape[1] >= len(displayed) - 2
    # The ids the network sees are those of the strings beside them.
    words = {word: number for number, word in enumerate(reader.vocabulary("item_id"), start=1)}
    known = [words[item.decode()] for item in ids[0]]
    np.testing.assert_array_equal(panel._candidates.rows["item_id"][0], known)


def test_requests_are_sessions_with_their_histories(make, prepared, reader):
    """Ids, history and profile as in the session itself."""
    panel = make(size=20)
    batch = reader.read(next(iter(request_panel.session_records([str(prepared / FILE)], 0).batch(20))))
    for name, values in panel._request.batch.items():
        np.testing.assert_array_equal(values, batch[name], err_msg=name)
    assert panel._request.profile_channel.shape == batch["profile_channel"].shape


def test_lists_are_ranked_by_the_network_as_it_is_now(make, network):
    panel = make()
    before = panel.statistics()
    assert (before.requests, before.users) == (6, len(set(panel._users)))
    assert set(before.channel_shares) <= set(sessions.CHANNELS)
    assert panel.statistics() == before
    start = network.get_weights()
    try:
        for level in network.levels.values():
            level.actor.dense.kernel.assign(np.zeros(level.actor.dense.kernel.shape))
            level.actor.dense.bias.assign(np.ones(level.actor.dense.bias.shape))
        after = panel.statistics()
    finally:
        network.set_weights(start)
    assert (after.distinct_lists, after.between_user_channel_variance) == (1, 0.0)


def test_the_seed_draws(make):
    first, same, other = (make(seed) for seed in (0, 0, 1))
    assert first._users == same._users != other._users
