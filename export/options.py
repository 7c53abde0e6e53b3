"""What a user may choose about the artifacts, checked before any work."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from keras_cbam.errors import InputError

from .lowering import TARGETS

# int8 with a scale for each channel came with 13; tf2onnx stops at 18.
OPSETS = range(13, 19)
INTEGER_IO = ("int8", "uint8", "float32")


@dataclass(frozen=True)
class Options:
    """How artifacts are written.

    Attributes:
        opset: of the ONNX files. At 18 tf2onnx loses the global pools and adds a Transpose.
        integer_io: type of the inputs and outputs of the int8 TFLite file.
        batch_size: of the TFLite files, `None` for any.
        float_layers: names of layers whose operations stay in float32 in the int8 files.
        jpeg_signature: whether the SavedModel gets a second signature that takes JPEG bytes.
        target: what the TFLite files and the float32 ONNX file will run on, a key of
            `lowering.TARGETS`; `"generic"` leaves them as the converters write them.
    """

    opset: int = 17
    integer_io: str = "int8"
    batch_size: int | None = 1
    float_layers: tuple[str, ...] = ()
    jpeg_signature: bool = False
    target: str = "cpu"

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise InputError(
                f"Expected an ONNX opset of {OPSETS[0]} to {OPSETS[-1]}. Received: {self.opset}"
            )
        if self.integer_io not in INTEGER_IO:
            raise InputError(
                f"Expected integer_io of {', '.join(INTEGER_IO)}. Received: {self.integer_io}"
            )
        if self.target not in TARGETS:
            raise InputError(f"Expected a target of {', '.join(TARGETS)}. Received: {self.target}")
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError(f"Expected a batch_size of 1 or more. Received: {self.batch_size}")

    def given(self) -> dict[str, object]:
        """The options that differ from their defaults, by name."""
        default = asdict(Options())
        return {name: value for name, value in asdict(self).items() if value != default[name]}
