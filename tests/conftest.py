"""What every test needs: a quiet TensorFlow on Keras 2, and the real logs where they are at hand."""

import os
import pathlib

import pytest

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
