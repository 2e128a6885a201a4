"""The ranker against the training-time states, and its exploration against counted lists."""

import collections
import dataclasses

import numpy as np
import oracles
import pytest
import sessions
import tensorflow as tf
import tiny

from hrlrec_tf.agents.builder import build_network
from hrlrec_tf.candidates import Candidates, Request, Seen
from hrlrec_tf.config import preset
from hrlrec_tf.evaluation import off_policy
from hrlrec_tf.features import COUNTS
from hrlrec_tf.networks.session import embed
from hrlrec_tf.ranking import Ranker

T, K = sessions.SPEC.list_length, sessions.SPEC.max_tags
# Of each item: channel, tags. Items, a channel and a tag of no vocabulary are among them; "f" has no tags at all.
ITEMS = {
    "item_id1": ("news", ["tags1", "tags2"]),
    "item_id2": ("news", ["tags2"]),
    "item_id3": ("video", ["tags3", "never seen"]),
    "d": ("radio", ["never seen"]),
    "item_id5": ("article", ["tags1"]),
    "f": ("video", []),
    "item_id7": ("news", ["tags3", "tags1"]),
}
PROFILES = (
    ({"news": (9, 4), "video": (2, 0)}, {"tags1": (7, 3), "tags2": (1, 1)}),
    ({"radio": (3, 1), "article": (1, 1)}, {"never seen": (5, 2), "tags3": (2, 0)}),
    ({}, {}),
)


def session(number: int, names: tuple[str, ...]) -> dict:
    """A session of user `number` that displays these items; its as-of counts by their definition."""
    built = sessions.random_session(np.random.default_rng(100 + number), rows=T, seen=(6, 3, 0)[number % 3])
    channels, tags = PROFILES[number % 3]
    rows = [{"channel": ITEMS[name][0], "tags": ITEMS[name][1]} for name in names]
    counts = oracles.as_of_counts(rows, channels, tags)
    absent = [""] * (T - len(names))
    built["item_id"] = [*names, *absent]
    built["channel"] = [row["channel"] for row in rows] + absent
    built["tags"] = [tag for row in rows for tag in (*row["tags"], "", "")[:K]] + absent * K
    built["item_author"] = [f"item_author{ord(name[-1]) % 12}" for name in names] + absent
    built["item_length_seconds"] = [float(ord(name[-1]) % 30) for name in names] + [0.0] * len(absent)
    for name in COUNTS:
        built[name] = [row[name] for row in counts] + [0] * len(absent)
    built["position"] = [t + 1 if t < len(names) else 0 for t in range(T)]
    built["weight"] = [float(t < len(names)) for t in range(T)]
    for kind, entries in (("channel", channels), ("tag", tags)):
        built[f"profile_{kind}"] = list(entries)
        built[f"profile_{kind}_impressions"] = [shown for shown, _ in entries.values()]
        built[f"profile_{kind}_clicks"] = [clicked for _, clicked in entries.values()]
    return built


def pad(rows: list[list], absent) -> np.ndarray:
    width = max(map(len, rows))
    return np.array([[*row, *[absent] * (width - len(row))] for row in rows], object if absent == "" else None)


def split(reader, built: list[dict]) -> tuple[Request, Candidates]:
    """Requests whose candidates are what the sessions display."""
    batch = tiny.read(reader, *built)
    text = {
        name: tf.constant(pad([s[name] for s in built], ""))
        for name in ("item_id", "channel", "profile_channel", "profile_tag")
    }
    rows = {name: batch.pop(name) for name in reader.spec.item}
    tags = tf.reshape(tf.constant([s["tags"] for s in built]), [len(built), -1, K])
    return (
        Request(batch, text["profile_channel"], text["profile_tag"]),
        Candidates(rows, text["item_id"], text["channel"], tags),
    )


@pytest.fixture(scope="module", params=["paper", "best"])
def network(request, reader):
    tf.keras.utils.set_random_seed(1)
    network = build_network(tiny.config(base=preset(request.param)), reader)
    for variable in network.trainable_variables:
        variable.assign_add(tf.random.normal(variable.shape, stddev=0.3))
    return network


@pytest.fixture
def change(network, monkeypatch):
    """Changes settings of ranking, for one test."""

    def change(**settings) -> None:
        monkeypatch.setattr(network, "config", dataclasses.replace(network.config, **settings))

    return change


@pytest.fixture
def soften(change):
    """Makes the network's channel constraint a soft one for one test."""
    return lambda weight: change(channel_constraint="soft", channel_weight=weight)


LISTS = [
    ("item_id1", "item_id3", "item_id2", "d"),
    ("d", "item_id3", "f", "item_id5"),
    ("item_id7", "item_id1", "f", "item_id2"),
    ("f", "d", "item_id5", "item_id7"),
]


