"""The package is shipped whole, and imports no more than it says."""

import ast
import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import BACKEND, ROOT

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="packaging is the same everywhere")

PACKAGE = ROOT / "keras_cbam"
# What each room may import of the others.
DIRECTIONS = {
    "layers": set(),
    "surgery": {"layers"},
    "training": {"layers", "surgery"},
    "visualize": {"layers", "surgery"},
    "export": set(),
    "cli": {"layers", "surgery", "training", "visualize", "export"},
}
SHARED = {"errors", "files"}
OPTIONAL = {
    "PIL",
    "ai_edge_litert",
    "h5py",
    "jax",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "rich",
    "sklearn",
    "tensorflow",
    "tf2onnx",
    "torch",
    "typer",
}


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py"))


def imports(path, *, top_level):
    """Yield (line, module) of a file's imports; of those outside functions if `top_level`."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, node.module


def test_setup_lists_every_folder():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    folders = {
        ".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")
    } | {"keras_cbam.export"}
    assert listed == folders


def test_import_directions():
    wrong = []
    for path in modules() + sorted((ROOT / "export").glob("*.py")):
        relative = (
            path.relative_to(PACKAGE) if PACKAGE in path.parents else Path("export", path.name)
        )
        room = relative.parts[0]
        if room not in DIRECTIONS:
            continue
        allowed = DIRECTIONS[room] | SHARED | {room}
        for line, module in imports(path, top_level=False):
            parts = module.split(".")
            if parts[0] == "keras_cbam" and len(parts) > 1 and parts[1] not in allowed:
                wrong.append(f"{path}:{line} imports {module}")
            if parts[0] == "export":
                wrong.append(f"{path}:{line} imports {module}")
    assert not wrong


def test_optional_packages_are_imported_where_used():
    wrong = [
        f"{path}:{line} imports {module}"
        for path in modules()
        if "cli" not in path.parts
        for line, module in imports(path, top_level=True)
        if module.split(".")[0] in OPTIONAL
    ]
    assert not wrong


def test_import_loads_keras_and_numpy_only():
    code = (
        "import sys, keras; before = set(sys.modules); import keras_cbam; "
        "print({m.split('.')[0] for m in set(sys.modules) - before})"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    loaded = ast.literal_eval(found.splitlines()[-1])
    assert loaded - set(sys.stdlib_module_names) == {"keras_cbam"}


def test_wheel_has_export_and_the_command(tmp_path):
    """Built and put where no checkout is, the package and its command work."""
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(ROOT)]
    subprocess.run(build, check=True)
    (wheel,) = wheels.glob("keras_cbam-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    code = (
        "import keras_cbam, keras_cbam.export, pathlib; "
        "print(keras_cbam.__file__, keras_cbam.export.__file__); "
        "print((pathlib.Path(keras_cbam.__file__).parent / 'py.typed').exists())"
    )
    settings = {
        "cwd": tmp_path,
        "env": {**os.environ, "PYTHONPATH": str(site)},
        "capture_output": True,
        "text": True,
        "check": True,
    }
    lines = subprocess.run([sys.executable, "-c", code], **settings).stdout.splitlines()
    assert lines[-2].count(str(site)) == 2
    assert lines[-1] == "True"
    command = [sys.executable, str(site / "bin" / "keras-cbam"), "--help"]
    shown = subprocess.run(command, **settings).stdout
    assert all(name in shown for name in ("demo", "export", "finetune"))
