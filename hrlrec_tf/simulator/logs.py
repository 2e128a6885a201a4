"""Impression logs of a world as Parquet files in the standard columns, a file per day.

A user's rows stand in order of time; those of different users do not. `Fixed` traffic gives the log its size.
"""

import contextlib
import itertools
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from hrlrec_tf.errors import ConfigError, LogError
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.days import ShownLists, simulate_day
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.policy import LoggingPolicy, Policy
from hrlrec_tf.simulator.state import UserStates
from hrlrec_tf.simulator.traffic import Fixed, Traffic
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
    check_new(out)
    partial = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)  # what a killed run left
        partial.mkdir(parents=True)
        feed = Feed.create(config)
        traffic = Fixed(feed, UserStates(feed))
        summary = write_days(feed, LoggingPolicy(feed), traffic, range(config.days), partial, progress)
        partial.replace(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise LogError(f"cannot write the log to {out}: {error}; free space or name another folder") from error
    return summary


def check_new(out: pathlib.Path) -> None:
    """Raises ConfigError where `out` is a file or holds something already."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"{out} already exists and is not an empty folder; name a new one or remove it")


def write_days(
    feed: Feed,
    policy: Policy,
    traffic: Traffic,
    days: Sequence[int],
    folder: pathlib.Path,
    progress: bool = False,
    watch: Callable[[ShownLists], None] = lambda lists: None,
) -> dict[str, Any]:
    """Lets days pass and writes a file of each into an existing folder.

    Args:
      feed: the world. policy: that ranks. traffic: with the users' states.
      days: consecutive ones.
      folder: to write to.
      progress: whether to show a bar on stderr.
      watch: is told every batch of lists.

    Returns:
      See `write_log`; shares are of all impressions.
    """
    table = LogTable(feed)
    names = feed.config.channel_names
    clicks, impressions = 0, np.zeros(len(names), np.int64)
    files = []
    for day in tqdm(days, desc="simulate", unit="day", disable=not progress):
        files.append(f"impressions-{day:05d}-of-{feed.config.days:05d}.parquet")
        with day_file(table, folder / files[-1]) as write:
            for lists in simulate_day(feed, policy, traffic, day):
                write(lists)
                watch(lists)
                clicks += int(lists.clicks.sum())
                shown = lists.items[lists.items >= 0]
                impressions += np.bincount(feed.corpus.channels[shown], minlength=len(names))
    rows = int(impressions.sum())
    return {
        "rows": rows,
        "users": feed.config.users,
        "items": feed.config.items,
        "days": len(days),
        "ctr": clicks / max(rows, 1),
        "channel_shares": {channel: int(n) / max(rows, 1) for channel, n in zip(names, impressions, strict=True)},
        "files": files,
    }


@contextlib.contextmanager
def day_file(table: "LogTable", file: pathlib.Path) -> Iterator[Callable[[ShownLists], None]]:
    """A file of one day's lists; yields what writes the next ones. The file appears when the day is over."""
    scratch, requests = file.with_name(f".{file.name}.partial"), itertools.count()
    with pq.ParquetWriter(scratch, SCHEMA) as writer:
        yield lambda lists: writer.write_table(table.rows(lists, requests))
    scratch.replace(file)


class LogTable:
    """Turns lists into rows of `SCHEMA`; strings are made once per world and looked up per row.

    Attributes:
      by_item, by_user: column -> its value of each item, each user.
      devices: names of the devices.
      tags: names of the tags.
    """

    def __init__(self, feed: Feed) -> None:
        users, corpus, config = feed.users, feed.corpus, feed.config
        self.tags = [
            f"topic{topic:02d}_{tag}" for topic in range(config.topics) for tag in range(config.tags_per_topic)
        ]
        used = corpus.tags < corpus.tag_count
        tag_offsets = np.concatenate([[0], np.cumsum(used.sum(axis=1))]).astype(np.int32)
        self.by_item = {
            "item_id": pa.array([f"i{item:07d}" for item in range(config.items)]),
            "channel": pa.array(config.channel_names).take(pa.array(corpus.channels)),
            "tags": pa.ListArray.from_arrays(tag_offsets, pa.array(self.tags).take(pa.array(corpus.tags[used]))),
            "item_author": pa.array([f"a{author:04d}" for author in corpus.authors]),
            "item_length_seconds": pa.array(corpus.length_seconds),
        }
        self.by_user = {
            "user_id": pa.array([f"u{user:07d}" for user in range(config.users)]),
            "user_age_band": pa.array(AGE_BANDS).take(pa.array(users.age_band)),
            "user_gender": pa.array(GENDERS).take(pa.array(users.gender)),
            "user_tenure_days": pa.array(users.tenure_days),
        }
        self.devices = pa.array(DEVICES)

    def rows(self, lists: ShownLists, numbers: Iterator[int]) -> pa.Table:
        """One row per impression, in the order of requests and positions; requests take their numbers one by one."""
        count, positions = lists.items.shape
        shown = lists.items.ravel() >= 0
        item = pa.array(np.maximum(lists.items.ravel(), 0))
        user = pa.array(np.repeat(lists.requests.users, positions))
        ids = pa.array([f"d{lists.requests.day:03d}-{next(numbers):08d}" for _ in range(count)])
        columns = {name: values.take(item) for name, values in self.by_item.items()}
        columns |= {name: values.take(user) for name, values in self.by_user.items()}
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
            "context_device": self.devices.take(pa.array(np.repeat(lists.requests.devices, positions))),
        }
        rows = pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)
        return rows if shown.all() else rows.filter(pa.array(shown))
