"""The DAG: a pure function of its configuration. Runners own the paths; see `local_runner` and `kubeflow_runner`."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from tfx import v1 as tfx
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.types import Channel

from tfx_pipeline import digest, evaluator
from tfx_pipeline.blessed import LastBlessed
from tfx_pipeline.configs import Daily, PipelineConfig
from tfx_pipeline.data_gate import DataGate
from tfx_pipeline.example_gen import SessionExampleGen
from tfx_pipeline.gates import AnomalyGate, ServingCheck
from tfx_pipeline.impression_scorer import SPLIT as EVALUATION_SPLIT
from tfx_pipeline.impression_scorer import ImpressionScorer
from tfx_pipeline.model_gates import QualityGate, StabilityGate
from tfx_pipeline.pusher import Pusher
from tfx_pipeline.release import RecordBlessed, ReleaseGate

DIGEST = "digest"  # the execution property that carries a node's digest

_DATA = ("source", "log")
_CHECKED = (*_DATA, "schema")
_TRAINED = (*_CHECKED, "model", "base", "carried")
_JUDGED = (*_TRAINED, "thresholds", "limits")

# What a node's result depends on, directly or through its inputs: parts of `PipelineConfig.parts`.
READS: Mapping[str, tuple[str, ...]] = {
    "SessionExampleGen": _DATA,
    "StatisticsGen": _DATA,
    "ImportSchemaGen": ("source", "schema"),
    "ExampleValidator": _CHECKED,
    "AnomalyGate": _CHECKED,
    "Transform": _CHECKED,
    "Trainer": _TRAINED,
    "ImpressionScorer": _TRAINED,
    "Evaluator": (*_TRAINED, "thresholds"),
    "ServingCheck": (*_TRAINED, "thresholds"),
    "Pusher": _JUDGED,
    "LastBlessed": ("source", "base"),
    "DataGate": (*_CHECKED, "base", "limits"),
    "BaselineTrainer": _CHECKED,
    "QualityGate": (*_TRAINED, "limits"),
    "StabilityGate": (*_TRAINED, "limits"),
    "ReleaseGate": _JUDGED,
    "RecordBlessed": _JUDGED,
}


def create_pipeline(config: PipelineConfig) -> tfx.dsl.Pipeline:
    """Log to pushed model: sessions, validation, transform, training, evaluation, serving check, push.

    A daily run (`config.daily`) also looks at the days of its window, goes on from the last blessed model, is held
    against it and against logistic regression, stops where a model may not be pushed, and is recorded for the next run.

    Args:
      config: everything the pipeline knows; nothing else is read, so equal configurations give equal pipelines.
    """
    data = _data_components(config)
    components = [*data, *(_daily_components(config, data) if config.daily else _model_components(config, data))]
    for component in components:
        stamp(component, config)
    return tfx.dsl.Pipeline(
        pipeline_name=config.name,
        pipeline_root=config.root,
        components=components,
        enable_cache=True,
        beam_pipeline_args=list(config.beam_args),
    )


def stamp(component: BaseComponent, config: PipelineConfig) -> None:
    """Gives a node its digest as an execution property, so that TFX's cache notices what changes behind a path."""
    parts = config.parts()
    component.spec.exec_properties[DIGEST] = digest.of_text(*(parts[part] for part in READS[component.id]))


@dataclasses.dataclass(frozen=True)
class _Data:
    """The components that make sessions and look at them, in order."""

    example_gen: BaseComponent
    statistics_gen: BaseComponent
    schema_gen: BaseComponent
    validator: BaseComponent
    gate: BaseComponent
    transform: BaseComponent

    def __iter__(self) -> Iterator[BaseComponent]:
        return iter(vars(self).values())

    @property
    def examples(self) -> Channel:
        return self.example_gen.outputs["examples"]

    @property
    def schema(self) -> Channel:
        return self.schema_gen.outputs["schema"]


def _data_components(config: PipelineConfig) -> _Data:
    example_gen = SessionExampleGen(config.dataset, config.daily.window if config.daily else None)
    examples = example_gen.outputs["examples"]
    statistics_gen = tfx.components.StatisticsGen(examples=examples)
    schema_gen = tfx.components.ImportSchemaGen(schema_file=config.schema)
    validator = tfx.components.ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    )
    gate = AnomalyGate(
        statistics=statistics_gen.outputs["statistics"],
        anomalies=validator.outputs["anomalies"],
        schema_file=config.schema,
    )
    transform = tfx.components.Transform(
        examples=examples,
        schema=schema_gen.outputs["schema"],
        preprocessing_fn="tfx_pipeline.preprocessing.preprocessing_fn",
        custom_config={"ids": json.loads(config.dataset).get("ids", {})},
        splits_config=tfx.proto.SplitsConfig(analyze=["train"]),
        materialize=False,  # training reads sessions and applies the graph itself, as serving does
        disable_analyzer_cache=True,
        disable_statistics=True,
    )
    transform.add_upstream_node(gate)
    return _Data(example_gen, statistics_gen, schema_gen, validator, gate, transform)


