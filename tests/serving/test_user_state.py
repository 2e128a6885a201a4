"""Golden requests: a user's state says what the Beam job's session says, field by field; the model answers alike."""

import json
import pathlib
import sys

import fakes
import numpy as np
import pyarrow as pa
import pytest
import tiny

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "data"))
import fake_service  # noqa: E402
import logs  # noqa: E402

from hrlrec_tf.data import prepare, requests, schema, user_states, user_states_verb  # noqa: E402
from hrlrec_tf.data.config import DatasetConfig, ItemCountsRule  # noqa: E402
from hrlrec_tf.data.rules import Bots  # noqa: E402
from hrlrec_tf.errors import ConfigError  # noqa: E402
from hrlrec_tf.features import HISTORY, PROFILE, FeatureSpec  # noqa: E402
from hrlrec_tf.simulator import logs as simulated  # noqa: E402
from hrlrec_tf.simulator.config import WorldConfig  # noqa: E402
from serving import tensor_values, tensors, wire  # noqa: E402
from serving.client import RankingClient  # noqa: E402
from serving.messages import Candidate, RankRequest, RequestError  # noqa: E402
from serving.server import EmbeddedServer  # noqa: E402
from serving.user_state import UserState, UserStateFile  # noqa: E402

SPLITS = ("train", "validation", "eval")
BOT = "bot"


def simulated_log(folder):
    simulated.write_log(WorldConfig(users=12, items=60, days=4, requests_per_day=60), folder, progress=False)
    return DatasetConfig(log=str(folder))


def hostile_log(folder):
    """Ties, requests that overlap in time, lists longer than T, unicode ids, several rows at one position."""
    logs.write_parquet(logs.random_rows(3, requests=120), folder)
    return DatasetConfig(log=str(folder), list_length=4, sequence_length=9, max_tags=2, feedback_delay_seconds=90)


def unclean_log(folder):
    """Events that came twice, at another position of their list, and a bot, which is a person on the next day."""
    rows = logs.random_rows(5, requests=120)
    twice = [{**row, "position": row["position"] + 50, "clicks": 9} for row in rows[::3]]
    bot = [{**rows[0], "user_id": BOT, "request_id": f"b{n}", "timestamp": logs.START + n * 1000} for n in range(300)]
    late = [{**row, "request_id": f"l{n}", "timestamp": row["timestamp"] + 86_400_000} for n, row in enumerate(bot[:3])]
    logs.write_parquet([*rows, *twice, *bot, *late], folder)
    return DatasetConfig(log=str(folder), deduplicate=True, bots=Bots(200))


@pytest.fixture(scope="module", params=[simulated_log, hostile_log, unclean_log])
def log(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp("log") / "log")


@pytest.fixture(scope="module")
def prepared(log, tmp_path_factory):
    """Sessions of the log."""
    out = tmp_path_factory.mktemp("prepared") / "sessions"
    prepare.prepare(log, str(out), logs.IN_MEMORY, show_progress=False)
    return out


@pytest.fixture(scope="module")
def sessions(prepared):
    """Values by feature, of each list once; of a list across a time cut both halves know the same."""
    return {s["request_id"][0]: s for split in SPLITS for s in logs.read_sessions(prepared, split)}


def spec_of(prepared) -> FeatureSpec:
    return schema.from_schema(schema.read(prepared / "schema.pbtxt"))


def rows_of(log: DatasetConfig) -> pa.Table:
    return pa.concat_tables([pa.parquet.read_table(path) for path in sorted(pathlib.Path(log.log).glob("*.parquet"))])


def inputs(spec: FeatureSpec, request: RankRequest) -> dict[str, list]:
    """What the model is sent of one request: name -> values."""
    info = wire._CLASSES["TensorInfo"]
    signature = {}
    for name, (kind, rank) in spec.serving_inputs().items():
        signature[name] = info(dtype=fake_service.DTYPES[kind].as_datatype_enum)
        for _ in range(rank):
            signature[name].tensor_shape.dim.add(size=-1)
    call = wire.PredictRequest()
    tensors.fill(call.inputs, [request], tensors.inputs_of(signature), history_length=spec.history_length)
    return {name: tensor_values.to_array(proto)[0] for name, proto in call.inputs.items()}


