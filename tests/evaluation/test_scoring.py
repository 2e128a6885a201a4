import numpy as np
import pandas as pd
import pytest
import sessions
import tensorflow as tf
import tiny

from hrlrec_tf.agents.builder import build_network
from hrlrec_tf.evaluation import metrics, scoring
from hrlrec_tf.evaluation.scoring import score_sessions


@pytest.fixture(scope="module")
def network(reader):
    return build_network(tiny.config(), reader)


def test_one_row_per_impression_of_the_split(reader, network, tmp_path, eager):
    rng = np.random.default_rng(0)
    cut = sessions.random_session(rng, rows=3)
    cut |= {"profile_channel_impressions": [30, 12]}
    cut |= {"weight": [0.0, 1.0, 1.0, 0.0], "clicks": [1, 2, 0, 0], "position": [1, 2, 3, 0], "user_id": ["ünicode"]}
    other = sessions.random_session(rng, rows=1) | {"clicks": [1, 0, 0, 0]}
    file = sessions.write(tmp_path / "s.gz", [sessions.to_example(session) for session in (cut, other)])
    rows = score_sessions(network, reader, [file], batch_size=1)
    assert rows["request_id"].tolist() == [*cut["request_id"] * 2, *other["request_id"]]
    assert rows["user_id"].tolist() == ["ünicode", "ünicode", *other["user_id"]]
    assert rows["channel"].tolist() == [*cut["channel"][1:3], other["channel"][0]]
    seen = sum(other["profile_channel_impressions"])
    assert rows["history_impressions"].tolist() == [42, 42, seen]
    assert rows["position"].tolist() == [2, 3, 1] and rows["label"].tolist() == [1, 0, 1]
    outputs = network(tiny.read(reader, cut, other))
    for column, name in {"prediction": "click_probability", "q_channel": "q_channel", "q_item": "q_item"}.items():
        expected = [*outputs[name].numpy()[0, 1:3], outputs[name].numpy()[1, 0]]
        np.testing.assert_allclose(rows[column], expected, atol=1e-5)


@pytest.mark.parametrize("empty", ["no lists", "no rows of the split"])
def test_nothing_to_score(reader, network, tmp_path, empty, eager):
    session = sessions.random_session(np.random.default_rng(0)) | {"weight": [0.0] * 4}
    examples = [] if empty == "no lists" else [sessions.to_example(session)]
    rows = score_sessions(network, reader, [sessions.write(tmp_path / "s.gz", examples)])
    assert len(rows) == 0
    assert np.isnan(metrics.click_metrics(rows)["auc"])


def test_any_model_that_says_click_probabilities(reader, tmp_path, eager, monkeypatch):
    """Baselines have no Q; rows come in pieces."""
    monkeypatch.setattr(scoring, "_CHUNK_ROWS", 8)
    rng = np.random.default_rng(0)
    file = sessions.write(
        tmp_path / "s.gz", [sessions.to_example(sessions.random_session(rng, rows=4)) for _ in range(5)]
    )

    def by_position(batch):
        return {"click_probability": 1 / tf.cast(batch["position"], tf.float32), "other": batch["position"]}

    frames = list(scoring.score_batches(by_position, reader, [file], batch_size=1))
    assert [len(frame) for frame in frames] == [8, 8, 4]
    rows = pd.concat(frames)
    assert set(rows) == set("request_id user_id channel position history_impressions prediction label".split())
    np.testing.assert_allclose(rows["prediction"], 1 / rows["position"], rtol=1e-6)
