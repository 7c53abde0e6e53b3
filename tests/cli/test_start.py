"""The command answers without Keras what it can answer without, and starts Keras quietly."""

import subprocess
import sys

import pytest

from tests.backend import BACKEND
from tests.cli.running import run

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="the command runs one backend")

# Runs a command and tells on standard error which slow packages it imported.
TOLD = """
import sys
from keras_cbam.cli import main
try:
    main()
finally:
    print({"keras", "numpy", "tensorflow", "torch", "jax"} & set(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("--help", 0),
        ("--version", 0),
        ("--verbose", 0),
        ("--wrong", 2),
        ("finetune --help", 0),
        ("finetune photos --output run --wrong", 2),
        ("detect train --help", 0),
        ("detect predict", 2),
        ("export --help", 0),
        ("export model.keras --output shipped --opset many", 2),
        ("export model.keras --output shipped --opset 99", 2),
        ("export model.keras --output shipped --target tpu", 2),
        ("detect train boxes --output run --image-size 3y", 2),
        ("finetune photos --output run --backbone-option alpha", 2),
        ("study tables --data photos --output run", 2),
        ("study transfer --data photos --output run --scale small", 2),
        ("study order --data photos --output run --scale huge", 2),
        ("study --help", 0),
        ("benchmark --help", 0),
        ("explain --help", 0),
        ("models --help", 0),
        ("points --help", 0),
        ("convert --help", 0),
        ("verify --help", 0),
        ("demo --help", 0),
    ],
)
def test_nothing_slow_is_imported(arguments, code):
    command = [sys.executable, "-c", TOLD, *arguments.split()]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    *said, loaded = found.stderr.splitlines()
    assert loaded == "set()"
    assert found.returncode == code
    assert bool(said) == (code != 0)


def test_log_lines_of_tensorflow_are_shown_on_demand(monkeypatch):
    for name in ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS"):
        monkeypatch.delenv(name, raising=False)
    quiet = run("models", "ResNet18", "--attention", "none", "--json")
    # The bar of rich ends with an empty line.
    assert (quiet.returncode, quiet.stderr.strip()) == (0, "")
    told = run("--verbose", "models", "ResNet18", "--attention", "none", "--json")
    assert (told.returncode, told.stdout) == (0, quiet.stdout)
    assert "absl::InitializeLog" in told.stderr


def test_what_keeps_keras_from_starting_is_shown(monkeypatch, tmp_path):
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "__init__.py").write_text(
        "import os; os.write(2, b'from C'); raise OSError('no Keras')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    failed = run("models", "ResNet18")
    assert "from C" in failed.stderr
    assert "no Keras" in failed.stderr
