"""The one training loop of HRL-Rec and its RL competitors, used by the command line and by the TFX trainer.

What it leaves behind is described in `model_folder`. All that a run depends on is in its checkpoints or follows from
its settings, so a resumed run ends as an unbroken one.
"""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tqdm import tqdm

from hrlrec_tf import cli, losses, model_folder, models
from hrlrec_tf import warm_start as warm_starts
from hrlrec_tf.agents.builder import HRL_REC, build_agent, build_network
from hrlrec_tf.agents.experience import ListExperience, row_weights
from hrlrec_tf.agents.health import HealthMonitor
from hrlrec_tf.agents.stream import ExperienceStream
from hrlrec_tf.baselines.rl.designs import DESIGNS
from hrlrec_tf.config import Config
from hrlrec_tf.data import schema as schemas
from hrlrec_tf.data.input import SessionReader, session_records
from hrlrec_tf.distribution.machines import Machines
from hrlrec_tf.distribution.parameter_servers import AsynchronousSteps, ParameterServers
from hrlrec_tf.distribution.steps import Steps
from hrlrec_tf.errors import DataError, ModelError
from hrlrec_tf.evaluation import metrics
from hrlrec_tf.evaluation.request_panel import RequestPanel
from hrlrec_tf.evaluation.scoring import score_sessions
from hrlrec_tf.model_folder import MetricsLog
from hrlrec_tf.networks.list_network import ListNetwork
from hrlrec_tf.warm_start import WarmStart

MODEL = "hrl-rec"
_DESIGNS = {**DESIGNS, MODEL: HRL_REC}
_RETURN_BATCHES = 20  # from which the mean return is estimated that the critics start at
_CHECK_BATCHES = 20  # between looks at the metrics, for each makes the host wait for the device


def train(
    config: Config,
    schema: schema_pb2.Schema,
    transform_dir: str,
    train_files: Sequence[str],
    validation_files: Sequence[str],
    out: str,
    resume: bool = False,
    progress: bool = True,
    model: str = MODEL,
    warm_start: str | None = None,
    machines: Machines | None = None,
) -> Mapping[str, object]:
    """Trains HRL-Rec or an RL competitor and keeps the networks of the best validation AUC.

    Args:
      config: all settings.
      schema: of the sessions.
      transform_dir: TensorFlow Transform output fitted on the training sessions; copied into the model folder, or,
        under a warm start, what `vocabulary_join.join` makes of it.
      train_files: session files to train on.
      validation_files: session files for early stopping; may be empty, then all epochs run.
      out: model folder.
      resume: go on from the last checkpoint of an unfinished folder instead of starting again.
      progress: show a progress bar on stderr.
      model: `hrl-rec`, or one of `baselines.rl.config.MODELS`.
      warm_start: a finished model folder of the same model and sizes, whose last weights, targets and optimizer state
        are gone on with; see `model_folder.check_warm_start`. Values that it does not know get rows of their own.
      machines: that train; this one by default.

    Returns:
      What `result.json` holds: best validation metrics, epochs, batches; `growth` where a warm start changed the ids.

    Raises:
      DataError: no sessions, or a warm start's are of other features.
      ModelError: `out` holds a finished model, or one of other settings.
      TrainingError: a loss is NaN or infinite, or a critic has died.
    """
    machines = Machines() if machines is None else machines
    vanished = config.training.vanished
    with machines.folder(pathlib.Path(out)) as own:
        with warm_starts.joined_transform(warm_start, model, schema, transform_dir, vanished) as transform:
            go_on = resume and machines.task.chief
            folder = model_folder.open_folder(own, config, train_files, schema, transform, go_on, model, warm_start)
        machines.wait()
        tf.keras.utils.set_random_seed(config.training.seed)
        reader = SessionReader(schema, str(folder / "transform"))
        run = _Run(config, reader, folder, train_files, validation_files, model, machines)
        run.start(warm_start, pathlib.Path(out))
        while run.epoch < config.training.epochs and run.stale_epochs < config.training.patience:
            run.train_epoch(progress)
        result = {"model": model, "epochs": run.epoch, "batches": run.step, **run.best}
        if warm_start is not None and (counts := WarmStart(warm_start, config, reader).counts(run.agent.model)):
            result["growth"] = counts
        cli.write_json(folder / model_folder.RESULT, result)
        machines.wait()
        return result


