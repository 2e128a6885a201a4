"""HRL-Rec's layers in a plain Keras functional model: click probabilities, and the pick of both levels.

    python examples/state_encoder_in_keras.py --out build/picker

Trains on generated clicks and writes two forms. `model.keras` is loaded by `tf.keras.models.load_model` after
`import hrlrec_tf.layers`; the SavedModel in `1/` needs this package no more.
"""

from hrlrec_tf.layers import (  # first: it makes tf.keras Keras 2
    Actor,
    ChannelConstrainedRetrieval,
    ClickHead,
    FeatureTower,
    StateEncoder,
)

# isort: split
import argparse
import pathlib
from collections.abc import Sequence

import clicks
import tensorflow as tf

NAMES = ("user_group", "item_id", "channel", "clicked", "candidate_item_id", "candidate_channel")


def build() -> tf.keras.Model:
    """Ranks any number of candidates after a history of any length."""
    inputs = {name: tf.keras.Input([None], dtype=tf.int32, name=name) for name in NAMES}
    items = FeatureTower({"item_id": clicks.ITEMS + 1, "channel": clicks.CHANNELS + 1}, dim=16, name="items")
    seen = items({"item_id": inputs["item_id"], "channel": inputs["channel"]})
    fields = tf.stack([seen, tf.keras.layers.Embedding(2, 16)(inputs["clicked"])], axis=2)  # [B, S, 2, 16]
    profile = FeatureTower({"user_group": clicks.GROUPS + 1}, dim=16)({"user_group": inputs["user_group"]})[:, 0]
    state = StateEncoder(units=16, heads=2)(fields, profile, inputs["item_id"] > 0, states=1)  # [B, 1, 16]

    channel_action, item_action = Actor(dim=16, space="l2")(state), Actor(dim=16, space="l2")(state)
    channels, available = inputs["candidate_channel"], inputs["candidate_item_id"] > 0
    candidates = items({"item_id": inputs["candidate_item_id"], "channel": channels})
    logits = [ClickHead("interaction")(action, candidates) for action in (channel_action, item_action)]
    clicked = tf.keras.layers.Activation("sigmoid", name="click_probability")((logits[0] + logits[1]) / 2)
    pick = ChannelConstrainedRetrieval()(channel_action[:, 0], item_action[:, 0], candidates, channels, available)
    return tf.keras.Model(inputs, {"click_probability": clicked, **pick})


def train(model: tf.keras.Model, epochs: int) -> None:
    """Fits the click probabilities to generated clicks."""
    data = clicks.histories(users=512, rows=12, candidates=6)
    model.compile(
        tf.keras.optimizers.Adam(0.01), {"click_probability": "binary_crossentropy"}, {"click_probability": "AUC"}
    )
    labels = {"click_probability": data["candidate_clicked"]}
    model.fit({name: data[name] for name in NAMES}, labels, batch_size=64, epochs=epochs, verbose=2)


def main(argv: Sequence[str] | None = None) -> None:
    """Trains and writes both forms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for model.keras and 1/")
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    model = build()
    train(model, arguments.epochs)
    model.save(arguments.out / "model.keras")
    model.export(arguments.out / "1")


if __name__ == "__main__":
    main()
