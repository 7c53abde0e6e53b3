"""Layers are registered with Keras, whichever of the two packages is imported first."""

import os
import subprocess
import sys
import zipfile

import pytest

from tests.backend import BACKEND, ROOT

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="the same on every backend")

FIRST = """
import sys
import keras_cbam
assert not {"keras", "numpy"} & set(sys.modules)
import keras
assert "keras_cbam.registration" not in {type(finder).__module__ for finder in sys.meta_path}
assert type(keras.__spec__.loader).__module__ == "_frozen_importlib_external"
assert keras.__loader__ is keras.__spec__.loader
"""
SECOND = "import keras, keras_cbam\n"
# Keras fails at first; the layers are registered all the same.
AGAIN = """
import sys
import keras_cbam
sys.modules["numpy"] = None
try:
    import keras
except ImportError:
    pass
else:
    raise AssertionError
del sys.modules["numpy"]
sys.modules.pop("keras", None)
import keras
"""
RELOADED = """
import importlib
import importlib.util
import keras_cbam
importlib.reload(keras_cbam)
assert "keras" in importlib.util.find_spec("keras").loader.get_source("keras")
import keras
"""
REGISTERED = """
assert keras.saving.get_registered_object("keras_cbam>CBAM") is keras_cbam.CBAM
assert "attach_attention" in dir(keras_cbam)
from keras_cbam import *
assert attach_attention is keras_cbam.surgery.attach_attention
print("done")
"""


CASES = {"before": FIRST, "after": SECOND, "failed once": AGAIN, "reloaded": RELOADED}


@pytest.mark.parametrize("case", CASES)
def test_layers_are_registered(case):
    command = [sys.executable, "-c", CASES[case] + REGISTERED]
    # JAX takes half as long to import.
    env = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.stdout == "done\n", done.stderr


def test_an_archive_has_one_loader_for_all_of_its_modules(tmp_path):
    """The module that Keras itself imports is loaded as usual."""
    archive = tmp_path / "modules.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("keras.py", "import beside\nprint('keras')\n")
        file.writestr("beside.py", "print('beside')\n")
        file.writestr("after.py", "import keras\nkeras.beside\nprint('after')\n")
    registration = ROOT / "keras_cbam" / "registration.py"
    script = (
        f"import sys; sys.path.insert(0, {str(archive)!r})\n"
        f"exec(compile(open({str(registration)!r}).read(), 'registration', 'exec'))\n"
        "when_keras_is_imported('after')\n"
        "import keras\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["beside", "keras", "after"], done.stderr
