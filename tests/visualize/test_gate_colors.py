"""Maps of gates show no more than there is."""

import numpy as np
import pytest

from keras_cbam.visualize.explanation import Explanation
from keras_cbam.visualize.gate_colors import FLAT
from keras_cbam.visualize.panels import channel_gate_histograms, panel
from tests.backend import BACKEND

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="pictures are the same everywhere")


def explained(spread):
    rng = np.random.default_rng(0)
    gates = (1 + spread * np.linspace(0, 1, 64)).reshape(8, 8)
    return Explanation(
        image=np.zeros((8, 8, 3), "uint8"),
        predicted="a",
        probability=0.5,
        shown="a",
        shown_probability=0.5,
        heat=np.zeros((8, 8)),
        spatial={"gate": gates},
        channel={"gate": 1 + spread * rng.uniform(0, 1, 16)},
        places={"gate": (8, 8)},
    )


def drawn(figure):
    """The map of gates, and all text around it."""
    axes = next(axes for axes in figure.axes if axes.get_title().startswith("spatial"))
    return axes.images[0], axes.get_xlabel()


def colors(image):
    return len(np.unique(image.to_rgba(image.get_array()).reshape(-1, 4), axis=0))


def test_gates_that_hardly_differ_are_drawn_flat_and_say_so():
    image, said = drawn(panel(explained(0.9 * FLAT)))
    assert colors(image) == 1
    assert said == "flat, 1.0000 to 1.0090"
    image, said = drawn(panel(explained(1.1 * FLAT)))
    assert colors(image) == 64
    assert said == ""


def test_a_histogram_is_not_stretched():
    for spread, wide in ((1e-4, FLAT), (0.5, 0.5)):
        figure = channel_gate_histograms([explained(spread)] * 2, ["a", "b"], "gate")
        patches = figure.axes[0].patches
        span = patches[-1].get_x() + patches[-1].get_width() - patches[0].get_x()
        assert span == pytest.approx(wide, rel=0.15)
    assert (
        "flat, " in channel_gate_histograms([explained(1e-4)], ["a"], "gate").axes[0].get_xlabel()
    )
