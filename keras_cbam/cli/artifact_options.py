"""What commands that write or verify artifacts are asked."""

from __future__ import annotations

from keras_cbam.config.names import FURTHER_RUNTIMES, PRECISIONS

PRECISIONS_HELP = f"Of {', '.join(PRECISIONS)}, or all; by default float32, and int8 if calibrated."
REPORT_HELP = "Tell where the operations run and what falls back, and write report.md."
RUNTIMES_HELP = (
    f"Verify in these too, of {', '.join(FURTHER_RUNTIMES)}, or none; by default those installed."
)


def precision_names(given: str | None) -> tuple[str, ...] | None:
    """The precisions that an option names, separated by commas, or all; `None` for the default."""
    if given is None:
        return None
    return PRECISIONS if given == "all" else tuple(given.split(","))


def runtime_names(given: str | None) -> tuple[str, ...] | None:
    """The runtimes that an option names, separated by commas; `None` for those installed."""
    if given is None:
        return None
    return () if given == "none" else tuple(given.split(","))
