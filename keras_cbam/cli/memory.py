"""Memory of a training step, kept for the next one."""

from __future__ import annotations

import ctypes
import os

# Options of glibc's malloc: the number that `mallopt` knows them by, and the value.
OPTIONS = {
    # No array gets a mapping of its own, which is given back when the array is freed.
    "MALLOC_MMAP_MAX_": (-4, 0),
    # Free memory at the end of the heap is not given back.
    "MALLOC_TRIM_THRESHOLD_": (-1, 2**31 - 1),
}


def keep_freed_memory() -> None:
    """Let this process, and those that it starts, keep the memory that they free.

    TensorFlow frees the arrays of a step at its end. glibc gives them back to Linux, which has to
    clear every page again in the next step; `benchmarks/memory.py` shows what that costs. What the
    environment already says stays. Where there is no glibc, nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return
    for name, (number, value) in OPTIONS.items():
        if name not in os.environ:
            mallopt(number, value)
            # For the processes that this one starts.
            os.environ[name] = str(value)
