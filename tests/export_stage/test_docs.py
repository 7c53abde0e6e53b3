"""docs/export.md lists the table of formats and precisions as it is."""

from keras_cbam.export import ARTIFACTS
from tests.backend import ROOT


def row(artifact):
    """One line of the table, of an artifact's entry."""
    asked = artifact.tolerance
    bounds = [
        asked.largest_error and f"error <= {asked.largest_error:g}",
        f"agreement >= {asked.agreement:g}",
        asked.accuracy_drop and f"accuracy drop <= {asked.accuracy_drop:g}",
        asked.sqnr and f"SQNR >= {asked.sqnr:g}",
    ]
    cells = (
        artifact.format,
        artifact.precision,
        f"`{artifact.name}`",
        artifact.runtime,
        "yes" if artifact.calibrated else "no",
        ", ".join(bound for bound in bounds if bound),
        ", ".join(f"`{option}`" for option in artifact.options),
    )
    return "| " + " | ".join(cells) + " |"


def test_the_table_is_the_one_of_the_package():
    text = (ROOT / "docs" / "export.md").read_text()
    assert "\n".join(map(row, ARTIFACTS)) in text
