"""The public Keras layers: build them into any Keras 2 or TensorFlow Recommenders model.

    from hrlrec_tf.layers import StateEncoder

All are registered, so that a saved model finds them once this module is imported, have a serialisable config, take
any batch size and number of rows, and keep float32 weights under a mixed policy. `examples/` shows them at work.
"""

from hrlrec_tf.networks.actor import Actor
from hrlrec_tf.networks.click_head import ClickHead
from hrlrec_tf.networks.critic import Critic
from hrlrec_tf.networks.feature_tower import FeatureTower
from hrlrec_tf.networks.retrieval_layer import ChannelConstrainedRetrieval
from hrlrec_tf.networks.state_encoder import FieldInteraction, StateEncoder

__all__ = [
    "Actor",
    "ChannelConstrainedRetrieval",
    "ClickHead",
    "Critic",
    "FeatureTower",
    "FieldInteraction",
    "StateEncoder",
]
