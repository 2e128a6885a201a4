"""Dynamic batching with TensorFlow Serving's parameters and rules.

Each signature of each version has its queue of batches; the last batch is open to further calls until it is full or a
call does not fit. A batch runs when it is closed, full, or its first call has waited `batch_timeout_micros`, on one of
`num_batch_threads` threads that all queues share in turn. What differs from TensorFlow Serving, on purpose:

* a full queue answers RESOURCE_EXHAUSTED, not UNAVAILABLE, which clients would send again at once;
* a call whose deadline passed in the queue does not run (there it runs unless all of its batch are late);
* when a batch fails, each of its calls runs alone, so that one bad call costs the others nothing but time;
* calls of other shapes than the batch's first are refused alone, with the same status, where padding is off.
"""

import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from concurrent import futures

import grpc
import numpy as np

from serving import batch_tensors
from serving.batch_parameters import BatchParameters
from serving.batch_tensors import Inputs
from serving.gate import Deadline, too_late
from serving.loaded import Call, ServedVersion
from serving.metrics import Metrics
from serving.signatures import Refusal, invalid

Outputs = dict[str, np.ndarray]
Run = Callable[[Inputs], Outputs]


@dataclasses.dataclass(eq=False)
class _Task:
    """A call, or a part of one, in a queue."""

    inputs: Inputs
    rows: int
    deadline: Deadline
    enqueued: float = dataclasses.field(default_factory=time.monotonic)
    done: "futures.Future[Outputs]" = dataclasses.field(default_factory=futures.Future)


class _Batch:
    """Tasks that will run together."""

    def __init__(self, first: _Task) -> None:
        self.tasks = [first]
        self.rows = first.rows


