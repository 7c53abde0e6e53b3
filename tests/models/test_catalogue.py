"""The paper's numbers: every network with every attention, to the printed digits."""

from itertools import product

import pytest

from keras_cbam.cli.models import cells
from keras_cbam.models.catalogue import PUBLISHED, TABULATED, VARIANTS, catalogue, measure
from keras_cbam.surgery import multiply_adds
from tests.backend import BACKEND, ROOT, quick

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="numbers are the same everywhere")

# Trainable parameters of the authors' code, with biases in the MLP and spatial normalization.
EXACT = {
    ("ResNet18", None): 11_689_512,
    ("ResNet34", None): 21_797_672,
    ("ResNet50", None): 25_557_032,
    ("ResNet101", None): 44_549_160,
    ("ResNet18", "cbam"): 11_779_392,
    ("ResNet34", "cbam"): 21_960_468,
    ("ResNet50", "cbam"): 28_089_624,
    ("ResNet101", "cbam"): 49_330_172,
    ("ResNet18", "bam"): 11_712_503,
    ("ResNet34", "bam"): 21_820_663,
    ("ResNet50", "bam"): 25_915_099,
    ("ResNet101", "bam"): 44_907_227,
}
# Printed 2.71: 26 modules on the channels of MobileNet at 0.7, with C // 16 hidden units, bring
# 405,847; and 2,298,747 + 405,847 is 2.70.
INCONSISTENT = {("MobileNet-0.7", "se"): 2_704_594}
# What the first 1x1 convolutions of stages 2 to 4 compute where a later one halves the map, four
# times what they would if they did: 256 * 128 * 56 * 56 in stage 2, and the same in 3 and 4, where
# maps are 4 times smaller and both channels double. A ResNeXt's are twice as wide.
FULL_SIZE_REDUCTIONS = {
    "ResNet50": 3 * 256 * 128 * 56 * 56,
    "ResNet101": 3 * 256 * 128 * 56 * 56,
    "ResNeXt50": 3 * 256 * 256 * 56 * 56,
    "ResNeXt101": 3 * 256 * 256 * 56 * 56,
}
# The paper has 0.001 more than the operations that it counts elsewhere come to, 0.2 and 0.3 %.
ROUGHLY = {("MobileNet-0.7", "cbam"), ("MobileNet-1.0", "cbam")}


# Every attention once, every kind of network once, and every way to differ from the paper.
QUICK = {
    *(("ResNet18", attention) for attention in TABULATED),
    ("ResNet50", "bam"),
    ("WideResNet18-1.5", None),
    ("ResNeXt50", "cbam"),
    ("MobileNet-0.7", "se"),
    ("MobileNet-0.7", "cbam"),
}


@pytest.mark.parametrize("case", quick(product(VARIANTS, TABULATED), QUICK))
def test_as_in_the_paper(case):
    variant, attention = case
    model = VARIANTS[variant](attention)
    entry = measure(model, variant, attention)
    key = variant, attention
    if key in EXACT:
        assert entry.parameters == EXACT[key]
    paper = PUBLISHED[variant].get(attention)
    assert (paper is None) == (attention == "bam")
    if paper:
        same = f"{entry.parameters / 1e6:.2f}" == f"{paper.parameters:.2f}"
        assert same != (key in INCONSISTENT)
        if key in INCONSISTENT:
            assert entry.parameters == INCONSISTENT[key]
        first = [f"stage{stage}_block1_conv1" for stage in (2, 3, 4)]
        counted = multiply_adds(model)
        more = FULL_SIZE_REDUCTIONS.get(variant, 0)
        assert more in (0, sum(counted.get(name, 0) for name in first))
        comparable = entry.multiply_adds - more * 3 / 4
        assert comparable / 1e9 == pytest.approx(paper.multiply_adds, rel=5e-3)
        same = f"{comparable / 1e9:.3f}" == f"{paper.multiply_adds:.3f}"
        assert same != (key in ROUGHLY)
    assert f"| {' | '.join(cells(entry))} |" in documented()


def documented():
    """The rows of the table in docs/models.md, with single spaces."""
    lines = (ROOT / "docs" / "models.md").read_text().splitlines()
    return [" ".join(line.split()) for line in lines if line.startswith("|")]


def test_every_row_is_printed_once():
    rows = [row for row in documented() if row.count("|") == 9][2:]
    assert len(rows) == len(set(rows)) == len(VARIANTS) * len(TABULATED)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["ResNet19"],), r"`variants` must contain only .*Received: \['ResNet19'\]"),
        ((["ResNet18"], ["channel"]), r"`attentions` must contain only .*Received: \['channel'\]"),
    ],
)
def test_unknown_names_are_refused_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        catalogue(*arguments)
