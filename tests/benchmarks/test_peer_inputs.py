import numpy as np
import pytest

from benchmarks import peer_inputs, rows


@pytest.fixture(scope="module")
def read(prepared):
    return rows.Sessions(prepared)


@pytest.fixture(scope="module")
def task(read):
    return peer_inputs.Task(read, history=True)


def test_ids_are_of_the_training_rows(read, task):
    for split, table in read.rows.groupby("split", sort=False):
        for field in peer_inputs.FIELDS:
            ids = task.parts[split][field]
            known = set(read.rows[read.rows["split"] == "train"][field])
            assert (ids > 0).tolist() == [value in known for value in table[field]]
            assert len(set(zip(ids[ids > 0], table[field][ids > 0], strict=True))) == len(set(ids[ids > 0]))
            assert ids.max() < task.inputs(False).sizes[field] == len(known) + 1
        assert task.labels[split].tolist() == table["label"].tolist()


def test_history_holds_the_clicked_items(read, task):
    table = read.rows[read.rows["split"] == "eval"].reset_index(drop=True)
    ids_of = dict(zip(table["item_id"], task.parts["eval"]["item_id"], strict=True))
    found = task.parts["eval"][peer_inputs.HISTORY_ITEMS]
    assert found.shape == (len(table), read.history_items.shape[1])
    for row, session in enumerate(table["session"]):
        clicked = (read.history_clicks[session] > 0) & (read.history_items[session] != "")
        assert not found[row][~clicked].any()
        for item, number in zip(read.history_items[session][clicked], found[row][clicked], strict=True):
            assert number == ids_of.get(item, number)


def test_inputs_with_and_without_history(read, task):
    without = peer_inputs.Task(read, history=False)
    assert set(without.parts["train"]) == set(peer_inputs.FIELDS)
    assert (without.inputs(False).counts, without.inputs(False).items) == (0, 0)
    assert (task.inputs(False).counts, task.inputs(False).items) == (12, 0)
    assert task.inputs(True).items == read.history_items.shape[1]
    counts = task.parts["train"][peer_inputs.HISTORY_COUNTS]
    np.testing.assert_allclose(counts.mean(axis=0), 0, atol=1e-5)
