"""Options of `keras-cbam study`."""

from __future__ import annotations

from dataclasses import dataclass

from keras_cbam.config.forms import ARGUMENTS, PATH
from keras_cbam.config.names import SCALES, TRANSFER_ROWS
from keras_cbam.config.option import documented, option

# The name of the study that compares ways of fine-tuning.
TRANSFER = "transfer"


@documented
@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Options of a study. `None` stands for the default of the scale or of the transfer study."""

    data: str = option(
        "Folder with train/ and val/, or with *train*.npz and *test*.npz. For "
        f"{TRANSFER}, a folder of folders with train/ and val/ or test/.",
        form=PATH,
    )
    output: str = option("Directory of runs and tables, shared by all hosts.", form=PATH)
    scale: str | None = option(
        f"Scale of the runs, one of {', '.join(SCALES)}; by default small.", default=None
    )
    seeds: int | None = option(
        f"Number of seeds, from 0 on; by default 3, for {TRANSFER} 10.", default=None, least=1
    )
    network: list[str] | None = option(
        "A network instead of the scale's; repeatable, but tables 1 to 3 take one. For "
        f"{TRANSFER}, a builder of keras.applications, by default MobileNet with alpha=0.25.",
        default=None,
    )
    backbone_option: list[str] | None = option(
        f"A further argument of the builder. {ARGUMENTS.hint}", default=None
    )
    weights: str | None = option(
        f"For {TRANSFER}: 'imagenet', the default, or a weights file.", default=None
    )
    rows: str | None = option(
        f"For {TRANSFER}: some of {','.join(TRANSFER_ROWS)}; by default all.", default=None
    )
    image_size: int | None = option(
        f"Side of the images, in pixels, instead of the scale's; for {TRANSFER} 128.",
        default=None,
        least=1,
    )
    batch_size: int | None = option(
        "Images per step, instead of the scale's.", default=None, least=1
    )
    images: int | None = option(
        "Images seen in a run, in all, instead of the scale's.", default=None, least=1
    )
    stem: str | None = option("Stem, 'imagenet' or 'cifar', instead of the scale's.", default=None)
    learning_rate: float | None = option(
        "Peak learning rate, instead of the scale's.", default=None
    )
    dtype_policy: str | None = option(
        "Dtype policy, such as mixed_bfloat16, instead of the scale's.", default=None
    )
    workers: int = option(
        "Number of processes, each on its share of the cores.", default=1, least=1
    )
    checkpoint_seconds: float = option(
        "Seconds between two saves of the state of a run.", default=30.0
    )
