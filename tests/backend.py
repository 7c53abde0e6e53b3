"""The backend of this run, and marks that choose what `make test` runs on it."""

from pathlib import Path

import keras
import pytest

BACKEND = keras.config.backend()
ROOT = Path(__file__).parents[1]


def quick(cases, chosen):
    """Parameters of a test: `make test` runs the chosen cases, `make test-all` all of them."""
    return [pytest.param(case, marks=() if case in chosen else pytest.mark.slow) for case in cases]


def quick_on(*backends):
    """Mark for a test that shows the same on every backend, beside the mark `backends`.

    `make test` runs the test on these backends alone, `make test-all` on all of them.
    """
    return pytest.mark.backends if BACKEND in backends else pytest.mark.slow
