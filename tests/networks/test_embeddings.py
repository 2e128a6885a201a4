import numpy as np
import pytest
import tensorflow as tf
import tiny

from hrlrec_tf.data import transform
from hrlrec_tf.features import FeatureSpec, Kind
from hrlrec_tf.networks.embeddings import SessionEmbedding, feedback_ids, log2_bucket

DIM = 8
DAY_MS = 86_400_000


def test_log2_bucket_counts_doublings():
    values = np.arange(0, 1 << 16)
    expected = np.minimum([int(value + 1).bit_length() - 1 for value in values], 15)
    np.testing.assert_array_equal(log2_bucket(tf.constant(values), 16), expected)


@pytest.mark.parametrize(
    ("value", "bucket"), [(-5.0, 0), (0.5, 0), (1.0, 1), (1e30, 12), (float("inf"), 12), (float("nan"), 0)]
)
def test_log2_bucket_of_odd_numbers_stays_inside(value, bucket):
    assert log2_bucket(tf.constant([value]), 13).numpy().tolist() == [bucket]


def test_feedback_tells_no_click_from_clicks_of_different_dwell():
    clicks, dwell = tf.constant([0, 0, 1, 2, 1], tf.int64), tf.constant([0.0, 60.0, 0.0, 3.0, 1e9])
    assert feedback_ids(clicks, dwell).numpy().tolist() == [1, 1, 2, 4, 14]


SPEC = FeatureSpec(list_length=3, history_length=2, max_tags=2, optional={"context_device": Kind.STRING})
SIZES = {"user_id": 4, "item_id": 6, "channel": 4, "tags": 5, "context_device": 3}


def batch(**given) -> dict[str, tf.Tensor]:
    """One session of ids; every history row is like every other."""
    rows = {
        "item_id": [[1, 2]],
        "channel": [[1, 2]],
        "tags": [[[1, 0], [2, 3]]],
        "clicks": [[0, 1]],
        "dwell_seconds": [[0.0, 5.0]],
        "channel_impressions": [[0, 3]],
        "channel_clicks": [[0, 1]],
        "tag_impressions": [[0, 9]],
        "tag_clicks": [[0, 2]],
        "position": [[1, 2]],
        "timestamp": [[DAY_MS, 2 * DAY_MS]],
    }
    values = {"user_id": [1], "timestamp": [3 * DAY_MS], "context_device": [1]}
    values |= {f"history_{name}": value for name, value in rows.items()} | given
    return {
        name: tf.constant(value, tf.float32 if name == "history_dwell_seconds" else tf.int64)
        for name, value in values.items()
    }


def item_rows() -> dict[str, tf.Tensor]:
    """The history's rows as rows of the current list."""
    names = ("item_id", "channel", "tags", "channel_impressions", "channel_clicks", "tag_impressions", "tag_clicks")
    return {name: batch()[f"history_{name}"] for name in names}


@pytest.fixture(scope="module")
def embedding():
    return SessionEmbedding(SPEC, SIZES, DIM)


def look_up(table, index: int) -> np.ndarray:
    return table.embeddings.numpy()[index]


def test_history_fields(embedding):
    rows = embedding.history(batch())
    items, contexts = embedding.items.tables, embedding.row_contexts.tables
    feedback = embedding.feedback
    # Row 2: shown on 1970-01-03, a Saturday, at midnight, a day (2^16 < 86401 s < 2^17) before the list; clicked, 5 s.
    context = sum(look_up(contexts[name], i) for name, i in {"position": 2, "hour": 0, "weekday": 5, "gap": 16}.items())
    np.testing.assert_allclose(rows.context[0, 1], context, atol=1e-6)
    item = look_up(items["item_id"], 2) + look_up(items["channel"], 2)
    item += (look_up(items["tags"], 2) + look_up(items["tags"], 3)) / 2
    np.testing.assert_allclose(rows.item[0, 1], item + look_up(feedback["item"], 4), atol=1e-6)
    channel = look_up(items["channel"], 2) + look_up(feedback["channel"], 4)
    np.testing.assert_allclose(rows.channel[0, 1], channel, atol=1e-6)
    counted = {"channel_impressions": 2, "channel_clicks": 1, "tag_impressions": 3, "tag_clicks": 1}
    of_items, of_channels = embedding.item_counts.tables, embedding.channel_counts.tables
    np.testing.assert_allclose(
        rows.item_counts[0, 1], sum(look_up(of_items[name], i) for name, i in counted.items()), atol=1e-6
    )
    assert sorted(of_channels) == ["channel_clicks", "channel_impressions"]
    np.testing.assert_allclose(
        rows.channel_counts[0, 1], sum(look_up(of_channels[name], counted[name]) for name in of_channels), atol=1e-6
    )


