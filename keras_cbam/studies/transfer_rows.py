"""Transfer study: the rows that it compares, each one a way of fine-tuning a backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from keras_cbam.studies.bottleneck import bottleneck
from keras_cbam.surgery.plan import Factory

PROBE, PLAIN, BOTTLENECK = "probe", "plain", "bottleneck"


class Row(NamedTuple):
    """A way of fine-tuning.

    Attributes:
        label: a short description.
        changes: attributes of `FineTuneConfig` that differ from the defaults.
        baselines: names of the rows that this row is compared with.
        factory: factory of the layers at the attention points, if they are not attention of
            keras_cbam.
    """

    label: str
    changes: Mapping[str, Any]
    baselines: tuple[str, ...] = (PLAIN,)
    factory: Factory | None = None


ROWS: dict[str, Row] = {
    PLAIN: Row("plain network", {"attention": "none"}, ()),
    PROBE: Row(
        "logistic regression on its features",
        {"attention": "none", "head_epochs": 0, "epochs": 0},
        (),
    ),
    BOTTLENECK: Row("bottlenecks of as many weights", {"attention": "none"}, factory=bottleneck),
    "se": Row("squeeze-and-excitation", {"attention": "se"}),
    "cbam": Row("CBAM", {"attention": "cbam"}, (PLAIN, BOTTLENECK)),
    "channel": Row("CBAM, channel half", {"attention": "channel"}),
    "spatial": Row("CBAM, spatial half", {"attention": "spatial"}),
    "last_stage": Row("CBAM at the last stage", {"attention": "cbam", "points": "last_stage"}),
    "adapter": Row(
        "CBAM and head, backbone frozen", {"attention": "cbam", "train": "adapter"}, (PROBE, PLAIN)
    ),
}
