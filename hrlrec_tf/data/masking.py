"""Keyed hashing of ids: HMAC-SHA256 in hex, so that who lacks the key cannot try ids out."""

import hmac
import os

import pyarrow as pa

from hrlrec_tf.data.rules import Masking
from hrlrec_tf.errors import ConfigError


def key(masking: Masking) -> bytes:
    """The key from the environment; it is never written nor sent anywhere.

    Raises:
      ConfigError: the variable is unset or empty.
    """
    value = os.environ.get(masking.key_env, "")
    if not value:
        raise ConfigError(f"masking needs a key: set the environment variable {masking.key_env} to a secret")
    return value.encode("utf-8")


def mask_texts(texts: pa.Array, secret: bytes) -> pa.Array:
    """Hashes each distinct string; "" stays "" (missing is no id)."""
    encoded = texts.dictionary_encode()
    known = [mask_text(text, secret) for text in encoded.dictionary.to_pylist()]
    return pa.array(known, pa.string()).take(encoded.indices)


def mask_text(text: str, secret: bytes) -> str:
    """The hash of one string."""
    return hmac.digest(secret, text.encode("utf-8"), "sha256").hex() if text else ""


def mask_where_named(texts: pa.Array, users: pa.Array, secret: bytes) -> pa.Array:
    """Hashes those of some texts, such as request ids made of user ids, that name the user of their row."""
    rows = zip(texts.to_pylist(), users.to_pylist(), strict=True)
    return pa.array([mask_text(text, secret) if names(text, user) else text for text, user in rows], pa.string())


def names(text: str, user: str) -> bool:
    """Whether a text holds a user id as a whole word: with neither letters nor digits beside it."""
    start = text.find(user) if user else -1
    while start >= 0:
        end = start + len(user)
        if not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()):
            return True
        start = text.find(user, start + 1)
    return False
