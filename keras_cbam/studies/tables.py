"""The paper's tables 1 to 4 as data: which attentions each compares, and what it printed."""

from __future__ import annotations

from typing import NamedTuple

from keras_cbam.models.catalogue import PUBLISHED, TABULATED


class Row(NamedTuple):
    """A row of a study.

    Attributes:
        label: as the paper names it.
        attention: a name of `ATTENTIONS`.
        published: the paper's top-1 error on ImageNet with ResNet50, in %; `None` if it has none.
    """

    label: str
    attention: str
    published: float | None = None


class Study(NamedTuple):
    """A table of the paper.

    Attributes:
        title: what it compares.
        rows: the baseline first, with which the others are compared.
        every_network: whether it is drawn up for all networks of a scale, or for the first alone.
    """

    title: str
    rows: tuple[Row, ...]
    every_network: bool = False


STUDIES: dict[str, Study] = {
    "channel": Study(
        "Table 1: pools of channel attention",
        (
            Row("baseline", "none", 24.56),
            Row("average pool (SE)", "se", 23.14),
            Row("max pool", "channel_max", 23.20),
            Row("average and max pool", "channel", 22.80),
        ),
    ),
    "spatial": Study(
        "Table 2: spatial attention after channel attention",
        (
            Row("average pool (SE)", "se", 23.14),
            Row("channel attention alone", "channel", 22.80),
            Row("channel + spatial, 1x1 convolution, k=3", "cbam_conv3", 22.96),
            Row("channel + spatial, 1x1 convolution, k=7", "cbam_conv7", 22.90),
            Row("channel + spatial, average and max, k=3", "cbam_pool3", 22.68),
            Row("channel + spatial, average and max, k=7", "cbam", 22.66),
        ),
    ),
    "order": Study(
        "Table 3: the order of channel and spatial attention",
        (
            Row("channel alone (SE)", "se", 23.14),
            Row("channel, then spatial", "cbam", 22.66),
            Row("spatial, then channel", "spatial_channel", 22.78),
            Row("in parallel", "parallel", 22.95),
        ),
    ),
    "attention": Study(
        "Table 4: attention over networks",
        (
            Row("baseline", "none"),
            Row("SE", "se"),
            Row("BAM", "bam"),
            Row("CBAM", "cbam"),
        ),
        every_network=True,
    ),
}


def published(study: Study, row: Row, network: str) -> float | None:
    """The paper's top-1 error of a row, in %, for a network that it has.

    Of tables 1 to 3, which have ResNet50 alone, that of ResNet50, whatever the network.
    """
    if not study.every_network:
        return row.published
    named = {attention or "none": attention for attention in TABULATED}
    entry = PUBLISHED.get(network, {}).get(named[row.attention])
    return entry.top1_error if entry else None
