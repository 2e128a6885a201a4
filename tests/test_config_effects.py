"""Every setting reaches what it builds: with another value, something observable differs."""

import dataclasses
import functools
import pathlib
import types

import numpy as np
import pytest
import tensorflow as tf
import tiny

from hrlrec_tf import training, warm_start
from hrlrec_tf.agents.builder import build_agent, build_network, compose_agent
from hrlrec_tf.agents.health import HealthMonitor
from hrlrec_tf.agents.hierarchy import HrlRecAgent
from hrlrec_tf.agents.stream import ExperienceStream
from hrlrec_tf.candidates import Candidates, Request
from hrlrec_tf.config import Config
from hrlrec_tf.data import schema
from hrlrec_tf.features import FeatureSpec
from hrlrec_tf.ranking import Ranker

# Of each field another value than the tiny default, and what it changes is looked for below.
OTHER = {
    "network.embedding_dim": 4,
    "network.state_dim": 6,
    "network.attention_heads": 4,
    "network.dropout": 0.5,
    "network.fields": "dense",
    "network.sequence": "mean",
    "network.window": "sliding",
    "network.sequence_length": 5,
    "network.action_space": "l2",
    "network.critic_head": "softplus",
    "network.critic_form": "interaction",
    "network.critics": 2,
    "network.click_head": "counts",
    "network.channel_constraint": "soft",
    "network.channel_weight": 0.0,
    "network.channel_exploration": 1.0,
    "network.user_id": True,
    "network.min_item_impressions": 20,
    "rewards.combine": "linear",
    "rewards.biases": (0.5, 1.0, 1.0, 1.0),
    "rewards.weights": (1.0, 0.2, 0.1, 0.5),
    "rewards.channel_weights": {"news": (1.0, 0.9, 0.1, 0.1)},
    "rewards.dwell_unit_seconds": 1.0,
    "losses.gamma": 0.9,
    "losses.beta": 0.0,
    "losses.channel": 1.0,
    "losses.item": 1.0,
    "losses.ctr": 3.0,
    "losses.action_ctr": 3.0,
    "losses.similarity": 3.0,
    "losses.action_noise": 0.5,
    "losses.behaviour_cloning": 1.0,
    "losses.bootstrap": "retrieved",
    "losses.propensity_cap": 5.0,
    "training.batch_size": 8,
    "training.learning_rate": 1e-2,
    "training.gradient_clip": 1e-6,
    "training.embedding_l2": 0.1,
    "training.hidden_ids": 0.5,
    "training.actor_period": 2,
    "training.target_tau": 0.7,
    "training.target_period": 3,
    "training.epochs": 4,
    "training.patience": 2,
    "training.checkpoint_batches": 2,
    "training.keep": "target",
    "training.vanished": "drop",
    "training.seed": 1,
}

DEFAULT = tiny.config("training.actor_period=1", "training.target_period=1", "training.epochs=5", "training.patience=9")
# A field that counts beside another one only.
TOGETHER = {
    "network.channel_weight": ["network.channel_constraint=soft"],
    "losses.action_ctr": ["network.click_head=state"],
}
# Where neither the networks' outputs (section network) nor the losses (elsewhere) show a field.
OBSERVERS = {
    "network.channel_constraint": "ranked",
    "network.channel_weight": "ranked",
    "network.channel_exploration": "ranked",
    "training.learning_rate": "weights",
    "training.gradient_clip": "weights",
    "training.actor_period": "weights",
    "training.target_tau": "weights",
    "training.target_period": "weights",
    "training.batch_size": "first_batch",
    "training.hidden_ids": "first_batch",
    "training.seed": "first_batch",
    "training.epochs": "epochs",
    "training.patience": "epochs",
    "training.checkpoint_batches": "checkpoints",
    "training.keep": "kept",
    "training.vanished": "joined",
}


def epochs(config: Config) -> dict:
    """How long training goes on when nothing gets better from the third epoch on."""

    class Run:
        epoch = stale_epochs = 0
        step, best = 0, {}

        def start(self, *_) -> None:
            pass

        def train_epoch(self, progress: bool) -> None:
            self.epoch += 1
            self.stale_epochs += self.epoch > 2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.model_folder, "open_folder", lambda *_: pathlib.Path())
        patch.setattr(training, "SessionReader", lambda *_: None)
        patch.setattr(training, "_Run", lambda *_: Run())
        patch.setattr(training.cli, "write_json", lambda *_: None)
        return {"epochs": training.train(config, None, "", [], [], "")["epochs"]}


def kept(config: Config) -> dict:
    """Which of the two networks becomes the model."""
    run = training._Run.__new__(training._Run)
    run.config, run.agent = config, types.SimpleNamespace(model=0, target=1, train_step_counter=tf.constant(1000))
    return {"network": run.kept}


