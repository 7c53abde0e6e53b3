"""The harness of `make kills` sees what is not whole, and what was printed."""

import os
import signal
import time

import pytest

from tests.backend import BACKEND
from tests.export_stage.handmade import shipped
from tests.hostile.kills import OURS, end, incomplete, start, tracebacks, wait

pytest.importorskip("onnx")
pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="files are the same everywhere")


def test_what_is_not_whole_is_seen(tmp_path):
    directory = shipped(tmp_path / "out")
    (directory / ".partial-1").mkdir()
    (directory / ".partial-1" / "half.json").write_text("{")
    assert list(incomplete(directory)) == []
    (directory / "model.onnx").write_bytes(b"half")
    (directory / "report.md").write_text("")
    (directory / "half.json").write_text("{")
    (directory / "half.keras").write_bytes(b"PK")
    found = list(incomplete(directory))
    assert len(found) == 4
    assert any("SHA-256" in each for each in found)
    (directory / "manifest.json").write_text("{}")
    assert any("layout" in each for each in incomplete(directory))


def test_tracebacks_are_seen(tmp_path):
    told = tmp_path / "told.txt"
    ours = f"Traceback (most recent call last):\n  {OURS}x.py\n    f()\nKeyError: 1\n"
    told.write_text(f"Exception ignored in: <f>\n{ours}")
    assert tracebacks(told) == []
    told.write_text(f"Traceback (most recent call last):\n  x\nKeyError: 1\n{OURS}\n")
    assert tracebacks(told) == []
    told.write_text(f"a line\n{ours}a line\n")
    assert tracebacks(told) == [ours.strip()]


def test_a_command_is_started_and_killed(tmp_path):
    told = tmp_path / "told.txt"
    assert wait(start(["--version"], told), 60) == 0
    assert told.read_text().startswith("keras-cbam ")
    assert wait(start(["verify", str(tmp_path / "none")], told), 60) == 2
    os.mkfifo(tmp_path / "pipe")
    process = start(["--version"], tmp_path / "pipe")
    time.sleep(0.1)
    os.killpg(process, signal.SIGTERM)
    assert wait(process, 60) == -signal.SIGTERM
    end(process)
