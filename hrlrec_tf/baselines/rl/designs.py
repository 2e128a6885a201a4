"""What each RL competitor is made of. The rest, from sessions to SavedModel, is HRL-Rec's."""

from hrlrec_tf.agents.builder import HRL_REC, Design
from hrlrec_tf.agents.hierarchy import HrlRecAgent
from hrlrec_tf.baselines.rl.dqn import ListDdqnAgent, ListDqnAgent
from hrlrec_tf.baselines.rl.networks import DuelingQNetwork, FlatNetwork, LinearQNetwork, QNetwork
from hrlrec_tf.baselines.rl.ranking import FlatRanker

DESIGNS = {
    "dqn-lr": Design(LinearQNetwork, ListDqnAgent, FlatRanker),
    "dqn-gru": Design(QNetwork, ListDqnAgent, FlatRanker),
    "double-dueling-dqn": Design(DuelingQNetwork, ListDdqnAgent, FlatRanker),
    "ddpg": Design(FlatNetwork, HrlRecAgent, FlatRanker),
    "ddpg-hierarchical": HRL_REC,
}
