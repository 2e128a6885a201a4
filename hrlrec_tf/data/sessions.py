"""The Beam job: an impression log becomes sessions, one tf.Example per displayed list.

Two pipelines. The first reads, checks and partitions rows by user and finds requests that two users share; what it
learns of the log decides the cuts in time. The second makes the sessions of each bucket of users. Rows travel through
files beside the output and Beam carries references, so that no runner's memory grows with the log.
"""

import contextlib
import dataclasses
import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from hrlrec_tf import features
from hrlrec_tf.data import (
    anonymity_stage,
    bucket_result,
    buckets,
    days,
    masking,
    progress,
    read_stage,
    reading,
    session_stage,
    timecut,
)
from hrlrec_tf.data.beam_options import pipeline_options
from hrlrec_tf.data.bucket_result import BucketResult
from hrlrec_tf.data.buckets import Partitioned
from hrlrec_tf.data.config import VOCABULARIES, DatasetConfig
from hrlrec_tf.data.examples import SPLITS
from hrlrec_tf.data.read_stage import ReadJob, UnitResult
from hrlrec_tf.data.session_stage import MakeSessions, SessionPlan
from hrlrec_tf.data.timecut import Cuts
from hrlrec_tf.data.validation import TIMESTAMP_IN_SECONDS, Layout
from hrlrec_tf.errors import ConfigError, DataError, LogError
from hrlrec_tf.features import FeatureSpec, IdRule, Kind


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
    summary = _summarise(dataset, prepared.read, made)
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
      read: what came of reading.
      ignored: files that are no part of the log.
      values: what stays of the values of user features, where the dataset asks for a cut.
    """

    options: PipelineOptions
    plan: SessionPlan
    plan_path: str
    read: UnitResult
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
    read, files, held = read_stage.total(read_stage.load_all(pattern))
    _check_read(dataset, read)
    assert read.times is not None
    cuts, bits = timecut.cut(read.times, dataset.split), buckets.bucket_bits(int(read.times.counts.sum()))
    names = {unit.number: unit.name for unit in log.units}
    values = _count_holders(dataset, held, options, job, cuts, show_progress)
    kept = anonymity_stage.kept_values(values)
    plan = SessionPlan(dataset, spec, work, out, files, names, cuts, bits, min(bits, job.bits), read.items, kept)
    plan_path = FileSystems.join(work, "plan.pkl")
    read_stage.save(plan_path, plan)
    return Prepared(options, plan, plan_path, read, log.ignored, values)


def make(prepared: Prepared, stage: MakeSessions, what: str, show_progress: bool) -> BucketResult:
    """The second pipeline, over buckets of users; raises `LogError` where the disk refuses the output."""
    plan, pattern = prepared.plan, FileSystems.join(prepared.plan.work, "buckets", "*.pkl")
    _run(
        prepared.options,
        lambda p: session_stage.expand(p, stage, plan.part_bits),
        what,
        pattern,
        1 << plan.bits,
        show_progress,
    )
    return bucket_result.total(read_stage.load_all(pattern))


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
    return list(read_stage.load_all(pattern))


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


def _check_read(dataset: DatasetConfig, found: UnitResult) -> None:
    """Raises what is wrong with a log none of whose rows pass."""
    read, rejected = found.read, found.rejected
    if not read:
        raise LogError(f"{dataset.log}: the log holds no rows; check the path")
    if rejected.total() == read:
        reason, count = days.by_reason(rejected).most_common(1)[0]
        remedy = "map the columns in dataset.yaml"
        if reason == TIMESTAMP_IN_SECONDS:
            remedy = "state `timestamp_unit: s` in dataset.yaml"
        raise LogError(f"{dataset.log}: none of {read:,} rows can be used, {count:,} for {reason}; {remedy}")


def _summarise(dataset: DatasetConfig, found: UnitResult, made: BucketResult) -> dict[str, Any]:
    rejected, accepted, read = found.rejected + made.rejected, made.accepted, found.read
    if read != accepted + rejected.total():
        raise DataError(f"{read} rows read, but {accepted} accepted and {rejected.total()} rejected; run it again")
    if not made.rows["train"]:
        raise LogError(
            f"{dataset.log}: the cuts in time leave no row to train on of {accepted:,}; change `split:` in dataset.yaml"
        )
    rare = dataset.k_anonymity.columns if dataset.k_anonymity else ()
    return {
        "read": read,
        "accepted": accepted,
        "rejected": dict(sorted(days.by_reason(rejected).items())),
        "rejected_by_day": days.by_day(rejected),
        "requests": {split: made.requests[split] for split in SPLITS},
        "rows": {split: made.rows[split] for split in SPLITS},
        "lists": made.lists,
        "lists_cut_at_length": made.cut_lists,
        "tags_dropped": found.tags_dropped,
        "users": made.users,
        "days": {} if made.days is None else days.summarise(made.days),
        "items": len(made.items),
        "channels": {
            channel: {split: made.channels[split, channel] for split in SPLITS}
            for channel in sorted({channel for _, channel in made.channels})
        },
        **({"rare": {name: {of: made.cut[name, of] for of in ("users", "rows")} for name in rare}} if rare else {}),
        "first_timestamp": made.first,
        "last_timestamp": made.last,
    }
