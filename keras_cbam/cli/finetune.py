"""`keras-cbam finetune`: a folder of photographs in, a proven classifier out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_cbam.cli.backbone_options import BackboneOptions, parse
from keras_cbam.cli.processes_option import Hosts, ProcessId
from keras_cbam.cli.terminal import EpochProgress, counting, out, progress_bar, tell_skipped
from keras_cbam.surgery import ATTENTIONS
from keras_cbam.surgery.points import NAMED_POINTS
from keras_cbam.training import (
    FineTuneConfig,
    FineTuneResult,
    Processes,
    fine_tune,
    join_processes,
)
from keras_cbam.training.fine_tune_config import BATCH_NORMS, TRAINS
from keras_cbam.training.fine_tune_defaults import (
    ADAPTER,
    ADAPTER_STEPS,
    BESIDE_FROZEN,
    BUDGETS,
    FRESH,
    NORM_FROZEN,
    NORM_TRAINS,
)
from keras_cbam.training.phases import SHORT_MOMENTUM
from keras_cbam.training.processes import ALONE

DEFAULTS = FineTuneConfig(data="", output="")


def by_default(name: str) -> str:
    """What a rate is by default, by the tables of `fine_tune_defaults`."""
    tables = (NORM_TRAINS, NORM_FROZEN, FRESH, ADAPTER)
    trained, frozen, fresh, adapter = (getattr(rates, name) for rates in tables)
    rate = f"by default {trained:g}"
    if frozen != trained:
        rate += f", with frozen or no batch normalization {frozen:g}"
    if fresh != trained:
        rate += f", without weights {fresh:g}"
    return rate if adapter == trained else f"{rate}, of an adapter {adapter:g}"


def finetune(
    data: Annotated[Path, typer.Argument(help="Folder with train/ and val/, or of class folders.")],
    output: Annotated[Path, typer.Option(help="Directory of the results.")],
    backbone: Annotated[
        str, typer.Option(help="A builder of keras.applications.")
    ] = DEFAULTS.backbone,
    weights: Annotated[
        str, typer.Option(help="'imagenet', 'none', or the path of a weights file.")
    ] = DEFAULTS.weights,
    attention: Annotated[
        str, typer.Option(help=f"One of {', '.join(ATTENTIONS)}; or none.")
    ] = DEFAULTS.attention,
    points: Annotated[
        str | None,
        typer.Option(
            help=f"Where attention goes: {' or '.join(NAMED_POINTS)}; by default to every "
            "attention point, BAM to the stage ends."
        ),
    ] = DEFAULTS.points,
    train: Annotated[
        str,
        typer.Option(
            help=f"{TRAINS[0]}: the whole network, after head and attention; {TRAINS[1]}: head and "
            "attention alone, which a small file adapter.npz holds then."
        ),
    ] = DEFAULTS.train,
    image_size: Annotated[
        int, typer.Option(min=1, help="Side of the images, in pixels.")
    ] = DEFAULTS.image_size,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a step.")] = DEFAULTS.batch_size,
    head_epochs: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Epochs of head and attention before the whole network; by default as many as "
            f"{BUDGETS[True].head_steps} steps need, without weights none.",
        ),
    ] = DEFAULTS.head_epochs,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Epochs of the whole network; by default as many as "
            f"{BUDGETS[True].steps} steps need, without weights {BUDGETS[False].steps}. Or of the "
            f"adapter; as many as {ADAPTER_STEPS} steps need.",
        ),
    ] = DEFAULTS.epochs,
    learning_rate: Annotated[
        float | None,
        typer.Option(help=f"Peak learning rate of the backbone; {by_default('learning_rate')}."),
    ] = DEFAULTS.learning_rate,
    attention_learning_rate: Annotated[
        float | None,
        typer.Option(
            help=f"Peak learning rate of attention; {by_default('attention_learning_rate')}. "
            f"{BESIDE_FROZEN:g} of it before the whole network learns."
        ),
    ] = DEFAULTS.attention_learning_rate,
    head_learning_rate: Annotated[
        float | None,
        typer.Option(help=f"Peak learning rate of the head; {by_default('head_learning_rate')}."),
    ] = DEFAULTS.head_learning_rate,
    warmup: Annotated[
        float, typer.Option(help="Share of the steps in which learning rates rise from 0.")
    ] = DEFAULTS.warmup,
    dropout: Annotated[
        float, typer.Option(min=0, max=0.99, help="Share of pooled features dropped in training.")
    ] = DEFAULTS.dropout,
    batch_norm: Annotated[
        str | None,
        typer.Option(
            help=f"What the backbone's batch normalization does: {', '.join(BATCH_NORMS)}; by "
            "default frozen where the backbone's features fit the images as they are and neither "
            "--learning-rate nor --batch-norm-momentum is given, otherwise train."
        ),
    ] = DEFAULTS.batch_norm,
    batch_norm_momentum: Annotated[
        float | None,
        typer.Option(
            help=f"Momentum of batch normalization; by default {SHORT_MOMENTUM}, or less where the "
            "network's is less."
        ),
    ] = DEFAULTS.batch_norm_momentum,
    selection_split: Annotated[
        float, typer.Option(help="Share of train held out to choose the epoch by.")
    ] = DEFAULTS.selection_split,
    val_split: Annotated[
        float | None,
        typer.Option(help="Share scored once at the end, where DATA has no train/ and val/."),
    ] = DEFAULTS.val_split,
    balance: Annotated[
        bool,
        typer.Option("--balance", help="Let each class count alike, however many images it has."),
    ] = DEFAULTS.balance,
    augment: Annotated[
        str, typer.Option(help="Augmentations, of crop, flip and color; or 'none'.")
    ] = ",".join(DEFAULTS.augmentations),
    crop_area: Annotated[
        float, typer.Option(help="Smallest share of an image that a random crop keeps.")
    ] = DEFAULTS.crop_area,
    backbone_option: BackboneOptions = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = DEFAULTS.seed,
    checkpoint_seconds: Annotated[
        float, typer.Option(help="Seconds between two saves of the state to resume from.")
    ] = DEFAULTS.checkpoint_seconds,
    label_smoothing: Annotated[
        float, typer.Option(help="Share of the target that is spread over all classes.")
    ] = DEFAULTS.label_smoothing,
    clip_norm: Annotated[
        float | None, typer.Option(help="Norm that gradients are scaled down to; 0 for no limit.")
    ] = DEFAULTS.clip_norm,
    ema: Annotated[
        float | None,
        typer.Option(help="Momentum of a moving average of the weights; by default none."),
    ] = DEFAULTS.ema,
    dtype_policy: Annotated[
        str, typer.Option(help="float32, mixed_bfloat16 or mixed_float16.")
    ] = DEFAULTS.dtype_policy,
    hosts: Hosts = None,
    process_id: ProcessId = None,
    resume: Annotated[bool, typer.Option(help="Go on with the interrupted run in OUTPUT.")] = False,
) -> None:
    """Fine-tune a keras.applications backbone with attention on a folder of photographs."""
    processes = join_processes(hosts, process_id)
    config = FineTuneConfig(
        data=str(data),
        output=str(output),
        backbone=backbone,
        weights=weights,
        attention=attention,
        points=points,
        train=train,
        image_size=image_size,
        batch_size=batch_size,
        head_epochs=head_epochs,
        epochs=epochs,
        learning_rate=learning_rate,
        attention_learning_rate=attention_learning_rate,
        head_learning_rate=head_learning_rate,
        warmup=warmup,
        dropout=dropout,
        batch_norm=batch_norm,
        batch_norm_momentum=batch_norm_momentum,
        selection_split=selection_split,
        val_split=val_split,
        balance=balance,
        augmentations=() if augment == "none" else tuple(augment.split(",")),
        crop_area=crop_area,
        backbone_options=parse(backbone_option),
        seed=seed,
        label_smoothing=label_smoothing,
        clip_norm=clip_norm or None,
        ema=ema,
        dtype_policy=dtype_policy,
        checkpoint_seconds=checkpoint_seconds,
    )
    try:
        result = run(config, resume=resume, processes=processes)
    except KeyboardInterrupt:
        out.print("interrupted; with --resume the same command goes on from the last saved step")
        raise
    if not processes.first:
        return
    show(result, config)
    out.print(
        f"next: keras-cbam export {config.output}/model.keras --output ... --verification ...",
        markup=False,
    )


def run(
    config: FineTuneConfig, *, resume: bool = False, processes: Processes = ALONE
) -> FineTuneResult:
    """Run `fine_tune` with its progress on the terminal of the first process."""
    if not processes.first:
        return fine_tune(config, resume=resume, processes=processes)
    with progress_bar() as bar, counting(bar, "images checked") as update:
        return fine_tune(
            config,
            resume=resume,
            callbacks=[EpochProgress(bar)],
            progress=update,
            processes=processes,
        )


def show(result: FineTuneResult, config: FineTuneConfig) -> None:
    """Print what came out."""
    tell_skipped(result.record["skipped"], out)
    if scaled := len(result.record["scaled"]):
        out.print(f"images of more than 8 bits a channel, scaled by lowest and highest: {scaled}")
    val = result.record["val"]
    out.print(f"accuracy on val: [bold]{val['accuracy']:.2%}[/] (loss {val['loss']:.4f})")
    if "balanced_accuracy" in val:
        out.print(f"mean of the classes' accuracies: {val['balanced_accuracy']:.2%}")
    use = result.record["attention"]
    if use:
        out.print(use["sentence"], markup=False, highlight=False)
    out.print(f"report: {config.output}/report.md", markup=False)
