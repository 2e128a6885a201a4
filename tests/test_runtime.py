import subprocess
import sys

import pytest
import tensorflow as tf

from hrlrec_tf import runtime

PAGES = 16 << 20 >> 12

MEMORY = f"""
import ctypes, resource
from hrlrec_tf import runtime
assert runtime.keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    piece = libc.malloc({16 << 20})
    ctypes.memset(piece, 1, {16 << 20})
    libc.free(piece)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(new_pages(), new_pages())
"""


@pytest.fixture
def threads(monkeypatch):
    """TensorFlow's numbers of threads, as a new process has them; 0 lets it choose."""
    chosen = {"intra": 0, "inter": 0}
    for name in chosen:
        option = f"{name}_op_parallelism_threads"
        monkeypatch.setattr(tf.config.threading, f"get_{option}", lambda name=name: chosen[name])
        monkeypatch.setattr(tf.config.threading, f"set_{option}", lambda n, name=name: chosen.update({name: n}))
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return chosen


@pytest.mark.parametrize(("cores", "intra"), [(1, 1), (2, 1), (5, 2), (16, 8)])
def test_each_level_gets_half_of_the_cores(threads, cores, intra, monkeypatch):
    monkeypatch.setattr(runtime.os, "sched_getaffinity", lambda _: set(range(cores)))
    assert runtime.use_all_cores()
    assert threads == {"intra": intra, "inter": cores}


def test_threads_that_somebody_chose_stay(threads, monkeypatch):
    threads["intra"] = 7
    assert not runtime.use_all_cores() and threads == {"intra": 7, "inter": 0}
    threads["intra"] = 0
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "3")
    assert not runtime.use_all_cores() and threads == {"intra": 0, "inter": 0}


def test_threads_that_run_stay(threads, monkeypatch):
    def refuse(_):
        raise RuntimeError("Intra op parallelism cannot be modified after initialization.")

    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", refuse)
    assert not runtime.use_all_cores() and threads["inter"] == 0


def test_freed_memory_is_not_asked_for_again():
    ran = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    first, second = map(int, ran.stdout.split())
    assert first > 0.9 * PAGES and second < PAGES / 100


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(runtime.ctypes, "CDLL", lambda _: object())
    assert not runtime.keep_freed_memory()


def test_the_second_threshold_is_not_set_alone(monkeypatch):
    """An old glibc refuses the first; then the second would switch off what glibc adapts by itself."""
    calls = []

    class Old:
        gnu_get_libc_version = None

        def mallopt(self, option, value):
            calls.append((option, value))
            return 0

    monkeypatch.setattr(runtime.ctypes, "CDLL", lambda _: Old())
    assert not runtime.keep_freed_memory()
    assert [option for option, _ in calls] == [-3, -3] and calls[0][1] > calls[1][1]