def test_as_of_counts_are_those_of_training(reader):
    built = [session(number, names) for number, names in enumerate(LISTS)]
    request, candidates = split(reader, built)
    seen = Seen.of_request(request)
    for t in range(T):
        found = seen.counts(candidates.channel[:, t], candidates.tags[:, t])
        for name in COUNTS:
            np.testing.assert_array_equal(found[name], [s[name][t] for s in built], f"{name} at {t}")
        seen = seen.add(candidates.channel[:, t], candidates.tags[:, t])


def test_carried_states_are_those_of_training(network, reader):
    """Placing the logged list one by one, no state differs from the one pass of training."""
    built = [session(number, names) for number, names in enumerate(LISTS)]
    embedded = embed(network.embedding, tiny.read(reader, *built))
    request, candidates = split(reader, built)
    ranker = Ranker(network)
    encoded = ranker.encode(ranker.read(request), candidates)
    prefix = ranker.start(encoded)
    for t in range(T):
        for name, level in network.levels.items():
            logged = level.states(embedded, network.embedding)[:, t]
            channel = candidates.rows["channel"][:, t] if name == "item" else None
            carried = ranker.state(level, t, encoded, prefix, channel)
            np.testing.assert_allclose(carried, logged, atol=2e-5, err_msg=f"{name} {t}")
        index = tf.fill([len(LISTS)], t)
        prefix = ranker.advance(t, encoded, prefix, index, encoded.counts(prefix, index))