class _Queue:
    """The batches of one signature of one version; the last one is open."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.batches: collections.deque[_Batch] = collections.deque()

    def ready_at(self, full: int, timeout: float) -> float:
        """When its first batch may run."""
        first = self.batches[0]
        closed = len(self.batches) > 1 or first.rows >= full
        return 0.0 if closed else first.tasks[0].enqueued + timeout


class Batcher:
    """Joins calls into batches and runs these on its own threads.

    Args:
      parameters: how.
      metrics: where batches are counted.
    """

    def __init__(self, parameters: BatchParameters, metrics: Metrics) -> None:
        self._parameters = parameters
        self._metrics = metrics
        self._queuing = metrics.queuing.labels(parameters.thread_pool_name)
        self._changed = threading.Condition()
        self._queues: dict[tuple[int, str], _Queue] = {}  # in the order of their turns
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{parameters.thread_pool_name}-{number}", daemon=True)
            for number in range(parameters.num_batch_threads)
        ]

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends the threads once every batch has run."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def run(self, version: ServedVersion, call: Call, deadline: Deadline) -> Outputs:
        """The outputs of a call, run in a batch with others.

        Raises:
          Refusal: INVALID_ARGUMENT, the inputs differ in their first dimension or are too many; FAILED_PRECONDITION,
            its shapes differ from its batch's; RESOURCE_EXHAUSTED, the queue is full; DEADLINE_EXCEEDED, it waited
            too long; or what the model refused it with.
        """
        rows = call.rows
        if rows is None:
            sizes = ", ".join(f"{name} {list(values.shape)}" for name, values in sorted(call.inputs.items()))
            raise invalid(f"batching needs inputs with the same first dimension, got {sizes}; send equally many rows")
        self._metrics.input_batch_size.observe(rows)
        if rows == 0:
            return version.run(call.signature, call.inputs)
        parameters = self._parameters
        if rows > parameters.max_batch_size:
            raise invalid(f"the request has {rows} rows; at most {parameters.max_batch_size} are taken, send fewer")
        size = parameters.batch_rows
        tasks = [
            _Task({name: values[start : start + size] for name, values in call.inputs.items()}, part, deadline)
            for start in range(0, rows, size)
            for part in [min(size, rows - start)]
        ]
        self._enqueue((id(version), call.signature), lambda inputs: version.run(call.signature, inputs), tasks)
        parts = [task.done.result() for task in tasks]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _enqueue(self, key: tuple[int, str], run: Run, tasks: Sequence[_Task]) -> None:
        with self._changed:
            queue = self._queues.setdefault(key, _Queue(run))
            full = self._parameters.batch_rows
            batches = queue.batches
            fits = bool(batches) and batches[-1].rows + tasks[0].rows <= full
            if self._stopped or len(batches) + len(tasks) - fits > self._parameters.max_enqueued_batches:
                self._metrics.refused.labels("batch queue full").inc()
                sentence = f"{len(batches)} batches wait already; send the call again later"
                raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, sentence)
            for task in tasks:
                if batches and batches[-1].rows + task.rows <= full:
                    batches[-1].tasks.append(task)
                    batches[-1].rows += task.rows
                else:
                    batches.append(_Batch(task))
            self._metrics.batch_queue_length.inc(len(tasks))
            self._changed.notify()

    def _work(self) -> None:
        while True:
            taken = self._next()
            if taken is None:
                return
            run, batch = taken
            self._process(run, batch.tasks)

    def _next(self) -> tuple[Run, _Batch] | None:
        """The next batch whose time has come, of the queue that waited longest for a turn; None at the end."""
        full, timeout = self._parameters.batch_rows, self._parameters.batch_timeout_micros / 1e6
        with self._changed:
            while True:
                now = time.monotonic()
                times = {key: queue.ready_at(full, timeout) for key, queue in self._queues.items()}
                ready = next((key for key, moment in times.items() if moment <= now or self._stopped), None)
                if ready is not None:
                    queue = self._queues.pop(ready)
                    batch = queue.batches.popleft()
                    if queue.batches:
                        self._queues[ready] = queue  # at the end: the others' turns come first
                        self._changed.notify()
                    self._metrics.batch_queue_length.dec(len(batch.tasks))
                    return queue.run, batch
                if self._stopped:
                    return None
                self._changed.wait(min(times.values()) - now if times else None)

    def _process(self, run: Run, tasks: Sequence[_Task]) -> None:
        """Runs what is still wanted of a batch; each task gets its outputs or its refusal."""
        now = time.monotonic()
        waiting = []
        for task in tasks:
            self._queuing.observe((now - task.enqueued) * 1e6)
            if task.deadline.passed:
                self._metrics.refused.labels("deadline").inc()
                task.done.set_exception(too_late())
            else:
                waiting.append(task)
        fitting = self._fitting(waiting)
        if len(fitting) > 1:
            try:
                self._run_together(run, fitting)
                return
            except Exception:  # one of them is bad, and which one shows when each runs alone
                pass
        for task in fitting:
            try:
                self._run_together(run, [task])
            except Exception as error:
                task.done.set_exception(error)

    def _fitting(self, tasks: Sequence[_Task]) -> list[_Task]:
        """The tasks that can be joined; the others are refused."""
        if self._parameters.pad_variable_length_inputs or not tasks:
            return list(tasks)
        fitting = []
        for task in tasks:
            if batch_tensors.same_shapes(tasks[0].inputs, task.inputs):
                fitting.append(task)
            else:
                sentence = (
                    "the inputs have other inner dimensions than those of the batch; set pad_variable_length_inputs "
                    "in the batching parameters, or send equal dimensions"
                )
                task.done.set_exception(Refusal(grpc.StatusCode.FAILED_PRECONDITION, sentence))
        return fitting

    def _run_together(self, run: Run, tasks: Sequence[_Task]) -> None:
        calls = [task.inputs for task in tasks]
        widths = batch_tensors.widest(calls)
        if len(calls) > 1 and self._parameters.pad_variable_length_inputs:
            if not all(batch_tensors.can_pad(call, widths) for call in calls):
                raise invalid("an input is empty and cannot be padded; send at least one element")
            calls = [batch_tensors.pad(call, widths) for call in calls]
        sizes = [task.rows for task in tasks]
        rows = self._parameters.padded(sum(sizes))
        outputs = run(batch_tensors.join(calls, rows))
        self._metrics.batched_runs.inc()
        self._metrics.processed_batch_size.observe(rows)
        self._metrics.padding_size.labels(str(rows)).observe(rows - sum(sizes))
        for name, values in outputs.items():
            if not values.ndim or values.shape[0] != rows:
                raise Refusal(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"the output {name!r} has the shape {list(values.shape)} for a batch of {rows} rows; serve this "
                    "model without batching",
                )
        for task, part in zip(tasks, batch_tensors.split(outputs, sizes), strict=True):
            task.done.set_result(part)
