"""Clusters of real processes on free ports of this machine, for tests of distributed training."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

PATIENCE_SECONDS = 580


def free_addresses(count: int) -> list[str]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return [f"localhost:{port}" for port in ports]


class Cluster:
    """Processes that run `hrlrec train` with the same words; those that still run are killed at the end.

    Args:
      sizes: role -> number of processes. folder: for their output. words: of `hrlrec train`.
      program: what Python runs in the place of `hrlrec`.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        folder: pathlib.Path,
        *words: str,
        program: Sequence[str] = ("-m", "hrlrec_tf.cli"),
    ) -> None:
        self.program = program
        self.addresses = {role: free_addresses(count) for role, count in sizes.items()}
        self.folder, self.words = folder, words
        self.processes: dict[str, subprocess.Popen] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "Cluster":
        for role, addresses in self.addresses.items():
            for index in range(len(addresses)):
                self.start(role, index)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()

    def start(self, role: str, index: int = 0, *more: str) -> subprocess.Popen:
        """Starts one process, for the first time or again, with more words."""
        config = {"cluster": self.addresses, "task": {"type": role, "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *self.program, "train", *self.words, *more]
        with open(self.folder / f"{role}-{index}.log", "ab") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.processes[f"{role}-{index}"] = process
        return process

    def said(self, role: str, index: int = 0) -> str:
        return (self.folder / f"{role}-{index}.log").read_text(errors="replace")

    def kill(self, role: str, index: int = 0) -> None:
        process = self.processes[f"{role}-{index}"]
        process.send_signal(signal.SIGKILL)
        process.wait()

    def wait(self, role: str, index: int = 0) -> int:
        """Exit code of a process that should end by itself."""
        try:
            return self.processes[f"{role}-{index}"].wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{role} {index} did not end:\n{self.said(role, index)[-3000:]}") from error

    def wait_until(self, condition: Callable[[], bool], role: str, index: int = 0) -> None:
        """Until something is so, while a process runs."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert self.processes[f"{role}-{index}"].poll() is None, self.said(role, index)[-3000:]
            assert time.monotonic() < deadline, self.said(role, index)[-3000:]
            time.sleep(0.2)
