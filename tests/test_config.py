import json

import pytest

from hrlrec_tf.config import Config, LossConfig, preset
from hrlrec_tf.errors import ConfigError

SECTIONS = ("network", "rewards", "losses", "training")


class TestPaper:
    """Sec. 4.3 and, where the paper is silent, the authors' code."""

    def test_network(self):
        network = Config().network
        assert (network.state_dim, network.embedding_dim, network.attention_heads) == (128, 32, 4)
        assert (network.action_space, network.critic_head, network.critic_form, network.click_head) == (
            "tanh",
            "relu",
            "linear",
            "linear",
        )
        assert network.dropout == 0.3
        assert (network.critics, network.channel_constraint) == (1, "hard")
        assert network.channel_exploration == 0  # Sec. 3.5 explores over the candidates

    def test_losses(self):
        losses = Config().losses
        assert (losses.channel, losses.item, losses.ctr, losses.similarity) == (5, 5, 1, 1)
        assert (losses.gamma, losses.beta, losses.action_noise, losses.behaviour_cloning) == (0.3, 1, 0.01, 0)
        assert losses.bootstrap == "actor"
        assert losses.propensity_cap == 0

    def test_training(self):
        settings = Config().training
        assert (settings.batch_size, settings.learning_rate, settings.gradient_clip) == (256, 2e-4, 5)
        assert (settings.target_tau, settings.target_period) == (0.1, 30)
        assert 5 <= settings.actor_period <= 30

    def test_rewards(self):
        assert Config().rewards.combine == "power"

    def test_presets(self):
        assert preset("paper") == Config() != preset("best")
        best = preset("best").network
        assert (best.critic_form, best.click_head) == ("interaction", "counts")
        with pytest.raises(ConfigError, match="preset 'beast' is unknown; choose paper or best"):
            preset("beast")


class TestFiles:
    @pytest.mark.parametrize("name", ["paper", "best"])
    def test_json_round_trip(self, name):
        config = preset(name).override(['rewards.channel_weights={"news": [1, 2, 3, 4]}', "training.seed=9"])
        text = config.to_json()
        assert Config.from_json(text) == config and Config.from_json(text).to_json() == text
        assert Config.from_json(text).rewards.channel_weights == {"news": (1.0, 2.0, 3.0, 4.0)}
        assert set(json.loads(text)) == set(SECTIONS)

    def test_absent_fields_take_their_default(self):
        assert Config.from_dict({}) == Config.from_dict({"losses": {}}) == Config()
        assert Config.from_dict({"losses": {"gamma": 1}}).losses == LossConfig(gamma=1.0)

    @pytest.mark.parametrize(
        ("sections", "message"),
        [
            ({"loss": {}}, "section 'loss' is unknown; known: network, rewards, losses, training"),
            ({"losses": {"gama": 0.5}}, "setting 'losses.gama' is unknown; known: gamma, beta"),
            ({"losses": {"gamma": "0.5"}}, "setting 'losses.gamma' has the wrong type: got '0.5', expected float"),
            ({"losses": {"gamma": True}}, "setting 'losses.gamma' has the wrong type"),
            ({"training": {"epochs": 1.5}}, "setting 'training.epochs' has the wrong type: got 1.5, expected int"),
            ({"training": {"epochs": True}}, "setting 'training.epochs' has the wrong type"),
            ({"network": {"user_id": 1}}, "setting 'network.user_id' has the wrong type"),
            ({"network": {"critic_head": 3}}, "setting 'network.critic_head' has the wrong type"),
            (
                {"network": {"critic_head": "tanh"}},
                "setting 'critic_head' is 'tanh'; choose one of relu, linear, softplus",
            ),
            ({"network": {"critics": 3}}, "setting 'critics' is 3; choose one of 1, 2"),
            ({"network": {"critics": "2"}}, "setting 'network.critics' has the wrong type: got '2'"),
            ({"network": {"critics": True}}, "setting 'network.critics' has the wrong type: got True"),
            ({"losses": {"bootstrap": "best"}}, "'bootstrap' is 'best'; choose one of actor, logged, retrieved"),
            ({"rewards": {"weights": 3}}, "setting 'rewards.weights' has the wrong type"),
            ({"rewards": {"weights": [1, "2", 3, 4]}}, "setting 'rewards.weights' has the wrong type: got '2'"),
            ({"rewards": {"weights": [1, 2, 3]}}, "rewards.weights and rewards.biases need four numbers"),
            (
                {"rewards": {"channel_weights": {"news": 3}}},
                "setting 'rewards.channel_weights.news' has the wrong type",
            ),
            ({"network": {"attention_heads": 3}}, "attention_heads must divide network.embedding_dim: got 3 and 32"),
        ],
    )
    def test_refused(self, sections, message):
        with pytest.raises(ConfigError, match=message):
            Config.from_dict(sections)


