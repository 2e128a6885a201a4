"""From a log to its page, whatever the log is like."""

import json
import pathlib
import re
import shutil
import subprocess

import pytest
import tiny
from data.logs import IN_MEMORY, random_rows, write_parquet
from experiments.test_report import HOSTILE, _Page

from hrlrec_tf.data import config, prepare, rules
from hrlrec_tf.data import verb as prepare_verb
from hrlrec_tf.errors import ConfigError, DataError
from hrlrec_tf.experiments import verb as report_verb
from hrlrec_tf.log_health import examine, page

ROWS = random_rows(0, users=7, requests=120)


def made_of(rows, folder: pathlib.Path) -> pathlib.Path:
    """Sessions of a log."""
    log = write_parquet(rows, folder / "log")
    rule = None if "position" in rows[0] else rules.ListRule()
    prepare.prepare(
        config.DatasetConfig(log=log, list_rule=rule), str(folder / "sessions"), IN_MEMORY, show_progress=False
    )
    return folder / "sessions"


@pytest.fixture(scope="module")
def sessions(tmp_path_factory) -> pathlib.Path:
    return made_of(ROWS, tmp_path_factory.mktemp("health"))


@pytest.fixture(scope="module")
def health(sessions) -> dict:
    return page.report(sessions, show_progress=False)


def test_figures_are_those_of_the_log(sessions, health):
    summary = json.loads((sessions / "summary.json").read_text())
    rows = [row for row in ROWS if row["channel"] == "news"]
    news = health["click_rate"]["by_channel"]["news"]
    assert health["rows"] == len(ROWS) == sum(health["list_lengths"][n] * n for n in health["list_lengths"])
    assert health["lists"] == summary["lists"] == sum(health["gaps"].values())
    assert {split: each["rows"] for split, each in health["splits"].items()} == summary["rows"]
    assert (news["rows"], news["users"]) == (len(rows), len({row["user_id"] for row in rows}))
    assert news["click_rate"] == pytest.approx(sum(row["clicks"] > 0 for row in rows) / len(rows))
    at_2 = [row["clicks"] > 0 for row in ROWS if row["position"] == 2 and row["channel"] == "short"]
    assert health["click_rate"]["by_channel_and_position"]["short"]["2"]["click_rate"] == pytest.approx(
        sum(at_2) / len(at_2)
    )
    assert sum(health["periods"]["rows"]) == len(ROWS)
    assert {n: sum(each) for n, each in health["periods"]["channels"].items()} == {
        name: sum(split.values()) for name, split in summary["channels"].items()
    }
    assert health["dwell"]["news"]["rows"] == sum(row["dwell_seconds"] > 0 for row in rows)
    assert health["dwell"]["news"]["p99"] == pytest.approx(30.25, rel=0.05)
    assert health["popularity"]["items"] == len({row["item_id"] for row in ROWS})


def test_new_users_and_items_are_those_that_training_never_saw(sessions, health):
    cut = json.loads((sessions / "summary.json").read_text())
    trained = [row for row in ROWS if row["timestamp"] < cut["validation_from"]]
    last = [row for row in ROWS if row["timestamp"] >= cut["eval_from"]]
    for name, column in (("users", "user_id"), ("items", "item_id")):
        seen = {row[column] for row in trained}
        share = sum(row[column] not in seen for row in last) / len(last)
        assert health["cold"]["eval"][f"rows_of_new_{name}"] == pytest.approx(share)


def test_the_page_is_complete_and_stands_alone(health):
    source = page.render("Log: a", health)
    found = _Page(source)
    for words in ("List effects: too few lists to tell", f"{len(ROWS):,}", "news", "видео", "No row was rejected."):
        assert words in found.text, words
    assert not {tag for tag, _ in found.tags} & {"script", "img", "iframe", "form"} and found.values("src") == []
    assert not re.search(r"@import|url\((?!#)", source) and "default-src 'none'" in source
    ids = found.values("id")
    wanted = {link[1:] for link in found.values("href") if link.startswith("#")}
    wanted |= set(found.values("aria-labelledby")) | set(re.findall(r"url\(#([^)]+)\)", source))
    assert len(ids) == len(set(ids)) and wanted <= set(ids)
    assert not re.search(r"\b(nan|None|inf|Undefined)\b", found.text)


def test_data_is_never_markup(health):
    rates = health["click_rate"]
    hostile = health | {
        "log": health["log"] | {"rejected": {HOSTILE: 3}},
        "click_rate": rates | {"by_channel": {HOSTILE: rates["by_channel"]["news"]}}
        | {"by_channel_and_position": {HOSTILE: {"1": rates["by_channel"]["news"]}}},
        "dwell": {HOSTILE: health["dwell"]["news"]},
        "findings": [*health["findings"], {"level": "note", "text": HOSTILE}],
    }  # fmt: skip
    found = _Page(page.render(HOSTILE, hostile))
    assert not {tag for tag, _ in found.tags} & {"script", "img"}
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    assert found.words.count(HOSTILE) >= 6


