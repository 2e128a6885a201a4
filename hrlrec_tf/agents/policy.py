"""Ranking as TF-Agents policies: a request with candidates in, indices of the displayed candidates out."""

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tf_agents.policies import tf_policy
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import policy_step
from tf_agents.trajectories import time_step as ts

from hrlrec_tf import features
from hrlrec_tf.candidates import Candidates, Request
from hrlrec_tf.features import FeatureSpec, Kind
from hrlrec_tf.ranking import OUTPUTS, Ranker

_DTYPES = {Kind.STRING: tf.int64, Kind.INT: tf.int64, Kind.FLOAT: tf.float32}
_TEXT = "_text"  # the string behind an id


class RankingPolicy(tf_policy.TFPolicy):
    """Ranks candidates as the trained networks would; `ExploringPolicy` wraps it.

    Observation: transformed request, history and profile features, `candidate_*` item features [N], and the strings
    `candidate_item_id_text`, `candidate_channel_text`, `candidate_tags_text`, `profile_channel_text`,
    `profile_tag_text`. Action: [T] indices into the candidates, -1 where none is left. Info: everything `Ranker.rank`
    returns.

    Args:
      ranker: on the trained networks.
    """

    def __init__(self, ranker: Ranker) -> None:
        self._ranker = ranker
        spec = ranker.network.spec
        length = spec.list_length
        action_spec = tensor_spec.BoundedTensorSpec([length], tf.int32, -1, 1 << 30, "index")
        super().__init__(
            ts.time_step_spec(ranking_observation_spec(spec)),
            action_spec,
            info_spec={name: tf.TensorSpec([length], dtype) for name, dtype in OUTPUTS.items() if name != "index"},
            name="ranking_policy",
        )
        # A policy's variables are those it tracks. The layers stay out, for saving would trace each of them again.
        self._weights = ranker.network.variables

    def rank(self, time_step: ts.TimeStep, policy_state: Any, epsilon: float) -> policy_step.PolicyStep:
        """The lists, with a share `epsilon` of positions drawn at random: a position's draw depends on those above."""
        observation = time_step.observation
        rows = {name: observation[features.CANDIDATE + name] for name in self._ranker.network.spec.item}
        candidates = Candidates(
            rows, *(observation[features.CANDIDATE + name + _TEXT] for name in ("item_id", "channel", "tags"))
        )
        request = Request(observation, observation["profile_channel" + _TEXT], observation["profile_tag" + _TEXT])
        ranked = self._ranker.rank(request, candidates, tf.fill(tf.shape(observation["timestamp"]), epsilon))
        return policy_step.PolicyStep(ranked.pop("index"), policy_state, ranked)

    def _action(self, time_step: ts.TimeStep, policy_state: Any, seed: Any) -> policy_step.PolicyStep:
        return self.rank(time_step, policy_state, 0.0)

    def _distribution(self, time_step: ts.TimeStep, policy_state: Any) -> policy_step.PolicyStep:
        """The greedy list with certainty, as TF-Agents' GreedyPolicy asks for it."""
        step = self._action(time_step, policy_state, None)
        return step._replace(action=tfp.distributions.Deterministic(step.action))


class ExploringPolicy(tf_policy.TFPolicy):
    """Explores around a ranking policy (Sec. 3.5, `exploration.epsilon_greedy`).

    Args:
      policy: which is wrapped; observation, action and info are its own.
      epsilon: share of positions drawn at random.
    """

    def __init__(self, policy: RankingPolicy, epsilon: float) -> None:
        super().__init__(policy.time_step_spec, policy.action_spec, info_spec=policy.info_spec, name="exploring_policy")
        self._policy, self._epsilon = policy, epsilon

    def _action(self, time_step: ts.TimeStep, policy_state: Any, seed: Any) -> policy_step.PolicyStep:
        return self._policy.rank(time_step, policy_state, self._epsilon)

    def _distribution(self, time_step: ts.TimeStep, policy_state: Any) -> policy_step.PolicyStep:
        raise NotImplementedError("an exploring policy yields lists and their propensities; use action")


def as_time_step(observation: dict[str, tf.Tensor]) -> ts.TimeStep:
    """Wraps ranking observations [B, ...] for a policy."""
    return ts.restart(observation, batch_size=tf.shape(observation["timestamp"])[0])


def session_observation_spec(spec: FeatureSpec) -> dict[str, tf.TensorSpec]:
    """Observation of a displayed list: its session without the list's feedback."""
    rows = {name: kind for name, kind in spec.list_rows.items() if name in (*spec.item, *features.COUNTS, "position")}
    specs = {**_request_spec(spec)}
    for name, kind in rows.items():
        shape = [spec.list_length, spec.max_tags] if name == "tags" else [spec.list_length]
        specs[name] = tf.TensorSpec(shape, _DTYPES[kind], name)
    return specs


def ranking_observation_spec(spec: FeatureSpec) -> dict[str, tf.TensorSpec]:
    """Observation of a ranking request; see `RankingPolicy`."""
    specs = _request_spec(spec)
    for name, kind in spec.item.items():
        shape = [None, spec.max_tags] if name == "tags" else [None]
        specs[features.CANDIDATE + name] = tf.TensorSpec(shape, _DTYPES[kind])
        if name in features.ITEM:
            specs[features.CANDIDATE + name + _TEXT] = tf.TensorSpec(shape, tf.string)
    for name in ("profile_channel", "profile_tag"):
        specs[name + _TEXT] = tf.TensorSpec([None], tf.string)
    return specs


def _request_spec(spec: FeatureSpec) -> dict[str, tf.TensorSpec]:
    """Request, history and profile features after the transform; one request's shapes."""
    specs = {
        name: tf.TensorSpec([], _DTYPES[kind], name) for name, kind in spec.request.items() if name != "request_id"
    }
    for name, kind in spec.history_rows.items():
        shape = [spec.history_length, spec.max_tags] if name == "history_tags" else [spec.history_length]
        specs[name] = tf.TensorSpec(shape, _DTYPES[kind], name)
    for name, kind in features.PROFILE.items():
        specs[name] = tf.TensorSpec([None], _DTYPES[kind], name)
    return specs
