"""Simulated feeds of an experiment: the logged days, the sessions made of them, and the evening after.

A folder per seed holds `log/`, `sessions/` and the runs of `cells.py`; what is there is not made again. Users' memories
and the feed's journal of that evening are not stored: replaying the logged days takes seconds.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import shutil
from typing import Any

import numpy as np

from hrlrec_tf import verbs
from hrlrec_tf.cli import main, write_json
from hrlrec_tf.errors import ConfigError, DataError
from hrlrec_tf.experiments.cells import Sessions
from hrlrec_tf.simulator import logs
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.days import ShownLists
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.policy import LoggingPolicy
from hrlrec_tf.simulator.traffic import Open
from hrlrec_tf.simulator.trial import Stage, run_trial

HISTORY_LENGTH = 41  # of sessions with the default settings
_DATASET = "item_counts: {refresh_seconds: 86400}  # at midnight, as the simulator's journal does\n"


@dataclasses.dataclass(frozen=True)
class SimulatedFeed:
    """One world of an experiment.

    Attributes:
      config: the world; its seed is the experiment's.
      logged_days: days under the logging policy, from day 0.
      folder: where log, sessions and runs are.
    """

    config: WorldConfig
    logged_days: int
    folder: pathlib.Path

    @property
    def identity(self) -> str:
        """Of the world and its log: the same values, the same log."""
        text = json.dumps([self.config.changed(), self.logged_days], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @functools.cached_property
    def feed(self) -> Feed:
        """The world itself."""
        return Feed.create(self.config)

    def prepare(self) -> Sessions:
        """Writes log and sessions where they are missing.

        Raises:
          ConfigError: the folder holds those of another world.
          DataError: the log cannot be made into sessions.
        """
        mark = self.folder / "world.json"
        if mark.exists():
            found = json.loads(mark.read_text(encoding="utf-8"))
            if found.get("identity") != self.identity:
                raise ConfigError(f"{self.folder} holds another world; choose another --out, or remove the folder")
        else:
            for name in ("log", "sessions"):  # what a killed run left
                shutil.rmtree(self.folder / name, ignore_errors=True)
            self._write_log(self.folder / "log")
            if main(["prepare", "--log", str(self.folder / "log"), "--out", str(self.folder / "sessions")]):
                raise DataError(f"the log in {self.folder} cannot be prepared; see above")
            verbs.fitted_transform(self.folder / "sessions")
            write_json(mark, {"identity": self.identity, **self.describe()})
        return Sessions.open(str(self.folder / "sessions"))

    def describe(self) -> dict[str, Any]:
        """The world's values."""
        return {"logged_days": self.logged_days, "world": dataclasses.asdict(self.config)}

    def _write_log(self, folder: pathlib.Path) -> None:
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        stage = self.morning()
        traffic = Open(stage.feed, stage.states)
        logs.write_days(stage.feed, LoggingPolicy(stage.feed), traffic, range(self.logged_days), partial)
        (partial / "dataset.yaml").write_text(_DATASET, encoding="utf-8")
        os.replace(partial, folder)

    def morning(self) -> Stage:
        """The feed before its first day."""
        return Stage.open(self.feed, HISTORY_LENGTH)

    @functools.cached_property
    def evening(self) -> tuple[Stage, np.ndarray]:
        """The feed after the logged days, and clicks per channel in the log."""
        stage, clicks = self.morning(), np.zeros(len(self.config.channel_names), np.int64)

        def count(lists: ShownLists) -> None:
            clicked = stage.feed.corpus.channels[lists.items[lists.clicks]]
            clicks[:] += np.bincount(clicked, minlength=len(clicks))

        run_trial(stage, lambda each: LoggingPolicy(each.feed), range(self.logged_days), watch=count)
        return stage, clicks
