"""A trained model as a policy in the simulator, through the very functions that are exported for serving.

The journal gives each request the history, profile and counts that a feed would send; strings are looked up by the
transform graph inside, as TensorFlow Serving does it.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hrlrec_tf import export, features
from hrlrec_tf.data import item_counts
from hrlrec_tf.errors import ModelError
from hrlrec_tf.export import ScoringModule, ServingModule
from hrlrec_tf.features import FeatureSpec
from hrlrec_tf.simulator.feed import DAY_MS, Feed
from hrlrec_tf.simulator.journal import Journal
from hrlrec_tf.simulator.logs import LogTable
from hrlrec_tf.simulator.matcher import Candidates
from hrlrec_tf.simulator.policy import Choice
from hrlrec_tf.simulator.requests import Requests

_BATCH = 256  # requests that a model ranks at once

Arrays = dict[str, npt.NDArray]


@dataclasses.dataclass(frozen=True)
class CountsRule:
    """How sessions give items their counts; see `data/item_counts.py`.

    Attributes:
      prior: click rate of the log.
      strength: impressions at that rate that every item starts with.
    """

    prior: float
    strength: float

    @classmethod
    def of_sessions(cls, folder: str | pathlib.Path) -> "CountsRule | None":
        """The rule that a folder of `hrlrec prepare` says; None where its sessions have no item counts.

        Raises:
          ModelError: counts are refreshed at other times than midnight, when the simulator does.
        """
        rule = json.loads((pathlib.Path(folder) / "summary.json").read_text(encoding="utf-8")).get("item_counts")
        if rule is None:
            return None
        if rule["refresh_seconds"] * 1000 != DAY_MS:
            raise ModelError(
                f"{folder}: item counts are refreshed every {rule['refresh_seconds']:g} s, the simulator does it at "
                f"midnight; prepare the log with item_counts: {{refresh_seconds: {DAY_MS // 1000}}}"
            )
        return cls(rule["prior_click_rate"], rule["strength"])


class RequestInputs:
    """Inputs of the serving signatures for requests of a simulated feed.

    Args:
      feed: the world. spec: of the model's sessions. counts: how items get their counts, where the spec has them.

    Raises:
      ModelError: the model wants a column that simulated logs do not have.
    """

    def __init__(self, feed: Feed, spec: FeatureSpec, counts: CountsRule | None) -> None:
        self.feed, self._spec, self._counts = feed, spec, counts
        table = LogTable(feed)
        items, users = table.by_item, table.by_user
        self._items = {name: _with_absent(items[name].to_pylist()) for name in spec.item if name in items}
        self._users = {name: tf.constant(users[name].to_pylist()) for name in spec.request if name in users}
        self._devices = tf.constant(table.devices.to_pylist())
        self._tags = tf.constant([*table.tags, ""])
        self._channels = tf.constant(feed.config.channel_names)
        known = {*self._items, *self._users, "timestamp", "request_id", "context_device"}
        known |= set(features.ITEM_COUNTS) if counts else set()
        for name in (*spec.request, *spec.item):
            if name not in known:
                hint = "; name the sessions it was trained on" if name in features.ITEM_COUNTS else ""
                raise ModelError(f"the model wants {name!r}, which a simulated feed does not have{hint}")

    def numbers(self, journal: Journal, requests: Requests, candidates: Candidates) -> Arrays:
        """All that differs from request to request, as numbers: name -> [requests, ...]."""
        journal.turn_to(requests.day)
        users = requests.users
        arrays = {f"row_{name}": values[users] for name, values in journal.rows.items()}
        arrays |= {
            "user": users,
            "device": requests.devices.astype(np.int32),
            "timestamp": requests.timestamps,
            "candidate": candidates.items,
            "channel_impressions": journal.channel_impressions[users],
            "channel_clicks": journal.channel_clicks[users],
            "tag_impressions": journal.tag_impressions[users],
            "tag_clicks": journal.tag_clicks[users],
        }
        if self._counts:
            items = journal.item_impressions, journal.item_clicks
            shown = (arrays.pop(f"row_item_{what}_before") for what in ("impressions", "clicks"))
            for prefix, known in (
                (features.CANDIDATE, [values[candidates.items] for values in items]),
                (features.HISTORY, list(shown)),
            ):
                made = item_counts.features(known[0], known[1], self._counts.prior, self._counts.strength)
                absent = (candidates.items if prefix == features.CANDIDATE else arrays["row_item"]) < 0
                arrays |= {prefix + name: np.where(absent, np.float32(0), value) for name, value in made.items()}
        return arrays

    def tensors(self, numbers: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Inputs of the `rank` signature but for `epsilon`, from `numbers`."""
        spec = self._spec
        inputs = {name: tf.gather(values, numbers["user"]) for name, values in self._users.items()}
        inputs |= {"timestamp": numbers["timestamp"]}
        if "context_device" in spec.request:
            inputs["context_device"] = tf.gather(self._devices, numbers["device"])
        rows = numbers["row_item"]
        for name in (*features.FEEDBACK, *features.COUNTS, *features.HISTORY_ONLY):
            inputs[features.HISTORY + name] = numbers[f"row_{name}"]
        for name, values in self._items.items():
            inputs[features.HISTORY + name] = _gather(values, rows)
            inputs[features.CANDIDATE + name] = _gather(values, numbers["candidate"])
        for name in features.ITEM_COUNTS if self._counts else ():
            inputs |= {prefix + name: numbers[prefix + name] for prefix in (features.HISTORY, features.CANDIDATE)}
        for level, names in (("channel", self._channels), ("tag", self._tags)):
            impressions, clicked = numbers[f"{level}_impressions"], numbers[f"{level}_clicks"]
            inputs[f"profile_{level}"] = tf.where(impressions > 0, names[tf.newaxis], "")
            inputs[f"profile_{level}_impressions"] = impressions
            inputs[f"profile_{level}_clicks"] = clicked
        return inputs


