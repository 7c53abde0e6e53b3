"""attention_use: whether a model's attention is used, or could be replaced by constants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np

from keras_cbam.surgery.gate_switch import GateMoments, GateSwitch

# The share of answers that must change for attention, or a gate, to matter.
MATTERS = 0.01
EPSILON = 1e-7

# Inputs, an array or a structure of arrays, and their labels or `None`.
Batch: TypeAlias = tuple[Any, Any]


class NotFiniteError(ValueError):
    """Answers of a model are infinite, or not numbers."""


@dataclass(frozen=True)
class Replacement:
    """What becomes of a model's answers when gates are replaced by their means.

    Attributes:
        agreement: share of the answers that stay the same, in [0, 1].
        kl_divergence: mean Kullback-Leibler divergence of the new probabilities from those of the
            model as it is, in nats.
        accuracy: share of the answers that are right; `None` without labels.
    """

    agreement: float
    kl_divergence: float
    accuracy: float | None

    @property
    def matters(self) -> bool:
        """Whether at least 1 % of the answers change."""
        # Shares of few inputs are not exact in floating point.
        return 1 - self.agreement >= MATTERS - 1e-9


@dataclass(frozen=True)
class GateUse:
    """How much one gate does.

    Attributes:
        layer: address of the attention layer.
        kind: `"channel"`, `"spatial"`, or `"both"` of BAM.
        over_images: standard deviation of the gate over the images, its mean over places and
            channels.
        over_places: standard deviation of the gate over the places of an image, its mean over
            images and channels; 0 for a channel gate.
        replaced: how the answers change when this gate alone is replaced by `constants`.
        constants: the mean of the gate over images and places, `(channels,)`: one constant for each
            channel, one in all for a spatial gate.
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
        """All but the constants, in values that JSON keeps."""
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
    """How much the attention of a model does.

    Attributes:
        images: how many inputs all gates together were judged on.
        images_per_gate: how many inputs each gate alone was judged on.
        accuracy: share of the model's answers that are right; `None` without labels.
        replaced: the answers with every gate replaced by its mean.
        gates: a `GateUse` for each gate, in the model's order.
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
        """All of it in values that JSON keeps."""
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
        """One line that says what the attention is worth."""
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
    """Measure how much the attention of a model does.

    Attention that gives every image the same gates is a constant, which the convolution before it
    could hold at no cost. This function replaces gates by their means over the inputs, all at once
    and each alone, and compares the answers with those of the model as it is. The model and its
    weights stay as they are. A model of `g` gates takes about `(2 + g)` times as long as
    predicting; `images_per_gate` bounds that.

    Args:
        model: any `keras.Model` with attention layers of keras_cbam, on any backend. Its one output
            is `(batch, classes)`, the probabilities of a softmax or logits, or `(batch, 1)`, the
            probability or the logit of the second of two classes.
        inputs: what the model takes, `(images, height, width, channels)` or channels_first, an
            array or a structure of arrays; or a `keras.utils.PyDataset` of such batches, with
            their labels or without, which keeps memory bounded. A dataset is read several times
            and has to give the same images each time, all of one size.
        labels: integers, one for each input; `None` for those of the dataset, or for none.
        images_per_gate: how many inputs, evenly spaced, each gate alone is judged on. Defaults to
            `None`, all of them.
        batch_size: images that are run at once, where `inputs` are arrays. Defaults to `32`.
        answers: takes the outputs of the model and returns its answers, for a model of several
            outputs. `(batch, ..., classes)` if each image has many, as a detector has.
        judged: takes the probabilities of the model as it is, `(answers, classes)`, and returns
            which of them count, `(answers,)` booleans. Defaults to `None`, all of them.

    Returns:
        An `AttentionUse`.

    Raises:
        ValueError: if the model has no attention layer of keras_cbam or uses one several times, if
            there are no inputs, or if answers or labels are none that can be compared.
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
    switch = GateSwitch(model, answers)
    if not switch.gates:
        raise ValueError(
            "Expected a model with attention layers of keras_cbam. "
            f"Received: model {model.name}, which has none"
        )
    batches = partial(_batches, inputs, labels, batch_size)
    start = [np.zeros(gate.channels) for gate in switch.gates]
    plain = _run(switch, batches(), start, np.zeros(len(start)))
    means = [gate.mean for gate in plain.gates]
    without = _run(switch, batches(), means, np.ones(len(means)))
    compare = _Comparison(plain, judged)
    chosen = _evenly_spaced(len(plain.answers), images_per_gate)
    if len(chosen) < len(plain.answers):
        batches = partial(_batches, _take(batches(), chosen), None, switch.batch_size)
    gates = []
    for index, (gate, statistics) in enumerate(zip(switch.gates, plain.gates, strict=True)):
        alone = _run(switch, batches(), means, np.arange(len(means)) == index)
        gates.append(
            GateUse(
                gate.layer,
                gate.kind,
                statistics.over_images,
                statistics.over_places,
                compare(alone, chosen),
                statistics.mean,
            )
        )
    every = np.arange(len(plain.answers))
    return AttentionUse(
        images=len(plain.answers),
        images_per_gate=len(chosen),
        accuracy=compare(plain, every).accuracy,
        replaced=compare(without, every),
        gates=tuple(gates),
    )


