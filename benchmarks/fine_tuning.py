"""Fine-tune on small sets unlike ImageNet with the defaults of `keras-cbam finetune`.

    python benchmarks/fine_tuning.py --output runs

For each set of `$KERAS_CBAM_DATA/transfer`, each seed, plain and with CBAM, one run of the command
line; the images of the set's `test/` are scored once. `results.json` in the output directory has a
row for each finished run, which is not run again; an interrupted run is resumed.

    python benchmarks/fine_tuning.py --output choices --held-out -- --batch-norm frozen

scores a quarter of train instead, which choices are made by. `--checkout` runs the keras_cbam of
another folder, such as an older version's. Each takes an output directory of its own.

    python benchmarks/fine_tuning.py --networks MobileNetV2 --output docs/finetune \
        --earlier docs/finetune/results_0.1.0.json

runs nothing. It prints the committed rows, and their differences from those of an older version.

With `--fused` runs go through `fused_norm.py`: the same in 0.6 of the time, but for rounding.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np

from keras_cbam.files import write_text

SETS = ("produce", "rsscn7", "seedlings", "textures9", "trash")
ATTENTIONS = ("none", "cbam")
# Name, options of the command line, weights. Those of MobileNet 0.25 must be the ones made for
# 128x128: `linear_probe.py` shows what those for 224x224 lose.
NETWORKS = {
    "MobileNet-0.25": (
        ("--backbone", "MobileNet", "--backbone-option", "alpha=0.25", "--image-size", "128"),
        "mobilenet_v1_0.25_128_float.h5",
    ),
    "MobileNetV2": (
        ("--backbone", "MobileNetV2", "--image-size", "160"),
        "mobilenet_v2_1.0_224_dequant.h5",
    ),
}

# The command line, and the same with a faster kernel.
PLAIN = ("-m", "keras_cbam.cli")
FUSED = (str(Path(__file__).with_name("fused_norm.py")),)


class Task(NamedTuple):
    """A run."""

    network: str
    dataset: str
    attention: str
    seed: int


def images(arguments: argparse.Namespace, name: str) -> tuple[str, ...]:
    """The images of a run, as arguments of the command line."""
    if not arguments.held_out:
        return (str(arguments.output / "sets" / name),)
    return (str(source(arguments.data, name) / "train"), "--val-split", "0.25")


def source(data: Path, name: str) -> Path:
    """Where a set is."""
    return data / name if name == "imagenette_subset" else data / "transfer" / name


def link(data: Path, name: str, output: Path) -> None:
    """Make a folder of a set whose test images are called val."""
    found = source(data, name)
    folder = output / "sets" / name
    folder.mkdir(parents=True, exist_ok=True)
    for ours, theirs in (
        ("train", "train"),
        ("val", "val" if (found / "val").exists() else "test"),
    ):
        if not (folder / ours).exists():
            (folder / ours).symlink_to(found / theirs)


def run(task: Task, arguments: argparse.Namespace) -> dict:
    """One run, or what is left of it; its row of the results."""
    network, name, attention, seed = task
    output = arguments.output / f"{network}_{name}_{attention}_{seed}"
    options, weights = NETWORKS[network]
    seconds = 0.0
    if not (output / "report.md").exists():
        command = [
            *(sys.executable, *(FUSED if arguments.fused else PLAIN), "finetune"),
            *images(arguments, name),
            *("--output", str(output), *options, "--attention", attention, "--seed", str(seed)),
            *("--weights", str(arguments.data / "weights" / weights), "--resume"),
            *arguments.options,
        ]
        changes = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1")
        if arguments.checkout:
            # Without the second, Python would look in the current folder first.
            changes |= {"PYTHONPATH": str(arguments.checkout.resolve()), "PYTHONSAFEPATH": "1"}
        start = time.monotonic()
        subprocess.run(
            command,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **changes},
        )
        seconds = time.monotonic() - start
    record = json.loads((output / "history.json").read_text())
    use, took = record.get("attention"), record.get("seconds", {})
    row = {
        **task._asdict(),
        "accuracy": 100 * record["val"]["accuracy"],
        "seconds": round(seconds),
        "epochs": len(record["epochs"]),
    }
    if use:
        row |= {
            "without": 100 * use["replaced"]["accuracy"],
            "agreement": 100 * use["replaced"]["agreement"],
            "use_time": 100 * took["attention_use"] / took["training"],
        }
    print(json.dumps(row), flush=True)
    return row


class Results:
    """The rows of all finished runs, in a file."""

    def __init__(self, path: Path):
        self.path = path
        self.rows = json.loads(path.read_text()) if path.exists() else []
        self._lock = Lock()

    def left(self, tasks: list[Task]) -> list[Task]:
        """The tasks that have no row."""
        done = {tuple(row[name] for name in Task._fields) for row in self.rows}
        return [task for task in tasks if task not in done]

    def add(self, row: dict) -> None:
        """Add a row, and write all of them in order."""
        with self._lock:
            self.rows.append(row)
            self.rows.sort(key=lambda row: [row[name] for name in Task._fields])
            lines = ",\n".join(json.dumps(row) for row in self.rows)
            write_text(self.path, f"[\n{lines}\n]\n")


def table(rows: list[dict], networks: Sequence[str]) -> str:
    """A line for each network and set: means over the seeds, and the paired difference."""
    lines = [
        "| network | set | seeds | plain | CBAM | difference (95 % interval) | CBAM replaced by "
        "constants | answers that stay |\n|---|---|---|---|---|---|---|---|\n"
    ]
    for network in networks:
        for name in sorted({row["dataset"] for row in rows if row["network"] == network}):
            ours = {
                attention: {
                    row["seed"]: row
                    for row in rows
                    if (row["network"], row["dataset"], row["attention"])
                    == (network, name, attention)
                }
                for attention in ATTENTIONS
            }
            seeds = sorted(set(ours["none"]) & set(ours["cbam"]))
            if seeds:
                pairs = [(ours["none"][seed], ours["cbam"][seed]) for seed in seeds]
                lines.append(
                    f"| {network} | {name} | {len(seeds)} | {' | '.join(_cells(pairs))} |\n"
                )
    return "".join(lines)


def difference(before: Sequence[float], after: Sequence[float]) -> str:
    """The mean difference of pairs, and its 95 % interval."""
    from keras_cbam.studies.statistics import students

    gaps = np.subtract(after, before)
    if len(gaps) == 1:
        return f"{gaps[0]:+.1f}"
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*students(gaps))


def progress(earlier: list[dict], rows: list[dict], networks: Sequence[str]) -> str:
    """A line for each network, set and attention: an older version, this one, the difference."""
    lines = [
        "| network | set | attention | seeds | earlier | now | difference (95 % interval) |\n"
        "|---|---|---|---|---|---|---|\n"
    ]
    before, after = (
        {tuple(row[field] for field in Task._fields): row["accuracy"] for row in each}
        for each in (earlier, rows)
    )
    both = [Task(*key) for key in sorted(before.keys() & after.keys())]
    for (network, name, attention), group in groupby(both, key=lambda task: task[:3]):
        if network in networks:
            tasks = list(group)
            old, new = ([each[task] for task in tasks] for each in (before, after))
            lines.append(
                f"| {network} | {name} | {attention} | {len(tasks)} | {np.mean(old):.1f} | "
                f"{np.mean(new):.1f} | {difference(old, new)} |\n"
            )
    return "".join(lines)


def _cells(pairs: list[tuple[dict, dict]]) -> tuple[str, ...]:
    plain, cbam = ([row["accuracy"] for row in each] for each in zip(*pairs, strict=True))
    known = [row for _, row in pairs if "without" in row]
    means = [f"{np.mean([row[key] for row in known]):.1f}" for key in ("without", "agreement")]
    return (
        f"{np.mean(plain):.1f}",
        f"{np.mean(cbam):.1f}",
        difference(plain, cbam),
        *(means if known else ("-", "-")),
    )


def main() -> None:
    """Run what is not finished, two at a time, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs"))
    parser.add_argument("--networks", nargs="+", default=["MobileNet-0.25"], choices=NETWORKS)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--attentions", nargs="+", default=ATTENTIONS, choices=ATTENTIONS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--workers", type=int, default=2, help="Runs at a time, a thread each.")
    parser.add_argument("--held-out", action="store_true", help="Score a part of train.")
    parser.add_argument("--fused", action="store_true", help="Run through fused_norm.py.")
    parser.add_argument("--checkout", type=Path, help="Folder of another keras_cbam to run.")
    parser.add_argument("--earlier", type=Path, help="Run nothing: compare with these rows.")
    parser.add_argument("options", nargs="*", help="After --, further options of finetune.")
    arguments = parser.parse_args()
    arguments.output = arguments.output.resolve()
    if arguments.earlier:
        rows = Results(arguments.output / "results.json").rows
        print(table(rows, arguments.networks))
        print(progress(json.loads(arguments.earlier.read_text()), rows, arguments.networks))
        return
    arguments.data = Path(os.environ["KERAS_CBAM_DATA"]).resolve()
    arguments.output.mkdir(parents=True, exist_ok=True)
    tasks = [
        Task(network, name, attention, seed)
        for network in arguments.networks
        for seed in arguments.seeds
        for name in arguments.sets
        for attention in arguments.attentions
    ]
    results = Results(arguments.output / "results.json")
    left = results.left(tasks)
    # Here and not in a run: two runs at a time may be of one set.
    for name in {task.dataset for task in left}:
        link(arguments.data, name, arguments.output)
    with ThreadPoolExecutor(arguments.workers) as pool:
        list(pool.map(lambda task: results.add(run(task, arguments)), left))
    print(table(results.rows, arguments.networks))


if __name__ == "__main__":
    main()
