"""Small copies of public data sets in their published formats, and what became of them."""

import gzip
import json

import pyarrow.parquet as pq

from hrlrec_tf.data import config, convert


def write(folder, name, text, encoding="utf-8"):
    """Writes a text file at `name` below the folder; lines may come as a list."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = text if isinstance(text, str) else "\n".join(text) + "\n"
    path.write_bytes(text.encode(encoding))
    return path


def run(name, files, out, variant=None):
    """The report, the rows as dicts and the configuration of one conversion."""
    report = convert.convert(name, files, out, variant, show_progress=False)
    return report, pq.read_table(out / convert.LOG).to_pylist(), config.find(str(out), None)


def rejected(out):
    """[(file, row, reason)] of what a conversion left out."""
    lines = gzip.decompress((out / convert.REJECTED).read_bytes()).splitlines()
    return [(row["file"], row["row"], row["reason"]) for row in map(json.loads, lines)]