def _without(*names):
    return [{key: value for key, value in row.items() if key not in names} for row in ROWS]


def _alone():
    return [row | {"request_id": f"r{n}", "position": 1} for n, row in enumerate(ROWS)]


@pytest.mark.parametrize(
    "rows, said",
    [
        ([row | {"clicks": 0} for row in ROWS], ["No row was clicked", "All rows were passed over"]),
        ([row | {"clicks": 1} for row in ROWS], ["Every row was clicked", "All rows were clicked"]),
        (_without("dwell_seconds"), ["The log has no dwell times"]),
        (_without("tags"), ["The log has no tags"]),
        (_without("position", "request_id"), ["List effects: too few", "Lists were made by a list rule"]),
        (_alone(), ["Every list has one row", "List effects: cannot be told", "one position only"]),
        ([row | {"channel": "all"} for row in ROWS], ["There is one channel only"]),
        (ROWS[:10], ["Only 10 rows", "List effects: too few"]),
        ([*ROWS, *[row | {"clicks": -1, "request_id": "x"} for row in ROWS[:60]]], ["60 rows", "were rejected"]),
    ],
    ids=["no clicks", "all clicked", "no dwell", "no tags", "no positions", "alone", "one channel", "ten", "rejected"],
)
def test_a_log_that_cannot_tell_says_so(rows, said, tmp_path):
    sessions = made_of(rows, tmp_path)
    found = page.write(sessions, tmp_path / "report.html", tmp_path / "health.json")
    text = _Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    for words in said:
        assert words in text or words in page.as_text(found), words
    assert not re.search(r"\b(nan|None|inf)\b", text)
    assert json.loads((tmp_path / "health.json").read_text())["rows"] == found["rows"] > 0


def test_the_verbs_write_the_page(tmp_path, capsys):
    log, out = write_parquet(ROWS, tmp_path / "log"), tmp_path / "out"
    tiny.run_verb(prepare_verb.VERB, f"--log={log} --out={out} --report --", *IN_MEMORY)
    assert f"report: {out / 'report.html'}" in capsys.readouterr().out
    again = tiny.run_verb(report_verb.VERB, f"--sessions={out} --out={tmp_path / 'again.html'}")
    assert "* List effects: too few" in capsys.readouterr().out
    assert (tmp_path / "again.html").read_text().replace("Log: out", "") == (out / "report.html").read_text().replace(
        "Log: out", ""
    )
    numbers = json.loads((out / "health.json").read_text())
    assert numbers["findings"] == again["findings"] and numbers["lists"] == again["lists"]


def test_errors_say_what_to_do(sessions, tmp_path):
    with pytest.raises(ConfigError, match="--report needs sessions on this machine: got --out gs://bucket/s"):
        tiny.run_verb(prepare_verb.VERB, f"--log={tmp_path} --out=gs://bucket/s --report")
    with pytest.raises(DataError, match="holds no finished sessions .*; run hrlrec prepare --out"):
        examine.examine(tmp_path)
    shutil.copytree(sessions, tmp_path / "bad")
    (file, *_) = (tmp_path / "bad" / "train").glob("*.gz")
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(DataError, match="a session file of .* is damaged .*; run hrlrec prepare --overwrite"):
        examine.examine(tmp_path / "bad", show_progress=False)
    for split in ("train", "validation", "eval"):
        shutil.rmtree(tmp_path / "bad" / split)
    with pytest.raises(DataError, match="holds no session files; run hrlrec prepare"):
        examine.examine(tmp_path / "bad")


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH: the page is not rendered")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_draws_it_without_complaint_or_sideways_scrolling(health, tmp_path, width):
    """The page stands in a frame of that width; what surrounds it reports how wide its content came out."""
    (tmp_path / "page.html").write_text(page.render("Log: a", health), encoding="utf-8")
    report = "document.title = 'wide ' + f.contentDocument.documentElement.scrollWidth + ' of ' + f.clientWidth"
    frame = (
        f'<iframe src="page.html" id="f" style="border: 0; width: {width}px; height: 900px" onload="{report}"></iframe>'
    )
    (tmp_path / "around.html").write_text(f"<!DOCTYPE html><body>{frame}</body>", encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--allow-file-access-from-files"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"]
    command = [CHROMIUM, *flags, (tmp_path / "around.html").as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r"<title>wide (\d+) of (\d+)", run.stdout)
    assert found, run.stderr
    assert int(found[1]) <= int(found[2]) == width
    assert "CONSOLE" not in run.stderr
