"""Schedules, losses and averages, against values worked by hand."""

import contextlib

import keras
import numpy as np
import pytest
from keras import layers

from keras_cbam.errors import InputError
from keras_cbam.training import Recipe, Stage, TrainingLoop, compile_model
from keras_cbam.training.recipe import SmoothedCrossentropy, dtype_policy, learning_rate
from keras_cbam.training.run_state import load_arrays, save_arrays, state_variables
from keras_cbam.training.scores import within_chance
from tests.backend import BACKEND

pytestmark = pytest.mark.backends
EMA = 0.8


def rates(recipe, steps, at):
    rate = learning_rate(recipe, steps)
    return [float(rate(step)) for step in at]


def test_rates():
    at = [0, 1, 4, 9, 10, 55, 99]
    stepped = Recipe(learning_rate=0.3, schedule="step", milestones=(0.1, 0.5))
    # Boundaries belong to the rate before them.
    assert rates(stepped, 100, [9, 10, 11, 50, 51]) == pytest.approx([0.3, 0.3, 0.03, 0.03, 0.003])
    cosine = [0.15 * (1 + np.cos(np.pi * step / 100)) for step in at]
    assert rates(Recipe(learning_rate=0.3), 100, at) == pytest.approx(cosine, rel=1e-4)
    # The first of ten steps takes a tenth of the rate.
    risen = [value * min((step + 1) / 10, 1) for step, value in zip(at, cosine, strict=True)]
    warm = Recipe(learning_rate=0.3, warmup=0.1)
    assert rates(warm, 100, at) == pytest.approx(risen, rel=1e-4)
    constant = Recipe(learning_rate=0.3, schedule="constant", warmup=0.1)
    assert rates(constant, 100, [0, 4, 9, 99]) == pytest.approx([0.03, 0.15, 0.3, 0.3])
    assert learning_rate(Recipe(learning_rate=0.3, schedule="constant"), 100) == 0.3


def test_smoothed_labels():
    found = SmoothedCrossentropy(0.1)(
        np.array([0, 2]), np.array([[0.7, 0.2, 0.1], [0.2, 0.2, 0.6]])
    )
    # Targets of 0.9 + 0.1 / 3 for the label, 0.1 / 3 for the others.
    rows = [
        -(0.9 * np.log(label) + 0.1 / 3 * np.log(others).sum())
        for label, others in ((0.7, [0.7, 0.2, 0.1]), (0.6, [0.2, 0.2, 0.6]))
    ]
    assert float(found) == pytest.approx(np.mean(rows), rel=1e-6)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(SmoothedCrossentropy(0.2))
    )
    assert again.label_smoothing == 0.2


def network():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(3, "softmax")(layers.Dense(5, "tanh")(inputs)))


