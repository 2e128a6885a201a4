import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hrlrec_tf.errors import ConfigError, LogError

from .copies import rejected, run

SECOND = datetime.datetime(2023, 5, 25, 7, 0, 0)


def behavior(number, day, inview, clicked, article=None, read=12.0, user=42):
    return {
        "impression_id": number, "article_id": article, "impression_time": SECOND + datetime.timedelta(days=day),
        "read_time": 9.0, "scroll_percentage": None, "device_type": 2, "article_ids_inview": inview,
        "article_ids_clicked": clicked, "user_id": user, "is_sso_user": True, "gender": None, "postcode": 4, "age": 50,
        "is_subscriber": False, "session_id": 7, "next_read_time": read, "next_scroll_percentage": None,
    }  # fmt: skip


TRAIN = [
    behavior(71, -2, [101, 102, 103], [102], article=101),
    behavior(9, -1, [103, 101], [103, 101]),
    behavior(12, 0, [101], None),
    behavior(13, 0, [], []),
]
VALIDATION = [behavior(99, 1, [101, 999], [101], read=None)]
SCHEMA = pa.schema(
    [
        ("impression_id", pa.uint32()), ("article_id", pa.int32()), ("impression_time", pa.timestamp("us")),
        ("read_time", pa.float32()), ("scroll_percentage", pa.float32()), ("device_type", pa.int8()),
        ("article_ids_inview", pa.list_(pa.int32())), ("article_ids_clicked", pa.list_(pa.int32())),
        ("user_id", pa.uint32()), ("is_sso_user", pa.bool_()), ("gender", pa.int8()), ("postcode", pa.int8()),
        ("age", pa.int8()), ("is_subscriber", pa.bool_()), ("session_id", pa.uint32()),
        ("next_read_time", pa.float32()), ("next_scroll_percentage", pa.float32()),
    ]
)  # fmt: skip
ARTICLES = pa.table(
    {
        "article_id": pa.array([101, 102, 103], pa.int32()),
        "title": ["a", "b", "c"],
        "published_time": pa.array([SECOND - datetime.timedelta(days=3)] * 2 + [None], pa.timestamp("us")),
        "premium": [True, False, False],
        "article_type": ["article_default"] * 3,
        "topics": [["Sport", "Kendt"], [], ["Politik"]],
        "category": pa.array([142, 118, 142], pa.int16()),
        "subcategory": pa.array([[196], [], []], pa.list_(pa.int16())),
        "category_str": ["sport", "nyheder", "sport"],
        "sentiment_label": ["Neutral", "Negative", "Positive"],
    }
)


def copy(folder, bundle="ebnerd_demo", validation=True):
    parts = {"train": TRAIN, **({"validation": VALIDATION} if validation else {})}
    for name, rows in parts.items():
        (folder / bundle / name).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / bundle / name / "behaviors.parquet")
    pq.write_table(ARTICLES, folder / bundle / "articles.parquet")
    return folder


def test_rows_are_mapped(tmp_path):
    report, rows, dataset = run("ebnerd", copy(tmp_path / "in"), tmp_path / "log")
    assert rows[0] == {
        "request_id": "71", "user_id": "42", "timestamp": 1684825200000, "position": 1, "item_id": "101",
        "channel": "sport", "tags": ["Sport", "Kendt"], "clicks": 0, "dwell_seconds": 0.0, "context_page": "article",
        "context_device": "2", "user_is_sso_user": "true", "user_gender": "", "user_postcode": "4", "user_age": "50",
        "user_is_subscriber": "false", "item_premium": "true", "item_type": "article_default",
        "item_sentiment": "Neutral", "item_age_hours": 24.0,
    }  # fmt: skip
    feedback = [(row["request_id"], row["item_id"], row["clicks"], row["dwell_seconds"]) for row in rows]
    assert feedback == [
        ("71", "101", 0, 0.0), ("71", "102", 1, 12.0), ("71", "103", 0, 0.0),
        ("9", "103", 1, 0.0), ("9", "101", 1, 0.0),  # two clicks: nobody knows whose seconds these are
        ("99", "101", 1, 0.0),
    ]  # fmt: skip
    assert rows[3]["context_page"] == "front" and rows[3]["item_age_hours"] == 0.0
    assert dataset.split.eval_from == 1685084400000 and dataset.list_rule is None
    assert sorted(rejected(tmp_path / "log")) == [
        ("ebnerd_demo/train/behaviors.parquet", 3, "missing_clicks"),
        ("ebnerd_demo/train/behaviors.parquet", 4, "no_articles_in_view"),
        ("ebnerd_demo/validation/behaviors.parquet", 1, "missing_channel"),
    ]
    assert report["read"] == 9


