"""Impression logs of a world: traffic, the logging policy, feedback, and Parquet files in the standard columns.

Every day has its own random streams, each consumed in request order, so that rows depend on the configuration alone
and never on the chunk size.
"""

import dataclasses
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from hrlrec_tf.errors import ConfigError, LogError
from hrlrec_tf.simulator.config import CHANNELS, WorldConfig
from hrlrec_tf.simulator.feed import Feed, FloatArray, IntArray, Requests
from hrlrec_tf.simulator.policy import LoggingPolicy
from hrlrec_tf.simulator.users import AGE_BANDS, DEVICES, GENDERS

MODEL_VERSION = "simulated-popularity-1"
CHUNK_REQUESTS = 4_096

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

_DAY_MS = 86_400_000
_PEAK_HOUR = 20
_MAIN_DEVICE_SHARE = 0.8


@dataclasses.dataclass(frozen=True)
class LoggedLists:
    """Consecutive requests of one day with what was displayed and what came back; arrays are [requests, positions].

    Attributes:
      day: the day, from 0.
      first: number, within the day, of the first request here.
      requests: who asked, when, on what.
      items: displayed items, as indices.
      explored: whether the item was drawn uniformly from all items not yet in the list.
      click_probability: the truth behind `clicks`; not written to the log.
      clicks, dwell_seconds: the user's feedback.
    """

    day: int
    first: int
    requests: Requests
    items: IntArray
    explored: npt.NDArray[np.bool_]
    click_probability: FloatArray
    clicks: npt.NDArray[np.bool_]
    dwell_seconds: FloatArray


def simulate_day(feed: Feed, policy: LoggingPolicy, day: int, chunk: int = CHUNK_REQUESTS) -> Iterator[LoggedLists]:
    """Yields the lists of one day in time order, `chunk` requests at a time; memory grows with `chunk` only."""
    config = feed.config
    seeds = np.random.SeedSequence([config.seed, 2, day]).spawn(5)
    traffic, rank, explore, click, dwell = (np.random.default_rng(seed) for seed in seeds)
    for first in range(0, config.requests_per_day, chunk):
        requests = _draw_requests(feed, day, first, min(chunk, config.requests_per_day - first), traffic)
        items, explored = policy.lists(requests, rank, explore)
        probability = feed.click_probabilities(requests, items)
        clicks = click.random(items.shape, dtype=np.float32) < probability
        noise = dwell.standard_normal(items.shape, dtype=np.float32)
        seconds = feed.dwell_seconds(requests, items, clicks, noise)
        yield LoggedLists(day, first, requests, items, explored, probability, clicks, seconds)


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
    policy = LoggingPolicy(feed)
    table = LogTable(feed)
    clicks, impressions = 0, np.zeros(len(CHANNELS), np.int64)
    files = []
    for day in tqdm(range(config.days), desc="simulate", unit="day", disable=not progress):
        files.append(f"impressions-{day:05d}-of-{config.days:05d}.parquet")
        with pq.ParquetWriter(folder / files[-1], SCHEMA) as writer:
            for lists in simulate_day(feed, policy, day):
                writer.write_table(table.rows(lists))
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

    def rows(self, lists: LoggedLists) -> pa.Table:
        """One row per impression, in the order of requests and positions."""
        count, positions = lists.items.shape
        item = pa.array(lists.items.ravel())
        user = pa.array(np.repeat(lists.requests.users, positions))
        ids = pa.array([f"d{lists.day:03d}-{lists.first + n:08d}" for n in range(count)])
        columns = {name: values.take(item) for name, values in self._by_item.items()}
        columns |= {name: values.take(user) for name, values in self._by_user.items()}
        columns |= {
            "request_id": ids.take(pa.array(np.repeat(np.arange(count), positions))),
            "timestamp": pa.array(np.repeat(lists.requests.timestamps, positions)),
            "position": pa.array(np.tile(np.arange(1, positions + 1), count)),
            "clicks": pa.array(lists.clicks.ravel().astype(np.int64)),
            "dwell_seconds": pa.array(lists.dwell_seconds.ravel()),
            "explored": pa.array(lists.explored.ravel()),
            "model_version": pa.repeat(MODEL_VERSION, len(item)),
            "context_device": self._devices.take(pa.array(np.repeat(lists.requests.devices, positions))),
        }
        return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _draw_requests(feed: Feed, day: int, first: int, count: int, rng: np.random.Generator) -> Requests:
    """Requests `first`, ..., of a day, in time order: request n falls into the n-th slice of the day's traffic."""
    config = feed.config
    draws = rng.random((count, 4))
    hours = np.arange(24)
    weights = 1.0 + config.hour_cycle * np.cos(2.0 * np.pi * (hours - _PEAK_HOUR) / 24.0)
    traffic = np.concatenate([[0.0], np.cumsum(weights) / weights.sum()])
    quantiles = (first + np.arange(count) + draws[:, 0]) / config.requests_per_day
    time_of_day = np.interp(quantiles, traffic, np.arange(25) / 24)
    timestamps = config.start_timestamp + day * _DAY_MS + (time_of_day * _DAY_MS).astype(np.int64)
    users = np.searchsorted(feed.users.cumulative_activity, draws[:, 1], side="right")
    users = np.minimum(users, config.users - 1)
    other = (draws[:, 2] * len(DEVICES)).astype(np.int8)
    devices = np.where(draws[:, 3] < _MAIN_DEVICE_SHARE, feed.users.main_device[users], other)
    return Requests(users.astype(np.int32), devices, timestamps)
