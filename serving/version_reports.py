"""What operators see of a model's versions: the state of each, counts of loads and swaps, lines of the server's log."""

import logging
from collections.abc import Collection

import tensorflow as tf
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

from serving.loaded import ServedVersion
from serving.metrics import Metrics

_LOG = logging.getLogger(__name__)


class VersionReports:
    """Keeps the statuses of one model's versions and counts what becomes of them.

    Args:
      name: what requests call the model.
      metrics: where loads and swaps are counted.
    """

    def __init__(self, name: str, metrics: Metrics) -> None:
        self._name = name
        self._metrics = metrics
        self._statuses: dict[int, ModelVersionStatus] = {}

    def statuses(self) -> list[ModelVersionStatus]:
        """What became of each version seen so far, newest first."""
        return [status for _, status in sorted(dict(self._statuses).items(), reverse=True)]

    def error(self, number: int) -> str:
        """Why a version was refused, "" where it was not."""
        return self._statuses[number].status.error_message if number in self._statuses else ""

    def state(self, number: int, state: int, error: str = "") -> None:
        """A version is in another state now."""
        status = ModelVersionStatus(version=number, state=state)
        if error:
            status.status.error_code = tf.errors.UNKNOWN
            status.status.error_message = error
        self._statuses[number] = status

    def ended(self, number: int) -> None:
        """A version is unloaded; one that was taken again meanwhile stays what it has become."""
        if self._statuses[number].state == ModelVersionStatus.UNLOADING:
            self.state(number, ModelVersionStatus.END)

    def live(self, numbers: Collection[int]) -> None:
        """These versions answer."""
        for number in numbers:
            self._metrics.live.labels(self._name, str(number)).set(1)

    def loaded(self, version: ServedVersion) -> None:
        """A version is loaded and warmed up."""
        self._metrics.loads.labels(self._name, "loaded").inc()
        self._metrics.warmup_records.labels(self._name).inc(version.warmup_requests)
        self._metrics.warmup_latency.labels(self._name).observe(version.warmup_seconds * 1e6)

    def refused(self, number: int, reason: str) -> None:
        """A version cannot be loaded."""
        self.state(number, ModelVersionStatus.END, reason)
        self._metrics.loads.labels(self._name, "refused").inc()
        _LOG.warning("version %d is refused: %s", number, reason)

    def replaced(self, before: Collection[int], live: Collection[int]) -> None:
        """Other versions are live than before."""
        if before and live and max(before) != max(live):
            self._metrics.swaps.labels(self._name).inc()
        for number in set(live) - set(before):
            self.state(number, ModelVersionStatus.AVAILABLE)
            _LOG.info("version %d of %s serves", number, self._name)
        self.live(live)
        for number in set(before) - set(live):
            self._metrics.live.remove(self._name, str(number))
