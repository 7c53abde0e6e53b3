"""TFLite metadata, which MediaPipe Tasks and Android Studio read: tensors, pixels, labels.

The metadata is a FlatBuffer in a buffer of the model. It follows the public schema
[metadata_schema.fbs](https://ai.google.dev/edge/litert/conversion/tensorflow/metadata). The labels
are a file in a zip archive that is appended to the model.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any, NamedTuple

import numpy as np

from ..source.metadata import LABELS_FILE, Metadata
from .graph import Graph

NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
# The first version of the schema, which has every field that is used here.
PARSER_VERSION = "1.0.0"


class Byte(NamedTuple):
    """A one-byte number, which a table stores in place."""

    value: int


# Values of the schema's enumerations AssociatedFileType and ColorSpaceType, and the tags of the
# unions ContentProperties and ProcessUnitOptions.
AXIS_LABELS = Byte(2)
RGB = Byte(1)
IMAGE = Byte(2)
NORMALIZATION = Byte(1)


def packed_with_metadata(graph: Graph, metadata: Metadata) -> bytes:
    """Return the bytes of a file with its metadata, and its labels if there are any."""
    from ai_edge_litert import schema_py_generated as schema

    buffer = graph.add_buffer(np.frombuffer(_described(graph, metadata), "uint8"))
    graph.model.metadata = [*(graph.model.metadata or []), schema.MetadataT(NAME, buffer)]
    stored = io.BytesIO(graph.packed())
    if metadata.labels:
        # A sigmoid has one score for two labels.
        scores = graph.shape(graph.signature()[1][metadata.scores])[-1]
        with zipfile.ZipFile(stored, "a") as archive:
            # An entry without a time stamp, so that a model always gives the same file.
            archive.writestr(zipfile.ZipInfo(LABELS_FILE), metadata.labels_text(scores))
    return stored.getvalue()


def _described(graph: Graph, metadata: Metadata) -> bytes:
    """Return the `ModelMetadata` table. Each call adds a table, with the schema's field order."""
    tables = _Tables()
    labels = images = normalization = None
    if metadata.labels:
        labels = [tables.add(LABELS_FILE, "Class names, one a line.", AXIS_LABELS)]
    formula = metadata.normalization()
    if formula is not None:
        normalization = [tables.add(NORMALIZATION, tables.add(*formula))]
        images = tables.add(IMAGE, tables.add(RGB))
    read, written = graph.signature()
    names = {tensor: name for some in (read, written) for name, tensor in some.items()}
    scores = [tensor for name, tensor in written.items() if name == metadata.scores]
    inputs = [tables.add(names[i], None, None, images, normalization) for i in graph.inputs]
    outputs = [
        tables.add(names[i], None, None, None, None, None, labels if i in scores else None)
        for i in graph.outputs
    ]
    subgraph = tables.add(None, None, inputs, outputs)
    root = tables.add(metadata.name, None, None, [subgraph], None, None, None, PARSER_VERSION)
    tables.builder.Finish(root, file_identifier=IDENTIFIER)
    return bytes(tables.builder.Output())


class _Tables:
    """FlatBuffer tables, added from the leaves to the root."""

    def __init__(self) -> None:
        import flatbuffers

        self.builder = flatbuffers.Builder()

    def add(self, *fields: Any) -> int:
        """Add a table, and return its offset.

        A field is a string, a `Byte`, the offset of an earlier table, a list of such offsets, a
        tuple of floats, or `None` if it is absent.
        """
        placed = [field if isinstance(field, Byte) else self._place(field) for field in fields]
        self.builder.StartObject(len(placed))
        for slot, field in enumerate(placed):
            if isinstance(field, Byte):
                self.builder.PrependByteSlot(slot, field.value, 0)
            elif field is not None:
                self.builder.PrependUOffsetTRelativeSlot(slot, field, 0)
        return self.builder.EndObject()

    def _place(self, field: Any) -> int | None:
        if isinstance(field, str):
            return self.builder.CreateString(field)
        if isinstance(field, tuple):
            return self.builder.CreateNumpyVector(np.array(field, "float32"))
        if isinstance(field, list):
            self.builder.StartVector(4, len(field), 4)
            for table in reversed(field):
                self.builder.PrependUOffsetTRelative(table)
            return self.builder.EndVector()
        return field
