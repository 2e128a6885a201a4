"""What is in a model's base folder: its version folders, and whether they are still being written."""

import pathlib

from serving import saved_model

Listing = frozenset[tuple[str, int, int]]

_MAX_VERSION = 2**63 - 1


def look(base: pathlib.Path) -> dict[int, Listing]:
    """The versions in `base` and the files of each; two looks that differ see a version being written."""
    return {int(folder.name): _listing(folder) for folder in base.glob("*") if _is_version(folder)}


def _is_version(folder: pathlib.Path) -> bool:
    name = folder.name
    if not name.isdecimal() or name != str(int(name)) or int(name) > _MAX_VERSION:
        return False
    return (folder / saved_model.FILE).is_file()


def _listing(folder: pathlib.Path) -> Listing:
    """Path, size and time of every file in `folder`: what changes while it is being written."""
    try:
        stats = [(str(path.relative_to(folder)), path.stat()) for path in folder.rglob("*") if path.is_file()]
    except FileNotFoundError:
        return frozenset()  # files vanished meanwhile; the next look tells more
    return frozenset((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
