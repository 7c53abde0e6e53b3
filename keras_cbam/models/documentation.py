"""The docstring of a builder: its own description, followed by the shared arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from keras_cbam.models.description import Network


def document(describe: Callable[..., Network], build: Callable) -> str:
    """Return the docstring of the builder for the network that `describe` describes.

    Args:
        describe: its docstring is the description of the network, and its own arguments.
        build: its docstring is a template that has the shared arguments.
    """
    network = describe()
    description, _, own = (inspect.getdoc(describe) or "").partition("\n\nArgs:\n")
    name = describe.__name__
    unit = "conv2" if network.residual else "pointwise_conv"
    stem = network.stems["imagenet"]
    pool = ", then a pooling, each" if stem.pool else ""
    return (inspect.getdoc(build) or "").format(
        description=description,
        example=f"stage2_block1_{unit}",
        places=(
            "on the residual branch of every block, before the addition"
            if network.residual
            else "after the depthwise and the pointwise convolution of every block"
        ),
        bam_stages=" and ".join(
            (", ".join(map(str, network.bam_stages[:-1])), str(network.bam_stages[-1]))
        ),
        smallest={kind: network.stride(kind) for kind in network.stems},
        stem=f"a {stem.kernel_size}x{stem.kernel_size} convolution{pool} of stride 2",
        own=f"{own}\n" if own else "",
        name=name,
        model=name.lower(),
    )
