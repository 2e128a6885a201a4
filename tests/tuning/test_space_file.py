"""The space file: what it may say, and what is refused by name before anything is trained."""

import pathlib

import pytest

from hrlrec_tf.config import Config
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.tuning import space_file
from hrlrec_tf.tuning.space import Choices, Range, SearchSpace


@pytest.fixture
def load(tmp_path: pathlib.Path):
    """Loads a space file of this text."""

    def read(text: str) -> SearchSpace:
        file = tmp_path / "space.yaml"
        file.write_text(text, encoding="utf-8")
        return space_file.load(file)

    return read


def test_every_kind_of_field(load) -> None:
    found = load(
        """
        search: bayesian
        trials: 9
        preset: paper
        set: {training.epochs: 3, network.user_id: false}
        space:
          losses.gamma: [0, 0.3, 0.3]
          training.batch_size: [32, 64]
          network.critic_head: [relu, linear]
          rewards.weights: [[1, 0.2, 0.1, 0.1], [1, 0.5, 0, 0]]
          training.learning_rate: {min: 1e-4, max: 1e-2, sampling: log}
          training.actor_period: {min: 5, max: 30}
        """
    )
    assert found.fields == {
        "losses.gamma": Choices((0.0, 0.3)),
        "training.batch_size": Choices((32, 64)),
        "network.critic_head": Choices(("relu", "linear")),
        "rewards.weights": Choices(("[1.0, 0.2, 0.1, 0.1]", "[1.0, 0.5, 0.0, 0.0]")),
        "training.learning_rate": Range(1e-4, 1e-2, integer=False, log=True),
        "training.actor_period": Range(5, 30, integer=True, log=False),
    }
    assert found.fixed == ("training.epochs=3", "network.user_id=false")
    assert (found.trials, found.most_trials, found.size, found.executions) == (9, 9, None, 1)


def test_yes_and_no_are_choices(load) -> None:
    found = load("{search: grid, space: {network.user_id: [true, false]}}")
    assert found.fields == {"network.user_id": Choices((True, False))}
    assert found.preset == "best" and found.most_trials == 2


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("{min: 0, max: 0.3, step: 0.1}", (0.0, 0.1, 0.2, 0.3)),
        ("{min: 0.1, max: 0.85, step: 0.25}", (0.1, 0.35, 0.6, 0.85)),
        ("{min: 1e-3, max: 1, step: 10, sampling: log}", (0.001, 0.01, 0.1, 1.0)),
    ],
)
def test_a_step_makes_a_range_a_list(load, written: str, values: tuple[float, ...]) -> None:
    assert load(f"{{search: grid, space: {{losses.gamma: {written}}}}}").fields == {"losses.gamma": Choices(values)}


def test_whole_numbers_stay_whole(load) -> None:
    found = load("{search: grid, space: {training.batch_size: {min: 16, max: 130, step: 2, sampling: log}}}")
    assert found.fields == {"training.batch_size": Choices((16, 32, 64, 128))}


def test_trial_settings_can_be_pasted_and_build_the_config(load) -> None:
    found = load(
        """
        search: random
        trials: 5
        preset: paper
        set: {losses.ctr: 2}
        space:
          losses.gamma: {min: 0, max: 1}
          network.critic_head: [relu, linear]
          rewards.weights: [[1, 0.2, 0.1, 0.1], [1, 0.5, 0, 0]]
          network.user_id: [true, false]
        """
    )
    values = found.settle(
        {
            "losses.gamma": 0.123456,
            "network.critic_head": "linear",
            "rewards.weights": "[1.0, 0.5, 0.0, 0.0]",
            "network.user_id": False,
        }
    )
    settings = found.settings(values)
    assert settings[:2] == ["losses.ctr=2", "losses.gamma=0.1235"]
    built = Config().override(settings)
    assert built == found.config(values)
    assert (built.losses.ctr, built.losses.gamma, built.network.critic_head) == (2.0, 0.1235, "linear")
    assert built.rewards.weights == (1.0, 0.5, 0.0, 0.0) and built.network.user_id is False


def test_values_that_fit_together_only_in_the_space_are_taken(load) -> None:
    """8 divides neither by 3 nor 6 by 4, but 6 by 3 does."""
    found = load(
        "{search: grid, preset: paper, space: {network.embedding_dim: [8, 6], network.attention_heads: [4, 3]}}"
    )
    assert found.size == 4
    with pytest.raises(ConfigError, match="attention_heads must divide"):
        found.config({"network.embedding_dim": 8, "network.attention_heads": 3})


