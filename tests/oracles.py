"""Independent NumPy implementations of the model's equations: loops over plain arrays, slow and readable."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def item_reward(factors: Sequence[float], weights: Sequence[float], biases: Sequence[float], combine: str) -> float:
    """Eq. 7 for one row."""
    total = 0.0
    for factor, weight, bias in zip(factors, weights, biases):
        total += (factor + bias) ** weight if combine == "power" else weight * (factor + bias)
    return total


def td_targets(rewards: Sequence[float], valid: Sequence[int], q: Array, gamma: float) -> list[float]:
    """Eq. 9, 12 for one list: r_t, plus gamma * Q'(t + 1) but at the last valid position.

    Args:
      q: [critics, T]; of two target critics the smaller value counts.
    """
    last = max((t for t, inside in enumerate(valid) if inside), default=-1)
    return [rewards[t] + (gamma * min(values[t + 1] for values in q) if t < last else 0.0) for t in range(len(rewards))]


def discounted_returns(rewards: Sequence[float], valid: Sequence[int], gamma: float) -> list[float]:
    """What was earned from each position to the end of one list."""
    last = max((t for t, inside in enumerate(valid) if inside), default=-1)
    return [
        sum(gamma ** (later - t) * rewards[later] for later in range(t, max(t, last) + 1)) for t in range(len(rewards))
    ]


def cosine(a: Array, b: Array) -> float:
    """Cosine of two vectors."""
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def nearest(action: Array, items: Array, allowed: Sequence[bool]) -> int:
    """Index of the allowed item most similar to an action; of equals the first one."""
    best = -1
    for index, (item, may) in enumerate(zip(items, allowed)):
        if may and (best < 0 or cosine(action, item) > cosine(action, items[best])):
            best = index
    return best


def soft_choice(
    similarities: Array, wishes: Array, channels: Sequence, available: Sequence[bool], weight: float
) -> int:
    """Index of the item chosen under a soft channel constraint: own cosine plus `weight` times the channel's best."""
    left = [i for i, may in enumerate(available) if may]
    best = {channel: max(wishes[i] for i in left if channels[i] == channel) for channel in {channels[i] for i in left}}
    return max(left, key=lambda i: similarities[i] + weight * best[channels[i]], default=0)


def similarity_loss(actions: Array, pool: Array, allowed: npt.NDArray[np.bool_], valid: Array) -> float:
    """Eq. 17: actions [A, D], pool [P, D], allowed [A, P], valid [A]."""
    best = [
        max(cosine(action, item) for item, may in zip(pool, allowed[number]) if may)
        for number, action in enumerate(actions)
        if valid[number] and allowed[number].any()
    ]
    return -sum(best) / len(best) if best else 0.0


def sigmoid(x: Array) -> Array:
    """Logistic function."""
    return 1 / (1 + np.exp(-x))


def cross_entropy(logit: float, label: int) -> float:
    """Eq. 15 for one row."""
    probability = 1 / (1 + math.exp(-logit))
    return -math.log(probability if label else 1 - probability)


def actor(state: Array, weights: Mapping[str, Array], space: str) -> Array:
    """Eq. 3, 6 for one state: the action, squashed by tanh or brought to unit length."""
    projected = state @ weights["actor/kernel"] + weights["actor/bias"]
    return np.tanh(projected) if space == "tanh" else projected / np.linalg.norm(projected)


def critic(state: Array, action: Array, weights: Mapping[str, Array], name: str, head: str) -> float:
    """Eq. 5, 8 for one state and action; with a weight `interaction`, plus a.(W s)."""
    value = state @ weights[f"{name}/state"][:, 0] + action @ weights[f"{name}/action"][:, 0]
    value += weights[f"{name}/bias"][0]
    if f"{name}/interaction" in weights:
        value += action @ (state @ weights[f"{name}/interaction"])
    return {"relu": max(value, 0.0), "linear": value, "softplus": math.log1p(math.exp(value))}[head]


def click_logit(action: Array, item: Array, weights: Mapping[str, Array]) -> float:
    """Eq. 16 before the sigmoid for one action and item; with a weight `scale`, plus k a.d."""
    logit = action @ weights["click/action"][:, 0] + item @ weights["click/item"][:, 0] + weights["click/bias"][0]
    return logit + weights["click/scale"] * (action @ item) if "click/scale" in weights else logit


class Row(NamedTuple):
    """What one valid position of a list gives to the losses."""

    state: Array
    item: Array  # displayed item
    logged: Array  # displayed item in the target's tables and the actions' space
    clicked: int
    target: float  # y_t
    real: Array  # items that may be the action's nearest


