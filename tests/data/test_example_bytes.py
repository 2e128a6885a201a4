import numpy as np
import pyarrow as pa
import tensorflow as tf

from hrlrec_tf.data import example_bytes, tfrecord


def some_features():
    words = example_bytes.text_values(pa.array(["", "ü", "a" * 300]))
    return {
        "words": pa.ListArray.from_arrays(pa.array([0, 2, 2, 5], pa.int32()), words.take(pa.array([1, 0, 2, 2, 0]))),
        "ints": pa.array([[0, 1, 127, 128], [-1, 2**62], []], pa.list_(pa.int64())),
        "floats": pa.array([[], [0.5, -1.25], [3.0]], pa.list_(pa.float32())),
        "b" * 200: pa.array([[1], [2], [3]], pa.list_(pa.int64())),
    }


def test_examples_hold_the_values():
    first, second, third = map(tf.train.Example.FromString, example_bytes.serialize(some_features()))
    assert list(first.features.feature["words"].bytes_list.value) == ["ü".encode(), b""]
    assert list(first.features.feature["ints"].int64_list.value) == [0, 1, 127, 128]
    assert list(second.features.feature["ints"].int64_list.value) == [-1, 2**62]
    assert list(second.features.feature["floats"].float_list.value) == [0.5, -1.25]
    assert list(third.features.feature["words"].bytes_list.value) == [b"a" * 300, b"a" * 300, b""]
    assert third.features.feature["ints"].WhichOneof("kind") == "int64_list"


def test_bytes_are_those_of_deterministic_protobuf():
    for record in example_bytes.serialize(some_features()):
        assert tf.train.Example.FromString(record).SerializeToString(deterministic=True) == record


def test_varints_agree_with_protobuf():
    numbers = np.array([0, 1, 127, 128, 300, 2**31, 2**63 - 1, -1, -(2**63)], np.int64)
    encoded = b"".join(example_bytes.varints(numbers).to_pylist())
    assert tf.train.Int64List(value=numbers).SerializeToString()[2:] == encoded


def test_tensorflow_reads_the_files(tmp_path):
    records = [b"", b"one", b"x" * 100_000]
    for name in ("a", "b"):
        writer = tfrecord.Writer(str(tmp_path / name))
        writer.write(records)
        writer.close()
    assert [r.numpy() for r in tf.data.TFRecordDataset(str(tmp_path / "a"), "GZIP")] == records
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
