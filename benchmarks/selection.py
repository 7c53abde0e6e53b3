"""Which epoch's weights to keep: rules that see few held-out images, judged by more of them.

    python benchmarks/selection.py --output watched

Fine-tunes on small sets by the defaults, as `fine_tuning.py --held-out` does, and scores each
epoch on the quarter of train that is held out for that, beside the tenth that a run selects by.
`epochs.json` in the output directory has both for each run; a finished run is not run again.
"""

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
from fine_tuning import ATTENTIONS, NETWORKS, SETS, source

from keras_cbam.files import write_text
from keras_cbam.training import FineTuneConfig, fine_tune, read_image_folder
from keras_cbam.training.loop import by_accuracy
from keras_cbam.training.scores import Scorer, within_chance

RULES = ("highest accuracy", "lowest loss", "one standard error", "last")


class Watch(keras.callbacks.Callback):
    """Scores images after each epoch."""

    def __init__(self, config: FineTuneConfig):
        super().__init__()
        self.config = config
        self.images = read_image_folder(
            config.data,
            selection_split=config.selection_split,
            val_split=config.val_split,
            seed=config.seed,
        ).val
        self.accuracies: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        scorer = Scorer(
            self.model, lambda: self.model, self.config.image_size, self.config.batch_size
        )
        self.accuracies.append(scorer.scores(self.images)["accuracy"])


def run(name: str, attention: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One run: for each epoch what it is selected by, and the accuracy on the other images."""
    options, weights = NETWORKS["MobileNet-0.25"]
    config = FineTuneConfig(
        data=str(source(arguments.data, name) / "train"),
        output=str(arguments.output / f"{name}_{attention}_{seed}"),
        backbone="MobileNet",
        backbone_options={"alpha": 0.25},
        image_size=int(options[-1]),
        weights=str(arguments.data / "weights" / weights),
        attention=attention,
        val_split=0.25,
        seed=seed,
    )
    watch = Watch(config)
    # What an interrupted run has seen is lost.
    shutil.rmtree(config.output, ignore_errors=True)
    record = fine_tune(config, callbacks=[watch]).record
    return {
        "dataset": name,
        "attention": attention,
        "seed": seed,
        "images": record["images"],
        "start": record["start"],
        "epochs": [
            {
                "phase": epoch["phase"],
                "accuracy": epoch["selection_accuracy"],
                "loss": epoch["selection_loss"],
                "judged": judged,
            }
            for epoch, judged in zip(record["epochs"], watch.accuracies, strict=True)
        ],
    }


def kept(rule: str, epochs: list[dict[str, Any]], images: int) -> int:
    """The index of the epoch that a rule keeps."""
    indices = range(len(epochs))
    best = max(indices, key=lambda index: by_accuracy(epochs[index]))
    if rule == "highest accuracy":
        return best
    if rule == "lowest loss":
        return min(indices, key=lambda index: epochs[index]["loss"])
    if rule == "one standard error":
        return max(i for i in indices if within_chance(epochs[i], epochs[best], images=images))
    return len(epochs) - 1


def table(rows: list[dict[str, Any]]) -> str:
    """The accuracy of each run by each rule, and of its best epoch, and the means."""
    names = (*RULES, "best of all")
    lines = [f"| run | {' | '.join(names)} |\n|---{'|---' * len(names)}|\n"]
    every = []
    for row in rows:
        epochs, images = row["epochs"], row["images"]["selection"]
        found = [100 * epochs[kept(rule, epochs, images)]["judged"] for rule in RULES]
        found.append(100 * max(epoch["judged"] for epoch in epochs))
        every.append(found)
        cells = " | ".join(f"{each:.1f}" for each in found)
        lines.append(f"| {row['dataset']} {row['attention']} {row['seed']} | {cells} |\n")
    lines.append(f"| mean | {' | '.join(f'{each:.1f}' for each in np.mean(every, 0))} |\n")
    return "".join(lines)


def main() -> None:
    """Run what is not finished, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("watched"))
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--attentions", nargs="+", default=ATTENTIONS, choices=ATTENTIONS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0,))
    arguments = parser.parse_args()
    arguments.data = Path(os.environ["KERAS_CBAM_DATA"]).resolve()
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "epochs.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    done = {(row["dataset"], row["attention"], row["seed"]) for row in rows}
    for seed in arguments.seeds:
        for name in arguments.sets:
            for attention in arguments.attentions:
                if (name, attention, seed) not in done:
                    rows.append(run(name, attention, seed, arguments))
                    lines = ",\n".join(json.dumps(row) for row in rows)
                    write_text(path, f"[\n{lines}\n]\n")
                    print(table(rows[-1:]), flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
