"""One trial in a process of its own, so that trials run side by side and one that dies takes no other with it.

`python -m hrlrec_tf.tuning.worker TRIAL_FOLDER THREADS` trains what `job.json` says, as `hrlrec train` would, and
writes `outcome.json`. It ends with whoever holds the other end of its standard input: a killed search leaves no trial
behind.
"""

import argparse
import json
import math
import os
import pathlib
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any

from hrlrec_tf import verbs
from hrlrec_tf.errors import HrlrecError, TrainingError
from hrlrec_tf.tuning import trials
from hrlrec_tf.tuning.space import SEED_FIELD
from hrlrec_tf.tuning.trials import Job, Outcome


def run(folder: pathlib.Path) -> Outcome:
    """Trains every seed of a trial, going on where an earlier process was cut off, and writes the outcome.

    Whatever training raises is part of the outcome.
    """
    start = time.monotonic()
    job = trials.read_job(folder)
    results: list[Mapping[str, Any]] = []
    reason = ""
    try:
        for seed in job.seeds or (None,):
            results.append(_train(job, seed, folder))
    except HrlrecError as error:
        reason = str(error)
    except Exception as error:  # the search goes on without this trial, whatever it met
        traceback.print_exc()
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}; see {folder / trials.LOG}"
    outcome = Outcome(
        status="failed" if reason else "completed",
        aucs=tuple(result["validation_auc"] for result in results),
        epochs=sum(result["epochs"] for result in results),
        seconds=round(time.monotonic() - start, 1),
        reason=reason,
    )
    trials.write(folder, trials.OUTCOME, outcome)
    return outcome


def _train(job: Job, seed: int | None, folder: pathlib.Path) -> Mapping[str, Any]:
    """One training run, the rest of one, or the result of a finished one."""
    model = folder / (f"model-seed-{seed}" if seed else "model")
    if (model / "result.json").exists():
        result: Mapping[str, Any] | None = json.loads((model / "result.json").read_text(encoding="utf-8"))
    else:
        settings = [*job.settings, *([] if seed is None else [f"{SEED_FIELD}={seed}"])]
        words = [f"--data={job.data}", f"--model={job.model}", f"--out={model}", "--resume"]
        words += [f"--preset={job.preset}"] if job.preset else []
        parser = argparse.ArgumentParser()
        verbs.TRAIN.add_arguments(parser)
        result = verbs.TRAIN.run(parser.parse_args([*words, *(f"--set={setting}" for setting in settings)]))
    if not result or not math.isfinite(result.get("validation_auc", math.nan)):
        raise TrainingError(
            "there is no validation AUC: the validation sessions need clicked and passed-over rows; prepare them with "
            "a longer validation slice"
        )
    return result


def _end_with_the_search() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def main() -> None:
    """Runs the trial that the command line names."""
    folder, threads = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    threading.Thread(target=_end_with_the_search, daemon=True).start()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    run(folder)


if __name__ == "__main__":
    main()
