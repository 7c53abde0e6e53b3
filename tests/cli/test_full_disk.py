"""`keras-cbam finetune` on a full disk."""

import pytest

from tests.backend import quick_on
from tests.cli.running import run_here
from tests.cli.test_cli import finetune

# PyTorch compiles nothing.
pytestmark = [pytest.mark.backends, quick_on("torch")]


def test_a_full_disk_is_said_and_the_run_goes_on(image_folder, tmp_path, full_disk):
    whole = finetune(image_folder, "--output", tmp_path / "run", "--epochs", "1")
    with full_disk("labels.txt"):
        done = run_here(*whole)
    assert done.returncode == 2
    assert "keras-cbam: No space is left on the disk." in done.stderr
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        ".state",
        "curves.png",
        "model.keras",
    }
    assert {path.name for path in (tmp_path / "run" / ".state").iterdir()} <= {
        "state.npz",
        "best.npz",
    }
    state = tmp_path / "run" / ".state" / "state.npz"
    content = state.read_bytes()
    for damaged in (b"", content[: len(content) // 2]):
        state.write_bytes(damaged)
        done = run_here(*whole, "--resume")
        assert done.returncode == 2
        assert f"{state} cannot be read. Remove {state.parent} to begin anew." in done.stderr
    state.write_bytes(content)
    assert run_here(*whole, "--resume").returncode == 0
    assert (tmp_path / "run" / "report.md").exists()
