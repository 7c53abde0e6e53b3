"""What the settings of a process cost a training step: memory that is kept, and oneDNN.

    python benchmarks/training_step.py

MobileNet 0.25, plain and with CBAM, at 128x128 in batches of 32, on one thread of TensorFlow and
two that decode, learns `trash` of `$KERAS_CBAM_DATA/transfer`. Processes of each setting alternate.
The time of a step is an epoch's over its steps, and a ratio to the first setting's; the first epoch
of a process does not count.
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np

from keras_cbam.cli.memory import OPTIONS
from keras_cbam.config.fine_tune import WHOLE_PHASE
from keras_cbam.training import FineTuneConfig, ImageBatches, read_image_folder
from keras_cbam.training.classifier import build_classifier
from keras_cbam.training.phases import compile_phase

ROUNDS, EPOCHS, SIDE = 3, 4, 128
ATTENTIONS = ("none", "cbam")
# Environment variables of a process. The commands that train keep freed memory.
KEPT = {name: str(value) for name, (_, value) in OPTIONS.items()}
SETTINGS = {
    "memory given back": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "memory kept": {"TF_ENABLE_ONEDNN_OPTS": "0", **KEPT},
    "memory kept, oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "1", **KEPT},
}


def measure(attention: str) -> None:
    """Print the least and the median time of a step, its page faults, and the peak memory."""
    data = Path(os.environ["KERAS_CBAM_DATA"]) / "transfer" / "trash" / "train"
    folder = read_image_folder(data, val_split=0.25)
    config = FineTuneConfig(data=str(data), output="", weights="none", attention=attention)
    config = config.settled(batches=1).rated(None, images=1, classes=len(folder.classes))
    model = build_classifier(
        "MobileNet",
        len(folder.classes),
        weights="none",
        attention=attention,
        image_size=SIDE,
        options={"alpha": 0.25},
    )
    compile_phase(model, WHOLE_PHASE, config, EPOCHS * len(folder.train))
    seconds, faults = [], []
    for epoch in range(EPOCHS):
        batches = ImageBatches(
            folder.train, SIDE, training=True, augmentations=config.augmentations, epoch=epoch
        )
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        keras.Model.fit(model, batches, shuffle=False, verbose=0)
        seconds.append((time.perf_counter() - start) / len(batches))
        since = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        faults.append(since / len(batches))
    # Linux counts in KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(min(seconds[1:]), float(np.median(seconds[1:])), float(np.median(faults[1:])), peak)


def main() -> None:
    """Print the table."""
    malloc = ("MALLOC_", "GLIBC_TUNABLES")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(malloc)}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1")
    environment["KERAS_BACKEND"] = "tensorflow"
    print(
        "| attention | setting | time of a step, minimum | median | page faults a step | "
        "peak memory, MiB |\n|---|---|---|---|---|---|"
    )
    for attention in ATTENTIONS:
        figures: dict[str, list[list[float]]] = {setting: [] for setting in SETTINGS}
        for _ in range(ROUNDS):
            for setting, rows in figures.items():
                done = subprocess.run(
                    [sys.executable, __file__, attention],
                    check=True,
                    stdout=subprocess.PIPE,
                    env=environment | SETTINGS[setting],
                )
                rows.append([float(word) for word in done.stdout.split()[-4:]])
        base = np.array(figures["memory given back"])
        for setting, rows in figures.items():
            found = np.array(rows)
            least = found[:, 0].min() / base[:, 0].min()
            median, faults, peak = np.median(found, 0)[1:]
            median /= np.median(base[:, 1])
            print(
                f"| {attention} | {setting} | {least:.2f} | {median:.2f} | {faults:,.0f} | "
                f"{peak:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:]:
        measure(sys.argv[1])
    else:
        main()