@pytest.mark.parametrize(
    ("epsilon", "weight", "click_score"), [(0.0, None, "click"), (1.0, None, "q"), (0.5, 0.0, "click")]
)
def test_what_rank_reports_is_what_training_would_score(
    network, reader, epsilon, weight, click_score, soften, monkeypatch
):
    """Greedy lists and random ones, of several users, against the sessions they would be logged as."""
    tf.random.set_seed(5)
    monkeypatch.setattr(network, "click_score", click_score)
    if weight is not None:
        soften(weight)
    built = [session(number, names) for number, names in enumerate(LISTS * 3)]
    request, candidates = split(reader, built)
    ranked = Ranker(network).rank(request, candidates, tf.fill([len(built)], epsilon))
    shown = [tuple(name.decode() for name in names) for names in ranked["item_id"].numpy()]
    assert [sorted(names) for names in shown] == [sorted(names) for names in LISTS * 3]
    scored = network(tiny.read(reader, *(session(number, names) for number, names in enumerate(shown))))
    for name, values in scored.items():
        np.testing.assert_allclose(ranked[name], values, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("click_score", ["click", "q"])
def test_score_is_the_first_positions_click_probability(network, reader, click_score, monkeypatch):
    monkeypatch.setattr(network, "click_score", click_score)
    built = [session(number, names) for number, names in enumerate(LISTS)]
    request, candidates = split(reader, built)
    scores = Ranker(network).score(request, candidates)
    for t in range(T):
        alone = [session(number, (names[t],)) for number, names in enumerate(LISTS)]
        first = network(tiny.read(reader, *alone))["click_probability"][:, 0]
        np.testing.assert_allclose(scores[:, t], first, atol=2e-5)


def test_the_greedy_choice(network, reader):
    """Channel of the candidate nearest to the channel action, then the nearest inside it, by a loop over candidates."""
    built = [session(number, names) for number, names in enumerate(LISTS)]
    request, candidates = split(reader, built)
    ranked = Ranker(network).rank(request, candidates, tf.zeros([len(built)]))
    batch = tiny.read(reader, *built)
    items = network.displayed_actions(embed(network.embedding, batch)).numpy().astype(float)
    for b, s in enumerate(built):
        names, shown, left = s["item_id"], [name.decode() for name in ranked["item_id"][b].numpy()], list(range(T))
        for t in range(T):
            logged = embed(network.embedding, tiny.read(reader, session(b, tuple(shown))))
            actions = {
                name: level.actor(level.states(logged, network.embedding))[0, t].numpy().astype(float)
                for name, level in network.levels.items()
            }
            nearest = max(left, key=lambda i: oracles.cosine(actions["channel"], items[b, i]))
            inside = [i for i in left if s["channel"][i] == s["channel"][nearest]]
            best = max(inside, key=lambda i: oracles.cosine(actions["item"], items[b, i]))
            assert shown[t] == names[best] and ranked["index"][b, t] == best
            assert ranked["channel"][b, t].numpy().decode() == s["channel"][best]
            left.remove(best)
    assert ranked["explored"].numpy().max() == 0
    for name in ("propensity_channel", "propensity_item"):
        np.testing.assert_allclose(ranked[name], 1.0)


def test_the_soft_choice(network, reader, soften):
    """By a loop over candidates, each with the item level's action under its own channel."""
    weight = 0.7
    built = [session(number, names) for number, names in enumerate(LISTS)]
    request, candidates = split(reader, built)
    hard = Ranker(network).rank(request, candidates, tf.zeros([len(built)]))["index"].numpy()
    soften(weight)
    ranked = Ranker(network).rank(request, candidates, tf.zeros([len(built)]))["index"].numpy()
    items = network.displayed_actions(embed(network.embedding, tiny.read(reader, *built))).numpy().astype(float)
    for b, s in enumerate(built):
        names, left = s["item_id"], list(range(T))
        for t in range(T):
            shown = tuple(names[i] for i in ranked[b, :t])
            logged = embed(network.embedding, tiny.read(reader, *(session(b, (*shown, names[i])) for i in left)))
            actions = {
                name: level.actor(level.states(logged, network.embedding))[:, t].numpy().astype(float)
                for name, level in network.levels.items()
            }
            own = [oracles.cosine(action, items[b, i]) for action, i in zip(actions["item"], left)]
            wishes = [oracles.cosine(actions["channel"][0], items[b, i]) for i in left]
            best = oracles.soft_choice(own, wishes, [s["channel"][i] for i in left], [True] * len(left), weight)
            assert ranked[b, t] == left[best]
            left.remove(ranked[b, t])
    assert (ranked != hard).any()


def test_a_heavy_soft_constraint_is_the_hard_one(network, reader, soften):
    request, candidates = split(reader, [session(number, names) for number, names in enumerate(LISTS)])
    hard = Ranker(network).rank(request, candidates, tf.zeros([len(LISTS)]))
    soften(1e6)
    for name, values in Ranker(network).rank(request, candidates, tf.zeros([len(LISTS)])).items():
        np.testing.assert_array_equal(values, hard[name], err_msg=name)


def repeat(values, count: int):
    return tf.nest.map_structure(lambda v: tf.repeat(v, count, axis=0), values)


def check_frequencies(ranker: Ranker, reader) -> None:
    """Compares reported with counted shares of 24 lists of four candidates, one of them drawn in each of 6,000."""
    draws, epsilon = 6000, 0.6
    request, candidates = repeat(split(reader, [session(0, LISTS[0])]), draws)
    ranked = {name: v.numpy() for name, v in ranker.rank(request, candidates, tf.fill([draws], epsilon)).items()}
    assert (np.sort(ranked["index"], axis=1) == np.arange(T)).all()  # nothing twice, nothing lost
    step = ranked["propensity_channel"] * ranked["propensity_item"]
    counted = collections.Counter(map(tuple, ranked["index"]))
    expected = dict(zip(map(tuple, ranked["index"]), step.prod(axis=1)))
    assert len(expected) == 24
    np.testing.assert_allclose(sum(expected.values()), 1.0, rtol=1e-5)
    for shown, probability in expected.items():
        assert abs(counted[shown] / draws - probability) < 5 * (probability * (1 - probability) / draws) ** 0.5, shown
    # Given what stands above, the next item's probabilities sum to 1, and so do its channel's.
    for t in range(T):
        for of, keys in (("index", ranked["index"]), ("channel", ranked["channel"])):
            nexts = collections.defaultdict(dict)
            values = step if of == "index" else ranked["propensity_channel"]
            for row in range(draws):
                nexts[tuple(ranked["index"][row, :t])][keys[row, t]] = values[row, t]
            for prefix, choices in nexts.items():
                np.testing.assert_allclose(sum(choices.values()), 1.0, rtol=1e-5, err_msg=f"{of} after {prefix}")
    np.testing.assert_allclose(ranked["explored"].mean(), epsilon, atol=0.02)


@pytest.mark.parametrize(("constraint", "share"), [("hard", 0.0), ("hard", 0.5), ("soft", 0.5)])
def test_propensities_of_whole_lists_are_their_frequencies(network, reader, constraint, share, change, soften):
    """All paths of exploring without replacement."""
    tf.random.set_seed(8)
    if constraint == "soft":
        soften(0.7)
    change(channel_exploration=share)
    check_frequencies(Ranker(network), reader)


def test_logged_propensities_judge_the_greedy_policy(network, reader, change):
    """What greedy lists earn, from lists that were explored: by importance weights of the whole prefix."""
    tf.random.set_seed(6)
    change(channel_exploration=0.5)
    draws, one = 2000, split(reader, [session(0, LISTS[0])])
    greedy = Ranker(network).rank(*one, tf.zeros([1]))["index"].numpy()[0]
    ranked = Ranker(network).rank(*repeat(one, draws), tf.fill([draws], 0.5))
    index, logging = ranked["index"].numpy(), (ranked["propensity_channel"] * ranked["propensity_item"]).numpy()
    worth = np.array([[1.0, 0.2, 0.6, 0.3]]) / np.arange(1, T + 1)[:, None]  # [position, item]
    lists = off_policy.LoggedLists(
        reward=worth[np.arange(T), index],
        logging=logging,
        target=(index == greedy).astype(float),  # below another prefix it matters no more: its weight is 0
        valid=np.ones(index.shape, bool),
        user=np.arange(draws),
    )
    weights = off_policy.importance_weights(lists, "prefix")
    found = off_policy.estimate(lists, weights, off_policy.ips(lists, weights), 100, 200, 0)
    truth = worth[np.arange(T), greedy].sum()
    assert found.low < truth < found.high and found.high - found.low < 0.2 * truth
    np.testing.assert_allclose(found.mean_weight, 1, atol=0.1)
    shown = lists.reward.sum(axis=1)
    assert abs(shown.mean() - truth) > found.high - found.low  # the log itself says something else


@pytest.mark.parametrize("constraint", ["hard", "soft"])
def test_a_channel_drawn_at_random_shows_the_policys_item(network, reader, constraint, change, soften):
    """The item nearest to the item level's action, given that channel, by a loop over candidates."""
    tf.random.set_seed(10)
    if constraint == "soft":
        soften(0.7)
    change(channel_exploration=1.0)
    built = [session(0, names) for names in LISTS * 5]
    request, candidates = split(reader, built)
    ranked = Ranker(network).rank(request, candidates, tf.ones([len(built)]))
    items = network.displayed_actions(embed(network.embedding, tiny.read(reader, *built))).numpy().astype(float)
    shown = [tuple(name.decode() for name in names) for names in ranked["item_id"].numpy()]
    logged = embed(network.embedding, tiny.read(reader, *(session(0, names) for names in shown)))
    actions = network.item_level.actor(network.item_level.states(logged, network.embedding)).numpy().astype(float)
    for b, s in enumerate(built):
        left = list(range(T))
        for t, index in enumerate(ranked["index"][b].numpy()):
            inside = [i for i in left if s["channel"][i] == s["channel"][index]]
            assert index == max(inside, key=lambda i: oracles.cosine(actions[b, t], items[b, i]))
            channels = {s["channel"][i] for i in left}
            np.testing.assert_allclose(ranked["propensity_channel"][b, t], 1 / len(channels), rtol=1e-5)
            left.remove(index)
    np.testing.assert_allclose(ranked["propensity_item"], 1.0, rtol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_copy_of_a_candidate_changes_no_probability(network, reader, share, change):
    tf.random.set_seed(9)
    change(channel_exploration=share)
    names = ("item_id1", "item_id3", "item_id1", "item_id1")
    draws = 3000
    request, candidates = repeat(split(reader, [session(0, names)]), draws)
    ranked = {name: v.numpy() for name, v in Ranker(network).rank(request, candidates, tf.ones([draws])).items()}
    assert set(map(tuple, ranked["item_id"])) == {
        (b"item_id1", b"item_id3", b"", b""),
        (b"item_id3", b"item_id1", b"", b""),
    }
    np.testing.assert_allclose((ranked["item_id"][:, 0] == b"item_id1").mean(), 0.5, atol=0.05)
    np.testing.assert_allclose(
        ranked["propensity_channel"][:, :2] * ranked["propensity_item"][:, :2], [[0.5, 1]] * draws
    )


def test_candidates_of_no_channel_but_one(network, reader):
    request, candidates = split(reader, [session(0, ("item_id1", "item_id2", "item_id7"))])
    ranked = Ranker(network).rank(request, candidates, tf.zeros([1]))
    assert ranked["channel"].numpy().tolist() == [[b"news"] * 3 + [b""]]
    assert ranked["index"].numpy()[0, 3] == -1
    for name in ("click_probability", "q_channel", "q_item", "propensity_channel", "propensity_item", "explored"):
        assert ranked[name].numpy()[0, 3] == 0


def test_padding_between_candidates_is_never_shown(network, reader):
    built = session(0, LISTS[0])
    built["item_id"][1] = ""
    request, candidates = split(reader, [built])
    ranked = Ranker(network).rank(request, candidates, tf.ones([1]))
    assert sorted(ranked["item_id"].numpy()[0]) == [b"", b"d", b"item_id1", b"item_id2"]
    assert Ranker(network).score(request, candidates).numpy()[0, 1] == 0
