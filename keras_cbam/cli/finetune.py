"""`keras-cbam finetune`: train a classifier with attention on a folder of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_cbam.cli import shared_options as shared
from keras_cbam.cli.options import takes
from keras_cbam.cli.start import start
from keras_cbam.cli.terminal import counting, out, progress_bar, tell_skipped
from keras_cbam.config.fine_tune import FineTuneConfig

if TYPE_CHECKING:
    from keras_cbam.training import FineTuneResult, Processes


@takes(FineTuneConfig)
def finetune(
    config: FineTuneConfig,
    hosts: shared.Hosts = None,
    process_id: shared.ProcessId = None,
    resume: shared.Resume = False,
) -> None:
    """Fine-tune a keras.applications backbone with attention on a folder of images."""
    start(trains=True)
    from keras_cbam.training import join_processes

    processes = join_processes(hosts, process_id)
    try:
        result = run(config, processes, resume=resume)
    except KeyboardInterrupt:
        out.print("interrupted; the same command with --resume continues from the last saved step")
        raise
    if not processes.first:
        return
    show(result, config)
    out.print(
        f"next: keras-cbam export {config.output}/model.keras --output ... --verification ..."
    )


def run(config: FineTuneConfig, processes: Processes, *, resume: bool = False) -> FineTuneResult:
    """Run `fine_tune`, and show its progress on the terminal of the first process."""
    from keras_cbam.cli.epoch_progress import EpochProgress
    from keras_cbam.training import fine_tune

    with progress_bar(disable=not processes.first) as bar, counting(bar, "images checked") as tell:
        return fine_tune(
            config,
            resume=resume,
            callbacks=[EpochProgress(bar)] if processes.first else [],
            progress=tell,
            processes=processes,
        )


def show(result: FineTuneResult, config: FineTuneConfig) -> None:
    """Print the results of a run."""
    tell_skipped(result.record["skipped"], out)
    if scaled := len(result.record["scaled"]):
        out.print(f"images with more than 8 bits per channel, scaled by their range: {scaled}")
    val = result.record["val"]
    out.print(
        f"accuracy on val: [bold]{val['accuracy']:.2%}[/] (loss {val['loss']:.4f})", markup=True
    )
    if "balanced_accuracy" in val:
        out.print(f"mean of the classes' accuracies: {val['balanced_accuracy']:.2%}")
    use = result.record["attention"]
    if use:
        out.print(use["sentence"], highlight=False)
    out.print(f"report: {config.output}/report.md")
