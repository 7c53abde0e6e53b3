"""The metadata of an artifact: its labels, and the pixels that it expects."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from .preprocessing import PIXELS

LABELS_FILE = "labels.txt"
METADATA_FILE = "metadata.json"


@dataclass(frozen=True)
class Metadata:
    """The metadata that is written into each artifact.

    Attributes:
        name: name of the model.
        scores: name of the output that the labels describe.
        labels: class names, in the order of the scores. One sigmoid has two: "no" and then "yes".
        preprocessing: the record of the pixel preprocessing, as in the manifest.
    """

    name: str = ""
    scores: str = ""
    labels: tuple[str, ...] = ()
    preprocessing: dict[str, Any] = field(default_factory=dict)

    def labels_text(self, scores: int | None = None) -> str:
        """Return the labels, one per line. If `scores` is given, only that many, from the end."""
        labels = self.labels if scores is None else self.labels[-scores:]
        return "".join(f"{label}\n" for label in labels)

    def record(self) -> dict[str, Any]:
        """Return the fields that are not empty, by name."""
        return {key: value for key, value in asdict(self).items() if value}

    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Return mean and standard deviation of the artifact's input, for RGB pixels in 0..255.

        The input is `(pixels - mean) / std`. The result is `None` if the preprocessing is not
        known, or is not of this form.
        """
        if self.preprocessing.get("takes") == PIXELS:
            return (0.0,) * 3, (1.0,) * 3
        scale, offset = (self.preprocessing.get(key) for key in ("scale", "offset"))
        if not scale or not offset or self.preprocessing.get("reverse_channels"):
            return None
        std = tuple(1 / each for each in scale)
        return tuple(-o * s for o, s in zip(offset, std, strict=True)), std
