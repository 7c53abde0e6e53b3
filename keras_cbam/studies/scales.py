"""Reproduction of the paper's tables: the sizes of studies, with networks, images and budgets."""

from __future__ import annotations

from dataclasses import dataclass

from keras_cbam.config.recipe import Recipe


@dataclass(frozen=True)
class Scale:
    """The size of a study.

    Attributes:
        networks: names of networks that `build_network` knows. Tables 1 to 3 use the first one.
        image_size: side of the images, in pixels.
        stem: `"imagenet"` or `"cifar"`, as for the builders.
        batch_size: images per step.
        images: budget of a run, as the number of images seen, rounded to whole epochs.
        recipe: training recipe of the networks.
        augmentations: names from `training.AUGMENTATIONS`.
        crop_area: smallest share of an image that a random crop keeps.
    """

    networks: tuple[str, ...]
    image_size: int
    stem: str
    batch_size: int
    images: int
    recipe: Recipe
    augmentations: tuple[str, ...] = ("crop", "flip")
    crop_area: float = 0.5


IMAGENET_IMAGES = 1_281_167

SCALES: dict[str, Scale] = {
    # For a laptop. One core does a run in one to three minutes.
    "small": Scale(
        networks=("WideResNet18-0.25", "WideResNet18-0.5"),
        image_size=64,
        stem="imagenet",
        batch_size=32,
        images=18_000,
        recipe=Recipe(
            learning_rate=0.05,
            warmup=0.05,
            nesterov=True,
            weight_decay=5e-3,
            label_smoothing=0.1,
            clip_norm=5.0,
        ),
    ),
    # The paper's schedule: SGD at 0.1, divided by 10 after every 30 of 90 epochs, and crops of 8 to
    # 100 %. With a momentum of 0.9, its decay of 1e-4 in the loss is a decoupled decay of 1e-3.
    "imagenet": Scale(
        networks=(
            *("ResNet50", "ResNet18", "ResNet34", "ResNet101"),
            *("WideResNet18-1.5", "WideResNet18-2.0", "ResNeXt50", "ResNeXt101"),
            *("MobileNet-0.7", "MobileNet-1.0"),
        ),
        image_size=224,
        stem="imagenet",
        batch_size=256,
        images=90 * IMAGENET_IMAGES,
        recipe=Recipe(schedule="step", weight_decay=1e-3),
        crop_area=0.08,
    ),
}