class _GateStatistics:
    """Mean and spread of a gate over all inputs, put together from batches, in float64."""

    def __init__(self):
        self._count = 0.0
        self._mean: Any = 0.0
        self._squares: Any = 0.0
        self._over_places = 0.0

    def add(self, moments: GateMoments, count: float) -> None:
        """Add a batch; the sums of squares are joined as Chan, Golub and LeVeque do (1979)."""
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
        """Standard deviation over the inputs, its mean over places and channels."""
        return float(np.sqrt(self._squares / self._count).mean())

    @property
    def over_places(self) -> float:
        """Standard deviation over the places, its mean over inputs and channels."""
        return self._over_places / self._count


class _Run(NamedTuple):
    """One pass over the inputs.

    Attributes:
        answers: `(inputs, ..., classes)`.
        labels: `(inputs,)`, or `None`.
        gates: the statistics of each gate.
    """

    answers: np.ndarray
    labels: np.ndarray | None
    gates: list[_GateStatistics]


def _run(switch: GateSwitch, batches: Iterator[Batch], constants: Any, replaced: Any) -> _Run:
    """Run all batches with some gates replaced."""
    answers, labels = [], []
    statistics = [_GateStatistics() for _ in switch.gates]
    for rows, known in batches:
        found, moments = switch.run(rows, constants, replaced)
        answers.append(_checked(found))
        labels.append(known)
        for each, batch in zip(statistics, moments, strict=True):
            each.add(batch, len(answers[-1]))
    if not answers:
        raise ValueError("Expected at least one input. Received none")
    together = None if labels[0] is None else np.concatenate(labels)
    return _Run(np.concatenate(answers), together, statistics)


def _batches(inputs: Any, labels: Any, batch_size: int) -> Iterator[Batch]:
    """Yield arrays or a dataset in batches of at least one row, with labels or `None`."""
    pairs = _read(inputs) if isinstance(inputs, keras.utils.PyDataset) else _cut(inputs, batch_size)
    done = 0
    for rows, known in pairs:
        count = len(keras.tree.flatten(rows)[0])
        if labels is not None:
            known = np.asarray(labels)[done : done + count]
        done += count
        if count:
            yield rows, None if known is None else _integers(known, count)


def _read(dataset: keras.utils.PyDataset) -> Iterator[Batch]:
    """Yield the batches of a dataset."""
    for index in range(len(dataset)):
        rows, labels, _ = keras.utils.unpack_x_y_sample_weight(dataset[index])
        yield keras.tree.map_structure(np.asarray, rows), labels


def _cut(inputs: Any, batch_size: int) -> Iterator[Batch]:
    """Yield arrays in batches, without labels."""
    arrays = keras.tree.map_structure(np.asarray, inputs)
    if any(array.ndim < 1 for array in keras.tree.flatten(arrays)):
        raise ValueError(
            "Expected inputs as arrays or as a `keras.utils.PyDataset`. "
            f"Received: {type(inputs).__name__}"
        )
    for start in range(0, len(keras.tree.flatten(arrays)[0]), batch_size):
        part = slice(start, start + batch_size)
        yield keras.tree.map_structure(lambda array, at=part: array[at], arrays), None