def joined(config: Config) -> dict:
    """Whether a warm start is told to keep what the new sessions lack."""
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warm_start.model_folder, "check_warm_start", lambda *_: "")
        patch.setattr(warm_start.vocabulary_join, "join", lambda *arguments: told.append(arguments[-1]))
        vanished = config.training.vanished
        with warm_start.joined_transform("model", "hrl-rec", schema.to_schema(FeatureSpec()), "", vanished):
            return {"keep": told[0]}


def checkpoints(config: Config) -> dict:
    """How many a pass over five batches leaves."""
    saved = []
    run = training._Run.__new__(training._Run)
    run.config, run.health, run._epoch = config, HealthMonitor(config), tf.Variable(0)
    run.agent = types.SimpleNamespace(train_step_counter=tf.constant(0))
    run._last = types.SimpleNamespace(save=lambda: saved.append(run.health.batches))
    packed = run.health.pack({"loss": tf.constant(1.0)})
    run.steps = types.SimpleNamespace(epoch=lambda *_: [packed] * 5, fetch=lambda: None)
    run._record = run._validate = run._look_at_lists = lambda *_: None
    run.train_epoch(progress=False)
    return {"saved": len(saved)}


def _same(one, other) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.fixture(scope="module")
def observe(reader, prepared):
    """Observer by name and settings in JSON -> what it sees; each pair is looked at once."""
    tf.keras.utils.set_random_seed(0)
    base, batch = build_agent(DEFAULT, reader), tiny.random_batch(reader, 8)
    start = base.model.get_weights()
    lists = [str(prepared / "train" / "sessions-0.tfrecord.gz")]

    def outputs(config: Config) -> dict:
        tf.keras.utils.set_random_seed(0)
        network = build_network(config, reader)
        return {"sizes": sum(v.shape.num_elements() for v in network.variables), **network(batch, training=True)}

    def composed(config: Config) -> HrlRecAgent:
        """An agent of these settings on networks that exist, at its second batch."""
        for network in (base.model, base.target):
            network.set_weights(start)
        tf.random.set_seed(0)
        agent = compose_agent(config, base.model, base.target)
        agent.train_step_counter.assign(1)
        return agent

    def losses(config: Config) -> dict:
        experience = tiny.experience(reader, batch, config)
        return {"loss": composed(config).loss(experience, training=True).loss}

    def ranked(config: Config) -> dict:
        tf.keras.utils.set_random_seed(0)
        names = (tf.fill(tf.shape(batch[f"profile_{level}_impressions"]), "") for level in ("channel", "tag"))
        request = Request(batch, *names)
        rows = {name: batch[name] for name in reader.spec.item}
        ids, channels = (tf.strings.as_string(batch[name]) for name in ("item_id", "channel"))
        candidates = Candidates(rows, ids, channels, tf.strings.as_string(batch["tags"]))
        ranker = Ranker(build_network(config, reader))
        greedy, random = (ranker.rank(request, candidates, tf.fill([8], epsilon)) for epsilon in (0.0, 1.0))
        return {"index": greedy["index"], "propensity_item": random["propensity_item"]}

    def weights(config: Config) -> dict:
        composed(config).train(tiny.experience(reader, batch, config))
        return dict(enumerate([*base.model.get_weights(), *base.target.get_weights()]))

    def first_batch(config: Config) -> dict:
        observation = next(iter(ExperienceStream(config, reader, lists).epoch(0))).observation
        return {name: observation[name] for name in ("timestamp", "user_id")}

    each_of = (outputs, ranked, losses, weights, first_batch, epochs, checkpoints, kept, joined)
    observers = {each.__name__: each for each in each_of}
    return functools.cache(lambda observer, settings: observers[observer](Config.from_json(settings)))


def test_the_table_is_complete():
    sections = {each.name: each.type for each in dataclasses.fields(Config)}
    fields = [f"{name}.{each.name}" for name, kind in sections.items() for each in dataclasses.fields(kind)]
    assert sorted(OTHER) == sorted(fields)


@pytest.mark.parametrize("field", OTHER)
def test_field(field, observe):
    section, name = field.split(".")
    base = DEFAULT.override(TOGETHER.get(field, []))
    other = dataclasses.replace(getattr(base, section), **{name: OTHER[field]})
    configs = [base, dataclasses.replace(base, **{section: other})]
    observer = OBSERVERS.get(field) or ("outputs" if section == "network" else "losses")
    before, after = (observe(observer, config.to_json()) for config in configs)
    assert any(not _same(before[key], after[key]) for key in before)
