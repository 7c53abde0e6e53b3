"""What a reader should know before trusting the figures of an export."""

from __future__ import annotations

import numpy as np

from .tolerance import FLOAT_ERROR

# Below this a share of agreement moves in steps too coarse to judge by.
ENOUGH_IMAGES = 200
# Outputs must vary between inputs by a hundred times the float tolerance, or parity is vacuous.
ENOUGH_SPREAD = 100 * FLOAT_ERROR
# Fewer leave the ranges of activations to chance.
ENOUGH_CALIBRATION = 100


def spread_of(outputs: dict[str, np.ndarray]) -> float:
    """The largest difference between two inputs in an output, of the output that varies least."""
    with np.errstate(over="ignore", invalid="ignore"):
        return min(
            float(np.ptp(value.astype("float64"), axis=0).max(initial=0))
            for value in outputs.values()
        )


def verification_warnings(images: int, spread: float, drawn: bool) -> tuple[str, ...]:
    """Warnings about what artifacts were compared on."""
    warnings = []
    if drawn:
        warnings.append(
            "the inputs were drawn at random, for want of verification_data: float32 alone is "
            "judged, by its largest error"
        )
    if images < ENOUGH_IMAGES:
        warnings.append(
            f"agreement was judged on {images} inputs; {ENOUGH_IMAGES} or more tell reliably"
        )
    if spread < ENOUGH_SPREAD:
        warnings.append(
            f"Keras's outputs vary by only {spread:.2g} between inputs, too little for parity to "
            "prove anything"
        )
    return tuple(warnings)


def calibration_warnings(representative: list[np.ndarray] | None) -> tuple[str, ...]:
    """Warnings about what integer files were calibrated on."""
    if representative is None or len(representative[0]) >= ENOUGH_CALIBRATION:
        return ()
    return (
        f"integer files were calibrated on {len(representative[0])} inputs; "
        f"{ENOUGH_CALIBRATION} or more tell the ranges reliably",
    )
