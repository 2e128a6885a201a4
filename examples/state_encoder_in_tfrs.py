"""HRL-Rec's StateEncoder as the user tower of a TensorFlow Recommenders ranking model.

    python examples/state_encoder_in_tfrs.py --out build/click_ranker

Trains on generated clicks and writes version 1 of a SavedModel, which needs this package no more: load it with
`tf.saved_model.load`, or serve it with TensorFlow Serving or `hrlrec serve --model-base build/click_ranker`.
"""

from hrlrec_tf.layers import ClickHead, FeatureTower, StateEncoder  # first: it makes tf.keras Keras 2

# isort: split
import argparse
import pathlib
from collections.abc import Sequence

import clicks
import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs


class ClickRanker(tfrs.Model):
    """Click logits of the candidates [B, N], given what their user saw and clicked before."""

    def __init__(self) -> None:
        super().__init__()
        self.items = FeatureTower({"item_id": clicks.ITEMS + 1, "channel": clicks.CHANNELS + 1}, dim=16)
        self.feedback = tf.keras.layers.Embedding(2, 16)
        self.profile = FeatureTower({"user_group": clicks.GROUPS + 1}, dim=16)
        self.encoder = StateEncoder(units=16, heads=2)
        self.head = ClickHead("interaction")
        self.task = tfrs.tasks.Ranking(
            loss=tf.keras.losses.BinaryCrossentropy(from_logits=True), metrics=[tf.keras.metrics.AUC(from_logits=True)]
        )

    def call(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        fields = tf.stack([self.items(features), self.feedback(features["clicked"])], axis=2)  # [B, S, 2, 16]
        profile = self.profile(features)[:, 0]
        user = self.encoder(fields, profile, features["item_id"] > 0, states=1)  # [B, 1, 16]
        candidates = {name: features[f"candidate_{name}"] for name in ("item_id", "channel")}
        return self.head(user, self.items(candidates))

    def compute_loss(self, features: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        logits = self(features, training=training)
        return self.task(tf.reshape(features["candidate_clicked"], [-1, 1]), tf.reshape(logits, [-1, 1]))


def train(data: dict[str, np.ndarray], epochs: int) -> ClickRanker:
    """A ranker that has seen the data `epochs` times."""
    model = ClickRanker()
    model.compile(optimizer=tf.keras.optimizers.Adam(0.01))
    model.fit(tf.data.Dataset.from_tensor_slices(data).batch(64), epochs=epochs, verbose=2)
    return model


def export(model: ClickRanker, folder: pathlib.Path) -> None:
    """Writes a SavedModel whose default signature gives the candidates' click probabilities [B, N]."""
    names = ("user_group", "item_id", "channel", "clicked", "candidate_item_id", "candidate_channel")
    specs = {name: tf.TensorSpec([None, None], tf.int32, name) for name in names}
    score = tf.function(lambda **features: {"click_probability": tf.sigmoid(model(features))}, autograph=False)
    # The weights alone are tracked: saving the model itself would trace every layer again.
    weights = tf.train.Checkpoint(weights=model.variables)
    tf.saved_model.save(weights, str(folder), signatures=score.get_concrete_function(**specs))


def main(argv: Sequence[str] | None = None) -> None:
    """Trains and exports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder that gets the SavedModel as 1/")
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args(argv)
    model = train(clicks.histories(users=512, rows=12, candidates=6), arguments.epochs)
    export(model, arguments.out / "1")


if __name__ == "__main__":
    main()
