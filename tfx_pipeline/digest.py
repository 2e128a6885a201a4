"""Digests of what a component's result depends on and TFX's cache does not see.

TFX hashes a component's inputs and execution properties, and properties hold paths: after an edit of a schema file, a
module or a log the old result would come from the cache. So each node carries a digest of contents: `pipeline.READS`.
"""

import hashlib
import pathlib

from tfx.dsl.io import fileio

PACKAGES = ("hrlrec_tf", "serving", "tfx_pipeline")
_AT_ONCE = 1 << 20  # bytes
_ROOT = pathlib.Path(__file__).resolve().parent.parent


def of_text(*texts: str) -> str:
    """SHA-256, in hexadecimal, of some texts and the boundaries between them."""
    hashed = hashlib.sha256()
    for text in texts:
        data = text.encode()
        hashed.update(len(data).to_bytes(8, "big") + data)
    return hashed.hexdigest()


def of_source(root: pathlib.Path = _ROOT) -> str:
    """Digest of every Python file of this project's packages: names and contents.

    Args:
      root: the folder that holds the packages; this installation's by default.
    """
    files = sorted(file for package in PACKAGES for file in (root / package).rglob("*.py"))
    return of_text(*(text for file in files for text in (file.relative_to(root).as_posix(), file.read_text("utf-8"))))


def of_file(path: str) -> str:
    """Digest of a file's content, local or remote."""
    hashed = hashlib.sha256()
    with fileio.open(path, "rb") as file:
        while block := file.read(_AT_ONCE):
            hashed.update(block)
    return hashed.hexdigest()


def of_log(*paths: str) -> str:
    """Fingerprint of a log's folders and files: names, sizes and times of change; remote ones count by name alone.

    Contents are not read, since a log may be far larger than what the rest of a cached run needs to look at.
    """
    files = []
    for path in map(pathlib.Path, sorted(paths)):
        files += sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return of_text(*paths, *map(_state, files))


def _state(file: pathlib.Path) -> str:
    if not file.exists():
        return str(file)
    state = file.stat()
    return f"{file} {state.st_size} {state.st_mtime_ns}"
