"""Days of a feed: warm starts, and every component killed once at a random moment."""

import pathlib
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import time

import pytest
import small_feed
import tensorflow as tf
import tiny
from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx
from tfx.orchestration import metadata

from tfx_pipeline import blessed, dag

pytestmark = pytest.mark.slow

SETTINGS = ("network.state_dim=16", "network.embedding_dim=8", "training.epochs=1")
KILLED = (*tiny.QUIET, "training.epochs=6")  # a training long enough to be killed in its middle, and repeatable
SEED = 20
_BEGINS = "learning from"  # what a run prints before its first component
_DRAWS = 6


@pytest.fixture(scope="module")
def feed(tmp_path_factory):
    return small_feed.write(tmp_path_factory.mktemp("feed"))


def command(feed, work, date, *more, settings=SETTINGS):
    words = ["daily", "--log", feed / "log", "--workdir", work, "--date", date]
    words += [*small_feed.options(feed, *settings), *more]
    return [sys.executable, "-m", "hrlrec_tf.cli", *map(str, words)]


def finished(line):
    """The component that a line of output tells the end of."""
    name, *more = line.split() or [""]
    return name if more[:1] in (["ran"], ["cached"]) else None


def start(words):
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def timed(words):
    """Runs to the end; component -> seconds, in their order."""
    seconds, begun = {}, 0.0
    with start(words) as run:
        for line in run.stdout:
            if finished(line):
                seconds[finished(line)] = time.monotonic() - begun
            if finished(line) or line.startswith(_BEGINS):
                begun = time.monotonic()
    assert run.returncode == 0
    return seconds


def kill(words, done, seconds):
    """Kills a run that long after its `done`-th component ended; returns the components that had ended by then."""
    ended = []
    with start(words) as run:
        for line in run.stdout:
            ended += [finished(line)] if finished(line) else []
            if len(ended) == done and (finished(line) or line.startswith(_BEGINS)):
                time.sleep(seconds)
                break
        run.kill()
        return ended + [finished(line) for line in run.stdout if finished(line)]


def kill_inside(words, work, before, seconds, draw):
    """Kills a run inside the component behind those of `before`, at a moment drawn from the seconds that it takes.

    Where it was quicker than that and ended, the working folder is put back and an earlier moment drawn.
    """
    aside = work.with_name(f"{work.name}-aside")
    for _ in range(_DRAWS):
        if work.exists():
            shutil.copytree(work, aside)
        seconds = draw.uniform(0, seconds)
        ended = kill(words, len(before), seconds)
        if ended == before:
            assert seconds < 0.5 or is_running(work), "killed before it began, or after it was recorded"
            shutil.rmtree(aside, ignore_errors=True)
            return seconds
        assert ended[: len(before)] == before, "the run ended by itself"
        shutil.rmtree(work)
        if aside.exists():
            aside.rename(work)
    raise AssertionError(f"{ended[len(before)]} always ended before it was killed")


def is_running(work):
    """Whether the last component that began was not recorded as ended."""
    with sqlite3.connect(work / "pipeline" / "metadata.sqlite") as store:
        ((state,),) = store.execute("SELECT last_known_state FROM Execution ORDER BY id DESC LIMIT 1")
    return state == metadata_store_pb2.Execution.RUNNING


def artifacts(work, components):
    """Component and output -> its files; numbers in names, such as times, do not count."""
    connection = tfx.orchestration.metadata.sqlite_metadata_connection_config(str(work / "pipeline/metadata.sqlite"))
    found = {}
    with metadata.Metadata(connection) as handle:
        for name in components:
            for output, uri in dag.latest(handle.store, "hrlrec", name).outputs.items():
                files = (path.relative_to(uri) for path in pathlib.Path(uri).rglob("*") if path.is_file())
                found[name, output] = sorted(re.sub(r"\d+", "0", str(file)) for file in files)
    return found


def half_written(work):
    """What stands below a working folder and is no finished thing; runs keep their lock, and TFX folders `.system`."""
    hidden = [path for path in work.rglob(".*") if path.name not in (".lock", ".system")]
    versions = [path for path in (work / "serving").iterdir() if not (path / "saved_model.pb").exists()]
    return hidden + versions


def state(work):
    """Files that were pushed and recorded, and when they were written."""
    files = (path for name in ("serving", "blessed") for path in (work / name).rglob("*"))
    return {path: path.stat().st_mtime_ns for path in files}


def only_card(work):
    """The card of the only version, which is the one that serves, without what each run has of its own."""
    (version,) = blessed.versions(str(work / "blessed"))
    assert blessed.versions(str(work / "serving")) == [version]
    assert (work / "blessed" / str(version) / blessed.CARD_TEXT).exists()
    card = blessed.card(str(work / "blessed"), version)
    assert card.pop("version") == version and card["lineage"].pop("model").startswith(str(work))
    return card


