"""`convert`: a public data set becomes an impression log in the standard columns, complete or absent.

Rows stream through in batches; each is checked as `prepare` checks it. Beside the log stand `dataset.yaml`,
`_conversion.json` (what was read, written and left out) and, if there are any, `_rejected.jsonl.gz`.
"""

import contextlib
import dataclasses
import datetime
import pathlib
import shutil
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from tqdm import tqdm

from hrlrec_tf import cli
from hrlrec_tf.data import columns, config, timecut
from hrlrec_tf.data.adapters import ADAPTERS
from hrlrec_tf.data.adapters.base import Adapter, Batch, Conversion
from hrlrec_tf.data.adapters.folder import Folder
from hrlrec_tf.data.config import KINDS, DatasetConfig
from hrlrec_tf.data.reading import UNIT_ROWS
from hrlrec_tf.data.rejected import RejectedWriter
from hrlrec_tf.data.rules import Split
from hrlrec_tf.data.timecut import Histogram
from hrlrec_tf.data.validation import Layout, Validated, Validator
from hrlrec_tf.errors import ConfigError, LogError

LOG, REPORT, REJECTED = "impressions.parquet", "_conversion.json", "_rejected.jsonl.gz"
_MANY_TAGS = 1 << 16


def convert(
    name: str,
    files: str | pathlib.Path,
    out: str | pathlib.Path,
    variant: str | None = None,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Makes an impression log of a public data set.

    Args:
      name: a key of `ADAPTERS`.
      files: the folder with the published files, at its top or anywhere below.
      out: the folder to make; must not exist or be empty.
      variant: one of the adapter's variants; None for the one that is there.
      show_progress: whether to show a bar on stderr.

    Returns:
      `dataset`, `variant`, `read`, `written`, `rejected` (rows by reason), `notes`, `clicks` (sum), `channels` (rows
      by name), `first_timestamp`, `last_timestamp` and `settings` (what `dataset.yaml` says).

    Raises:
      ConfigError: the data set or the variant is unknown, or `out` is taken.
      LogError: a file is missing or broken or has other columns, no row is left, or `out` cannot be written.
    """
    adapter, target = _adapter(name, variant), pathlib.Path(out).resolve()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise ConfigError(f"{target} already exists and is not an empty folder; name a new --out or remove it")
    partial = target.with_name(f".{target.name}.partial")
    conversion = adapter.open(Folder(pathlib.Path(files).resolve(), adapter.title, adapter.source), variant)
    try:
        shutil.rmtree(partial, ignore_errors=True)  # what a killed run left
        partial.mkdir(parents=True)
        report = _write(conversion, partial, show_progress)
        report |= {"dataset": name, "variant": variant, "notes": [*conversion.notes, *report["notes"]]}
        _write_settings(adapter, report, partial)
        cli.write_json(partial / REPORT, report)
        partial.replace(target)
    except OSError as error:
        raise LogError(f"cannot write the log to {target} ({error}); free space or name another --out") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def _adapter(name: str, variant: str | None) -> Adapter:
    if name not in ADAPTERS:
        raise ConfigError(f"the data set {name!r} is unknown; known: {', '.join(ADAPTERS)}")
    adapter = ADAPTERS[name]
    if variant is not None and variant not in adapter.variants:
        raise ConfigError(f"{name} has no variant {variant!r}; its variants: {', '.join(adapter.variants)}")
    return adapter


def _write(conversion: Conversion, folder: pathlib.Path, show_progress: bool) -> dict[str, Any]:
    validator, tally = _validator(conversion), _Tally()
    rejected = RejectedWriter(str(folder / REJECTED))
    bar = tqdm(desc="convert", unit=" rows", unit_scale=True, disable=not show_progress)
    with bar, contextlib.closing(rejected), contextlib.closing(_LogWriter(folder / LOG)) as log:
        for batch in conversion.batches:
            checked = validator(batch.raw)
            tally.add(batch, checked)
            rejected.write({"file": batch.file, **dataclasses.asdict(row)} for row in checked.rejected)
            log.write(checked.rows.select(list(conversion.columns)))
            bar.update(len(checked.rows) + len(checked.rejected))
    if not tally.written:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in tally.rejected.most_common(3))
        raise LogError(f"none of {tally.read:,} rows can be used ({reasons}); the files are damaged or another version")
    return tally.report(conversion)


def _validator(conversion: Conversion) -> Validator:
    mapping = DatasetConfig(
        columns=conversion.columns,
        timestamp_unit=conversion.timestamp_unit,
        tags_separator=conversion.tags_separator,
        max_tags=_MANY_TAGS,
    )
    optional = {
        name: config.TYPES[column.type]
        for name, column in conversion.columns.items()
        if name not in KINDS and column.type is not None
    }
    return Validator(mapping, Layout(tuple(conversion.columns), optional), {})


class _LogWriter:
    """The log's Parquet file, in row groups as large as what a worker of `prepare` reads at once."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._tables: list[pa.Table] = []

    def write(self, table: pa.Table) -> None:
        """Appends rows; writes when there are enough for a row group."""
        self._tables.append(table)
        if sum(map(len, self._tables)) >= UNIT_ROWS:
            self._flush()

    def _flush(self) -> None:
        table = pa.concat_tables(self._tables)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table, row_group_size=UNIT_ROWS)
        self._tables = []

    def close(self) -> None:
        """Writes what is left and completes the file."""
        if self._tables:
            self._flush()
        if self._writer is not None:
            self._writer.close()


