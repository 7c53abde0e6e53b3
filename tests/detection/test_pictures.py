"""What is drawn of detections stays within limits, whatever the images are like."""

import numpy as np
import pytest

from keras_cbam.detection import Detections, Photograph, side_by_side
from tests.backend import BACKEND
from tests.detection.data import COLORS

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="files are the same everywhere")

EMPTY = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))


@pytest.mark.parametrize(
    ("size", "count"), [((10_000, 1), 1), ((1, 10_000), 1), ((3000, 3), 1), ((300, 100), 35)]
)
def test_long_images_and_many_are_drawn_within_limits(size, count, tmp_path):
    from PIL import Image

    path = tmp_path / "a.png"
    Image.new("RGB", size[::-1], COLORS["blue"]).save(path)
    nothing = (np.zeros((0, 4), "float32"), np.zeros(0, "int32"), np.zeros(0, bool))
    image = Photograph(path, size, *nothing)
    figure = side_by_side([image], [EMPTY], ["blue"], truth=False)
    assert figure.get_size_inches().max() < 20
    assert max(figure.axes[0].images[0].get_array().shape) <= 2000
    figure.savefig(tmp_path / "drawn.png", dpi=110)
    # Many are one picture, whose sides Matplotlib limits to 65,536 pixels.
    figure = side_by_side([image] * count, [EMPTY] * count, ["blue"], truth=False)
    assert figure.get_size_inches().max() * 110 < 2**16


def test_names_with_dollars_are_no_mathematics(tmp_path):
    from PIL import Image

    path = tmp_path / r"a$\b$.png"
    Image.new("RGB", (32, 32), COLORS["blue"]).save(path)
    nothing = (np.zeros((0, 4), "float32"), np.zeros(0, "int32"), np.zeros(0, bool))
    image = Photograph(path, (32, 32), *nothing)
    side_by_side([image], [EMPTY], [r"us$\cash$"]).savefig(tmp_path / "drawn.png")
