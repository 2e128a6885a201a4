"""The verbs `train` and `export`, and what all verbs on sessions need."""

import argparse
import pathlib
from collections.abc import Mapping
from typing import Any, cast

from hrlrec_tf import models
from hrlrec_tf.cli import Verb
from hrlrec_tf.distribution import cluster
from hrlrec_tf.errors import ConfigError, DataError


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, metavar="DIR", help="sessions, as `hrlrec prepare` wrote them")
    parser.add_argument("--out", required=True, metavar="DIR", help="model folder to make")
    parser.add_argument("--model", default="hrl-rec", choices=models.NAMES)
    parser.add_argument("--preset", choices=("paper", "best"), help="of hrl-rec (default: best); baselines have none")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, e.g. losses.gamma=0.5; repeatable"
    )
    parser.add_argument("--resume", action="store_true", help="go on with an unfinished model folder")
    parser.add_argument(
        "--warm-start",
        metavar="MODEL",
        help="go on from a finished model, its optimizer state included; values new to it get rows of their own",
    )
    parser.add_argument(
        "--strategy",
        default=cluster.SINGLE,
        choices=cluster.STRATEGIES,
        help="train on this machine, or as one process of the cluster in TF_CONFIG (docs/distributed.md)",
    )


def _train(args: argparse.Namespace) -> Mapping[str, Any]:
    from hrlrec_tf import model_folder
    from hrlrec_tf.data import schema
    from hrlrec_tf.distribution import start

    task = cluster.read_task(args.strategy)
    models.use_machine(args.model)
    machines = start.join(task)
    data = session_folder(args.data)
    features = schema.read(str(data / "schema.pbtxt"))
    if args.warm_start is not None:
        model_folder.check_warm_start(pathlib.Path(args.warm_start), args.model, features)
    if task.chief:
        fitted_transform(data)
    machines.wait()
    result = models.train(
        args.model,
        models.settings(args.model, args.preset).override(args.set),
        features,
        fitted_transform(data),
        session_files(data, "train"),
        session_files(data, "validation"),
        args.out,
        resume=args.resume,
        warm_start=args.warm_start,
        machines=machines,
    )
    if args.warm_start is not None:
        counts = cast(Mapping[str, Mapping[str, int]], result.get("growth", {}))
        print(f"went on from {args.warm_start}" + (", values:" if counts else " with its vocabularies"))
        for name, each in counts.items():
            print(f"  {name}: {each['kept']:,} kept, {each['added']:,} added, {each['left_out']:,} left out")
    auc = result.get("validation_auc", float("nan"))
    print(f"model in {args.out}: validation AUC {auc:.4f}, {result['epochs']} epochs")
    return result


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="DIR", help="model folder of `hrlrec train`")
    parser.add_argument("--out", required=True, metavar="DIR", help="base folder of served versions")
    parser.add_argument(
        "--catalogue",
        metavar="PATH",
        help="items to carry along, so that requests need only ids, or no candidates: prepared sessions, or a Parquet, "
        "CSV or JSONL file with item_id, channel, tags and the model's item_* columns",
    )
    parser.add_argument(
        "--quotas",
        metavar="FILE",
        help="YAML with bounds on each channel's rows in a list, e.g. news: {at_least: 1, at_most: 4}",
    )


def _export(args: argparse.Namespace) -> Mapping[str, Any]:
    from hrlrec_tf import export

    base = pathlib.Path(args.out)
    versions = [int(folder.name) for folder in base.glob("*") if folder.name.isdigit()]
    version = max(versions, default=0) + 1
    export.export_saved_model(args.model, str(base / str(version)), args.catalogue, args.quotas)
    print(f"version {version} in {base}; serve it with hrlrec serve --model-base {base}")
    return {"version": version, "path": str(base / str(version))}


def session_folder(name: str) -> pathlib.Path:
    """A finished folder of `hrlrec prepare`; raises DataError if it is not one."""
    folder = pathlib.Path(name)
    if not (folder / "summary.json").exists():
        raise DataError(
            f"{folder} holds no finished sessions (no summary.json); run hrlrec prepare --out {folder} first"
        )
    return folder


def fitted_transform(data: pathlib.Path) -> str:
    """Folder of the transform of some sessions, fitted on their training split if it is not there yet."""
    from hrlrec_tf.data import schema, transform

    folder = data / "transform"
    if not folder.exists():
        transform.fit(str(data / "train" / "*"), schema.read(str(data / "schema.pbtxt")), str(folder))
    return str(folder)


def session_files(folder: pathlib.Path, split: str) -> list[str]:
    """Session files of one split; raises ConfigError for an unknown split."""
    if split not in ("train", "validation", "eval"):
        raise ConfigError(f"split {split!r} is unknown; choose train, validation or eval")
    return sorted(str(file) for file in (folder / split).glob("*.tfrecord.gz"))


TRAIN = Verb(
    help="train a model on prepared sessions",
    example="hrlrec train --data sessions --out model --preset best --set training.epochs=10",
    add_arguments=_add_train,
    run=_train,
)
EXPORT = Verb(
    help="write a trained model as the next served version",
    example="hrlrec export --model model --out served",
    add_arguments=_add_export,
    run=_export,
)
