"""Fine-tune on small sets unlike ImageNet with the defaults of `keras-cbam finetune`.

    python benchmarks/fine_tuning.py --output runs

For each set of `$KERAS_CBAM_DATA/transfer`, each seed, plain and with CBAM, one run of the command
line; the images of the set's `test/` are scored once. Finished runs in the output directory are
kept, interrupted ones resumed, and `results.json` there tells of all.

    python benchmarks/fine_tuning.py --output choices --held-out -- --batch-norm frozen

scores a quarter of train instead, which choices are made by. `--checkout` runs the keras_cbam of
another folder, such as an older version's. Each takes an output directory of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

SETS = ("produce", "rsscn7", "seedlings", "textures9", "trash")
ATTENTIONS = ("none", "cbam")
# Name, options of the command line, weights.
NETWORKS = {
    "MobileNet-0.25": (
        ("--backbone", "MobileNet", "--backbone-option", "alpha=0.25", "--image-size", "128"),
        "mobilenet_2_5_224_tf_no_top.h5",
    ),
    "MobileNetV2": (
        ("--backbone", "MobileNetV2", "--image-size", "160"),
        "mobilenet_v2_1.0_224_dequant.h5",
    ),
}


def images(arguments: argparse.Namespace, name: str) -> tuple[str, ...]:
    """The images of a run, as arguments of the command line."""
    if not arguments.held_out:
        return (str(linked(arguments.data, name, arguments.output)),)
    return (str(source(arguments.data, name) / "train"), "--val-split", "0.25")


def source(data: Path, name: str) -> Path:
    """Where a set is."""
    return data / name if name == "imagenette_subset" else data / "transfer" / name


def linked(data: Path, name: str, output: Path) -> Path:
    """A folder of a set whose test images are called val."""
    found = source(data, name)
    folder = output / "sets" / name
    folder.mkdir(parents=True, exist_ok=True)
    for ours, theirs in (
        ("train", "train"),
        ("val", "val" if (found / "val").exists() else "test"),
    ):
        if not (folder / ours).exists():
            (folder / ours).symlink_to(found / theirs)
    return folder


def run(task: tuple[str, str, str, int], arguments: argparse.Namespace) -> dict:
    """One run, or what is left of it; its row of the results."""
    network, name, attention, seed = task
    output = arguments.output / f"{network}_{name}_{attention}_{seed}"
    options, weights = NETWORKS[network]
    seconds = 0.0
    if not (output / "report.md").exists():
        command = [
            *(sys.executable, "-m", "keras_cbam.cli", "finetune"),
            *images(arguments, name),
            *("--output", str(output), *options, "--attention", attention, "--seed", str(seed)),
            *("--weights", str(arguments.data / "weights" / weights), "--resume"),
            *arguments.options,
        ]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1")
        start = time.monotonic()
        subprocess.run(
            command,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **threads},
            # Python looks there first.
            cwd=arguments.checkout,
        )
        seconds = time.monotonic() - start
    record = json.loads((output / "history.json").read_text())
    use, took = record.get("attention"), record.get("seconds", {})
    row = {
        "network": network,
        "set": name,
        "attention": attention,
        "seed": seed,
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


def table(rows: list[dict]) -> str:
    """A line for each network and set: means over the seeds, and the paired difference."""
    lines = [
        "| network | set | seeds | plain | CBAM | difference (95 % interval) | CBAM replaced by "
        "constants | answers that stay |\n|---|---|---|---|---|---|---|---|\n"
    ]
    for network in NETWORKS:
        for name in sorted({row["set"] for row in rows if row["network"] == network}):
            ours = {
                attention: {
                    row["seed"]: row
                    for row in rows
                    if (row["network"], row["set"], row["attention"]) == (network, name, attention)
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


def _cells(pairs: list[tuple[dict, dict]]) -> tuple[str, ...]:
    from scipy import stats

    plain, cbam = ([row["accuracy"] for row in each] for each in zip(*pairs, strict=True))
    gaps = np.subtract(cbam, plain)
    difference = f"{gaps.mean():+.1f}"
    if len(gaps) > 1:
        away = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5
        difference += f" ({gaps.mean() - away:+.1f} to {gaps.mean() + away:+.1f})"
    known = [row for _, row in pairs if "without" in row]
    means = [f"{np.mean([row[key] for row in known]):.1f}" for key in ("without", "agreement")]
    return (
        f"{np.mean(plain):.1f}",
        f"{np.mean(cbam):.1f}",
        difference,
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
    parser.add_argument("--checkout", type=Path, help="Folder of another keras_cbam to run.")
    parser.add_argument("options", nargs="*", help="After --, further options of finetune.")
    arguments = parser.parse_args()
    arguments.data = Path(os.environ["KERAS_CBAM_DATA"]).resolve()
    arguments.output = arguments.output.resolve()
    arguments.output.mkdir(parents=True, exist_ok=True)
    tasks = [
        (network, name, attention, seed)
        for network in arguments.networks
        for seed in arguments.seeds
        for name in arguments.sets
        for attention in arguments.attentions
    ]
    with ThreadPoolExecutor(arguments.workers) as pool:
        rows = list(pool.map(lambda task: run(task, arguments), tasks))
    path = arguments.output / "results.json"
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    print(table(rows))


if __name__ == "__main__":
    main()
