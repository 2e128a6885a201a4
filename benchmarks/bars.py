"""Runs BARS's recipes for MovielensLatest_x1 and Frappe_x1 and prints the difference from the published figures.

    python -m benchmarks.bars --data FOLDER --set movielenslatest --out RESULTS

FOLDER holds train.csv, valid.csv and test.csv as the BARS project publishes them (github.com/reczoo/Datasets, sets
MovielensLatest_x1 and Frappe_x1; Frappe's licence forbids to pass it on and to use it commercially): a header, then
label (0 or 1) and one id per field:

    movielenslatest: label,user_id,item_id,tag_id
    frappe: label,user,item,daytime,weekday,isweekend,homework,cost,weather,country,city

Recipes and figures are those of the BARS leaderboard (github.com/reczoo/BARS, docs/CTR/leaderboard and the logs in
ranking/ctr/MODEL): Adam at 1e-3, batches of 4,096, embeddings of 10, the rate cut to a tenth after each epoch without a
better validation AUC, two such epochs end the run, ids that the training file lacks share one id per field. RESULTS
gets one JSON file per model; a model that has one is not run again.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.metrics import log_loss, roc_auc_score

from hrlrec_tf.baselines.ctr import config
from hrlrec_tf.baselines.ctr.fitting import Fit
from hrlrec_tf.baselines.ctr.inputs import Fields, offset_ids
from hrlrec_tf.baselines.ctr.model import build
from hrlrec_tf.baselines.ctr.rows import TrainingRows
from hrlrec_tf.cli import write_json
from hrlrec_tf.errors import DataError, HrlrecError

FILES = ("train", "valid", "test")
COLUMNS = {
    "movielenslatest": ("user_id", "item_id", "tag_id"),
    "frappe": ("user", "item", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city"),
}
ROWS = {"movielenslatest": (1_404_801, 401_372, 200_686), "frappe": (202_027, 57_722, 28_860)}

_ALL = ("training.learning_rate=0.001", "training.batch_size=4096", "training.patience=2", "training.plateau_cut=0.1")
_EMBEDDING = ("network.embedding_dim=10",)
_DENSE = (*_EMBEDDING, "network.hidden_units=[400,400,400]")
_BATCH_NORM = (*_DENSE, "network.batch_norm=true")
_ATTENTION = (*_EMBEDDING, "network.attention_units=128", "network.attention_heads=4")
_NORMED = ("network.scale=true", "network.layer_norm=true")
_PLAIN = ("network.scale=false", "network.layer_norm=false", "network.wide=false")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One cell of the leaderboard.

    Attributes:
      model: name of the baseline.
      settings: of the run, beside those that all share.
      auc, log_loss: published, on the test file.
    """

    model: str
    settings: tuple[str, ...]
    auc: float
    log_loss: float


def _recipe(
    model: str, l2: float, auc: float, loss: float, settings: Sequence[str] = (), dropout: float | None = None
) -> Recipe:
    dropped = () if dropout is None else (f"network.dropout={dropout}",)
    return Recipe(model, (*_ALL, f"training.embedding_l2={l2}", *settings, *dropped), auc, loss)


def _afm(units: int, dropout: float) -> tuple[str, ...]:
    return (
        *_EMBEDDING,
        f"network.attention_units={units}",
        f"network.attention_dropout={dropout}",
        f"network.pooling_dropout={dropout}",
    )


RECIPES: Mapping[str, Mapping[str, Recipe]] = {
    "movielenslatest": {
        "lr": _recipe("lr", 5e-6, 0.934189, 0.320077),
        "fm": _recipe("fm", 5e-6, 0.943435, 0.272893, _EMBEDDING),
        "nfm": _recipe("nfm", 1e-4, 0.949597, 0.266413, _DENSE, 0.2),
        "afm": _recipe("afm", 1e-5, 0.947193, 0.265332, _afm(16, 0.4)),
        "wide-deep": _recipe("wide-deep", 0.01, 0.968393, 0.217139, _BATCH_NORM, 0.1),
        "deepfm": _recipe("deepfm", 0.01, 0.968223, 0.213790, _BATCH_NORM, 0.3),
        "autoint": _recipe("autoint", 0.01, 0.966292, 0.222845, (*_ATTENTION, *_NORMED), 0.0),
        "autoint+": _recipe("autoint", 0.01, 0.969188, 0.214772, (*_ATTENTION, *_NORMED, *_BATCH_NORM), 0.1),
    },
    "frappe": {
        "lr": _recipe("lr", 1e-5, 0.935584, 0.307643),
        "fm": _recipe("fm", 5e-6, 0.967108, 0.206515, _EMBEDDING),
        "nfm": _recipe("nfm", 1e-4, 0.980409, 0.205795, _DENSE, 0.4),
        "afm": _recipe("afm", 1e-5, 0.969733, 0.226424, _afm(128, 0.1)),
        "wide-deep": _recipe("wide-deep", 0.1, 0.983073, 0.153978, _BATCH_NORM, 0.6),
        "deepfm": _recipe("deepfm", 0.05, 0.983947, 0.149462, _BATCH_NORM, 0.2),
        "autoint": _recipe(
            "autoint", 0.05, 0.983085, 0.163684, (*_ATTENTION, *_PLAIN, "network.attention_layers=6"), 0.0
        ),
        "autoint+": _recipe(
            "autoint",
            0.1,
            0.984812,
            0.149007,
            (*_ATTENTION, *_NORMED, *_BATCH_NORM, "network.wide=false", "network.attention_layers=5"),
            0.1,
        ),
    },
}


