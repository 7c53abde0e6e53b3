"""Requirements that replace those of the table of formats, and files published with artifacts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keras_cbam.errors import InputError

from ..children.batches import Outputs
from .tolerance import Tolerance

# Takes name and precision of an artifact, its outputs on all inputs, and Keras's outputs. Returns
# the requirements that the artifact misses, as text.
Judge = Callable[[str, str, Outputs, Outputs], Sequence[str]]

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Requirements that replace those of the table of formats, and files published with artifacts.

    Attributes:
        judge: a function that replaces agreement, accuracy and SQNR, such as one that compares the
            boxes of a detector. It takes the name and the precision of an artifact, its outputs on
            the verification data by name, and Keras's. It returns the requirements that the
            artifact misses, as text. It is called in a thread.
        tolerances: tolerances that replace those of the table of formats, by the artifact's name,
            such as `"model_int8.tflite"`. The manifest records them. They exclude a judge.
        companions: further files that are published with the artifacts: a dictionary from the name
            to a function that writes the file to a path. The functions are called when the
            artifacts are verified. A name has letters, digits, `_`, `.` and `-`, at most 64.
    """

    judge: Judge | None = None
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    companions: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)

    def check(self, artifacts: Sequence[str], taken: Sequence[str]) -> None:
        """Raise an `InputError` for names that cannot be used.

        Args:
            artifacts: names of the artifacts that are exported.
            taken: names that companions cannot have.
        """
        if self.judge and self.tolerances:
            raise InputError("Expected a judge or tolerances. Received: both")
        if unknown := sorted(set(self.tolerances) - set(artifacts)):
            raise InputError(
                f"Expected tolerances of {', '.join(artifacts)}. Received: {', '.join(unknown)}"
            )
        for name in self.companions:
            if not is_safe(name) or name.casefold() in {each.casefold() for each in taken}:
                raise InputError(
                    "Expected names of companions of letters, digits, _, . and -, other than those "
                    f"of an export. Received: {name}"
                )


def is_safe(name: object) -> bool:
    """Return whether a name is that of a plain file in the directory, and not hidden."""
    return isinstance(name, str) and _SAFE.fullmatch(name) is not None
