"""Rows of sessions: the features HRL-Rec sees, pooled history against loops, and nothing of the current list."""

import dataclasses

import numpy as np
import pytest
import sessions
import tensorflow as tf
import tiny

from hrlrec_tf.baselines.ctr import config, fields, history, rows
from hrlrec_tf.baselines.ctr.fields import SessionRows
from hrlrec_tf.baselines.ctr.history import HistoryRates, history_counts
from hrlrec_tf.errors import ConfigError, DataError
from hrlrec_tf.features import FEEDBACK, ITEM_COUNTS, Kind

HISTORY = config.default("lr").override(["inputs.history=true"])


def random_sessions(count: int = 6) -> list[dict]:
    rng = np.random.default_rng(5)
    return [sessions.random_session(rng) for _ in range(count)]


def test_fields_are_what_hrl_rec_sees_of_a_row(reader):
    made = SessionRows(reader.spec, reader.sizes)
    assert list(made.fields.sizes) == (
        "user_id user_age_band hour weekday position context_device item_id channel item_author tags".split()
    )
    assert made.fields.numeric == ("user_tenure_days", "item_length_seconds")
    assert made.fields.sizes["item_id"] == reader.sizes["item_id"] and made.fields.tags == reader.spec.max_tags
    assert made.fields.sizes["position"] == reader.spec.list_length + 2


def test_values(reader):
    found = random_sessions()
    found[0]["position"][0] = 99
    batch = tiny.read(reader, *found)
    made = SessionRows(reader.spec, reader.sizes)
    columns = {name: values.numpy() for name, values in made(batch).items()}
    assert columns["ids"].dtype == np.int32
    starts = np.cumsum([0, *made.fields.sizes.values()])
    for list_, session in enumerate(found):
        hour, day = divmod(session["timestamp"][0] // 3_600_000, 24)[::-1]
        for row in range(reader.spec.list_length):
            ids = [
                *(batch[name][list_].numpy() for name in ("user_id", "user_age_band")),
                hour,
                (day + 3) % 7,
                min(session["position"][row], 5),
                batch["context_device"][list_].numpy(),
                *(batch[name][list_, row].numpy() for name in ("item_id", "channel", "item_author")),
            ]
            expected = [start + own for start, own in zip(starts, ids)]
            expected += [starts[9] + tag for tag in batch["tags"][list_, row].numpy()]
            assert columns["ids"][list_, row].tolist() == expected
            numbers = [batch["user_tenure_days"][list_], batch["item_length_seconds"][list_, row]]
            np.testing.assert_allclose(columns["numbers"][list_, row], numbers)


def test_named_fields_only(reader):
    made = SessionRows(reader.spec, reader.sizes, ["hour", "item_id", "user_id"])
    assert list(made.fields.sizes) == ["user_id", "hour", "item_id"] and not made.fields.numeric
    assert made(tiny.random_batch(reader))["ids"].shape == [8, 4, 3] and set(made(tiny.random_batch(reader))) == {"ids"}
    numbers = SessionRows(reader.spec, reader.sizes, ["item_length_seconds"])
    assert set(numbers(tiny.random_batch(reader))) == {"numbers"}


def test_unknown_fields_are_refused(reader):
    with pytest.raises(ConfigError, match="inputs.fields names colour, mood, which .*; choose among user_id, "):
        SessionRows(reader.spec, reader.sizes, ["colour", "item_id", "mood"])


def count(pairs) -> list[int]:
    """Impressions and clicks of (impressions, clicks) pairs."""
    pairs = list(pairs)
    return [sum(shown for shown, _ in pairs), sum(clicked for _, clicked in pairs)]


def expected_counts(session: dict, row: int) -> dict[str, list[int]]:
    def profile(kind, wanted):
        names = (f"profile_{kind}", f"profile_{kind}_impressions", f"profile_{kind}_clicks")
        for name, shown, clicked in zip(*(session[each] for each in names)):
            for _ in range(sum(value == name for value in wanted)):
                yield shown, clicked

    seen = [(1, int(clicks > 0)) for item, clicks in zip(session["history_item_id"], session["history_clicks"]) if item]
    tags = [tag for tag in session["tags"][2 * row : 2 * row + 2] if tag]
    return {
        "user": count(zip(session["profile_channel_impressions"], session["profile_channel_clicks"])),
        "user_channel": count(profile("channel", [session["channel"][row]])),
        "user_tag": count(profile("tag", tags)),
        "recent": count(seen[-history.RECENT :]),
        "window": count(seen),
    }


def test_history_counts(reader, monkeypatch):
    monkeypatch.setattr(history, "RECENT", 3)
    found = random_sessions()
    batch = tiny.read(reader, *found)
    for group in history.GROUPS:
        counts = history_counts(batch, group).numpy()
        for list_, session in enumerate(found):
            for row in range(sum(item != "" for item in session["item_id"])):
                assert counts[list_, row].tolist() == expected_counts(session, row)[group], (group, list_, row)


def test_nothing_of_the_current_lists_feedback_is_seen(reader):
    found = random_sessions()
    other = [
        {**session, **{name: [value + 1 for value in session[name]] for name in FEEDBACK}}
        | {name: [7] * 4 for name in session if name.endswith(("_impressions", "_clicks")) and name in LIST_COUNTS}
        for session in found
    ]
    made = fields.of_model("lr", HISTORY, reader.spec, reader.sizes)
    before, after = (made(tiny.read(reader, *each)) for each in (found, other))
    assert set(before) == {"ids", "numbers", "counts"} and before["counts"].shape == [6, 4, 5, 2]
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name])


