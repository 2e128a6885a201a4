"""The Pusher: one version of a model, however often its push is killed or repeated."""

import itertools
import pathlib

import pipeline_fakes as fakes
import pytest
import step_kills
import tensorflow as tf
from tfx import v1 as tfx
from tfx.utils import path_utils, proto_utils

from hrlrec_tf import export
from tfx_pipeline import blessed, pusher
from tfx_pipeline.reports import GateError

KINDS = tfx.types.standard_artifacts
FILES = ("assets/item_id", "fingerprint.pb", "saved_model.pb", "variables/variables.index")
OLD, NOW = 1_700_000_000, 1_800_000_000


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Stands still."""
    monkeypatch.setattr(pusher.time, "time", lambda: NOW + 0.5)


def write_model(folder, weights="a", files=FILES):
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name} of {weights}")
    return str(folder)


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model")


@pytest.fixture
def serving(tmp_path):
    """A folder in which an older model is served."""
    write_model(tmp_path / "serving" / str(OLD), "old")
    return tmp_path / "serving"


def served(folder):
    """Versions that are whole; whatever else is in the folder fails the test."""
    found = {path.name: {str(file.relative_to(path)) for file in path.rglob("*.*")} for path in folder.iterdir()}
    assert all(name.isdecimal() and files >= {"saved_model.pb"} for name, files in found.items()), found
    return sorted(map(int, found))


def test_a_model_is_pushed_whole_and_once(model, serving):
    assert [pusher.push(model, str(serving)) for _ in range(3)] == [NOW] * 3
    assert served(serving) == [OLD, NOW]
    assert all((serving / str(NOW) / name).read_text() == f"{name} of a" for name in FILES)
    assert pusher.push(str(serving / str(OLD)), str(serving)) == OLD


@pytest.mark.parametrize("changed", FILES)
def test_whatever_file_differs_another_model_is_another_version(model, serving, tmp_path, changed):
    pusher.push(model, str(serving))
    other = write_model(tmp_path / "other")
    (tmp_path / "other" / changed).write_text("of another training")
    assert pusher.push(other, str(serving)) == NOW + 1  # in the same second
    assert pusher.push(model, str(serving)) == NOW


def test_a_model_without_a_fingerprint_is_pushed_once_too(serving, tmp_path):
    models = [write_model(tmp_path / name, name, set(FILES) - {pusher.FINGERPRINT}) for name in ("a", "b", "a")]
    assert [pusher.push(each, str(serving)) for each in models] == [NOW, NOW + 1, NOW]


def test_a_version_is_greater_than_all_others_whatever_the_clock_says(model, serving):
    write_model(serving / str(NOW + 60), "newer")
    assert pusher.push(model, str(serving)) == NOW + 61
    write_model(serving / blessed.WITHDRAWN / str(NOW + 90), "withdrawn")
    assert pusher.push(write_model(serving.parent / "next", "next"), str(serving)) == NOW + 91


def test_a_withdrawn_model_is_not_pushed_again(model, serving):
    version = str(pusher.push(model, str(serving)))
    (serving / blessed.WITHDRAWN).mkdir()
    (serving / version).rename(serving / blessed.WITHDRAWN / version)
    with pytest.raises(GateError, match=f"version {version}, the model of this run, was withdrawn; run the next day"):
        pusher.push(model, str(serving))
    assert blessed.versions(str(serving)) == [OLD]


def test_where_a_rename_moves_file_by_file_half_a_version_goes_as_well(model, serving):
    write_model(serving / f".{NOW - 1}.partial", files=FILES[2:])
    write_model(serving / str(NOW - 1), files=FILES[:2])
    assert pusher.push(model, str(serving)) == NOW
    assert served(serving) == [OLD, NOW]


@pytest.mark.parametrize("later", [0, 7], ids=["in the same second", "later"])
def test_killed_at_any_step_the_rerun_ends_in_the_same_state(model, tmp_path, monkeypatch, later):
    """A version that the killed push brought is taken; else there was none, and the rerun brings it."""
    for step in itertools.count():
        folder = tmp_path / f"serving-{step}"
        write_model(folder / str(OLD), "old")
        done = step_kills.ends_within(step, pusher.push, model, str(folder))
        after = blessed.versions(str(folder))
        assert all((folder / str(version) / "saved_model.pb").exists() for version in after)
        with monkeypatch.context() as patch:
            patch.setattr(pusher.time, "time", lambda: NOW + later)
            version = pusher.push(model, str(folder))
        assert version == (NOW if NOW in after else NOW + later) and served(folder) == [OLD, version]
        if done:
            break
    assert step > 2 * len(FILES)  # each file is two


def run(folder, serving, model_blessed=1, infra_blessed=1):
    """The executor, as TFX calls it; returns its output."""
    inputs = {
        "model": fakes.artifact(KINDS.Model, folder),
        "model_blessing": fakes.artifact(KINDS.ModelBlessing, folder / "blessing"),
        "infra_blessing": fakes.artifact(KINDS.InfraBlessing, folder / "infra"),
    }
    inputs["model_blessing"].set_int_custom_property("blessed", model_blessed)
    inputs["infra_blessing"].set_int_custom_property("blessed", infra_blessed)
    pushed = fakes.artifact(KINDS.PushedModel, folder / "pushed")
    destination = tfx.proto.PushDestination(
        filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(serving))
    )
    pusher.Executor().Do(
        {name: [each] for name, each in inputs.items()},
        {"pushed_model": [pushed]},
        {"push_destination": proto_utils.proto_to_json(destination), "custom_config": "null"},
    )
    return pushed


def test_the_component_tells_the_version_of_an_export(tmp_path, serving):
    exported = pathlib.Path(path_utils.serving_model_path(str(tmp_path)))
    fakes.save_model(exported)
    outputs = [run(tmp_path, serving) for _ in range(2)]
    for pushed in outputs:
        assert pushed.get_int_custom_property("pushed") == 1
        assert pushed.get_string_custom_property("pushed_version") == str(NOW)
        assert pushed.get_string_custom_property("pushed_destination") == str(serving / str(NOW))
        assert (pathlib.Path(pushed.uri) / "saved_model.pb").exists()
    assert served(serving) == [OLD, NOW]
    fingerprint = tf.saved_model.experimental.read_fingerprint
    assert fingerprint(str(serving / str(NOW))) == fingerprint(str(exported))


@pytest.mark.parametrize("verdict", [{"model_blessed": 0}, {"infra_blessed": 0}])
def test_a_model_that_was_not_blessed_is_not_pushed(tmp_path, serving, verdict):
    write_model(pathlib.Path(path_utils.serving_model_path(str(tmp_path))))
    assert run(tmp_path, serving, **verdict).get_int_custom_property("pushed") == 0
    assert served(serving) == [OLD]


def test_exports_of_a_trained_model_have_fingerprints(model_dir, tmp_path):
    export.export_saved_model(str(model_dir), str(tmp_path / "export"))
    assert (tmp_path / "export" / pusher.FINGERPRINT).exists()
    assert pusher.push(str(tmp_path / "export"), str(tmp_path / "to")) == NOW
    assert pusher.push(str(tmp_path / "export"), str(tmp_path / "to")) == NOW
