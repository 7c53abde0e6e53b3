"""Operations are of the layers whose scopes their names have."""

import pytest

from keras_cbam.errors import InputError
from keras_cbam.export.source.layer_names import layer_of, operations_of

LAYERS = ["conv2d", "conv2d_1", "conv2d_2", "cbam", "bn", "net"]


@pytest.mark.parametrize(
    ("operation", "layer"),
    [
        ("functional_1/conv2d_1/convolution", "conv2d"),
        ("functional_1/conv2d_1_1/convolution", "conv2d_1"),
        ("functional_1/conv2d_2_2/convolution;functional_1/bn_1/sub", "conv2d_2"),
        ("functional/conv2d_1/convolution", "conv2d"),
        ("functional/conv2d_3/convolution", "conv2d"),
        ("functional_1/bn/sub1", "bn"),
        ("functional_1/net_1/conv2d_1_1/Relu", "conv2d_1"),
        ("functional_1/cbam_1/channel/squeeze_3/convolution", "cbam"),
        ("PartitionedCall/other", "PartitionedCall/other"),
    ],
)
def test_layer_of_an_operation(operation, layer):
    assert layer_of(operation, LAYERS) == layer


def test_operations_of_chosen_layers():
    names = ["f_1/net_1/conv2d_1/a", "f_1/net_1/cbam_1/b", "f_1/conv2d_1_1/c"]
    assert operations_of(["net"], LAYERS, names) == names[:2]
    assert operations_of(["conv2d"], LAYERS, names) == names[:1]
    with pytest.raises(InputError, match="Received: bn"):
        operations_of(["bn"], LAYERS, names)
