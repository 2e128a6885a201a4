"""Keyed hashes in place of what identifies somebody, in lines of feedback logs."""

from collections.abc import Mapping
from typing import Any

from hrlrec_tf.data import masking
from hrlrec_tf.data.rules import Masking


class LineMask:
    """Hashes columns of lines, as `hrlrec prepare` does. With `user_id` request ids are hashed: they may name the user.

    Args:
      mask: the columns; the key comes from the environment. None hashes nothing.
    """

    def __init__(self, mask: Masking | None) -> None:
        columns = frozenset(mask.columns) if mask else frozenset[str]()
        self.columns = columns | {"request_id"} if "user_id" in columns else columns
        self._secret = masking.key(mask) if mask else b""

    def __call__(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """The line with hashes in place of what is masked."""
        hashed = {name: masking.mask_text(str(line[name]), self._secret) for name in self.columns & set(line)}
        return {**line, **hashed}
