"""What training an adapter costs, against training the whole network: weights, time, memory.

    python benchmarks/adapter.py

Random images, in batches of 32, on one thread of TensorFlow. Processes of each kind alternate. The
time of a step is a ratio to that of the plain network, trained whole; the first steps do not count.
Memory is by how much training raises the peak of a process above that of building the network.
"""

import json
import os
import resource
import subprocess
import sys
import time

import keras
import numpy as np

from keras_cbam.cli.memory import OPTIONS
from keras_cbam.config.fine_tune import ADAPTER_PHASE, WHOLE_PHASE
from keras_cbam.surgery.summary import count_parameters
from keras_cbam.training import FineTuneConfig
from keras_cbam.training.classifier import build_classifier
from keras_cbam.training.phases import compile_phase

ROUNDS, BATCH, CLASSES = 3, 32, 10
# Steps that do not count, and steps that do.
FIRST, STEPS = 2, 8
# Name, builder, its options, side of the images.
NETWORKS = (
    ("MobileNet 0.25", "MobileNet", {"alpha": 0.25}, 128),
    ("MobileNetV2", "MobileNetV2", {}, 160),
)
# What is trained, the phase, attention.
KINDS = (
    ("the whole network, plain", WHOLE_PHASE, "none"),
    ("the whole network, CBAM", WHOLE_PHASE, "cbam"),
    ("CBAM and head", ADAPTER_PHASE, "cbam"),
)


def measure(network: int, kind: int) -> None:
    """Print the weights that are trained, the times of the steps, and the memory in MiB."""
    _, builder, options, side = NETWORKS[network]
    _, phase, attention = KINDS[kind]
    config = FineTuneConfig(data="", output="", weights="none", attention=attention, train=phase)
    config = config.settled(batches=1).rated(None, images=1, classes=CLASSES)
    model = build_classifier(
        builder, CLASSES, weights="none", attention=attention, image_size=side, options=options
    )
    compile_phase(model, phase, config, FIRST + STEPS)
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (BATCH, side, side, 3)).astype("float32")
    labels = rng.integers(0, CLASSES, BATCH)
    before, seconds = _resident(), []
    for _ in range(FIRST + STEPS):
        start = time.perf_counter()
        model.train_on_batch(images, labels)
        seconds.append(time.perf_counter() - start)
    trained = count_parameters(model.trainable_weights)
    memory = _resident() - before
    print(json.dumps({"trained": trained, "seconds": seconds[FIRST:], "memory": memory}))


def _resident() -> float:
    """The peak so far; Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    malloc = ("MALLOC_", "GLIBC_TUNABLES")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(malloc)}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1")
    environment |= {name: str(value) for name, (_, value) in OPTIONS.items()}
    environment["KERAS_BACKEND"] = "tensorflow"
    print(
        "| network | what is trained | weights | time of a step, ratio of minima | of medians | "
        "memory, MiB |\n|---|---|---|---|---|---|"
    )
    for network, (name, *_) in enumerate(NETWORKS):
        found: list[list[dict]] = [[] for _ in KINDS]
        for _ in range(ROUNDS):
            for kind, rows in enumerate(found):
                done = subprocess.run(
                    [sys.executable, __file__, str(network), str(kind)],
                    check=True,
                    stdout=subprocess.PIPE,
                    env=environment,
                )
                rows.append(json.loads(done.stdout.splitlines()[-1]))
        times = [np.concatenate([row["seconds"] for row in rows]) for rows in found]
        for (kind, *_), rows, mine in zip(KINDS, found, times, strict=True):
            memory = float(np.median([row["memory"] for row in rows]))
            print(
                f"| {name} | {kind} | {rows[0]['trained']:,} | {mine.min() / times[0].min():.2f} | "
                f"{np.median(mine) / np.median(times[0]):.2f} | {memory:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    if sys.argv[1:]:
        measure(*map(int, sys.argv[1:]))
    else:
        main()