def test_placed_rows_do_not_know_their_feedback(embedding):
    placed = embedding.placed(batch(), item_rows(), tf.constant([[1, 2]], tf.int64))
    history = embedding.history(batch())
    for level, now, before in (("item", placed.item, history.item), ("channel", placed.channel, history.channel)):
        table = embedding.feedback[level]
        expected = before[0, 1] - look_up(table, 4) + look_up(table, 0)
        np.testing.assert_allclose(now[0, 1], expected, atol=1e-6)


def test_context_of_the_list(embedding):
    context = embedding.list_context(batch(), tf.constant([[3]], tf.int64))
    contexts = embedding.row_contexts.tables
    expected = sum(look_up(contexts[name], i) for name, i in {"position": 3, "hour": 0, "weekday": 6, "gap": 0}.items())
    expected = expected + look_up(embedding.request_contexts.tables["context_device"], 1)
    np.testing.assert_allclose(context[0, 0], expected, atol=1e-6)


def test_positions_beyond_the_list_share_one_embedding(embedding):
    contexts = [embedding.history(batch(history_position=[[position, 1]])).context[0, 0] for position in (4, 99)]
    np.testing.assert_array_equal(*contexts)


def test_profile_is_made_of_user_features(embedding):
    np.testing.assert_array_equal(embedding.profile(batch())[0], look_up(embedding.users.tables["user_id"], 1))


def test_a_log_without_context_or_user_features():
    embedding = SessionEmbedding(FeatureSpec(3, 2, 2), SIZES, DIM, user_id=False)
    assert embedding.profile(batch()).numpy().tolist() == [[0.0] * DIM]
    assert embedding.request_context(batch()).numpy().tolist() == [[0.0] * DIM]


def test_channels_share_the_items_table(embedding):
    np.testing.assert_array_equal(
        embedding.channel_embeddings(tf.constant([2])), look_up(embedding.items.tables["channel"], 2)[None]
    )


def test_items_that_were_shown_rarely_share_an_embedding(reader):
    """Ids follow impressions, so the smaller vocabulary is the head of the larger one."""
    shown = transform.item_impressions(reader._transform)
    assert (np.diff(shown) <= 0).all() and len(shown) == reader.sizes["item_id"] - 2
    often = int(shown[len(shown) // 2]) + 1
    whole, least = reader.sizes["item_id"], 2 + int((shown >= often).sum())
    assert reader.sizes_for(0) == reader.sizes
    assert 2 < least < whole and {**reader.sizes, "item_id": least} == reader.sizes_for(often)
    embedding = SessionEmbedding(reader.spec, reader.sizes_for(often), 8)
    batch = tiny.random_batch(reader, 8)
    rows = {name: batch[name][:1, :1] for name in reader.spec.item}

    def of(item: int) -> np.ndarray:
        return embedding.item_embeddings({**rows, "item_id": tf.constant([[item]], tf.int64)}).numpy()

    np.testing.assert_array_equal(of(least - 1), of(whole - 1))
    assert np.abs(of(least - 2) - of(whole - 1)).max() > 0
    assert np.abs(of(1) - of(2)).max() > 0
