import numpy as np
import pytest
import sessions
import tensorflow as tf
import tiny

from hrlrec_tf.data import input as inputs
from hrlrec_tf.data.input import SessionDataset, Share, session_records
from hrlrec_tf.errors import DataError

SPEC = sessions.SPEC


@pytest.fixture
def files(prepared) -> list[str]:
    return [str(prepared / split / "sessions-0.tfrecord.gz") for split in ("train", "validation", "eval")]


@pytest.fixture(params=["kept", "streamed"])
def dataset(request, reader, files, monkeypatch) -> SessionDataset:
    if request.param == "streamed":
        monkeypatch.setattr(inputs, "_KEPT_BYTES", -1)
    return SessionDataset(reader, files)


def keys(batches: tf.data.Dataset) -> list[tuple]:
    """Each list's time, which tells it from any other."""
    return [int(timestamp) for batch in batches for timestamp in batch["timestamp"]]


def test_shapes(reader):
    batch = tiny.random_batch(reader, 3)
    for name in batch:
        width = SPEC.width(name)
        tags = (SPEC.max_tags,) if name in ("tags", "history_tags") else ()
        rows = () if name in SPEC.request else (None if width is None else width // (SPEC.max_tags if tags else 1),)
        shape = batch[name].shape
        assert shape.rank == 1 + len(rows) + len(tags) and shape[0] == 3, name
        assert not rows or rows[0] is None or shape[1] == rows[0], name


def test_values_come_through(reader):
    session = sessions.random_session(np.random.default_rng(1), rows=3, seen=2)
    batch = tiny.read(reader, session)
    for name in (
        "clicks",
        "weight",
        "position",
        "channel_impressions",
        "history_clicks",
        "history_timestamp",
        "timestamp",
    ):
        np.testing.assert_allclose(
            batch[name][0], session[name][0] if name == "timestamp" else session[name], rtol=1e-6
        )
    words = ["", *reader.vocabulary("tags")]
    found = [[words[i] for i in row] for row in batch["tags"][0].numpy()]
    assert found == np.reshape(session["tags"], (4, 2)).tolist()


def test_profiles_of_different_length_are_padded(reader):
    rng = np.random.default_rng(2)
    long, short = sessions.random_session(rng), sessions.random_session(rng)
    short |= {"profile_tag": [], "profile_tag_impressions": [], "profile_tag_clicks": []}
    batch = tiny.read(reader, long, short)
    assert batch["profile_tag"].shape == (2, 2) and batch["profile_tag"][1].numpy().tolist() == [0, 0]


def test_an_epoch_is_every_list_once(dataset, files):
    batches = list(dataset.batches(16, shuffle_seed=1))
    assert [len(batch["timestamp"]) for batch in batches] == [16] * 5
    assert len(set(keys(batches))) == sum(tiny.SPLITS.values())


def test_the_seed_decides_the_order(dataset):
    first, again, other = (keys(dataset.batches(16, shuffle_seed=seed)) for seed in (1, 1, 2))
    assert first == again and first != other and sorted(first) == sorted(other)


def test_shares_of_an_epoch_are_disjoint_and_without_an_end(dataset):
    """80 lists for three workers."""
    lists = sum(tiny.SPLITS.values())
    assert dataset.count() == lists
    sizes = [27, 27, 26]
    shares = [keys(dataset.batches(1, 5, share=Share(index, 3)).take(size)) for index, size in enumerate(sizes)]
    assert sorted(sum(shares, [])) == sorted(keys(dataset.batches(16, shuffle_seed=5)))
    other = keys(dataset.batches(1, 6, share=Share(0, 3)).take(27))
    assert set(other) != set(shares[0])  # each epoch another share, so that no list hangs on one worker
    longer = list(dataset.batches(16, 5, skip=1, share=Share(0, 3)).take(4))
    assert [len(batch["timestamp"]) for batch in longer] == [16] * 4
    assert keys(longer)[:11] == shares[0][16:27]


def test_both_ways_of_reading_yield_the_same_lists(reader, files):
    kept = SessionDataset(reader, files)
    streamed = SessionDataset(reader, files, kept_bytes=0)
    whole = [next(iter(each.batches(1000, shuffle_seed=0))) for each in (kept, streamed)]
    order = [np.argsort(batch["timestamp"]) for batch in whole]
    for name, values in whole[0].items():
        np.testing.assert_array_equal(values.numpy()[order[0]], whole[1][name].numpy()[order[1]], err_msg=name)


def test_lists_keep_their_static_length(dataset):
    spec = dataset.batches(4, shuffle_seed=0).element_spec
    assert spec["item_id"].shape[1] == SPEC.list_length and spec["tags"].shape[1:] == (SPEC.list_length, SPEC.max_tags)


def test_stored_order(files):
    first = [
        int(tf.train.Example.FromString(r.numpy()).features.feature["timestamp"].int64_list.value[0])
        for r in session_records(files[:1])
    ]
    assert len(first) == tiny.SPLITS["train"] and first != sorted(first)


@pytest.mark.parametrize("read", [session_records, lambda files: SessionDataset(None, files)])
def test_no_files_are_refused(read):
    with pytest.raises(DataError, match="no session files; run hrlrec prepare first"):
        read([])
