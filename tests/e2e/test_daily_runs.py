"""Days of a feed: warm starts, and every component killed once at a random moment."""

import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest
import small_feed
import tensorflow as tf

from tfx_pipeline import blessed

pytestmark = pytest.mark.slow

SETTINGS = ("network.state_dim=16", "network.embedding_dim=8", "training.epochs=1")


@pytest.fixture(scope="module")
def feed(tmp_path_factory):
    return small_feed.write(tmp_path_factory.mktemp("feed"))


def command(feed, work, date, *more):
    words = ["daily", "--log", feed / "log", "--workdir", work, "--date", date]
    words += [*small_feed.options(feed, *SETTINGS), *more]
    return [sys.executable, "-m", "hrlrec_tf.cli", *map(str, words)]


def kill_in_next_component(words, done, draw):
    """Starts a run and kills it some time after the component behind those in `done` has begun; returns what it
    printed of finished components, None where it ended by itself.
    """
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    finished = []
    try:
        for line in run.stdout:
            if line.split()[1:2] in (["ran"], ["cached"]):
                finished.append(line.split()[0])
            if len(finished) > done:
                return finished
            if len(finished) == done:
                time.sleep(draw.uniform(0, 1.5))
                run.send_signal(signal.SIGKILL)
                run.wait()
                return finished
        return None if run.wait() == 0 else finished
    finally:
        run.kill()
        run.wait()
        run.stdout.close()


def test_every_component_killed_once_ends_in_the_same_state(feed):
    work, draw = feed / "killed", random.Random(0)
    words = command(feed, work, "2024-01-03", "--first")
    names = None
    for done in range(40):
        finished = kill_in_next_component(words, done, draw)
        if finished is None:
            break
        names = finished
    subprocess.run(words, check=True, capture_output=True)
    assert len(names) >= 15  # the run was killed inside every component but the last, and in the last if it was slow
    versions = blessed.versions(str(work / "blessed"))
    assert len(versions) == 1 and blessed.versions(str(work / "serving")) == versions
    assert (work / "blessed" / str(versions[0]) / blessed.CARD_TEXT).exists()
    assert not list(work.glob("*/.*")), "something half-written is left"
    # A run with nothing to do changes nothing.
    subprocess.run(words, check=True, capture_output=True)
    assert blessed.versions(str(work / "serving")) == versions


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
