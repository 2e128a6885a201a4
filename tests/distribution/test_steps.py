"""The steps of an epoch that several workers share, without the workers."""

import pathlib

import pytest
import tensorflow as tf
import tiny

from hrlrec_tf.agents.stream import ExperienceStream
from hrlrec_tf.distribution.cluster import Task
from hrlrec_tf.distribution.machines import Machines, MultiWorker
from hrlrec_tf.distribution.steps import Steps
from hrlrec_tf.errors import ConfigError, DataError

LISTS = tiny.SPLITS["train"]


class OneOf(MultiWorker):
    """One of some workers, as far as its share goes."""

    def __init__(self, workers: int, place: int = 0) -> None:
        Machines.__init__(self, Task("multi-worker", {"worker": [f"w:{i}" for i in range(workers)]}, "worker", place))


@pytest.fixture(scope="module")
def stream(prepared, reader) -> ExperienceStream:
    return ExperienceStream(tiny.config(), reader, [str(prepared / "train" / "sessions-0.tfrecord.gz")])


def steps(stream: ExperienceStream, machines: Machines, *settings: str) -> Steps:
    """Each step tells the times of its lists."""
    return Steps(machines, stream, tiny.config(*settings).training, lambda batch: batch.observation["timestamp"])


def test_one_machine_takes_every_list_once(stream):
    taken = [batch.numpy().tolist() for batch in steps(stream, Machines()).epoch(0, 0)]
    assert [len(batch) for batch in taken] == [16, 16, 8] and len(set(sum(taken, []))) == LISTS
    assert [batch.numpy().tolist() for batch in steps(stream, Machines()).epoch(0, 2)] == taken[2:]


def test_workers_take_their_halves_of_each_step(stream, monkeypatch):
    monkeypatch.setattr(OneOf, "take", Machines.take)
    taken = [[batch.numpy().tolist() for batch in steps(stream, OneOf(2, place)).epoch(3, 0)] for place in (0, 1)]
    assert [[len(batch) for batch in each] for each in taken] == [[8, 8, 8]] * 2
    first, second = (sum(each, [])[: LISTS // 2] for each in taken)
    assert len({*first, *second}) == LISTS  # then another order begins, for an epoch is three whole batches
    resumed = [batch.numpy().tolist() for batch in steps(stream, OneOf(2, 1)).epoch(3, 1)]
    assert resumed == taken[1][1:]


def test_a_batch_that_cannot_be_divided(stream):
    with pytest.raises(ConfigError, match="batch_size is 16, which 3 workers cannot divide; choose a multiple"):
        next(steps(stream, OneOf(3)).epoch(0, 0))


def test_fewer_lists_than_workers(stream):
    with pytest.raises(DataError, match=f"{LISTS + 1} workers cannot share {LISTS} training sessions"):
        steps(stream, OneOf(LISTS + 1)).count()


def test_only_the_chief_writes_the_model_folder(tmp_path):
    out = tmp_path / "model"
    with OneOf(2, 0).folder(out) as folder:
        assert folder == out
    with OneOf(2, 1).folder(out) as folder:
        assert folder != out and folder.name == out.name and folder.parent.is_dir()
    assert not pathlib.Path(folder).parent.exists()


def test_the_mean_over_replicas_on_one_machine():
    found = OneOf(1).take(lambda value: 2 * value, tf.constant(3.0))
    assert float(found) == 6.0
