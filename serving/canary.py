"""Who is served by the canary: a stable share of the users, by a hash of their ids.

    label = label_of(request.user_id, canary_share=0.05, salt="2026-03 retrieval")

A user stays with one version as long as salt and share do; a larger share keeps those who were in already. Another salt
draws anew, so that it is not always the same users who meet what is new.
"""

import hashlib

from hrlrec_tf.errors import ConfigError

STABLE = "stable"
CANARY = "canary"

_BUCKETS = 2**64


def label_of(user_id: str, canary_share: float, salt: str = "") -> str:
    """The version label that serves a user, "canary" or "stable".

    Args:
      user_id: the id as requests carry it.
      canary_share: of the users, in [0, 1].
      salt: names the draw.

    Raises:
      ConfigError: `canary_share` lies outside [0, 1].
    """
    if not 0 <= canary_share <= 1:
        raise ConfigError(f"canary_share must lie in [0, 1]: got {canary_share}")
    # The length keeps ("ab", "c") and ("a", "bc") apart.
    digest = hashlib.sha256(f"{len(salt)}:{salt}{user_id}".encode("utf-8", "surrogatepass")).digest()
    return CANARY if int.from_bytes(digest[:8], "big") < canary_share * _BUCKETS else STABLE
