"""`hrlrec benchmark serve` on a fake model, its figures from known contestants."""

import contextlib
import json
import math
import pathlib
import shutil

import fakes
import numpy as np
import pytest
import sessions
import tensorflow as tf
import tiny
from tensorflow.core.protobuf import meta_graph_pb2

from hrlrec_tf import cli
from hrlrec_tf.benchmark import verb
from hrlrec_tf.errors import ConfigError, ModelError
from hrlrec_tf.features import CANDIDATE, FeatureSpec
from serving import tensors
from serving.benchmark import contest, measure, models, report, worker
from serving.benchmark.load import Samples
from serving.benchmark.plan import DEEPFM, HRLREC, Plan, base_of
from serving.benchmark.requests import Requests, ids_only
from serving.benchmark.sweep import sweep
from serving.client import RankingError


class InThisProcess(contextlib.AbstractContextManager):
    """A contestant that needs no process, and no second import of TensorFlow."""

    def __init__(self, kind, folder, data, quick, module):
        assert module == worker.__name__
        self._known = worker.questions(kind, str(data), quick)

    def ask(self, do, **options):
        return json.loads(json.dumps(self._known[do](**options)))

    def __exit__(self, *_):
        return None


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> pathlib.Path:
    """A fake model that takes what the tiny sessions hold, as version 3."""
    folder = tmp_path_factory.mktemp("benchmark-models")
    fakes.write_saved_model(folder / "3", sessions.SPEC)
    return folder


@pytest.fixture(scope="module")
def measured(tmp_path_factory, prepared, base):
    """Everything once, at tiny sizes, as the command line runs it; and the folder of its charts."""
    charts = tmp_path_factory.mktemp("charts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contest, "Contestant", InThisProcess)
        patch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", lambda count: None)
        patch.setattr(tf.config.threading, "set_inter_op_parallelism_threads", lambda count: None)
        words = f"serve --quick --rounds=2 --model-base={base} --data={prepared} --charts={charts}"
        return tiny.run_verb(verb.VERB, words), charts


def test_the_verb_measures_everything(measured, tmp_path):
    result, _ = measured
    cli.write_json(tmp_path / "speed.json", result)
    written = json.loads((tmp_path / "speed.json").read_text())
    for key in ("in_process", "saved_model", "grpc", "client"):
        assert (
            0 < written[key]["p50_ms"] <= written[key]["p99_ms"] and written[key]["calls"] == 2 * measure._QUICK_CALLS
        )
    assert written["in_process"]["cpu_p50_ms"] > 0
    assert written["grpc_overhead_ms"]["rank"] == pytest.approx(
        written["grpc"]["p50_ms"] - written["in_process"]["p50_ms"], abs=20
    )
    assert written["candidates"] <= 20 and written["history"] == 4
    assert written["throughput"] >= written["sweep"][0]["rate"] > 0
    assert written["throughput_batched"] is not None
    assert [point["candidates"] for point in written["curves"]["candidates"]] == [5, 20]
    assert all(point["rank_ms"] > 0 for points in written["curves"].values() for point in points)
    assert "not TensorFlow Serving's" in written["note"]


def test_a_swap_under_load_is_seen_and_fails_nothing(measured, base):
    swap = measured[0]["swap"]
    assert swap["versions"] == [3, 4] and swap["swaps"] == 1 and swap["errors"] == {}
    assert swap["before"]["calls"] > 0 and swap["during"]["calls"] > 0
    assert swap["all"]["calls"] >= swap["before"]["calls"] + swap["during"]["calls"]
    assert swap["rss_mb"][0] > 50
    assert [folder.name for folder in base.iterdir()] == ["3"], "the user's folder is copied, never written to"


def test_every_page_says_whose_figures_these_are(measured):
    result, charts = measured
    assert report.as_text(result).startswith(measure.NOTE)
    assert "in process: rank" in report.as_text(result) and "errors: none" in report.as_text(result)
    assert {file.name for file in charts.iterdir()} == {
        f"serve-by-{field}.svg" for field in ("candidates", "history", "batch", "rate")
    }
    assert "TensorFlow Serving" in (charts / "serve-by-rate.svg").read_text()
    soak = {**result, "soak": {"minutes": 0.5, **result["swap"]}}
    del soak["throughput_batched"]
    assert report.soak_text(soak).startswith(measure.NOTE) and "soak of 0.5 minutes" in report.soak_text(soak)


def test_load_on_a_running_server(embedded, tmp_path, capsys):
    request = {"user_id": "u", "timestamp": 1, "candidates": [{"item_id": "a", "channel": "news"}]}
    (tmp_path / "request.json").write_text(json.dumps(request))
    words = f"serve --quick --address={embedded.address} --request={tmp_path / 'request.json'}"
    result = tiny.run_verb(verb.VERB, words)
    assert result["grpc"]["calls"] == 5 and result["throughput"] > 0 and result["errors"] == {}
    printed = capsys.readouterr().out
    assert f"Figures of the server at {embedded.address}" in printed and "in process" not in printed
    with pytest.raises(RankingError, match="does not say what 'other' takes"):
        tiny.run_verb(verb.VERB, f"{words} --model-name=other")


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ("--address=localhost:1", ConfigError, "--address and --request belong together"),
        ("--address=localhost:1 --request=FILE --soak=1", ConfigError, "--soak does not go with --address"),
        ("--swaps=2", ConfigError, "--swaps 2 belongs to a soak"),
        ("--soak=0", ConfigError, "--soak takes up to 1440 minutes"),
        ("--model-base=FOLDER", ConfigError, "--model-base and --data belong together"),
        ("--model-base=FOLDER --data=SESSIONS", ModelError, "FOLDER: holds no version; write one with `hrlrec export"),
    ],
)
def test_bad_usage(tmp_path, prepared, words, error, message):
    (tmp_path / "request.json").write_text('{"user_id": "u", "timestamp": 1, "candidates": []}')
    words = words.replace("FILE", str(tmp_path / "request.json")).replace("FOLDER", str(tmp_path))
    words = words.replace("SESSIONS", str(prepared))
    with pytest.raises(error, match=message.replace("FOLDER", str(tmp_path))):
        tiny.run_verb(verb.VERB, f"serve {words}")


