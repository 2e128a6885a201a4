"""The one training loop, used by the command line and by the TFX trainer.

A model folder holds `config.json`, `schema.pbtxt`, `transform/`, `checkpoints/last` (everything, to resume),
`checkpoints/best` (the networks of the best validation AUC), `metrics.jsonl`, TensorBoard events in `logs/`, and
`result.json`, written last: a folder without it is unfinished.
"""

import json
import math
import pathlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tqdm import tqdm

from hrlrec_tf import cli, losses
from hrlrec_tf.agents.builder import build_agent, build_network
from hrlrec_tf.agents.experience import ListExperience, RewardModel
from hrlrec_tf.agents.hierarchy import HrlRecAgent
from hrlrec_tf.config import Config
from hrlrec_tf.data import schema as schemas
from hrlrec_tf.data.input import SessionDataset, SessionReader
from hrlrec_tf.errors import DataError, ModelError, TrainingError
from hrlrec_tf.evaluation import metrics
from hrlrec_tf.evaluation.scoring import score_sessions
from hrlrec_tf.networks.hrl_rec import HrlRecNetwork

_RETURN_BATCHES = 20  # from which the mean return is estimated that the critics start at


def train(
    config: Config,
    schema: schema_pb2.Schema,
    transform_dir: str,
    train_files: Sequence[str],
    validation_files: Sequence[str],
    out: str,
    resume: bool = False,
    progress: bool = True,
) -> Mapping[str, object]:
    """Trains HRL-Rec and keeps the networks of the best validation AUC.

    Args:
      config: all settings.
      schema: of the sessions.
      transform_dir: TensorFlow Transform output fitted on the training sessions; copied into the model folder.
      train_files: session files to train on.
      validation_files: session files for early stopping; may be empty, then all epochs run.
      out: model folder.
      resume: go on from the last finished epoch of an unfinished folder instead of starting again.
      progress: show a progress bar on stderr.

    Returns:
      What `result.json` holds: best validation metrics, epochs, batches.

    Raises:
      DataError: no sessions. ModelError: `out` holds a finished model, or one of other settings.
      TrainingError: a loss is NaN or infinite.
    """
    folder = _open_folder(pathlib.Path(out), config, train_files, schema, transform_dir, resume)
    tf.keras.utils.set_random_seed(config.training.seed)
    run = _Run(config, SessionReader(schema, str(folder / "transform")), folder, train_files, validation_files)
    if not run.restore():
        run.start_critics()
    while run.epoch < config.training.epochs and run.stale_epochs < config.training.patience:
        run.train_epoch(progress)
    result = {"model": "hrl-rec", "epochs": run.epoch, "batches": int(run.agent.train_step_counter), **run.best}
    cli.write_json(folder / "result.json", result)
    return result


def load(model_dir: str) -> tuple[HrlRecNetwork, SessionReader, Config]:
    """The best networks of a model folder, with the reader of its sessions.

    Raises:
      ModelError: the folder holds no finished model.
    """
    folder = pathlib.Path(model_dir)
    if not (folder / "result.json").exists():
        raise ModelError(f"{folder} holds no finished model; run hrlrec train with --out {folder}, or --resume it")
    config = Config.from_dict(json.loads((folder / "config.json").read_text())["config"])
    reader = SessionReader(schemas.read(str(folder / "schema.pbtxt")), str(folder / "transform"))
    network = build_network(config, reader)
    best = tf.train.latest_checkpoint(str(folder / "checkpoints/best"))
    tf.train.Checkpoint(network=network).restore(best).assert_existing_objects_matched().expect_partial()
    return network, reader, config


