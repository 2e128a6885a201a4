"""Table 3: figures from trials that are known, and the trials and feeds themselves in a small world."""

import dataclasses
import json
import re

import numpy as np
import pytest

from hrlrec_tf import folder_lock
from hrlrec_tf.cli import main
from hrlrec_tf.errors import ConfigError, TrainingError
from hrlrec_tf.experiments import cells, table3, table3_page, table3_text, trials
from hrlrec_tf.experiments.cells import Run
from hrlrec_tf.experiments.simulated import SimulatedFeed
from hrlrec_tf.experiments.table3 import Experiment
from hrlrec_tf.experiments.trials import TrialRun
from hrlrec_tf.folder_lock import FolderLock
from hrlrec_tf.simulator import world_file
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.trial import COUNTS, Trial

USERS = 400
WORLD = WorldConfig(users=USERS, items=200, days=10, requests_per_day=50)
# Clicks per list under each policy: dqn-gru is as good as hrl-rec.
CLICKS = {"lr": 1.0, "dqn-lr": 0.8, "dqn-gru": 1.3, "double-dueling-dqn": 1.1, "ddpg": 1.0, "ddpg-hierarchical": 1.1}
CLICKS |= {"hrl-rec": 1.3, "hrl-rec-gamma-0": 1.3, "hrl-rec-supervised": 1.2, "logging": 0.7, "oracle": 3.0}


def trial_of(policy, seed):
    """Ten lists a user; everybody clicks more under a better policy, and a little at random."""
    rng = np.random.default_rng([seed, sorted(CLICKS).index(policy)])
    clicks = rng.binomial(100, CLICKS[policy] / 10, USERS)
    counts = {"requests": np.full(USERS, 10), "impressions": np.full(USERS, 100), "clicks": clicks}
    counts |= {"watched_tags": 2 * clicks, "list_tags": np.full(USERS, 120), "list_channels": np.full(USERS, 30)}
    return Trial(**counts, abandoned=np.full(USERS, 3), days=5)


@pytest.fixture
def made(monkeypatch, tmp_path):
    """`reproduce` on made-up trials; `lost` says which are missing."""

    def run(lost=(), seeds=3):
        def result(run):
            return None if (run.policy, run.feed.config.seed) in lost else trial_of(run.policy, run.feed.config.seed)

        monkeypatch.setattr(SimulatedFeed, "prepare", lambda feed: None)
        monkeypatch.setattr(cells, "run_all", lambda runs, jobs: {})
        monkeypatch.setattr(trials, "run_all", lambda runs, jobs: {str(r): "it broke" for r in runs if not result(r)})
        monkeypatch.setattr(Run, "result", lambda run: {"auc": 0.6 + 0.01 * CLICKS[run.cell.name]})
        monkeypatch.setattr(TrialRun, "result", result)
        return table3.reproduce(Experiment(WORLD, tmp_path, range(seeds)), 1, 1_000)

    return run


def test_rows_say_what_the_trials_say(made):
    result = made()
    assert len(result["rows"]) == 2 * len(table3.POLICIES)
    rows = {row["model"]: row for row in result["rows"] if not row["unseen"]}
    assert {row["click_model"] for row in result["rows"] if row["unseen"]} == {"cascade"}
    trial = [trial_of("hrl-rec", seed) for seed in range(3)]
    assert rows["hrl-rec"]["ctr"] == pytest.approx(np.mean([t.clicks.sum() / t.impressions.sum() for t in trial]))
    assert rows["hrl-rec"]["acn"] == pytest.approx(np.mean([t.clicks.sum() / USERS / 5 for t in trial]))
    assert rows["hrl-rec"]["awt"] == pytest.approx(2 * rows["hrl-rec"]["acn"])
    for metric in ("ctr", "acn", "awt"):
        assert rows["lr"][f"{metric}_lift"] == 0 == rows["lr"][f"{metric}_place"]
        assert rows["oracle"][f"{metric}_place"] == 1
        assert rows["hrl-rec"][f"{metric}_low"] < 0.3 < rows["hrl-rec"][f"{metric}_high"]
        assert rows["hrl-rec"][f"{metric}_place"] == pytest.approx(0.15, abs=0.02)
    assert len(rows["hrl-rec"]["ctr_by_seed"]) == 3
    assert rows["hrl-rec"]["paper_ctr_lift"] == pytest.approx(0.0634)


