"""Images to compare networks on, and what refuses those that disagree or hardly vary."""

import numpy as np

# Of the largest value of a map: what two formulations of the module may differ by.
LARGEST = 1e-5
# Of the largest score: what two runtimes of one network may, through which rounding grows.
LARGEST_SCORE = 1e-4
# What images have to differ by, in what is compared.
TIMES = 100


def images(count: int, size: int) -> np.ndarray:
    """Colored pieces with noise, as float32."""
    rng = np.random.default_rng(0)
    pieces = rng.uniform(-1, 1, (count, 4, 4, 3)).repeat(size // 4, 1).repeat(size // 4, 2)
    return (0.8 * pieces + 0.2 * rng.uniform(-1, 1, pieces.shape)).astype("float32")


def require_spread(what: str, scores: np.ndarray, least: float) -> None:
    """Refuse scores that hardly vary between images: agreement would prove nothing."""
    spread = np.ptp(scores, axis=0).max() / np.abs(scores).max()
    if not spread >= least:
        raise SystemExit(f"{what}: outputs vary by {spread:.1e} of the largest score")


def require_agreement(what: str, values: np.ndarray, reference: np.ndarray, most: float) -> None:
    """Refuse values that differ from those that they should be, by the largest of these."""
    difference = np.abs(values - reference).max() / np.abs(reference).max()
    if not difference <= most:
        raise SystemExit(f"{what}: differs by {difference:.1e} of the largest value")