class _Asked:
    """A signature that is asked about requests of a feed, some at a time.

    Args:
      inputs, journal: as in `ModelPolicy`.
      signature: from the tensors of `RequestInputs` to outputs by name, [requests, ...].
      outputs: names of those that are wanted.
    """

    def __init__(
        self, inputs: RequestInputs, journal: Journal, signature: Callable[..., Any], outputs: Sequence[str]
    ) -> None:
        self._inputs, self._journal, self._outputs = inputs, journal, outputs
        self._signature = tf.function(
            lambda numbers: signature(inputs.tensors(numbers)), autograph=False, reduce_retracing=True
        )

    def __call__(self, requests: Requests, candidates: Candidates) -> list[npt.NDArray]:
        """The outputs."""
        parts = [slice(first, first + _BATCH) for first in range(0, len(requests), _BATCH)]
        answers = [self._part(requests[part], candidates[part]) for part in parts]
        return [np.concatenate(values) for values in zip(*answers, strict=True)]

    def _part(self, requests: Requests, candidates: Candidates) -> list[npt.NDArray]:
        numbers = _padded(self._inputs.numbers(self._journal, requests, candidates))
        answer = self._signature({name: tf.constant(values) for name, values in numbers.items()})
        return [answer[name].numpy()[: len(requests)] for name in self._outputs]


