"""Trains the peers on exactly the rows that HRL-Rec is trained, validated and tested on.

    pip install -r requirements/peers.txt    # in an environment of its own
    python -m benchmarks.peers --data SESSIONS --out PEERS --seeds 0 1 2 3 4 [--history]

LR, FM, NFM, AFM, Wide & Deep, DeepFM and AutoInt are DeepCTR's, on user, item, channel and hour; with `--history` also
on pooled as-of history, and then their names end with "-history". `history-lr` is a logistic regression on six as-of
features: click rate and count of the user, of user x channel, and of the item over all users up to the list;
`history-lr-frozen-items` stops counting items where the rows' split begins. Settings are chosen by AUC on the
validation rows alone. OUT gets one Parquet file of predictions on the test rows per model and seed,
MODEL-SEED.parquet, and MODEL.json with what was tried; files that are there are kept, so that a killed run goes on.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from benchmarks import peer_models, rows
from benchmarks.peer_inputs import Arrays, Task
from hrlrec_tf.cli import write_json
from hrlrec_tf.errors import HrlrecError
from hrlrec_tf.evaluation import metrics, predictions

BATCH_SIZE = 1024
EPOCHS = 100
PATIENCE = 6  # epochs without a better validation AUC before training stops
PLATEAU, CUT = 2, 0.3  # after so many such epochs the learning rate is multiplied by this
RATES_AND_L2S = ((1e-3, 1e-5), (1e-3, 1e-4), (3e-3, 1e-5), (3e-3, 1e-4), (1e-2, 1e-4))  # DeepCTR penalises by 1e-5
STRENGTHS = (5.0, 10.0, 20.0)  # of history-lr: impressions that the prior of a click rate is worth
HISTORY_LR = ("history-lr", "history-lr-frozen-items")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is chosen for a peer on the validation rows."""

    learning_rate: float
    l2: float
    pooled_items: bool  # with history: also the mean embedding of the clicked items, beside the counts


def train(task: Task, name: str, setting: Setting, seed: int) -> tuple[tf.keras.Model, float]:
    """Trains one model; returns it with the weights of its best epoch, and their validation AUC.

    The loop is our own, since Keras's `fit` converts each of DeepCTR's layers to a graph anew, which takes longer than
    the training.
    """
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(seed)
    model = peer_models.build(name, task.inputs(setting.pooled_items), setting.l2, seed)
    optimizer = tf.keras.optimizers.Adam(setting.learning_rate)
    step = training_step(model, optimizer, task)
    best, stale, weights = -np.inf, 0, model.get_weights()
    order = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        places = order.permutation(len(task.labels["train"]))
        for first in range(0, len(places), BATCH_SIZE):
            step(tf.constant(places[first : first + BATCH_SIZE]))
        auc = metrics.auc(task.labels["validation"], predict(model, task.parts["validation"]))
        if auc > best:
            best, stale, weights = auc, 0, model.get_weights()
        else:
            stale += 1
            if stale % PLATEAU == 0:
                optimizer.learning_rate.assign(optimizer.learning_rate * CUT)
        if stale == PATIENCE:
            break
    model.set_weights(weights)
    return model, best


