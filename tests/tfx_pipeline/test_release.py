"""A trained model on its way out: what is written of it, what stops it, and that it is recorded once."""

import json
import pathlib

import numpy as np
import pipeline_fakes as fakes
import pytest
from tfx import v1 as tfx

from tfx_pipeline import blessed, reports
from tfx_pipeline.configs import Thresholds
from tfx_pipeline.release import RecordBlessed, ReleaseGate
from tfx_pipeline.window import Window

LINEAGE = json.dumps({"dataset": {"log": "/log"}, "digests": {"log": "1", "source": "2"}})
ARTIFACTS = tfx.types.standard_artifacts


class Run:
    """What the components before have put out, in a folder; figures and faults as given."""

    def __init__(self, folder, date="2024-01-04", auc=0.6):
        self.folder, self.date, self.registry = folder, date, str(folder / "registry")
        rng = np.random.default_rng(0)
        label = rng.integers(0, 2, 400).astype(np.float32)
        rows = {"channel": np.full(400, "news"), "position": np.ones(400, int), "label": label}
        rows["prediction"] = np.clip(0.25 + label / 2 + rng.normal(0, 0.2, 400), 0.01, 0.99)
        (folder / "made").mkdir(parents=True)
        self.evaluation = fakes.artifact(ARTIFACTS.ModelEvaluation, folder / "made" / "evaluation")
        self.evaluation.uri, _ = fakes.evaluate(folder / "made", rows, Thresholds(auc=auc))
        self.model = fakes.artifact(ARTIFACTS.Model, folder / "model")
        (folder / "model" / "Format-Serving").mkdir()
        self.model_run = fakes.artifact(ARTIFACTS.ModelRun, folder / "model_run")
        (folder / "model_run" / "config.json").write_text('{"config": {"training": {"epochs": 2}}}')
        (folder / "model_run" / "result.json").write_text('{"validation_auc": 0.7}')
        self.base = fakes.artifact(ARTIFACTS.Model, folder / "base")
        self.base.set_int_custom_property("version", 3)
        self.reports = {name: self._report(name) for name in ("data", "quality", "stability")}
        (folder / "stability" / blessed.PANEL).write_bytes(b"requests")

    def _report(self, name, **figures):
        report = fakes.artifact(reports.GateReport, self.folder / name)
        reports.write(report.uri, [f"{name} is well"], figures)
        return report

    def finds(self, gate, *faults):
        reports.write(self.reports[gate].uri, [], {}, faults)

    def release(self, **changes):
        """The card's artifact."""
        card = fakes.artifact(reports.ModelCard, self.folder / "card")
        given = {f"{name}_report": report for name, report in self.reports.items()}
        given |= {"model": self.model, "model_run": self.model_run, "base": self.base, "evaluation": self.evaluation}
        given |= {"registry": self.registry, "date": self.date, "days": Window(self.date, 2).days, "log": "/log"}
        ReleaseGate.test_call(**{**given, "lineage": LINEAGE, "keep": 2, "model_card": card, **changes})
        return card

    def record(self, card, version=7):
        pushed = fakes.artifact(ARTIFACTS.PushedModel, self.folder / "pushed")
        pushed.set_string_custom_property("pushed_destination", str(self.folder / "serving" / str(version)))
        RecordBlessed.test_call(
            pushed=pushed,
            model=self.model,
            model_run=self.model_run,
            model_card=card,
            stability_report=self.reports["stability"],
            registry=self.registry,
            serving="",
            keep=2,
        )

    def refused(self):
        return sorted(path.name for path in pathlib.Path(self.registry, blessed.REFUSED).glob("*"))


