"""What an artifact tells of itself, in each format's own way: labels, and what pixels it takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from .preprocessing import PIXELS

LABELS_FILE = "labels.txt"
METADATA_FILE = "metadata.json"


@dataclass(frozen=True)
class Metadata:
    """What is written into each artifact beside the network.

    Attributes:
        name: the model's.
        scores: name of the output that the labels are of.
        labels: class names, in the order of the scores; for one sigmoid two, "no" and then "yes".
        preprocessing: the record of what happens to pixels, as in the manifest.
    """

    name: str = ""
    scores: str = ""
    labels: tuple[str, ...] = ()
    preprocessing: dict[str, Any] = field(default_factory=dict)

    def labels_text(self, scores: int | None = None) -> str:
        """The labels, one a line; of so many scores, the last."""
        labels = self.labels if scores is None else self.labels[-scores:]
        return "".join(f"{label}\n" for label in labels)

    def record(self) -> dict[str, Any]:
        """What is known, by name."""
        return {key: value for key, value in asdict(self).items() if value}

    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and standard deviation with which RGB in 0..255 becomes what the artifact takes.

        `(pixels - mean) / std`; `None` where that is not known, or is no such formula.
        """
        if self.preprocessing.get("takes") == PIXELS:
            return (0.0,) * 3, (1.0,) * 3
        scale, offset = (self.preprocessing.get(key) for key in ("scale", "offset"))
        if not scale or not offset or self.preprocessing.get("reverse_channels"):
            return None
        std = tuple(1 / each for each in scale)
        return tuple(-o * s for o, s in zip(offset, std, strict=True)), std
