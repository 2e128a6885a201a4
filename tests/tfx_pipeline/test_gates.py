"""The gates: what they let through, and what stops the run before anything behind them has run."""

import pathlib
import shutil

import pipeline_fakes as fakes
import pytest
from tfx import v1 as tfx
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2

from hrlrec_tf.data import schema
from tfx_pipeline import dag
from tfx_pipeline import serving_check as checks
from tfx_pipeline.gates import AnomalyGate, GateError, ServingCheck

SPLITS = ("train", "eval")


@tfx.dsl.components.component
def CopiedSessions(
    examples: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.Examples],
    folder: tfx.dsl.components.Parameter[str],
) -> None:
    """Stands in for SessionExampleGen."""
    shutil.copytree(folder, examples.uri, dirs_exist_ok=True)
    examples.split_names = '["train", "eval"]'
    examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)


@tfx.dsl.components.component
def Behind(
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    done: tfx.dsl.components.Parameter[str],
) -> None:
    """Stands in for everything behind the gate."""
    pathlib.Path(done).touch()


def run(folder, splits, declared):
    """Validates sessions against a schema; returns the components that finished and whether `Behind` ran."""
    folder.mkdir(exist_ok=True)
    fakes.examples_artifact(folder / "sessions", splits)
    schema.write(declared, folder / "schema.pbtxt")
    sessions = CopiedSessions(folder=str(folder / "sessions"))
    statistics = tfx.components.StatisticsGen(examples=sessions.outputs["examples"])
    schema_gen = tfx.components.ImportSchemaGen(schema_file=str(folder / "schema.pbtxt"))
    validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema_gen.outputs["schema"]
    )
    gate = AnomalyGate(
        statistics=statistics.outputs["statistics"],
        anomalies=validator.outputs["anomalies"],
        schema_file="curated.pbtxt",
    )
    behind = Behind(examples=sessions.outputs["examples"], done=str(folder / "done"))
    behind.add_upstream_node(gate)
    components = [sessions, statistics, schema_gen, validator, gate, behind]
    pipeline = tfx.dsl.Pipeline("validation", str(folder / "root"), components=components)
    done = dag.run_dag(pipeline, str(folder / "metadata.sqlite"))
    return done, (folder / "done").exists()


def sessions(count=4):
    return [fakes.session(f"u{number}", ("a", "b")) for number in range(count)]


def without(name):
    broken = sessions()
    for session in broken:
        del session.features.feature[name]
    return broken


def with_extra(name):
    broken = sessions()
    broken[0].features.feature[name].int64_list.value.append(1)
    return broken


def declared(**domains):
    result = schema.to_schema(fakes.SPEC)
    for feature in result.feature:
        if feature.name in domains:
            feature.string_domain.value.extend(domains[feature.name])
    return result


def test_sessions_that_fit_the_schema_pass_the_gate(tmp_path):
    done, behind_ran = run(tmp_path, dict.fromkeys(SPLITS, sessions()), declared(channel=["news", "video"]))
    assert behind_ran and done["AnomalyGate"].state == "ran"


@pytest.mark.parametrize(
    ("broken", "domains", "message"),
    [
        (without("clicks"), {}, "split 'eval', feature 'clicks': Column dropped"),
        (with_extra("surprise"), {}, "split 'eval', feature 'surprise': New column"),
        (sessions(), {"channel": ["news"]}, "split 'train', feature 'channel': Unexpected string values"),
    ],
    ids=["missing", "unexpected", "domain"],
)
def test_an_anomaly_stops_the_run(tmp_path, broken, domains, message):
    with pytest.raises(GateError) as raised:
        run(tmp_path, {"train": sessions(), "eval": broken}, declared(**domains))
    assert message in str(raised.value) and "edit curated.pbtxt" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "done").exists()


def test_an_empty_split_stops_the_run(tmp_path):
    with pytest.raises(GateError, match="split 'eval' holds no sessions"):
        run(tmp_path, {"train": sessions(), "eval": []}, declared())
    assert not (tmp_path / "done").exists()


def serving_check(folder, model):
    """Calls ServingCheck with the export in `model`; returns the blessing."""
    schema_artifact = fakes.artifact(tfx.types.standard_artifacts.Schema, folder / "schema")
    schema.write(schema.to_schema(fakes.SPEC), folder / "schema" / "schema.pbtxt")
    blessing = fakes.artifact(tfx.types.standard_artifacts.InfraBlessing, folder / "blessing")
    ServingCheck.test_call(
        model=fakes.artifact(tfx.types.standard_artifacts.Model, model),
        model_run=fakes.artifact(tfx.types.standard_artifacts.ModelRun, folder / "run"),
        examples=fakes.examples_artifact(folder / "sessions", {"eval": sessions()}),
        schema=schema_artifact,
        infra_blessing=blessing,
        latency_seconds=60.0,
        quotas="",
    )
    return blessing


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """The network that every export here is made of."""
    monkeypatch.setattr(checks, "offline", lambda folder, bounds: fakes.offline())


def test_an_export_that_ranks_is_blessed(tmp_path):
    fakes.save_model(tmp_path / "model" / "Format-Serving")
    blessing = serving_check(tmp_path, tmp_path / "model")
    assert blessing.get_int_custom_property("blessed") == 1
    assert "ranked 2 candidates of 2 channels" in (tmp_path / "blessing" / "INFRA_BLESSED").read_text("utf-8")


def test_an_export_that_does_not_rank_stops_the_run(tmp_path):
    (tmp_path / "model" / "Format-Serving").mkdir(parents=True)
    with pytest.raises(GateError, match="the exported model was not pushed: it cannot rank a request"):
        serving_check(tmp_path, tmp_path / "model")
