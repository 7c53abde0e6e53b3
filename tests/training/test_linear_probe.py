"""The linear probe, against scikit-learn's logistic regression."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_cbam.training import ImageBatches, build_classifier, read_image_folder
from keras_cbam.training.linear_probe import linear_probe
from keras_cbam.training.scores import Scorer
from tests.backend import quick, quick_on
from tests.drawn import vary
from tests.short_mobilenet import SHORT

sklearn = pytest.importorskip("sklearn.linear_model")
pytestmark = [
    pytest.mark.backends,
    quick_on("tensorflow", "torch"),
    pytest.mark.usefixtures("short_mobilenet"),
]


@pytest.mark.parametrize("balanced", quick([False, True], {True}))
def test_the_probe_is_the_logistic_regression(balanced, image_folder):
    """Weighted too: of one class there are a third as many images."""
    folder = read_image_folder(image_folder, val_split=0.25)
    if balanced:
        labels = folder.train.labels
        some = [*np.flatnonzero(labels == 0), *np.flatnonzero(labels == 1)[:3]]
        folder = replace(folder, train=folder.train.take(some)).balanced()
    model = vary(build_classifier(SHORT, 2, weights="none", image_size=32, options={"alpha": 0.25}))
    scorer = Scorer(model, lambda: model, image_size=32, batch_size=4)
    kernel, bias = linear_probe(scorer, folder.train, seed=0)
    pool = keras.Model(model.input, model.get_layer("pool").output)
    features = pool.predict(ImageBatches(folder.train, 32, 4), verbose=0)
    scaled = (features - features.mean(0)) / (features.std(0) + 1e-6)
    # The penalty of C = 0.1 on two columns is that of C = 0.2 on their difference.
    settings = {"class_weight": "balanced"} if balanced else {}
    regression = sklearn.LogisticRegression(C=0.2, max_iter=1000, **settings)
    expected = regression.fit(scaled, folder.train.labels)
    probabilities = expected.predict_proba(scaled)
    assert probabilities.std(0).min() > 0.1
    model.get_layer("probabilities").set_weights([kernel, bias])
    found = model.predict(ImageBatches(folder.train, 32, 4), verbose=0)
    np.testing.assert_allclose(found, probabilities, atol=0.02)
