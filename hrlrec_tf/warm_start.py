"""Training that goes on from a finished model: its transform with new values, its weights under new ids."""

import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2

from hrlrec_tf import model_folder
from hrlrec_tf.agents.builder import Design, build_agent
from hrlrec_tf.config import Config
from hrlrec_tf.data import schema as schemas
from hrlrec_tf.data import vocabulary_join
from hrlrec_tf.data.input import SessionReader
from hrlrec_tf.errors import ModelError
from hrlrec_tf.growth import Growth
from hrlrec_tf.networks.list_network import ListNetwork


@contextlib.contextmanager
def joined_transform(
    base: str | None, model: str, schema: schema_pb2.Schema, transform_dir: str, vanished: str
) -> Iterator[str]:
    """The transform to train with: that of the model gone on from, with the values of the sessions.

    Args:
      base: folder of that model; None: the result is `transform_dir`.
      model: its name. schema: of the sessions. transform_dir: fitted on the sessions.
      vanished: `training.vanished`.

    Raises:
      ModelError: the folder holds no finished model of that name.
      DataError: its sessions have other features, or other rules of ids.
    """
    if base is None:
        yield transform_dir
        return
    theirs = model_folder.check_warm_start(pathlib.Path(base), model, schema)
    with tempfile.TemporaryDirectory() as scratch:
        made = pathlib.Path(scratch) / "transform"
        vocabulary_join.join(theirs, transform_dir, schemas.from_schema(schema), made, vanished == "keep")
        yield str(made)


def state(agent: Any) -> dict[str, Any]:
    """What another training takes over of an agent, by its name in checkpoints."""
    return {
        "online": agent.model,
        "target": agent.target,
        "optimizer": agent.optimizer,
        "noise": agent.generators,
        "step": agent.train_step_counter,
    }


class WarmStart:
    """A finished model that a training goes on from.

    Args:
      base: its folder.
      config: settings of the training.
      reader: of its sessions, with a `joined_transform`.
    """

    def __init__(self, base: str, config: Config, reader: SessionReader) -> None:
        self._base, self._config = base, config
        folder = pathlib.Path(base)
        self._reader = SessionReader(schemas.read(str(folder / "schema.pbtxt")), str(folder / "transform"))
        self._growth = Growth(self._reader, reader, config.network.min_item_impressions)

    def counts(self, network: ListNetwork) -> dict[str, dict[str, int]]:
        """See `Growth.counts`; nothing where no id changed."""
        return self._growth.counts(network) if self._growth.needed else {}

    def take_over(self, agent: Any, design: Design) -> None:
        """Gives an agent of a design the model's weights, targets, optimizer state and step.

        Raises:
          ModelError: weights have other sizes for another reason than their vocabularies.
        """
        restored = build_agent(self._config, self._reader, design) if self._growth.needed else agent
        newest = tf.train.latest_checkpoint(f"{self._base}/checkpoints/last")
        try:
            checkpoint = tf.train.Checkpoint(**state(restored)).restore(newest)
            checkpoint.assert_existing_objects_matched().expect_partial()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            raise ModelError(
                f"{self._base} cannot be gone on with: its weights have other sizes; give the same settings of network"
                f"{self._other_settings()}"
            ) from error
        if restored is not agent:
            self._growth.carry_over(restored, agent)
        agent.optimizer.learning_rate = self._config.training.learning_rate  # the checkpoint holds the other's

    def _other_settings(self) -> str:
        """The model's own settings of network where the training has others."""
        theirs = (model_folder.read_settings(pathlib.Path(self._base)) or {}).get("config", {}).get("network", {})
        ours = dataclasses.asdict(self._config.network)
        found = [f"network.{name}={theirs[name]}" for name in ours if theirs.get(name, ours[name]) != ours[name]]
        return f": {', '.join(found)}" if found else ""
