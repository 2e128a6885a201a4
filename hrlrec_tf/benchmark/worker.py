"""One contestant in a process of its own: `python -m hrlrec_tf.benchmark.worker KIND FOLDER`.

It answers how long what it was asked to do took. Kinds:

* `plain`: the training step with stock Keras layers, TensorFlow as it starts by default;
* `plain-tuned`: the same with this package's threads and memory (`hrlrec_tf.runtime`);
* `package`: this package's step, as `hrlrec train` runs it;
* `matmul`: a large float32 product, TensorFlow as it starts by default;
* `input`: batches of sessions, which `FOLDER` holds, as `hrlrec train` reads them.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from hrlrec_tf import runtime
from hrlrec_tf.benchmark.processes import answer
from hrlrec_tf.benchmark.timing import Times, measure
from hrlrec_tf.benchmark.workload import QUICK, Workload

STEP = "step"
PLAIN, PLAIN_TUNED, PACKAGE, MATMUL, INPUT = "plain", "plain-tuned", "package", "matmul", "input"


def workload(quick: bool) -> Workload:
    """Sizes of a step."""
    return QUICK if quick else Workload()


def matmul_size(quick: bool) -> int:
    """Rows and columns of the large product."""
    return 256 if quick else 2048


class Steps:
    """Training steps of one implementation."""

    def __init__(self, sizes: Workload, plain: bool) -> None:
        from hrlrec_tf.benchmark import steps

        self._make = lambda wanted: steps.TrainingStep(wanted, plain)
        self._step = self._make(sizes)

    def run(self, repeat: int, batch: int | None = None, rows: int | None = None) -> Times:
        """Training steps; `batch` and `rows`, fields of the workload, are what they are from now on."""
        if rows not in (None, self._step.workload.rows):
            self._step = self._make(dataclasses.replace(self._step.workload, rows=rows))
        if batch is not None:
            self._step.resize(batch)
        return measure(self._step.run, repeat)

    def parts(self, repeat: int) -> dict[str, Times]:
        """The parts of a step, each alone, and the whole under `STEP`, in turns."""
        from hrlrec_tf.benchmark import parts

        functions = {**parts.parts(self._step), STEP: self._step.run}
        times: dict[str, Times] = {name: measure(function, 0) for name, function in functions.items()}
        for _ in range(repeat):
            for name, function in functions.items():
                times[name] += measure(function, 1)
        return times


class Matmul:
    """A product of two square float32 matrices."""

    def __init__(self, size: int) -> None:
        import tensorflow as tf

        matrix = tf.random.stateless_normal([size, size], [1, 2])
        self._product = tf.function(lambda: tf.linalg.trace(tf.matmul(matrix, matrix)))

    def run(self, repeat: int) -> Times:
        """Products."""
        return measure(lambda: float(self._product()), repeat)


def questions(kind: str, folder: str, quick: bool) -> dict[str, Callable[..., Any]]:
    """What the contestant `kind` can be asked."""
    if kind in (PLAIN_TUNED, PACKAGE, INPUT):
        runtime.use_all_cores()
        runtime.keep_freed_memory()
    if kind == MATMUL:
        return {"run": Matmul(matmul_size(quick)).run}
    if kind == INPUT:
        from hrlrec_tf.benchmark import inputs

        return {"run": inputs.Inputs(workload(quick), folder).run}
    contestant = Steps(workload(quick), plain=kind != PACKAGE)
    return {"run": contestant.run, **({"parts": contestant.parts} if kind == PACKAGE else {})}


if __name__ == "__main__":
    answer(questions)
