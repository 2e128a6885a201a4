"""A feed that is retrained every night: serve a day, log it, go on training from yesterday's model, replay the panel.

A folder per model and seed holds `log/` (the days so far), `versions/DAY/` (the model that served that day, and what it
showed to the panel), and the feed of last evening. A killed chain goes on with the day it was in.
"""

import dataclasses
import json
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import numpy as np
import numpy.typing as npt

from hrlrec_tf.cli import main, write_json
from hrlrec_tf.config import WARM
from hrlrec_tf.errors import ConfigError, DataError, TrainingError
from hrlrec_tf.experiments.simulated import HISTORY_LENGTH
from hrlrec_tf.folder_lock import FolderLock
from hrlrec_tf.simulator import logs
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.feed import DAY_MS, HOUR_MS, Feed
from hrlrec_tf.simulator.matcher import Candidates
from hrlrec_tf.simulator.policy import LoggingPolicy, Policy
from hrlrec_tf.simulator.requests import Requests
from hrlrec_tf.simulator.traffic import Open
from hrlrec_tf.simulator.trial import Stage, Trial, run_trial

FIRST_DAYS = 7  # under the logging policy
WINDOW_DAYS = 7  # that a nightly update learns from
EPSILON = 0.1  # share of positions that explore while serving
PER_HOUR = 40  # requests of the panel in each of 24 hours
HOURS = 24


@dataclasses.dataclass(frozen=True)
class Chain:
    """One model's life in one world.

    Attributes:
      world: with the experiment's seed.
      model: one of `models.NAMES` that builds lists.
      out: folder.
      settings: `SECTION.FIELD=VALUE` of the model.
      warm: the same of nightly updates alone.
    """

    world: WorldConfig
    model: str
    out: pathlib.Path
    settings: tuple[str, ...] = ()
    warm: tuple[str, ...] = WARM

    def __str__(self) -> str:
        return f"{self.model} seed {self.world.seed}"

    @property
    def days(self) -> range:
        """Days that the model serves."""
        return range(FIRST_DAYS, self.world.days)

    @property
    def identity(self) -> dict[str, Any]:
        """What the folder holds."""
        return {
            "world": self.world.changed(),
            "model": self.model,
            "settings": list(self.settings),
            "warm": list(self.warm),
        }

    @property
    def _log(self) -> pathlib.Path:
        """What the chain's own work and its updates print."""
        return self.out / "updates.log"

    def version(self, day: int) -> pathlib.Path:
        """Folder of the model that serves a day."""
        return self.out / "versions" / f"{day:03d}"

    def shares(self, day: int) -> npt.NDArray[np.float64] | None:
        """[2, hours, users, channels]: rows of each channel that a day's model shows to each half of the panel."""
        file = self.version(day) / "panel.npy"
        return np.load(file) if file.exists() else None

    def trial(self, day: int) -> Trial | None:
        """What users did on a day; None where it is not over."""
        file = self.version(day) / "day.npz"
        return Trial.load(file) if file.exists() else None

    def execute(self) -> None:
        """Lives through the days that are left.

        Raises:
          ConfigError: the folder holds another chain, or another process works in it.
          TrainingError: an update failed.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        with FolderLock(self.out) as lock:
            first = self._open()
            if first == self.days.stop:
                return
            with open(self._log, "a", buffering=1, encoding="utf-8") as output:
                with redirect_stdout(output), redirect_stderr(output):
                    self._live(first, lock)

    def _open(self) -> int:
        """Marks the folder as this chain's, if it is no other's; returns the first day that is not over."""
        mark = self.out / "chain.json"
        if mark.exists() and json.loads(mark.read_text("utf-8")) != json.loads(json.dumps(self.identity)):
            raise ConfigError(f"{self.out} holds another world, model or settings; choose another --out, or remove it")
        write_json(mark, self.identity)
        return max((day for day in self.days if self.trial(day) is not None), default=FIRST_DAYS - 1) + 1

    def _live(self, first: int, lock: int) -> None:
        """The days from `first` on; updates keep the file descriptor of the folder's lock open."""
        stage = self._evening(first - 1) or self._first_week()
        asking, panel = self._first_evening(), Panel.draw(stage.feed)
        for day in range(first, self.days.stop):
            self._update(day, lock)
            policy = self._policies(day, stage.feed)
            self._look(day, panel, asking.feed, policy(asking, 0.0))
            stage = self._serve(stage, policy, day)

    def _first_evening(self) -> Stage:
        """The evening after the first week, which is when the panel asks."""
        stage = Stage.open(Feed.create(self.world), HISTORY_LENGTH)
        run_trial(stage, lambda each: LoggingPolicy(each.feed), range(FIRST_DAYS))
        return stage

    def _first_week(self) -> Stage:
        """The days under the logging policy, written down; returns the last evening."""
        stage = Stage.open(Feed.create(self.world), HISTORY_LENGTH)
        shutil.rmtree(self.out / "log", ignore_errors=True)
        (self.out / "log").mkdir()
        traffic = Open(stage.feed, stage.states)
        watch = stage.journal.add
        logs.write_days(
            stage.feed, LoggingPolicy(stage.feed), traffic, range(FIRST_DAYS), self.out / "log", watch=watch
        )
        self._keep(stage, FIRST_DAYS - 1)
        return stage

    def _evening(self, day: int) -> Stage | None:
        """The feed as it was kept after a day; None before the first week is over."""
        file = self._evening_file(day)
        return pickle.loads(file.read_bytes()) if file.exists() else None

    def _evening_file(self, day: int) -> pathlib.Path:
        return self.out / f"evening-{day:03d}.pkl"

    def _keep(self, stage: Stage, day: int) -> None:
        scratch = self.out / ".evening.partial"
        scratch.write_bytes(pickle.dumps(stage))
        os.replace(scratch, self._evening_file(day))

    def _update(self, day: int, lock: int) -> None:
        """The model that serves `day`: trained on the days before it, from yesterday's one if there is one."""
        model = self.version(day) / "model"
        if (model / "result.json").exists():
            return
        sessions = self.out / "sessions"
        shutil.rmtree(sessions, ignore_errors=True)
        self._configure(day)
        if main(["prepare", "--log", str(self.out / "log"), "--out", str(sessions)]):
            raise DataError(f"{self}: the log before day {day} cannot be prepared; see {self._log}")
        words = [f"--set={setting}" for setting in (*self.settings, f"training.seed={self.world.seed}")]
        if day > FIRST_DAYS:
            words += [f"--warm-start={self.version(day - 1) / 'model'}", *(f"--set={each}" for each in self.warm)]
        command = [sys.executable, "-m", "hrlrec_tf.cli", "train", "--resume", f"--data={sessions}", f"--out={model}"]
        with open(self._log, "ab") as output:
            code = subprocess.run(
                [*command, f"--model={self.model}", *words],
                stdout=output,
                stderr=output,
                pass_fds=[lock],
                check=False,
            ).returncode
        if code:
            raise TrainingError(f"{self}: the update for day {day} failed; see {self._log}")

    def _configure(self, day: int) -> None:
        """Which days are learnt from: the first time with a day to validate on, then all of the window."""
        start = self.world.start_timestamp
        now, since = start + day * DAY_MS, start + (day - WINDOW_DAYS) * DAY_MS
        validation = now - DAY_MS if day == FIRST_DAYS else now - 2
        text = (
            "item_counts: {refresh_seconds: 86400}\n"
            f"split: {{train_from: {since}, validation_from: {validation}, eval_from: {now - 1}}}\n"
        )
        (self.out / "log" / "dataset.yaml").write_text(text, encoding="utf-8")

    def _policies(self, day: int, feed: Feed) -> Callable[[Stage, float], Policy]:
        """A day's model as a policy on a stage, with a share of positions that explore."""
        from hrlrec_tf.simulator.model_policy import ModelPolicy, open_model

        module: Any
        module, inputs = open_model(self.version(day) / "model", self.out / "sessions", feed)
        return lambda stage, epsilon: ModelPolicy(self.model, inputs, stage.journal, module.ranked, epsilon)

    def _look(self, day: int, panel: "Panel", feed: Feed, policy: Policy) -> None:
        """What the day's model shows to the panel, whose requests never change."""
        file = self.version(day) / "panel.npy"
        if not file.exists():
            scratch = self.version(day) / ".panel.npy"
            np.save(scratch, panel.replay(feed, policy))
            os.replace(scratch, file)

    def _serve(self, stage: Stage, policy: Callable[[Stage, float], Policy], day: int) -> Stage:
        """Lets a day pass and writes it down; the trial comes last, so that a day without it is lived again."""
        evening = stage.copy()
        file = self.out / "log" / f"impressions-{day:05d}.parquet"
        with logs.day_file(logs.LogTable(evening.feed), file) as write:
            trial = run_trial(evening, lambda each: policy(each, EPSILON), [day], watch=write)
        self._keep(evening, day)
        trial.save(self.version(day) / "day.npz")
        self._evening_file(day - 1).unlink(missing_ok=True)
        return evening