def level_losses(
    rows: Sequence[Row], weights: Mapping[str, Array], frozen: Mapping[str, Array], space: str, head: str
) -> dict[str, float]:
    """One level's parts of eq. 18 as means over rows.

    Args:
      weights: by name; the critics are `critic` and, if there, `second_critic`.
      frozen: the same, from which the actor's loss takes its critic.
    """
    parts: dict[str, list[float]] = {"critic": [], "actor": [], "ctr": [], "similarity": [], "behaviour_cloning": []}
    critics = sorted({name.split("/")[0] for name in weights if "critic" in name})
    for row in rows:
        action = actor(row.state, weights, space)
        errors = [critic(row.state, row.logged, weights, name, head) - row.target for name in critics]
        parts["critic"].append(sum(error**2 for error in errors))
        parts["actor"].append(-critic(row.state, action, frozen, "critic", head))
        parts["ctr"].append(cross_entropy(click_logit(action, row.item, weights), row.clicked))
        parts["similarity"].append(-max(cosine(action, item) for item in row.real))
        parts["behaviour_cloning"].append(float(np.mean((action - row.logged) ** 2)))
    return {name: float(np.mean(values)) for name, values in parts.items()}


def soft_update(target: Array, online: Array, tau: float) -> Array:
    """Where a target's weight moves to when it follows."""
    return (1 - tau) * target + tau * online


def layer_norm(x: Array, gamma: Array, beta: Array) -> Array:
    """Keras' layer normalisation over the last axis."""
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta


def field_interaction(fields: Array, weights: Mapping[str, Array], heads: int) -> Array:
    """Eq. 1 for one behaviour: fields [n, D] -> [n * D]. `weights` by the layer's own names."""
    count, dim = fields.shape
    size = dim // heads
    projected = fields @ weights["queries_keys_values/kernel"] + weights["queries_keys_values/bias"]
    queries, keys, values = projected[:, :dim], projected[:, dim : 2 * dim], projected[:, 2 * dim :]
    attended = np.zeros((count, dim))
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for field in range(count):
            scores = np.array([queries[field, part] @ keys[other, part] for other in range(count)]) / math.sqrt(size)
            shares = np.exp(scores) / np.exp(scores).sum()
            attended[field, part] = sum(share * values[other, part] for other, share in enumerate(shares))
    rows = fields + attended @ weights["output_projection/kernel"] + weights["output_projection/bias"]
    rows = layer_norm(rows, weights["attention_norm/gamma"], weights["attention_norm/beta"])
    hidden = np.maximum(rows @ weights["feed_forward/0/kernel"] + weights["feed_forward/0/bias"], 0)
    rows = rows + hidden @ weights["feed_forward/1/kernel"] + weights["feed_forward/1/bias"]
    return layer_norm(rows, weights["output_norm/gamma"], weights["output_norm/beta"]).reshape(-1)


def gru_step(x: Array, state: Array, gates: Array, gate_bias: Array, candidate: Array, candidate_bias: Array) -> Array:
    """One step of a GRU cell in its first form (Cho et al. 2014): the reset gate acts before the product."""
    reset, update = np.split(sigmoid(np.concatenate([x, state]) @ gates + gate_bias), 2)
    proposed = np.tanh(np.concatenate([x, reset * state]) @ candidate + candidate_bias)
    return update * state + (1 - update) * proposed


def as_of_counts(
    rows: Sequence[Mapping], channels: Mapping[str, tuple[int, int]], tags: Mapping[str, tuple[int, int]]
) -> list[dict]:
    """As-of counts of each row of a list: profile counts (impressions, clicks), plus the impressions of the rows above.

    Args:
      rows: with `channel` and `tags`, in display order. channels, tags: the user's profile before the list.
    """
    counts = []
    for t, row in enumerate(rows):
        above = rows[:t]
        shown, clicked = channels.get(row["channel"], (0, 0))
        tag_shown = sum(tags.get(tag, (0, 0))[0] + sum(tag in other["tags"] for other in above) for tag in row["tags"])
        counts.append(
            {
                "channel_impressions": shown + sum(other["channel"] == row["channel"] for other in above),
                "channel_clicks": clicked,
                "tag_impressions": tag_shown,
                "tag_clicks": sum(tags.get(tag, (0, 0))[1] for tag in row["tags"]),
            }
        )
    return counts


def auc(labels: Sequence[int], predictions: Sequence[float]) -> float:
    """Share of (clicked, not clicked) pairs in the right order, ties half."""
    clicked = [p for label, p in zip(labels, predictions) if label]
    other = [p for label, p in zip(labels, predictions) if not label]
    return sum((a > b) + (a == b) / 2 for a in clicked for b in other) / (len(clicked) * len(other))
