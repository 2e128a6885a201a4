"""The Beam job: an impression log becomes sessions, one tf.Example per displayed list.

Two pipelines. The first reads, checks and partitions rows by user and finds requests that two users share; what it
learns of the log decides the cuts in time. The second makes the sessions of each bucket of users. Rows travel through
files beside the output and Beam carries references, so that no runner's memory grows with the log.
"""

import contextlib
import dataclasses
import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

from hrlrec_tf import features
from hrlrec_tf.data import (
    anonymity_stage,
    buckets,
    days,
    item_counts,
    masking,
    progress,
    read_stage,
    reading,
    session_stage,
    timecut,
)
from hrlrec_tf.data.buckets import Partitioned
from hrlrec_tf.data.config import VOCABULARIES, DatasetConfig
from hrlrec_tf.data.examples import SPLITS
from hrlrec_tf.data.read_stage import ReadJob, UnitResult
from hrlrec_tf.data.session_stage import BucketResult, MakeSessions, SessionPlan
from hrlrec_tf.data.timecut import Cuts
from hrlrec_tf.data.validation import TIMESTAMP_IN_SECONDS, Layout
from hrlrec_tf.errors import ConfigError, DataError, LogError
from hrlrec_tf.features import FeatureSpec, IdRule, Kind

# What DirectRunner stood for before it began to try a runner that it would have to download.
LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"

# From here on, worker processes are faster than none in spite of their start; each takes some 300 MB.
_PARALLEL_ROWS = 1_000_000
_MAX_WORKERS = 8


def build(
    dataset: DatasetConfig, out: str, work: str, beam_args: Sequence[str] = (), show_progress: bool = True
) -> tuple[FeatureSpec, dict[str, Any]]:
    """Writes the sessions of a log.

    Args:
      dataset: the log.
      out: an empty folder for `train/`, `validation/`, `eval/` and `rejected/`.
      work: an empty folder for what the stages pass on; the caller removes it.
      beam_args: Beam pipeline arguments; without a runner, Beam's own on this machine.
      show_progress: whether to show bars on stderr.

    Returns:
      The features of the sessions, and the counts that `summary.json` holds.

    Raises:
      ConfigError: a setting or Beam argument is wrong.
      LogError: the log cannot be read or holds nothing to train on, or the disk refuses the output.
    """
    prepared = prepare_rows(dataset, out, work, beam_args, show_progress)
    made = make(prepared, MakeSessions(prepared.plan_path), "sessions", show_progress)
    summary = _summarise(dataset, prepared.units, made)
    summary |= {
        "validation_from": prepared.plan.cuts.validation_from,
        "eval_from": prepared.plan.cuts.eval_from,
        "ignored_files": list(prepared.ignored),
    }
    items = prepared.plan.items
    if items is not None and dataset.item_counts is not None:
        prior = items.click_rate(prepared.plan.cuts.validation_from)
        summary["item_counts"] = {**dataclasses.asdict(dataset.item_counts), "prior_click_rate": prior}
    if dataset.k_anonymity is not None:
        of_values = anonymity_stage.summarise(dataset.k_anonymity, prepared.values)
        cut_rows = summary.pop("rare")
        columns = {name: {**each, **cut_rows[name]} for name, each in of_values.items()}
        summary["k_anonymity"] = {"k": dataset.k_anonymity.k, "columns": columns}
    return prepared.plan.spec, summary


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A log after the first pipeline.

    Attributes:
      options: Beam's, for the second.
      plan, plan_path: what the first learnt, and where it lies.
      units: what came of reading.
      ignored: files that are no part of the log.
      values: what stays of the values of user features, where the dataset asks for a cut.
    """

    options: PipelineOptions
    plan: SessionPlan
    plan_path: str
    units: Sequence[UnitResult]
    ignored: Sequence[str]
    values: Sequence[anonymity_stage.Counted] = ()


def prepare_rows(
    dataset: DatasetConfig, out: str, work: str, beam_args: Sequence[str], show_progress: bool
) -> Prepared:
    """The first pipeline: rows read, checked and partitioned by user; arguments and errors as `build`'s."""
    if dataset.masking is not None:
        masking.key(dataset.masking)
    log = reading.open_log(dataset, show_progress)
    options = pipeline_options(beam_args, log.rows_estimate)
    spec = feature_spec(dataset, log.layout)
    _make_folders(out, [*SPLITS, "rejected"])
    _make_folders(work, ["units", "shared", "buckets"])
    job = ReadJob(dataset, log.layout, work, out, buckets.partition_bits(log.rows_estimate))
    pattern = FileSystems.join(work, "units", "*.pkl")
    _run(options, lambda p: read_stage.expand(p, job, log.units), "read", pattern, len(log.units), show_progress)
    units: list[UnitResult] = read_stage.load_all(pattern)
    _check_read(dataset, units)

    times = timecut.total(unit.times for unit in units if unit.times is not None)
    cuts, bits = timecut.cut(times, dataset.split), buckets.bucket_bits(int(times.counts.sum()))
    names = {unit.number: unit.name for unit in log.units}
    files = [unit.passed for unit in units if unit.passed is not None]
    counted = [unit.items for unit in units if unit.items is not None]
    items = item_counts.total(counted) if counted else None
    held = [unit.holders for unit in units if unit.holders is not None]
    values = _count_holders(dataset, held, options, job, cuts, show_progress)
    kept = anonymity_stage.kept_values(values)
    plan = SessionPlan(dataset, spec, work, out, files, names, cuts, bits, items, kept)
    plan_path = FileSystems.join(work, "plan.pkl")
    read_stage.save(plan_path, plan)
    return Prepared(options, plan, plan_path, units, log.ignored, values)