def check(spec: FeatureSpec, state: dict, session: dict) -> None:
    """Every history and profile feature of the session, in its own order, equals what the request carries."""
    sent = inputs(spec, UserState.from_dict(state).request(state["timestamp"], [Candidate("a", "c")]))
    for name in (*spec.history_rows, *PROFILE):
        expected = list(session[name]) or [spec.session[name].absent]  # nothing travels as one empty entry
        if name == "history_tags":
            rows = np.array(expected, object).reshape(spec.history_length, spec.max_tags)
            expected = ["|".join(tag for tag in row if tag) for row in rows]
        found = [value.decode() if isinstance(value, bytes) else value for value in sent[name].tolist()]
        assert found == pytest.approx(expected) if expected and isinstance(expected[0], float) else found == expected, (
            name
        )


def test_states_say_what_sessions_say(log, prepared, sessions):
    spec = spec_of(prepared)
    states = user_states.UserStates(spec, log)
    assert not states.update(rows_of(log))
    users, times = zip(*((s["user_id"][0], s["timestamp"][0]) for s in sessions.values()))
    assert len(users) > 100 and sum(s[HISTORY + "item_id"][-1] != "" for s in sessions.values()) > 80
    for state, session in zip(states.all_at(users, times), sessions.values()):
        check(spec, state, session)


def test_rows_may_come_one_by_one(log, prepared, sessions):
    """As a feed learns them: list after list, each again when its feedback is known, the last ones late."""
    spec = spec_of(prepared)
    states = user_states.UserStates(spec, log)
    rows = rows_of(log)
    order = np.argsort(rows["timestamp"].to_numpy(), kind="stable")
    for part in np.array_split(np.roll(order, 40), 7):
        states.update(rows.take(pa.array(part)))
        states.update(rows.take(pa.array(part[:5])))
    for session in list(sessions.values())[::5]:
        check(spec, states.at(session["user_id"][0], session["timestamp"][0]), session)


def test_the_exported_file_holds_the_same(log, prepared, sessions, tmp_path, capsys):
    spec, last = spec_of(prepared), {}
    for session in sessions.values():
        if session["timestamp"][0] >= last.get(session["user_id"][0], {"timestamp": [0]})["timestamp"][0]:
            last[session["user_id"][0]] = session
    for session in list(last.values())[:2]:
        summary = user_states.export(
            log, str(tmp_path / "states.jsonl"), session["timestamp"][0], logs.IN_MEMORY, False
        )
        states = UserStateFile(tmp_path / "states.jsonl")
        assert len(states) == summary["users"] >= 5
        raw = [json.loads(line) for line in (tmp_path / "states.jsonl").read_text().splitlines()]
        check(spec, next(state for state in raw if state["user_id"] == session["user_id"][0]), session)
        assert states[session["user_id"][0]].history[-1].item_id == session["history_item_id"][-1]
    assert [path.name for path in tmp_path.iterdir()] == ["states.jsonl"]


def test_partitions_of_several_buckets_hold_the_same(tmp_path, monkeypatch):
    logs.write_parquet(logs.random_rows(4, users=7), tmp_path / "log")
    monkeypatch.setattr("hrlrec_tf.data.buckets.ROWS_PER_BUCKET", 8)
    exported = []
    for bits in (9, 1):
        monkeypatch.setattr("hrlrec_tf.data.buckets.MAX_PARTITION_BITS", bits)
        log, out = DatasetConfig(log=str(tmp_path / "log")), tmp_path / "states.jsonl"
        summary = user_states.export(log, str(out), logs.START + 10**9, logs.IN_MEMORY, False)
        exported.append((summary, out.read_text(encoding="utf-8")))
    assert exported[0] == exported[1] and summary["users"] == 7


