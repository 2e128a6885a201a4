"""The sample data of the authors' release (github.com/modriczhang/HRL-Rec), as its `data_reader.py` reads it.

A line holds `sid:ID`, `offset:N` and `rec_list:ROWS`, separated by tabs. Rows are separated by `|`, a row's parts by
spaces: nine parts `field...:FEATURE,FEATURE,...` (three of the user, three of the document, three of the context),
`reward:NUMBER` and `return:NUMBER`. What the fields mean is published nowhere.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from hrlrec_tf.data import columns
from hrlrec_tf.data.adapters.base import Adapter, Batch, Conversion
from hrlrec_tf.data.adapters.folder import Folder
from hrlrec_tf.data.files import BrokenRow, LogFile, RawBatch
from hrlrec_tf.data.rules import Column

KEYS = ("sid", "offset", "rec_list")
GROUPS = ("user", "doc", "context")
FIELDS = tuple(f"{group}{n}" for group in GROUPS for n in (1, 2, 3))
VARIANTS = ("doc1", "doc2", "doc3")
BAD_LINE, BAD_ROW = "not_a_sample_line", "not_a_sample_row"

# Each line stands a minute after the one before, from 2020-02-01 UTC: there is no time in the data.
START_MS, STEP_MS = 1_580_515_200_000, 60_000

COLUMNS = {
    "request_id": Column("request_id"),
    "user_id": Column("sid"),
    "timestamp": Column("timestamp"),
    "position": Column("position"),
    "item_id": Column("item_id"),
    "channel": Column("channel"),
    "clicks": Column("reward", at_least=np.finfo(float).tiny),
    **{f"user_field{n}": Column(f"user{n}", type="string") for n in (1, 2, 3)},
    **{f"item_field{n}": Column(f"doc{n}", type="string") for n in (1, 2, 3)},
    **{f"context_field{n}": Column(f"context{n}", type="string") for n in (1, 2, 3)},
}


def open_folder(folder: Folder, variant: str | None) -> Conversion:
    """Opens sample.data, or its parts in their order; `variant` is the document field that is the channel."""
    channel = variant or VARIANTS[0]
    paths = folder.find("sample.data") or folder.find("sample.data.part*") or [folder.one("sample.data")]
    files = [folder.text(path, "\t", KEYS, quoted=False) for path in paths]
    for file in files:
        folder.check_columns(file, KEYS)
    notes = [
        "no users and no time in the data: every session is a user of its own, lines stand a minute apart",
        f"what the fields mean is not published: document field {channel} stands in for the channel (--variant)",
    ]
    return Conversion(COLUMNS, _batches(folder, files, channel), {}, notes=notes)


def _batches(folder: Folder, files: list[LogFile], channel: str) -> Iterator[Batch]:
    line = 0
    for file in files:
        for raw in folder.read(file, KEYS):
            yield Batch(folder.relative(file), sample_rows(raw, line, channel))
            line += len(raw.rows)


def sample_rows(raw: RawBatch, line: int, channel: str) -> RawBatch:
    """One row per document of a batch of lines, of which the first is the `line`-th of all files."""
    made = _Rows()
    texts = [columns.to_text(raw.table[key])[0].to_pylist() for key in KEYS]
    for n, cells in enumerate(zip(*texts, strict=True)):
        made.add_line(int(raw.rows[n]), line + n, cells, channel)
    names = ("request_id", "sid", "timestamp", "position", "item_id", "channel", "reward", *FIELDS)
    table = pa.table({name: pa.array([row[name] for row in made.rows]) for name in names})
    return RawBatch(table, np.array(made.numbers, np.int64), [*raw.broken, *made.broken])


@dataclasses.dataclass
class _Rows:
    """Rows, their line numbers, and what could not be read."""

    rows: list[Mapping[str, object]] = dataclasses.field(default_factory=list)
    numbers: list[int] = dataclasses.field(default_factory=list)
    broken: list[BrokenRow] = dataclasses.field(default_factory=list)

    def add_line(self, number: int, line: int, cells: tuple[str, ...], channel: str) -> None:
        values = dict(cell.partition(":")[::2] for cell in cells)
        if set(values) != set(KEYS):
            self.broken.append(BrokenRow(number, BAD_LINE, "\t".join(cells)))
            return
        for place, text in enumerate(values["rec_list"].split("|"), start=1):
            row = _parse(text)
            if row is None:
                self.broken.append(BrokenRow(number, BAD_ROW, text))
                continue
            made = {
                "request_id": f"{values['sid']}/{values['offset']}/{line}",
                "sid": values["sid"],
                "timestamp": START_MS + STEP_MS * line,
                "position": place,
                "item_id": "/".join(row[name] for name in FIELDS if name.startswith("doc")),
                "channel": row[channel],
            }
            self.rows.append(row | made)
            self.numbers.append(number)


def _parse(text: str) -> dict[str, str] | None:
    """A document's fields and reward; None where it has not nine fields and a reward."""
    pairs = [part.partition(":")[::2] for part in text.split(" ")]
    fields = [value for key, value in pairs if "field" in key]
    rewards = [value for key, value in pairs if key == "reward"]
    if len(fields) != len(FIELDS) or len(rewards) != 1 or not all(value for _, value in pairs):
        return None
    return dict(zip(FIELDS, fields, strict=True)) | {"reward": rewards[0]}


ADAPTER = Adapter(
    name="hrl-rec-sample",
    title="HRL-Rec sample",
    summary="lists of anonymous features with rewards, of the authors' release",
    about="""\
files: sample.data, or sample.data.part1, part2, ... If the parts cut lines, join them first:
cat sample.data.part* > sample.data

user_id             sid: every session is a user of its own
request_id          sid, offset and the number of the line
timestamp           made up: each line stands a minute after the one before, from 2020-02-01
position            the place in rec_list
item_id             the three document fields joined
channel             one document field: --variant doc1 (default), doc2 or doc3
clicks              1 where reward is above 0
user_field*, item_field*, context_field*    the nine fields, as they are

traps: the meaning of the nine fields, of offset and of the order of lines is published nowhere. Rows are read as the
release's data_reader.py reads them; this was not tried on the sample itself. return (the discounted sum of rewards)
is left out: it is the future.""",
    source="https://github.com/modriczhang/HRL-Rec",
    licence="Apache 2.0, as the repository's LICENSE says",
    variants=VARIANTS,
    open=open_folder,
)
