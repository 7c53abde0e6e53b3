"""Memory of a training step, kept for the next one."""

from __future__ import annotations

import ctypes
import os
import platform

# Options of glibc's malloc: the number that `mallopt` knows each by, and its value.
OPTIONS = {
    # The heap holds large arrays too. Outside it, each is given back when it is freed.
    "MALLOC_MMAP_MAX_": (-4, 0),
    # The heap does not shrink.
    "MALLOC_TRIM_THRESHOLD_": (-1, 2**31 - 1),
}


def keep_freed_memory() -> None:
    """Let this process, and those that it starts, keep memory that they free.

    A training step frees large arrays. By default glibc gives them back to Linux, which clears
    their pages when the next step asks for them. `benchmarks/training_step.py` measures that cost.
    The process holds on to the most that it ever used. Nothing happens without glibc, or where the
    environment sets malloc's options.
    """
    set_by_user = any(name.startswith("MALLOC_") for name in os.environ)
    if set_by_user or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for name, (number, value) in OPTIONS.items():
        libc.mallopt(number, value)
        # For the processes that this one starts.
        os.environ[name] = str(value)
