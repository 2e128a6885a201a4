import pytest

from hrlrec_tf.data import config
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.rules import Case, Column, ListRule
from hrlrec_tf.errors import ConfigError


def load(tmp_path, text):
    path = tmp_path / "dataset.yaml"
    path.write_text(text, encoding="utf-8")
    return config.load(path)


def test_bundled_configurations_load():
    assert config.bundled() == ["kuairand27k", "ml100k"]
    assert config.load("ml100k").columns["clicks"] == Column(source="rating", at_least=4.0)
    assert config.load("kuairand27k").columns["channel"].cases[1] == Case(value="short", below=30000.0)


def test_an_empty_file_is_the_default(tmp_path):
    assert load(tmp_path, "") == DatasetConfig()


def test_a_log_is_relative_to_its_file(tmp_path):
    assert load(tmp_path, "log: impressions").log == str(tmp_path / "impressions")
    assert load(tmp_path, "log: gs://bucket/log").log == "gs://bucket/log"


def test_history_is_what_the_list_leaves_of_the_sequence():
    assert DatasetConfig().history_length == 41
    assert DatasetConfig(list_length=50).history_length == 1
    with pytest.raises(ConfigError, match="sequence_length is 50; .* make it 60"):
        DatasetConfig(list_length=60)


@pytest.mark.parametrize(
    "text,named",
    [
        ("colums: {}", "colums is unknown"),
        ("list_rule: {gap: 3}", "list_rule.gap is unknown"),
        ("columns: {clicks: {source: x, atleast: 3}}", "columns.clicks.atleast is unknown"),
        ("columns: {clicked: x}", "columns.clicked is no standard column"),
        ("columns: {clicks: {at_least: 3}}", "columns.clicks: a column needs either"),
        ("columns: {channel: {source: a, first: true}}", "columns.channel: .*needs `separator`"),
        ("columns: {channel: {source: a, cases: [{below: 1}]}}", r"columns.channel.cases\[0\] needs value"),
        ("list_length: ten", "list_length must be a int"),
        ("list_length: 0", "list_length must be at least 1"),
        ("list_length: true", "list_length must be a int"),
        ("timestamp_unit: minutes", "timestamp_unit must be one of s, ms"),
        ("split: {eval_fraction: 1.5}", "split: .*eval_fraction must lie between 0 and 1"),
        ("split: {eval_from: 5}", "go together"),
        ("feedback_delay_seconds: -1", "must not be negative"),
        ("joins: items.csv", "joins must be a list"),
        ("joins: [{file: items.csv}]", r"joins\[0\] needs file, key"),
        ("masking: {columns: [dwell_seconds]}", "dwell_seconds cannot be masked"),
        ("masking: {columns: [user_id]}\ncolumns: {user_name: user_id}", "user_name would show"),
        ("- a list", "must be a mapping"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_what_is_wrong_is_named_on_one_line(tmp_path, text, named):
    with pytest.raises(ConfigError, match=named) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value) and "dataset.yaml" in str(caught.value)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="absent.yaml"):
        config.load(tmp_path / "absent.yaml")


def test_the_file_beside_the_log_is_found(tmp_path):
    (tmp_path / "dataset.yaml").write_text("list_rule: {gap_seconds: 60}")
    found = config.find(str(tmp_path), None)
    assert found.list_rule == ListRule(60.0) and found.log == str(tmp_path)


def test_the_command_line_names_the_log(tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text("log: somewhere\nmax_tags: 3")
    assert config.find("elsewhere", str(path)).log == "elsewhere"
    assert config.find(None, str(path)).max_tags == 3
    with pytest.raises(ConfigError, match="--log"):
        config.find(None, None)