LIST_COUNTS = ("channel_impressions", "channel_clicks", "tag_impressions", "tag_clicks")


def test_rates_are_smoothed_and_standardised():
    counts = np.array([[[0, 0], [4, 4]], [[6, 3], [0, 0]], [[30, 3], [9, 0]]], np.float32)
    layer = HistoryRates(2, prior_impressions=4.0)
    layer.adapt(tf.constant(counts), tf.constant([1.0, 0.0, 0.0]))
    raw = np.array(
        [
            [*((clicks + 4 / 3) / (shown + 4), np.log1p(shown)), *((c2 + 4 / 3) / (s2 + 4), np.log1p(s2))]
            for (shown, clicks), (s2, c2) in counts
        ]
    )
    np.testing.assert_allclose(layer(counts), (raw - raw.mean(0)) / raw.std(0), rtol=1e-4, atol=1e-5)
    extreme = layer(np.full([1, 2, 2], 1e9, np.float32)).numpy()
    assert np.abs(extreme).max() == 10.0
    copy = HistoryRates.from_config(layer.get_config())
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(counts), layer(counts))
    assert not layer.trainable_variables


def test_what_never_varies_in_training_is_zero():
    layer = HistoryRates(1)
    layer.adapt(tf.constant([[[5.0, 1.0]]] * 3), tf.constant([1.0, 0.0, 0.0]))
    np.testing.assert_array_equal(layer(tf.constant([[[900.0, 0.0]]])), [[0.0, 0.0]])


def test_history_lr_reads_six_numbers(reader):
    spec = dataclasses.replace(reader.spec, optional={**reader.spec.optional, **ITEM_COUNTS})
    made = fields.of_model("history-lr", config.default("history-lr"), spec, reader.sizes)
    names = "item_click_rate item_log_impressions user_click_rate user_log_impressions"
    assert " ".join(made.fields.numeric) == f"{names} user_channel_click_rate user_channel_log_impressions"
    assert not made.fields.sizes


def test_history_lr_needs_item_counts(reader):
    spec = dataclasses.replace(reader.spec, optional={"item_click_rate": Kind.FLOAT})
    with pytest.raises(DataError, match=r"these sessions lack item_log_impressions; write item_counts: \{\} into"):
        fields.of_model("history-lr", config.default("history-lr"), spec, reader.sizes)


def test_training_rows_are_those_with_weight(reader, tmp_path):
    found = random_sessions(3)
    found[0] |= {"weight": [0.0, 1.0, 1.0, 0.0], "clicks": [1, 2, 0, 0]}
    found[1] |= {"weight": [0.0] * 4}
    found[2] |= {"weight": [1.0, 0.0, 0.0, 0.0], "clicks": [3, 0, 0, 0]}
    file = sessions.write(tmp_path / "s.gz", [sessions.to_example(session) for session in found])
    made = fields.of_model("lr", HISTORY, reader.spec, reader.sizes)
    read = rows.read(reader, made, [file])
    assert read.size == 3 and read.labels.numpy().tolist() == [1.0, 0.0, 1.0]
    whole = made(tiny.read(reader, *found))
    for name, values in read.features.items():
        np.testing.assert_array_equal(values, tf.stack([whole[name][0, 1], whole[name][0, 2], whole[name][2, 0]]))
    some = read.take(tf.constant([2, 0]))
    assert some["label"].numpy().tolist() == [1.0, 1.0]
    np.testing.assert_array_equal(some["ids"][1], read.features["ids"][0])


def test_no_files_and_empty_files(reader, tmp_path):
    made = SessionRows(reader.spec, reader.sizes)
    with pytest.raises(DataError, match="there are no session files; run hrlrec prepare"):
        rows.read(reader, made, [])
    assert rows.read(reader, made, [sessions.write(tmp_path / "none.gz", [])]).size == 0
