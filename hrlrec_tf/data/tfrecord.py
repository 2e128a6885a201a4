"""Gzipped TFRecord files without TensorFlow, whose import would cost every Beam worker seconds and memory.

A record is its length (uint64), the length's masked CRC-32C, its bytes, the bytes' masked CRC-32C, little-endian.
"""

import gzip
import struct
from collections.abc import Iterable

import google_crc32c
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

# Sessions repeat themselves: the fastest level is a third larger than the default and several times faster.
_LEVEL = 1


class Writer:
    """Writes records to one file; equal records give equal bytes."""

    def __init__(self, path: str) -> None:
        self._sink = FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)
        self._zip = gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=self._sink, mtime=0)

    def write(self, records: Iterable[bytes]) -> None:
        """Appends records."""
        for record in records:
            length = struct.pack("<Q", len(record))
            self._zip.write(b"".join((length, _masked_crc(length), record, _masked_crc(record))))

    def close(self) -> None:
        """Completes the file."""
        self._zip.close()
        self._sink.close()


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