class Record(keras.callbacks.Callback):
    """Keeps the trained weights after each batch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        state_variables(self.model)
        self.seen.append(self.model.get_weights())


def train(directory, recipe, epochs=3):
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (24, 4)).astype("float32"), rng.integers(0, 3, 24).astype("int32")

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            part = slice(8 * index, 8 * index + 8)
            return x[part], y[part]

    model, record = network(), Record()

    def score():
        probabilities = model.predict(x, verbose=0)
        return {"accuracy": float((probabilities.argmax(-1) == y).mean()), "loss": 0.0}

    stage = Stage("all", epochs, lambda model, _: compile_model(model, recipe, 3 * epochs))
    loop = TrainingLoop(
        model, [stage], lambda *_: Batches(), directory, {}, score=score, checkpoint_seconds=1e9
    )
    loop.run([record])
    return model, record.seen, loop


def test_the_average_is_kept_and_training_goes_on_without_it(tmp_path):
    plain = Recipe(learning_rate=0.5, schedule="constant")
    _, trained, _ = train(tmp_path / "plain", plain)
    model, seen, loop = train(
        tmp_path / "ema", Recipe(learning_rate=0.5, schedule="constant", ema=EMA)
    )
    assert len(trained) == len(seen) == 9
    for ours, theirs in zip(seen, trained, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    average = trained[0]
    for weights in trained[1:]:
        average = [EMA * a + (1 - EMA) * w for a, w in zip(average, weights, strict=True)]
    assert np.abs(average[0] - trained[-1][0]).max() > 0.01
    for found, expected in zip(model.get_weights(), average, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    # What is scored and kept is the average too.
    weights, best = loop.best()
    if best["epoch"] == 3:
        np.testing.assert_allclose(weights[0], average[0], rtol=1e-4, atol=1e-5)


def test_clipping_and_decay(tmp_path):
    still = Recipe(learning_rate=0.5, schedule="constant", momentum=0.0)
    start = network().get_weights()

    def first_step(**changes):
        recipe = Recipe(**{**vars(still), **changes})
        _, seen, _ = train(tmp_path / repr(changes), recipe, epochs=1)
        return [after - before for before, after in zip(start, seen[0], strict=True)]

    free, clipped = first_step(), first_step(clip_norm=1e-3)
    norm = np.sqrt(sum((step**2).sum() for step in free))
    assert norm > 1e-2
    for ours, theirs in zip(clipped, free, strict=True):
        np.testing.assert_allclose(ours, theirs / norm * 0.5e-3, rtol=1e-3, atol=1e-7)
    decayed = first_step(weight_decay=0.1)
    for ours, theirs, before in zip(decayed, free, start, strict=True):
        np.testing.assert_allclose(ours, theirs - 0.5 * 0.1 * before, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy, tmp_path):
    with dtype_policy(policy):
        inputs = keras.Input((4,))
        x = layers.Dense(8, "relu")(inputs)
        model = keras.Model(inputs, layers.Dense(3, "softmax", dtype="float32")(x))
    assert keras.config.dtype_policy().name == "float32"
    assert model.layers[1].compute_dtype == policy.removeprefix("mixed_")
    compile_model(model, Recipe(learning_rate=0.1, dtype_policy=policy), 10)
    scaled = type(model.optimizer).__name__ == "LossScaleOptimizer"
    assert scaled == (policy == "mixed_float16")
    x, y = np.random.default_rng(0).normal(0, 1, (8, 4)).astype("float32"), np.arange(8) % 3
    losses = [model.fit(x, y, verbose=0).history["loss"][0] for _ in range(5)]
    assert losses[-1] < losses[0]


def test_recipes_that_cannot_be():
    for changes, message in (
        ({"optimizer": "sdg"}, "Expected optimizer of adam, adamw, sgd. Received: sdg"),
        ({"optimizer": None}, "Expected optimizer of adam, adamw, sgd. Received: None"),
        ({"schedule": "line"}, "Expected schedule of constant, cosine, step. Received: line"),
        ({"dtype_policy": "float8"}, "Expected dtype policy of float32"),
        ({"label_smoothing": 1.0}, "Expected a label smoothing of at least 0 and below 1"),
        ({"ema": -0.1}, "Expected an EMA momentum of at least 0 and below 1"),
        ({"learning_rate": 0.0}, "Expected a learning rate above 0"),
        ({"clip_norm": -1.0}, "Expected a clip norm above 0"),
    ):
        with pytest.raises(InputError, match=message):
            Recipe(**changes).check()
    Recipe().check()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.data feeds every backend alike")
def test_a_pipeline_of_ones_own(tmp_path):
    import tensorflow as tf

    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (24, 4)).astype("float32"), rng.integers(0, 3, 24)

    def batches(stage, epoch, first_batch):
        data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(24, seed=epoch)
        return data.batch(8).skip(first_batch)

    class StopAt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 2:
                raise KeyboardInterrupt

    def loop(name):
        recipe = Recipe(learning_rate=0.1)
        stage = Stage("all", 2, lambda model, _: compile_model(model, recipe, 6))
        directory = tmp_path / name
        return TrainingLoop(network(), [stage], batches, directory, {}, checkpoint_seconds=0)

    whole = loop("whole")
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        loop("cut").run([StopAt()])
    resumed = loop("cut")
    assert resumed.position["batch"] == 2
    history = resumed.run()
    assert history == whole.position["history"]
    for ours, expected in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, expected)
    with pytest.raises(InputError, match="begun with seed None, not 1"):
        TrainingLoop(network(), [], batches, tmp_path / "cut", {"seed": 1})
    path = tmp_path / "cut" / "state.npz"
    arrays, position = load_arrays(path)
    wrongs = (
        {"stage": None},
        {"history": 3},
        {"more": 1},
        {"stage": 9},
        {"epoch": 9},
        {"batch": -1},
    )
    for wrong in wrongs:
        save_arrays(path, arrays, {**position, **wrong})
        with pytest.raises(InputError, match=rf"state.npz cannot be read. Remove {path.parent} to"):
            loop("cut")
    save_arrays(path, [each[..., None] for each in arrays], {**position, "epoch": 1})
    with pytest.raises(InputError, match=r"cannot be read.* arrays of other shapes"):
        loop("cut").run()


def test_the_start_is_scored_kept_if_best_and_made_once(tmp_path):
    x, y = np.eye(4, dtype="float32"), np.arange(4) % 3

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            # Labels that are wrong: training makes the start worse.
            return x, (y + 1) % 3

    told, starts, trained = [], [], []

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    def loop():
        inputs = keras.Input((4,))
        model = keras.Model(inputs, layers.Dense(3, "softmax")(inputs))

        @contextlib.contextmanager
        def start():
            starts.append(model)
            new = model.get_weights()
            model.set_weights([9 * np.eye(3, dtype="float32")[y], np.zeros(3, "float32")])
            yield
            model.set_weights(new)

        def compiled(model, scores):
            told.append(scores)
            trained.append(model.get_weights()[0].max())
            compile_model(model, Recipe(learning_rate=5.0), 3)

        def score():
            probabilities = model.predict(x, verbose=0)
            return {"accuracy": float((probabilities.argmax(-1) == y).mean()), "loss": 0.0}

        stages = [Stage("all", 3, compiled)]
        return TrainingLoop(
            model,
            stages,
            lambda *_: Batches(),
            tmp_path,
            {},
            start=start,
            score=score,
            checkpoint_seconds=0,
        )

    with pytest.raises(KeyboardInterrupt):
        loop().run([Stop()])
    resumed = loop()
    history = resumed.run()
    assert len(starts) == 1
    assert trained[0] < 2, "what was scored, not what is trained"
    assert told == [{"accuracy": 1.0, "loss": 0.0}] * 2
    assert history[-1]["selection_accuracy"] < 1
    weights, best = resumed.best()
    assert best == {"epoch": 0, "accuracy": 1.0, "loss": 0.0}
    assert weights[0].max() == 9


@pytest.mark.parametrize(
    ("accuracies", "tied", "kept"),
    [
        ((0.5, 0.8, 0.75, 0.6), True, 2),
        ((0.5, 0.8, 0.75, 0.6), False, 1),
        # The start, then one that is far better than what was kept.
        ((0.7, 0.68, 0.9, 0.5), True, 2),
        ((0.7, 0.68, 0.66, 0.5), True, 2),
        ((0.7, 0.6, 0.5, 0.4), True, 0),
        ((0.7, 0.7, 0.6, 0.6), False, 0),
        # Better than the epoch before, and not than the best.
        ((0.5, 0.8, 0.6, 0.65), False, 1),
        ((0.5, 0.8, 0.6, 0.65), True, 1),
    ],
)
def test_of_tied_epochs_the_last_is_kept(accuracies, tied, kept, tmp_path):
    x, y = np.eye(4, dtype="float32"), np.arange(4) % 3
    left = iter(accuracies)

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return x, y

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def loop():
        inputs = keras.Input((4,))
        return TrainingLoop(
            keras.Model(inputs, layers.Dense(3, "softmax")(inputs)),
            [Stage("all", 3, lambda model, _: compile_model(model, Recipe(), 3))],
            lambda *_: Batches(),
            tmp_path,
            {},
            start=contextlib.nullcontext,
            score=lambda: {"accuracy": next(left), "loss": 0.0},
            tied=(lambda new, best: new["accuracy"] >= best["accuracy"] - 0.06) if tied else None,
        )

    with pytest.raises(KeyboardInterrupt):
        loop().run([Stop()])
    resumed = loop()
    resumed.run()
    assert resumed.best()[1] == {"epoch": kept, "accuracy": accuracies[kept], "loss": 0.0}


def test_within_a_standard_error():
    # 37 of 47 images are right. The standard error is 0.060.
    best = {"accuracy": 37 / 47}
    assert within_chance({"accuracy": 35 / 47}, best, images=47)
    assert not within_chance({"accuracy": 34 / 47}, best, images=47)
    assert not within_chance({"accuracy": 35 / 47}, best, images=4700)
    # One image more is always within chance.
    assert within_chance({"accuracy": 46 / 47}, {"accuracy": 1.0}, images=47)
    assert within_chance({"accuracy": 45 / 47}, {"accuracy": 46 / 47}, images=47)
    assert not within_chance({"accuracy": 45 / 47}, {"accuracy": 1.0}, images=47)
