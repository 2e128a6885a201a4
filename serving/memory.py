"""Memory of models that have gone."""

import contextlib
import ctypes
import gc


def give_back() -> None:
    """Frees what refers to itself, as graphs do, and returns free memory to the system.

    Loading a model takes several times the memory that it keeps, in a thread of its own: without this the C library
    would keep that for the thread, and a server would grow with each swap. Other C libraries return it by themselves.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
