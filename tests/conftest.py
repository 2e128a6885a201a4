"""What every test needs: a quiet TensorFlow on Keras 2, and the real logs where they are at hand."""

import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hrlrec_tf.data.input import SessionReader

# Before any test module imports TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["TF_USE_LEGACY_KERAS"] = "1"

SHARED_DATA = pathlib.Path(__file__).parent.parent / ".." / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of real logs beside the checkout; the test is skipped where there is none."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real logs of ../shared/data are not at hand")
    return SHARED_DATA.resolve()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Tiny random sessions of `sessions.SPEC`, as `hrlrec prepare` leaves them, with a fitted transform; read only."""
    import tiny

    return tiny.write_sessions(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def reader(prepared: pathlib.Path) -> "SessionReader":
    """Reader of the tiny sessions."""
    from hrlrec_tf.data import schema
    from hrlrec_tf.data.input import SessionReader

    return SessionReader(schema.read(prepared / "schema.pbtxt"), str(prepared / "transform"))


@pytest.fixture(scope="session")
def model_dir(prepared: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A model that `hrlrec train` trained for two epochs on the tiny sessions; read only."""
    import tiny

    from hrlrec_tf import verbs

    out = tmp_path_factory.mktemp("models") / "tiny"
    tiny.run_verb(
        verbs.TRAIN, f"--data={prepared} --out={out} --preset=paper", *(f"--set={setting}" for setting in tiny.TRAINED)
    )
    return out


@pytest.fixture
def eager() -> Iterator[None]:
    """Runs `tf.function`s without tracing them: faster where a test takes only a few steps."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
