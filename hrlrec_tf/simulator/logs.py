"""Impression logs of a world as Parquet files in the standard columns, a file per day.

A user's rows stand in order of time; those of different users do not. `Fixed` traffic gives the log its size.
"""

import pathlib
import shutil
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from hrlrec_tf.errors import ConfigError, LogError
from hrlrec_tf.simulator.config import CHANNELS, WorldConfig
from hrlrec_tf.simulator.days import ShownLists, simulate_day
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.policy import LoggingPolicy
from hrlrec_tf.simulator.state import UserStates
from hrlrec_tf.simulator.traffic import Fixed
from hrlrec_tf.simulator.users import AGE_BANDS, DEVICES, GENDERS

MODEL_VERSION = "simulated-popularity-2"

SCHEMA = pa.schema(
    [
        ("request_id", pa.string()),
        ("user_id", pa.string()),
        ("timestamp", pa.int64()),
        ("position", pa.int64()),
        ("item_id", pa.string()),
        ("channel", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("clicks", pa.int64()),
        ("dwell_seconds", pa.float32()),
        ("propensity_channel", pa.float32()),
        ("propensity_item", pa.float32()),
        ("explored", pa.bool_()),
        ("model_version", pa.string()),
        ("user_age_band", pa.string()),
        ("user_gender", pa.string()),
        ("user_tenure_days", pa.float32()),
        ("context_device", pa.string()),
        ("item_author", pa.string()),
        ("item_length_seconds", pa.float32()),
    ]
)


def write_log(config: WorldConfig, out: pathlib.Path, progress: bool = True) -> dict[str, Any]:
    """Writes the log of a world as one Parquet file per day and returns what it holds.

    Args:
      config: the world.
      out: a folder that does not exist or is empty. It appears complete or not at all.
      progress: whether to show a bar on stderr.

    Returns:
      `rows`, `users`, `items`, `days`, `ctr`, `channel_shares` (of the impressions) and `files` (names in `out`).

    Raises:
      ConfigError: `out` is a file or holds something already.
      LogError: the files cannot be written.
    """
    out = out.resolve()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"{out} already exists and is not an empty folder; name a new one or remove it")
    partial = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)  # what a killed run left
        partial.mkdir(parents=True)
        summary = _write_days(config, partial, progress)
        partial.replace(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise LogError(f"cannot write the log to {out}: {error}; free space or name another folder") from error
    return summary


def _write_days(config: WorldConfig, folder: pathlib.Path, progress: bool) -> dict[str, Any]:
    feed = Feed.create(config)
    policy, traffic = LoggingPolicy(feed), Fixed(feed, UserStates(feed))
    table = LogTable(feed)
    clicks, impressions = 0, np.zeros(len(CHANNELS), np.int64)
    files = []
    for day in tqdm(range(config.days), desc="simulate", unit="day", disable=not progress):
        files.append(f"impressions-{day:05d}-of-{config.days:05d}.parquet")
        with pq.ParquetWriter(folder / files[-1], SCHEMA) as writer:
            first = 0
            for lists in simulate_day(feed, policy, traffic, day):
                writer.write_table(table.rows(lists, first))
                first += len(lists.requests)
                clicks += int(lists.clicks.sum())
                impressions += np.bincount(feed.corpus.channels[lists.items].ravel(), minlength=len(CHANNELS))
    rows = int(impressions.sum())
    return {
        "rows": rows,
        "users": config.users,
        "items": config.items,
        "days": config.days,
        "ctr": clicks / rows,
        "channel_shares": {channel: int(n) / rows for channel, n in zip(CHANNELS, impressions, strict=True)},
        "files": files,
    }


class LogTable:
    """Turns lists into rows of `SCHEMA`; strings are made once per world and looked up per row."""

    def __init__(self, feed: Feed) -> None:
        users, corpus, config = feed.users, feed.corpus, feed.config
        tags = [f"topic{topic:02d}_{tag}" for topic in range(config.topics) for tag in range(config.tags_per_topic)]
        used = corpus.tags < corpus.tag_count
        tag_offsets = np.concatenate([[0], np.cumsum(used.sum(axis=1))]).astype(np.int32)
        self._by_item = {
            "item_id": pa.array([f"i{item:07d}" for item in range(config.items)]),
            "channel": pa.array(CHANNELS).take(pa.array(corpus.channels)),
            "tags": pa.ListArray.from_arrays(tag_offsets, pa.array(tags).take(pa.array(corpus.tags[used]))),
            "item_author": pa.array([f"a{author:04d}" for author in corpus.authors]),
            "item_length_seconds": pa.array(corpus.length_seconds),
        }
        self._by_user = {
            "user_id": pa.array([f"u{user:07d}" for user in range(config.users)]),
            "user_age_band": pa.array(AGE_BANDS).take(pa.array(users.age_band)),
            "user_gender": pa.array(GENDERS).take(pa.array(users.gender)),
            "user_tenure_days": pa.array(users.tenure_days),
        }
        self._devices = pa.array(DEVICES)

    def rows(self, lists: ShownLists, first: int) -> pa.Table:
        """One row per impression, in the order of requests and positions; requests are numbered from `first`."""
        count, positions = lists.items.shape
        item = pa.array(lists.items.ravel())
        user = pa.array(np.repeat(lists.requests.users, positions))
        ids = pa.array([f"d{lists.requests.day:03d}-{first + n:08d}" for n in range(count)])
        columns = {name: values.take(item) for name, values in self._by_item.items()}
        columns |= {name: values.take(user) for name, values in self._by_user.items()}
        columns |= {
            "request_id": ids.take(pa.array(np.repeat(np.arange(count), positions))),
            "timestamp": pa.array(np.repeat(lists.requests.timestamps, positions)),
            "position": pa.array(np.tile(np.arange(1, positions + 1), count)),
            "clicks": pa.array(lists.clicks.ravel().astype(np.int64)),
            "dwell_seconds": pa.array(lists.dwell_seconds.ravel()),
            "propensity_channel": pa.array(lists.choice.propensity_channel.ravel()),
            "propensity_item": pa.array(lists.choice.propensity_item.ravel()),
            "explored": pa.array(lists.choice.explored.ravel()),
            "model_version": pa.repeat(MODEL_VERSION, len(item)),
            "context_device": self._devices.take(pa.array(np.repeat(lists.requests.devices, positions))),
        }
        return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)
