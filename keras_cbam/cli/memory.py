"""Keep the memory of a training step for the next one."""

from __future__ import annotations

import ctypes
import os
import platform

# Options of glibc's malloc: the number of each in `mallopt`, and its value.
OPTIONS = {
    # Hold large arrays in the heap, too. Outside the heap, each is given back when it is freed.
    "MALLOC_MMAP_MAX_": (-4, 0),
    # Do not shrink the heap.
    "MALLOC_TRIM_THRESHOLD_": (-1, 2**31 - 1),
}


def keep_freed_memory() -> None:
    """Let this process, and the processes that it starts, keep the memory that they free.

    A training step frees large arrays. By default, glibc gives them back to Linux, which clears
    their pages when the next step asks for them. `benchmarks/training_step.py` measures that cost.
    The process never gives back its peak memory. The function does nothing without glibc, or if the
    environment sets options of malloc.
    """
    set_by_user = any(name.startswith("MALLOC_") for name in os.environ)
    tuned = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if set_by_user or tuned or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for name, (number, value) in OPTIONS.items():
        libc.mallopt(number, value)
        # For the processes that this one starts.
        os.environ[name] = str(value)
