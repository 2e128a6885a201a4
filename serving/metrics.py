"""Prometheus metrics, under TensorFlow Serving's names where the same thing is measured.

TensorFlow Serving's counters have no `_total` at their end, which `prometheus_client` gives every counter: they are
gauges here that only grow, so that a dashboard's queries fit both servers. Latencies are in microseconds, as there.
"""

import os

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram

from hrlrec_tf.errors import ConfigError
from serving import text_protos

PATH = "/monitoring/prometheus/metrics"
CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST

_SERVING = ":tensorflow:serving:"
_BATCHING = f"{_SERVING}batching_session:"
_OURS = "hrlrec_serving_"


def _powers(first: float, factor: float, count: int) -> list[float]:
    return [first * factor**power for power in range(count)]


_LATENCY = _powers(10, 1.8, 33)
_QUEUING = _powers(100, 1.2, 52)
_SIZES = _powers(1, 2, 14)


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = registry = prometheus_client.CollectorRegistry()

        def growing(name: str, about: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(name, about, labels, registry=registry)

        def histogram(name: str, about: str, labels: tuple[str, ...], buckets: list[float]) -> Histogram:
            return Histogram(name, about, labels, registry=registry, buckets=buckets)

        self.requests = growing(f"{_SERVING}request_count", "Predict calls.", ("model_name", "status"))
        self.latency = histogram(
            f"{_SERVING}request_latency",
            "Wall time of answered calls in microseconds.",
            ("model_name", "API", "entrypoint"),
            _LATENCY,
        )
        self.queuing = histogram(
            f"{_BATCHING}queuing_latency",
            "Time in the batching queue in microseconds.",
            ("thread_pool_name",),
            _QUEUING,
        )
        self.batched_runs = growing(f"{_BATCHING}wrapped_run_count", "Runs of the model on a batch.")
        self.input_batch_size = histogram(f"{_BATCHING}input_batch_size", "Rows of a call.", (), _SIZES)
        self.processed_batch_size = histogram(f"{_BATCHING}processed_batch_size", "Rows of a batch.", (), _SIZES)
        self.padding_size = histogram(
            f"{_BATCHING}padding_size", "Rows added to a batch.", ("execution_batch_size",), [0, *_SIZES]
        )
        self.warmup_latency = histogram(
            f"{_SERVING}model_warmup_latency",
            "Warm-up of a version in microseconds.",
            ("model_name",),
            _powers(1000, 1.8, 33),
        )
        self.warmup_records = growing(
            f"{_SERVING}model_warmup_records_read", "Warm-up requests replayed.", ("model_name",)
        )
        self.queue_length = Gauge(f"{_OURS}queue_length", "Calls that wait for their turn.", registry=registry)
        self.running = Gauge(f"{_OURS}running", "Calls being answered.", registry=registry)
        self.batch_queue_length = Gauge(f"{_OURS}batch_queue_length", "Calls in the batching queue.", registry=registry)
        self.unlogged = Counter(f"{_OURS}unlogged", "Answers that the impression log lacks.", registry=registry)
        self.refused = Counter(f"{_OURS}refused", "Calls refused unrun.", ("reason",), registry=registry)
        self.live = Gauge(
            f"{_OURS}live_version", "1 for a version that serves.", ("model", "version"), registry=registry
        )
        self.loads = Counter(f"{_OURS}loads", "Versions loaded or refused.", ("model", "outcome"), registry=registry)
        self.swaps = Counter(f"{_OURS}swaps", "Changes of the newest version.", ("model",), registry=registry)

    def page(self) -> bytes:
        """All metrics as Prometheus' text format."""
        return prometheus_client.generate_latest(self._registry)

    def value(self, name: str, **labels: str) -> float | None:
        """The present value of one sample."""
        return self._registry.get_sample_value(name, labels)


def read_path(path: str | os.PathLike[str]) -> str | None:
    """The URL path that a monitoring config file asks metrics under, None where it enables none.

    Raises:
      ConfigError: the file cannot be read or its path is no URL path.
    """
    config = text_protos.read(path, text_protos.MonitoringConfig()).prometheus_config
    if not config.enable:
        return None
    if config.path and not config.path.startswith("/"):
        raise ConfigError(f"{path}: prometheus_config has path {config.path!r}; let it start with '/'")
    return config.path or PATH
