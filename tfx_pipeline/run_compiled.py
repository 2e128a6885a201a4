"""Runs a compiled Kubeflow pipeline on this machine, without a cluster: see `local_cluster`.

Example: python -m tfx_pipeline.run_compiled --pipeline pipeline.yaml --root work/compiled --parameter log=logs/
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from hrlrec_tf.errors import HrlrecError
from tfx_pipeline import compiled
from tfx_pipeline.compiled import CompiledError
from tfx_pipeline.local_cluster import LocalCluster, TaskRun


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; exit code 0 when every task succeeded, else 1."""
    args = _parser().parse_args(argv)
    try:
        given = dict(_pair(text) for text in args.parameter)
        LocalCluster(args.root, args.typed).run(compiled.read(args.pipeline), given, _print)
    except (HrlrecError, OSError) as error:
        print(f"run_compiled: {error}", file=sys.stderr)
        return 1
    return 0


def _print(name: str, run: TaskRun) -> None:
    print(f"{name:<18} {run.state:<7} {run.seconds:6.1f} s", flush=True)
    for output, artifact in run.outputs.artifacts.items():
        print(f"  {output}: {artifact['uri']}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CompiledError(f"--parameter takes NAME=VALUE: got {text}")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tfx_pipeline.run_compiled",
        description="Runs a compiled Kubeflow pipeline on this machine, without a cluster.",
        epilog="example:\n  python -m tfx_pipeline.run_compiled --pipeline p.yaml --root work/ --parameter log=logs/",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pipeline", type=pathlib.Path, metavar="YAML", required=True, help="the compiled pipeline")
    parser.add_argument("--root", type=pathlib.Path, metavar="DIR", required=True, help="everything the run writes")
    parser.add_argument(
        "--parameter", action="append", default=[], metavar="NAME=VALUE", help="a pipeline parameter; repeatable"
    )
    parser.add_argument("--typed", action="store_true", help="hand artifacts over with their types, as Vertex AI does")
    return parser


if __name__ == "__main__":
    sys.exit(main())
