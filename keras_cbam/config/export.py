"""Options of exported artifacts, checked before any work."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from keras_cbam.config.forms import COUNT_OR_NONE, NAMES
from keras_cbam.config.names import TARGETS
from keras_cbam.config.option import documented, option
from keras_cbam.errors import InputError, check_choice

# Opset 13 introduced int8 with a scale per channel; tf2onnx supports up to 18.
OPSETS = range(13, 19)
INTEGER_IO = ("int8", "uint8", "float32")


@documented
@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options for writing artifacts."""

    opset: int = option(
        "Opset of the ONNX files. At opset 18, tf2onnx loses the global pools and adds a "
        "Transpose.",
        default=17,
    )
    integer_io: str = option(
        f"Type of the inputs and outputs of the int8 TFLite file, one of {', '.join(INTEGER_IO)}.",
        default="int8",
    )
    batch_size: int | None = option(
        "Batch size of the TFLite files.", default=1, form=COUNT_OR_NONE
    )
    float_layers: tuple[str, ...] = option(
        "Names of layers whose operations stay in float32 in int8 files.", default=(), form=NAMES
    )
    jpeg_signature: bool = option(
        "Give the SavedModel a second signature that takes JPEG files.", default=False
    )
    target: str = option(
        "Target of the TFLite files and the float32 ONNX file, one of "
        f"{', '.join(TARGETS)}; generic keeps the files as the converters write them.",
        default="cpu",
    )

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise InputError(
                f"Expected an ONNX opset of {OPSETS[0]} to {OPSETS[-1]}. Received: {self.opset}"
            )
        check_choice("integer_io", self.integer_io, INTEGER_IO)
        check_choice("a target", self.target, TARGETS)
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError(f"Expected a batch_size of 1 or more. Received: {self.batch_size}")

    def given(self) -> dict[str, object]:
        """Return the options that differ from their defaults, by name."""
        default = asdict(ExportOptions())
        return {name: value for name, value in asdict(self).items() if value != default[name]}