def test_without_articles_one_channel_stands_in_if_asked_for(tmp_path):
    folder = copy(tmp_path / "in")
    (folder / "ebnerd_demo" / "articles.parquet").unlink()
    with pytest.raises(LogError, match="articles.parquet is missing.*recsys.eb.dk.*--variant no-articles"):
        run("ebnerd", folder, tmp_path / "log")
    report, rows, _ = run("ebnerd", folder, tmp_path / "log", "no-articles")
    assert {row["channel"] for row in rows} == {"news"} and "tags" not in rows[0] and len(rows) == 7
    assert any("stands in" in note for note in report["notes"])


def test_a_test_set_is_left_out(tmp_path):
    folder = copy(tmp_path / "in", validation=False)
    (folder / "ebnerd_testset").mkdir()
    table = pa.Table.from_pylist(VALIDATION, SCHEMA).drop(["article_ids_clicked", "article_id", "next_read_time"])
    pq.write_table(table, folder / "ebnerd_testset" / "behaviors.parquet")
    report, rows, dataset = run("ebnerd", folder, tmp_path / "log")
    assert len(rows) == 5 and "left out: ebnerd_testset/behaviors.parquet, no clicks" in report["notes"]
    assert dataset.split.eval_from is None
    (folder / "ebnerd_demo" / "train" / "behaviors.parquet").unlink()
    with pytest.raises(LogError, match="no column article_ids_clicked, as in EB-NeRD's test set"):
        run("ebnerd", folder, tmp_path / "other")


def test_bundles_and_columns(tmp_path):
    folder = copy(copy(tmp_path / "in"), "ebnerd_small")
    with pytest.raises(ConfigError, match="several bundles, which share rows: name one with --variant demo . small"):
        run("ebnerd", folder, tmp_path / "log")
    with pytest.raises(LogError, match="no behaviors.parquet is in a folder named after large; EB-NeRD needs it"):
        run("ebnerd", folder, tmp_path / "log", "large")
    path = folder / "ebnerd_small" / "train" / "behaviors.parquet"
    pq.write_table(pq.read_table(path).drop(["device_type"]), path)
    with pytest.raises(LogError, match="column device_type is missing; .*not the published EB-NeRD"):
        run("ebnerd", folder, tmp_path / "log", "small")
    path.write_bytes(b"PAR1 but nothing else")
    with pytest.raises(LogError, match="train/behaviors.parquet: cannot be read as parquet"):
        run("ebnerd", folder, tmp_path / "log", "small")


def test_the_real_fixture(shared_data, tmp_path):
    folder = shared_data / "ebnerd_fixture"
    report, rows, _ = run("ebnerd", folder, tmp_path / "log", "no-articles")
    raw = pd.read_parquet(folder / "behaviors.parquet")
    flat = raw.explode("article_ids_inview")
    assert [row["item_id"] for row in rows] == flat["article_ids_inview"].astype(str).tolist()
    assert report["written"] == report["read"] == len(flat) == 10_848 and report["clicks"] == 1047
    clicked = raw[raw["article_ids_clicked"].str.len() == 1]
    np.testing.assert_allclose(
        sum(row["dwell_seconds"] for row in rows), clicked["next_read_time"].fillna(0).sum(), rtol=1e-5
    )
    assert rows[0]["timestamp"] == raw["impression_time"].iloc[0].value // 10**6
