"""Public data sets as impression logs: one module per data set, reached by `hrlrec convert`."""

from hrlrec_tf.data.adapters import ebnerd, hrl_rec_sample, kuairand, mind, movielens, open_bandit, tenrec
from hrlrec_tf.data.adapters.base import Adapter

ADAPTERS: dict[str, Adapter] = {
    module.ADAPTER.name: module.ADAPTER
    for module in (kuairand, mind, ebnerd, tenrec, movielens, open_bandit, hrl_rec_sample)
}
