"""What docs/operations.md says to do, done as it says: a new feature, a new channel, other reward weights."""

import argparse
import dataclasses
import datetime
import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tiny

from hrlrec_tf import verbs
from hrlrec_tf.data import schema
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.input import SessionReader
from hrlrec_tf.data.prepare import prepare
from hrlrec_tf.data.requests import sample_requests
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.logs import write_log
from serving.client import RankingClient
from serving.messages import RankRequest, RequestError
from serving.server import EmbeddedServer
from tfx_pipeline import dag, daily, data_faults
from tfx_pipeline.data_faults import DataLimits
from tfx_pipeline.gates import GateError
from tfx_pipeline.pipeline import create_pipeline
from tfx_pipeline.window import Window

NOW = datetime.datetime(2024, 1, 5, 12, tzinfo=datetime.timezone.utc)
WORLD = WorldConfig(users=30, items=60, days=4, requests_per_day=25)


def change_days(log: pathlib.Path, change, first: int) -> None:
    """Rewrites the files of a log from the `first`-th day on."""
    for path in sorted(log.glob("*.parquet"))[first:]:
        change(pd.read_parquet(path)).to_parquet(path, index=False)


def train(sessions: pathlib.Path, out: pathlib.Path, *more: str) -> Mapping[str, Any]:
    """`hrlrec train` for an epoch, in tiny sizes."""
    settings = [f"--set={setting}" for setting in (*tiny.TRAINED, "training.epochs=1")]
    tf.config.run_functions_eagerly(True)  # faster for few steps
    try:
        return tiny.run_verb(verbs.TRAIN, f"--data={sessions} --out={out} --preset=paper", *settings, *more)
    finally:
        tf.config.run_functions_eagerly(False)


# A feature.


class Feed(NamedTuple):
    """A feed whose log has new columns from its second day on."""

    log: pathlib.Path
    work: pathlib.Path  # where it ran before
    sessions: pathlib.Path  # of `hrlrec prepare`, with the new columns


def daily_config(feed: Feed, work: pathlib.Path):
    parser = argparse.ArgumentParser()
    daily.VERB.add_arguments(parser)
    words = f"--log {feed.log} --workdir {work} --train-days 3 --date 2024-01-04 --first"
    return daily.pipeline_config(parser.parse_args(words.split()), NOW)


class Passed(Exception):
    """The AnomalyGate let the sessions through."""


def until_the_anomaly_gate(feed: Feed, work: pathlib.Path) -> None:
    """A daily run that ends behind that gate."""

    def on_component(name: str, state: str) -> None:
        if (name, state) == ("AnomalyGate", "ran"):
            raise Passed

    config = daily_config(feed, work)
    dag.run_dag(create_pipeline(config), str(work / "pipeline" / "metadata.sqlite"), on_component)


@pytest.fixture(scope="module")
def feed(tmp_path_factory) -> Feed:
    folder = tmp_path_factory.mktemp("feature")
    feed = Feed(folder / "log", folder / "work", folder / "sessions")
    write_log(WORLD, feed.log, progress=False)
    daily_config(feed, feed.work)  # the working folder has its schema from the days before

    def with_columns(rows: pd.DataFrame) -> pd.DataFrame:
        clicked = rows.groupby("request_id")["clicks"].transform("sum") > 1
        quality = rows["item_id"].str[-1].map(ord).astype(np.float32)
        return rows.assign(context_mood=np.where(clicked, "keen", "idle"), item_quality=quality)

    change_days(feed.log, with_columns, first=1)
    prepare(DatasetConfig(log=str(feed.log)), str(feed.sessions), show_progress=False)
    return feed


def test_a_new_column_stops_the_run_until_the_schema_has_it(feed, tmp_path):
    with pytest.raises(GateError, match=r"feature 'context_mood': New column.* or edit .*schema\.pbtxt"):
        until_the_anomaly_gate(feed, feed.work)
    curated, made = schema.read(feed.work / "schema.pbtxt"), schema.read(feed.sessions / "schema.pbtxt")
    known = {each.name for each in curated.feature}
    curated.feature.extend(each for each in made.feature if each.name not in known)
    assert {each.name for each in curated.feature} - known == {"context_mood", "item_quality", "history_item_quality"}
    new = tmp_path / "new"
    new.mkdir()
    schema.write(curated, new / "schema.pbtxt")
    with pytest.raises(Passed):
        until_the_anomaly_gate(feed, new)


