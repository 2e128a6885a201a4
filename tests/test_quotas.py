"""Lists under channel quotas, against a search over all lists."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tiny
from test_ranking import session, split

from hrlrec_tf.agents.builder import build_network
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.quotas import Quotas, read_text, write_text
from hrlrec_tf.ranking import Ranker

T, CHANNELS = 4, ("news", "video", "ad")


def decode(quotas: Quotas, channels: list[str], scores: np.ndarray, rows: int) -> list[int]:
    """The best candidate that is allowed, position by position."""
    available = tf.constant([[name != "" for name in channels]])
    allowed = quotas.rule(tf.constant([channels]), available)
    found = []
    for t in range(min(rows, int(tf.reduce_sum(tf.cast(available, tf.int32))))):
        mask = allowed(available, rows - t).numpy()[0]
        found.append(int(np.argmax(np.where(mask, scores, -np.inf))))
        available = available & (tf.range(len(channels)) != found[-1])
    return found


def keeps(quotas: Quotas, channels: list[str], shown: tuple[int, ...]) -> bool:
    counts = {name: sum(channels[i] == name for i in shown) for name in quotas.bounds}
    return all(least <= counts[name] <= most for name, (least, most) in quotas.bounds.items())


@pytest.mark.parametrize("seed", range(60))
def test_feasible_quotas_are_always_kept(seed):
    rng = np.random.default_rng(seed)
    bounds = {}
    for name in rng.permutation(CHANNELS)[: rng.integers(1, 4)]:
        least = int(rng.integers(0, 3))
        bounds[str(name)] = (least, int(rng.integers(max(least, 1), T + 1)))
    channels = [str(name) for name in rng.choice([*CHANNELS, "other", ""], 7, p=[0.25, 0.25, 0.2, 0.2, 0.1])]
    present = [i for i, name in enumerate(channels) if name]
    rows = min(T, len(present))
    quotas = Quotas(bounds)
    shown = decode(quotas, channels, rng.normal(size=len(channels)), T)
    assert len(shown) == len(set(shown)) == rows and set(shown) <= set(present)  # the list is full, whatever it takes
    if any(keeps(quotas, channels, each) for each in itertools.combinations(present, rows)):
        assert keeps(quotas, channels, tuple(shown))


def test_a_floor_gives_way_to_what_there_is():
    scores = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    channels = ["news", "news", "news", "news", "ad"]
    assert decode(Quotas({"ad": (3, 4)}), channels, scores, T) == [0, 1, 2, 4]
    assert decode(Quotas({"news": (0, 1)}), channels, scores, T) == [0, 4, 1, 2]


def test_without_need_the_order_is_the_policys():
    scores = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    assert decode(Quotas({"ad": (1, 1)}), ["news", "ad", "news", "ad", "news"], scores, T) == [0, 1, 2, 4]


class TestRanker:
    @pytest.fixture(scope="class")
    def network(self, reader):
        tf.keras.utils.set_random_seed(1)
        network = build_network(tiny.config(), reader)
        for variable in network.trainable_variables:
            variable.assign_add(tf.random.normal(variable.shape, stddev=0.3))
        return network

    @pytest.mark.parametrize("epsilon", [0.0, 0.7])
    def test_lists_keep_them_and_propensities_are_exact(self, network, reader, epsilon):
        """Of many explored lists of one request: what is reported is how often it is seen, and sums to 1."""
        tf.random.set_seed(3)
        draws, quotas = 3000, Quotas({"news": (0, 1), "radio": (1, 4)})
        one = [session(0, ("item_id1", "item_id2", "item_id3", "d")), session(0, ("item_id7", "f", "item_id5", "d"))]
        request, candidates = split(reader, one)
        request, candidates = (
            tf.nest.map_structure(lambda v: tf.repeat(v, draws, axis=0), each) for each in (request, candidates)
        )
        ranker = Ranker(network, quotas)
        ranked = {n: v.numpy() for n, v in ranker.rank(request, candidates, tf.fill([2 * draws], epsilon)).items()}
        # Each request has two candidates of news, one too many: the second comes where nothing else is left.
        assert ((ranked["channel"] == b"news")[:, :3].sum(axis=1) <= 1).all()
        assert ((ranked["channel"] == b"radio").sum(axis=1) == 1).all()
        step = ranked["propensity_channel"] * ranked["propensity_item"]
        for rows in (slice(0, draws), slice(draws, None)):
            lists, counts = np.unique(ranked["index"][rows], axis=0, return_counts=True)
            expected = {tuple(i): p for i, p in zip(ranked["index"][rows], step[rows].prod(axis=1))}
            np.testing.assert_allclose(sum(expected.values()), 1.0, rtol=1e-4)
            for shown, count in zip(map(tuple, lists), counts):
                p = expected[shown]
                assert abs(count / draws - p) < 5 * (p * (1 - p) / draws) ** 0.5 + 1e-6


class TestFile:
    def read(self, tmp_path, text: str) -> Quotas:
        (tmp_path / "quotas.yaml").write_text(text)
        return Quotas.from_file(tmp_path / "quotas.yaml", T, CHANNELS)

    def test_reads(self, tmp_path):
        found = self.read(tmp_path, "news: {at_least: 1}\nad: {at_most: 2}\nvideo: {at_least: 1, at_most: 1}\n")
        assert found == Quotas({"news": (1, T), "ad": (0, 2), "video": (1, 1)})

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("news: {at_least: 3}\nvideo: {at_least: 2}", "the channels' at_least sum to 5, but a list has 4 rows"),
            ("news: {at_least: 3, at_most: 2}", "news has at_least 3 above at_most 2"),
            ("podcast: {at_most: 2}", "channel 'podcast' is unknown to the model; it knows ad, news, video"),
            ("news: {most: 2}", "news must hold at_least, at_most or both, got {'most': 2}"),
            ("news: 2", "news must hold at_least, at_most or both, got 2"),
            ("news: {at_most: 2.5}", "news.at_most must be a whole number from 0 to the list's 4, got 2.5"),
            ("news: {at_most: 5}", "news.at_most must be a whole number from 0 to the list's 4, got 5"),
            ("", "must map channels to at_least and at_most"),
            ("news: [", "cannot be read as YAML"),
        ],
    )
    def test_refused(self, tmp_path, text, sentence):
        with pytest.raises(ConfigError) as caught:
            self.read(tmp_path, text)
        assert sentence in str(caught.value) and "quotas.yaml: " in str(caught.value)

    def test_travels_as_text_and_is_checked_without_a_model(self, tmp_path):
        text = "podcast: {at_least: 1}\n"  # a channel that a model yet to be trained may know
        (tmp_path / "given.yaml").write_text(text)
        assert read_text(tmp_path / "given.yaml", T) == text
        written = write_text(text, str(tmp_path))
        assert Quotas.from_file(written, T) == Quotas({"podcast": (1, T)})
        assert read_text(None, T) == "" and write_text("", str(tmp_path)) is None
        (tmp_path / "given.yaml").write_text("podcast: {at_least: 5}\n")
        with pytest.raises(ConfigError, match=r"given\.yaml: podcast.at_least must be a whole number"):
            read_text(tmp_path / "given.yaml", T)

    def test_no_file(self, tmp_path):
        with pytest.raises(ConfigError, match="cannot be read as YAML"):
            Quotas.from_file(tmp_path / "none.yaml", T, CHANNELS)
