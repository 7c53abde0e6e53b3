"""freeze_backbone: what trains after it, in nested models too."""

import pytest

from keras_cbam import attach_attention, freeze_backbone
from keras_cbam.surgery.addresses import walk
from tests.surgery.graphs import GRAPHS


def test_freeze_backbone_leaves_attention_and_head(small):
    attached = attach_attention(small)
    freeze_backbone(attached, head=["scores"])
    trained = {v.path.split("/")[0] for v in attached.trainable_variables}
    assert trained == {"a_bn2_cbam", "b_bn2_cbam", "scores"}
    attached.trainable = False
    freeze_backbone(attached)
    assert {v.path.split("/")[0] for v in attached.trainable_variables} == trained - {"scores"}
    with pytest.raises(ValueError, match="`head` must name layers"):
        freeze_backbone(attached, head=["score"])


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (["scores"], {"scores"}),
        (["features/backbone/block2_1_conv"], {"features/backbone/block2_1_conv"}),
    ],
)
def test_layers_of_nested_models_freeze(head, expected):
    attached = attach_attention(GRAPHS["nested_twice"].build())
    freeze_backbone(attached, head=head)
    trained = {address for address, layer in walk(attached) if layer.trainable_weights}
    backbone = "features/backbone"
    attention = {f"{backbone}/block1_2_bn_cbam", f"{backbone}/block2_2_bn_cbam"}
    assert trained == attention | expected


def test_a_nested_model_can_stay_trainable():
    attached = attach_attention(GRAPHS["nested_twice"].build())
    freeze_backbone(attached, head=["features"])
    frozen = [address for address, layer in walk(attached) if not layer.trainable]
    assert not any(address.startswith("features/") for address in frozen)
    assert "scores" in frozen


def test_frozen_normalization_keeps_its_statistics(small, rng):
    attached = attach_attention(small)
    freeze_backbone(attached)
    before = attached.get_layer("a_bn1").get_weights()
    attached(rng.uniform(0, 255, (4, 16, 16, 3)).astype("float32"), training=True)
    after = attached.get_layer("a_bn1").get_weights()
    assert all((a == b).all() for a, b in zip(before, after, strict=True))
