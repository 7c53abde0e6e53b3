"""Memory that a training step frees stays with the process."""

import os
import platform
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from keras_cbam.cli import app, memory, start
from keras_cbam.errors import InputError

# Prints the page faults of arrays of 40 MiB; glibc gives them back by default.
FAULTS = """
import resource
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    bytearray(40 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
KEEP = """
import runpy, subprocess, sys
runpy.run_path(sys.argv[1])["keep_freed_memory"]()
bytearray(40 * 2**20)
"""
IN_A_CHILD = "subprocess.run([sys.executable, '-c', sys.argv[2]], check=True)"


def faults(code, **environment):
    command = [sys.executable, "-c", code, memory.__file__, f"bytearray(40 * 2**20)\n{FAULTS}"]
    malloc = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(malloc)}
    run = subprocess.run(command, check=True, capture_output=True, env=clean | environment)
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc of glibc")
def test_freed_memory_is_used_again():
    given_back = faults(FAULTS)
    assert faults(KEEP + FAULTS) < given_back / 10
    assert faults(KEEP + IN_A_CHILD) < given_back / 10
    # What the user sets stays.
    for stated in ({"MALLOC_TOP_PAD_": "0"}, {"GLIBC_TUNABLES": "glibc.malloc.top_pad=0"}):
        assert faults(KEEP + FAULTS, **stated) > given_back / 2


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ("finetune missing --output run", 1),
        ("detect train missing --output run", 1),
        ("study order --data missing --output run", 1),
        ("verify missing", 0),
    ],
)
def test_commands_that_train_keep_it(monkeypatch, tmp_path, arguments, kept):
    calls = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "keep_freed_memory", lambda: calls.append("kept"))
    result = CliRunner().invoke(app.app, arguments.split())
    assert isinstance(result.exception, InputError)
    assert len(calls) == kept
