"""The operations that Arm's compiler maps to an Ethos-U. Runs in a child process."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from typing import Any

ACCELERATOR = "ethos-u55-128"


def main(path: str) -> dict[str, Any]:
    """Return the share of mapped operations, and kind and reason of the others.

    Raises:
        RuntimeError: if the compiler does not report the share.
    """
    options = ["--accelerator-config", ACCELERATOR, "--show-cpu-operations"]
    command = [sys.executable, "-P", "-m", "ethosu.vela", path, *options]
    command += ["--output-dir", tempfile.gettempdir()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    share = re.search(r"NPU operators = (\d+) \((.*)\)", told)
    if share is None:
        lines = [line for line in told.splitlines() if line.strip()]
        raise RuntimeError(f"vela gives no mapping: {lines[-1] if lines else ''}")
    outside = re.findall(
        r"^Warning \(supported operators\) operator: (\w+),.*\nReason: ([^.\n]*)",
        told,
        re.MULTILINE,
    )
    kinds = [f"{kind} ({why})" for kind, why in outside]
    return {"inside": f"{share[2]} of the operations", "outside": kinds}