def _integers(labels: Any, count: int) -> np.ndarray:
    """Labels `(inputs,)`."""
    found = np.asarray(labels)
    if found.size != count:
        raise ValueError(
            f"Expected labels as integers, one for each input. Received: shape {found.shape} for "
            f"{count} inputs"
        )
    return found.reshape(-1)


def _evenly_spaced(count: int, most: int | None) -> np.ndarray:
    """The indices of at most so many of `count` inputs, evenly spaced."""
    chosen = np.linspace(0, count - 1, min(most or count, count))
    return chosen.round().astype(int)


def _take(batches: Iterator[Batch], chosen: np.ndarray) -> Any:
    """The inputs at some indices, in one structure of arrays."""
    parts, done = [], 0
    for rows, _ in batches:
        count = len(keras.tree.flatten(rows)[0])
        at = chosen[(chosen >= done) & (chosen < done + count)] - done
        parts.append(keras.tree.map_structure(lambda array, at=at: array[at], rows))
        done += count
    return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


def _checked(answers: Any) -> np.ndarray:
    """The answers, `(batch, ..., classes)`, all of them numbers."""
    found = keras.tree.flatten(answers)
    if len(found) != 1 or found[0].ndim < 2:
        shapes = [each.shape for each in found]
        raise ValueError(
            "Expected answers (batch, classes), one output of the model or what `answers` makes "
            f"of several. Received: shapes {shapes}"
        )
    if not np.isfinite(found[0]).all():
        raise NotFiniteError(
            "Expected answers that are finite. Received: infinity, or what is not a number"
        )
    return found[0]


class _Comparison:
    """Compares answers with those of the model as it is.

    Args:
        plain: the run of the model as it is.
        judged: as for `attention_use`.
    """

    def __init__(self, plain: _Run, judged: Callable[[np.ndarray], np.ndarray] | None):
        if plain.labels is not None and plain.answers.ndim != 2:
            raise ValueError(
                "Expected no labels for a model of many answers to an input. "
                f"Received: answers of shape {plain.answers.shape} and labels"
            )
        self._plain = plain
        self._judged = judged
        # What the answers are is told by those of the model as it is, and by all of them.
        values = plain.answers
        columns = values.shape[-1]
        if columns == 1:
            self._are_probabilities = bool(((values >= 0) & (values <= 1)).all())
        else:
            sums = values.sum(-1, dtype="float64")
            self._are_probabilities = bool((values >= 0).all()) and np.allclose(sums, 1, atol=1e-2)

    def __call__(self, run: _Run, chosen: np.ndarray) -> Replacement:
        """What became of the answers to the chosen inputs, which are all that the run has."""
        old = self._probabilities(self._plain.answers[chosen])
        new = self._probabilities(run.answers)
        labels = None if self._plain.labels is None else self._plain.labels[chosen]
        if self._judged is not None:
            counted = self._judged(old)
            old, new = old[counted], new[counted]
            labels = None if labels is None else labels[counted]
        if not len(old):
            return Replacement(agreement=1.0, kl_divergence=0.0, accuracy=None)
        logarithms = np.log(np.clip(old, EPSILON, None)) - np.log(np.clip(new, EPSILON, None))
        told = new.argmax(1)
        return Replacement(
            agreement=float((old.argmax(1) == told).mean()),
            kl_divergence=max(float((old * logarithms).sum(1).mean()), 0.0),
            accuracy=None if labels is None else float((told == labels).mean()),
        )

    def _probabilities(self, answers: np.ndarray) -> np.ndarray:
        """Probabilities of classes, `(answers, classes)`."""
        values = answers.reshape(-1, answers.shape[-1]).astype("float64")
        if values.shape[1] == 1:
            # The column is the second of two classes; the logit of the first is 0.
            second = values if self._are_probabilities else 1 / (1 + np.exp(-values))
            return np.concatenate([1 - second, second], axis=1)
        if not self._are_probabilities:
            values = np.exp(values - values.max(1, keepdims=True))
        return values / values.sum(1, keepdims=True)