def read(folder: pathlib.Path, name: str) -> tuple[Fields, dict[str, TrainingRows]]:
    """The fields of a data set and the rows of its three files.

    Raises:
      DataError: a file is missing or has other columns, a label is neither 0 nor 1, or a value is missing.
    """
    tables = {part: _table(folder / f"{part}.csv", name) for part in FILES}
    known = {column: pd.Index(tables["train"][column].unique()) for column in COLUMNS[name]}
    fields = Fields({column: len(values) + 1 for column, values in known.items()})
    parts = {}
    for part, table in tables.items():
        # An id that training lacks is found at -1: one more than the last, 0.
        ids = offset_ids(fields, {column: index.get_indexer(table[column]) + 1 for column, index in known.items()})
        labels = tf.constant(table["label"].to_numpy(np.float32))
        parts[part] = TrainingRows({"ids": tf.constant(ids)}, labels)
    return fields, parts


def _table(file: pathlib.Path, name: str) -> pd.DataFrame:
    wanted = ["label", *COLUMNS[name]]
    try:
        table = pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file} cannot be read ({' '.join(str(error).split())}); --data must hold train.csv, valid.csv and "
            f"test.csv of the BARS set {name}"
        ) from error
    if missing := [column for column in wanted if column not in table]:
        raise DataError(
            f"{file} has the columns {', '.join(table)}, it lacks {', '.join(missing)}; take the files of the BARS set "
            f"{name}, whose columns are {', '.join(wanted)}"
        )
    if table[wanted].isna().to_numpy().any() or not table["label"].isin([0, 1]).all():
        raise DataError(f"{file}: every row needs a label of 0 or 1 and an id in each column; take the published files")
    return table


def run(recipe: Recipe, fields: Fields, parts: Mapping[str, TrainingRows], seed: int, folder: pathlib.Path) -> dict:
    """Trains by a recipe; returns the test figures, the published ones and the differences."""
    settings = config.default(recipe.model).override([*recipe.settings, f"training.seed={seed}"])
    tf.keras.utils.set_random_seed(seed)
    fit = Fit(build(recipe.model, settings, fields), parts["train"], parts["valid"], settings.training, folder)
    fit.run(lambda *_: None, progress=True)
    labels, predictions = parts["test"].labels.numpy(), fit.predict(parts["test"]).astype(np.float64)
    auc, loss = float(roc_auc_score(labels, predictions)), float(log_loss(labels, predictions))
    return {
        **{"auc": auc, "published_auc": recipe.auc, "auc_difference": auc - recipe.auc},
        **{"log_loss": loss, "published_log_loss": recipe.log_loss, "log_loss_difference": loss - recipe.log_loss},
        **{"epochs": fit.epoch, "seed": seed, "settings": list(recipe.settings)},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the recipes; returns the exit code."""
    args = _parser().parse_args(argv)
    out = pathlib.Path(args.out)
    try:
        fields, parts = read(pathlib.Path(args.data), args.set)
        found = tuple(parts[part].size for part in FILES)
        if found != ROWS[args.set]:
            print(f"note: the files hold {found} rows, the published ones {ROWS[args.set]}", file=sys.stderr)
        print(f"{'model':<10} {'AUC':>8} {'published':>9} {'diff':>8} {'log loss':>9} {'published':>9} {'diff':>8}")
        for name in args.models:
            file = out / f"{args.set}-{name}-{args.seed}.json"
            if not file.exists():
                folder = out / f"{args.set}-{name}-{args.seed}"
                write_json(file, run(RECIPES[args.set][name], fields, parts, args.seed, folder))
            print(_line(name, json.loads(file.read_text())), flush=True)
    except (HrlrecError, OSError) as error:
        print(f"bars: {error}", file=sys.stderr)
        return 1
    return 0


def _line(name: str, result: Mapping[str, float]) -> str:
    figures = [
        f"{result[key]:>8.5f} {result[f'published_{key}']:>9.5f} {result[f'{key}_difference']:>+8.5f}"
        for key in ("auc", "log_loss")
    ]
    return " ".join([f"{name:<10}", *figures])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bars", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = list(RECIPES["frappe"])
    parser.add_argument("--data", required=True, metavar="DIR", help="folder of train.csv, valid.csv, test.csv")
    parser.add_argument("--set", required=True, choices=list(COLUMNS), help="which data set they are")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of results and checkpoints")
    parser.add_argument("--models", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--seed", type=int, default=2021, metavar="N")
    return parser


if __name__ == "__main__":
    sys.exit(main())
