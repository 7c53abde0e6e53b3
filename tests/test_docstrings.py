"""Public names of the package and of its rooms have examples, and they run."""

import doctest
import inspect

import keras
import pytest

import keras_cbam
from keras_cbam import checkpoints, layers, models, surgery
from keras_cbam.training import recalibrate

PUBLIC = {
    name: getattr(module, name)
    for module in (keras_cbam, layers, checkpoints, models, surgery)
    for name in module.__all__
} | {"recalibrate": recalibrate}
# Bases, plain tuples, errors and tables: nothing to call.
WITHOUT_EXAMPLE = {
    "ATTENTIONS",
    "AddedParameters",
    "AttentionLayer",
    "AttentionPoint",
    "AttentionUse",
    "FeaturePyramidModel",
    "GateUse",
    "NotFiniteError",
    "ParameterCount",
    "Replacement",
}


def marks(name):
    """Examples of layers are tried on every backend, the others on one.

    All builders share one docstring, so `make test` tries it on the two smallest.
    """
    if hasattr(layers, name):
        return pytest.mark.backends
    is_large = hasattr(models, name) and name not in ("ResNet18", "MobileNet")
    return pytest.mark.slow if is_large else ()


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in PUBLIC])
def test_examples(name):
    public = PUBLIC[name]
    names = {"keras": keras, **PUBLIC}
    tests = doctest.DocTestFinder(recurse=False).find(
        public, name, module=inspect.getmodule(public), extraglobs=names
    )
    examples = [test for test in tests if test.examples]
    assert bool(examples) != (name in WITHOUT_EXAMPLE)
    for test in examples:
        failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
        assert not failed
