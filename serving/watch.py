"""Looks at something again and again, in a thread of its own."""

import threading
from collections.abc import Callable


class Watch:
    """Calls `look` every so many seconds from `start` until `stop`.

    Args:
      name: of the thread.
      seconds: pause between two looks; 0 never looks.
      look: what is called; it must raise nothing.
    """

    def __init__(self, name: str, seconds: float, look: Callable[[], None]) -> None:
        self._seconds, self._look = seconds, look
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins to look."""
        if self._seconds > 0:
            self._thread.start()

    def stop(self) -> None:
        """Ends when the look in progress has ended."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def wait(self, seconds: float) -> None:
        """Pauses the caller, at most until `stop`."""
        self._stop.wait(seconds)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            self._look()
