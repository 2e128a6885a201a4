"""The whole DAG on a small log with LocalDagRunner; only training and export are fakes."""

import dataclasses
import pathlib

import pipeline_fakes as fakes
import pytest
import tensorflow as tf

from hrlrec_tf import export, training
from hrlrec_tf.config import Config
from hrlrec_tf.data import schema
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.prepare import read_summary
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.logs import write_log
from tfx_pipeline import blessed, dag, digest, evaluator, local_runner, serving_check
from tfx_pipeline.configs import Thresholds
from tfx_pipeline.gates import GateError

ANY = Thresholds(auc=0.0, calibration=(0.0, 100.0))


@dataclasses.dataclass
class Workplace:
    """A log, a working folder, and what a first run made of them."""

    log: pathlib.Path
    workdir: pathlib.Path
    trained_on: list[dict]
    states: dict[str, str] = dataclasses.field(default_factory=dict)
    components: list[str] = dataclasses.field(default_factory=list)

    def run(
        self, model: Config | None = None, thresholds: Thresholds = ANY, states: dict[str, str] | None = None
    ) -> local_runner.PipelineResult:
        self.states = {} if states is None else states
        config = local_runner.local_config(
            DatasetConfig(log=str(self.log)), str(self.workdir), model or Config(), thresholds=thresholds
        )
        self.components = local_runner.component_names(config)
        with dag.quiet():
            return local_runner.run(config, self.states.__setitem__)

    def reran(self) -> set[str]:
        return {name for name, state in self.states.items() if state != "cached"}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    world = WorldConfig(users=30, items=60, days=3, requests_per_day=60)
    write_log(world, folder / "log", progress=False)
    trained_on: list[dict] = []

    def train(config, declared, transform, train_files, validation_files, out, **_):
        spec = schema.from_schema(declared)
        trained_on.append({"config": config, "spec": spec, "train": train_files, "validation": validation_files})
        assert tf.io.gfile.glob(f"{transform}/transform_fn/saved_model.pb")
        pathlib.Path(out).mkdir()
        schema.write(declared, pathlib.Path(out) / "schema.pbtxt")

    def export_saved_model(model, out, catalogue, quotas):
        assert catalogue is quotas is None  # those are a daily run's
        fakes.save_model(pathlib.Path(out), schema.from_schema(schema.read(f"{model}/schema.pbtxt")))

    def offline(model, bounds):
        return fakes.offline(schema.from_schema(schema.read(f"{model}/schema.pbtxt")))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train", train)
        patch.setattr(export, "export_saved_model", export_saved_model)
        patch.setattr(serving_check, "offline", offline)
        patch.setattr(digest, "of_source", lambda: "unedited")  # the tree may be worked on while tests run
        yield Workplace(folder / "log", folder / "work", trained_on)


@pytest.fixture(scope="module")
def first(workplace):
    """The first run."""
    return workplace.run(), dict(workplace.states)


def test_everything_runs_and_the_version_is_pushed(workplace, first):
    result, states = first
    assert set(states.values()) == {"ran"} and list(states) == workplace.components
    assert result.blessed and result.reasons == ()
    version = pathlib.Path(result.version)
    assert version.parent == workplace.workdir / "serving" and version.name.isdigit()
    assert set(tf.saved_model.load(str(version)).signatures) == {"rank", "score_examples"}


def test_training_is_given_the_sessions_the_schema_and_the_settings(workplace, first):
    (given,) = workplace.trained_on
    assert given["config"] == Config()
    assert given["spec"].list_length == 10 and "item_author" in given["spec"].optional
    assert all("/Split-train/" in file for file in given["train"]) and given["train"]
    assert all("/Split-validation/" in file for file in given["validation"]) and given["validation"]


def test_the_evaluation_counts_every_evaluation_row_once(first):
    result, _ = first
    sessions = pathlib.Path(result.runs["SessionExampleGen"].outputs["examples"])
    assert (sessions / "rejected").is_dir()
    rows = read_summary(str(sessions))["rows"]["eval"]
    metrics = evaluator.read_metrics(result.evaluation)
    assert metrics[""][""]["example_count"] == rows
    for feature in evaluator.SLICES:
        assert sum(values["example_count"] for values in metrics[feature].values()) == rows


def test_an_unchanged_second_run_comes_from_the_cache(workplace, first):
    again = workplace.run()
    assert workplace.reran() == set()
    assert (again.version, again.evaluation) == (first[0].version, first[0].evaluation)