class Known:
    """Load on a server that answers `capacity` calls per second and queues the rest."""

    def __init__(self, capacity):
        self._capacity = capacity

    def closed_loop(self, callers=1, *, seconds=None):
        return self.open_loop(2 * self._capacity, seconds)

    def open_loop(self, rate, seconds):
        due = np.arange(0, seconds, 1 / rate)
        done = due.copy()
        for call in range(len(due)):
            free = done[call - 1] if call else 0.0
            done[call] = max(due[call], free) + 1 / self._capacity
        return Samples(due, due, done, ["OK"] * len(due))


def test_the_sweep_finds_the_capacity_of_each_server():
    found = sweep({"": Known(100), "_batched": Known(400)})
    assert found["throughput"] == pytest.approx(100, rel=0.05)
    assert found["throughput_batched"] == pytest.approx(400, rel=0.05)
    # 1.1 times the capacity is offered too, and not kept up with.
    assert found["sustained"] == pytest.approx(100, rel=0.05)
    assert found["sweep"][0]["p99_ms"] == pytest.approx(10) and found["sweep"][-1]["p99_ms"] > 100


def test_the_figures_of_a_swap_by_hand():
    class Contestants:
        def under_load(self, rate, seconds, swaps):
            due = np.arange(100.0)
            latency = np.where((due >= 50) & (due < 61), 0.3, 0.1)
            status = ["OK"] * 99 + ["UNAVAILABLE"]
            states = [
                {"version": 1 + (second > 60), "rss_mb": 100 + second / 6, "moment": second} for second in range(100)
            ]
            return Samples(due, due, due + latency, status), [(50.0, 60.0)], states

    found = measure.swap(Contestants(), rate=1, seconds=100)
    assert found["before"]["calls"] == 50 and found["before"]["p99_ms"] == pytest.approx(100)
    assert found["during"]["calls"] == 11 and found["during"]["p99_ms"] == pytest.approx(300)
    assert found["p99_ratio"] == pytest.approx(3) and found["errors"] == {"UNAVAILABLE": 1}
    assert found["rss_mb_per_minute"] == pytest.approx(10)
    assert found["rss_mb_between_swaps"] == pytest.approx([100 + 24.5 / 6, 100 + 79.5 / 6])
    assert found["versions"] == [1, 2] and found["swap_seconds"] == [10.0]