def load(model_dir: str) -> tuple[ListNetwork, SessionReader, Config]:
    """The best networks of a model folder, with the reader of its sessions.

    Raises:
      ModelError: the folder holds no finished HRL-Rec and no finished RL competitor.
    """
    folder = pathlib.Path(model_dir)
    settings = model_folder.finished_settings(folder, _DESIGNS)
    config = cast(Config, models.settings(settings["model"]).rebuild(settings["config"]))
    reader = SessionReader(schemas.read(str(folder / "schema.pbtxt")), str(folder / "transform"))
    network = build_network(config, reader, design=_DESIGNS[settings["model"]])
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
        model: str = MODEL,
        machines: Machines | None = None,
    ) -> None:
        machines = Machines() if machines is None else machines
        self.config, self.reader, self.folder = config, reader, folder
        self.stream, self.validation_files = ExperienceStream(config, reader, train_files), list(validation_files)
        self._design = _DESIGNS[model]
        with machines.strategy.scope():
            self.agent = build_agent(config, reader, self._design)
        self.health = HealthMonitor(config)
        self.learner, self.steps = self._learning(machines, train_files)
        self._epoch = tf.Variable(0, dtype=tf.int64)
        self._stale = tf.Variable(0, dtype=tf.int64)
        self._best_auc = tf.Variable(-math.inf, dtype=tf.float64)
        last = tf.train.Checkpoint(
            **warm_starts.state(self.agent),
            epoch=self._epoch,
            health=self.health,
            stale=self._stale,
            best_auc=self._best_auc,
        )
        best = tf.train.Checkpoint(network=self.agent.model)
        self._panels: dict[str, RequestPanel] = {}
        self._last = tf.train.CheckpointManager(last, str(folder / "checkpoints/last"), max_to_keep=2)
        self._best = tf.train.CheckpointManager(best, str(folder / "checkpoints/best"), max_to_keep=1)

    def _learning(self, machines: Machines, train_files: Sequence[str]) -> tuple[Any, Steps]:
        """The agent that takes the steps, and the steps; elsewhere than `agent` where servers hold the weights."""
        training = self.config.training
        if not isinstance(machines, ParameterServers):
            return self.agent, Steps(machines, self.stream, training, self._train_step)
        with machines.on_servers():
            reader = self.reader.reopen()
            learner = build_agent(self.config, reader, self._design)
            stream = ExperienceStream(self.config, reader, train_files, kept_bytes=-1)
        return learner, AsynchronousSteps(machines, stream, training, self._train_step, learner, self.agent)

    @property
    def kept(self) -> ListNetwork:
        """The networks that are validated and may become the model.

        A moving average counts from where it has forgotten half of the random weights that it started with.
        """
        training = self.config.training
        share_of_start = (1 - training.target_tau) ** (self.step // training.target_period)
        return self.agent.target if training.keep == "target" and share_of_start < 0.5 else self.agent.model

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return int(self._epoch)

    @property
    def step(self) -> int:
        """Batches trained on in all epochs."""
        return int(self.agent.train_step_counter.numpy())

    @property
    def stale_epochs(self) -> int:
        """Epochs since the best validation AUC."""
        return int(self._stale)

    @property
    def best(self) -> dict[str, float]:
        """Validation metrics of the kept networks."""
        return {} if math.isinf(float(self._best_auc)) else {"validation_auc": float(self._best_auc)}

    def start(self, warm_start: str | None = None, begun: pathlib.Path | None = None) -> None:
        """Goes on from the last checkpoint; if there is none, from another model's, or starts the critics.

        Args:
          warm_start: the other model's folder. begun: the folder whose checkpoint counts, by default the run's own.
        """
        checkpoint = tf.train.latest_checkpoint(str((begun or self.folder) / "checkpoints/last"))
        if checkpoint is None and warm_start is not None:
            WarmStart(warm_start, self.config, self.reader).take_over(self.agent, self._design)
        elif checkpoint is None:
            self._start_critics()
        else:
            try:
                self._last.checkpoint.restore(checkpoint).assert_existing_objects_matched()
            except (AssertionError, ValueError, tf.errors.InvalidArgumentError) as error:
                raise ModelError(
                    f"{checkpoint} was written by another version of hrlrec_tf; start again without --resume"
                ) from error
        self.steps.send()
        self._log = MetricsLog(self.folder, self.epoch)

    def _start_critics(self) -> None:
        """Starts each level's critics at the mean logged return of the first batches."""
        totals: dict[str, list[float]] = {level: [] for level in self.agent.levels}
        cap, known = self.config.losses.propensity_cap, False
        for experience in self.stream.epoch(0).take(_RETURN_BATCHES):
            discount, weights = losses.discounts(experience.valid), row_weights(experience, cap)
            known = known or bool(tf.reduce_any((experience.propensity < 1) & (experience.valid > 0)))
            for level, agent in self.agent.levels.items():
                returns = losses.discounted_return(agent.reward(experience), discount, self.config.losses.gamma)
                totals[level].append(float(losses.masked_mean(returns, weights)))
        if not totals["item"]:
            raise DataError("the training sessions are empty; look at summary.json of hrlrec prepare")
        if cap and not known:
            raise DataError(
                f"losses.propensity_cap is {cap}, but each propensity of the first {len(totals['item'])} batches is 1; "
                "the log has no propensity_channel and propensity_item; add them, or set losses.propensity_cap=0"
            )
        for level, means in totals.items():
            self.agent.model.levels[level].start_critics(float(np.mean(means)))
        self.agent.initialize()

    def train_epoch(self, progress: bool) -> None:
        """The rest of a pass over the training sessions, then validation and a checkpoint."""
        done = self.health.batches
        before = self.step - done
        steps = self.steps.epoch(self.epoch, done)
        bar = tqdm(steps, f"epoch {self.epoch + 1}", unit="batch", initial=done, disable=not progress)
        for batch, values in enumerate(bar, start=done + 1):
            if values is not None:
                self.health.add(values)
            due = batch % self.config.training.checkpoint_batches == 0
            if due or batch % _CHECK_BATCHES == 0:
                self.health.check(before + batch)
            if due:
                self.steps.fetch()
                self._last.save()
        self.steps.fetch()
        values = self.health.finish_epoch(self.step)
        self._epoch.assign_add(1)
        self._record("train", values)
        self._validate()
        self._look_at_lists()
        self._last.save()

    def _train_step(self, experience: ListExperience) -> tf.Tensor:
        return self.health.pack(self.learner.train(experience).extra.metrics)

    def _validate(self) -> None:
        """Scores the validation sessions; keeps the networks if their AUC is the best so far."""
        auc = math.nan
        if self.validation_files:
            rows = score_sessions(self.kept, self.reader, self.validation_files)
            values = metrics.click_metrics(rows, self.config.click_score == "click")
            auc = float(values["auc"])
            self._record("validation", {name: value for name, value in values.items() if isinstance(value, float)})
        if math.isnan(auc):  # nothing to choose by: the newest networks stand
            self._keep()
        elif auc > float(self._best_auc):
            self._best_auc.assign(auc)
            self._stale.assign(0)
            self._keep()
        else:
            self._stale.assign_add(1)

    def _keep(self) -> None:
        """Makes the kept networks the model."""
        self._best.checkpoint.network = self.kept
        self._best.save()

    @property
    def _panel(self) -> RequestPanel | None:
        """Requests of validation sessions, if there are any."""
        kept, files = self.kept, self.validation_files
        if kept.name not in self._panels:
            if not files or next(iter(session_records(files)), None) is None:
                return None
            self._panels[kept.name] = RequestPanel(kept, self.reader, files, self.config.training.seed)
        return self._panels[kept.name]

    def _look_at_lists(self) -> None:
        """Ranks the panel, for AUC does not tell whether everybody gets the same list."""
        panel = self._panel
        if panel is not None:
            figures = dataclasses.asdict(panel.statistics())
            shares = figures.pop("channel_shares")
            self._record("panel", {**figures, **{f"channel_share/{name}": share for name, share in shares.items()}})

    def _record(self, split: str, values: Mapping[str, float]) -> None:
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self._log.record(self.epoch, self.step, split, finite)