def test_other_settings_of_the_model_retrain_and_push_but_keep_the_data(workplace, first):
    result = workplace.run(Config().override(["losses.gamma=0.1"]))
    assert workplace.reran() == {"Trainer", "ImpressionScorer", "Evaluator", "ServingCheck", "Pusher"}
    assert workplace.trained_on[-1]["config"].losses.gamma == 0.1
    assert result.blessed


def test_other_thresholds_judge_anew_and_push_nothing_twice(workplace, first):
    result = workplace.run(thresholds=dataclasses.replace(ANY, calibration=(0.0, 99.0)))
    assert workplace.reran() == {"Evaluator", "ServingCheck", "Pusher"}
    assert result.version == first[0].version


def test_a_model_below_a_threshold_is_not_pushed(workplace, first):
    before = sorted((workplace.workdir / "serving").iterdir())
    result = workplace.run(thresholds=dataclasses.replace(ANY, auc=0.99))
    assert workplace.reran() == {"Evaluator", "ServingCheck", "Pusher"}
    assert not result.blessed and "required is at least 0.99" in result.reasons[0]
    assert sorted((workplace.workdir / "serving").iterdir()) == before


def test_the_curated_schema_is_held_against_later_data(workplace, first):
    file = workplace.workdir / "schema.pbtxt"
    curated = file.read_text("utf-8")
    declared = schema.read(file)
    next(feature for feature in declared.feature if feature.name == "channel").string_domain.value.append("news")
    schema.write(declared, file)
    try:
        with pytest.raises(GateError, match="feature 'channel': Unexpected string values"):
            workplace.run()
    finally:
        file.write_text(curated, "utf-8")
    assert workplace.reran() == {"ImportSchemaGen", "ExampleValidator", "AnomalyGate"}


def test_edited_source_reruns_from_the_first_component_on(workplace, first, monkeypatch):
    class Enough(Exception):
        """Stops the run early: what follows would only rerun as well."""

    class States(dict):
        def __setitem__(self, name, state):
            if name == "Transform":
                raise Enough
            super().__setitem__(name, state)

    monkeypatch.setattr(digest, "of_source", lambda: "edited")
    with pytest.raises(Enough):
        workplace.run(states=States())
    assert set(workplace.states.values()) == {"ran"} and len(workplace.states) == 5


def test_a_pushed_version_that_was_removed_is_not_reported_as_pushed(workplace, first, tmp_path):
    version = pathlib.Path(first[0].version)
    version.rename(tmp_path / "aside")
    try:
        with pytest.raises(dag.PipelineError, match="was removed since"):
            workplace.run()
    finally:
        (tmp_path / "aside").rename(version)


@pytest.mark.parametrize("upper", [100.0, 98.0], ids=["from the cache", "judged anew"])
def test_a_model_that_was_withdrawn_is_not_pushed_again(workplace, first, upper):
    version = pathlib.Path(first[0].version)
    withdrawn = version.parent / blessed.WITHDRAWN / version.name
    withdrawn.parent.mkdir(exist_ok=True)
    version.rename(withdrawn)
    try:
        with pytest.raises(GateError, match=f"version {version.name}, the model of this run, was withdrawn"):
            workplace.run(thresholds=dataclasses.replace(ANY, calibration=(0.0, upper)))
    finally:
        withdrawn.rename(version)


def test_the_command_line_runs_the_same_pipeline(workplace, first, capsys):
    limits = ["--preset", "paper", "--min-auc", "0", "--calibration", "0", "100"]
    assert local_runner.main(["--log", str(workplace.log), "--workdir", str(workplace.workdir), *limits]) == 0
    printed = capsys.readouterr().out
    assert all(f"{name:<18} cached" in printed for name in workplace.components)
    assert f"pushed: {first[0].version}" in printed and "auc 0." in printed


def test_a_mistyped_option_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        local_runner.main(["--log", str(tmp_path), "--workdir", str(tmp_path / "work"), "--min_auc", "0.9"])
    assert stop.value.code == 2
    assert "--min_auc" in capsys.readouterr().err


def test_the_command_line_fails_with_one_line(tmp_path, capsys):
    assert local_runner.main(["--log", str(tmp_path / "none"), "--workdir", str(tmp_path / "work")]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("local_runner: ") and printed.err.count("\n") == 1