def test_p_values_and_verdict_tell_what_is_decided(made):
    result = made()
    rows = {row["model"]: row for row in result["rows"] if not row["unseen"]}
    assert rows["dqn-gru"]["ctr_p"] > 0.05
    assert all(rows[name]["ctr_p"] < 0.01 for name in ("lr", "dqn-lr", "ddpg"))
    assert np.isnan([rows[name]["ctr_p"] for name in ("hrl-rec", "oracle", "logging")]).all()
    said = " ".join(result["verdict"])
    assert re.search(r"examination, CTR: HRL-Rec is ahead of [^.]*DDPG[^.]* \(p < 0.01\)", said)
    assert "examination, CTR: HRL-Rec is not ahead of DQN (GRU) at that level." in said
    assert "cascade (unseen in training)" in said


def test_hrl_rec_without_reinforcement_learning_stands_beside_it(made, tmp_path):
    result = made()
    rows = {row["model"]: row for row in result["rows"] if not row["unseen"]}
    assert rows["hrl-rec-supervised"]["acn_p"] < 0.01 and rows["hrl-rec-gamma-0"]["acn_p"] > 0.05
    assert any(
        re.fullmatch(
            r"examination, ACN: HRL-Rec, no RL: \+.* %, HRL-Rec itself \+.* % \(p 0.00.*",
            sentence,
        )
        for sentence in result["verdict"]
    )
    cells = {cell.name: cell for cell in Experiment(WORLD, tmp_path, range(1), ("training.epochs=3",)).cells()}
    assert cells["hrl-rec-gamma-0"].settings == ("training.epochs=3", "losses.gamma=0.0")
    assert {cells[name].model for name in table3.ABLATIONS} == {"hrl-rec"} and cells["lr"].settings == ()


def test_without_ablations_the_rest_is_told(made):
    result = made(lost={(name, 0) for name in table3.ABLATIONS})
    assert {row["model"] for row in result["rows"]} == {*table3.MODELS, *table3.REFERENCES}


def test_the_split_finds_no_difference_between_two_equal_arms(made):
    for row in made()["split"]:
        assert 0.001 < row["sample_ratio_p"] <= 1
        value, low, high = row["aa_ctr"]
        assert low < 0 < high and abs(value) < 0.05
        value, low, high = row["ab_ctr"]
        assert 0.1 < low < 0.3 < high


def test_offline_figures_stand_beside_online_ones(made):
    offline = {row["model"]: row for row in made()["offline"] if not row["unseen"]}
    assert offline["hrl-rec"]["auc"] == pytest.approx(0.613)
    assert set(offline) == {*table3.MODELS, *table3.ABLATIONS}


def test_a_policy_without_all_trials_is_left_out_and_said(made):
    result = made(lost={("ddpg", 1)})
    assert "ddpg" not in {row["model"] for row in result["rows"]}
    assert result["failed"] and "failed: ddpg in examination 1: it broke" in table3_text.markdown(result)


@pytest.mark.parametrize("policy", ["lr", "hrl-rec", "oracle"])
def test_without_base_or_ours_there_is_nothing_to_say(made, policy):
    with pytest.raises(TrainingError, match=f"{policy} has no finished trial in every seed"):
        made(lost={(policy, 2)})


def test_text_and_page_hold_every_row(made):
    result = made()
    text, page = table3_text.markdown(result), table3_page.render(result)
    for policy in table3.POLICIES.values():
        assert text.count(policy.label) >= 2 and policy.label in page
    assert "unseen in training" in text and page.count("<svg") == 6
    assert "<script" not in page and not re.search(r"(src|href)=.?https?:", page)


def test_one_seed_works(made):
    assert made(seeds=1)["rows"][0]["seeds"] == 1


def test_too_short_a_world_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="days must be at least 8"):
        Experiment(dataclasses.replace(WORLD, days=7), tmp_path, range(1))


