"""The `rejected/` output: one JSON line per row, with its file, its number there, the reason and what it held."""

import gzip
import json
from collections.abc import Iterable, Mapping
from typing import Any

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems


class RejectedWriter:
    """Writes rejected rows to one gzipped JSONL file, which appears with the first of them."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._zip: gzip.GzipFile | None = None

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends rows, each with `file`, `row`, `reason` and `values`."""
        for row in rows:
            if self._zip is None:
                self._sink = FileSystems.create(self._path, compression_type=CompressionTypes.UNCOMPRESSED)
                self._zip = gzip.GzipFile(filename="", mode="wb", fileobj=self._sink, mtime=0)
            self._zip.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")

    def close(self) -> None:
        """Completes the file, if there is one."""
        if self._zip is not None:
            self._zip.close()
            self._sink.close()
