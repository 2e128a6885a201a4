"""Contestants as processes that answer questions; see `worker`."""

import json
import pathlib
import subprocess
import sys
from types import TracebackType
from typing import Any

from hrlrec_tf.errors import HrlrecError


class BenchmarkError(HrlrecError):
    """A process of the benchmark died."""


class Contestant:
    """One contestant; leave the context to end it.

    Args:
      kind: see `worker`.
      folder: where its log goes, `KIND.log`, and where `input` finds sessions.
      quick: small sizes.
    """

    def __init__(self, kind: str, folder: pathlib.Path, sessions: pathlib.Path, quick: bool = False) -> None:
        self._kind, self._log = kind, folder / f"{kind}.log"
        command = [sys.executable, "-m", "hrlrec_tf.benchmark.worker", kind, str(sessions), *["--quick"] * quick]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, encoding="utf-8"
            )

    def __enter__(self) -> "Contestant":
        return self

    def ask(self, do: str, **options: int) -> Any:
        """Asks and waits for the answer.

        Raises:
          BenchmarkError: the process has ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            print(json.dumps({"do": do, **options}), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise BenchmarkError(self._ending())
        return json.loads(answer)

    def _ending(self) -> str:
        code = self._process.wait()
        said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = f": {said[-1][:300]}" if said else ""
        return f"the process of {self._kind!r} ended with exit code {code}{last}; give it more memory, or try --quick"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
