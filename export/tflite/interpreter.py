"""Runs a TFLite file in LiteRT and keeps all its tensors. Used in child processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


def runs(
    path: str,
    samples: dict[str, np.ndarray],
    convert: Callable[[np.ndarray, int], np.ndarray] = lambda value, tensor: value,
) -> Iterator[Any]:
    """Run a file on the samples one by one, and yield the interpreter after each.

    Args:
        path: path of a file with one signature.
        samples: one array for each input, by name.
        convert: function of a value and a tensor index that converts the value to the units of the
            tensor.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=path,
        num_threads=os.cpu_count(),
        # The tensors inside a delegate cannot be read.
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    runner = interpreter.get_signature_runner()
    details = runner.get_input_details()
    for index in range(len(next(iter(samples.values())))):
        values = {
            name: np.repeat(samples[name][index : index + 1], entry["shape"][0], axis=0)
            for name, entry in details.items()
        }
        runner(**{name: convert(value, details[name]["index"]) for name, value in values.items()})
        yield interpreter
