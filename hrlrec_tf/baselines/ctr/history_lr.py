"""history-lr: logistic regression on six as-of features, the floor that every model must beat.

Click rate and log of impressions of the user, of user x channel, and of the item over all users (`item_counts` in
`dataset.yaml` makes those two).
"""

from hrlrec_tf.baselines.ctr.lr import Lr
from hrlrec_tf.errors import DataError
from hrlrec_tf.features import ITEM_COUNTS, FeatureSpec

FIELDS = tuple(ITEM_COUNTS)
GROUPS = ("user", "user_channel")


class HistoryLr(Lr):
    """LR over the six numbers."""


def check(spec: FeatureSpec) -> None:
    """Raises DataError where sessions lack the item's counts."""
    missing = [name for name in FIELDS if name not in spec.optional]
    if missing:
        raise DataError(
            f"history-lr needs the item features {' and '.join(FIELDS)}, these sessions lack {' and '.join(missing)}; "
            "write item_counts: {} into dataset.yaml and run hrlrec prepare again"
        )
