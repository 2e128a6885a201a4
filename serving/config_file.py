"""A model config file that is read again and again, so that an edit takes effect without a restart."""

import logging
import os
from collections.abc import Sequence

from hrlrec_tf.errors import HrlrecError
from serving import model_config
from serving.model_config import ModelConfig
from serving.models import Models
from serving.watch import Watch

_LOG = logging.getLogger(__name__)


class ConfigFile:
    """Reads a model config file again and again, and hands each change on.

    Args:
      path: the file.
      taken: its content when the server started.
      models: what takes over its content.
      poll_seconds: pause between two looks at it; 0 never looks again.
    """

    def __init__(
        self, path: str | os.PathLike[str], taken: Sequence[ModelConfig], models: Models, poll_seconds: float
    ) -> None:
        self._path = path
        self._models = models
        self._taken = list(taken)
        self._complaint = ""
        self._watch = Watch("model-config", poll_seconds, self._look)

    def start(self) -> None:
        """Begins to watch the file."""
        self._watch.start()

    def stop(self) -> None:
        """Stops watching it."""
        self._watch.stop()

    def _look(self) -> None:
        try:
            configs = model_config.read(self._path)
            if configs != self._taken:
                self._models.reload(configs)
                self._taken = configs
                self._complaint = ""
                _LOG.info("%s: its %d models are served", self._path, len(configs))
        except HrlrecError as error:
            if str(error) != self._complaint:  # once, not at every look
                self._complaint = str(error)
                _LOG.warning("%s is not taken over, what served before goes on: %s", self._path, error)
        except Exception:
            _LOG.exception("cannot look at %s", self._path)
