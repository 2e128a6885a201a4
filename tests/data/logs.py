"""Small random logs, and reading back what `prepare` made of them."""

import gzip
import pathlib
import random
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tensorflow.core.example import example_pb2

START = 1_700_000_000_000
IN_MEMORY = ("--direct_num_workers=1", "--direct_running_mode=in_memory")


def random_rows(seed, users=5, requests=40, ties=True, longest=7):
    """Rows with ties, overlapping requests, unicode ids, shared channels and tags, lists of 1 to `longest`."""
    draw = random.Random(seed)
    rows = []
    names = ["ann", "bo", "čeněk", "дарья", "유진", "f", "g"][:users]
    for request in range(requests):
        user = draw.choice(names)
        time = START + draw.randrange(30) * (60_000 if ties else 61_337)
        for position in draw.sample(range(1, longest + 3), draw.randint(1, longest)):
            item = draw.randrange(12)
            rows.append(
                {
                    "request_id": f"r{request}",
                    "user_id": user,
                    "timestamp": time + draw.choice([0, 0, 0, 60_000]),
                    "position": position,
                    "item_id": f"item-{item}-ü",
                    "channel": ["news", "видео", "short"][item % 3],
                    "tags": draw.sample(["a", "b", "ç", "d", "e"], draw.randint(0, 3)),
                    "clicks": draw.choice([0, 0, 0, 1, 2]),
                    "dwell_seconds": draw.choice([0.0, 1.5, 30.25]),
                    "propensity_channel": 0.5,
                    "propensity_item": draw.choice([0.25, 1.0]),
                    "explored": draw.randrange(2),
                    "user_age_band": {"ann": "18_24"}.get(user, "35_44"),
                    "context_device": f"phone{request % 2}",
                    "item_author": f"author{item % 4}",
                    "item_length_seconds": float(item),
                }
            )
    return rows


def write_parquet(rows, folder, files=1, seed=0, row_group_size=None):
    """Writes rows to `files` Parquet files in random order."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(rows)
    random.Random(seed).shuffle(rows)
    for n, part in enumerate(np.array_split(np.arange(len(rows)), files)):
        table = pa.Table.from_pylist([rows[index] for index in part])
        pq.write_table(table, folder / f"part-{(n * 7 + seed) % 100:02d}-{n}.parquet", row_group_size=row_group_size)
    return str(folder)


def read_records(folder, split):
    """Serialized sessions of one split."""
    records = []
    for path in sorted((pathlib.Path(folder) / split).glob("sessions-*.tfrecord.gz")):
        data, start = gzip.decompress(path.read_bytes()), 0
        while start < len(data):
            (size,) = struct.unpack_from("<Q", data, start)
            records.append(data[start + 12 : start + 12 + size])
            start += 16 + size
    return records


def read_sessions(folder, split, names=None):
    """[{feature: values}] of one split, of all features or of some."""
    found = []
    for record in read_records(folder, split):
        session = {}
        features = example_pb2.Example.FromString(record).features.feature
        for name in names or features:
            feature = features[name]
            values = getattr(feature, feature.WhichOneof("kind")).value
            session[name] = [value.decode() if isinstance(value, bytes) else value for value in values]
        found.append(session)
    return found


def read_bytes(folder):
    """Every file's bytes, by path."""
    folder = pathlib.Path(folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
