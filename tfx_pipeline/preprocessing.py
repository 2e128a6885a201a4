"""Entry point of the Transform component."""

from hrlrec_tf.data.transform import preprocessing_fn

__all__ = ["preprocessing_fn"]
