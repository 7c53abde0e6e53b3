"""What it costs a training step that glibc gives freed memory back to Linux.

    python benchmarks/memory.py

MobileNet 0.25, plain and with CBAM, at 128x128 in batches of 32, on one thread, learns `trash` of
`$KERAS_CBAM_DATA/transfer`. Processes that keep freed memory, as those of `keras-cbam finetune` do,
and processes that do not take turns. Of the epochs of each, the first does not count.
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np

from keras_cbam.cli.memory import keep_freed_memory
from keras_cbam.training import FineTuneConfig, ImageBatches, read_image_folder
from keras_cbam.training.classifier import build_classifier
from keras_cbam.training.phases import compile_phase

ROUNDS, EPOCHS, SIDE = 3, 4, 128
ATTENTIONS = ("none", "cbam")


def measure(attention: str, keep: bool) -> None:
    """Print the least and the median time of a step, in seconds, and its page faults."""
    if keep:
        keep_freed_memory()
    data = Path(os.environ["KERAS_CBAM_DATA"]) / "transfer" / "trash" / "train"
    folder = read_image_folder(data, val_split=0.25)
    config = FineTuneConfig(str(data), "", weights="none", attention=attention)
    config = config.settled(1).rated(None, 1, 1)
    model = build_classifier(
        "MobileNet",
        len(folder.classes),
        weights="none",
        attention=attention,
        image_size=SIDE,
        options={"alpha": 0.25},
    )
    compile_phase(model, "whole", config, EPOCHS * len(folder.train))
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
    print(min(seconds[1:]), float(np.median(seconds[1:])), float(np.median(faults[1:])))


def main() -> None:
    """Print the table."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1")
    print("| attention | memory | least of a step | median | page faults |\n|---|---|---|---|---|")
    for attention in ATTENTIONS:
        figures: dict[str, list[list[float]]] = {"given back": [], "kept": []}
        for _ in range(ROUNDS):
            for memory, rows in figures.items():
                command = [sys.executable, __file__, attention, memory]
                environment = {**os.environ, **threads}
                done = subprocess.run(command, check=True, capture_output=True, env=environment)
                rows.append([float(word) for word in done.stdout.split()[-3:]])
        base = np.array(figures["given back"])
        for memory, rows in figures.items():
            least, median, faults = np.min(rows, 0)[0], *np.median(rows, 0)[1:]
            ratios = least / base[:, 0].min(), median / np.median(base[:, 1])
            print(f"| {attention} | {memory} | {ratios[0]:.2f} | {ratios[1]:.2f} | {faults:,.0f} |")


if __name__ == "__main__":
    if sys.argv[1:]:
        measure(sys.argv[1], sys.argv[2] == "kept")
    else:
        main()
