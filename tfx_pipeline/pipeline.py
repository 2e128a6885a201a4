"""The DAG: a pure function of its configuration. Runners own the paths; see `local_runner` and `kubeflow_runner`."""

import json
from collections.abc import Mapping

from tfx import v1 as tfx
from tfx.dsl.components.base.base_component import BaseComponent

from tfx_pipeline import digest, evaluator
from tfx_pipeline.configs import PipelineConfig
from tfx_pipeline.example_gen import SessionExampleGen
from tfx_pipeline.gates import AnomalyGate, ServingCheck
from tfx_pipeline.impression_scorer import SPLIT as EVALUATION_SPLIT
from tfx_pipeline.impression_scorer import ImpressionScorer

DIGEST = "digest"  # the execution property that carries a node's digest

_DATA = ("source", "log")
_CHECKED = (*_DATA, "schema")
_TRAINED = (*_CHECKED, "model")

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
    "Pusher": (*_TRAINED, "thresholds"),
}


def create_pipeline(config: PipelineConfig) -> tfx.dsl.Pipeline:
    """Log to pushed model: sessions, validation, transform, training, evaluation, serving check, push.

    Args:
      config: everything the pipeline knows; nothing else is read, so equal configurations give equal pipelines.
    """
    components = [*_data_components(config)]
    example_gen, _, schema_gen, _, gate = components
    components += _model_components(config, example_gen, schema_gen, gate)
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


def _data_components(config: PipelineConfig) -> list[BaseComponent]:
    example_gen = SessionExampleGen(dataset=config.dataset)
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
    return [example_gen, statistics_gen, schema_gen, validator, gate]


def _model_components(
    config: PipelineConfig, example_gen: BaseComponent, schema_gen: BaseComponent, gate: BaseComponent
) -> list[BaseComponent]:
    examples, schema = example_gen.outputs["examples"], schema_gen.outputs["schema"]
    transform = tfx.components.Transform(
        examples=examples,
        schema=schema,
        preprocessing_fn="tfx_pipeline.preprocessing.preprocessing_fn",
        custom_config={"ids": json.loads(config.dataset).get("ids", {})},
        splits_config=tfx.proto.SplitsConfig(analyze=["train"]),
        materialize=False,  # training reads sessions and applies the graph itself, as serving does
        disable_analyzer_cache=True,
        disable_statistics=True,
    )
    transform.add_upstream_node(gate)
    trainer = tfx.components.Trainer(
        run_fn="tfx_pipeline.trainer.run_fn",
        examples=examples,
        schema=schema,
        transform_graph=transform.outputs["transform_graph"],
        train_args=tfx.proto.TrainArgs(splits=["train"]),
        eval_args=tfx.proto.EvalArgs(splits=["validation"]),
        custom_config={"config": config.model},
    )
    model = trainer.outputs["model"]
    scorer = ImpressionScorer(examples=examples, model=model)
    evaluation = tfx.components.Evaluator(
        examples=scorer.outputs["impressions"],
        model=model,
        example_splits=[EVALUATION_SPLIT],
        eval_config=evaluator.eval_config(config.thresholds),
        module_path=evaluator.MODULE,
    )
    check = ServingCheck(
        model=model, examples=examples, schema=schema, latency_seconds=config.thresholds.latency_seconds
    )
    pusher = tfx.components.Pusher(
        model=model,
        model_blessing=evaluation.outputs["blessing"],
        infra_blessing=check.outputs["infra_blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=config.serving)
        ),
    )
    return [transform, trainer, scorer, evaluation, check, pusher]
