"""Compares models by the predictions they made for the same rows.

    python -m benchmarks.compare RUNS/predictions/best-*.parquet --peers PEERS [PEERS ...] --base lr --json table.json

A file is named MODEL-SEED.parquet and has the columns request_id, user_id, position, label and prediction, as
`hrlrec evaluate --predictions` and `benchmarks.peers` write it. Per model: mean AUC with its 95 % t interval over
seeds, AUC of the predictions averaged over seeds, RelaImpr over the base (of mean AUCs, in percent). Per pair of one
of our models and a peer: p of "ours is no better", one-sided, by a paired bootstrap over users on the averaged
predictions, and the same corrected by Holm over all pairs of the call.
"""

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import significance
from hrlrec_tf.cli import write_json
from hrlrec_tf.errors import DataError, HrlrecError
from hrlrec_tf.evaluation import metrics

KEY = ["request_id", "position"]
REPLICATES = 5000


@dataclasses.dataclass(frozen=True)
class Model:
    """Predictions of one model.

    Attributes:
      name: what its files are called.
      ours: one of ours, not a peer.
      seeds: seed -> predictions [rows], rows in order of KEY.
    """

    name: str
    ours: bool
    seeds: Mapping[int, np.ndarray]

    @property
    def averaged(self) -> np.ndarray:
        """Predictions averaged over the seeds."""
        average: np.ndarray = np.mean(list(self.seeds.values()), axis=0)
        return average


class Predictions:
    """Predictions read from files, all for the same rows.

    Attributes:
      rows: request_id, position, label, user_id, in order of KEY; None before the first file.
      models: by name.
    """

    def __init__(self) -> None:
        self.rows: pd.DataFrame | None = None
        self.models: dict[str, Model] = {}
        self._first = ""

    def add(self, file: pathlib.Path, ours: bool) -> None:
        """Reads one file.

        Raises:
          DataError: the name does not end with a seed, the file cannot be read or lacks a column, a model and seed
            come twice, or the rows are not those of the first file.
        """
        name, dash, seed = file.stem.rpartition("-")
        if not (dash and seed.isdigit()):
            raise DataError(f"{file} is not named MODEL-SEED.parquet, for instance best-0.parquet; rename it")
        table = _read(file)
        self._check(file, table)
        model = self.models.setdefault(name, Model(name, ours, {}))
        if int(seed) in model.seeds or model.ours != ours:
            raise DataError(f"{file}: predictions of {name!r} with seed {seed} come twice; give every model one name")
        self.models[name] = dataclasses.replace(
            model, seeds={**model.seeds, int(seed): table["prediction"].to_numpy(np.float64)}
        )

    def _check(self, file: pathlib.Path, table: pd.DataFrame) -> None:
        rows = table[[*KEY, "label", "user_id"]]
        if self.rows is None:
            self.rows, self._first = rows, str(file)
        elif not rows[[*KEY, "label"]].equals(self.rows[[*KEY, "label"]]):
            raise DataError(
                f"{file} holds other rows (request_id, position, label) than {self._first}: {len(rows)} and "
                f"{len(self.rows)} rows; evaluate both on the same split of the same sessions"
            )


def compare(predictions: Predictions, base: str, replicates: int = REPLICATES) -> dict[str, Any]:
    """All figures of the models.

    Returns:
      {"rows": n, "users": n, "base": name, "models": [...], "pairs": [...]}, models by mean AUC, best first.

    Raises:
      DataError: there are no files, or none of the base.
    """
    if predictions.rows is None or base not in predictions.models:
        raise DataError(
            f"no predictions of the base {base!r}; known: {', '.join(sorted(predictions.models)) or 'none'}"
        )
    labels, users = predictions.rows["label"].to_numpy(), predictions.rows["user_id"].to_numpy()
    models = [_figures(model, labels) for model in predictions.models.values()]
    base_auc = next(model["auc"] for model in models if model["model"] == base)
    for model in models:
        model["rela_impr"] = metrics.rela_impr(model["auc"], base_auc)
    return {
        "rows": len(labels),
        "users": len(set(users)),
        "base": base,
        "replicates": replicates,
        "models": sorted(models, key=lambda model: -model["auc"]),
        "pairs": _pairs(predictions.models, significance.UserBootstrap(users, labels, replicates)),
    }


