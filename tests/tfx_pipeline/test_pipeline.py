"""The DAG and its digests."""

import dataclasses

import pipeline_fakes as fakes
import pytest
from tfx.dsl.compiler import compiler

from tfx_pipeline.configs import Daily, Digests, Thresholds
from tfx_pipeline.data_faults import DataLimits
from tfx_pipeline.pipeline import DIGEST, READS, create_pipeline
from tfx_pipeline.window import Window

DATA = {"SessionExampleGen", "StatisticsGen"}
VALIDATION = {"ImportSchemaGen", "ExampleValidator", "AnomalyGate", "Transform"}
MODEL = {"Trainer", "ImpressionScorer"}
JUDGEMENT = {"Evaluator", "ServingCheck", "Pusher"}
ALL = DATA | VALIDATION | MODEL | JUDGEMENT
GATES = {"QualityGate", "StabilityGate"}
RELEASE = {"ReleaseGate", "RecordBlessed"}
DAILY = ALL | GATES | RELEASE | {"LastBlessed", "DataGate", "BaselineTrainer"}

SERIES = Daily(Window("2024-03-31"), "/blessed")


def nodes(config):
    ir = compiler.Compiler().compile(create_pipeline(config))
    return {node.pipeline_node.node_info.id: node.pipeline_node for node in ir.nodes}


def digests(config):
    parameters = {name: node.parameters.parameters for name, node in nodes(config).items()}
    return {name: given[DIGEST].field_value.string_value for name, given in parameters.items()}


def test_the_nodes():
    assert set(nodes(fakes.pipeline_config())) == ALL
    assert set(nodes(fakes.pipeline_config(daily=SERIES))) == set(READS) == DAILY


def test_every_node_carries_a_digest():
    assert all(len(digest) == 64 for digest in digests(fakes.pipeline_config()).values())


@pytest.mark.parametrize(
    ("change", "rerun"),
    [
        ({}, set()),
        ({"digests": Digests("edited", "b", "c")}, ALL),
        ({"digests": Digests("a", "edited", "c")}, ALL - DATA),
        ({"digests": Digests("a", "b", "edited")}, ALL - {"ImportSchemaGen"}),
        ({"dataset": '{"log": "/log", "max_tags": 4}'}, ALL - {"ImportSchemaGen"}),
        ({"model": '{"losses": {"gamma": 0.5}}'}, MODEL | JUDGEMENT),
        ({"thresholds": Thresholds(auc=0.6)}, JUDGEMENT),
    ],
    ids=["nothing", "source", "schema", "log", "dataset", "model", "thresholds"],
)
def test_an_edit_changes_the_digests_of_what_depends_on_it(change, rerun):
    config = fakes.pipeline_config()
    before, after = digests(config), digests(dataclasses.replace(config, **change))
    assert {name for name in before if before[name] != after[name]} == rerun


@pytest.mark.parametrize(
    ("change", "rerun"),
    [
        ({"newest": 7}, DAILY - DATA - VALIDATION - {"BaselineTrainer"}),
        (
            {"data": DataLimits(hours=1.0)},
            GATES | RELEASE | {"DataGate", "Pusher"},
        ),
        ({"catalogue": True}, MODEL | GATES | JUDGEMENT | RELEASE),
        ({"quotas": "news: {at_least: 1}"}, MODEL | GATES | JUDGEMENT | RELEASE),
        ({"keep": 3}, GATES | RELEASE | {"DataGate", "Pusher"}),
    ],
    ids=["a newer base", "limits", "catalogue", "quotas", "retention"],
)
def test_an_edit_of_a_daily_run_changes_what_depends_on_it(change, rerun):
    before, after = (
        digests(fakes.pipeline_config(daily=daily)) for daily in (SERIES, dataclasses.replace(SERIES, **change))
    )
    assert {name for name in before if before[name] != after[name]} == rerun


@pytest.mark.parametrize("daily", [None, SERIES], ids=["alone", "daily"])
def test_whatever_reads_a_node_depends_on_all_that_the_node_depends_on(daily):
    for name, node in nodes(fakes.pipeline_config(daily=daily)).items():
        for read in {
            channel.producer_node_query.id for given in node.inputs.inputs.values() for channel in given.channels
        }:
            assert set(READS[read]) <= set(READS[name]), (read, name)


def test_nothing_is_trained_before_the_anomaly_gate():
    upstream = {name: set(node.upstream_nodes) for name, node in nodes(fakes.pipeline_config(daily=SERIES)).items()}

    def ancestors(name):
        return upstream[name].union(*map(ancestors, upstream[name]))

    assert all("AnomalyGate" in ancestors(name) for name in {"Transform"} | MODEL | JUDGEMENT)
    assert all("DataGate" in ancestors(name) for name in {"Trainer", "BaselineTrainer"} | GATES | JUDGEMENT)
    assert {"Evaluator"} | GATES <= upstream["ReleaseGate"]
    assert {"ReleaseGate", "ServingCheck"} <= upstream["Pusher"] <= ancestors("RecordBlessed")


def test_equal_configurations_give_equal_pipelines():
    assert nodes(fakes.pipeline_config()) == nodes(fakes.pipeline_config())
