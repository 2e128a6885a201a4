"""Contestants as processes that answer questions, and how such a process answers; see `worker`."""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from hrlrec_tf.errors import HrlrecError


class BenchmarkError(HrlrecError):
    """A process of the benchmark died."""


class Contestant:
    """One contestant; leave the context to end it.

    Args:
      kind: what it is to its worker.
      folder: where its log goes, `KIND.log`.
      data: a folder that its worker reads.
      quick: small sizes.
      worker: the module that runs in the process.
    """

    def __init__(
        self,
        kind: str,
        folder: pathlib.Path,
        data: pathlib.Path,
        quick: bool = False,
        worker: str = "hrlrec_tf.benchmark.worker",
    ) -> None:
        self._kind, self._log = kind, folder / f"{kind}.log"
        command = [sys.executable, "-m", worker, kind, str(data), *["--quick"] * quick]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, encoding="utf-8"
            )

    def __enter__(self) -> "Contestant":
        return self

    def ask(self, do: str, **options: Any) -> Any:
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


def answer(questions: Callable[[str, str, bool], Mapping[str, Callable[..., Any]]]) -> None:
    """The other end of a `Contestant`: answers its questions until it leaves.

    Reads one question per line of standard input, a JSON object, and answers each with one line of standard output.

    Args:
      questions: (kind, data, quick) -> what can be asked.
    """
    # Whatever libraries print must not stand among the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    kind, data, *flags = sys.argv[1:]
    known = questions(kind, data, "--quick" in flags)
    for line in sys.stdin:
        question = json.loads(line)
        print(json.dumps(known[question.pop("do")](**question)), file=answers, flush=True)