@dataclasses.dataclass(frozen=True)
class Panel:
    """Requests that are asked again and again: at every hour of one day, in two halves.

    Attributes:
      requests: [2 * hours * PER_HOUR], by half, hour and user.
      candidates: of each.
    """

    requests: Requests
    candidates: Candidates

    @classmethod
    def draw(cls, feed: Feed) -> "Panel":
        """Users at random; the hour is the only thing that differs between a user's requests."""
        rng = np.random.default_rng([feed.config.seed, 6])
        users = rng.integers(0, feed.config.users, (2, 1, PER_HOUR)).astype(np.int32)
        users = np.broadcast_to(users, (2, HOURS, PER_HOUR)).reshape(-1)
        hours = np.broadcast_to(np.arange(HOURS)[:, np.newaxis], (2, HOURS, PER_HOUR)).reshape(-1)
        requests = Requests(
            FIRST_DAYS,
            users,
            np.zeros(len(users), np.int32),
            feed.users.main_device[users],
            np.zeros(len(users), np.int32),
            feed.config.start_timestamp + FIRST_DAYS * DAY_MS + hours * HOUR_MS,
        )
        return cls(requests, feed.matcher.candidates(requests))

    def replay(self, feed: Feed, policy: Policy) -> npt.NDArray[np.float64]:
        """[2, hours, users, channels]: rows of each channel in each list."""
        choice = policy.lists(self.requests, self.candidates)
        items = np.take_along_axis(self.candidates.items, np.maximum(choice.places, 0), axis=1)
        channels = np.where(choice.places >= 0, feed.corpus.channels[items], -1)
        count = len(feed.config.channel_names)
        rows = np.stack([(channels == channel).sum(axis=1) for channel in range(count)], axis=1)
        return rows.reshape(2, HOURS, PER_HOUR, count).astype(np.float64)
