"""Training speed of the baselines beside DeepCTR's models: same rows, same machine, in turns in one run.

    pip install -r requirements/peers.txt        # in an environment of its own
    python -m benchmarks.baseline_speed --data SESSIONS --peers-python PEERS/bin/python

Both train on the ids of user, item, channel and hour at the same sizes (DeepCTR's defaults), with Adam and L2, from
rows in memory; tracing is not timed. DeepCTR gets the loop of `benchmarks.peers`, one traced step per batch. A round is
one pass over the training rows; the sides take turns, and the median round counts. Impressions per second are of the
clock and of processor time: where other work shares the machine, the second says more.
"""

import argparse
import contextlib
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks import rows
from benchmarks.peer_inputs import Task
from hrlrec_tf.cli import write_json
from hrlrec_tf.errors import HrlrecError, TrainingError
from hrlrec_tf.experiments.cells import environment

BATCH_SIZE = 4096
L2 = 1e-5
_UNITS = "network.hidden_units=[256,128,64]"  # DeepCTR's default
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "lr": (),
    "fm": (),
    "nfm": ("network.hidden_units=[128,128]",),
    "afm": ("network.attention_units=8",),
    "wide-deep": (_UNITS,),
    "deepfm": (_UNITS,),
    "autoint": (_UNITS, "network.attention_layers=3", "network.attention_units=16", "network.layer_norm=false"),
}

Round = Callable[[], None]


def our_round(task: Task, name: str, folder: pathlib.Path) -> Round:
    """One epoch of our model."""
    from hrlrec_tf.baselines.ctr import config
    from hrlrec_tf.baselines.ctr.fitting import Fit
    from hrlrec_tf.baselines.ctr.inputs import Fields, offset_ids
    from hrlrec_tf.baselines.ctr.model import build
    from hrlrec_tf.baselines.ctr.rows import TrainingRows

    fields = Fields(task.inputs(pooled_items=False).sizes)
    training = (f"training.batch_size={BATCH_SIZE}", f"training.embedding_l2={2 * L2}")
    settings = config.default(name).override([*training, *SETTINGS[name]])
    ids = tf.constant(offset_ids(fields, {field: task.parts["train"][field] for field in fields.sizes}))
    labels = tf.constant(task.labels["train"], tf.float32)
    model = build(name, settings, fields)
    fit = Fit(model, TrainingRows({"ids": ids}, labels), None, settings.training, folder / name)
    return lambda: (fit.train_epoch(), None)[1]


def peer_round(task: Task, name: str) -> Round:
    """One epoch of DeepCTR's model; only where DeepCTR is installed."""
    from benchmarks import peer_models, peers

    model = peer_models.build(name, task.inputs(pooled_items=False), L2, seed=0)
    step = peers.training_step(model, tf.keras.optimizers.Adam(1e-3), task)
    order = np.random.default_rng(0)

    def epoch() -> None:
        places = order.permutation(len(task.labels["train"]))
        for first in range(0, len(places), BATCH_SIZE):
            step(tf.constant(places[first : first + BATCH_SIZE]))

    return epoch


def serve(data: str, name: str) -> None:
    """The process of DeepCTR: for each line on stdin one round, whose seconds it prints."""
    run = peer_round(Task(rows.Sessions(pathlib.Path(data)), history=False), name)
    run()  # traces
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        print(json.dumps(timed(run)), flush=True)


def timed(run: Round) -> tuple[float, float]:
    """Seconds of one round: of the clock, and of all processors."""
    clock, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - clock, time.process_time() - processor


@contextlib.contextmanager
def peer_process(python: str, data: str, name: str, threads: int) -> Iterator[Callable[[], Any]]:
    """Starts the process of DeepCTR; what it gives runs one round there and returns its seconds."""
    command = [python, "-W", "ignore", "-m", "benchmarks.baseline_speed", "--data", data, "--serve", name]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(threads)
    ) as process:
        commands, answers = process.stdin, process.stdout
        assert commands is not None and answers is not None

        def answer() -> Any:
            for line in answers:
                with contextlib.suppress(ValueError):  # libraries print notices
                    return json.loads(line)
            raise TrainingError(f"{python} ended without an answer; install requirements/peers.txt there")

        def ask() -> Any:
            commands.write("\n")
            commands.flush()
            return answer()

        try:
            answer()  # it is ready
            yield ask
        finally:
            process.kill()


def compare(task: Task, name: str, python: str, data: str, rounds: int, threads: int) -> dict[str, Any]:
    """Both sides in turns; impressions per second of each."""
    size = len(task.labels["train"])
    with tempfile.TemporaryDirectory() as scratch, peer_process(python, data, name, threads) as ask_peer:
        run = our_round(task, name, pathlib.Path(scratch))
        run()  # traces
        seconds: dict[str, list[Any]] = {"ours": [], "deepctr": []}
        for _ in range(rounds):
            seconds["ours"].append(timed(run))
            seconds["deepctr"].append(ask_peer())
    result: dict[str, Any] = {"model": name, "rows": size, "rounds": rounds}
    for place, kind in enumerate(("", "processor_")):
        for side, each in seconds.items():
            result[f"{side}_per_{kind}second"] = size / statistics.median(pair[place] for pair in each)
    return result | {
        f"{kind}speedup": result[f"ours_per_{kind}second"] / result[f"deepctr_per_{kind}second"]
        for kind in ("", "processor_")
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison; returns the exit code."""
    args = _parser().parse_args(argv)
    if args.serve:
        serve(args.data, args.serve)
        return 0
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    try:
        task = Task(rows.Sessions(pathlib.Path(args.data)), history=False)
        print(f"{'model':<10} {'rows/s':>10} {'DeepCTR':>10} {'times':>6}  {'per processor second':>20} {'times':>6}")
        results = []
        for name in args.models:
            found = compare(task, name, args.peers_python, args.data, args.rounds, args.threads)
            results.append(found)
            print(_line(found), flush=True)
    except (HrlrecError, OSError) as error:
        print(f"baseline_speed: {error}", file=sys.stderr)
        return 1
    if args.json:
        write_json(args.json, {"batch_size": BATCH_SIZE, "threads": args.threads, "models": results})
    return 0


def _line(found: Mapping[str, Any]) -> str:
    clock = f"{found['ours_per_second']:>10,.0f} {found['deepctr_per_second']:>10,.0f} {found['speedup']:>6.2f}"
    processor = f"{found['ours_per_processor_second']:>10,.0f} {found['deepctr_per_processor_second']:>9,.0f}"
    return f"{found['model']:<10} {clock}  {processor} {found['processor_speedup']:>6.2f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.baseline_speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="sessions, as `hrlrec prepare` wrote them")
    parser.add_argument("--peers-python", default=sys.executable, metavar="FILE", help="python that has DeepCTR")
    parser.add_argument(
        "--models", nargs="+", choices=list(SETTINGS), default=list(SETTINGS), metavar="NAME", help=", ".join(SETTINGS)
    )
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="passes of each side that are timed")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of TensorFlow, on each side")
    parser.add_argument("--json", metavar="FILE", help="also write the results here")
    parser.add_argument("--serve", choices=list(SETTINGS), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
