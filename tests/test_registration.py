"""Layers are registered with Keras, whichever of the two packages is imported first."""

import subprocess
import sys

import pytest

from tests.conftest import BACKEND

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
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "done\n", done.stderr