@pytest.mark.slow
def test_a_new_feature_reaches_the_model_and_what_it_answers(feed, tmp_path):
    train(feed.sessions, tmp_path / "model")
    reader = SessionReader(schema.read(tmp_path / "model" / "schema.pbtxt"), str(tmp_path / "model" / "transform"))
    assert set(reader.vocabulary("context_mood")) == {"idle", "keen"}
    made = tiny.run_verb(verbs.EXPORT, f"--model={tmp_path / 'model'} --out={tmp_path / 'served'}")
    inputs = tf.saved_model.load(made["path"]).signatures["rank"].structured_input_signature[1]
    assert inputs["context_mood"].dtype == tf.string
    assert inputs["candidate_item_quality"].dtype == inputs["history_item_quality"].dtype == tf.float32
    (request,) = sample_requests(feed.sessions, "eval", 1)
    without = {name: value for name, value in request.items() if name != "context_mood"}
    plain = [{name: value for name, value in row.items() if name != "item_quality"} for row in request["candidates"]]
    with EmbeddedServer(tmp_path / "served", port=0) as server, RankingClient(server.address) as client:

        def answer(asked: Mapping[str, Any]) -> dict[str, float]:
            ranked = client.rank(RankRequest.from_dict(asked)).items
            return {item.item_id: item.click_probability for item in ranked}

        answers = [answer(each) for each in (request, without, {**request, "candidates": plain})]
        assert answers[0] == answer(request) and answers[0] != answers[1] and answers[0] != answers[2]
        with pytest.raises(RequestError, match="unknown field 'context_weather'"):
            answer({**request, "context_weather": "rain"})  # so would a model be asked that is older than its column


# A channel, and what a click in it is worth.


def with_radio(rows: pd.DataFrame) -> pd.DataFrame:
    """A day on which every third row is of a channel that there was not."""
    chosen = np.arange(len(rows)) % 3 == 0
    return rows.assign(
        channel=np.where(chosen, "radio", rows["channel"]), item_id=rows["item_id"].where(~chosen, "radio-1")
    )


@pytest.fixture(scope="module")
def days(tmp_path_factory) -> pathlib.Path:
    """Sessions of two daily runs, `1` and `2`; on the newest day of the first a channel is new."""
    folder = tmp_path_factory.mktemp("channel")
    write_log(WORLD, folder / "log", progress=False)
    change_days(folder / "log", with_radio, first=2)
    for name, window in (("1", Window("2024-01-03", train_days=2)), ("2", Window("2024-01-04", train_days=2))):
        prepare(window.dataset(DatasetConfig(log=str(folder / "log"))), str(folder / name), show_progress=False)
    return folder


def test_a_new_channel_is_told_or_stopped_by_its_share(days):
    summary, dates = json.loads((days / "1" / "summary.json").read_text()), Window("2024-01-03", train_days=2).dates
    (fault,) = data_faults.faults(summary, dates, DataLimits())
    assert "of the rows on 2024-01-03 are of channels without rows on other days" in fault
    assert data_faults.faults(summary, dates, dataclasses.replace(DataLimits(), channel_share=0.5)) == []
    assert "channel 'radio' is new; it can be learnt from the next run on" in data_faults.notes(summary, dates)


@pytest.mark.slow
def test_the_next_run_learns_the_channel_by_its_own_weights(days, tmp_path):
    weights = '--set=rewards.channel_weights={"radio": [2.0, 0.5, 0.1, 0.1]}'
    with pytest.raises(ConfigError, match="names 'radio', which no training row has"):
        train(days / "1", tmp_path / "early", weights)
    train(days / "1", tmp_path / "base")
    go_on = f"--warm-start={tmp_path / 'base'}"
    grown = train(days / "2", tmp_path / "plain", go_on)
    assert grown["growth"]["channel"]["added"] == 1
    train(days / "2", tmp_path / "weighted", go_on, weights)
    plain, weighted = (
        json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[0]) for name in ("plain", "weighted")
    )
    assert plain["channel_return_mean"] == weighted["channel_return_mean"] > 0
    assert plain["item_return_mean"] != weighted["item_return_mean"]
