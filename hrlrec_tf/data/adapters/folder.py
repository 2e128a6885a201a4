"""The folder a user put a public data set in: finds its files by their published names and reads their rows."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

from hrlrec_tf.data import formats
from hrlrec_tf.data.files import COMPRESSIONS, LogFile, RawBatch
from hrlrec_tf.errors import ConfigError, LogError

_GZIP = b"\x1f\x8b"
_ARCHIVES = ("*.zip", "*.tar", "*.tar.gz", "*.tgz", "*.7z", "*.rar")


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder with the files of a data set, at its top or anywhere below.

    Attributes:
      path: the folder.
      title: the data set, for messages.
      source: where its files can be had.
    """

    path: pathlib.Path
    title: str
    source: str

    def __post_init__(self) -> None:
        if not self.path.is_dir():
            raise LogError(f"{self.path}: there is no such folder; name the one that holds {self.title} with --files")
        if not any(self.path.iterdir()):
            raise LogError(f"{self.path}: the folder is empty; get the files of {self.title} from {self.source}")

    def find(self, name: str) -> list[pathlib.Path]:
        """All files of that name (`*` stands for anything), packed ones (`.gz`, ...) too, in order of their paths."""
        names = (name, *(name + suffix for suffix in COMPRESSIONS if not name.endswith(".parquet")))
        found = [path for each in names for path in self.path.rglob(each) if path.is_file()]
        return sorted(path for path in found if not any(part.startswith(".") for part in self._parts(path)))

    def one(self, name: str) -> pathlib.Path:
        """The file of that name.

        Raises:
          LogError: there is none, or there are several.
        """
        found = self.find(name)
        if not found:
            raise LogError(f"{self.path}: {name} is missing; {self.title} needs it: {self.remedy()}")
        if len(found) > 1:
            paths = ", ".join(self.name(path) for path in found)
            raise LogError(f"{self.path}: several files are {name} ({paths}); keep one copy of the data set in --files")
        return found[0]

    def name(self, path: pathlib.Path) -> str:
        """A file's path within the folder."""
        return "/".join(self._parts(path))

    def relative(self, file: LogFile) -> str:
        """The same of a file to read."""
        return self.name(pathlib.Path(file.path))

    def text(
        self,
        path: pathlib.Path,
        separator: str = ",",
        names: Sequence[str] | None = None,
        quoted: bool = True,
        encoding: str = "utf-8",
    ) -> LogFile:
        """How to read a text file; `names` are its columns if it has no header line."""
        with path.open("rb") as start:
            packed = start.read(len(_GZIP)) == _GZIP  # whatever its name says
        compression = "gzip" if packed else COMPRESSIONS.get(path.suffix.lower())
        columns = tuple(names) if names is not None else None
        return LogFile(str(path), "csv", compression, separator, False, columns, quoted, encoding)

    def parquet(self, path: pathlib.Path) -> LogFile:
        """How to read a Parquet file."""
        return LogFile(str(path), "parquet")

    def check_columns(self, file: LogFile, needed: Sequence[str]) -> None:
        """Refuses a file that is not the published version.

        Raises:
          LogError: a column is missing, or a file without header has rows of another width.
        """
        names = list(formats.describe(file)[0])
        missing = [name for name in needed if name not in names]
        if missing:
            raise LogError(
                f"{file.path}: column {missing[0]} is missing; its columns: {', '.join(names)}; this is not the "
                f"published {self.title}: get it from {self.source}"
            )
        first = next(iter(formats.read(file, needed)), None)
        if first is None or not len(first.table):
            what = "has no rows" if first is None or not first.broken else f"does not have {len(names)} columns"
            raise LogError(f"{file.path}: {what}; this is not the published {self.title}: get it from {self.source}")

    def read(self, file: LogFile, columns: Sequence[str]) -> Iterator[RawBatch]:
        """Checked rows of a file, some columns of them, batch by batch."""
        self.check_columns(file, columns)
        return formats.read(file, columns)

    def _parts(self, path: pathlib.Path) -> tuple[str, ...]:
        return path.relative_to(self.path).parts

    def remedy(self) -> str:
        packed = [path.name for pattern in _ARCHIVES for path in sorted(self.path.glob(pattern))]
        return f"unpack {packed[0]} first" if packed else f"get it from {self.source}"


def choose(folder: Folder, variant: str | None, present: Sequence[str], files: str) -> str:
    """The variant to convert: the one asked for, else the only one whose files are there.

    Args:
      folder: where they are looked for.
      variant: what the user asked for.
      present: variants of which a file is there.
      files: names of the files that were looked for.

    Raises:
      LogError: none is there.
      ConfigError: several are there and none was named.
    """
    if variant is not None:
        return variant
    if not present:
        raise LogError(f"{folder.path}: no file of {folder.title} ({files}) is there; {folder.remedy()}")
    if len(present) > 1:
        raise ConfigError(
            f"{folder.path} holds several variants of {folder.title}: name one with --variant {' | '.join(present)}"
        )
    return present[0]
