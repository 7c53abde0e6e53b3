"""Compare attach_attention with keras.models.clone_model and copying the weights.

    python benchmarks/attach.py

Prints how many times as long it takes, from alternating runs in one process, and how much it adds
to the peak of resident memory, from a fresh process each, in sizes of the network's weights; below
1, since TensorFlow copies a variable's memory only when one of the two is written to.
"""

import argparse
import ctypes
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras

from keras_cbam import attach_attention

NETWORKS = ("ResNet152", "EfficientNetB7")
TRIALS = 5


def attach(model: keras.Model) -> keras.Model:
    """What is measured."""
    return attach_attention(model)


def clone(model: keras.Model) -> keras.Model:
    """What it is held against."""
    copied = keras.models.clone_model(model)
    copied.set_weights(model.get_weights())
    return copied


WAYS: dict[str, Callable[[keras.Model], keras.Model]] = {"attach": attach, "clone": clone}


def build(name: str) -> keras.Model:
    """The network, with memory enough for its weights taken."""
    return getattr(keras.applications, name)(weights=None)


def seconds(name: str) -> dict[str, list[float]]:
    """Times of alternating runs; the first of each is left out."""
    model = build(name)
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for trial in range(TRIALS + 1):
        for way, run in WAYS.items():
            gc.collect()
            start = time.perf_counter()
            copied = run(model)
            if trial:
                times[way].append(time.perf_counter() - start)
            del copied
    return times


def resident(field: str) -> int:
    """A figure of this process out of /proc, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


def added_memory(name: str, way: str) -> float:
    """The peak that one copy adds to the memory of a fresh process, in sizes of the weights."""
    WAYS[way](build_small())  # What every first use takes: imports, kernels, threads.
    model = build(name)
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # What is free already would hide what is added.
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # The peak counts from here.
    copied = WAYS[way](model)
    peak = resident("VmHWM")
    assert copied.count_params() >= model.count_params()
    return (peak - before) / sum(weight.value.numpy().nbytes for weight in model.weights)


def build_small() -> keras.Model:
    """A network with the kinds of layers that the others have."""
    return keras.applications.MobileNetV3Small(weights=None)


def measured_alone(name: str, way: str) -> float:
    """`added_memory` in a process of its own."""
    command = [sys.executable, __file__, "--memory", name, way]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Print a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory", nargs=2, metavar=("NETWORK", "WAY"))
    arguments = parser.parse_args()
    if arguments.memory:
        print(added_memory(*arguments.memory))
        return
    print("| network | time, minimum | time, median | memory, attach | memory, clone |")
    print("|---|---|---|---|---|")
    for name in NETWORKS:
        times = seconds(name)
        ratios = [f(times["attach"]) / f(times["clone"]) for f in (min, statistics.median)]
        memory = {
            way: statistics.median(measured_alone(name, way) for _ in range(3)) for way in WAYS
        }
        print(
            f"| {name} | {ratios[0]:.2f} | {ratios[1]:.2f} "
            f"| {memory['attach']:.2f} | {memory['clone']:.2f} |"
        )


if __name__ == "__main__":
    main()
