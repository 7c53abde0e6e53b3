"""The operations that Arm's compiler maps to an Ethos-U. Runs in a child process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ACCELERATOR = "ethos-u55-128"


def main(path: str, answer: str) -> None:
    """Write the share of mapped operations, and kind and reason of the others, as JSON.

    Raises:
        RuntimeError: if the compiler does not report the share.
    """
    options = ["--accelerator-config", ACCELERATOR, "--show-cpu-operations"]
    command = [sys.executable, "-P", "-m", "ethosu.vela", path, *options]
    # The caller removes this folder, even if this process is killed.
    command += ["--output-dir", str(Path(answer).parent)]
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
    Path(answer).write_text(json.dumps((share[2], kinds)))
