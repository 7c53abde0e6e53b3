"""The package is shipped whole, and imports no more than it says."""

import ast
import configparser
import importlib
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.backend import BACKEND, ROOT

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="packaging is the same everywhere")

PACKAGE = ROOT / "keras_cbam"
# What each room may import of the others.
DIRECTIONS = {
    "config": set(),
    "layers": set(),
    "surgery": {"layers"},
    "models": {"layers", "surgery"},
    "checkpoints": {"layers", "surgery", "models"},
    "training": {"layers", "surgery"},
    "studies": {"layers", "surgery", "models", "training"},
    "visualize": {"layers", "surgery"},
    "export": set(),
    # A detector's artifacts are proven by the boxes that they find.
    "detection": {"layers", "surgery", "training", "export"},
}
DIRECTIONS["cli"] = set(DIRECTIONS)
# The rooms of `export/`, those below first.
EXPORT_LEVELS = [
    {"children"},
    {"source"},
    {"onnx", "tflite"},
    {"runtimes"},
    {"proof"},
    {"formats"},
    {"publish", "request", "timing", "verification"},
    {"verify"},
    {"pipeline"},
    {"__init__"},
]
SHARED = {
    # What all may import.
    *(
        "config",
        "compiled",
        "errors",
        "files",
        "foreign_files",
        "image_files",
        "image_reader",
        "pixels",
    ),
    *("keras_archive", "model_file", "npz", "outputs", "schema", "text"),
}
OPTIONAL = {
    "PIL",
    "ai_edge_litert",
    "ethosu",
    "filelock",
    "h5py",
    "jax",
    "keras_hub",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "openvino",
    "pycocotools",
    "rich",
    "scipy",
    "sklearn",
    "tensorflow",
    "tf2onnx",
    "torch",
    "typer",
}


def modules():
    # A glob does not follow the link to export/.
    return sorted([*PACKAGE.rglob("*.py"), *(ROOT / "export").rglob("*.py")])


def room(path):
    """The room a file belongs to, as `keras_cbam.<room>`; its own name for a file beside them."""
    return "export" if PACKAGE not in path.parents else path.relative_to(PACKAGE).parts[0]


def above(path, levels):
    """The package so many dots above a file's names."""
    root = ROOT if PACKAGE in path.parents else ROOT.parent
    parts = path.relative_to(root).parts
    if root != ROOT:
        parts = (PACKAGE.name, *parts[1:])
    return ".".join(parts[:-levels])


def imports(path, *, top_level):
    """Yield (line, module) of a file's imports; of those outside functions if `top_level`."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, (node.level and above(path, node.level), node.module)))
            names = [alias.name for alias in node.names] if module == "keras_cbam" else [None]
            yield from ((node.lineno, ".".join(filter(None, (module, name)))) for name in names)


def test_setup_lists_every_folder():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    folders = {
        ".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")
    } | {
        ".".join((PACKAGE.name, *path.parent.relative_to(ROOT).parts))
        for path in (ROOT / "export").rglob("__init__.py")
    }
    assert listed == folders


def test_import_directions():
    wrong = []
    for path in modules():
        if room(path) not in DIRECTIONS:
            continue
        allowed = DIRECTIONS[room(path)] | SHARED | {room(path)}
        for line, module in imports(path, top_level=False):
            parts = module.split(".")
            inside = parts[0] == "keras_cbam" and len(parts) > 1
            if inside and parts[1] not in allowed and not parts[1].startswith("__"):
                wrong.append(f"{path}:{line} imports {module}")
            if parts[0] == "export":
                wrong.append(f"{path}:{line} imports {module}")
    assert not wrong


def rows(title):
    """The first cell and the last of each row of a table of docs/architecture.md."""
    lines = (ROOT / "docs" / "architecture.md").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {title} |"))
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return
        cells = line.strip("|").split("|")
        yield set(re.findall(r"`([\w.]+)`", cells[0])), cells[-1].strip()


def test_architecture_is_as_documented():
    documented = {}
    for (name,), allowed in rows("room"):
        documented[name] = set(re.findall(r"`(\w+)`", allowed))
    assert documented.pop("cli") == set()
    assert documented == {name: DIRECTIONS[name] for name in DIRECTIONS if name != "cli"}
    levels = [names for names, _ in rows("room of `export/`")]
    assert levels == EXPORT_LEVELS[:-1]


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda p: p.name)
def test_benchmarks_import_what_there_is(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras_cbam"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")


def test_export_is_built_in_levels():
    """Each room of `export/` imports only rooms below it; a module in its root is a room."""
    folder = ROOT / "export"
    known = {name: level for level, names in enumerate(EXPORT_LEVELS) for name in names}
    found = {path.name.removesuffix(".py") for path in folder.iterdir()} - {"__pycache__"}
    assert found == set(known)
    arrows = set()
    for path in folder.rglob("*.py"):
        here = path.relative_to(folder).parts[0].removesuffix(".py")
        for _, module in imports(path, top_level=False):
            if module.startswith("keras_cbam.export"):
                there = (*module.split(".")[2:], "__init__")[0]
                arrows.add((here, there))
    arrows = {(here, there) for here, there in arrows if here != there}
    assert {(here, there) for here, there in arrows if known[here] <= known[there]} == set()
    # Fewer arrows are easier to follow; there were 46 when the rooms were built.
    assert len(arrows) <= 50


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
    # A build/ left by an earlier build would put its files into the wheel.
    source = tmp_path / "source"
    for name in ("keras_cbam", "export", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True)
        else:
            shutil.copy(ROOT / name, source)
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(source)], check=True
    )
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
