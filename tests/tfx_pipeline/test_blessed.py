"""The registry of blessed models: recorded once, whole, and brought into the next run."""

import itertools
import json
import pathlib
import shutil

import pytest
import step_kills
from tfx import v1 as tfx

from tfx_pipeline import blessed, dag
from tfx_pipeline.blessed import LastBlessed
from tfx_pipeline.reports import GateError

PARTS = ("model", "checkpoints", "file", "export", "file", blessed.PANEL, blessed.CARD, blessed.CARD_TEXT)


@pytest.fixture
def registry(tmp_path):
    for name in ("model/checkpoints", "export"):
        (tmp_path / "made" / name).mkdir(parents=True)
        (tmp_path / "made" / name / "file").write_text(name)
    (tmp_path / "made" / "panel").write_bytes(b"requests")
    return str(tmp_path / "registry")


def record(registry, version, **card):
    made = pathlib.Path(registry).parent / "made"
    parts = {
        blessed.MODEL: str(made / "model"),
        blessed.EXPORT: str(made / "export"),
        blessed.PANEL: str(made / "panel"),
    }
    told = {"version": version, "window": {"date": f"2024-01-{version:02d}"}, **card}
    texts = {blessed.CARD: json.dumps(told), blessed.CARD_TEXT: "# card"}
    return pathlib.Path(blessed.record(registry, version, parts, texts))


def run(folder, registry, date="2024-02-01", first=0):
    last = LastBlessed(registry=registry, date=date, first=first)
    pipeline = tfx.dsl.Pipeline("last", str(folder / "root"), components=[last])
    return pathlib.Path(dag.run_dag(pipeline, str(folder / "metadata.sqlite"))["LastBlessed"].outputs["base"])


def test_a_version_is_recorded_whole_and_once(registry):
    folder = record(registry, 12, auc=0.7)
    assert (folder / "model" / "checkpoints" / "file").read_text() == "model/checkpoints"
    assert (folder / blessed.PANEL).read_bytes() == b"requests" and (folder / blessed.CARD_TEXT).exists()
    record(registry, 12, auc=0.1)
    assert blessed.card(registry, 12)["auc"] == 0.7
    assert [path.name for path in pathlib.Path(registry).iterdir()] == ["12"]


def test_a_record_cut_short_is_made_anew(registry):
    scratch = pathlib.Path(registry) / ".12.partial"
    scratch.mkdir(parents=True)
    (scratch / "model").write_text("half")
    assert blessed.versions(registry) == []
    assert (record(registry, 12) / "model" / "checkpoints").is_dir() and not scratch.exists()


def test_killed_at_any_step_a_record_is_whole_or_not_there(registry):
    for step in itertools.count():
        done = step_kills.ends_within(step, record, registry, 12)
        recorded = blessed.versions(registry)
        whole = record(registry, 12)
        assert sorted(path.name for path in whole.rglob("*")) == sorted(PARTS)
        assert recorded in ([], [12]) and [path.name for path in pathlib.Path(registry).iterdir()] == ["12"]
        if done:
            break
        shutil.rmtree(registry)
    assert step > 10


def test_a_record_cut_short_of_another_version_goes(registry):
    (pathlib.Path(registry) / ".11.partial").mkdir(parents=True)
    record(registry, 12)
    assert [path.name for path in pathlib.Path(registry).iterdir()] == ["12"]


def test_old_versions_go_here_and_if_asked_where_they_are_served(registry, tmp_path):
    serving = tmp_path / "serving"
    for version in (2, 5, 7, 9, 11):  # 11: pushed, not recorded yet
        (serving / str(version)).mkdir(parents=True)
        if version in (5, 7, 9):
            record(registry, version)
    assert blessed.retain(registry, keep=2) == [5]  # what is served may be pinned
    assert blessed.versions(registry) == [7, 9] and blessed.versions(str(serving)) == [2, 5, 7, 9, 11]
    assert blessed.retain(registry, keep=2, serving=str(serving)) == []
    assert blessed.versions(str(serving)) == [7, 9, 11]
    assert not list(serving.glob(".*"))


def test_what_a_killed_removal_left_goes_with_the_next(registry, tmp_path):
    record(registry, 7)
    for folder in (registry, tmp_path / "serving"):
        (pathlib.Path(folder) / ".5.removed" / "model").mkdir(parents=True)
    assert blessed.retain(registry, keep=1, serving=str(tmp_path / "serving")) == []
    assert [each.name for each in pathlib.Path(registry).iterdir()] == ["7"]
    assert list((tmp_path / "serving").iterdir()) == []


def test_the_newest_record_comes_into_the_run(registry, tmp_path):
    for version in (9, 10):
        record(registry, version)
    base = run(tmp_path, registry)
    assert blessed.has_model(str(base)) and json.loads((base / blessed.CARD).read_text())["version"] == 10
    assert (base / "Format-Serving" / "file").read_text() == "export" and (base / "model" / "checkpoints").is_dir()


def test_a_run_goes_on_from_a_model_of_an_earlier_day(registry, tmp_path):
    for version in (9, 10):
        record(registry, version)
    # Repeated, the run of the 10th has the base that it had: it is not held against its own model.
    for date, base in (("2024-01-09", None), ("2024-01-10", 9), ("2024-01-11", 10)):
        assert blessed.base_of(registry, date) == base
    base = run(tmp_path, registry, "2024-01-10")
    assert json.loads((base / blessed.CARD).read_text())["version"] == 9


def test_days_that_a_blessed_run_of_an_earlier_date_looked_at_are_believed(registry):
    assert blessed.believed(registry, "2024-01-05") == set()
    record(registry, 1, window={"date": "2024-01-03", "dates": ["2024-01-01", "2024-01-03"]})  # without the 2nd
    record(registry, 2, window={"date": "2024-01-05", "dates": ["2024-01-03", "2024-01-04", "2024-01-05"]})
    assert blessed.believed(registry, "2024-01-05") == {"2024-01-01", "2024-01-03"}
    assert blessed.believed(registry, "2024-01-06") == {"2024-01-01", "2024-01-03", "2024-01-04", "2024-01-05"}


def test_a_first_run_is_said_to_be_one(registry, tmp_path):
    with pytest.raises(
        GateError, match=r"registry holds no blessed model .* say that this is the first run \(--first\)"
    ):
        run(tmp_path, registry)
    assert not blessed.has_model(str(run(tmp_path, registry, first=1)))
