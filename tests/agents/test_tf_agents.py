"""The agents under TF-Agents' own machinery, used as its own agents are."""

import json
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.policies import greedy_policy
from tf_agents.train import learner as learners
from tf_agents.train import triggers
from tf_agents.trajectories import time_step as ts
from tf_agents.utils import common, nest_utils

from hrlrec_tf.agents.hierarchy import HrlRecAgent
from hrlrec_tf.agents.policy import as_time_step, session_observation_spec
from hrlrec_tf.networks.session import embed

SETTINGS = ("training.learning_rate=0.01", "training.actor_period=2", "training.target_period=2")
STEPS = 3
# Nothing of this package: what a saved policy needs is inside it.
FRESH = """
import json, sys
import numpy as np, tensorflow as tf
from tf_agents.trajectories import time_step as ts
observation = {name: tf.constant(values) for name, values in np.load(sys.argv[2]).items()}
size = len(observation["timestamp"])
policy = tf.saved_model.load(sys.argv[1])
tf.train.Checkpoint(policy=policy).read(sys.argv[3]).assert_existing_objects_matched().expect_partial()
step = policy.action(ts.restart(observation, batch_size=size), ())
assert not any(name.startswith("hrlrec") for name in sys.modules)
print(json.dumps([step.action.numpy().tolist(), step.info["click_probability"].numpy().tolist()]))
"""


class Trained(NamedTuple):
    agent: HrlRecAgent
    folder: str
    loss: float
    weights: list[np.ndarray]
    calls: list[int]


@pytest.fixture(scope="module")
def trained(make_agent, experience, tmp_path_factory) -> Trained:
    """An agent trained by TF-Agents' Learner, which saved its policy and a checkpoint."""
    agent, folder, calls = make_agent(*SETTINGS), str(tmp_path_factory.mktemp("learner")), []
    learner = learners.Learner(
        folder,
        agent.train_step_counter,
        agent,
        experience_dataset_fn=lambda: tf.data.Dataset.from_tensors((experience, ())).repeat(),
        triggers=[
            calls.append,
            triggers.PolicySavedModelTrigger(
                f"{folder}/policies",
                agent,
                agent.train_step_counter,
                interval=STEPS,
                save_collect_policy=False,
                save_greedy_policy=False,
            ),
        ],
        checkpoint_interval=STEPS,
        summary_interval=0,
    )
    loss = float(learner.run(iterations=STEPS).loss)
    weights = [v.numpy() for v in (*agent.model.variables, *agent.target.variables)]
    return Trained(agent, folder, loss, weights, calls)


@pytest.fixture
def agent(trained) -> HrlRecAgent:
    """The trained agent, whatever the tests before did with it."""
    for variable, value in zip((*trained.agent.model.variables, *trained.agent.target.variables), trained.weights):
        variable.assign(value)
    return trained.agent


def test_learner_trains_as_the_agent_itself_does(trained, make_agent, experience):
    assert trained.calls == [STEPS]
    agent = make_agent(*SETTINGS)
    for _ in range(STEPS):
        info = agent.train(experience)
    np.testing.assert_allclose(info.loss, trained.loss, rtol=1e-3)
    for variable, expected in zip((*agent.model.variables, *agent.target.variables), trained.weights):
        np.testing.assert_allclose(variable, expected, atol=2e-3)


def test_checkpointer_restores_the_agent(trained, make_agent):
    agent = make_agent(*SETTINGS)
    assert any(not np.array_equal(v, w) for v, w in zip(agent.model.variables, trained.weights))
    checkpointer = common.Checkpointer(
        f"{trained.folder}/train/checkpoints", agent=agent, train_step=agent.train_step_counter
    )
    checkpointer.initialize_or_restore()
    assert checkpointer.checkpoint_exists and agent.train_step_counter == STEPS
    for variable, expected in zip((*agent.model.variables, *agent.target.variables), trained.weights):
        np.testing.assert_array_equal(variable, expected)
    assert agent.optimizer.iterations == STEPS


def test_a_fresh_process_acts_on_the_saved_policy_alike(trained, agent, observation, tmp_path):
    np.savez(tmp_path / "observation.npz", **{name: _plain(values) for name, values in observation.items()})
    # The trigger saves the policy as it starts, and its weights again and again.
    policy = f"{trained.folder}/policies/policy"
    weights = f"{trained.folder}/policies/checkpoints/policy_checkpoint_{STEPS:010}/variables/variables"
    words = [sys.executable, "-c", FRESH, policy, str(tmp_path / "observation.npz"), weights]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    actions, probabilities = json.loads(done.stdout.splitlines()[-1])
    step = agent.policy.action(as_time_step(observation))
    assert step.action.numpy().tolist() == actions
    np.testing.assert_allclose(step.info["click_probability"], probabilities, rtol=1e-4)


def _plain(values: tf.Tensor) -> np.ndarray:
    return values.numpy().astype("S") if values.dtype == tf.string else values.numpy()


def test_greedy_wrapper_takes_the_greedy_list(agent, observation):
    step = as_time_step(observation)
    wrapped = greedy_policy.GreedyPolicy(agent.policy).action(step)
    np.testing.assert_array_equal(wrapped.action, agent.policy.action(step).action)


def test_specs_describe_what_agents_take(agent, experience, observation):
    for each in (agent, *agent.levels.values()):
        nest_utils.assert_matching_dtypes_and_inner_shapes(
            experience, each.training_data_spec, caller=each, tensors_name="experience", specs_name="training_data_spec"
        )
    assert nest_utils.is_batched_nested_tensors(as_time_step(observation), agent.policy.time_step_spec)
    assert agent.time_step_spec == agent.policy.time_step_spec == agent.collect_policy.time_step_spec
    assert agent.action_spec == agent.policy.action_spec == agent.collect_policy.action_spec
    assert set(agent.collect_data_spec.policy_info) == set(agent.collect_policy.info_spec)


@pytest.mark.parametrize("level", ["channel", "item"])
def test_one_levels_policies_yield_virtual_items(make_agent, experience, level):
    agent = make_agent("losses.action_noise=0.1").levels[level]
    size = tf.shape(experience.valid)[0]
    step = ts.restart(experience.observation, batch_size=size)._replace(reward=tf.zeros_like(experience.valid))
    assert set(agent.time_step_spec.observation) == set(session_observation_spec(agent._model.spec))
    embedded = embed(agent._model.embedding, experience.observation)
    expected = agent.online.actor(agent.online.states(embedded, agent._model.embedding))
    np.testing.assert_allclose(agent.policy.action(step).action, expected, rtol=1e-5)
    noise = agent.collect_policy.action(step).action - expected
    assert 0.02 < np.std(noise) < 0.2 and np.abs(agent.collect_policy.action(step).action).max() <= 1