class _Run:
    """State of one training run: agent, checkpoints, where it stands."""

    def __init__(
        self,
        config: Config,
        reader: SessionReader,
        folder: pathlib.Path,
        train_files: Sequence[str],
        validation_files: Sequence[str],
    ) -> None:
        self.config, self.reader, self.folder = config, reader, folder
        self.sessions, self.validation_files = SessionDataset(reader, train_files), list(validation_files)
        self.agent: HrlRecAgent = build_agent(config, reader)
        self.rewards = RewardModel(config.rewards, reader.vocabulary("channel"))
        # No Python control flow depends on tensors, and AutoGraph would triple the tracing time.
        self.train_step = tf.function(
            self._train_step, input_signature=[self._experience(0).element_spec], autograph=False
        )
        self._epoch = tf.Variable(0, dtype=tf.int64)
        self._stale = tf.Variable(0, dtype=tf.int64)
        self._best_auc = tf.Variable(-math.inf, dtype=tf.float64)
        last = tf.train.Checkpoint(
            online=self.agent.model,
            target=self.agent.target,
            optimizer=self.agent.optimizer,
            step=self.agent.train_step_counter,
            epoch=self._epoch,
            stale=self._stale,
            best_auc=self._best_auc,
        )
        best = tf.train.Checkpoint(network=self.agent.model)
        self._last = tf.train.CheckpointManager(last, str(folder / "checkpoints/last"), max_to_keep=2)
        self._best = tf.train.CheckpointManager(best, str(folder / "checkpoints/best"), max_to_keep=1)
        self._writer = tf.summary.create_file_writer(str(folder / "logs"))

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return int(self._epoch)

    @property
    def stale_epochs(self) -> int:
        """Epochs since the best validation AUC."""
        return int(self._stale)

    @property
    def best(self) -> dict[str, float]:
        """Validation metrics of the kept networks."""
        return {} if math.isinf(float(self._best_auc)) else {"validation_auc": float(self._best_auc)}

    def restore(self) -> bool:
        """Goes on from the last checkpoint; False if there is none."""
        found = self._last.restore_or_initialize() is not None
        self._forget_after(self.epoch)
        return found

    def _forget_after(self, epoch: int) -> None:
        """Drops the metrics of epochs that a kill cut off before their checkpoint."""
        file = self.folder / "metrics.jsonl"
        if file.exists():
            whole = [
                line for line in file.read_text().splitlines() if line.endswith("}")
            ]  # a kill may cut the last one
            kept = [line for line in whole if json.loads(line)["epoch"] <= epoch]
            scratch = file.with_name(f".{file.name}.partial")
            scratch.write_text("".join(f"{line}\n" for line in kept))
            scratch.replace(file)

    def start_critics(self) -> None:
        """Starts both critics at the mean logged return of the first batches."""
        totals: dict[str, list[float]] = {"channel": [], "item": []}
        for experience in self._experience(epoch=0).take(_RETURN_BATCHES):
            discount = losses.discounts(experience.valid)
            for level, agent in self.agent.levels.items():
                returns = losses.discounted_return(agent.reward(experience), discount, self.config.losses.gamma)
                totals[level].append(float(losses.masked_mean(returns, experience.valid)))
        if not totals["channel"]:
            raise DataError("the training sessions are empty; look at summary.json of hrlrec prepare")
        for level, means in totals.items():
            self.agent.model.levels[level].start_critics(float(np.mean(means)))
        self.agent.initialize()

    def train_epoch(self, progress: bool) -> None:
        """One pass over the training sessions, then validation and a checkpoint."""
        sums: dict[str, float] = {}
        batches = 0
        bar = tqdm(self._experience(self.epoch), desc=f"epoch {self.epoch + 1}", unit="batch", disable=not progress)
        for experience in bar:
            for name, value in self._checked_step(experience).items():
                sums[name] = sums.get(name, 0.0) + float(value)
            batches += 1
        self._epoch.assign_add(1)
        self._record("train", {name: value / batches for name, value in sums.items()})
        self._validate()
        self._last.save()

    def _train_step(self, experience: ListExperience) -> Mapping[str, tf.Tensor]:
        return self.agent.train(experience).extra.metrics

    def _checked_step(self, experience: ListExperience) -> Mapping[str, tf.Tensor]:
        values = self.train_step(experience)
        for name, value in values.items():
            if not math.isfinite(float(value)):
                raise TrainingError(
                    f"{name} is {float(value)} in batch {int(self.agent.train_step_counter)}; lower "
                    "training.learning_rate, or look for extreme values in dwell_seconds and the numeric columns"
                )
        return values

    def _validate(self) -> None:
        """Scores the validation sessions; keeps the networks if their AUC is the best so far."""
        auc = math.nan
        if self.validation_files:
            rows = score_sessions(self.agent.model, self.reader, self.validation_files)
            values = metrics.click_metrics(rows)
            auc = float(values["auc"])
            figures = {name: value for name, value in values.items() if isinstance(value, float)}
            self._record("validation", {name: value for name, value in figures.items() if not math.isnan(value)})
        if math.isnan(auc):  # nothing to choose by: the newest networks stand
            self._best.save()
        elif auc > float(self._best_auc):
            self._best_auc.assign(auc)
            self._stale.assign(0)
            self._best.save()
        else:
            self._stale.assign_add(1)

    def _experience(self, epoch: int) -> tf.data.Dataset:
        seed = self.config.training.seed * 100_003 + epoch
        sessions = self.sessions.batches(self.config.training.batch_size, seed)
        return sessions.map(self.rewards.experience, num_parallel_calls=tf.data.AUTOTUNE)

    def _record(self, split: str, values: Mapping[str, float]) -> None:
        record = {"epoch": self.epoch, "step": int(self.agent.train_step_counter), "split": split, **values}
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.scalar(f"{split}/{name}", value, step=self.epoch)
        self._writer.flush()


def _open_folder(
    folder: pathlib.Path,
    config: Config,
    train_files: Sequence[str],
    schema: schema_pb2.Schema,
    transform_dir: str,
    resume: bool,
) -> pathlib.Path:
    """Makes the model folder, or checks that an unfinished one can be resumed."""
    sessions = {pathlib.Path(file).name: tf.io.gfile.stat(file).length for file in train_files}
    settings = {"model": "hrl-rec", "config": config.to_dict(), "sessions": sessions}
    if (folder / "result.json").exists():
        raise ModelError(f"{folder} holds a finished model; choose another --out or remove it")
    begun = _begun(folder)
    if resume and begun:
        if begun != json.loads(json.dumps(settings)):
            raise ModelError(
                f"{folder} was begun with other settings or sessions; repeat them, or start again without --resume"
            )
        return folder
    if begun:  # unfinished: start again
        shutil.rmtree(folder)
    if folder.exists() and any(folder.iterdir()):
        raise ModelError(f"{folder} holds other files; choose another --out")
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    shutil.copytree(transform_dir, scratch / "transform")
    schemas.write(schema, str(scratch / "schema.pbtxt"))
    cli.write_json(scratch / "config.json", settings)
    scratch.chmod(0o755)
    scratch.rename(folder)
    return folder


def _begun(folder: pathlib.Path) -> dict[str, object] | None:
    """Settings of a model folder, or None if the folder is none: only what training made may be removed."""
    try:
        settings = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return None
    return settings if isinstance(settings, dict) and set(settings) == {"model", "config", "sessions"} else None
