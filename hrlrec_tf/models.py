"""The models by name: settings, training and opening, so that no verb asks which model it has.

Modules that need TensorFlow are imported when they are used: `--help` lists the names.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from hrlrec_tf import config
from hrlrec_tf.baselines.ctr import config as ctr_config
from hrlrec_tf.baselines.ctr.config import CtrConfig
from hrlrec_tf.baselines.rl import config as rl_config
from hrlrec_tf.config import Config
from hrlrec_tf.distribution import cluster
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.settings import Sections

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

    from hrlrec_tf.data.input import SessionReader
    from hrlrec_tf.distribution.machines import Machines
    from hrlrec_tf.evaluation.scoring import Scorer
    from hrlrec_tf.networks.list_network import ListNetwork
    from hrlrec_tf.quotas import Quotas
    from hrlrec_tf.ranking import Ranker

NAMES = (*ctr_config.MODELS, *rl_config.MODELS, "hrl-rec")


def settings(model: str, preset: str | None = None) -> Sections:
    """A model's settings before any of the user's.

    Args:
      model: one of NAMES.
      preset: `paper` or `best`; None: `best` where the model has presets.

    Raises:
      ConfigError: the model or the preset is unknown, or the model has no presets.
    """
    if model == "hrl-rec":
        return config.preset(preset or "best")
    if model not in NAMES:
        raise ConfigError(f"model {model!r} is unknown; choose one of {', '.join(NAMES)}")
    if preset is not None:
        raise ConfigError(f"{model} has no presets, got preset {preset!r}; leave it out (presets belong to hrl-rec)")
    return ctr_config.default(model) if model in ctr_config.MODELS else rl_config.default(model)


def use_machine(model: str) -> None:
    """Gives the process that trains a model its threads and memory; call before TensorFlow runs anything."""
    from hrlrec_tf import runtime

    if model in ("hrl-rec", "ddpg-hierarchical"):  # whose two levels run side by side
        runtime.use_all_cores()
    runtime.keep_freed_memory()


def train(
    model: str,
    config: Sections,
    schema: "schema_pb2.Schema",
    transform_dir: str,
    train_files: Sequence[str],
    validation_files: Sequence[str],
    out: str,
    resume: bool = False,
    progress: bool = True,
    warm_start: str | None = None,
    machines: "Machines | None" = None,
) -> Mapping[str, object]:
    """Trains a model under `settings(model)` or an override of them; arguments and errors: `training.train`."""
    if warm_start is not None and model in ctr_config.MODELS:
        raise ConfigError(f"{model} cannot be gone on with; leave --warm-start out, or train a model that learns lists")
    if machines is not None and machines.task.strategy != cluster.SINGLE and model in ctr_config.MODELS:
        raise ConfigError(f"{model} trains on one machine; choose --strategy {cluster.SINGLE}")
    rest = (schema, transform_dir, train_files, validation_files, out)
    if model not in ctr_config.MODELS:
        from hrlrec_tf import training

        return training.train(
            cast(Config, config),
            *rest,
            resume=resume,
            progress=progress,
            model=model,
            warm_start=warm_start,
            machines=machines,
        )
    from hrlrec_tf.baselines.ctr import training as ctr_training

    return ctr_training.train(model, cast(CtrConfig, config), *rest, resume=resume, progress=progress)


def load(model_dir: str) -> tuple["Scorer", "SessionReader", Sections]:
    """The model of a finished folder, whichever it is, with the reader of its sessions and its settings.

    Returns:
      The model is called with a batch of transformed sessions and returns `click_probability` [B, T]; one that learns
      by reinforcement also `q_item` and, where it has a channel level, `q_channel`.

    Raises:
      ModelError: the folder holds no finished model.
    """
    from hrlrec_tf import model_folder, training
    from hrlrec_tf.baselines.ctr import training as ctr_training

    name = model_folder.finished_settings(pathlib.Path(model_dir), NAMES)["model"]
    return ctr_training.load(model_dir) if name in ctr_config.MODELS else training.load(model_dir)


def ranker(network: "ListNetwork", quotas: "Quotas | None" = None) -> "Ranker":
    """What builds lists, under quotas if there are any, with a network of HRL-Rec or of an RL competitor."""
    from hrlrec_tf.baselines.rl.ranking import FlatRanker
    from hrlrec_tf.ranking import Ranker

    return (Ranker if "channel" in network.levels else FlatRanker)(network, quotas)


def predicts_probability(settings: Sections) -> bool:
    """Whether a model of these settings says how likely a click is, or only orders rows (Table 4, "- L_c")."""
    return not isinstance(settings, Config) or settings.click_score == "click"