def markdown(result: Mapping[str, Any]) -> str:
    """The figures as Markdown tables."""
    lines = [
        f"{result['rows']:,} rows, {result['users']:,} users; RelaImpr over {result['base']}",
        "",
        "| model | | seeds | mean AUC | 95 % interval | AUC of mean prediction | RelaImpr |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for model in result["models"]:
        interval = f"{model['auc_low']:.4f} to {model['auc_high']:.4f}" if model["seeds"] > 1 else "one seed"
        lines.append(
            f"| {model['model']} | {'ours' if model['ours'] else 'peer'} | {model['seeds']} | {model['auc']:.4f} "
            f"| {interval} | {model['averaged_auc']:.4f} | {model['rela_impr']:+.1f} % |"
        )
    if result["pairs"]:
        lines += [
            "",
            "| ours | peer | difference | 95 % interval | p | p (Holm) |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
    for pair in result["pairs"]:
        lines.append(
            f"| {pair['ours']} | {pair['peer']} | {pair['difference']:+.4f} "
            f"| {pair['low']:+.4f} to {pair['high']:+.4f} | {pair['p_value']:.4f} | {pair['p_holm']:.4f} |"
        )
    return "\n".join(lines)


def _read(file: pathlib.Path) -> pd.DataFrame:
    columns = [*KEY, "user_id", "label", "prediction"]
    try:
        table = pd.read_parquet(file, columns=columns)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{file} is no Parquet file with the columns {', '.join(columns)}: {error}") from error
    return table.sort_values(KEY, ignore_index=True).astype({"position": np.int64, "label": np.int64})


def _figures(model: Model, labels: np.ndarray) -> dict[str, Any]:
    aucs = np.array([metrics.auc(labels, model.seeds[seed]) for seed in sorted(model.seeds)])
    low, high = significance.t_interval(aucs)
    return {
        "model": model.name,
        "ours": model.ours,
        "seeds": len(aucs),
        "auc": float(aucs.mean()),
        "auc_low": low,
        "auc_high": high,
        "auc_by_seed": {str(seed): float(auc) for seed, auc in zip(sorted(model.seeds), aucs, strict=True)},
        "averaged_auc": metrics.auc(labels, model.averaged),
    }


def _pairs(models: Mapping[str, Model], bootstrap: significance.UserBootstrap) -> list[dict[str, Any]]:
    """Every model of ours against every peer."""
    if len({model.ours for model in models.values()}) < 2:
        return []
    aucs = {name: bootstrap.aucs(model.averaged) for name, model in models.items()}
    pairs = []
    for ours in (name for name, model in models.items() if model.ours):
        for peer in (name for name, model in models.items() if not model.ours):
            difference = aucs[ours] - aucs[peer]
            low, high = np.nanquantile(difference, [0.025, 0.975])
            pairs.append(
                {
                    "ours": ours,
                    "peer": peer,
                    "difference": float(np.nanmean(difference)),
                    "low": float(low),
                    "high": float(high),
                    "p_value": significance.p_value(aucs[ours], aucs[peer]),
                }
            )
    for pair, adjusted in zip(pairs, significance.holm(np.array([pair["p_value"] for pair in pairs])), strict=True):
        pair["p_holm"] = float(adjusted)
    return pairs


def _files(names: Sequence[str]) -> list[pathlib.Path]:
    """The files named, and those in the folders named; raises DataError where there are none."""
    found: list[pathlib.Path] = []
    for name in map(pathlib.Path, names):
        files = sorted(name.glob("*.parquet")) if name.is_dir() else [name]
        if not files:
            raise DataError(f"{name} holds no .parquet files; name a folder of predictions")
        found += files
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the tables; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        predictions = Predictions()
        for file in _files(args.ours):
            predictions.add(file, ours=True)
        for file in _files(args.peers):
            predictions.add(file, ours=False)
        result = compare(predictions, args.base, args.replicates)
        print(markdown(result))
        if args.json:
            write_json(args.json, result)
    except HrlrecError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ours", nargs="+", metavar="OURS", help="prediction files of our models, or folders of them")
    parser.add_argument("--peers", nargs="*", default=[], metavar="PEERS", help="the same of the peers")
    parser.add_argument("--base", default="lr", metavar="MODEL", help="base of RelaImpr (default: lr)")
    parser.add_argument("--replicates", type=int, default=REPLICATES, metavar="N", help="of the bootstrap")
    parser.add_argument("--json", metavar="FILE", help="also write the figures here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
