"""Checks the operations of a SavedModel before it is loaded. Runs in a child process."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..children.process import Refused

# Operations whose side effects stay in memory: variables, calls, random numbers, lists and tables.
HARMLESS = re.compile(
    r"(VarHandle|ReadVariable|Assign(Add|Sub)?Variable|VarIsInitialized|DestroyResource)Op"
    r"|VariableShape|DisableCopyOnRead|ResourceGather(Nd)?|ResourceScatter\w+"
    r"|StatefulPartitionedCall|If|While|Case|Assert|CheckNumerics(V2)?|Empty|GuaranteeConst"
    r"|Random(Uniform|UniformInt|StandardNormal|Shuffle|GammaV?2?|PoissonV2)|TruncatedNormal"
    r"|Multinomial|Stateful(Uniform|StandardNormal|TruncatedNormal|RandomBinomial)\w*"
    r"|Rng(ReadAndSkip|Skip)|StatelessRandomGetAlg|SampleDistortedBoundingBox(V2)?"
    r"|TensorArray\w*V3|Stack(Push|Pop|Close)?V2|(Anonymous|Mutable)?HashTable(V2)?"
    r"|InitializeTableV2|LookupTable\w+V2"
)
# Stateless operations that still reach outside of the process, or run code from a string.
REACHING = re.compile(
    r"_\w+|\w*File\w*|\w*Dataset\w*|\w*Iterator\w*|\w*Proto(V2)?|Py\w+|Debug\w+|Copy(Host)?"
    r"|ImmutableConst|Reader\w+|\w*Remote\w+|Xla(Launch|Call|Custom|Host)\w*|TRT\w+|TfLite\w*"
    r"|\w*TPU\w*|\w*Rpc\w*|GenerateVocab\w*"
)
# Operations that write and read the variables, when TensorFlow is told to.
SAVER = {"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"}


def check_operations(artifact: str) -> None:
    """Check the graph of a SavedModel and its functions, without running anything.

    Raises:
        Refused: if an operation touches files, processes, the network or Python, or is not known to
            this version of TensorFlow; or if no graph can be read.
    """
    graph = _graph(Path(artifact) / "saved_model.pb")
    functions = {each.signature.name: each for each in graph.graph_def.library.function}
    reached = _reached(graph, functions)
    unfit = set(_unfit(graph.graph_def.node, functions))
    for name, function in functions.items():
        # A function with `api_implements` could be called in place of another.
        saves = name not in reached and "api_implements" not in function.attr
        unfit |= set(_unfit(function.node_def, functions)) - (SAVER if saves else set())
    if unfit:
        raise Refused(
            "Expected a SavedModel whose operations touch no files, processes, network or Python. "
            f"Received: {artifact} with {', '.join(sorted(unfit)[:5])}"
        )


def _graph(path: Path) -> Any:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise Refused(f"Expected a SavedModel. Received: {path}, {error}") from error
    if len(saved.meta_graphs) != 1 or not saved.meta_graphs[0].object_graph_def.nodes:
        raise Refused(
            f"Expected a SavedModel of one graph, as TensorFlow 2 writes it. Received: {path}"
        )
    return saved.meta_graphs[0]


def _reached(graph: Any, functions: dict[str, Any]) -> set[str]:
    """Return the functions that are called by anything but the saver, directly or indirectly."""
    saver = graph.saver_def
    savers = {name.partition(":")[0] for name in (saver.save_tensor_name, saver.restore_op_name)}
    library, objects = graph.graph_def.library, graph.object_graph_def
    found = {
        *_called((node for node in graph.graph_def.node if node.name not in savers), functions),
        *objects.concrete_functions,
        *(name for node in objects.nodes for name in node.function.concrete_functions),
        *(node.bare_concrete_function.concrete_function_name for node in objects.nodes),
        *(each.gradient_func for each in library.gradient),
        *(each.gradient_func for each in library.registered_gradients),
    }
    pending = [name for name in found if name in functions]
    reached = set(pending)
    while pending:
        function = functions[pending.pop()]
        called = {*_called(function.node_def, functions), *_named(function.attr, functions)}
        pending += called - reached
        reached |= called
    return reached


def _called(nodes: Iterable[Any], functions: dict[str, Any]) -> Iterator[str]:
    for node in nodes:
        if node.op in functions:
            yield node.op
        yield from _named(node.attr, functions)


def _named(attributes: Any, functions: dict[str, Any]) -> Iterator[str]:
    """Yield the functions that attributes name, as functions or as text."""
    for value in attributes.values():
        texts = [text.decode(errors="replace") for text in (value.s, *value.list.s)]
        names = [value.func.name, *(each.name for each in value.list.func), *texts]
        yield from (name for name in names if name in functions)


def _unfit(nodes: Iterable[Any], functions: dict[str, Any]) -> Iterator[str]:
    """Yield the kinds of operations that reach, or may reach, outside of the process."""
    import tensorflow as tf

    registry = tf.Graph()
    for kind in {node.op for node in nodes} - set(functions):
        if HARMLESS.fullmatch(kind):
            continue
        try:
            stateful = registry.op_def_for_type(kind).is_stateful
        except RuntimeError:
            stateful = True
        if stateful or REACHING.fullmatch(kind):
            yield kind