def training_step(
    model: tf.keras.Model, optimizer: tf.keras.optimizers.Optimizer, task: Task
) -> Callable[[tf.Tensor], None]:
    """One update from the training rows at given places."""
    inputs = {name: tf.constant(task.parts["train"][name]) for name in model.input_names}
    labels = tf.constant(task.labels["train"][:, np.newaxis], tf.float32)
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.int64)])
    def step(places: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            outputs = model({name: tf.gather(values, places) for name, values in inputs.items()}, training=True)
            click = tf.keras.losses.binary_crossentropy(tf.gather(labels, places), outputs)
            loss = tf.add_n([tf.reduce_mean(click), *model.losses])
        optimizer.minimize(loss, model.trainable_variables, tape)

    train_step: Callable[[tf.Tensor], None] = step
    return train_step


def predict(model: tf.keras.Model, inputs: Arrays) -> np.ndarray:
    """Click probabilities [rows], all rows in one batch."""
    outputs: tf.Tensor = model({name: tf.constant(inputs[name]) for name in model.input_names}, training=False)
    return outputs.numpy().reshape(-1)


def run_peer(task: Task, name: str, label: str, seeds: Sequence[int], out: pathlib.Path) -> None:
    """Chooses a peer's settings once and trains it with each seed; writes its files as `label`."""
    setting = _chosen(task, name, out / f"{label}.json")
    for seed in seeds:
        if not (out / f"{label}-{seed}.parquet").exists():
            model, validation = train(task, name, setting, seed)
            _write(task.sessions, label, seed, predict(model, task.parts["eval"]), validation, out)


def run_history_lr(sessions: rows.Sessions, label: str, out: pathlib.Path) -> None:
    """The logistic regression on six as-of features; it has no seed and is written as seed 0."""
    counts = rows.asof_counts(sessions, frozen_items=label == "history-lr-frozen-items")
    labels = sessions.rows["label"].to_numpy()
    place = {split: np.flatnonzero(sessions.rows["split"] == split) for split in rows.SPLITS}
    tried: list[tuple[float, float, np.ndarray]] = []
    for strength in STRENGTHS:
        features = rows.history_features(
            [counts[of] for of in ("user", "user_channel", "item")], sessions.rows, strength
        )
        model = LogisticRegression(max_iter=1000).fit(features[place["train"]], labels[place["train"]])
        probabilities = model.predict_proba(features)[:, 1]
        validation = metrics.auc(labels[place["validation"]], probabilities[place["validation"]])
        tried.append((validation, strength, probabilities[place["eval"]]))
    validation, strength, chosen = max(tried, key=lambda each: each[0])
    results = [{"strength": strength, "validation_auc": auc} for auc, strength, _ in tried]
    write_json(out / f"{label}.json", {"chosen": {"strength": strength}, "tried": results})
    _write(sessions, label, 0, chosen, validation, out)


def _chosen(task: Task, name: str, file: pathlib.Path) -> Setting:
    """The setting of the best validation AUC with seed 0, from the file where it is there.

    Rate and penalty first; then, with history, whether pooled items help.
    """
    if file.exists():
        return Setting(**json.loads(file.read_text())["chosen"])
    tried: dict[Setting, float] = {}
    for rate, l2 in RATES_AND_L2S:
        setting = Setting(rate, l2, pooled_items=False)
        tried[setting] = train(task, name, setting, seed=0)[1]
    if task.history:
        setting = dataclasses.replace(max(tried, key=tried.__getitem__), pooled_items=True)
        tried[setting] = train(task, name, setting, seed=0)[1]
    chosen = max(tried, key=tried.__getitem__)
    results = [{**dataclasses.asdict(setting), "validation_auc": auc} for setting, auc in tried.items()]
    write_json(file, {"chosen": dataclasses.asdict(chosen), "tried": results})
    return chosen


def _write(
    sessions: rows.Sessions, label: str, seed: int, probability: np.ndarray, validation: float, out: pathlib.Path
) -> None:
    table = sessions.rows[sessions.rows["split"] == "eval"]
    kept = table[["request_id", "user_id", "channel", "position", "label"]]
    predictions.write(out / f"{label}-{seed}.parquet", kept.assign(prediction=probability))
    test = metrics.auc(table["label"].to_numpy(), probability)
    clock = time.strftime("%H:%M:%S")
    print(f"{clock} {label:<24} seed {seed}: validation AUC {validation:.4f}, test AUC {test:.4f}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the peers; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        out = pathlib.Path(args.out)
        sessions = rows.Sessions(pathlib.Path(args.data))
        task = Task(sessions, args.history)
        for name in args.models:
            if name in HISTORY_LR:
                run_history_lr(sessions, name, out)
            else:
                run_peer(task, name, f"{name}-history" if args.history else name, args.seeds, out)
    except HrlrecError as error:
        print(f"peers: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    names: list[Any] = [*HISTORY_LR, *peer_models.BUILDERS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="sessions, as `hrlrec prepare` wrote them")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the predictions")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], metavar="N")
    parser.add_argument("--models", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--history", action="store_true", help="also give the peers pooled as-of history")
    return parser


if __name__ == "__main__":
    sys.exit(main())
