"""Compiles the pipeline for Kubeflow Pipelines v2: YAML, pipeline specification 2.1, and platform specification.

Paths are those that the containers see; the image carries these packages and their dependencies. See docs/kubeflow.md.

Example: python -m tfx_pipeline.kubeflow_runner --output pipeline.yaml --pipeline-root gs://bucket/root --image NAME
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Sequence

from tfx import v1 as tfx

from hrlrec_tf import quotas
from hrlrec_tf.config import WARM, preset
from hrlrec_tf.data import beam_options, parsing
from hrlrec_tf.data import config as datasets
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.errors import ConfigError, HrlrecError
from tfx_pipeline import digest, kubeflow_entrypoint, kubeflow_settings, kubeflow_spec, limits
from tfx_pipeline.configs import IN_PROCESS, Daily, Digests, PipelineConfig, Thresholds
from tfx_pipeline.daily import REGISTRY
from tfx_pipeline.example_gen import SessionExampleGen
from tfx_pipeline.kubeflow_settings import KubeflowSettings
from tfx_pipeline.limits import Limits
from tfx_pipeline.pipeline import create_pipeline
from tfx_pipeline.window import Window

# The container's command; TFX's own entry point does not run on open-source Kubeflow Pipelines.
COMMAND = ("python", "-m", kubeflow_entrypoint.__name__)


def compile_pipeline(
    pipeline: tfx.dsl.Pipeline, output: str | os.PathLike[str], image: str, settings: KubeflowSettings
) -> None:
    """Writes the pipeline as YAML: first under a temporary name, then renamed.

    Args:
      pipeline: any TFX pipeline without Resolver and file-based ExampleGen, with paths as the containers see them.
      output: file to write.
      image: container image of every component.
      settings: what Kubeflow is told about the tasks beyond what TFX compiles.

    Raises:
      ConfigError: a setting does not fit the pipeline.
      CompileError: the pipeline cannot run on open-source Kubeflow Pipelines.
    """
    runner_config = tfx.orchestration.experimental.KubeflowV2DagRunnerConfig(
        default_image=image, default_commands=list(COMMAND), use_pipeline_spec_2_1=True
    )
    runner = tfx.orchestration.experimental.KubeflowV2DagRunner(config=runner_config)
    compiled = runner.run(pipeline, write_out=False)["pipelineSpec"]
    text = kubeflow_spec.to_yaml(*kubeflow_spec.complete(compiled, settings))
    output = pathlib.Path(output).resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as scratch:
        written = pathlib.Path(scratch) / "pipeline.yaml"
        written.write_text(text, "utf-8")
        written.replace(output)


def kubeflow_config(args: argparse.Namespace, beam_args: Sequence[str]) -> PipelineConfig:
    """The pipeline that the command line describes.

    Raises:
      ConfigError: a setting is wrong.
    """
    root = args.pipeline_root.rstrip("/")
    dataset = datasets.find(args.log or f"{root}/log", args.config)
    schema = args.schema or f"{root}/schema.pbtxt"
    # A path that only the containers see cannot be read here: then its name alone tells the cache of a change.
    content = digest.of_file(schema) if os.path.exists(schema) else digest.of_text(schema)
    accepted = _limits(args)
    return PipelineConfig(
        root=root,
        dataset=json.dumps(dataclasses.asdict(dataset), sort_keys=True),
        schema=schema,
        model=preset(args.preset).override(args.set).to_json(),
        serving=args.serving or f"{root}/serving",
        digests=Digests(digest.of_source(), content, digest.of_log(str(dataset.log))),
        thresholds=accepted.thresholds,
        beam_args=tuple(beam_args) or IN_PROCESS,
        daily=_daily(args, root, dataset, accepted),
    )


def _limits(args: argparse.Namespace) -> Limits:
    """What the gates accept, by a file or by the two options that came before it."""
    options = {"auc": args.min_auc, "calibration": args.calibration and tuple(args.calibration)}
    given = {name: value for name, value in options.items() if value is not None}
    if args.limits is None:
        return Limits(thresholds=Thresholds(**given))
    if given:
        raise ConfigError("--limits holds all limits; write --min-auc and --calibration under its `thresholds:`")
    accepted = limits.read(args.limits)
    if args.date is None and accepted != Limits(thresholds=accepted.thresholds):
        raise ConfigError(
            f"{args.limits}: `data` and `model` are limits of a daily run's gates; give --date, or `thresholds` alone"
        )
    return accepted


def _daily(args: argparse.Namespace, root: str, dataset: DatasetConfig, accepted: Limits) -> Daily | None:
    """A daily run where a date is given; the runs are told theirs, and the registry is looked at when they run."""
    if args.date is None:
        return None
    window = Window(args.date, args.train_days, args.history_days, without=tuple(args.without))
    window.dataset(dataset)  # told now, not in the cluster
    return Daily(
        window,
        args.registry or f"{root}/{REGISTRY}",
        first=args.first,
        warm=tuple(args.warm or WARM),
        catalogue=args.catalogue,
        quotas=quotas.read_text(args.quotas, dataset.list_length),
        data=accepted.data,
        model=accepted.model,
        keep=args.keep,
    )


def check_masking_key(dataset: DatasetConfig, settings: KubeflowSettings) -> None:
    """Raises `ConfigError` when the log is masked and no secret brings the key to the task that reads it."""
    if dataset.masking is None:
        return
    variable = dataset.masking.key_env
    reader = SessionExampleGen.__name__
    if not any(variable in secret.env for secret in settings.secrets_of(reader)):
        raise ConfigError(
            f"the log is masked with the key in {variable}, which no secret of the settings brings to {reader}; add it "
            f"under secrets, for instance {{secret: hrlrec-masking, env: {{{variable}: key}}, tasks: [{reader}]}}"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; exit code 0 when the file was written, else 1."""
    args = _parser().parse_args(argv)
    try:
        defaults = kubeflow_settings.DEFAULTS if args.date is None else kubeflow_settings.DAILY
        settings = kubeflow_settings.load(args.settings or defaults)
        config = kubeflow_config(args, beam_options.beam_args(args))
        check_masking_key(parsing.build(DatasetConfig, json.loads(config.dataset), ""), settings)
        compile_pipeline(create_pipeline(config), args.output, args.image, settings)
    except (HrlrecError, OSError) as error:
        print(f"kubeflow_runner: {error}", file=sys.stderr)
        return 1
    print(f"compiled: {args.output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tfx_pipeline.kubeflow_runner",
        description="Compiles the training pipeline for Kubeflow Pipelines v2.",
    )
    parser.add_argument("--output", metavar="FILE", required=True, help="YAML file to write")
    parser.add_argument("--pipeline-root", metavar="URI", default="/mnt/hrlrec", help="artifacts (default %(default)s)")
    parser.add_argument("--image", metavar="NAME", default="hrlrec:latest", help="image (default %(default)s)")
    parser.add_argument(
        "--settings",
        metavar="YAML",
        help="resources, retries, caching, secrets and parameters of the tasks (default tfx_pipeline/kubeflow.yaml, of "
        "a daily run kubeflow_daily.yaml)",
    )
    parser.add_argument("--log", metavar="URI", help="the impression log (default ROOT/log)")
    parser.add_argument("--config", metavar="YAML", help="dataset.yaml, where the log's columns have other names")
    parser.add_argument("--schema", metavar="URI", help="curated schema (default ROOT/schema.pbtxt)")
    days = parser.add_argument_group("a daily run: see docs/operations.md")
    days.add_argument("--date", metavar="DATE", help="the newest day, default of the pipeline parameter `date`")
    days.add_argument("--train-days", type=int, default=7, metavar="N", help="days before it that train (7)")
    days.add_argument("--without", action="append", default=[], metavar="DATE", help="as of hrlrec daily")
    days.add_argument("--history-days", type=int, metavar="N", help="days before those that are read (all)")
    days.add_argument("--registry", metavar="URI", help=f"blessed models (default ROOT/{REGISTRY})")
    days.add_argument("--first", action="store_true", help="nothing was blessed yet, default of the parameter `first`")
    days.add_argument("--warm", action="append", default=[], metavar="KEY=VALUE", help="as of hrlrec daily")
    days.add_argument("--catalogue", action="store_true", help="as of hrlrec daily")
    days.add_argument("--quotas", metavar="FILE", help="as of hrlrec daily; read now")
    days.add_argument("--keep", type=int, default=7, metavar="N", help="blessed models that stay (7)")
    parser.add_argument("--serving", metavar="URI", help="where versions are pushed (default ROOT/serving)")
    parser.add_argument("--preset", default="best", help="settings of the model: paper or best (default %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting of the model")
    parser.add_argument("--limits", metavar="YAML", help="what the gates accept: see docs/operations.md")
    parser.add_argument("--min-auc", type=float, metavar="X", help=f"without --limits (default {Thresholds.auc})")
    parser.add_argument(
        "--calibration", type=float, nargs=2, metavar=("LOW", "HIGH"), help="accepted, without --limits"
    )
    beam_options.add_arguments(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
