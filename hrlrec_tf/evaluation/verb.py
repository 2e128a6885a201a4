"""The verbs `evaluate` and `compare`."""

import argparse
import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hrlrec_tf import models, verbs
from hrlrec_tf.cli import Verb
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.evaluation.options import COMPARE_METRICS, COMPARE_REPLICATES, REPLICATES, Options

if TYPE_CHECKING:
    import pandas as pd

_MODEL, _BASE = "the model", "the base"  # also what messages call them


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True, metavar="PATH", help="model folder of `hrlrec train`, or a file of scored rows"
    )
    parser.add_argument("--data", metavar="DIR", help="sessions, as `hrlrec prepare` wrote them; for model folders")
    parser.add_argument("--split", default="eval", choices=("train", "validation", "eval"))
    parser.add_argument("--base", metavar="PATH", help="the same of a model to compare with: RelaImpr, differences, p")
    parser.add_argument("--predictions", metavar="FILE", help="also write the scored rows here, as Parquet")
    parser.add_argument("--report", metavar="FILE", help="also write an HTML page")
    _add_bootstrap(parser, REPLICATES)
    parser.add_argument(
        "--ndcg-at", type=int, default=Options.ndcg_at, metavar="K", help="of NDCG@K (default: %(default)s)"
    )
    parser.add_argument(
        "--hit-rate-at", type=int, default=Options.hit_rate_at, metavar="K", help="default: %(default)s"
    )


def _add_bootstrap(parser: argparse.ArgumentParser, replicates: int) -> None:
    parser.add_argument(
        "--replicates",
        type=int,
        default=replicates,
        metavar="N",
        help="of the bootstrap over users; 0: no intervals (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the bootstrap")


def _evaluate(args: argparse.Namespace) -> Mapping[str, Any]:
    from hrlrec_tf.evaluation import comparison, evaluator, metrics, tables
    from hrlrec_tf.evaluation.store import Store

    options = Options(args.replicates, args.seed, args.ndcg_at, args.hit_rate_at)
    sources = {_MODEL: args.model} | ({_BASE: args.base} if args.base else {})
    with Store() as store:
        uncertain = [
            name
            for name, source in sources.items()
            if not _collect(store, name, source, args, args.predictions if name == _MODEL else None)
        ]
        found = evaluator.evaluate(store, options, uncertain)
    print(tables.evaluation(found[_MODEL], options))
    settings = {name: value for name, value in dataclasses.asdict(options).items() if name != "slices"}
    result = found[_MODEL].to_dict() | settings
    if args.base:
        ours, base = found[_MODEL], found[_BASE]
        result["base"] = base.to_dict()
        result["base_auc"] = base.overall.values["auc"]
        result["rela_impr"] = metrics.rela_impr(result["auc"], result["base_auc"])
        result["rela_impr_low"], result["rela_impr_high"] = comparison.rela_impr_interval(ours, base)
        result["differences"] = {
            metric: comparison.paired_difference(ours, base, metric) for metric in comparison.METRICS
        }
        print(f"\n{tables.against_base(result)}")
    if args.report:
        from hrlrec_tf.experiments import evaluation_page, report

        title = f"Evaluation: {pathlib.Path(args.model).resolve().name}"
        print(f"\npage: {report.write_page(args.report, evaluation_page.render(title, result))}")
    return result


def _collect(store: Any, name: str, source: str, args: argparse.Namespace, copy: str | None) -> bool:
    """Puts a model's scored rows into the store, and into the file `copy`; returns whether they are probabilities."""
    from hrlrec_tf.evaluation import predictions

    probability, batches = _scored(source, args)
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(predictions.Writer(copy, probability)) if copy else None
        for rows in batches:
            store.add(name, rows)
            if writer is not None:
                writer.add(rows)
    return probability


def _scored(source: str, args: argparse.Namespace) -> "tuple[bool, Iterator[pd.DataFrame]]":
    """Whether a model's predictions are probabilities, and its scored rows."""
    from hrlrec_tf.evaluation import predictions

    if pathlib.Path(source).is_file():
        return predictions.read_is_probability(source), predictions.read(source)
    if not args.data:
        raise ConfigError(f"{source} is no file of scored rows, so it needs sessions; name them with --data")

    from tqdm import tqdm

    from hrlrec_tf.evaluation import scoring

    files = verbs.session_files(verbs.session_folder(args.data), args.split)
    model, reader, settings = models.load(source)

    def batches() -> "Iterator[pd.DataFrame]":
        with tqdm(desc="score", unit="row") as bar:
            for rows in scoring.score_batches(model, reader, files):
                yield rows
                bar.update(len(rows))

    return models.predicts_probability(settings), batches()


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "predictions",
        nargs="+",
        metavar="PREDICTIONS",
        help="files MODEL-SEED.parquet of scored rows, or folders of such; `hrlrec evaluate --predictions` makes them",
    )
    parser.add_argument("--base", required=True, metavar="MODEL", help="base of RelaImpr")
    parser.add_argument(
        "--reference",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="models tested against each of the others; p corrected by Holm over all pairs (default: no tests)",
    )
    parser.add_argument("--metric", default="auc", choices=COMPARE_METRICS)
    _add_bootstrap(parser, COMPARE_REPLICATES)


def _compare(args: argparse.Namespace) -> Mapping[str, Any]:
    from hrlrec_tf.evaluation import comparison, tables

    files = comparison.named_files(args.predictions)
    options = Options(args.replicates, args.seed)
    result = comparison.compare(files, args.base, args.reference, args.metric, options)
    print(tables.comparison_markdown(result))
    return result


EVALUATE = Verb(
    help="metrics of a model's click predictions, per slice, with intervals; against a base with p",
    example="hrlrec evaluate --model model --data sessions --base other_model --predictions predictions/best-0.parquet",
    add_arguments=_add_evaluate,
    run=_evaluate,
)
COMPARE = Verb(
    help="compare models by the predictions of several seeds: intervals, RelaImpr, paired tests",
    example="hrlrec compare predictions/ --base lr --reference best --json comparison.json",
    add_arguments=_add_compare,
    run=_compare,
)
