"""Who may run, who waits, who is turned away: a bounded queue in front of the model, with deadlines."""

import collections
import contextlib
import threading
import time
from collections.abc import Iterator

import grpc

from serving.metrics import Metrics
from serving.signatures import Refusal


class Deadline:
    """A moment after which an answer is of no use.

    Args:
      seconds: from now; None, or more than a lock can wait (as gRPC says where a client set no deadline), for never.
    """

    def __init__(self, seconds: float | None) -> None:
        self._end: float | None = None
        if seconds is not None and seconds <= threading.TIMEOUT_MAX:
            self._end = time.monotonic() + seconds

    @property
    def remaining(self) -> float | None:
        """Seconds that are left, at least 0; None without a deadline."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)

    @property
    def passed(self) -> bool:
        """Whether the answer would come too late."""
        return self.remaining == 0.0


def too_late() -> Refusal:
    """The refusal of a call whose deadline passed before it ran."""
    return Refusal(
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "the deadline passed while the call waited, it did not run; allow a longer one",
    )


class Gate:
    """Lets calls run `running` at a time, in the order they came; `queued` more may wait.

    Args:
      running: calls that run at a time.
      queued: calls that may wait for their turn.
      metrics: where both are counted.
    """

    def __init__(self, running: int, queued: int, metrics: Metrics) -> None:
        self._free = running
        self._queued = queued
        self._metrics = metrics
        self._lock = threading.Lock()
        self._waiting: collections.deque[threading.Event] = collections.deque()

    @contextlib.contextmanager
    def turn(self, deadline: Deadline) -> Iterator[None]:
        """Waits for a turn and holds it for the time of the context.

        Raises:
          Refusal: RESOURCE_EXHAUSTED, the queue is full; DEADLINE_EXCEEDED, the deadline passed before the turn came.
        """
        self._enter(deadline)
        self._metrics.running.inc()
        try:
            yield
        finally:
            self._metrics.running.dec()
            self._leave()

    def _enter(self, deadline: Deadline) -> None:
        if deadline.passed:
            raise too_late()
        with self._lock:
            if self._free and not self._waiting:
                self._free -= 1
                return
            if len(self._waiting) >= self._queued:
                self._metrics.refused.labels("queue full").inc()
                sentence = f"the server is busy and {self._queued} calls wait already; send the call again later"
                raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, sentence)
            turn = threading.Event()
            self._waiting.append(turn)
            self._metrics.queue_length.inc()
        came = turn.wait(deadline.remaining)
        self._metrics.queue_length.dec()
        if came:
            return
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                given = False
            else:
                given = True  # the turn came at the last moment; hand it on
        if given:
            self._leave()
        self._metrics.refused.labels("deadline").inc()
        raise too_late()

    def _leave(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
