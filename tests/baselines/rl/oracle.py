"""Q-learning on lists by loops over positions and items, in NumPy."""

import numpy as np


def allowed(item_ids: np.ndarray, valid: np.ndarray, unknown: int) -> np.ndarray:
    """Which of the batch's items [B', T'] may stand at position [B, T]: [B, T, B', T'] bool."""
    lists, length = item_ids.shape
    mask = np.zeros((lists, length, lists, length), bool)
    for b, t, other, place in np.ndindex(*mask.shape):
        item = item_ids[other, place]
        above = [each for each in item_ids[b, :t] if each not in (0, unknown)]
        mask[b, t, other, place] = valid[other, place] > 0 and item not in above
    return mask


def q_values(critic, states: np.ndarray, items: np.ndarray, mask: np.ndarray, dueling: bool) -> np.ndarray:
    """V + A, less the mean of A over what may be chosen where dueling, of items [B', T', D]: [B, T, B', T']."""
    w1, bias = (weight.numpy() for weight in (critic.state_weights.kernel, critic.state_weights.bias))
    w2, inner = critic.action_weights.kernel.numpy(), critic.interaction.kernel.numpy()
    values = np.zeros(mask.shape)
    for b, t in np.ndindex(*states.shape[:2]):
        s = states[b, t].astype(float)
        advantage = (items @ w2)[..., 0] + items @ (s @ inner)
        if dueling:
            advantage = advantage - (advantage[mask[b, t]].mean() if mask[b, t].any() else 0.0)
        values[b, t] = (s @ w1 + bias)[0] + advantage
    return values


def td_targets(
    rewards: np.ndarray, valid: np.ndarray, chooser: np.ndarray, judge: np.ndarray, mask: np.ndarray, gamma: float
) -> np.ndarray:
    """r_t, and before the last valid position gamma times what `judge` says of `chooser`'s best at t + 1: [B, T]."""
    targets = rewards.astype(float).copy()
    for b, t in np.ndindex(*rewards.shape):
        last = t + 1 == rewards.shape[1] or valid[b, t + 1] == 0
        if not last and mask[b, t + 1].any():
            best = np.argmax(np.where(mask[b, t + 1], chooser[b, t + 1], -np.inf))
            targets[b, t] += gamma * judge[b, t + 1].reshape(-1)[best]
    return targets