class ModelPolicy:
    """A model that builds lists (HRL-Rec, the RL baselines) as a policy.

    Args:
      name: of the policy in messages and results.
      inputs: of the model's requests.
      journal: what the feed knows; whoever runs days must `add` every list to it.
      rank: `ServingModule.ranked`: inputs by name -> `index`, propensities, ... [requests, positions].
      epsilon: share of positions drawn at random.
    """

    def __init__(
        self, name: str, inputs: RequestInputs, journal: Journal, rank: Callable[..., Any], epsilon: float = 0.0
    ) -> None:
        def ranked(tensors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return rank({**tensors, "epsilon": tf.fill(tf.shape(tensors["timestamp"]), tf.constant(epsilon))})

        self.name = name
        self._asked = _Asked(inputs, journal, ranked, ("index", "explored", "propensity_channel", "propensity_item"))

    def lists(self, requests: Requests, candidates: Candidates) -> Choice:
        places, explored, *propensities = self._asked(requests, candidates)
        return Choice(places, explored > 0, *propensities)


class QuotaPolicy:
    """The paper's online base: a click model's scores under rules for channels.

    Position by position the candidate of the highest score, but no channel gets more rows than its quota, and none more
    than two in a row. A row is left to the best score of all where the rules leave no candidate.

    Args:
      name: of the policy. inputs, journal: as in `ModelPolicy`.
      score: the `score` signature: inputs by name -> `click_probability` [requests, candidates].
      quotas: rows of each channel in a list, in the order of the world's channel_names.
    """

    _IN_A_ROW = 2

    def __init__(
        self, name: str, inputs: RequestInputs, journal: Journal, score: Callable[..., Any], quotas: npt.ArrayLike
    ) -> None:
        self.name, self._quotas = name, np.asarray(quotas)
        self._channels = inputs.feed.corpus.channels
        self._positions = inputs.feed.config.positions
        self._asked = _Asked(inputs, journal, score, ("click_probability",))

    def lists(self, requests: Requests, candidates: Candidates) -> Choice:
        (scores,) = self._asked(requests, candidates)
        return Choice.certain(self._ruled(np.where(candidates.items >= 0, scores, -np.inf), candidates))

    def _ruled(self, scores: npt.NDArray, candidates: Candidates) -> npt.NDArray[np.int64]:
        rows = np.arange(len(scores))
        channels = self._channels[candidates.items]
        left = np.tile(self._quotas, (len(scores), 1))
        places = np.empty((len(scores), self._positions), np.int64)
        shown = np.full((len(scores), self._positions), -1)
        for t in range(self._positions):
            allowed = left[rows[:, np.newaxis], channels] > 0
            if t >= self._IN_A_ROW:
                before = shown[:, t - self._IN_A_ROW : t]
                run = np.where((before == before[:, :1]).all(axis=1), before[:, 0], -1)
                allowed &= channels != run[:, np.newaxis]
            ruled = np.where(allowed, scores, -np.inf)
            ruled = np.where(np.isneginf(ruled).all(axis=1, keepdims=True), scores, ruled)
            places[:, t] = ruled.argmax(axis=1)
            shown[:, t] = channels[rows, places[:, t]]
            left[rows, shown[:, t]] -= 1
            scores[rows, places[:, t]] = -np.inf
        return places


def open_model(
    model: pathlib.Path, sessions: pathlib.Path, feed: Feed
) -> tuple[ServingModule | ScoringModule, RequestInputs]:
    """What would be exported of a model folder, and the inputs of its signatures in a feed.

    Args:
      model: folder of `hrlrec train`. sessions: that say how items get their counts. feed: the world.

    Raises:
      ModelError: there is no finished model, or it wants what the feed does not have.
    """
    make, reader = export.serving_module(str(model))
    return make(), RequestInputs(feed, reader.spec, CountsRule.of_sessions(sessions))


def quotas(click_shares: npt.ArrayLike, positions: int) -> npt.NDArray[np.int64]:
    """Rows of each channel in a list in proportion to its clicks, by the method of largest remainders."""
    exact = np.asarray(click_shares, float) * positions / np.sum(click_shares)
    whole = np.floor(exact).astype(np.int64)
    whole[np.argsort(whole - exact, kind="stable")[: positions - whole.sum()]] += 1
    return whole


def _with_absent(values: list) -> tf.Tensor:
    """A table of items with one more row for NO_ITEM; tags are joined as requests join them."""
    joined = [features.TAG_SEPARATOR.join(value) if isinstance(value, list) else value for value in values]
    return tf.constant([*joined, "" if isinstance(joined[0], str) else 0.0])


def _gather(table: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    return tf.gather(table, tf.where(items >= 0, items, tf.shape(table)[0] - 1))


def _padded(arrays: Arrays) -> Arrays:
    """The next power of two requests, by repeating the last one: few shapes, so few traces."""
    size = len(arrays["user"])
    wanted = 1 << max(size - 1, 0).bit_length()
    rows = np.minimum(np.arange(wanted), size - 1)
    return {name: values[rows] for name, values in arrays.items()}
