"""Trains and evaluates HRL-Rec in several forms and seeds, through the command line that users have.

    python -m benchmarks.quality run --data SESSIONS --out RUNS --seeds 0 1 2 3 4 --jobs 2
    python -m benchmarks.quality list

A cell is a preset with some settings; `--cells` chooses cells by name. RUNS gets, per cell and seed, a model folder
models/CELL-SEED, the scored test rows predictions/CELL-SEED.parquet (for `hrlrec compare`), the metrics
results/CELL-SEED.json and the output logs/CELL-SEED.log. A cell that has its metrics is not run again, one that was
killed goes on from its last checkpoint.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence

from hrlrec_tf.cli import write_json
from hrlrec_tf.errors import ConfigError, HrlrecError, TrainingError

PRESETS = ("paper", "best")
ABLATIONS = {  # the rows of the paper's Table 4, and the supervised losses alone
    "no-gru": ("network.sequence=mean",),
    "no-attention": ("network.fields=dense",),
    "no-future": ("losses.gamma=0",),
    "no-similarity": ("losses.similarity=0",),
    "no-ctr": ("losses.ctr=0", "losses.action_ctr=0"),
    "supervised": ("losses.channel=0", "losses.item=0"),
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One form of the model: a preset and the settings that differ from it."""

    preset: str
    settings: tuple[str, ...] = ()


CELLS = {preset: Cell(preset) for preset in PRESETS} | {
    f"{preset}-{name}": Cell(preset, settings) for preset in PRESETS for name, settings in ABLATIONS.items()
}


@dataclasses.dataclass(frozen=True)
class Run:
    """A cell with one seed.

    Attributes:
      name: of the cell.
      cell: what to train.
      seed: `training.seed`.
      data: folder of prepared sessions.
      out: folder of all runs.
      threads: that TensorFlow may use.
    """

    name: str
    cell: Cell
    seed: int
    data: pathlib.Path
    out: pathlib.Path
    threads: int

    def file(self, folder: str, suffix: str = "") -> pathlib.Path:
        """Where this run keeps something."""
        return self.out / folder / f"{self.name}-{self.seed}{suffix}"

    @property
    def identity(self) -> dict[str, object]:
        """What was run, as results/*.json records it."""
        return {
            "cell": self.name,
            "preset": self.cell.preset,
            "settings": list(self.cell.settings),
            "seed": self.seed,
            "data": str(self.data.resolve()),
        }

    def finished(self) -> bool:
        """Whether there are metrics; raises ConfigError if they are of something else."""
        try:
            found = json.loads(self.file("results", ".json").read_text())
        except FileNotFoundError:
            return False
        for name, value in self.identity.items():
            if found.get(name) != value:
                raise ConfigError(
                    f"{self.file('results', '.json')} is of {name} {found.get(name)!r}, not {value!r}; choose another "
                    "--out or remove the file"
                )
        return True

    def execute(self) -> dict[str, object]:
        """Trains and evaluates; returns what results/*.json then holds. Raises TrainingError where a verb fails."""
        model, metrics = self.file("models"), self.file("logs", ".metrics.json")
        settings = [f"--set={setting}" for setting in (*self.cell.settings, f"training.seed={self.seed}")]
        started = time.monotonic()
        if not (model / "result.json").exists():
            self._verb("train", f"--out={model}", f"--preset={self.cell.preset}", *settings, "--resume")
        seconds = time.monotonic() - started
        predictions = self.file("predictions", ".parquet")
        self._verb("evaluate", f"--model={model}", f"--predictions={predictions}", f"--json={metrics}")
        result = {**self.identity, "train_seconds": seconds, **json.loads(metrics.read_text())}
        write_json(self.file("results", ".json"), result)
        metrics.unlink()
        return result

    def _verb(self, verb: str, *words: str) -> None:
        log = self.file("logs", ".log")
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            command = [sys.executable, "-m", "hrlrec_tf.cli", verb, f"--data={self.data}", *words]
            code = subprocess.run(
                command, stdout=output, stderr=output, env=environment(self.threads), check=False
            ).returncode
        if code:
            lines = log.read_text(errors="replace").splitlines() or ["no output"]
            raise TrainingError(f"hrlrec {verb} ended with code {code} ({lines[-1]}); see {log}")


def environment(threads: int) -> dict[str, str]:
    """This process's environment, with TensorFlow and the BLAS held to some threads."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**os.environ, **{name: str(threads) for name in names}}


def run_all(runs: Sequence[Run], jobs: int) -> int:
    """Executes the unfinished ones of `runs`, `jobs` at a time; returns how many failed."""
    waiting = [run for run in runs if not run.finished()]
    print(f"{len(runs) - len(waiting)} runs are finished, {len(waiting)} to do, {jobs} at a time", flush=True)
    # The first `hrlrec train` on some sessions also fits their transform: it must not race with another.
    alone = 0 if all((run.data / "transform").exists() for run in waiting) else 1
    return _execute(waiting[:alone], 1) + _execute(waiting[alone:], jobs)


def _execute(runs: Sequence[Run], jobs: int) -> int:
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(run.execute): run for run in runs}
        for future in concurrent.futures.as_completed(futures):
            name = f"{futures[future].name} seed {futures[future].seed}"
            try:
                result = future.result()
                print(f"{name}: test AUC {result['auc']:.4f}, {result['train_seconds']:.0f} s", flush=True)
            except (HrlrecError, OSError) as error:
                failed += 1
                print(f"{name}: {error}", file=sys.stderr, flush=True)
    return failed


def main(argv: Sequence[str] | None = None) -> int:
    """Runs or lists the cells; returns the exit code."""
    args = _parser().parse_args(argv)
    if args.verb == "list":
        for name, cell in CELLS.items():
            print(" ".join([f"{name:<20}", f"--preset={cell.preset}", *(f"--set={each}" for each in cell.settings)]))
        return 0
    threads = max(len(os.sched_getaffinity(0)) // args.jobs, 1)
    data, out = pathlib.Path(args.data), pathlib.Path(args.out)
    # Seed by seed, so that a run cut short has every cell.
    runs = [Run(name, CELLS[name], seed, data, out, threads) for seed in args.seeds for name in args.cells]
    try:
        return 1 if run_all(runs, args.jobs) else 0
    except HrlrecError as error:
        print(f"quality: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="train and evaluate cells")
    run.add_argument("--data", required=True, metavar="DIR", help="sessions, as `hrlrec prepare` wrote them")
    run.add_argument("--out", required=True, metavar="DIR", help="folder of the runs")
    run.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], metavar="N")
    run.add_argument(
        "--cells", nargs="+", choices=list(CELLS), default=list(CELLS), metavar="CELL", help="default: all"
    )
    run.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at the same time")
    verbs.add_parser("list", help="print the cells and their settings")
    return parser


if __name__ == "__main__":
    sys.exit(main())
