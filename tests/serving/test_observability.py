"""What operators see: health, reflection, metrics, the log of calls."""

import json
import logging
import shutil
import threading
import urllib.request

import grpc
import pytest
import toy
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from hrlrec_tf.errors import ConfigError
from serving.server import EmbeddedServer

METRICS = "/monitoring/prometheus/metrics"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def page(server: EmbeddedServer) -> str:
    with urllib.request.urlopen(f"http://{server.rest_address}{METRICS}", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return answer.read().decode()


@pytest.mark.parametrize(
    "service",
    ["", "PredictionService", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"],
)
def test_health(toy_channel, service):
    stub = health_pb2_grpc.HealthStub(toy_channel)
    assert stub.Check(health_pb2.HealthCheckRequest(service=service)).status == SERVING
    with pytest.raises(grpc.RpcError) as refused:
        stub.Check(health_pb2.HealthCheckRequest(service="other"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_who_watches_health_sees_the_end(toy_versions):
    server = EmbeddedServer(toy_versions, 0, model_name=toy.NAME).start()
    with grpc.insecure_channel(server.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert next(watch).status == SERVING
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        assert next(watch).status == NOT_SERVING
        watch.cancel()
        stopper.join(10)


def test_reflection(toy_channel):
    stub = reflection_pb2_grpc.ServerReflectionStub(toy_channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = stub.ServerReflectionInfo(iter([request]))
    assert {service.name for service in answer.list_services_response.service} == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    }
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol="tensorflow.serving.PredictionService")
    (answer,) = stub.ServerReflectionInfo(iter([request]))
    assert answer.file_descriptor_response.file_descriptor_proto


def test_metrics_have_tensorflow_servings_names(toy_server, toy_channel):
    def count(status: str, model: str = "toy") -> float:
        name = ":tensorflow:serving:request_count"
        return toy_server.metrics.value(name, model_name=model, status=status) or 0

    before = {status: count(status) for status in ("OK", "INVALID_ARGUMENT")}
    stub = toy.stub(toy_channel)
    stub.Predict(toy.scaling([1.0]))
    toy.http(toy_server.rest_address, "/v1/models/toy:predict", {"instances": [[1]]})
    for request in (toy.scaling([-1.0]), toy.request(name="made up by a client")):
        with pytest.raises(grpc.RpcError):
            stub.Predict(request)
    assert count("OK") == before["OK"] + 2
    assert count("INVALID_ARGUMENT") == before["INVALID_ARGUMENT"] + 1
    text = page(toy_server)
    assert "made up" not in text and count("NOT_FOUND", "(unknown)") >= 1
    for line in (
        '\n:tensorflow:serving:request_count{model_name="toy",status="OK"} ',
        '\n:tensorflow:serving:request_latency_bucket{API="Predict",entrypoint="GRPC",le="18.0",model_name="toy"} ',
        '\n:tensorflow:serving:request_latency_count{API="Predict",entrypoint="REST",model_name="toy"} ',
        '\nhrlrec_serving_live_version{model="toy",version="3"} 1.0\n',
        '\nhrlrec_serving_loads_total{model="toy",outcome="loaded"} 1.0\n',
        "\nhrlrec_serving_queue_length 0.0\n",
        "\nhrlrec_serving_running 0.0\n",
    ):
        assert line in text, line


def test_swaps_are_counted(toy_versions, tmp_path):
    shutil.copytree(toy_versions / "1", tmp_path / "1")
    server = EmbeddedServer(tmp_path, 0, model_name=toy.NAME, poll_seconds=0)
    server._models.start()
    shutil.copytree(toy_versions / "2", tmp_path / "2")
    for _ in range(2):
        server._models._models[toy.NAME].refresh()
    assert server.metrics.value("hrlrec_serving_swaps_total", model=toy.NAME) == 1
    assert server.metrics.value("hrlrec_serving_live_version", model=toy.NAME, version="2") == 1
    assert server.metrics.value("hrlrec_serving_live_version", model=toy.NAME, version="1") is None


def test_metrics_need_to_be_enabled_and_a_port(toy_versions, tmp_path):
    config = tmp_path / "monitoring.txt"
    config.write_text("prometheus_config { enable: true }")
    with pytest.raises(ConfigError, match="metrics are served on the REST port; give one"):
        EmbeddedServer(toy_versions, 0, monitoring_config_file=config)
    config.write_text("prometheus_config { enable: false }")
    with EmbeddedServer(toy_versions, 0, model_name=toy.NAME, rest_port=0, monitoring_config_file=config) as server:
        assert toy.http(server.rest_address, METRICS)[0] == 404


def logged(caplog: pytest.LogCaptureFixture) -> list[dict]:
    return [json.loads(record.message) for record in caplog.records if record.name == "serving.call_log"]


def test_one_line_per_call(toy_server, toy_channel, caplog):
    caplog.set_level(logging.INFO, "serving.call_log")
    stub = toy.stub(toy_channel)
    stub.Predict(toy.request("text", text=[b"a secret user id", b"b"]), metadata=[("x-request-id", "r1" * 100)])
    with pytest.raises(grpc.RpcError):
        stub.Predict(toy.scaling([-1.0], version=3))
    toy.http(toy_server.rest_address, "/v1/models/toy:predict", {"instances": [[1]]}, **{"X-Request-Id": "r2"})
    first, second, third = logged(caplog)
    assert first.pop("milliseconds") > 0 and second.pop("milliseconds") > 0 and third.pop("milliseconds") > 0
    common = {"model": "toy", "entrypoint": "GRPC"}
    assert first == common | {
        "version": 3,
        "signature": "text",
        "batch": 2,
        "status": "OK",
        "request_id": ("r1" * 100)[:128],
    }
    assert second == common | {
        "version": None,
        "signature": "serving_default",
        "batch": 1,
        "status": "INVALID_ARGUMENT",
    }
    assert third == {
        "model": "toy",
        "entrypoint": "REST",
        "version": 3,
        "signature": "serving_default",
        "batch": 1,
        "status": "OK",
        "request_id": "r2",
    }
    assert "secret" not in caplog.text


def test_no_call_is_logged_unless_asked_for(toy_versions, caplog):
    caplog.set_level(logging.INFO, "serving.call_log")
    with EmbeddedServer(toy_versions, 0, model_name=toy.NAME) as server:
        with grpc.insecure_channel(server.address) as channel:
            toy.stub(channel).Predict(toy.scaling([1.0]))
    assert logged(caplog) == []
