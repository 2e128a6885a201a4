"""Trains and evaluates many models in several seeds, through the command line that users have.

A cell is a model with some settings; a run is a cell with a seed. A folder of runs holds, per run, a model folder
models/CELL-SEED, the scored test rows predictions/CELL-SEED.parquet, the metrics results/CELL-SEED.json and the output
logs/CELL-SEED.log. A run that has its metrics is not run again, one that was killed goes on from its last checkpoint.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import math
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from hrlrec_tf import models, verbs
from hrlrec_tf.cli import write_json
from hrlrec_tf.errors import ConfigError, DataError, HrlrecError, TrainingError
from hrlrec_tf.experiments import formatting

_MEMORY_OF_A_RUN = 3 << 30  # bytes; HRL-Rec at the paper's sizes and batch 256 needs 2 GB


@dataclasses.dataclass(frozen=True)
class Cell:
    """One model with its settings.

    Attributes:
      name: unique in a folder of runs, and a file name.
      model: one of `models.NAMES`.
      preset: of a model that has presets.
      settings: `SECTION.FIELD=VALUE`, that differ from the preset or the default.
    """

    name: str
    model: str
    preset: str | None = None
    settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        models.settings(self.model, self.preset).override(self.settings)


@dataclasses.dataclass(frozen=True)
class Sessions:
    """Prepared sessions of all cells.

    Attributes:
      folder: what `hrlrec prepare` wrote.
      digest: of what they hold: the same wherever the folder lies.
      train_sizes: training file -> bytes, as a model folder records it.
    """

    folder: pathlib.Path
    digest: str
    train_sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def open(cls, name: str) -> "Sessions":
        """Raises DataError where `name` holds no finished sessions, or none to test on."""
        folder = verbs.session_folder(name)
        files = {split: verbs.session_files(folder, split) for split in ("train", "validation", "eval")}
        for split, found in files.items():
            if not found:
                raise DataError(f"{folder} holds no {split} sessions; run hrlrec prepare on a log of more days")
        sizes = [f"{split}/{pathlib.Path(f).name} {os.path.getsize(f)}" for split in files for f in files[split]]
        content = "\n".join([(folder / "summary.json").read_text(encoding="utf-8"), *sizes])
        train = {pathlib.Path(file).name: os.path.getsize(file) for file in files["train"]}
        return cls(folder, hashlib.sha256(content.encode()).hexdigest()[:16], train)


@dataclasses.dataclass(frozen=True)
class Run:
    """A cell with one seed.

    Attributes:
      cell: what to train.
      seed: `training.seed`.
      sessions: to train and test on.
      out: folder of all runs.
      threads: that TensorFlow may use.
    """

    cell: Cell
    seed: int
    sessions: Sessions
    out: pathlib.Path
    threads: int = 1

    def __str__(self) -> str:
        return f"{self.cell.name} seed {self.seed}"

    def file(self, folder: str, suffix: str = "") -> pathlib.Path:
        """Where this run keeps something."""
        return self.out / folder / f"{self.cell.name}-{self.seed}{suffix}"

    @property
    def predictions(self) -> pathlib.Path:
        """Scored test rows."""
        return self.file("predictions", ".parquet")

    @property
    def identity(self) -> dict[str, object]:
        """What was run, as results/*.json records it."""
        return {
            "cell": self.cell.name,
            "model": self.cell.model,
            "preset": self.cell.preset,
            "settings": list(self.cell.settings),
            "seed": self.seed,
            "sessions": self.sessions.digest,
        }

    def result(self) -> dict[str, object] | None:
        """The metrics of a finished run; None where it is not finished.

        Raises:
          ConfigError: the metrics there are of something else.
        """
        file = self.file("results", ".json")
        if not file.exists():
            return None
        found: dict[str, object] = json.loads(file.read_text(encoding="utf-8"))
        for name, value in self.identity.items():
            if found.get(name) != value:
                what = "made from other sessions" if name == "sessions" else f"of {name} {found.get(name)!r}"
                raise ConfigError(
                    f"{file} is {what}, not {value!r}; choose another --out, or remove it and {self.file('models')}"
                )
        return found

    @property
    def train_seconds(self) -> float:
        """How long a finished run trained; NaN where it is not known."""
        seconds = (self.result() or {}).get("train_seconds")
        return float(seconds) if isinstance(seconds, (int, float)) else math.nan

    def execute(self) -> dict[str, object]:
        """Trains and evaluates; returns what results/*.json then holds. Raises TrainingError where a verb fails."""
        model, metrics = self.file("models"), self.file("logs", ".metrics.json")
        words = [f"--out={model}", f"--model={self.cell.model}", "--resume"]
        words += [f"--preset={self.cell.preset}"] if self.cell.preset else []
        words += [f"--set={setting}" for setting in (*self.cell.settings, f"training.seed={self.seed}")]
        started = time.monotonic()
        if not self._trained():
            self._verb("train", *words)
        seconds = time.monotonic() - started
        self._verb("evaluate", f"--model={model}", f"--predictions={self.predictions}", f"--json={metrics}")
        result = {**json.loads(metrics.read_text(encoding="utf-8")), **self.identity, "train_seconds": seconds}
        write_json(self.file("results", ".json"), result)
        metrics.unlink()
        return result

    def _trained(self) -> bool:
        """Whether this run's model is finished; raises ConfigError where a model of something else is in its place."""
        from hrlrec_tf import model_folder

        folder = self.file("models")
        if not (folder / model_folder.RESULT).exists():
            return False
        settings = models.settings(self.cell.model, self.cell.preset)
        expected = {
            "model": self.cell.model,
            "config": settings.override([*self.cell.settings, f"training.seed={self.seed}"]).to_dict(),
            "sessions": self.sessions.train_sizes,
        }
        if model_folder.read_settings(folder) != json.loads(json.dumps(expected)):
            raise ConfigError(
                f"{folder} holds a model of other settings or sessions; choose another --out, or remove the folder"
            )
        return True

    def _verb(self, verb: str, *words: str) -> None:
        log = self.file("logs", ".log")
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            command = [sys.executable, "-m", "hrlrec_tf.cli", verb, f"--data={self.sessions.folder}", *words]
            code = subprocess.run(
                command,
                stdout=output,
                stderr=output,
                env=environment(self.threads),
                close_fds=False,  # the lock of the folder is held until the last run of a killed command has ended
                check=False,
            ).returncode
        if code:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines() or ["no output"]
            raise TrainingError(f"hrlrec {verb} ended with code {code} ({lines[-1]}); see {log}")


def run_all(runs: Sequence[Run], jobs: int) -> dict[str, str]:
    """Executes the unfinished ones of `runs`, `jobs` at a time, and prints each as it ends.

    Returns:
      str(run) -> why it failed, of those that did.

    Raises:
      ConfigError: the folder holds runs of something else.
    """
    waiting = [run for run in runs if run.result() is None]
    print(f"{len(runs) - len(waiting)} runs are finished, {len(waiting)} to do, {jobs} at a time", flush=True)
    if waiting:
        verbs.fitted_transform(waiting[0].sessions.folder)  # once, before runs would do it side by side
    threads = max(len(os.sched_getaffinity(0)) // jobs, 1)
    failed: dict[str, str] = {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(dataclasses.replace(run, threads=threads).execute): run for run in waiting}
        try:
            for done, future in enumerate(concurrent.futures.as_completed(futures), start=1):
                run, place = futures[future], f"{done} of {len(waiting)}"
                try:
                    result = future.result()
                    auc = formatting.number(result["auc"], 4)
                    print(f"{run}: AUC {auc}, {result['train_seconds']:.0f} s ({place})", flush=True)
                except (HrlrecError, OSError, ValueError) as error:
                    failed[str(run)] = str(error)
                    print(f"{run}: {error} ({place})", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)  # what runs was interrupted as well
            raise
    return failed


def fitting_jobs() -> int:
    """How many runs fit side by side: one per core, and as memory allows."""
    return max(min(len(os.sched_getaffinity(0)), _available_memory() // _MEMORY_OF_A_RUN), 1)


def _available_memory() -> int:
    """Bytes that Linux can give without swapping."""
    lines = pathlib.Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    sizes = dict(line.split(":", 1) for line in lines)
    return int(sizes["MemAvailable"].split()[0]) * 1024


def environment(threads: int) -> dict[str, str]:
    """This process's environment, with TensorFlow and the BLAS held to some threads."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**os.environ, **{name: str(threads) for name in names}}