def make(prepared: Prepared, stage: MakeSessions, what: str, show_progress: bool) -> list[BucketResult]:
    """The second pipeline, over buckets of users; raises `LogError` where the disk refuses the output."""
    bits, pattern = prepared.plan.bits, FileSystems.join(prepared.plan.work, "buckets", "*.pkl")
    _run(
        prepared.options,
        lambda p: session_stage.expand(p, stage, bits),
        what,
        pattern,
        1 << bits,
        show_progress,
    )
    made: list[BucketResult] = read_stage.load_all(pattern)
    for bucket in made:
        if bucket.fault is not None:
            raise LogError(bucket.fault)
    return made


def _count_holders(
    dataset: DatasetConfig,
    files: Sequence[Partitioned],
    options: PipelineOptions,
    job: ReadJob,
    cuts: Cuts,
    show_progress: bool,
) -> list[anonymity_stage.Counted]:
    """What stays of the values of user features; nothing unless the log's configuration asks for a cut."""
    rule = dataset.k_anonymity
    if rule is None:
        return []
    folder = FileSystems.join(job.work, "values")
    _make_folders(job.work, ["values"])
    pattern = FileSystems.join(folder, "*.pkl")

    def expand(pipeline: beam.Pipeline) -> None:
        anonymity_stage.expand(pipeline, files, job.bits, rule, cuts.eval_from, folder)

    _run(options, expand, "values", pattern, 1 << job.bits, show_progress)
    return read_stage.load_all(pattern)


def feature_spec(dataset: DatasetConfig, layout: Layout) -> FeatureSpec:
    """The features of a log's sessions.

    Raises:
      ConfigError: `item_counts` would overwrite a column of the log, or `ids` or `k_anonymity` name a column that the
        log lacks or that holds numbers.
    """
    optional = dict(layout.optional)
    _check_texts("ids", set(dataset.ids) - set(VOCABULARIES), optional)
    if dataset.k_anonymity is not None:
        _check_texts("k_anonymity.columns", dataset.k_anonymity.columns, optional)
    if dataset.item_counts is not None:
        for name in features.ITEM_COUNTS:
            if name in optional:
                raise ConfigError(
                    f"item_counts makes {name}, which the log has; rename the log's or leave item_counts out"
                )
        optional |= features.ITEM_COUNTS
    ids = {name: rule for name, rule in sorted(dataset.ids.items()) if rule != IdRule()}
    return FeatureSpec(dataset.list_length, dataset.history_length, dataset.max_tags, optional, ids)


def _check_texts(key: str, names: Iterable[str], optional: Mapping[str, Kind]) -> None:
    for name in names:
        if name not in optional:
            raise ConfigError(f"{key} names {name}, which the log does not have; take it out of dataset.yaml")
        if optional[name] is not Kind.STRING:
            raise ConfigError(
                f"{key} names {name}, which holds numbers; give it `type: string` under `columns:` of dataset.yaml"
            )


