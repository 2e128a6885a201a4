"""The bundled configurations on the real logs, where they are at hand."""

import collections

import numpy as np
import pandas as pd

from hrlrec_tf.data import config, prepare

from .logs import IN_MEMORY, read_sessions

SPLITS = ("train", "validation", "eval")


def run(log, name, out):
    return prepare.prepare(config.find(str(log), name), str(out), IN_MEMORY, show_progress=False)


def test_movielens(shared_data, tmp_path):
    summary = run(shared_data / "ml100k", "ml100k", tmp_path / "out")
    ratings = pd.read_csv(shared_data / "ml100k" / "ml-100k.inter", sep="\t")
    assert summary["read"] == summary["accepted"] == len(ratings) == 100_000
    assert (summary["users"], summary["items"], summary["rejected"]) == (943, 1682, {})
    clicks = rows = 0
    names = ("weight", "clicks", "timestamp", "history_timestamp")
    for session in sum((read_sessions(tmp_path / "out", split, names) for split in SPLITS), []):
        weight = np.array(session["weight"])
        clicks += (weight * session["clicks"]).sum()
        rows += weight.sum()
        times = [time for time in session["history_timestamp"] if time]
        assert not times or times[-1] < session["timestamp"][0]
    assert rows == 100_000 and clicks == (ratings["rating:float"] >= 4).sum()


def test_kuairand(shared_data, tmp_path):
    summary = run(shared_data / "kuairand27k_like_hate", "kuairand27k", tmp_path / "out")
    log = pd.read_csv(next((shared_data / "kuairand27k_like_hate").glob("*.tsv")), sep="\t")
    assert summary["accepted"] == len(log) == 41_828
    channels = {name: sum(rows.values()) for name, rows in summary["channels"].items()}
    photo, short = (log["duration_ms"] == 0).sum(), log["duration_ms"].between(1, 29_999).sum()
    assert channels == {"photo": photo, "short": short, "long": len(log) - photo - short}
    dwell = collections.Counter()
    for session in read_sessions(tmp_path / "out", "eval", ("weight", "dwell_seconds")):
        for weight, seconds in zip(session["weight"], session["dwell_seconds"], strict=True):
            dwell["seconds"] += weight * seconds
    newest = log[log["time_ms"] >= summary["eval_from"]]
    np.testing.assert_allclose(dwell["seconds"], newest["play_time_ms"].sum() / 1000, rtol=1e-5)
    assert len(newest) == summary["rows"]["eval"]
