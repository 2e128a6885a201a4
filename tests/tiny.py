"""A tiny log and settings with which every part of the model can be built, trained and exported in seconds."""

import argparse
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import sessions

from hrlrec_tf.agents.experience import ListExperience, RewardModel
from hrlrec_tf.cli import Verb
from hrlrec_tf.config import Config
from hrlrec_tf.data import schema, transform
from hrlrec_tf.data.input import Batch, SessionReader

SIZES = ("network.embedding_dim=8", "network.state_dim=12", "network.attention_heads=2", "training.batch_size=16")
# Without dropout and noise a run repeats itself, in a graph or not, resumed or not. Few lists show every item rarely.
QUIET = (*SIZES, "network.dropout=0", "losses.action_noise=0", "network.min_item_impressions=0")
TRAINED = (
    *QUIET,
    "training.epochs=2",
    "training.learning_rate=0.01",
    "training.actor_period=2",
    "training.target_period=2",
)
SPLITS = {"train": 40, "validation": 20, "eval": 20}


def config(*settings: str, base: Config | None = None) -> Config:
    """`base` (default: the paper's preset) in tiny sizes, without noise, with `settings`."""
    return (base or Config()).override([*QUIET, *settings])


def write_sessions(folder: pathlib.Path) -> pathlib.Path:
    """A folder as `hrlrec prepare` leaves it, of random sessions, with the transform fitted as `hrlrec train` does."""
    rng = np.random.default_rng(7)
    for split, count in SPLITS.items():
        examples = [sessions.to_example(sessions.random_session(rng)) for _ in range(count)]
        sessions.write(folder / split / "sessions-0.tfrecord.gz", examples)
    log = schema.to_schema(sessions.SPEC)
    schema.write(log, folder / "schema.pbtxt")
    (folder / "summary.json").write_text("{}")
    transform.fit(str(folder / "train" / "*"), log, str(folder / "transform"))
    return folder


def read(reader: SessionReader, *examples: dict) -> Batch:
    """A batch of sessions given as feature -> values."""
    return reader.read([sessions.to_example(session, reader.spec) for session in examples])


def random_batch(reader: SessionReader, count: int = 8, seed: int = 0, **sizes: int) -> Batch:
    """A batch of random sessions; `sizes` as in `sessions.random_session`."""
    rng = np.random.default_rng(seed)
    return read(reader, *(sessions.random_session(rng, reader.spec, **sizes) for _ in range(count)))


def experience(reader: SessionReader, batch: Batch, settings: Config | None = None) -> ListExperience:
    """What the agents learn from, of a batch."""
    return RewardModel((settings or Config()).rewards, reader.vocabulary("channel")).experience(batch)


def run_verb(verb: Verb, words: str, *more: str) -> Mapping[str, Any]:
    """Runs a verb as the command line does; returns its result."""
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return verb.run(parser.parse_args([*words.split(), *more]))
