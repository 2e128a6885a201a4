"""What a pipeline is made of. A runner fills `PipelineConfig`; `pipeline.create_pipeline` only reads it."""

import dataclasses
import json

from hrlrec_tf.data.beam_options import LOCAL_RUNNER
from tfx_pipeline import digest
from tfx_pipeline.data_faults import DataLimits
from tfx_pipeline.model_gates import ModelLimits
from tfx_pipeline.window import Window

# Beam's default runner may try to download another one. The image is for workers in containers, of which there are none
# here; naming it keeps TFX from building a wheel of itself for them, once per component.
IN_PROCESS = (f"--runner={LOCAL_RUNNER}", "--sdk_container_image=none")


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """What a model must reach before it is pushed.

    Attributes:
      auc: lowest accepted AUC over all evaluation impressions.
      calibration: lowest and highest accepted ratio of predicted to observed clicks.
      latency_seconds: longest accepted time for ranking one request in the serving check; generous, since it catches
        broken exports, not slow machines.
    """

    auc: float = 0.5
    calibration: tuple[float, float] = (0.5, 2.0)
    latency_seconds: float = 5.0


@dataclasses.dataclass(frozen=True)
class Digests:
    """Contents behind the paths of a `PipelineConfig`, as digests: see `digest`."""

    source: str
    schema: str
    log: str


@dataclasses.dataclass(frozen=True)
class Daily:
    """What makes a run one of a series: it goes on from the last blessed model and is held against it.

    Attributes:
      window: the days.
      registry: folder or URI of the blessed models: see `blessed`.
      newest: the version that the run goes on from as far as was known when the pipeline was made, 0 for none: what the
        cache is told.
      first: accept that nothing was blessed yet.
      warm: settings of the model that differ where it goes on from the last one, KEY=VALUE.
      catalogue: whether the export carries the items of the run's sessions.
      quotas: bounds on each channel's rows in a list, as YAML (see `hrlrec_tf.quotas`); "" for none.
      data: how far a day may differ from the other days of its window.
      model: what a new model may lose.
      panel_size: requests of the fixed panel.
      keep: blessed models that stay.
      prune_served: whether served versions older than those go, too; not where a server's config pins versions.
    """

    window: Window
    registry: str
    newest: int = 0
    first: bool = False
    warm: tuple[str, ...] = ()
    catalogue: bool = False
    quotas: str = ""
    data: DataLimits = DataLimits()
    model: ModelLimits = ModelLimits()
    panel_size: int = 200
    keep: int = 7
    prune_served: bool = False


@dataclasses.dataclass(frozen=True)
class PipelineConfig:
    """One pipeline, paths included.

    Attributes:
      root: folder or URI of the artifacts.
      dataset: where the log is and how to read it, `hrlrec_tf.data.config.DatasetConfig` as JSON.
      schema: file of the curated schema.
      model: `hrlrec_tf.config.Config` as JSON.
      serving: folder or URI under which numbered versions are pushed.
      digests: of the contents behind those paths.
      thresholds: what a model must reach.
      beam_args: Beam pipeline arguments.
      daily: what makes this one of a series of runs; None for a run that stands alone.
      name: pipeline name; runs of one name share their cache.
    """

    root: str
    dataset: str
    schema: str
    model: str
    serving: str
    digests: Digests
    thresholds: Thresholds = Thresholds()
    beam_args: tuple[str, ...] = ()
    daily: Daily | None = None
    name: str = "hrlrec"

    def parts(self) -> dict[str, str]:
        """Digest of each thing that an edit may change.

        `source`, `log`, `schema`, `model`, `thresholds`; of a daily run `base`, what it goes on from and how,
        `carried`, what its export carries, and `limits`, what its gates accept.
        """
        daily = dataclasses.asdict(self.daily) if self.daily else {}
        carried = {name: daily.pop(name, None) for name in ("catalogue", "quotas")}
        base = {name: daily.pop(name, None) for name in ("window", "registry", "newest", "first", "warm")}
        return {
            "source": self.digests.source,
            "log": digest.of_text(self.dataset, self.digests.log),
            "schema": self.digests.schema,
            "model": digest.of_text(self.model),
            "thresholds": digest.of_text(json.dumps(dataclasses.asdict(self.thresholds), sort_keys=True)),
            "base": digest.of_text(json.dumps(base, sort_keys=True)),
            "carried": digest.of_text(json.dumps(carried, sort_keys=True)),
            "limits": digest.of_text(json.dumps(daily, sort_keys=True)),
        }