def test_the_overhead_is_compared_round_by_round():
    # In the second round the machine is ten times as slow; the third has an outlier.
    grpc, alone = [[0.003], [0.030], [0.003, 0.003, 9.0]], [[0.002], [0.029], [0.002]]
    assert measure._difference(grpc, alone) == pytest.approx(1.0)


@pytest.mark.parametrize("drawn", [False, True])
def test_requests_have_the_sizes_that_were_asked_for(prepared, drawn):
    plan = Plan(str(prepared) if drawn else None, quick=True, candidates=20, history=4)
    spec = sessions.SPEC if drawn else plan.workload.spec
    requests = Requests(plan).make(6, candidates=7, history=2)
    assert len(requests) == 6 and requests == Requests(plan).make(6, candidates=7, history=2)
    for request in requests:
        assert len({candidate.item_id for candidate in request.candidates}) == (len(request.candidates) if drawn else 7)
        assert len(request.history) == 2
    made = tensors.to_tensors(requests, _inputs(spec))
    assert tf.make_ndarray(made["candidate_item_id"]).shape[0] == 6


def test_requests_of_ids_alone_name_the_items_and_nothing_else_of_them():
    requests = Requests(Plan(quick=True)).make(2, candidates=5, history=3)
    known = [f"{CANDIDATE}{name}" for name in ("channel", "tags", "item_author")]
    known += ["history_channel", "history_tags", "history_item_author"]
    inputs = {name: info for name, info in _inputs(Plan(quick=True).workload.spec).items() if name not in known}
    made, full = (tensors.to_tensors(each, inputs) for each in (ids_only(requests), [_bare(r) for r in requests]))
    assert made == full


def _bare(request):
    return type(request).from_dict(
        {
            **request.to_dict(),
            "candidates": [{"item_id": c.item_id, "channel": "x"} for c in request.candidates],
            "history": [
                {k: v for k, v in row.items() if k not in ("tags", "item_author")}
                for row in request.to_dict()["history"]
            ],
        }
    )


def _inputs(spec: FeatureSpec) -> dict[str, meta_graph_pb2.TensorInfo]:
    return {
        name: meta_graph_pb2.TensorInfo(
            dtype=tf.as_dtype(kind.dtype).as_datatype_enum, tensor_shape=tf.TensorShape([None] * rank).as_proto()
        )
        for name, (kind, rank) in spec.serving_inputs().items()
    }


def test_deepfm_has_ten_fields():
    from hrlrec_tf.baselines.ctr.fields import SessionRows

    workload = Plan().workload
    assert SessionRows(workload.spec, workload.sizes).fields.count == 10
    assert workload.spec.history_length == 41 and Plan().candidates == 800


def test_one_core_in_a_process_of_its_own(tmp_path, base, prepared):
    shutil.copytree(base / "3", base_of(tmp_path, HRLREC) / "3")
    with contest.Contest(tmp_path, Plan(str(prepared), True, candidates=6, requests=2)) as contestants:
        assert contestants.ask(worker.IN_PROCESS, "known") == ["rank"]
        times = contestants.ask(worker.IN_PROCESS, "run", call="rank", repeat=3, batch=2)
    assert len(times) == 3 and all(each["wall"] > 0 for each in times)


@pytest.mark.slow
def test_the_models_are_built(tmp_path):
    models.build(tmp_path, Plan(quick=True))
    for model, signature in ((HRLREC, "rank"), (HRLREC, "rank_ids"), (DEEPFM, "score")):
        assert signature in tf.saved_model.load(str(base_of(tmp_path, model) / "1")).signatures


@pytest.mark.slow
def test_a_soak_of_half_a_minute(base, prepared):
    result = measure.soak(0.5, 3, str(base), str(prepared), quick=True)
    soak = result["soak"]
    assert soak["errors"] == {} and soak["swaps"] == 3 and soak["versions"] == [3, 4, 5, 6]
    assert soak["all"]["calls"] > 100 and math.isfinite(soak["rss_mb_per_minute"])
    assert soak["rss_mb"][-1] < soak["rss_mb"][0] + 200
