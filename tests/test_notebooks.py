"""The notebooks run, each from its first cell to its last."""

from pathlib import Path

import pytest

from tests.backend import BACKEND

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="the notebooks export")


# They do what other tests do, at greater length.
@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
# Jupyter's own packages.
@pytest.mark.filterwarnings("default")
def test_runs(path, tmp_path):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    assert any(cell.get("outputs") for cell in notebook.cells), "committed without outputs"
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()  # An error in a cell is raised.