def test_the_world_that_comes_along_is_what_it_was():
    """Figures in the README are of these values."""
    assert world_file.load("table3") == WorldConfig(
        users=1000, items=2000, days=15, requests_per_day=1000, weekday_cycle=0.15, explore_share=0.1
    )


@pytest.fixture(scope="module")
def feed(tmp_path_factory):
    return SimulatedFeed(dataclasses.replace(WORLD, users=60, days=6), 4, tmp_path_factory.mktemp("feed") / "seed-0")


def test_a_feed_is_written_once_and_only_for_its_world(feed):
    sessions = feed.prepare()
    files = sorted(feed.folder.glob("log/*.parquet"))
    assert len(files) == 4 and sessions.folder.name == "sessions"
    written = [file.stat().st_mtime_ns for file in files]
    assert feed.prepare() == sessions
    assert [file.stat().st_mtime_ns for file in files] == written
    other = dataclasses.replace(feed, config=dataclasses.replace(feed.config, items=201))
    with pytest.raises(ConfigError, match="holds another world"):
        other.prepare()


def test_trials_run_in_processes_are_kept_and_known_again(feed, capsys):
    feed.prepare()
    runs = [TrialRun(feed, 2, model, name) for model in ("examination", "cascade") for name in ("oracle", "logging")]
    assert trials.run_all(runs, 1) == {}
    found = {str(run): run.result() for run in runs}
    oracle, logging = (found[f"{name} in examination 0"] for name in ("oracle", "logging"))
    assert oracle.clicks.sum() > 1.3 * logging.clicks.sum()
    assert found["oracle in cascade 0"].clicks.sum() != oracle.clicks.sum()
    assert oracle.days == 2 and set(COUNTS) < set(dataclasses.asdict(oracle))
    written = runs[0].file.stat().st_mtime_ns
    assert trials.run_all(runs, 1) == {} and runs[0].file.stat().st_mtime_ns == written
    mark = runs[0].file.with_suffix(".json")
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "days": 3}))
    with pytest.raises(ConfigError, match="is a trial of another days"):
        runs[0].result()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table3", "--data", "x"], "table3 runs in the simulator: leave --data out"),
        (["table3", "--history"], "table3 runs in the simulator: leave --history out"),
        (["table3", "--preset", "paper"], "table3 runs in the simulator: leave --preset out"),
        (["table3", "--warm", "training.epochs=2"], "--warm is of fig4's nightly updates; table3 has none"),
        (["fig4", "--replicates", "9"], "fig4 compares versions on one panel, without a bootstrap"),
        (["table2"], "table2 needs --data DIR"),
        (["table2", "--data", "x", "--world", "y"], "--world is for table3, fig4"),
        (["table3", "--world", "nowhere.yaml"], "nowhere.yaml: cannot be read as YAML"),
    ],
)
def test_bad_usage_is_told(words, message, tmp_path, capsys):
    assert main(["reproduce", *words, "--out", str(tmp_path)]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("exhibit", ["table3", "fig4"])
def test_a_folder_in_which_another_command_works_is_refused(exhibit, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(folder_lock, "_PATIENCE", 0.1)
    with FolderLock(tmp_path):
        assert main(["reproduce", exhibit, "--out", str(tmp_path)]) == 1
    assert "another hrlrec works in" in capsys.readouterr().err and not list(tmp_path.glob("seed-*"))


def test_a_world_file_with_a_wrong_field_is_refused(tmp_path):
    (tmp_path / "w.yaml").write_text("users: 10\nfoo: 3\n")
    with pytest.raises(ConfigError, match="w.yaml: foo is unknown"):
        world_file.load(str(tmp_path / "w.yaml"))
    (tmp_path / "w.yaml").write_text("channel_fatigue: 9\n")
    with pytest.raises(ConfigError, match="channel_fatigue must be from 0 to 5"):
        world_file.load(str(tmp_path / "w.yaml"))
    (tmp_path / "w.yaml").write_text("shocks: [{day: 1, channel: news, kind: flood, size: 2}]\n")
    with pytest.raises(ConfigError, match="size of a flood must be from 0 to 1"):
        world_file.load(str(tmp_path / "w.yaml"))
