"""Columns of lists into serialized tf.Examples, equal columns into equal bytes.

The C++ coder of tfx_bsl writes a message's map in an order that changes from call to call; sessions should be the same
bytes whenever they are made of the same rows. These are the bytes of protobuf's own deterministic serialization, with
features in order of name, built a column at a time: values that follow each other in memory are already the content
of their list's message, which only needs the right boundaries.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

# Wire tags: field number and length-delimited type. `1` is the repeated value, the map entry's key, and so on.
_FIELD_1, _FIELD_2, _FIELD_3 = b"\x0a", b"\x12", b"\x1a"


def serialize(features: Mapping[str, pa.Array]) -> list[bytes]:
    """One tf.Example per row.

    Args:
      features: name -> list array of binary values that `text_values` made, of float32 or of int64.
    """
    entries = []
    for name in sorted(features):
        key = _field(_FIELD_1, _scalar(name.encode("utf-8")))
        entries.append(_field(_FIELD_1, _join(key, _field(_FIELD_2, _feature(features[name])))))
    return _field(_FIELD_1, _join(*entries)).to_pylist()


def text_values(words: pa.Array) -> pa.Array:
    """Strings as they stand in a BytesList: the values that `serialize` takes in place of the strings themselves."""
    return _field(_FIELD_1, words.cast(pa.binary()))


def varints(numbers: npt.NDArray[np.int64]) -> pa.Array:
    """Protobuf's variable-length integers: seven bits a byte, low bits first, the high bit where more follow."""
    left = numbers.astype(np.uint64)
    if left.max(initial=0) < 128:  # nearly always: counts, clicks and most lengths
        return _binary(np.arange(len(left) + 1), left.astype(np.uint8))
    sizes = np.ones(len(left), np.int32)
    digits = [left & np.uint64(0x7F)]
    while (left := left >> np.uint64(7)).any():
        digits.append(left & np.uint64(0x7F))
        sizes[left > 0] = len(digits)
    place = np.arange(len(digits))
    data = np.stack(digits, axis=1).astype(np.uint8)
    data |= ((place < sizes[:, None] - 1) << 7).astype(np.uint8)
    return _binary(np.concatenate([[0], np.cumsum(sizes)]), data[place < sizes[:, None]])


def _feature(lists: pa.Array) -> pa.Array:
    """The Feature message of each row."""
    offsets, values = lists.offsets.to_numpy(), lists.values
    if pa.types.is_binary(values.type):
        ends = np.frombuffer(values.buffers()[1], np.int32)[values.offset :]
        return _field(_FIELD_1, _binary(ends[offsets], values.buffers()[2]))
    if pa.types.is_floating(values.type):
        return _field(_FIELD_2, _packed(_binary(offsets * 4, values.to_numpy())))
    encoded = varints(values.to_numpy())
    ends = np.frombuffer(encoded.buffers()[1], np.int32)
    return _field(_FIELD_3, _packed(_binary(ends[offsets], encoded.buffers()[2])))


def _packed(content: pa.Array) -> pa.Array:
    """The only field of a FloatList or Int64List; an empty one is left out."""
    return pc.if_else(pc.equal(pc.binary_length(content), 0), _scalar(b""), _field(_FIELD_1, content))


def _field(tag: bytes, content: pa.Array | pa.Scalar) -> pa.Array | pa.Scalar:
    if isinstance(content, pa.Scalar):
        size = varints(np.array([len(content.as_py())]))[0].as_py()
        return _scalar(tag + size + content.as_py())
    return _join(_scalar(tag), varints(pc.binary_length(content).to_numpy(zero_copy_only=False)), content)


def _join(*parts: pa.Array | pa.Scalar) -> pa.Array:
    return pc.binary_join_element_wise(*parts, _scalar(b""))


def _scalar(value: bytes) -> pa.Scalar:
    return pa.scalar(value, pa.binary())


def _binary(offsets: npt.NDArray[np.int32], data: npt.NDArray[np.generic] | pa.Buffer | None) -> pa.Array:
    """Binary values over a buffer: value n lies between offsets n and n + 1."""
    offsets = np.ascontiguousarray(offsets, np.int32)
    buffer = data if isinstance(data, pa.Buffer) else pa.py_buffer(b"" if data is None else np.ascontiguousarray(data))
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), buffer])