def test_the_model_answers_alike(log, prepared, tmp_path):
    """A request of a state and one of a session are one request to the model."""
    if log.list_length != 10:
        pytest.skip("one log is enough here")
    spec = spec_of(prepared)
    states = user_states.UserStates(spec, log)
    states.update(rows_of(log))
    fakes.write_saved_model(tmp_path / "1", spec)
    with EmbeddedServer(tmp_path, port=0) as server, RankingClient(server.address) as client:
        for raw in requests.sample_requests(prepared, count=5, per_channel=5):
            golden = RankRequest.from_dict(raw)
            state = UserState.from_dict(states.at(golden.user_id, golden.timestamp))
            own = state.request(golden.timestamp, golden.candidates, golden.features)
            assert own == golden
            first, second = client.rank(golden), client.rank(own)
            assert first.items == second.items and len(first.items) == 10
            assert first.items[0].q_item == max(c.impressions for c in golden.profile.channels.values())


def test_item_counts_need_all_users(tmp_path):
    logs.write_parquet(logs.random_rows(1), tmp_path / "log")
    log = DatasetConfig(log=str(tmp_path / "log"), item_counts=ItemCountsRule(refresh_seconds=60))
    prepare.prepare(log, str(tmp_path / "sessions"), logs.IN_MEMORY, show_progress=False)
    spec = spec_of(tmp_path / "sessions")
    with pytest.raises(ConfigError, match="export states with `hrlrec user-states`"):
        user_states.UserStates(spec)
    sessions = [s for split in SPLITS for s in logs.read_sessions(tmp_path / "sessions", split)]
    session = max(sessions, key=lambda s: s["timestamp"][0])
    user_states.export(log, str(tmp_path / "states"), session["timestamp"][0], logs.IN_MEMORY, False)
    lines = map(json.loads, (tmp_path / "states").read_text().splitlines())
    check(spec, next(state for state in lines if state["user_id"] == session["user_id"][0]), session)


def test_a_bot_has_the_rows_of_its_other_days(tmp_path):
    log = unclean_log(tmp_path / "log")
    prepare.prepare(log, str(tmp_path / "sessions"), logs.IN_MEMORY, show_progress=False)
    states = user_states.UserStates(spec_of(tmp_path / "sessions"), log)
    rows = rows_of(log)
    states.update(rows.filter(pa.compute.less(rows["timestamp"], logs.START + 80_000_000)))
    assert states.at(BOT, logs.START + 10**9)["history"] == []  # nothing but a bot's day
    states.update(rows)
    assert len(states.at(BOT, logs.START + 10**9)["history"]) == 3


def test_nothing_known(prepared, log):
    states = user_states.UserStates(spec_of(prepared), log)
    assert states.at("nobody", 5) == {
        "user_id": "nobody",
        "timestamp": 5,
        "history": [],
        "profile": {"channels": {}, "tags": {}},
    }
    rejected = states.update(pa.table({"user_id": ["u"], "request_id": ["r"], "position": [0], "timestamp": [10**12],
                                       "item_id": ["i"], "channel": ["c"], "clicks": [0]}))  # fmt: skip
    assert [row.reason for row in rejected] == ["position_below_one"]
    assert states.at("u", 10**12 + 1)["history"] == []


def test_a_state_of_the_future_is_refused():
    with pytest.raises(RequestError, match="as of 10, later than its request of 9"):
        UserState("u", 10).request(9)


def test_files_that_hold_no_states(tmp_path):
    with pytest.raises(RequestError, match="cannot be read"):
        UserStateFile(tmp_path / "absent")
    (tmp_path / "file").write_text('{"user_id": "u"}\n[1]\n')
    with pytest.raises(RequestError, match="file, line 2: is no user's state"):
        UserStateFile(tmp_path / "file")


def test_the_verb(tmp_path, capsys):
    logs.write_parquet(logs.random_rows(1), tmp_path / "log")
    words = f"--log={tmp_path / 'log'} --out={tmp_path / 'states'} --at 2023-11-15"
    result = tiny.run_verb(user_states_verb.VERB, words, "--", *logs.IN_MEMORY)
    assert result["users"] == 5 and result["timestamp"] == 1_700_006_400_000
    assert "states of 5 users in" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        tiny.run_verb(user_states_verb.VERB, f"{words} --at noon")
    with pytest.raises(ConfigError, match="flink leaves open: flink_master"):
        tiny.run_verb(user_states_verb.VERB, f"{words} --runner-options flink")
