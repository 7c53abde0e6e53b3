"""The examples of public docstrings run."""

import doctest

import keras
import pytest

import keras_cbam
from keras_cbam.layers import cbam, channel_attention, spatial_attention
from keras_cbam.surgery import attach, points

MODULES = (cbam, channel_attention, spatial_attention, attach, points)


@pytest.mark.backends
@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_examples(module):
    names = {"keras": keras, **{name: getattr(keras_cbam, name) for name in keras_cbam.__all__}}
    tests = [t for t in doctest.DocTestFinder().find(module, extraglobs=names) if t.examples]
    assert tests
    for test in tests:
        failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
        assert not failed
