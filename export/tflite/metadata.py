"""TFLite metadata, which MediaPipe Tasks and Android Studio read: tensors, pixels, labels.

A FlatBuffer by the public schema
[metadata_schema.fbs](https://ai.google.dev/edge/litert/conversion/tensorflow/metadata), in a buffer
of the model; the labels are a file in a zip archive that is appended to it.
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
# The schema's first version, which has all that is used here.
PARSER_VERSION = "1.0.0"


class Byte(NamedTuple):
    """A number of one byte, which a table holds itself."""

    value: int


# Of the schema: an AssociatedFileType, a ColorSpaceType, and which members of the unions
# ContentProperties and ProcessUnitOptions follow.
AXIS_LABELS = Byte(2)
RGB = Byte(1)
IMAGE = Byte(2)
NORMALIZATION = Byte(1)


def packed_with_metadata(graph: Graph, metadata: Metadata) -> bytes:
    """Return a file's bytes with its metadata, and its labels where there are any."""
    from ai_edge_litert import schema_py_generated as schema

    model = graph.model
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(_described(graph, metadata), "uint8")
    entry.name, entry.buffer = NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    stored = io.BytesIO(graph.packed())
    if metadata.labels:
        with zipfile.ZipFile(stored, "a") as archive:
            # Without the time, so that one model gives one file.
            archive.writestr(
                zipfile.ZipInfo(LABELS_FILE), metadata.labels_text(_scores(graph, metadata))
            )
    return stored.getvalue()


def _scores(graph: Graph, metadata: Metadata) -> int:
    """How many scores the output has that the labels are of; of a sigmoid it is one of two."""
    _, outputs = graph.signature()
    return graph.shape(outputs[metadata.scores])[-1]


def _described(graph: Graph, metadata: Metadata) -> bytes:
    """A `ModelMetadata` of the model: each line below is a table of the schema, in its order."""
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
    return tables.finished(root)


class _Tables:
    """FlatBuffer tables, added from the leaves to the root."""

    def __init__(self) -> None:
        import flatbuffers

        self.builder = flatbuffers.Builder()

    def add(self, *fields: Any) -> int:
        """Add a table of these fields, `None` where there is none, and return where it is.

        A field is a text, a `Byte`, a table added before, a list of such, or a tuple of floats.
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

    def finished(self, root: int) -> bytes:
        self.builder.Finish(root, file_identifier=IDENTIFIER)
        return bytes(self.builder.Output())
