"""The command line of a daily run, and the card it leaves."""

import argparse
import datetime
import json

import pytest
import tiny

from hrlrec_tf import folder_lock
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.logs import write_log
from tfx_pipeline import card, daily, local_runner, retention
from tfx_pipeline.pipeline import create_pipeline
from tfx_pipeline.reports import GateError
from tfx_pipeline.window import Window

NOW = datetime.datetime(2024, 1, 4, 7, tzinfo=datetime.timezone.utc)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("daily") / "log"
    write_log(WorldConfig(users=20, items=30, days=3, requests_per_day=10), folder, progress=False)
    return folder


def parse(log, workdir, *words):
    parser = argparse.ArgumentParser()
    daily.VERB.add_arguments(parser)
    return daily.pipeline_config(parser.parse_args(["--log", str(log), "--workdir", str(workdir), *words]), NOW)


def test_the_newest_day_with_mature_labels_judges(log, tmp_path):
    assert parse(log, tmp_path).daily.window.date == "2024-01-03"
    assert parse(log, tmp_path, "--maturity-hours", "8").daily.window.date == "2024-01-02"
    config = parse(log, tmp_path, "--date", "2024-01-02", "--train-days", "1")
    assert config.daily.window.dates == ["2024-01-01", "2024-01-02"]
    (example_gen,) = (each for each in create_pipeline(config).components if each.id == "SessionExampleGen")
    assert example_gen.spec.exec_properties["date"] == "2024-01-02"
    assert Window.of("2024-01-02", example_gen.spec.exec_properties["days"]) == config.daily.window
    assert config.daily.warm == ("training.epochs=1",) and config.daily.newest == 0


def test_days_that_are_left_out_reach_the_components(log, tmp_path):
    config = parse(log, tmp_path, "--train-days", "2", "--without", "2024-01-01")
    assert config.daily.window.dates == ["2024-01-02", "2024-01-03"]
    for component in create_pipeline(config).components:
        if "days" in component.spec.exec_properties:
            assert json.loads(component.spec.exec_properties["days"])["without"] == ["2024-01-01"]


def test_a_day_before_the_last_blessed_one_is_refused(log, tmp_path):
    card_file = tmp_path / "blessed" / "7" / "card.json"
    card_file.parent.mkdir(parents=True)
    card_file.write_text('{"window": {"date": "2024-01-03"}}')
    assert parse(log, tmp_path, "--train-days", "1").daily.newest == 0  # the run of that day has no base of its own
    with pytest.raises(ConfigError, match="a model judged by 2024-01-03 was blessed already"):
        parse(log, tmp_path, "--date", "2024-01-02", "--train-days", "1")


def test_limits_come_from_a_file(log, tmp_path):
    (tmp_path / "limits.yaml").write_text("data: {hours: 0.5}\nmodel: {auc_change: -0.1}\nthresholds: {auc: 0.6}\n")
    config = parse(log, tmp_path / "work", "--limits", str(tmp_path / "limits.yaml"))
    assert config.daily.data.hours == 0.5 and config.daily.model.auc_change == -0.1 and config.thresholds.auc == 0.6


def test_what_the_export_carries_reaches_the_components(log, tmp_path):
    (tmp_path / "quotas.yaml").write_text("news: {at_most: 3}\n")
    words = ["--train-days", "1", "--catalogue", "--quotas", str(tmp_path / "quotas.yaml")]
    components = {each.id: each for each in create_pipeline(parse(log, tmp_path / "work", *words)).components}
    settings = json.loads(components["Trainer"].spec.exec_properties["custom_config"])
    assert settings["catalogue"] is True and settings["quotas"] == "news: {at_most: 3}\n"
    assert components["ServingCheck"].spec.exec_properties["quotas"] == "news: {at_most: 3}\n"
    assert "quotas" not in json.loads(components["BaselineTrainer"].spec.exec_properties["custom_config"])
    (tmp_path / "quotas.yaml").write_text("news: {at_most: 11}\n")
    with pytest.raises(ConfigError, match="news.at_most must be a whole number from 0 to the list's 10"):
        parse(log, tmp_path / "work", *words)


