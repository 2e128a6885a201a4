"""The parts of a training step, each as a function that can be timed alone; both levels do theirs side by side.

Alone a part finds other data in the caches and waits for nobody, so that the times need not add up to the step's, which
is timed in turns with them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from hrlrec_tf.agents.update import clip_and_apply
from hrlrec_tf.benchmark.steps import TrainingStep
from hrlrec_tf.networks.session import embed


def parts(step: TrainingStep) -> dict[str, Callable[[], Any]]:
    """Part -> a function that runs it once.

    Forward and backward through the embeddings, the field interaction and the GRU; the target's pass (forward, from its
    embeddings on); the search for the most similar items; clipping and the optimizer.
    """
    made = {
        "embeddings": _embeddings(step),
        "field interaction": _field_interaction(step),
        "gru": _gru(step),
        "target pass": _target_pass(step),
        "similarity search": _similarity_search(step),
        "optimizer": _optimizer(step),
    }
    return {name: tf.function(function, autograph=False) for name, function in made.items()}


def _embeddings(step: TrainingStep) -> Callable[[], Any]:
    agent, observation = step.agent, step.experience.observation

    def run() -> Any:
        with tf.GradientTape() as tape:
            embedded = embed(agent.model.embedding, observation)
            used = [embedded.context, embedded.items, *embedded.cumulative[2:], embedded.placed.tags]
            used += [level.fields(embedded.profile, embedded.rows) for level in agent.model.levels.values()]
        gradients = tape.gradient(used, agent.model.embedding.trainable_variables)
        return _dense([*gradients, *embed(agent.target.embedding, observation).rows])

    return run


def _field_interaction(step: TrainingStep) -> Callable[[], Any]:
    fields = _fields(step)

    def run() -> Any:
        return [
            _forward_and_back(
                lambda values, layer=level.encoder.interaction: layer(values, training=True),
                [fields[name]],
                level.encoder.interaction.trainable_variables,
            )
            for name, level in step.agent.model.levels.items()
        ]

    return run


def _gru(step: TrainingStep) -> Callable[[], Any]:
    fields = _fields(step)
    encoders = {name: level.encoder for name, level in step.agent.model.levels.items()}
    rows = {name: encoder.interaction(fields[name]) for name, encoder in encoders.items()}
    batch, length = fields["item"].shape[:2]
    initial, mask = tf.zeros([batch, encoders["item"].units]), tf.ones([length, batch], tf.bool)
    positions = step.workload.list_length

    def run() -> Any:
        return [
            _forward_and_back(
                lambda values, start, layer=encoder.sequence: layer(tf.transpose(values, [1, 0, 2]), start, mask)[
                    -positions:
                ],
                [rows[name], initial],
                encoder.sequence.trainable_variables,
            )
            for name, encoder in encoders.items()
        ]

    return run


def _target_pass(step: TrainingStep) -> Callable[[], Any]:
    embedded = embed(step.agent.target.embedding, step.experience.observation)
    return lambda: [level.td_target(step.experience, embedded) for level in step.agent.levels.values()]


def _similarity_search(step: TrainingStep) -> Callable[[], Any]:
    agent, valid = step.agent, step.experience.valid
    embedded = embed(agent.model.embedding, step.experience.observation)
    displayed = agent.model.displayed_actions(embedded)
    actions = tf.tanh(tf.random.stateless_normal(displayed.shape, [1, 2]))

    def run() -> Any:
        return [level.nearest_items(actions, displayed, embedded, valid) for level in agent.levels.values()]

    return run


def _optimizer(step: TrainingStep) -> Callable[[], Any]:
    agent, variables = step.agent, step.agent.model.trainable_variables

    @tf.function(autograph=False)
    def gradients() -> Any:
        with tf.GradientTape() as tape:
            loss = agent.loss(step.experience).loss
        return tape.gradient(loss, variables)

    known = gradients()
    return lambda: clip_and_apply(known, variables, agent.optimizer, step.workload.config.training.gradient_clip)


def _fields(step: TrainingStep) -> dict[str, tf.Tensor]:
    embedded = embed(step.agent.model.embedding, step.experience.observation)
    return {name: level.fields(embedded.profile, embedded.rows) for name, level in step.agent.model.levels.items()}


def _forward_and_back(
    function: Callable[..., tf.Tensor], inputs: Sequence[tf.Tensor], weights: Sequence[tf.Variable]
) -> list[tf.Tensor]:
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        result = function(*inputs)
    return tape.gradient(result, [*inputs, *weights])


def _dense(values: Sequence[tf.Tensor | tf.IndexedSlices]) -> list[tf.Tensor]:
    """The numbers in them, without summing rows of a table that were looked up more than once: the optimizer does."""
    return [value.values if isinstance(value, tf.IndexedSlices) else value for value in values]