class TestContradictions:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (
                ["network.channel_weight=2"],
                "network.channel_weight is 2.0, which network.channel_constraint=hard ignores; choose soft, or leave",
            ),
            (
                ["losses.ctr=0", "losses.similarity=0", "losses.beta=0"],
                "nothing trains the channel level's actor; give one of losses.ctr, .* or both losses.beta",
            ),
            (
                ["losses.ctr=0", "losses.similarity=0", "losses.item=0"],
                "nothing trains the item level's actor; .* and losses.item",
            ),
            (
                ["losses.propensity_cap=1"],
                "losses.propensity_cap is 1.0, .* are at least 1; choose a cap above 1, or 0",
            ),
            (["losses.ctr=0", "losses.item=0"], "losses.ctr is 0, so Q predicts clicks, and losses.item is 0"),
            (["losses.action_ctr=2"], "losses.action_ctr is 2.0, which joins .* network.click_head=linear: set"),
            (
                ["network.click_head=state", "losses.action_ctr=2", "losses.ctr=0"],
                "losses.action_ctr is 2.0, .* got losses.ctr=0.0 and network.click_head=state",
            ),
        ],
    )
    def test_refused(self, settings, message):
        with pytest.raises(ConfigError, match=message):
            Config().override(settings)

    @pytest.mark.parametrize(
        "settings",
        [
            ["losses.ctr=0"],
            ["losses.ctr=0", "losses.similarity=0"],
            ["losses.channel=0", "losses.item=0"],
            ["losses.beta=0", "losses.ctr=0", "losses.similarity=0", "losses.behaviour_cloning=1"],
            ["losses.gamma=0", "losses.bootstrap=retrieved", "network.critics=2"],
            ["network.channel_constraint=soft", "network.channel_weight=0"],
        ],
    )
    def test_what_trains_something_is_allowed(self, settings):
        assert Config().override(settings) != Config()

    def test_clicks_are_predicted_by_what_is_trained(self):
        assert Config().click_score == "click"
        assert Config().override(["losses.ctr=0"]).click_score == "q"


class TestRanges:
    @pytest.mark.parametrize(
        ("field", "low", "high"),
        [
            ("network.embedding_dim", 0, 4097),
            ("network.state_dim", 0, 8193),
            ("network.attention_heads", 0, 65),
            ("network.dropout", -0.1, 0.96),
            ("network.channel_weight", -1.0, 1e7),
            ("network.channel_exploration", -0.1, 1.1),
            ("rewards.dwell_unit_seconds", 0.0, 1e7),
            ("losses.gamma", -0.1, 1.1),
            ("losses.beta", -1.0, 1e7),
            ("losses.channel", -1.0, 1e7),
            ("losses.item", -1.0, 1e7),
            ("losses.ctr", -1.0, 1e7),
            ("losses.action_ctr", -1.0, 1e7),
            ("losses.similarity", -1.0, 1e7),
            ("losses.action_noise", -1.0, 1e7),
            ("losses.behaviour_cloning", -1.0, 1e7),
            ("losses.propensity_cap", -1.0, 1e7),
            ("training.batch_size", 0, 1 << 21),
            ("training.learning_rate", 0.0, 11.0),
            ("training.gradient_clip", 0.0, 1e7),
            ("training.embedding_l2", -0.1, 1.1),
            ("training.actor_period", 0, 1 << 21),
            ("training.target_tau", 0.0, 1.1),
            ("training.target_period", 0, 1 << 21),
            ("training.epochs", 0, 1 << 21),
            ("training.patience", 0, 1 << 21),
            ("training.seed", -1, 1 << 31),
        ],
    )
    def test_numbers_outside_are_refused_by_name(self, field, low, high):
        section, name = field.split(".")
        for value in (low, high):
            with pytest.raises(ConfigError, match=f"setting '{name}' is {value}; it must lie between"):
                Config.from_dict({section: {name: value}})

    def test_not_a_number_is_refused(self):
        with pytest.raises(ConfigError, match="setting 'gamma' is nan"):
            Config().override(["losses.gamma=NaN"])


class TestOverride:
    def test_values(self):
        config = Config().override(
            [
                "losses.gamma=0.5",
                "losses.beta=2",
                "training.epochs=3",
                "network.action_space=l2",
                'network.critic_head="linear"',
                "network.user_id=true",
                "rewards.biases=[1, 1, 1, 1]",
            ]
        )
        assert (config.losses.gamma, config.losses.beta, config.training.epochs) == (0.5, 2.0, 3)
        assert (config.network.action_space, config.network.critic_head, config.network.user_id) == (
            "l2",
            "linear",
            True,
        )
        assert config.rewards.biases == (1.0, 1.0, 1.0, 1.0)
        assert Config().losses.gamma == 0.3  # the original stands

    def test_the_last_one_counts(self):
        assert Config().override(["losses.gamma=0.5", "losses.gamma=0.6"]).losses.gamma == 0.6

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ("losses.gamma", "'losses.gamma' is not SECTION.FIELD=VALUE"),
            ("gamma=0.5", "'gamma=0.5' is not SECTION.FIELD=VALUE"),
            ("losses.gama=0.5", "setting 'losses.gama' is unknown; known: .*losses.gamma"),
            ("loss.gamma=0.5", "setting 'loss.gamma' is unknown"),
            ("losses.gamma=half", "setting 'losses.gamma' has the wrong type: got 'half'"),
            ("losses.gamma=2", "setting 'gamma' is 2.0; it must lie between 0.0 and 1.0"),
        ],
    )
    def test_refused(self, setting, message):
        with pytest.raises(ConfigError, match=message):
            Config().override([setting])