def test_every_component_killed_once_ends_in_the_same_state(feed):
    """Each is killed at a moment drawn uniformly from the time that it takes, and begun again by the next run.

    Those that take some hundredths of a second are mostly hit while TFX prepares or records them. What the Pusher and
    RecordBlessed do then is killed between all their steps in test_pusher.py and test_blessed.py.
    """
    whole, work, draw = feed / "whole", feed / "killed", random.Random(SEED)
    seconds = timed(command(feed, whole, "2024-01-03", "--first", settings=KILLED))
    assert len(seconds) >= 17 and seconds["Trainer"] > 5
    words, names, killed = command(feed, work, "2024-01-03", "--first", settings=KILLED), list(seconds), {}
    for done, name in enumerate(names):
        killed[name] = kill_inside(words, work, names[:done], seconds[name], draw)
    told = f"seed {SEED}; killed after so many of so many seconds: " + ", ".join(
        f"{name} {killed[name]:.2f} of {seconds[name]:.2f}" for name in names
    )
    print(told)
    assert list(timed(words)) == names, told
    small_feed.assert_equal_cards(only_card(work), only_card(whole), within=1e-6)
    assert artifacts(work, names) == artifacts(whole, names), told
    assert not half_written(work), told
    before = state(work)
    run = subprocess.run(words, check=True, capture_output=True, text=True)
    assert [line.split()[1] for line in run.stdout.splitlines() if finished(line)] == ["cached"] * len(names)
    assert state(work) == before and not half_written(work), told


def test_a_second_day_goes_on_from_the_first(feed):
    work = feed / "days"
    (feed / "quotas.yaml").write_text("news: {at_most: 3}\n")
    carried = ("--catalogue", "--quotas", feed / "quotas.yaml")
    subprocess.run(command(feed, work, "2024-01-03", "--first", *carried), check=True, capture_output=True)
    subprocess.run(command(feed, work, "2024-01-04", *carried), check=True, capture_output=True)
    first, second = blessed.versions(str(work / "blessed"))
    card = blessed.card(str(work / "blessed"), second)
    assert card["lineage"]["base_version"] == first
    assert set(card["gates"]["quality"]["figures"]["auc"][""]) == {"prediction", "prediction_base", "prediction_lr"}
    assert set(card["gates"]["stability"]["figures"]) == {"old", "new"}
    assert card["gates"]["stability"]["figures"]["new"]["channel_shares"].get("news", 0.0) <= 0.3
    assert {"rank_ids", "recommend"} <= set(tf.saved_model.load(str(work / "serving" / str(second))).signatures)
    again = subprocess.run(
        command(feed, work, "2024-01-05", "--set", "network.state_dim=8"), capture_output=True, text=True
    )
    assert again.returncode == 1 and "give the same settings of network" in again.stderr.splitlines()[-1]
    assert blessed.versions(str(work / "blessed")) == [first, second]


def test_a_first_run_must_be_called_one(feed):
    run = subprocess.run(command(feed, feed / "none", "2024-01-03"), capture_output=True, text=True)
    assert run.returncode == 1 and "say that this is the first run (--first)" in run.stderr.splitlines()[-1]
    assert not pathlib.Path(feed / "none" / "serving").exists()


def test_a_refused_model_leaves_its_card_and_is_pushed_by_wider_limits_without_training(feed):
    work, strict = feed / "refused", feed / "strict.yaml"
    strict.write_text(
        "data: {hours: 1.0}\nmodel: {rela_impr: 99}\nthresholds: {auc: 0.99, calibration: [0.0, 100.0]}\n"
    )
    words = command(feed, work, "2024-01-03", "--first")
    refused = subprocess.run([*words, "--limits", str(strict)], capture_output=True, text=True)
    message = refused.stderr.splitlines()[-1]
    card = work / "blessed" / blessed.REFUSED / "2024-01-03" / blessed.CARD_TEXT
    assert refused.returncode == 1 and str(card) in message and "Traceback" not in refused.stderr
    assert "auc is 0." in message and "required is at least 0.99" in message and "RelaImpr" in message
    text = card.read_text("utf-8")
    assert "refused" in text.splitlines()[0] and "| all | 0." in text and "| channel news |" in text
    assert not (work / "serving").exists() and blessed.versions(str(work / "blessed")) == []
    pushed = subprocess.run(words, check=True, capture_output=True, text=True)
    states = {line.split()[0]: line.split()[1] for line in pushed.stdout.splitlines() if finished(line)}
    assert states["Trainer"] == "cached" and states["ReleaseGate"] == states["Pusher"] == "ran"
    assert blessed.versions(str(work / "blessed")) == blessed.versions(str(work / "serving")) != []
    assert not card.exists()
