"""What a search hands over: result.json, the printed table, the page."""

import argparse
import json
import shlex
from html.parser import HTMLParser

import pytest

from hrlrec_tf import verbs
from hrlrec_tf.config import preset
from hrlrec_tf.tuning import report
from hrlrec_tf.tuning.trials import Outcome, TrialRecord
from tuning.searching import FakeRunner, load, run

SPACE = """
search: grid
preset: paper
set: {training.epochs: 4}
space:
  losses.gamma: [0.1, 0.2, 0.3, 0.4]
  network.critic_head: [relu, linear]
  rewards.weights: [[1, 0.2, 0.1, 0.1], [1, 0.5, 0, 0]]
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Result and page of a grid whose best is known."""
    folder = tmp_path_factory.mktemp("tuned")
    auc = lambda config: 0.7 - (config.losses.gamma - 0.3) ** 2 + config.rewards.weights[1] / 100  # noqa: E731
    records = run(folder, SPACE, FakeRunner(auc))
    failed = TrialRecord("99", records[0].values, Outcome("failed", reason="loss is <nan>"))
    result = report.write(folder / "out", load(folder, SPACE), "my sessions", "hrl-rec", [*records, failed])
    return result, folder / "out"


def test_result_holds_the_best_ready_to_paste(written) -> None:
    result, folder = written
    assert json.loads((folder / "result.json").read_text()) == json.loads(json.dumps(result))
    best = result["best"]
    assert best["set"][:2] == ["training.epochs=4", "losses.gamma=0.3"] and best["validation_auc"] == pytest.approx(
        0.705
    )
    program, verb, *words = shlex.split(best["command"])
    parser = argparse.ArgumentParser()
    verbs.TRAIN.add_arguments(parser)
    args = parser.parse_args(words)
    assert (program, verb, args.data, args.preset, args.set) == ("hrlrec", "train", "my sessions", "paper", best["set"])
    assert preset(args.preset).override(args.set).rewards.weights == (1.0, 0.5, 0.0, 0.0)


def test_result_holds_every_trial_best_first(written) -> None:
    trials = written[0]["trials"]
    aucs = [trial["validation_auc"] for trial in trials]
    assert len(trials) == 17 and aucs[:-1] == sorted(aucs[:-1], reverse=True) and aucs[-1] is None
    assert (trials[-1]["status"], trials[-1]["reason"]) == ("failed", "loss is <nan>")
    assert trials[0]["values"]["losses.gamma"] == 0.3 and trials[0]["epochs"] == 4 and trials[0]["seconds"] == 1.5


def test_the_table_shows_what_the_result_holds(written) -> None:
    text = report.as_text(written[0])
    head, first, *_ = text.splitlines()
    assert head.split()[:4] == ["trial", "AUC", "epochs", "seconds"]
    assert first.split()[1] == "0.7050"
    assert "trial 99 failed: loss is <nan>" in text
    assert text.splitlines()[-1].strip() == written[0]["best"]["command"]


class _Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs) -> None:
        self.tags.append(tag)


def test_the_page_has_a_picture_of_each_field_and_escapes_text(written) -> None:
    page = (written[1] / "report.html").read_text(encoding="utf-8")
    tags = _Page(page).tags
    assert tags.count("svg") == 4 and "script" not in tags and tags.count("tr") == 18
    assert "loss is &lt;nan&gt;" in page and "default-src 'none'" in page
    for field in ("losses.gamma", "network.critic_head", "rewards.weights"):
        assert f'aria-label="Validation AUC over {field}"' in page


def test_several_seeds_show_their_spread(tmp_path) -> None:
    space = load(tmp_path, "{search: grid, executions: 2, space: {losses.gamma: [0.1, 0.2]}}")
    records = [TrialRecord(str(i), {"losses.gamma": 0.1}, Outcome("completed", (0.6, 0.8))) for i in range(2)]
    result = report.write(tmp_path, space, "sessions", "hrl-rec", records)
    assert result["trials"][0]["deviation"] == pytest.approx(0.1414, abs=1e-4)
    assert "0.7000   0.1414" in report.as_text(result)
