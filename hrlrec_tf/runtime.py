"""How a training process uses the machine: TensorFlow's threads, and memory that it frees and soon needs again."""

import ctypes
import os

_STREAMS = 2  # of a training step that do not depend on each other: the two levels

# Of glibc's malloc.h. The largest value a threshold may have on every version is half a heap of 64 MiB.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER, _OLD_LIMIT = (1 << 31) - 1, 1 << 25


def use_all_cores() -> bool:
    """Gives each level of a training step its share of the cores; call before TensorFlow runs anything.

    By default TensorFlow splits each operation among all cores. The operations of a step are many and small, so that
    they lose more by meeting at the end of each than they gain: the two levels run side by side instead, and an
    operation gets half of the cores.

    Returns:
      Whether it had an effect. It has none where the user or the caller chose numbers of threads before
      (`TF_NUM_INTRAOP_THREADS`, `TF_NUM_INTEROP_THREADS`, `tf.config.threading`), or TensorFlow already runs.
    """
    import tensorflow as tf

    threading = tf.config.threading
    chosen = (threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads())
    if any(chosen) or {"TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"} & os.environ.keys():
        return False
    cores = len(os.sched_getaffinity(0))
    try:
        threading.set_intra_op_parallelism_threads(max(1, cores // _STREAMS))
        threading.set_inter_op_parallelism_threads(cores)
    except RuntimeError:  # TensorFlow's threads exist
        return False
    return True


def keep_freed_memory() -> bool:
    """Lets the process keep what it frees, so that the next training step need not ask the system for it again.

    A step frees and allocates hundreds of megabytes in large pieces. The C library would hand each back at once, and
    the system would give it again page by page, filled with zeros. The process holds its peak of memory from then on.

    Returns:
      Whether it had an effect; only glibc has this switch.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    # Older versions refuse large thresholds; to set the second alone would make things worse.
    raised = libc.mallopt(_MMAP_THRESHOLD, _NEVER) or libc.mallopt(_MMAP_THRESHOLD, _OLD_LIMIT)
    return bool(raised and libc.mallopt(_TRIM_THRESHOLD, _NEVER))
