"""The options of commands that write or verify artifacts."""

from __future__ import annotations

from keras_cbam.config.names import FURTHER_RUNTIMES, PRECISIONS

PRECISIONS_HELP = (
    f"Precisions, separated by commas: {', '.join(PRECISIONS)}, or all; by default float32, and "
    "int8 if calibrated."
)
REPORT_HELP = "Show where the operations run and which fall back, and write report.md."
RUNTIMES_HELP = (
    f"Further runtimes to verify in, separated by commas: {', '.join(FURTHER_RUNTIMES)}, or none; "
    "by default those installed."
)


def precision_names(given: str | None) -> tuple[str, ...] | None:
    """Return the precisions in an option, separated by commas, or all; `None` for the default."""
    if given is None:
        return None
    return PRECISIONS if given == "all" else tuple(given.split(","))


def runtime_names(given: str | None) -> tuple[str, ...] | None:
    """Return the runtimes in an option, separated by commas; `None` for those installed."""
    if given is None:
        return None
    return () if given == "none" else tuple(given.split(","))
