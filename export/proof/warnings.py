"""Warnings to read before trusting the figures of an export."""

from __future__ import annotations

import numpy as np

from .tolerance import FLOAT_ERROR

# With fewer images, the steps of the agreement are too coarse to judge by.
ENOUGH_IMAGES = 200
# If outputs vary less between inputs, parity proves nothing: a hundred times the float tolerance.
ENOUGH_SPREAD = 100 * FLOAT_ERROR
# With fewer calibration images, the ranges of activations are left to chance.
ENOUGH_CALIBRATION = 100


def spread_of(outputs: dict[str, np.ndarray]) -> float:
    """Return the largest difference between two inputs, in the output that varies least."""
    with np.errstate(over="ignore", invalid="ignore"):
        return min(
            float(np.ptp(value.astype("float64"), axis=0).max(initial=0))
            for value in outputs.values()
        )


def verification_warnings(images: int, spread: float, drawn: bool) -> tuple[str, ...]:
    """Return warnings about the inputs on which artifacts were compared."""
    warnings = []
    if drawn:
        warnings.append(
            "the inputs were drawn at random, because there is no verification_data: only float32 "
            "is judged, by its largest error"
        )
    if images < ENOUGH_IMAGES:
        warnings.append(
            f"agreement was judged on {images} inputs; {ENOUGH_IMAGES} or more make it reliable"
        )
    if spread < ENOUGH_SPREAD:
        warnings.append(
            f"Keras's outputs vary by only {spread:.2g} between inputs, too little for parity to "
            "prove anything"
        )
    return tuple(warnings)


def calibration_warnings(representative: list[np.ndarray] | None) -> tuple[str, ...]:
    """Return warnings about the inputs on which integer files were calibrated."""
    if representative is None or len(representative[0]) >= ENOUGH_CALIBRATION:
        return ()
    return (
        f"integer files were calibrated on {len(representative[0])} inputs; "
        f"{ENOUGH_CALIBRATION} or more make the ranges reliable",
    )
