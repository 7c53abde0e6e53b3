"""RetinaNet on a MobileNetV2 without attention, with SE, with CBAM: the same budget, several seeds.

    python benchmarks/detection.py DATA OUTPUT --weights mobilenet_v2_1.0_224_dequant.h5

DATA is a folder as Pascal VOC or COCO have it, with train, val and test. Each run chooses its best
epoch by mAP on val, and is scored once on test, by pycocotools. What is finished in OUTPUT is not
run again, and what was cut off goes on; several of these with other `--attentions` may share an
OUTPUT. Prints Markdown.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from keras_cbam.detection import (
    DetectionConfig,
    load_detector,
    read_detection_folder,
    train_detector,
)
from keras_cbam.detection.evaluate import evaluate_detector
from keras_cbam.detection.report import CURVES, shown

ATTENTIONS = ("none", "se", "cbam")


def run(config: DetectionConfig, folder: Path) -> None:
    """Train, or go on with, one run, and score it on test."""
    output = Path(config.output)
    if not (output / "report.md").exists():
        start = time.monotonic()
        train_detector(config, resume=True, scored=lambda metrics: tell(config, metrics))
        minutes = (time.monotonic() - start) / 60
        (output / "minutes.json").write_text(json.dumps(minutes))
    before = json.loads((output / "history.json").read_text())["config"]
    if before != json.loads(json.dumps(asdict(config))):
        raise SystemExit(f"{output} holds a run of another configuration")
    if not (output / "test" / "metrics.json").exists():
        labels = (output / "labels.txt").read_text().splitlines()
        test = read_detection_folder(folder, ["test"], classes=labels)["test"]
        evaluate_detector(load_detector(output / "model.keras"), test, labels, output / "test")


def tell(config: DetectionConfig, metrics: dict) -> None:
    """One epoch, on standard error."""
    scores = "  ".join(f"{name} {shown(metrics[name])}" for name in CURVES)
    print(f"{config.attention}, seed {config.seed}: {scores}", file=sys.stderr, flush=True)


def table(runs: Sequence[DetectionConfig]) -> list[str]:
    """A row a run, and the mean of each attention, of those that are finished."""
    rows: dict[str, list[tuple[int, dict, dict, float]]] = {}
    for config in runs:
        output = Path(config.output)
        if (output / "test" / "metrics.json").exists():
            record = json.loads((output / "history.json").read_text())
            metrics = json.loads((output / "test" / "metrics.json").read_text())
            told = output / "minutes.json"
            minutes = json.loads(told.read_text()) if told.exists() else float("nan")
            rows.setdefault(config.attention, []).append((config.seed, record, metrics, minutes))
    if not rows:
        return []
    classes = next(iter(rows.values()))[0][1]["classes"]
    names = [*CURVES, *(f"AP50 {name}" for name in classes)]
    lines = [
        f"| attention | seed | parameters | {' | '.join(names)} | best epoch | minutes |",
        "|---" * (len(names) + 5) + "|",
    ]
    for attention, found in rows.items():
        for seed, record, metrics, minutes in found:
            scores = " | ".join(shown(metrics[name]) for name in names)
            lines.append(
                f"| {attention} | {seed} | {record['parameters']:,} | {scores} | "
                f"{record['best']['epoch']} | {minutes:.0f} |"
            )
        means = [mean([metrics[name] for _, _, metrics, _ in found]) for name in names]
        scores = " | ".join(f"**{shown(mean)}**" for mean in means)
        lines.append(f"| {attention} | mean | | {scores} | | |")
    return lines


def mean(values: Sequence[float | None]) -> float | None:
    """The mean; of nothing where a value is missing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not finished, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--weights", default="imagenet", help="of MobileNetV2, as a file or by name"
    )
    parser.add_argument("--attentions", nargs="+", default=ATTENTIONS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=DetectionConfig.learning_rate)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--head-layers", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="print that of what is finished")
    given = parser.parse_args(arguments)
    runs = [
        DetectionConfig(
            data=str(given.data),
            output=str(given.output / f"{attention}_{seed}"),
            weights=given.weights,
            attention=attention,
            seed=seed,
            epochs=given.epochs,
            batch_size=given.batch_size,
            learning_rate=given.learning_rate,
            image_size=(given.height, given.width),
            head_layers=given.head_layers,
        )
        for seed in given.seeds
        for attention in given.attentions
    ]
    if not given.table:
        for config in runs:
            run(config, given.data)
    print("\n".join(table(runs)))


if __name__ == "__main__":
    main()