@pytest.mark.parametrize(
    ("words", "limits", "message"),
    [
        (["--date", "2024-01-04"], None, "clicks on 2024-01-04 may still come in .* judged is 2024-01-03"),
        (["--keep", "0"], None, "--keep must be at least 1"),
        (["--warm", "training.epoch=1"], None, "epoch"),
        ([], "data: {hour: 0.5}", "limits.yaml: .*data.hour"),
        ([], "gates: {}", "limits.yaml: gates is unknown; known: data, model, thresholds"),
        ([], "- 1", "limits.yaml: the file must be a mapping"),
        (["--train-days", "0"], None, "train_days must be at least 1"),
        (["--without", "2024-01-03"], None, "2024-01-03 cannot be left out"),
    ],
)
def test_bad_usage_is_refused(log, tmp_path, words, limits, message):
    if limits is not None:
        (tmp_path / "limits.yaml").write_text(limits)
        words = [*words, "--limits", str(tmp_path / "limits.yaml")]
    with pytest.raises(ConfigError, match=message):
        parse(log, tmp_path / "work", *words)


def test_the_card_says_what_was_learnt_and_how_it_was_judged():
    auc = {"": {"prediction": 0.71, "prediction_base": 0.7, "prediction_lr": 0.65}}
    shown = {"channel_shares": {"news": 0.6, "video": 0.4}, "distinct_lists": 90, "between_user_channel_variance": 0.02}
    written = card.build(
        faults=[],
        window={"dates": ["2024-01-01", "2024-01-02", "2024-01-03"]},
        gates={
            "data": {"faults": [], "findings": ["channel 'radio' is new"], "figures": {}},
            "quality": {"faults": [], "findings": [], "figures": {"auc": auc}},
            "stability": {"faults": [], "findings": [], "figures": {"old": shown, "new": shown}},
        },
        metrics={
            "": {"": {"auc": 0.71, "calibration": 1.01, "example_count": 1e6}},
            "channel": {"news": {"auc": 0.7, "example_count": 2.0}},
        },
        training={"epochs": 1},
        config={"losses": {}},
        lineage={"base_version": 5},
    )
    text = card.markdown(json.loads(json.dumps(written)))
    for line in (
        "Trained on 2024-01-01 to 2024-01-02, judged on 2024-01-03; goes on from version 5.",
        "| all | 0.71 | 1.01 | 1,000,000 |",
        "| channel news | 0.7 | nan | 2 |",
        "**Data.** Channel 'radio' is new.",
        "**Quality.** Nothing to remark.",
        "| AUC | this model | the last blessed model | LR |",
        "| share of news | 60.0% | 60.0% |",
    ):
        assert line in text.splitlines(), line


class TestRuns:
    """The verb around the pipeline, whose run is faked."""

    @pytest.fixture
    def run(self, log, tmp_path, monkeypatch):
        monkeypatch.setattr(folder_lock, "_PATIENCE", 0.1)
        words = f"--log {log} --workdir {tmp_path / 'work'} --date 2024-01-03 --train-days 1 --first"
        return lambda: tiny.run_verb(daily.VERB, words)

    def test_a_second_run_in_the_same_folder_is_refused(self, run, tmp_path):
        (tmp_path / "work").mkdir()
        with folder_lock.FolderLock(tmp_path / "work"):
            with pytest.raises(ConfigError, match="another hrlrec works in .*work; wait for it, or .* --workdir"):
                run()

    def test_a_stopped_run_removes_old_artifacts_and_tells_its_own_reason(self, run, monkeypatch, capsys):
        pruned = []

        def prune(*words):
            pruned.append(words[2:])
            raise OSError("disk")

        def stop(*_):
            raise GateError("too few clicks")

        monkeypatch.setattr(local_runner, "run", stop)
        monkeypatch.setattr(retention, "prune", prune)
        with pytest.raises(GateError, match="too few clicks"):
            run()
        assert [keep for _, keep in pruned] == [7]
        assert "old artifacts were not removed (OSError: disk)" in capsys.readouterr().err
