"""Reproduction of the paper's tables: tables 1 to 4 as data, with the published errors."""

from __future__ import annotations

from typing import NamedTuple

from keras_cbam.models.catalogue import PUBLISHED


class Row(NamedTuple):
    """A row of a study.

    Attributes:
        label: name of the row in the paper.
        attention: a name in `ATTENTIONS`.
        published: top-1 error on ImageNet with ResNet50 in the paper, in %; `None` if the paper has
            none.
    """

    label: str
    attention: str
    published: float | None = None


class Study(NamedTuple):
    """A table of the paper.

    Attributes:
        title: number and subject of the table.
        rows: rows of the table. The first one is the baseline of all others.
        every_network: whether the table has all networks of a scale, or only the first one.
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
        (Row("baseline", "none"), Row("SE", "se"), Row("BAM", "bam"), Row("CBAM", "cbam")),
        every_network=True,
    ),
}


def published(study: Study, row: Row, network: str) -> float | None:
    """Return the paper's top-1 error of a row, in %, or `None` if the paper lacks the network.

    Tables 1 to 3 have only ResNet50, so they give the error of ResNet50 for any network.
    """
    if not study.every_network:
        return row.published
    attention = None if row.attention == "none" else row.attention
    entry = PUBLISHED.get(network, {}).get(attention)
    return entry.top1_error if entry else None
