"""How large studies are: networks, images and the budget of a run."""

from __future__ import annotations

from dataclasses import dataclass

from keras_cbam.config.recipe import Recipe


@dataclass(frozen=True)
class Scale:
    """How large a study is.

    Attributes:
        networks: names that `build_network` knows. Tables 1 to 3 take the first.
        image_size: side of the images, in pixels.
        stem: `"imagenet"` or `"cifar"`, as for the builders.
        batch_size: images a step.
        images: the budget of a run, in images seen, rounded to whole epochs.
        recipe: how the networks are trained.
        augmentations: names out of `training.AUGMENTATIONS`.
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
    # For a laptop: one core does a run in one to three minutes.
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
    # The paper's: SGD at 0.1, a tenth of it after every 30 of 90 epochs, crops of 8 to 100 %. Its
    # decay of 1e-4 in the loss is 1e-3 apart from it, with a momentum of 0.9.
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
