"""The rows of `cbam_tax.py` in PyTorch: eager, compiled, and exported to onnxruntime.

The formulation is the authors' (`torch_cbam.py`), in plain networks (`torch_networks.py`) whose
parameters are counted first. Each module is compared with `keras_cbam.CBAM` of the same weights;
what is compiled or exported is compared with eager PyTorch, image by image.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from agreement import LARGEST, LARGEST_SCORE, TIMES, images, require_agreement, require_spread
from cbam_tax_row import NONE, PLAIN, Networks, Row, Steps, onnx_step

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch_cbam import TorchCBAM

Models = dict[str, "nn.Module"]

# Of the products of both gates, on one map: what they have to differ by.
GATES = 0.05


def pictures(count: int, size: int) -> torch.Tensor:
    """The images of all rows, channels first."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(images(count, size).transpose(0, 3, 1, 2)))


def networks(builder: str, size: int) -> Networks:
    """The network without attention, and with the authors' CBAM."""
    import torch
    from torch_cbam import TorchCBAM
    from torch_networks import build, require_parameters

    require_parameters(builder)
    models: Models = {}
    maps: list[tuple[int, ...]] = []
    for kind in (NONE, PLAIN):
        torch.manual_seed(0)
        model = build(builder, attention=kind == PLAIN, classes=10)
        modules = [each for each in model.modules() if isinstance(each, TorchCBAM)]
        hooks = [
            each.register_forward_hook(lambda module, of, to: maps.append(tuple(to.shape[1:])))
            for each in modules
        ]
        models[kind] = vary(model, pictures(8, size))
        for hook in hooks:
            hook.remove()
        with torch.inference_mode():
            require_spread(
                f"{builder}, {kind}", model(pictures(8, size)).numpy(), TIMES * LARGEST_SCORE
            )
        for module, shape in zip(modules, maps if modules else [], strict=True):
            _agree(module, shape)
    return Networks(models, maps)


def vary(model: nn.Module, batch: torch.Tensor) -> nn.Module:
    """Random normalizations, those of spatial gates too, with statistics that fit a batch.

    A fresh network answers nearly the same to every image, and agreement would prove nothing.
    """
    import torch
    from torch import nn

    norms = [each for each in model.modules() if isinstance(each, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.5)
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        # Small variances of nearly constant channels would amplify rounding from layer to layer.
        norm.running_var.clamp_(min=0.7 * float(norm.running_var.mean()))
    return model.eval()


def _agree(module: TorchCBAM, shape: tuple[int, ...]) -> None:
    """Compare a module with the package's layer of the same weights, on one map."""
    import torch

    from keras_cbam import CBAM

    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, *shape)).astype("float32"))
    layer = CBAM()
    layer.build((None, *shape[1:], shape[0]))
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    channel, spatial = layer.channel_attention, layer.spatial_attention
    for dense, index in ((channel.squeeze, 1), (channel.excite, 3)):
        kernel, bias = weights[f"mlp.{index}.weight"], weights[f"mlp.{index}.bias"]
        dense.set_weights([kernel.T[None, None], bias])
    # The layer's maps are mean, maximum; the module's the other way round.
    spatial.kernel.assign(weights["conv.weight"].transpose(2, 3, 1, 0)[:, :, ::-1].copy())
    names = ("weight", "bias", "running_mean", "running_var")
    spatial.batch_norm.set_weights([weights[f"norm.{name}"] for name in names])
    with torch.inference_mode():
        theirs = module(x)
        ours = layer(x.movedim(1, -1)).movedim(-1, 1)
    what = f"The authors' CBAM of {shape[0]} channels"
    require_agreement(what, theirs.numpy(), ours.cpu().numpy(), LARGEST)
    gates = theirs / x
    if not float(gates.max() - gates.min()) >= GATES:
        raise SystemExit(f"{what}: its gates do not vary")


def inference(models: Models, folder: Path, threads: int) -> Steps:
    """One image, eager."""
    return {kind: partial(_scores, model, pictures(1, 224)) for kind, model in models.items()}


def compiled_inference(models: Models, folder: Path, threads: int) -> Steps:
    """One image, by `torch.compile`, compared with eager."""
    import torch

    steps: Steps = {}
    for kind, model in models.items():
        compiled = partial(_scores, torch.compile(model))
        _compare(f"{kind}, compiled", compiled, model)
        steps[kind] = partial(compiled, pictures(1, 224))
    return steps


def in_onnxruntime(models: Models, folder: Path, threads: int) -> Steps:
    """Float32 ONNX files by `torch.onnx.export`, one image, compared with eager."""
    import torch

    one = pictures(1, 224)
    steps: Steps = {}
    for kind, model in models.items():
        path = folder / f"{kind}.onnx"
        torch.onnx.export(model, (one,), path, dynamo=True, external_data=False, verbose=False)
        run = onnx_step(path, threads)
        _compare(f"{kind}, in onnxruntime", lambda x, run=run: run(x.numpy()), model)
        steps[kind] = partial(run, one.numpy())
    return steps


def _scores(model: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return model(x).numpy()


def _compare(what: str, scores: Callable[[torch.Tensor], np.ndarray], model: nn.Module) -> None:
    """Compare the scores of several images, one at a time, with those of eager PyTorch."""
    batches = pictures(8, 224).split(1)
    found, expected = (
        np.concatenate([of(each) for each in batches]) for of in (scores, partial(_scores, model))
    )
    require_agreement(what, found, expected, LARGEST_SCORE)
    require_spread(what, found, TIMES * LARGEST_SCORE)


def training(models: Models, folder: Path, threads: int) -> Steps:
    """A step of gradient descent on 8 images, eager."""
    return {kind: _training_step(model, model) for kind, model in models.items()}


def compiled_training(models: Models, folder: Path, threads: int) -> Steps:
    """The same with the network by `torch.compile`, whose scores are compared with eager."""
    import torch

    steps: Steps = {}
    for kind, model in models.items():
        compiled = torch.compile(model.train())
        pixels = pictures(8, 128)
        found, expected = (each(pixels).detach().numpy() for each in (compiled, model))
        require_agreement(f"{kind}, compiled", found, expected, LARGEST_SCORE)
        require_spread(f"{kind}, compiled", found, TIMES * LARGEST_SCORE)
        steps[kind] = _training_step(model, compiled)
    return steps


def _training_step(
    model: nn.Module, scores: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[[], object]:
    import torch
    from torch.nn import functional

    pixels, labels = pictures(8, 128), torch.arange(8)
    optimizer = torch.optim.SGD(model.train().parameters(), lr=0.01)  # as Keras's "sgd"

    def step() -> float:
        optimizer.zero_grad()
        loss = functional.cross_entropy(scores(pixels), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


ONNX = ("torch", "onnxscript", "onnxruntime")
ROWS = {
    "torch-inference": Row(networks, inference, "torch", 224, 1, 4, 15, ("torch",)),
    "torch-training": Row(networks, training, "torch", 128, 8, 11, 10, ("torch",)),
    "torch-compile-inference": Row(
        networks, compiled_inference, "torch", 224, 1, 4, 15, ("torch",)
    ),
    "torch-compile-training": Row(networks, compiled_training, "torch", 128, 8, 11, 10, ("torch",)),
    "torch-onnxruntime": Row(networks, in_onnxruntime, "torch", 224, 1, 4, 30, ONNX),
}
