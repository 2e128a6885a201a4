"""A progress bar for work that other processes do: it counts the result files they leave."""

import contextlib
import threading
from collections.abc import Iterator

from apache_beam.io.filesystems import FileSystems
from tqdm import tqdm

_SECONDS = 0.5


@contextlib.contextmanager
def count_files(what: str, pattern: str, total: int, show: bool) -> Iterator[None]:
    """Shows how many of `total` files match `pattern`, until the block ends."""
    if not show:
        yield
        return
    done = threading.Event()
    with tqdm(desc=what, total=total, unit="part") as bar:
        thread = threading.Thread(target=_watch, args=(bar, pattern, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _watch(bar: tqdm, pattern: str, done: threading.Event) -> None:
    finished = False
    while not finished:
        finished = done.wait(_SECONDS)
        found = len(FileSystems.match([pattern])[0].metadata_list)
        bar.update(found - bar.n)
