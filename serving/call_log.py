"""One JSON line per call on the logger `serving.call_log`: what was asked of which version and how it went.

Never the inputs, the answers or a user's id; of what a client sent only its own `x-request-id`, cut to fit a line.
"""

import json
import logging
import random

from serving.loaded import DEFAULT_SIGNATURE

_LOG = logging.getLogger(__name__)
_MAX_TEXT = 128


class CallLog:
    """Writes a share of all calls at level INFO.

    Args:
      share: in [0, 1]; 0 writes none.
    """

    def __init__(self, share: float) -> None:
        self._share = share

    def write(
        self,
        *,
        model: str,
        version: int | None,
        signature: str,
        batch: int | None,
        entrypoint: str,
        status: str,
        milliseconds: float,
        request_id: str | None,
    ) -> None:
        """Logs one call, if it falls into the share."""
        if self._share <= 0 or random.random() >= self._share:
            return
        line: dict[str, object] = {
            "model": model[:_MAX_TEXT],
            "version": version,
            "signature": signature[:_MAX_TEXT] or DEFAULT_SIGNATURE,
            "batch": batch,
            "entrypoint": entrypoint,
            "status": status,
            "milliseconds": round(milliseconds, 3),
        }
        if request_id is not None:
            line["request_id"] = request_id[:_MAX_TEXT]
        _LOG.info(json.dumps(line))