@dataclasses.dataclass
class _Tally:
    """What became of the rows so far; times of the publisher's training and held-out rows apart."""

    read: int = 0
    written: int = 0
    clicked: int = 0
    clicks: int = 0
    rejected: Counter[str] = dataclasses.field(default_factory=Counter)
    channels: Counter[str] = dataclasses.field(default_factory=Counter)
    training: Histogram = dataclasses.field(default_factory=lambda: timecut.total([]))
    held_out: Histogram = dataclasses.field(default_factory=lambda: timecut.total([]))

    def add(self, batch: Batch, checked: Validated) -> None:
        """Counts a batch."""
        clicks = columns.flat(checked.rows["clicks"]).to_numpy()
        self.read += len(batch.raw.rows) + len(batch.raw.broken)
        self.written += len(clicks)
        self.clicked += int((clicks > 0).sum())
        self.clicks += int(clicks.sum())
        self.rejected.update(row.reason for row in checked.rejected)
        for count in columns.flat(checked.rows["channel"]).value_counts().to_pylist():
            self.channels[count["values"]] += count["counts"]
        times = timecut.histogram(columns.flat(checked.rows["timestamp"]).to_numpy())
        if batch.held_out:
            self.held_out = timecut.total([self.held_out, times])
        else:
            self.training = timecut.total([self.training, times])

    def report(self, conversion: Conversion) -> dict[str, Any]:
        """The numbers, the settings and what the user should know."""
        notes = []
        if self.clicked in (0, self.written):
            what = "no row has a click" if not self.clicked else "every row has a click"
            notes.append(f"{what}: there is one class only, from which clicks cannot be learnt")
        split, said = self._split()
        edges = timecut.total([self.training, self.held_out])
        first, last = (int(edges.bins[end]) << edges.shift for end in (0, -1))
        return {
            "read": self.read, "written": self.written, "rejected": dict(self.rejected), "clicks": self.clicks,
            "channels": dict(self.channels.most_common()), "first_timestamp": first, "last_timestamp": last,
            "settings": {**conversion.settings, **({"split": split} if split else {})}, "notes": [*notes, *said],
        }  # fmt: skip

    def _split(self) -> tuple[Mapping[str, int], list[str]]:
        """The publisher's split, if it is one in time; the newest tenth of its training rows validates."""
        if not len(self.held_out.bins) or not len(self.training.bins):
            return {}, []
        starts = int(self.held_out.bins[0]) << self.held_out.shift
        newest = int(self.training.bins[-1]) << self.training.shift
        if newest >= starts:
            return {}, ["the publisher's held-out files overlap the training files in time: split by shares instead"]
        validation = timecut.cut(self.training, Split(eval_fraction=0.1)).eval_from
        return {"validation_from": validation, "eval_from": starts}, []


def _write_settings(adapter: Adapter, report: Mapping[str, Any], folder: pathlib.Path) -> None:
    lines = [f"# {adapter.title}, made by hrlrec convert {adapter.name}; licence: {adapter.licence}"]
    lines += [f"# {note}" for note in report["notes"]]
    settings = {"files": LOG, **report["settings"]}
    text = "\n".join(lines) + "\n" + yaml.safe_dump(settings, sort_keys=False)
    (folder / config.FILE_NAME).write_text(text, encoding="utf-8")


def describe(report: Mapping[str, Any]) -> str:
    """A report for people."""
    day = "%Y-%m-%d"
    first, last = (
        datetime.datetime.fromtimestamp(report[f"{end}_timestamp"] / 1000, datetime.timezone.utc).strftime(day)
        for end in ("first", "last")
    )
    channels = list(report["channels"].items())
    shown = ", ".join(f"{name} {count:,}" for name, count in channels[:8])
    more = f", and {len(channels) - 8} more" if len(channels) > 8 else ""
    lines = [
        f"{report['read']:,} rows read = {report['written']:,} written + {sum(report['rejected'].values()):,} rejected",
        *(f"  rejected: {count:,} {reason}" for reason, count in sorted(report["rejected"].items())),
        f"{first} to {last} (UTC), clicks per row {report['clicks'] / report['written']:.4f}",
        f"{len(channels)} channels: {shown}{more}",
        *(f"note: {note}" for note in report["notes"]),
    ]
    return "\n".join(lines)
