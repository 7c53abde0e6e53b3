"""Fine-tune MobileNetV2 with CBAM, without attention, and its head alone; print the table.

    python benchmarks/imagenette.py --output runs

Runs `keras-cbam finetune` on `$KERAS_CBAM_DATA/imagenette_subset` three ways with three seeds each.
The best epoch is selected on a tenth of the training set; val is scored once. Finished runs in the
output directory are kept, interrupted ones resumed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

SEEDS = (0, 1, 2)
# The probe is the plain network with all but its head frozen.
RUNS = {
    "cbam": ("--attention", "cbam"),
    "none": ("--attention", "none"),
    "probe": ("--attention", "none", "--head-epochs", "7", "--epochs", "0"),
}


def command(data: Path, output: Path, name: str, seed: int) -> list[str]:
    """The command of one run; the README shows the same."""
    weights = data / "weights" / "mobilenet_v2_1.0_224_dequant.h5"
    return [
        *(
            sys.executable,
            "-m",
            "keras_cbam.cli",
            "finetune",
            str(data / "imagenette_subset"),
            "--output",
            str(output),
        ),
        *("--backbone", "MobileNetV2", "--weights", str(weights), "--image-size", "160"),
        *(*RUNS[name], "--seed", str(seed)),
    ]


def main() -> None:
    """Run what is not finished, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    data = Path(os.environ["KERAS_CBAM_DATA"])
    print("| run | parameters | " + " | ".join(f"seed {s}" for s in SEEDS) + " | mean | sd |")
    print("|---" * (len(SEEDS) + 4) + "|")
    for name in RUNS:
        scores = []
        for seed in SEEDS:
            output = arguments.output / f"{name}_{seed}"
            if not (output / "report.md").exists():
                run = [*command(data, output, name, seed), "--resume"]
                subprocess.run(run, check=True, stdout=sys.stderr)
            record = json.loads((output / "history.json").read_text())
            scores.append(100 * record["val"]["accuracy"])
        cells = " | ".join(f"{score:.1f}" for score in scores)
        mean, spread = statistics.mean(scores), statistics.stdev(scores)
        print(f"| {name} | {record['parameters']:,} | {cells} | {mean:.2f} | {spread:.2f} |")


if __name__ == "__main__":
    main()
