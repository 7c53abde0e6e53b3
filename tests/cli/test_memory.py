"""Memory that a training step frees stays with the process."""

import os
import subprocess
import sys

import pytest

from keras_cbam.cli import memory

# Page faults of arrays of 40 MiB, which glibc gives back by default, with their pages of 4 KiB.
FAULTS = """
import resource, runpy, sys
if sys.argv[2] == "keep":
    runpy.run_path(sys.argv[1])["keep_freed_memory"]()
bytearray(40 * 2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    bytearray(40 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(memory_kept, **environment):
    command = [sys.executable, "-c", FAULTS, memory.__file__, memory_kept]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    run = subprocess.run(command, check=True, capture_output=True, env=clean | environment)
    return int(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_memory_is_used_again():
    given_back = faults("give back")
    assert faults("keep") < given_back / 10
    # What the user says of both options stays.
    assert (
        faults("keep", MALLOC_MMAP_MAX_="65536", MALLOC_TRIM_THRESHOLD_="131072") > given_back / 2
    )