def _model_components(config: PipelineConfig, data: _Data) -> list[BaseComponent]:
    """A run that stands alone."""
    trainer = _trainer("tfx_pipeline.trainer.run_fn", data, {"config": config.model})
    scorer = ImpressionScorer(examples=data.examples, model=trainer.outputs["model"])
    return [trainer, scorer, *_blessing_components(config, data, trainer, scorer)]


def _daily_components(config: PipelineConfig, data: _Data) -> list[BaseComponent]:
    """A run that goes on from the last blessed model."""
    daily = cast(Daily, config.daily)
    last = LastBlessed(registry=daily.registry, date=daily.window.date, first=int(daily.first))
    base, model_limits, dataset = last.outputs["base"], _json(daily.model), json.loads(config.dataset)
    data_gate = DataGate(
        examples=data.examples,
        statistics=data.statistics_gen.outputs["statistics"],
        schema=data.schema,
        transform_graph=data.transform.outputs["transform_graph"],
        date=daily.window.date,
        days=daily.window.days,
        day=json.dumps(dataset.get("day", {}), sort_keys=True),
        registry=daily.registry,
        limits=_json(daily.data),
    )
    settings = {
        "config": config.model,
        "warm": list(daily.warm),
        "catalogue": daily.catalogue,
        "quotas": daily.quotas,
    }
    trainer = _trainer("tfx_pipeline.trainer.run_fn", data, settings, base_model=base)
    baseline = _trainer("tfx_pipeline.trainer.run_baseline_fn", data, {}).with_id("BaselineTrainer")
    for each in (trainer, baseline):
        each.add_upstream_node(data_gate)
    model = trainer.outputs["model"]
    scorer = ImpressionScorer(examples=data.examples, model=model, base=base, baseline=baseline.outputs["model"])
    quality = QualityGate(impressions=scorer.outputs["impressions"], limits=model_limits)
    stability = StabilityGate(
        model=model,
        base=base,
        examples=data.examples,
        schema=data.schema,
        limits=model_limits,
        panel_size=daily.panel_size,
    )
    evaluation, check, pusher = _blessing_components(config, data, trainer, scorer)
    made = {"model": model, "model_run": trainer.outputs["model_run"]}
    release = ReleaseGate(
        **made,
        base=base,
        evaluation=evaluation.outputs["evaluation"],
        data_report=data_gate.outputs["report"],
        quality_report=quality.outputs["report"],
        stability_report=stability.outputs["report"],
        registry=daily.registry,
        date=daily.window.date,
        days=daily.window.days,
        log=dataset["log"],
        lineage=json.dumps({"dataset": dataset, "digests": dataclasses.asdict(config.digests)}, sort_keys=True),
        keep=daily.keep,
    )
    pusher.add_upstream_node(release)
    record = RecordBlessed(
        **made,
        pushed=pusher.outputs["pushed_model"],
        model_card=release.outputs["model_card"],
        stability_report=stability.outputs["report"],
        registry=daily.registry,
        serving=config.serving if daily.prune_served else "",
        keep=daily.keep,
    )
    judges = [quality, stability, evaluation, check, release]
    return [last, data_gate, trainer, baseline, scorer, *judges, pusher, record]


def _trainer(run_fn: str, data: _Data, settings: Mapping[str, Any], **more: Any) -> BaseComponent:
    return tfx.components.Trainer(
        run_fn=run_fn,
        examples=data.examples,
        schema=data.schema,
        transform_graph=data.transform.outputs["transform_graph"],
        train_args=tfx.proto.TrainArgs(splits=["train"]),
        eval_args=tfx.proto.EvalArgs(splits=["validation"]),
        custom_config=dict(settings),
        **more,
    )


def _blessing_components(
    config: PipelineConfig, data: _Data, trainer: BaseComponent, scorer: BaseComponent
) -> list[BaseComponent]:
    """Evaluator, ServingCheck and the Pusher behind them."""
    model = trainer.outputs["model"]
    evaluation = tfx.components.Evaluator(
        examples=scorer.outputs["impressions"],
        model=model,
        example_splits=[EVALUATION_SPLIT],
        eval_config=evaluator.eval_config(config.thresholds),
        module_path=evaluator.MODULE,
    )
    check = ServingCheck(
        model=model,
        model_run=trainer.outputs["model_run"],
        examples=data.examples,
        schema=data.schema,
        latency_seconds=config.thresholds.latency_seconds,
        quotas=config.daily.quotas if config.daily else "",
    )
    pusher = Pusher(
        model=model,
        model_blessing=evaluation.outputs["blessing"],
        infra_blessing=check.outputs["infra_blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=config.serving)
        ),
    )
    return [evaluation, check, pusher]


def _json(settings: Any) -> str:
    return json.dumps(dataclasses.asdict(settings), sort_keys=True)
