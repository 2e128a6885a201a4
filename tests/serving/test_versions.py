import os
import pathlib
import shutil
import threading
import time
import types

import fakes
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

from hrlrec_tf.errors import ModelError
from serving import saved_model
from serving.loaded import ServedVersion
from serving.versions import ModelVersions


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return fakes.write_saved_model(tmp_path_factory.mktemp("good") / "1")


@pytest.fixture
def base(tmp_path: pathlib.Path, good: pathlib.Path) -> pathlib.Path:
    """A base folder with version 1."""
    shutil.copytree(good, tmp_path / "1")
    return tmp_path


@pytest.fixture
def model(base: pathlib.Path) -> ModelVersions:
    """Version 1 of `base`, live; its thread sleeps, so that a test decides when it looks."""
    model = ModelVersions(base, poll_seconds=3600)
    model.start()
    yield model
    model.stop()


def look_twice(model: ModelVersions) -> None:
    model.refresh()
    model.refresh()


def states(model: ModelVersions) -> dict[int, str]:
    return {status.version: ModelVersionStatus.State.Name(status.state) for status in model.statuses()}


def warmup_request(**inputs: list[bytes]) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = "score_examples"
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values, tf.string))
    return request


def test_the_newest_version_takes_over(base, model, good):
    shutil.copytree(good, base / "3")
    shutil.copytree(good, base / "10")
    model.refresh()
    assert model.live.number == 1, "a folder seen once may still be being written"
    model.refresh()
    assert model.live.number == 10
    assert states(model) == {1: "END", 10: "AVAILABLE"}


def test_loading_rests_only_while_another_version_answers(base, good, monkeypatch):
    rested = []
    monkeypatch.setattr(saved_model, "time", types.SimpleNamespace(perf_counter=time.perf_counter, sleep=rested.append))
    model = ModelVersions(base, poll_seconds=0)
    model.start()
    assert not any(rested)
    shutil.copytree(good, base / "2")
    look_twice(model)
    assert model.live.number == 2 and any(rested)


def test_warm_up_has_a_lower_priority_than_calls(base, monkeypatch):
    priorities = []
    warm_up = ServedVersion._warm_up

    def watched(self, path):
        priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return warm_up(self, path)

    monkeypatch.setattr(ServedVersion, "_warm_up", watched)
    ServedVersion.load(base / "1").close()
    assert priorities[0] > os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_removing_the_newest_brings_the_one_before_back(base, model, good):
    shutil.copytree(good, base / "2")
    look_twice(model)
    shutil.rmtree(base / "2")
    model.refresh()
    assert model.live.number == 1


def test_a_live_version_outlives_its_folder(base, model):
    shutil.rmtree(base / "1")
    look_twice(model)
    assert model.live.number == 1
    request = warmup_request(examples=[])
    assert tf.make_ndarray(model.live.predict(request).outputs["q_item"]).shape == (0, 10)


def test_a_half_copied_version_is_left_alone(base, model, good):
    (base / "2" / "variables").mkdir(parents=True)
    look_twice(model)
    assert states(model) == {1: "AVAILABLE"}
    shutil.copy(good / "saved_model.pb", base / "2")
    for file in sorted((good / "variables").iterdir()):
        model.refresh()
        assert model.live.number == 1
        shutil.copy(file, base / "2" / "variables")
    look_twice(model)
    assert states(model) == {1: "END", 2: "AVAILABLE"}


@pytest.mark.parametrize(
    "file", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
def test_a_broken_version_is_refused_until_its_files_change(base, model, good, file, caplog):
    shutil.copytree(good, base / "2")
    (base / "2" / file).write_bytes((good / file).read_bytes()[:-1])
    look_twice(model)
    look_twice(model)
    assert model.live.number == 1
    assert states(model) == {1: "AVAILABLE", 2: "END"}
    assert model.statuses()[0].status.error_message
    assert caplog.text.count("version 2 is refused") == 1
    shutil.copy(good / file, base / "2" / file)
    look_twice(model)
    assert model.live.number == 2


def test_other_folders_are_no_versions(base, model, good):
    for name in (".2.partial", "2.tmp", "02", "latest", "-3", "٣"):
        shutil.copytree(good, base / name)
    (base / "4").write_text("a file")
    look_twice(model)
    assert model.live.number == 1 and states(model) == {1: "AVAILABLE"}


def test_warm_up_requests_are_replayed(base, model, good):
    shutil.copytree(good, base / "2")
    fakes.write_warmup(base / "2", warmup_request(examples=[]), warmup_request(examples=[]))
    look_twice(model)
    assert model.live.number == 2


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (warmup_request(), "needs inputs that the request lacks: examples"),
        (warmup_request(examples=[b"no example"]), "parse"),
    ],
)
def test_a_version_that_fails_its_warm_up_is_refused(base, model, good, request_, reason):
    shutil.copytree(good, base / "2")
    fakes.write_warmup(base / "2", request_)
    look_twice(model)
    assert model.live.number == 1
    assert reason in model.statuses()[0].status.error_message


def test_an_older_version_serves_when_the_newest_is_broken_from_the_start(base, good):
    shutil.copytree(good, base / "2")
    (base / "2" / "saved_model.pb").write_bytes(b"broken")
    model = ModelVersions(base, poll_seconds=3600)
    model.start()
    assert model.live.number == 1
    model.stop()


def test_only_broken_versions(base):
    (base / "1" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ModelError, match=f"{base / '1'}: cannot be served: it has no graph with the tag 'serve'"):
        ModelVersions(base, poll_seconds=3600).start()
