"""What people call the parts of a data set."""

from __future__ import annotations

from collections.abc import Iterable

# The names of each split, in any case; "-" and spaces count as "_".
SPLIT_NAMES = {
    "train": ("train", "training", "train_set", "trainset", "training_set"),
    "val": ("val", "valid", "validation", "val_set", "valid_set", "validation_set", "dev"),
    "test": ("test", "testing", "test_set", "testset", "testing_set", "eval", "evaluation"),
}


def split_of(name: str) -> str | None:
    """Which split of `SPLIT_NAMES` a name says; `None` for none."""
    plain = name.strip().casefold().replace("-", "_").replace(" ", "_")
    return next((split for split, names in SPLIT_NAMES.items() if plain in names), None)


def by_split(names: Iterable[str]) -> dict[str, list[str]]:
    """The names that say a split, by split, in the order of `SPLIT_NAMES`."""
    names = list(names)
    found = {split: [name for name in names if split_of(name) == split] for split in SPLIT_NAMES}
    return {split: said for split, said in found.items() if said}
