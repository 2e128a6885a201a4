"""Figure 4: what versions show to the panel, in numbers; and the panel itself."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from hrlrec_tf.errors import ConfigError, TrainingError
from hrlrec_tf.experiments import daily, fig4, fig4_page, fig4_text, trials
from hrlrec_tf.experiments.daily import HOURS, PER_HOUR, Chain, Panel
from hrlrec_tf.experiments.fig4 import Experiment
from hrlrec_tf.folder_lock import FolderLock
from hrlrec_tf.simulator import world_file
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.policy import Choice, Uniform
from hrlrec_tf.simulator.trial import COUNTS, Trial

WORLD = WorldConfig(users=50, items=200, days=21, requests_per_day=50)


def shares_of(news, days=14, users=PER_HOUR):
    """What versions show of whom `news[day]` of ten rows are news and the others articles: [days, 2, H, U, C]."""
    rows = np.zeros((days, 2, HOURS, users, 4))
    rows[..., 0] = np.reshape(news, (days, 1, 1, 1))
    rows[..., 1] = 10 - rows[..., 0]
    return rows


def test_changes_are_relative_to_the_same_day_a_week_earlier():
    news = [2] * 7 + [3] * 7
    changes = fig4.weekly_changes(shares_of(news))
    assert changes.shape == (7, HOURS, 4)
    np.testing.assert_allclose(changes[..., 0], 0.5)
    np.testing.assert_allclose(changes[..., 1], 1 / 8)
    assert (changes[..., 2:] == 0).all()
    assert (fig4.weekly_changes(shares_of([1, 2, 3, 4, 5, 6, 7] * 2)) == 0).all()  # days differ, weeks do not


def test_a_channel_that_was_not_shown_has_no_relative_change():
    changes = fig4.weekly_changes(shares_of([0] * 7 + [3] * 6 + [0]))
    assert np.isnan(changes[:6, :, 0]).all() and (changes[6, :, 0] == 0).all()
    np.testing.assert_allclose(changes[:6, :, 1], 0.3)


def test_the_noise_floor_is_what_halves_of_the_panel_differ_by():
    shares = shares_of([4] * 14)
    assert (fig4.noise_floor(shares) == 0).all()
    shares[:, 1, :, :, 0] = 5
    shares[:, 1, :, :, 1] = 5
    np.testing.assert_allclose(fig4.noise_floor(shares)[..., 0], 2 * 0.1 / 0.9)


def test_the_noise_floor_shrinks_with_the_panel():
    rng = np.random.default_rng(0)

    def floor(users):
        news = rng.binomial(10, 0.3, (14, 2, HOURS, users)).astype(float)
        return fig4.noise_floor(np.stack([news, 10 - news], axis=-1)).mean()

    assert floor(1_600) == pytest.approx(floor(100) / 4, rel=0.2)
    # 20,000 impressions an hour under one policy, an hour against another: about 1.4 % of a share of 0.3 and 0.7.
    assert 0.004 < floor(2_000) < 0.02


def test_a_constant_policy_has_no_variance_between_users():
    assert fig4.between_user_variance(shares_of([4] * 14)) == pytest.approx(0, abs=1e-12)
    shares = shares_of([5] * 14, users=2)
    shares[..., 0, 0], shares[..., 0, 1] = 10, 0
    shares[..., 1, 0], shares[..., 1, 1] = 0, 10
    assert fig4.between_user_variance(shares) == pytest.approx((0.25 + 0.25) / 4)


def day_of(clicks):
    counts = {name: np.full(50, 10, np.int64) for name in COUNTS}
    return Trial(**{**counts, "clicks": np.full(50, clicks, np.int64)}, days=1)


@pytest.fixture
def made(monkeypatch, tmp_path):
    """`reproduce` on made-up chains: HRL-Rec hardly moves, DQN does, in the third week more."""

    def run(world=WORLD, lost=(), news=lambda chain, week: 4 + week * (1 if chain.model == "dqn-gru" else 0.05)):
        def shares(chain, day):
            return shares_of([news(chain, (day - 7) // 7)], days=1)[0]

        monkeypatch.setattr(trials, "execute_all", lambda chains, jobs: {f"{lost} seed 0": "it broke"} if lost else {})
        monkeypatch.setattr(Chain, "shares", shares)
        monkeypatch.setattr(Chain, "trial", lambda chain, day: None if chain.model in lost else day_of(3))
        return fig4.reproduce(Experiment(world, tmp_path, range(2)), 1)

    return run


def test_rows_say_what_the_versions_show(made):
    result = made(dataclasses.replace(WORLD, days=28))
    rows = {(row["model"], row["channel"]): row for row in result["rows"]}
    assert rows["dqn-gru", "news"]["mean_change"] == pytest.approx(0.25)
    assert rows["hrl-rec", "news"]["mean_change"] == pytest.approx(0.0125)
    assert rows["dqn-gru", "news"]["shock_max_change"] == pytest.approx(0.2)
    assert rows["hrl-rec", "news"]["noise_floor"] == 0
    models = {row["model"]: row for row in result["models"]}
    assert models["hrl-rec"]["acn"] == pytest.approx(3)
    assert models["hrl-rec"]["between_user_channel_variance"] == pytest.approx(0, abs=1e-12)
    assert len(result["series"]["hrl-rec"]["news"]["second week"]) == 7 * HOURS
    hrl_rec, dqn, both = result["verdict"]
    assert "To the week with shocks" in hrl_rec and "To the week with shocks" in dqn
    ratio = np.mean([row["mean_change"] for row in result["rows"] if row["model"] == "hrl-rec"]) / np.mean(
        [row["mean_change"] for row in result["rows"] if row["model"] == "dqn-gru"]
    )
    assert f"HRL-Rec's mean change is {ratio:.2f} of DQN's" in both and "0.12 of it" in both


def test_a_channel_that_comes_up_anew_is_left_out_and_said(made):
    result = made(news=lambda chain, week: week if chain.world.seed == 0 else 4 + week)
    news, articles = (row for row in result["rows"][:2])
    assert news["mean_change"] == pytest.approx(0.25) and news["new_hours"] == pytest.approx(0.5)  # seed 1 alone
    assert articles["new_hours"] == 0 and "without 12.50" in result["verdict"][0]
    unknown = made(news=lambda chain, week: week)
    assert np.isnan(unknown["rows"][0]["mean_change"]) and "nan" not in fig4_text.markdown(unknown)
    assert "nan" not in " ".join(unknown["verdict"])


def test_text_and_page(made):
    result = made()
    text, page = fig4_text.markdown(result), fig4_page.render(result)
    assert "DQN (GRU): shares change by" in text and "news" in text
    assert page.count("<svg") == 2 * 4 and "first week" in page and "<script" not in page


def test_a_model_without_all_days_is_left_out_and_said(made):
    result = made(lost=("dqn-gru",))
    assert {row["model"] for row in result["rows"]} == {"hrl-rec"}
    assert "it broke" in fig4_text.markdown(result)
    with pytest.raises(TrainingError, match="no chain of days is finished: it broke"):
        made(lost=("dqn-gru", "hrl-rec"))


def test_wrong_settings_are_told_before_anything_runs(tmp_path):
    with pytest.raises(ConfigError, match="training.epoch"):
        Experiment(WORLD, tmp_path, range(1), warm=("training.epoch=1",))


def test_too_few_days_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="days must be at least 21"):
        Experiment(dataclasses.replace(WORLD, days=20), tmp_path, range(1))


def test_the_panel_asks_the_same_at_every_hour_and_every_time():
    feed = Feed.create(WORLD)
    panel, again = Panel.draw(feed), Panel.draw(feed)
    np.testing.assert_array_equal(panel.candidates.items, again.candidates.items)
    users = panel.requests.users.reshape(2, HOURS, PER_HOUR)
    assert (users == users[:, :1]).all()
    hours = panel.requests.timestamps.reshape(2, HOURS, PER_HOUR) % 86_400_000 // 3_600_000
    assert (hours == np.arange(HOURS)[:, np.newaxis]).all()
    shown = panel.replay(feed, Uniform(feed))
    assert shown.shape == (2, HOURS, PER_HOUR, 4) and (shown.sum(axis=-1) == 10).all()

    class Short:
        def lists(self, requests, candidates):
            return Choice.certain(np.tile([0, 1, -1], (len(requests), 1)))

    assert (panel.replay(feed, Short()).sum(axis=-1) == 2).all()


def test_a_chain_of_something_else_is_refused(tmp_path):
    chain = Chain(WORLD, "hrl-rec", tmp_path)
    (tmp_path / "chain.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds another world, model or settings"):
        chain.execute()


def test_nightly_updates_go_on_from_yesterday_under_their_own_settings(tmp_path, monkeypatch):
    chain = Chain(WORLD, "hrl-rec", tmp_path, ("losses.gamma=0",), ("training.learning_rate=0.0001",))
    (tmp_path / "log").mkdir()
    started = []
    monkeypatch.setattr(daily, "main", lambda words: 0)
    monkeypatch.setattr(
        daily.subprocess, "run", lambda words, **_: started.append(words) or SimpleNamespace(returncode=0)
    )
    with FolderLock(tmp_path) as lock:
        chain._update(7, lock)
        chain._update(8, lock)
    first, second = started
    assert "--set=losses.gamma=0" in first and "--set=losses.gamma=0" in second
    assert not any(word.startswith("--warm-start") or "learning_rate" in word for word in first)
    assert f"--warm-start={tmp_path}/versions/007/model" in second and "--set=training.learning_rate=0.0001" in second


def test_the_world_that_comes_along_has_shocks_in_the_third_week_only():
    world = world_file.load("fig4")
    assert world.days == 28 and {shock.day for shock in world.shocks} <= set(range(21, 28)) and len(world.shocks) == 3
