"""The search: asks the oracle, runs trials, tells the oracle, and can be killed and repeated at any moment.

A search folder holds `search.json` (what is searched on which sessions), `oracle.json` (KerasTuner's state) and
`trials/ID/`, where `outcome.json` is the truth about a trial. What was cut off is resumed, what ended is not repeated.
"""

import json
import math
import pathlib
import sys
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol

from keras_tuner.engine.trial import Trial
from tqdm import tqdm

from hrlrec_tf import cli
from hrlrec_tf.errors import ConfigError, ModelError, TrainingError
from hrlrec_tf.tuning import oracles, trials
from hrlrec_tf.tuning.space import SearchSpace, Value
from hrlrec_tf.tuning.trials import Job, Outcome, TrialRecord

_SEARCH = "search.json"
_ORACLE = "oracle.json"


class Runner(Protocol):
    """What trains a trial."""

    def __call__(self, folder: pathlib.Path) -> Outcome:
        """Runs the job in a trial's folder to its end; called from several threads."""

    def close(self) -> None:
        """Ends what still runs; no call returns an outcome from then on."""


def open_folder(folder: pathlib.Path, space: SearchSpace, model: str, sessions: Mapping[str, Any]) -> None:
    """Makes the search folder, or checks that it belongs to this very search; only `trials` may differ.

    Args:
      folder: of the search.
      space: what is searched.
      model: name of the model.
      sessions: what tells these sessions from others, ready for JSON.

    Raises:
      ModelError: the folder holds another search or other files; the message names what differs.
    """
    settings = space.to_dict()
    del settings["trials"], settings["model"]  # which stands as --model
    search = {
        "--model": model,
        "sessions behind --data": dict(sessions),
        **{f"space.{name}": kind for name, kind in settings.pop("fields").items()},
        **settings,
    }
    if (folder / _SEARCH).exists():
        begun = json.loads((folder / _SEARCH).read_text(encoding="utf-8"))
        if different := sorted(key for key in {*begun, *search} if begun.get(key) != search.get(key)):
            raise ModelError(
                f"{folder} was begun with other settings ({', '.join(different)}); repeat that search, or choose "
                "another --out"
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise ModelError(f"{folder} holds other files; choose another --out")
    cli.write_json(folder / _SEARCH, search)


class Search:
    """One search in one folder."""

    def __init__(
        self, folder: pathlib.Path, space: SearchSpace, data: str, model: str, runner: Runner, parallel: int = 1
    ) -> None:
        """
        Args:
          folder: as `open_folder` left it.
          space: what is searched.
          data: folder of sessions.
          model: name of the model.
          runner: trains one trial.
          parallel: trials at a time.
        """
        self._folder, self._space, self._data, self._model = folder, space, data, model
        self._runner, self._parallel = runner, parallel
        self._oracle = oracles.make(space)
        if (folder / _ORACLE).exists():
            oracles.restore(self._oracle, json.loads((folder / _ORACLE).read_text(encoding="utf-8")))
        # The oracle hands these trials out again to whoever asks under the same worker's name.
        self._cut_off = list(self._oracle.ongoing_trials)
        self._ended: dict[str, TrialRecord] = {}
        for name in self._oracle.end_order:
            if outcome := trials.read_outcome(self._trial_folder(name)):
                self._ended[name] = TrialRecord(name, self._values(self._oracle.trials[name]), outcome)

    def run(self, progress: bool = True) -> list[TrialRecord]:
        """Runs every trial that is left.

        Args:
          progress: show a progress bar on stderr, with a line for each trial that ends.

        Returns:
          All trials.

        Raises:
          TrainingError: no trial gave a validation AUC.
        """
        most = self._space.most_trials
        bar = tqdm(total=most, initial=len(self._ended), desc="tune", unit="trial", disable=not progress)
        with bar, ThreadPoolExecutor(self._parallel) as pool:
            try:
                self._run_all(pool, bar)
            except BaseException:
                self._runner.close()  # which the pool waits for
                raise
        records = list(self._ended.values())
        if not any(record.outcome.auc is not None for record in records):
            raise TrainingError(
                f"none of {len(records)} trials gave a validation AUC; the first: {records[0].outcome.reason}"
            )
        return records

    def _run_all(self, pool: ThreadPoolExecutor, bar: tqdm) -> None:
        running: dict[Future[Outcome], Trial] = {}
        while True:
            while len(running) < self._parallel and (trial := self._next_trial()):
                running[pool.submit(self._outcome, trial.trial_id, self._values(trial), self._known(trial))] = trial
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                self._end(running.pop(future), future.result())
                self._show(bar)

    def _next_trial(self) -> Trial | None:
        worker = self._cut_off.pop(0) if self._cut_off else f"worker-{len(self._oracle.trials)}"
        trial = self._oracle.create_trial(worker)
        self._store()
        return trial if trial.status == "RUNNING" else None

    def _known(self, trial: Trial) -> Outcome | None:
        """How a trial ends without training: it did before a kill, or its values had their trial or contradict."""
        if outcome := trials.read_outcome(self._trial_folder(trial.trial_id)):
            return outcome
        values = self._values(trial)
        try:
            self._space.config(values)
        except ConfigError as error:
            return Outcome("failed", reason=str(error))
        for record in self._ended.values():
            if record.values == values and record.outcome.auc is not None and not record.outcome.same_as:
                return Outcome("completed", record.outcome.aucs, same_as=record.name)
        return None

    def _outcome(self, name: str, values: Mapping[str, Value], known: Outcome | None) -> Outcome:
        folder, space = self._trial_folder(name), self._space
        if known is None:
            seeds = list(range(space.executions)) if space.executions > 1 else []
            job = Job(self._data, self._model, space.preset, space.settings(values), seeds)
            trials.write(folder, trials.JOB, job)
        outcome = known or self._runner(folder)
        trials.write(folder, trials.OUTCOME, outcome)
        return outcome

    def _end(self, trial: Trial, outcome: Outcome) -> None:
        if outcome.auc is not None:
            self._oracle.update_trial(trial.trial_id, {oracles.OBJECTIVE: outcome.auc})
        trial.status = "FAILED" if outcome.auc is None else "COMPLETED"
        trial.message = outcome.reason or None
        self._oracle.end_trial(trial)
        self._store()
        self._ended[trial.trial_id] = TrialRecord(trial.trial_id, self._values(trial), outcome)

    def _show(self, bar: tqdm) -> None:
        """The trial that ended last, and the best so far."""
        if bar.disable:
            return
        *_, last = self._ended.values()
        best = max(self._ended.values(), key=lambda record: record.outcome.auc or 0.0)
        bar.write(f"trial {last.name}: {last}", file=sys.stderr)
        bar.set_postfix_str(f"best AUC {best.outcome.auc or math.nan:.4f}, trial {best.name}", refresh=False)
        bar.update()

    def _store(self) -> None:
        cli.write_json(self._folder / _ORACLE, oracles.state(self._oracle))

    def _values(self, trial: Trial) -> dict[str, Value]:
        return self._space.settle(trial.hyperparameters.values)

    def _trial_folder(self, name: str) -> pathlib.Path:
        return self._folder / "trials" / name
