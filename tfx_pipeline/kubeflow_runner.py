"""Compiles the pipeline for Kubeflow Pipelines v2: YAML, pipeline specification 2.1.

Paths are those that the containers see; the image carries these packages and their dependencies.

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

from hrlrec_tf.config import preset
from hrlrec_tf.data import beam_options
from hrlrec_tf.data import config as datasets
from hrlrec_tf.errors import HrlrecError
from tfx_pipeline import digest
from tfx_pipeline.configs import Digests, PipelineConfig, Thresholds
from tfx_pipeline.pipeline import create_pipeline


def compile_pipeline(config: PipelineConfig, output: str | os.PathLike[str], image: str) -> None:
    """Writes the pipeline as YAML: first under a temporary name, then renamed.

    Args:
      config: the pipeline, with paths as the containers see them.
      output: file to write.
      image: container image of every component.
    """
    output = pathlib.Path(output).resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    runner_config = tfx.orchestration.experimental.KubeflowV2DagRunnerConfig(
        default_image=image, use_pipeline_spec_2_1=True
    )
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as scratch:
        written = pathlib.Path(scratch) / "pipeline.yaml"
        runner = tfx.orchestration.experimental.KubeflowV2DagRunner(
            config=runner_config, output_dir=scratch, output_filename=written.name
        )
        runner.run(create_pipeline(config))
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
    return PipelineConfig(
        root=root,
        dataset=json.dumps(dataclasses.asdict(dataset), sort_keys=True),
        schema=schema,
        model=preset(args.preset).override(args.set).to_json(),
        serving=args.serving or f"{root}/serving",
        digests=Digests(digest.of_source(), content, digest.of_log(str(dataset.log))),
        thresholds=Thresholds(args.min_auc),
        beam_args=tuple(beam_args),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; exit code 0 when the file was written, else 1."""
    args = _parser().parse_args(argv)
    try:
        compile_pipeline(kubeflow_config(args, beam_options.beam_args(args)), args.output, args.image)
    except HrlrecError as error:
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
    parser.add_argument("--log", metavar="URI", help="the impression log (default ROOT/log)")
    parser.add_argument("--config", metavar="YAML", help="dataset.yaml, where the log's columns have other names")
    parser.add_argument("--schema", metavar="URI", help="curated schema (default ROOT/schema.pbtxt)")
    parser.add_argument("--serving", metavar="URI", help="where versions are pushed (default ROOT/serving)")
    parser.add_argument("--preset", default="best", help="settings of the model: paper or best (default %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting of the model")
    parser.add_argument("--min-auc", type=float, default=Thresholds.auc, metavar="X", help="default %(default)s")
    beam_options.add_arguments(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
