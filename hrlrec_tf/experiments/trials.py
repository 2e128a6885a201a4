"""Runs policies in simulated feeds, in processes side by side; a finished trial is not run twice."""

import concurrent.futures
import concurrent.futures.process
import contextlib
import dataclasses
import json
import multiprocessing
import os
import pathlib
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import psutil
from tqdm import tqdm

from hrlrec_tf.cli import quieten_libraries, write_json
from hrlrec_tf.errors import ConfigError, HrlrecError, TrainingError
from hrlrec_tf.experiments import cells, counterfactual
from hrlrec_tf.experiments.simulated import SimulatedFeed
from hrlrec_tf.simulator.policy import LoggingPolicy, Oracle, Policy
from hrlrec_tf.simulator.trial import Stage, Trial, run_trial

JUDGED_DAYS = 3  # the newest logged ones, on which the log is asked what a policy would have earned
SIMPLE: dict[str, Callable[..., Policy]] = {"oracle": Oracle, "logging": LoggingPolicy}


@dataclasses.dataclass(frozen=True)
class TrialRun:
    """One policy in one feed under one click model.

    Attributes:
      feed: where.
      days: of the trial: those after the logged ones.
      click_model: that users follow on these days.
      policy: `oracle`, `logging`, or the name of a cell whose model stands in the feed's folder.
      rule: how a model becomes a policy: `rank`, or `quotas` for the online base.
    """

    feed: SimulatedFeed
    days: int
    click_model: str
    policy: str
    rule: str = "rank"

    def __str__(self) -> str:
        return f"{self.policy} in {self.click_model} {self.feed.config.seed}"

    @property
    def file(self) -> pathlib.Path:
        """The trial's counts."""
        return self.feed.folder / "trials" / f"{self.click_model}-{self.policy}.npz"

    @property
    def model(self) -> pathlib.Path | None:
        """The model's folder; None for a policy without one."""
        if self.policy in SIMPLE:
            return None
        return self.feed.folder / "models" / f"{self.policy}-{self.feed.config.seed}"

    @property
    def identity(self) -> dict[str, Any]:
        """What was run, as the file beside the counts records it."""
        settings = None
        if self.model is not None:
            settings = json.loads((self.model / "config.json").read_text(encoding="utf-8"))
        return {"world": self.feed.identity, "days": self.days, "rule": self.rule, "settings": settings}

    def result(self) -> Trial | None:
        """The counts of a finished trial; None where it is not finished.

        Raises:
          ConfigError: the counts there are of something else.
        """
        mark = self.file.with_suffix(".json")
        if not mark.exists():
            return None
        found = json.loads(mark.read_text(encoding="utf-8"))
        for name, value in json.loads(json.dumps(self.identity)).items():
            if found.get(name) != value:
                raise ConfigError(f"{mark} is a trial of another {name}; choose another --out, or remove {self.file}")
        return Trial.load(self.file)

    def estimates(self) -> dict[str, dict[str, Any]]:
        """What the log said of the policy; see `counterfactual`. Empty under another click model than the log's."""
        mark = self.file.with_suffix(".json")
        found = json.loads(mark.read_text(encoding="utf-8")) if mark.exists() else {}
        return {level: found[level] for level in ("item", "channel") if level in found}

    def execute(self) -> None:
        """Runs the trial and writes what it found."""
        stage, _ = self.feed.evening
        first, started = self.feed.logged_days, time.monotonic()
        trial = run_trial(stage.copy(self.click_model), self.make_policy, range(first, first + self.days))
        self.file.parent.mkdir(parents=True, exist_ok=True)
        trial.save(self.file)
        figures: dict[str, Any] = {"lists": int(trial.requests.sum()), "seconds": time.monotonic() - started}
        if self.model is not None and self.click_model == self.feed.config.click_model:
            judged = range(first - JUDGED_DAYS, first)
            figures |= counterfactual.first_position(self.feed.morning(), self.make_policy, range(first), judged)
        write_json(self.file.with_suffix(".json"), {**self.identity, **figures})

    def make_policy(self, stage: Stage) -> Policy:
        """The policy on a stage."""
        if self.model is None:
            return SIMPLE[self.policy](stage.feed)
        from hrlrec_tf.simulator.model_policy import ModelPolicy, QuotaPolicy, open_model, quotas

        module: Any
        module, inputs = open_model(self.model, self.feed.folder / "sessions", stage.feed)
        if self.rule == "rank":
            return ModelPolicy(self.policy, inputs, stage.journal, module.ranked)
        shares = quotas(self.feed.evening[1], stage.feed.config.positions)
        return QuotaPolicy(self.policy, inputs, stage.journal, module.score, shares)


def run_all(runs: Sequence[TrialRun], jobs: int) -> dict[str, str]:
    """Executes the unfinished ones of `runs`, `jobs` at a time.

    Returns:
      str(run) -> why it failed, of those that did.

    Raises:
      ConfigError: a folder holds trials of something else.
    """
    return execute_all([run for run in runs if run.result() is None], jobs)


class Executable(Protocol):
    """Something that takes long and keeps what it has done."""

    def execute(self) -> None:
        """Does what is left."""
        ...


def execute_all(waiting: Sequence[Executable], jobs: int) -> dict[str, str]:
    """Executes each in a process of its own, `jobs` at a time.

    Returns:
      str(each) -> why it failed, of those that did.
    """
    threads, failed = max(len(os.sched_getaffinity(0)) // jobs, 1), {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(_in_process, each, threads): each for each in waiting}
        try:
            for future in tqdm(concurrent.futures.as_completed(futures), "trials", len(waiting), unit="trial"):
                try:
                    future.result()
                except (HrlrecError, OSError, ValueError) as error:
                    failed[str(futures[future])] = str(error)
                    tqdm.write(f"{futures[future]}: {error}", file=sys.stderr)
        except BaseException:  # Ctrl-C, which interrupts what runs as well, or something that nobody foresaw
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failed


def _in_process(each: Executable, threads: int) -> None:
    """Executes in a process that nothing else will use: TensorFlow keeps the memory of every model it has opened."""
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    with concurrent.futures.ProcessPoolExecutor(
        1, mp_context=context, initializer=_begin, initargs=(cells.environment(threads),)
    ) as pool:
        try:
            pool.submit(each.execute).result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise TrainingError(
                "its process ended, perhaps killed for memory: then lower --jobs; what it printed stands above"
            ) from error


def _begin(environment: dict[str, str]) -> None:
    os.environ.update(environment)
    quieten_libraries()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process, and those that it started, when the one that started it is gone.

    What is left of a killed command would write beside the command that follows.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    os._exit(1)
