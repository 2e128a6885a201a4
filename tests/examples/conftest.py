"""Each example's `main`, run once."""

import importlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"


class Example:
    """An example's module and what its `main` wrote."""

    def __init__(self, name: str, folder: pathlib.Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(EXAMPLES))
            self.module = importlib.import_module(name)
            self.clicks = importlib.import_module("clicks")
        self.folder = folder

    def features(self, users: int, rows: int, candidates: int) -> dict[str, np.ndarray]:
        """Inputs of the saved models."""
        data = self.clicks.histories(users, rows, candidates, seed=5)
        return {name: values for name, values in data.items() if name != "candidate_clicked"}


def _run(name: str, folder: pathlib.Path) -> Example:
    example = Example(name, folder)
    tf.keras.utils.set_random_seed(1)
    tf.config.run_functions_eagerly(True)  # tracing a training step takes longer than the few steps themselves
    try:
        example.module.main([f"--out={folder}", "--epochs=1"])
    finally:
        tf.config.run_functions_eagerly(False)
    return example


@pytest.fixture(scope="session")
def tfrs_example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    return _run("state_encoder_in_tfrs", tmp_path_factory.mktemp("tfrs"))


@pytest.fixture(scope="session")
def keras_example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    return _run("state_encoder_in_keras", tmp_path_factory.mktemp("keras"))


def fresh_process(code: str, folder: pathlib.Path, **variables: str) -> Mapping[str, Any]:
    """What a new Python process that runs `code` in `folder` left in `outputs.npz`."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **variables}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "outputs.npz") as outputs:
        return dict(outputs)
