"""Importing the package decides which Keras `tf.keras` is."""

import os
import subprocess
import sys

import hrlrec_tf


def _run(code: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "TF_USE_LEGACY_KERAS"}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240)


def test_version_is_stated() -> None:
    assert hrlrec_tf.__version__.count(".") == 2


def test_import_sets_legacy_keras_and_does_not_load_tensorflow() -> None:
    done = _run("import os, sys, hrlrec_tf; print(os.environ['TF_USE_LEGACY_KERAS'], 'tensorflow' in sys.modules)")
    assert done.stdout.split() == ["1", "False"], done.stderr


def test_tensorflow_imported_afterwards_serves_keras_2() -> None:
    done = _run("import hrlrec_tf, tensorflow as tf; print(tf.keras.Model.__module__)")
    assert done.stdout.startswith("tf_keras."), done.stderr


def test_tensorflow_with_keras_2_before_is_accepted() -> None:
    done = _run(
        "import os; os.environ['TF_USE_LEGACY_KERAS'] = '1'; import tensorflow, hrlrec_tf; print(hrlrec_tf.__version__)"
    )
    assert done.stdout.strip() == hrlrec_tf.__version__, done.stderr


def test_tensorflow_with_keras_3_before_is_refused_with_the_remedy() -> None:
    done = _run("import tensorflow, hrlrec_tf")
    assert done.returncode == 1
    last_line = done.stderr.strip().splitlines()[-1]
    assert "ImportError" in last_line
    assert "Keras 3" in last_line
    assert "TF_USE_LEGACY_KERAS=1" in last_line
