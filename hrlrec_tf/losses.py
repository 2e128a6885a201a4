"""The losses of HRL-Rec (Sec. 3.4), one small function per equation.

All tensors of a list are [batch, T]; `valid_t` is 1 for positions that count and 0 for padding and for rows on the
other side of a time cut. Every loss is a mean over valid positions; critic and click loss, expectations over what was
displayed, also take rows that count more or less than 1 (`propensity.py`). Which weights a loss trains is decided by
its caller and by the gradients stopped here:

| loss | trains |
|---|---|
| critic (eq. 9, 12) | critic and state encoder |
| actor (eq. 10, 13) | actor only |
| click (eq. 15, 16) | actor, state encoder, click head, item tower |
| similarity (eq. 17) | actor, state encoder |
| cloning (authors' code) | actor, state encoder |
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from hrlrec_tf.retrieval import cosine_similarities


def masked_mean(values: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Mean of `values` where `valid` (its weights, same shape) is not zero; 0 if nothing is valid."""
    return tf.math.divide_no_nan(tf.reduce_sum(values * valid), tf.reduce_sum(valid))


def discounts(valid_t: tf.Tensor) -> tf.Tensor:
    """1 where a valid position follows, 0 at the list's last valid position (the terminal one): [batch, T]."""
    return tf.concat([valid_t[:, 1:], tf.zeros_like(valid_t[:, :1])], axis=1) * valid_t


def td_target(r_t: tf.Tensor, discount_t: tf.Tensor, q_tp1: tf.Tensor, gamma: float) -> tf.Tensor:
    """Target of the critic (eq. 9, 12): y_t = r_t + gamma * Q'(s_{t+1}, pi'(s_{t+1})), without gradient.

    Args:
      r_t: [batch, T] rewards.
      discount_t: [batch, T]; see `discounts`.
      q_tp1: [batch, T] target critic's value of the next position; anything where discount_t is 0.
      gamma: discount factor.
    """
    return tf.stop_gradient(r_t + gamma * discount_t * q_tp1)


def clipped_double(q_values: Sequence[tf.Tensor]) -> tf.Tensor:
    """The smaller of two target critics' values (TD3, Fujimoto et al. 2018, eq. 10), or the value of the only one."""
    return tf.reduce_min(tf.stack(q_values), axis=0)


def discounted_return(r_t: tf.Tensor, discount_t: tf.Tensor, gamma: float) -> tf.Tensor:
    """Logged return to the list's end: sum over k of gamma^k r_{t+k}; what Q should come to: [batch, T]."""
    returns = [tf.zeros_like(r_t[:, 0])]
    for t in reversed(range(r_t.shape[1])):
        returns.append(r_t[:, t] + gamma * discount_t[:, t] * returns[-1])
    return tf.stack(returns[:0:-1], axis=1)


def critic_loss(q_t: tf.Tensor, target_t: tf.Tensor, valid_t: tf.Tensor) -> tf.Tensor:
    """Mean squared TD error (eq. 9, 12)."""
    return masked_mean(tf.math.squared_difference(q_t, tf.stop_gradient(target_t)), valid_t)


def actor_loss(
    critic: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], states_t: tf.Tensor, actions_t: tf.Tensor, valid_t: tf.Tensor
) -> tf.Tensor:
    """-Q(s, pi(s)) (eq. 10, 13), whose gradient reaches the actions alone: neither critic nor states learn from it.

    Args:
      critic: from states and actions to Q.
      states_t: [batch, T, S].
      actions_t: [batch, T, D] = pi(states_t).
      valid_t: [batch, T].
    """
    fixed = tf.stop_gradient(actions_t)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(fixed)
        q_t = critic(tf.stop_gradient(states_t), fixed)
    slope = tf.stop_gradient(tape.gradient(q_t, fixed))
    # Q to first order around the actions: the same value and the same gradient dQ/da * da.
    return -masked_mean(tf.stop_gradient(q_t) + tf.reduce_sum(slope * (actions_t - fixed), axis=-1), valid_t)


def click_loss(logits_t: tf.Tensor, clicks_t: tf.Tensor, valid_t: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of the click probability of the displayed item (eq. 15)."""
    labels = tf.cast(clicks_t > 0, tf.float32)
    return masked_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits_t), valid_t)


def similarity_loss(actions_t: tf.Tensor, nearest_t: tf.Tensor, valid_t: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """-cos(a, d*), d* being the most similar real item, taken as a constant (eq. 17).

    Args:
      actions_t: [batch, T, D] virtual items.
      nearest_t: [batch, T, D] d* of each; see `retrieval.nearest_of_batch`.
      valid_t: [batch, T]; 0 also where there is no d*.

    Returns:
      The loss and the mean similarity of an action to its nearest item; both scalars.
    """
    size = actions_t.shape[-1]
    actions, nearest = tf.reshape(actions_t, [-1, size]), tf.reshape(tf.stop_gradient(nearest_t), [-1, 1, size])
    similarity = cosine_similarities(actions, nearest)[:, 0]
    mean = masked_mean(similarity, tf.reshape(valid_t, [-1]))
    return -mean, mean


def embedding_norm(items_t: tf.Tensor, profile: tf.Tensor, valid_t: tf.Tensor) -> tf.Tensor:
    """Mean squared length of the displayed items' embeddings [batch, T, D] and of the users' [batch, D]."""
    items = masked_mean(tf.reduce_sum(tf.square(items_t), axis=-1), valid_t)
    return items + tf.reduce_mean(tf.reduce_sum(tf.square(profile), axis=-1))


def cloning_loss(actions_t: tf.Tensor, displayed_t: tf.Tensor, valid_t: tf.Tensor) -> tf.Tensor:
    """Mean squared distance from action to the displayed item (authors' released code; off in the paper)."""
    distance = tf.reduce_mean(tf.math.squared_difference(actions_t, tf.stop_gradient(displayed_t)), axis=-1)
    return masked_mean(distance, valid_t)
