"""Files of earlier versions still give the outputs that were stored with them."""

import keras
import numpy as np
import pytest

import keras_cbam
from tests.backend import BACKEND, quick_on
from tests.golden.write import COMPILED, EXPORT, FOLDER, INPUTS, OUTPUTS
from tests.layers.registry import numpy

VERSIONS = sorted(path.name for path in FOLDER.iterdir() if (path / INPUTS).exists())
MODELS = [
    f"{version}/{path.name}" for version in VERSIONS for path in (FOLDER / version).glob("*.keras")
]


@pytest.mark.backends
@pytest.mark.parametrize("name", MODELS)
def test_models_compute_what_they_did(name):
    path = FOLDER / name
    model = keras.saving.load_model(path)
    images = np.load(path.parent / INPUTS)
    with np.load(path.parent / OUTPUTS) as outputs:
        expected = outputs[path.stem]
    assert np.ptp(expected, axis=0).max() > 1e-2
    np.testing.assert_allclose(numpy(model(images)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.backends
@quick_on("tensorflow", "torch")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_compiled_model_trains_on(version):
    model = keras.saving.load_model(FOLDER / version / COMPILED)
    images = np.load(FOLDER / version / INPUTS)
    steps = int(numpy(model.optimizer.iterations))
    model.fit(images, np.array([0, 1, 0]), verbose=0)
    assert int(numpy(model.optimizer.iterations)) == steps + 1 > 1


@pytest.mark.parametrize("version", VERSIONS)
def test_no_file_is_lost(version):
    with np.load(FOLDER / version / OUTPUTS) as outputs:
        assert {path.stem for path in (FOLDER / version).glob("*.keras")} == set(outputs.files)


def test_the_newest_files_have_each_public_layer():
    assert VERSIONS[0] == "0.1.0"
    models = [keras.saving.load_model(path) for path in (FOLDER / VERSIONS[-1]).glob("*.keras")]
    found = {type(layer).__name__ for model in models for layer in model.layers}
    public = (getattr(keras_cbam, name) for name in keras_cbam.__all__)
    kinds = {each for each in public if isinstance(each, type)}
    assert found >= {kind.__name__ for kind in kinds if issubclass(kind, keras.layers.Layer)}


@pytest.mark.skipif(BACKEND != "tensorflow", reason="files are the same everywhere")
@pytest.mark.parametrize("version", VERSIONS)
def test_exports_verify(version):
    from keras_cbam.export import verify

    report = verify(FOLDER / version / EXPORT)
    assert report.artifacts
    assert report.verified