def pipeline_options(beam_args: Sequence[str], rows: int = 0) -> PipelineOptions:
    """Beam's options; on this machine's own runner, worker processes for logs that are worth their start.

    Raises:
      ConfigError: the Dask runner is asked for, which loses rows.
    """
    options = PipelineOptions(list(beam_args))
    runner = options.view_as(StandardOptions).runner
    if runner and "dask" in runner.lower():
        raise ConfigError(
            "Beam's Dask runner returns wrong data; choose DirectRunner, FlinkRunner, SparkRunner or Dataflow"
        )
    if runner is None:
        options.view_as(StandardOptions).runner = LOCAL_RUNNER
    direct = options.view_as(DirectOptions)
    if not any("direct_num_workers" in arg or "direct_running_mode" in arg for arg in beam_args):
        parallel = rows >= _PARALLEL_ROWS
        direct.direct_num_workers = min(os.cpu_count() or 1, _MAX_WORKERS) if parallel else 1
        direct.direct_running_mode = "multi_processing" if parallel else "in_memory"
    return options


def _run(
    options: PipelineOptions,
    expand: Callable[[beam.Pipeline], None],
    what: str,
    pattern: str,
    total: int,
    show_progress: bool,
) -> None:
    with progress.count_files(what, pattern, total, show_progress), _disk_errors():
        with beam.Pipeline(options=options) as pipeline:
            expand(pipeline)


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    """A full disk that not even a worker's report fits on."""
    try:
        yield
    except Exception as error:  # Beam wraps a worker's error in its own
        if isinstance(error, OSError) and error.errno == errno.ENOSPC or "No space left on device" in str(error):
            raise LogError("the disk is full; free space or name another --out") from error
        raise


def _make_folders(parent: str, names: Sequence[str]) -> None:
    for name in names:
        FileSystems.mkdirs(FileSystems.join(parent, name))


def _check_read(dataset: DatasetConfig, units: Sequence[UnitResult]) -> None:
    """Raises the first unit's fault, or what is wrong with a log none of whose rows pass."""
    for unit in units:
        if unit.fault is not None:
            raise LogError(unit.fault)
    read = sum(unit.read for unit in units)
    rejected = sum((unit.rejected for unit in units), Counter())
    if not read:
        raise LogError(f"{dataset.log}: the log holds no rows; check the path")
    if rejected.total() == read:
        reason, count = rejected.most_common(1)[0]
        remedy = "map the columns in dataset.yaml"
        if reason == TIMESTAMP_IN_SECONDS:
            remedy = "state `timestamp_unit: s` in dataset.yaml"
        raise LogError(f"{dataset.log}: none of {read:,} rows can be used, {count:,} for {reason}; {remedy}")


def _summarise(dataset: DatasetConfig, units: Sequence[UnitResult], made: Sequence[BucketResult]) -> dict[str, Any]:
    rejected: Counter[str] = sum((part.rejected for parts in (units, made) for part in parts), Counter())
    accepted, read = sum(bucket.accepted for bucket in made), sum(unit.read for unit in units)
    if read != accepted + rejected.total():
        raise DataError(f"{read} rows read, but {accepted} accepted and {rejected.total()} rejected; run it again")
    rows = sum((bucket.rows for bucket in made), Counter())
    if not rows["train"]:
        raise LogError(
            f"{dataset.log}: the cuts in time leave no row to train on of {accepted:,}; change `split:` in dataset.yaml"
        )
    channels = sum((bucket.channels for bucket in made), Counter())
    rare = dataset.k_anonymity.columns if dataset.k_anonymity else ()
    cut = sum((bucket.cut for bucket in made), Counter())
    requests = sum((bucket.requests for bucket in made), Counter())
    return {
        "read": read,
        "accepted": accepted,
        "rejected": dict(sorted(rejected.items())),
        "requests": {split: requests[split] for split in SPLITS},
        "rows": {split: rows[split] for split in SPLITS},
        "lists": sum(bucket.lists for bucket in made),
        "lists_cut_at_length": sum(bucket.cut_lists for bucket in made),
        "tags_dropped": sum(unit.tags_dropped for unit in units),
        "users": sum(bucket.users for bucket in made),
        "days": days.summarise(bucket.days for bucket in made if bucket.days is not None),
        "items": len(np.unique(np.concatenate([bucket.items for bucket in made]))),
        "channels": {
            channel: {split: channels[split, channel] for split in SPLITS}
            for channel in sorted({channel for _, channel in channels})
        },
        **({"rare": {name: {of: cut[name, of] for of in ("users", "rows")} for name in rare}} if rare else {}),
        "first_timestamp": min(bucket.first for bucket in made if bucket.first is not None),
        "last_timestamp": max(bucket.last for bucket in made if bucket.last is not None),
    }