def test_a_model_without_fault_is_recorded_once_with_its_card(tmp_path):
    run = Run(tmp_path)
    for _ in range(2):
        run.record(run.release())
    assert blessed.versions(run.registry) == [7] and run.refused() == []
    card = blessed.card(run.registry, 7)
    assert card["version"] == 7 and card["faults"] == []
    assert card["window"]["dates"] == ["2024-01-02", "2024-01-03", "2024-01-04"]
    assert card["gates"]["quality"]["findings"] == ["quality is well"]
    assert card["metrics"]["channel"]["news"]["auc"] > 0.9 and card["training"] == {"validation_auc": 0.7}
    assert card["lineage"]["base_version"] == 3 and card["lineage"]["digests"]["log"] == "1"
    folder = pathlib.Path(run.registry, "7")
    assert (folder / blessed.CARD_TEXT).read_text().startswith("# Model 7\n")
    assert (folder / blessed.PANEL).read_bytes() == b"requests" and (folder / "model" / "config.json").exists()


def test_all_faults_stop_the_run_at_once_and_the_card_has_them(tmp_path):
    run = Run(tmp_path, auc=0.999)
    run.finds("quality", "AUC fell")
    run.finds("stability", "channel 'news' grew", "channel shares changed")
    with pytest.raises(reports.GateError) as raised:
        run.release()
    message = str(raised.value)
    faults = ["AUC fell", "channel 'news' grew", "channel shares changed"]
    assert message.startswith("the model was not pushed (its card: ") and "\n" not in message
    assert "auc is 0.9" in message and message.endswith("; ".join(faults))
    text = pathlib.Path(run.registry, blessed.REFUSED, "2024-01-04", blessed.CARD_TEXT)
    assert str(text) in message
    lines = text.read_text().splitlines()
    assert lines[0] == "# Model of 2024-01-04, refused" and "* **Not pushed:** AUC fell." in lines
    assert any(line.startswith("| channel news | 0.9") for line in lines)
    card = json.loads(text.with_name(blessed.CARD).read_text())
    assert card["version"] is None and card["faults"][1:] == faults
    assert not (tmp_path / "card" / blessed.CARD).exists()


@pytest.mark.parametrize("gate", ["quality", "stability"])
def test_each_gates_fault_alone_stops_the_run(tmp_path, gate):
    run = Run(tmp_path)
    run.finds(gate, "something is wrong")
    with pytest.raises(reports.GateError, match="something is wrong"):
        run.release()
    assert blessed.versions(run.registry) == []


def test_cards_of_refused_models_stay_for_the_newest_days_until_a_model_of_that_day_is_pushed(tmp_path):
    for date in ("2024-01-03", "2024-01-04", "2024-01-05"):
        run = Run(tmp_path / date, date)
        run.registry = str(tmp_path / "registry")
        run.finds("quality", "AUC fell")
        with pytest.raises(reports.GateError):
            run.release()
    assert run.refused() == ["2024-01-04", "2024-01-05"]
    run.finds("quality")
    run.record(run.release())
    assert run.refused() == ["2024-01-04"] and blessed.dates(run.registry) == {7: "2024-01-05"}


def test_the_card_of_a_late_day_stays_though_later_ones_were_refused(tmp_path):
    for date in ("2024-01-05", "2024-01-04", "2024-01-03"):
        place = blessed.refuse(str(tmp_path), date, {blessed.CARD: "{}"}, keep=2)
        assert pathlib.Path(place, blessed.CARD).exists()
    assert sorted(path.name for path in (tmp_path / blessed.REFUSED).iterdir()) == ["2024-01-03", "2024-01-05"]


def test_a_version_that_was_withdrawn_meanwhile_is_not_recorded(tmp_path):
    run = Run(tmp_path)
    card = run.release()
    (tmp_path / "serving" / blessed.WITHDRAWN / "7").mkdir(parents=True)
    with pytest.raises(reports.GateError, match="version 7, the model of this run, was withdrawn"):
        run.record(card)
    assert blessed.versions(run.registry) == []
    run.record(card, version=8)
    assert blessed.versions(run.registry) == [8]


def test_the_lineage_names_the_log_that_the_run_was_told(tmp_path):
    run = Run(tmp_path)
    card = json.loads(pathlib.Path(run.release(log="/another").uri, blessed.CARD).read_text())
    assert card["lineage"]["dataset"]["log"] == "/another" and card["lineage"]["digests"] == {"source": "2"}
