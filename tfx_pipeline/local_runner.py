"""Runs the pipeline on this machine: SQLite metadata, and a cache that notices edits.

Example: python -m tfx_pipeline.local_runner --log DIR --workdir DIR
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence

from hrlrec_tf.config import Config, preset
from hrlrec_tf.data import beam_options, masking, reading, schema
from hrlrec_tf.data import config as datasets
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.prepare import check_outside
from hrlrec_tf.data.sessions import feature_spec
from hrlrec_tf.errors import ConfigError, HrlrecError
from tfx_pipeline import blessed, dag, digest, evaluator
from tfx_pipeline.configs import IN_PROCESS, Daily, Digests, PipelineConfig, Thresholds
from tfx_pipeline.dag import PipelineError
from tfx_pipeline.pipeline import create_pipeline


@dataclasses.dataclass(frozen=True)
class PipelineResult:
    """What a finished run left behind.

    Attributes:
      version: folder of the pushed version; None when the model was not blessed.
      reasons: why the model was not blessed, one sentence per missed threshold; empty when it was.
      evaluation: folder of TFMA's results; `evaluator.read_metrics` reads it.
      runs: what each component did, and its outputs.
    """

    version: str | None
    reasons: tuple[str, ...]
    evaluation: str
    runs: Mapping[str, dag.Run]

    @property
    def blessed(self) -> bool:
        """Whether the model reached its thresholds and was pushed."""
        return self.version is not None


def local_config(
    dataset: DatasetConfig,
    workdir: str,
    model: Config,
    schema_file: str | None = None,
    thresholds: Thresholds | None = None,
    beam_args: Sequence[str] = (),
    daily: Daily | None = None,
) -> PipelineConfig:
    """The pipeline of a log and a working folder.

    Args:
      dataset: the log, its place included.
      workdir: gets `pipeline/` (artifacts and metadata), `serving/` (pushed versions) and `schema.pbtxt`.
      model: settings of the model.
      schema_file: the curated schema. None means the one in `workdir`: the first run writes it, with the columns that
        the log has then; from there on it is the user's to edit, and later data is held against it.
      thresholds: what the model must reach; None means the defaults.
      beam_args: Beam pipeline arguments; without any, Beam runs inside this process.
      daily: what makes this one of a series of runs.

    Raises:
      LogError: there is no readable log.
      DataError: the schema cannot be read.
      ConfigError: the schema and the log's configuration have different rules of ids.
    """
    folder = pathlib.Path(workdir).resolve()
    check_outside(dataset, str(folder), "--workdir")
    folder.mkdir(parents=True, exist_ok=True)
    seen = daily.window.dataset(dataset) if daily else dataset
    log = reading.open_log(seen, progress=False)
    curated = pathlib.Path(schema_file).resolve() if schema_file else folder / "schema.pbtxt"
    spec = feature_spec(dataset, log.layout)
    if schema_file is None and not curated.exists():
        schema.write(schema.to_schema(spec), curated)
    if schema.from_schema(schema.read(curated)).ids != spec.ids:
        raise ConfigError(
            f"{curated} has other rules of `ids` than dataset.yaml; give both the same, or remove the file"
        )
    return PipelineConfig(
        root=str(folder / "pipeline"),
        dataset=json.dumps(dataclasses.asdict(dataset), sort_keys=True),
        schema=str(curated),
        model=model.to_json(),
        serving=str(folder / "serving"),
        digests=Digests(
            digest.of_source(),
            digest.of_file(str(curated)),
            digest.of_text(digest.of_log(*_paths(seen)), _masking_state(dataset)),
        ),
        thresholds=thresholds or Thresholds(),
        beam_args=tuple(beam_args) or IN_PROCESS,
        daily=daily,
    )


def component_names(config: PipelineConfig) -> list[str]:
    """The components that `run` will run, in that order."""
    return [component.id for component in create_pipeline(config).components]


def run(config: PipelineConfig, on_component: dag.Progress | None = None) -> PipelineResult:
    """Runs the pipeline; what an earlier run already did with the same inputs comes from the cache.

    Args:
      config: the pipeline.
      on_component: called with a component's name and `running`, then with `ran`, `cached` or `failed`.

    Raises:
      GateError: a gate stopped the run, or its model was withdrawn.
      PipelineError: a component failed otherwise.
    """
    metadata_file = str(pathlib.Path(config.root) / "metadata.sqlite")
    done = dag.run_dag(create_pipeline(config), metadata_file, on_component)
    evaluation = done["Evaluator"].outputs["evaluation"]
    pushed = done["Pusher"].properties["pushed_model"]
    version = str(pushed["pushed_destination"]) if pushed["pushed"] else None
    if version is not None and not pathlib.Path(version).exists():
        blessed.check_not_withdrawn(version)
        raise PipelineError(
            f"the version this model was pushed to, {version}, was removed since; delete {metadata_file} to train and "
            "push anew"
        )
    return PipelineResult(version, tuple(evaluator.read_failures(evaluation)), evaluation, done)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; exit code 0 when the model was blessed and pushed, else 1."""
    args = _parser().parse_args(argv)
    try:
        config = local_config(
            datasets.find(args.log, args.config),
            args.workdir,
            preset(args.preset).override(args.set),
            args.schema,
            Thresholds(args.min_auc, tuple(args.calibration)),
            beam_options.beam_args(args),
        )
        with dag.quiet(args.verbose):
            result = run(config, Printer())
    except (HrlrecError, OSError) as error:
        print(f"local_runner: {error}", file=sys.stderr)
        return 1
    print(f"evaluation: {result.evaluation}")
    for value, metrics in evaluator.read_metrics(result.evaluation)[""].items():
        print(value + ", ".join(f"{name} {metric:.4f}" for name, metric in sorted(metrics.items())))
    print(f"pushed: {result.version}" if result.blessed else f"not blessed: {'; '.join(result.reasons)}")
    return 0 if result.blessed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tfx_pipeline.local_runner",
        description="Runs the training pipeline on this machine.",
        epilog="example:\n  python -m tfx_pipeline.local_runner --log logs/ --workdir work/",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    limits = Thresholds()
    parser.add_argument("--log", metavar="DIR", help="the impression log")
    parser.add_argument("--config", metavar="YAML", help="dataset.yaml, where the log's columns have other names")
    parser.add_argument("--workdir", metavar="DIR", required=True, help="everything the pipeline writes")
    parser.add_argument("--schema", metavar="FILE", help="curated schema (default: schema.pbtxt in the workdir)")
    parser.add_argument("--preset", default="best", help="settings of the model: paper or best (default best)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, e.g. losses.gamma=0"
    )
    parser.add_argument("--min-auc", type=float, default=limits.auc, metavar="X", help=f"default {limits.auc}")
    parser.add_argument(
        "--calibration", type=float, nargs=2, default=limits.calibration, metavar=("LOW", "HIGH"), help="accepted range"
    )
    beam_options.add_arguments(parser)
    parser.add_argument("--verbose", action="store_true", help="show what TFX and Beam log")
    return parser


class Printer:
    """Prints one line per finished component."""

    def __init__(self) -> None:
        self._start = 0.0

    def __call__(self, component: str, state: str) -> None:
        if state == dag.RUNNING:
            self._start = time.monotonic()
        else:
            print(f"{component:<18} {state:<7} {time.monotonic() - self._start:6.1f} s", flush=True)


def _masking_state(dataset: DatasetConfig) -> str:
    """Changes with the masking key and does not tell it."""
    return masking.mask_text("key", masking.key(dataset.masking)) if dataset.masking else ""


def _paths(dataset: DatasetConfig) -> list[str]:
    """The log, or the files of the days that are read, and its side tables, whose paths are relative to it."""
    log = str(dataset.log)
    folder = log if "://" in log or pathlib.Path(log).is_dir() else str(pathlib.Path(log).parent)
    rows = [log]
    if dataset.dates and "://" not in log:
        rows = [str(path) for pattern in dataset.file_patterns for path in pathlib.Path(folder).glob(pattern)]
    return [*rows, *(f"{folder}/{join.file}" for join in dataset.joins)]


if __name__ == "__main__":
    sys.exit(main())