GRID = "search: grid\nspace: "
RANDOM = "search: random\ntrials: 3\nspace: "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("search: [", "cannot be read as YAML"),
        ("just words", "must be a mapping"),
        (
            "search: hyperband\nspace: {losses.gamma: [0, 1]}",
            "search must be one of grid, .*: got 'hyperband'",
        ),
        ("space: {losses.gamma: [0, 1]}", "needs search, space"),
        ("search: grid", "needs search, space"),
        (GRID + "{}", "space is empty; name at least one field"),
        ("search: grid\ntrails: 3\nspace: {losses.gamma: [0, 1]}", "trails is unknown; known: search, space, trials"),
        ("search: random\nspace: {losses.gamma: [0, 1]}", "a random search needs trials, for instance trials: 20"),
        (RANDOM.replace("3", "0") + "{losses.gamma: [0, 1]}", "trials must be at least 1: got 0"),
        (GRID + "{losses.gama: [0, 1]}", "space.losses.gama: setting 'losses.gama' is unknown; known: .*losses.gamma"),
        (RANDOM + "{losses.gama: {min: 0, max: 1}}", "setting 'losses.gama' is unknown; known: .*losses.gamma"),
        (RANDOM + "{gamma: {min: 0, max: 1}}", "is not SECTION.FIELD=VALUE"),
        (GRID + "{losses.gamma: [0, 2]}", "space.losses.gamma: .*'gamma' is 2.0; it must lie between 0.0 and 1.0"),
        (RANDOM + "{losses.gamma: {min: 0, max: 2}}", "space.losses.gamma: .*it must lie between 0.0 and 1.0"),
        (GRID + "{losses.gamma: [0, high]}", "space.losses.gamma: .*wrong type: got 'high'"),
        (GRID + "{network.critic_head: [relu, gelu]}", "'critic_head' is 'gelu'; choose one of relu, linear, softplus"),
        (GRID + "{losses.gamma: [0.5]}", r"space.losses.gamma needs at least two different values: got \[0.5\]"),
        (GRID + "{losses.gamma: []}", "space.losses.gamma needs at least two different values"),
        (GRID + "{losses.gamma: 0.5}", "space.losses.gamma must be a list of values, or {min: .., max: ..}: got 0.5"),
        (GRID + "{losses.gamma: {min: 0, max: 1}}", "space.losses.gamma: a grid needs a step"),
        (RANDOM + "{losses.gamma: {min: 0}}", "space.losses.gamma needs min, max: got min"),
        (RANDOM + "{losses.gamma: {min: 0, max: 1, scale: log}}", "space.losses.gamma.scale is unknown"),
        (RANDOM + "{losses.gamma: {min: 0, max: 1, sampling: cubic}}", "sampling must be one of linear, log"),
        (RANDOM + "{losses.gamma: {min: 0, max: 1, sampling: log}}", "sampling: log needs a min above 0: got 0"),
        (RANDOM + "{losses.gamma: {min: 1, max: 0}}", "min must be below max: got 1 and 0"),
        (RANDOM + "{losses.gamma: {min: low, max: 1}}", "space.losses.gamma.min must be a number: got 'low'"),
        (RANDOM + "{training.epochs: {min: 1, max: 2.5}}", "space.training.epochs.max must be a whole number: got 2.5"),
        (RANDOM + "{losses.gamma: {min: 0, max: 1, step: 0}}", "space.losses.gamma.step must be above 0: got 0"),
        (RANDOM + "{losses.ctr: {min: 1, max: 2, step: 1, sampling: log}}", "step must be above 1: got 1"),
        (RANDOM + "{losses.ctr: {min: 0, max: 2, step: 1e-6}}", "makes 2000001 values; take a larger one"),
        (RANDOM + "{network.critic_head: {min: 0, max: 1}}", "space.network.critic_head is no number and has no range"),
        (GRID + "{losses.gamma: [0, 1]}\nset: {losses.gamma: 0}", "losses.gamma stands under both set and space"),
        (GRID + "{losses.gamma: [0, 1]}\nset: {losses.gama: 0}", "set.losses.gama: setting 'losses.gama' is unknown"),
        (GRID + "{losses.gamma: [0, 1]}\nset: {losses.beta: -1}", "set.losses.beta: .*'beta' is -1.0"),
        (GRID + "{losses.gamma: [0, 1]}\nexecutions: 2\nset: {training.seed: 4}", "executions sets training.seed"),
        (GRID + "{losses.gamma: [0, 1]}\nexecutions: 0", "executions must be at least 1: got 0"),
        (GRID + "{losses.gamma: [0, 1]}\nseed: -1", "seed must not be negative: got -1"),
        (GRID + "{losses.gamma: [0, 1]}\npreset: beast", "preset must be one of paper, best: got 'beast'"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_file_and_field(load, tmp_path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(text)
    assert str(caught.value).startswith(f"{tmp_path / 'space.yaml'}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.yaml: cannot be read as YAML .*No such file"):
        space_file.load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("name", space_file.bundled())
def test_bundled_files_load_by_name(name: str) -> None:
    assert space_file.load(name).most_trials > 1


def test_the_example_is_there() -> None:
    assert "hrl-rec" in space_file.bundled()


def test_of_a_baseline(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("{search: random, trials: 2, space: {network.embedding_dim: [8, 16]}, set: {training.epochs: 1}}")
    found = space_file.load(file, "deepfm")
    assert (found.preset, found.model) == (None, "deepfm")
    settings = found.config({"network.embedding_dim": 8})
    assert (settings.network.embedding_dim, settings.training.epochs) == (8, 1)
    with pytest.raises(ConfigError, match="'network.embedding_dim' is unknown; known: inputs"):
        space_file.load(file, "lr")
    file.write_text("{search: grid, preset: best, space: {training.seed: [1, 2]}}")
    with pytest.raises(ConfigError, match="deepfm has no presets, got preset 'best'; leave it out"):
        space_file.load(file, "deepfm")
