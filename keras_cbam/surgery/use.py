"""attention_use: measure whether a model uses its attention, or constants could replace it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_cbam.surgery.gate_switch import GateMoments, GateSwitch
from keras_cbam.surgery.use_answers import Comparison, Replacement, checked
from keras_cbam.surgery.use_inputs import Batch, batches, evenly_spaced, take


@dataclass(frozen=True)
class GateUse:
    """The effect of one gate.

    Attributes:
        layer: address of the attention layer.
        kind: `"channel"`, `"spatial"`, or, for BAM, `"both"`.
        over_images: standard deviation of the gate over the images, averaged over places and
            channels.
        over_places: standard deviation of the gate over the places of an image, averaged over
            images and channels; 0 for a channel gate.
        replaced: change of the answers when `constants` replace this gate alone.
        constants: mean of the gate over images and places, `(channels,)`: one constant per channel,
            or a single one for a spatial gate.
    """

    layer: str
    kind: str
    over_images: float
    over_places: float
    replaced: Replacement
    constants: np.ndarray = field(repr=False, compare=False)

    @property
    def mean(self) -> float:
        """Mean of the gate over images, places and channels."""
        return float(self.constants.mean())

    def record(self) -> dict[str, Any]:
        """Return all attributes but the constants, as values for JSON."""
        return {
            "layer": self.layer,
            "kind": self.kind,
            "mean": self.mean,
            "over_images": self.over_images,
            "over_places": self.over_places,
            "replaced": asdict(self.replaced),
        }


@dataclass(frozen=True)
class AttentionUse:
    """The effect of the attention of a model.

    Attributes:
        images: number of inputs used to judge all gates together.
        images_per_gate: number of inputs used to judge each gate alone.
        accuracy: share of the model's answers that are right; `None` without labels.
        replaced: change of the answers when every gate is replaced by its mean.
        gates: a `GateUse` for each gate, in the order of the model.
    """

    images: int
    images_per_gate: int
    accuracy: float | None
    replaced: Replacement
    gates: tuple[GateUse, ...]

    @property
    def used(self) -> bool:
        """Whether replacing all attention by constants changes at least 1 % of the answers."""
        return self.replaced.matters

    def record(self) -> dict[str, Any]:
        """Return all attributes as values for JSON."""
        return {
            "used": self.used,
            "sentence": self.sentence(),
            "images": self.images,
            "images_per_gate": self.images_per_gate,
            "accuracy": self.accuracy,
            "replaced": asdict(self.replaced),
            "gates": [gate.record() for gate in self.gates],
        }

    def sentence(self) -> str:
        """Return one line that says how much the attention matters."""
        matter = sum(gate.replaced.matters for gate in self.gates)
        gates = f"{matter} of {len(self.gates)} gates matter"
        same = f"{self.replaced.agreement:.1%} of the answers stay the same"
        if not self.used:
            return f"attention is not used: without it {same}; {gates}"
        if self.accuracy is None or self.replaced.accuracy is None:
            return f"attention: without it {same}; {gates}"
        change = "falls" if self.replaced.accuracy < self.accuracy else "goes"
        return (
            f"attention: without it accuracy {change} from {self.accuracy:.1%} to "
            f"{self.replaced.accuracy:.1%}, and {same}; {gates}"
        )


def attention_use(
    model: keras.Model,
    inputs: Any,
    labels: Any = None,
    *,
    images_per_gate: int | None = None,
    batch_size: int = 32,
    answers: Callable[[Any], Any] = lambda outputs: outputs,
    judged: Callable[[np.ndarray], np.ndarray] | None = None,
) -> AttentionUse:
    """Measure the effect of a model's attention on its answers.

    Attention that gives every image the same gates is a constant. The convolution before it could
    include that constant at no cost. This function replaces gates by their means over the inputs,
    first all at once, then each one alone. It compares the answers with those of the unchanged
    model. The model and its weights do not change. For a model with `g` gates this takes about
    `(2 + g)` times as long as predicting; `images_per_gate` limits the time.

    Args:
        model: any `keras.Model` with attention layers of keras_cbam, on any backend. Its only
            output is `(batch, classes)`, the probabilities of a softmax or logits; or `(batch, 1)`,
            the probability or the logit of the second of two classes.
        inputs: inputs of the model, `(images, height, width, channels)` or channels_first: an array
            or a structure of arrays, or a `keras.utils.PyDataset` of such batches with or without
            labels, which bounds the use of memory. A dataset is read several times, and must return
            the same images each time, all of one size.
        labels: integers, one per input. `None` means the labels of the dataset, if it has any.
        images_per_gate: number of inputs, evenly spaced, for judging each gate alone; at least 1.
            They are kept in memory. Defaults to `None`, which means all inputs.
        batch_size: number of images per batch, if `inputs` are arrays. Defaults to `32`.
        answers: for a model with several outputs, a function from these outputs to the answers. The
            answers are `(batch, ..., classes)` if each image has several, as in a detector.
        judged: a function from the probabilities of the unchanged model, `(answers, classes)`, to
            booleans `(answers,)` that select the answers that count. Defaults to `None`, which
            means all answers.

    Returns:
        An `AttentionUse`.

    Raises:
        ValueError: if the model has no attention layer of keras_cbam, or uses one several times or
            not at all; if there are no inputs; or if the answers or labels cannot be compared.
        NotFiniteError: a `ValueError`, if an answer is infinite or not a number.

    Example:
        >>> inputs = keras.Input((8, 8, 3))
        >>> x = keras.layers.Conv2D(16, 3)(inputs)
        >>> x = keras.layers.GlobalAveragePooling2D()(CBAM(identity_init=True)(x))
        >>> model = keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(x))
        >>> use = attention_use(model, np.random.uniform(size=(8, 8, 8, 3)))
        >>> use.used  # a new layer returns its input
        False
        >>> [gate.kind for gate in use.gates]
        ['channel', 'spatial']
    """
    if images_per_gate is not None and images_per_gate < 1:
        raise ValueError(
            f"Argument `images_per_gate` must be at least 1. Received: {images_per_gate}"
        )
    switch = GateSwitch(model, answers)
    if not switch.gates:
        raise ValueError(
            "Expected a model with attention layers of keras_cbam. "
            f"Received: model {model.name}, which has none"
        )
    read = partial(batches, inputs, labels, batch_size)
    start = [np.zeros(gate.channels) for gate in switch.gates]
    plain = _run(switch, read(), start, np.zeros(len(start)))
    means = [gate.mean for gate in plain.gates]
    without = _run(switch, read(), means, np.ones(len(means)))
    compare = Comparison(plain.answers, plain.labels, judged)
    chosen = evenly_spaced(len(plain.answers), images_per_gate)
    if images_per_gate is not None:
        # Keep these inputs in memory, so that a dataset is not read again for each gate.
        read = partial(batches, take(read(), chosen), None, switch.batch_size)
    gates = []
    for index, (gate, statistics) in enumerate(zip(switch.gates, plain.gates, strict=True)):
        alone = _run(switch, read(), means, np.arange(len(means)) == index)
        gates.append(
            GateUse(
                gate.layer,
                gate.kind,
                statistics.over_images,
                statistics.over_places,
                compare(alone.answers, chosen),
                statistics.mean,
            )
        )
    every = np.arange(len(plain.answers))
    return AttentionUse(
        images=len(plain.answers),
        images_per_gate=len(chosen),
        accuracy=compare(plain.answers, every).accuracy,
        replaced=compare(without.answers, every),
        gates=tuple(gates),
    )


class _GateStatistics:
    """Mean and spread of a gate over all inputs, accumulated over batches in float64."""

    def __init__(self) -> None:
        self._count = 0.0
        self._mean: Any = 0.0
        self._squares: Any = 0.0
        self._over_places = 0.0

    def add(self, moments: GateMoments, count: float) -> None:
        """Add a batch. Combine the sums of squares by Chan, Golub and LeVeque (1979)."""
        mean, squares, over_places = (np.asarray(each, "float64") for each in moments)
        total = self._count + count
        away = mean - self._mean
        self._squares = self._squares + squares + away**2 * self._count * count / total
        self._mean = self._mean + away * count / total
        self._over_places += float(over_places)
        self._count = total

    @property
    def mean(self) -> np.ndarray:
        """Mean over inputs and places, `(channels,)`."""
        return self._mean.mean((0, 1))

    @property
    def over_images(self) -> float:
        """Standard deviation over the inputs, averaged over places and channels."""
        return float(np.sqrt(self._squares / self._count).mean())

    @property
    def over_places(self) -> float:
        """Standard deviation over the places, averaged over inputs and channels."""
        return self._over_places / self._count


class _Run(NamedTuple):
    """The results of one pass over the inputs.

    Attributes:
        answers: `(inputs, ..., classes)`.
        labels: `(inputs,)`, or `None`.
        gates: the statistics of each gate.
    """

    answers: np.ndarray
    labels: np.ndarray | None
    gates: list[_GateStatistics]


def _run(switch: GateSwitch, inputs: Iterator[Batch], constants: Any, replaced: Any) -> _Run:
    """Run all batches with some gates replaced by constants."""
    answers, labels = [], []
    statistics = [_GateStatistics() for _ in switch.gates]
    for rows, known in inputs:
        found, moments = switch.run(rows, constants, replaced)
        answers.append(checked(found))
        labels.append(known)
        for each, batch in zip(statistics, moments, strict=True):
            each.add(batch, len(answers[-1]))
    if not answers:
        raise ValueError("Expected at least one input. Received none")
    together = None if labels[0] is None else np.concatenate(labels)
    return _Run(np.concatenate(answers), together, statistics)
