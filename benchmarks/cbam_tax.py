"""The CBAM tax: the time of a network with CBAM over that of the same network without, minus one.

    python benchmarks/cbam_tax.py
    python benchmarks/cbam_tax.py --networks MobileNetV2 --rows litert-int8 --threads 1 --runs 5

All networks of a row run in one process, in turn. "CBAM" is the package's, "plain" the formulation
that others write: in rows of Keras the usual one (`plain_cbam.py`), in rows of PyTorch, which have
no other, the authors' (`torch_cbam.py`). The floor is what memory allows: each map that attention
refines is read three times and written once (in training nine times and twice), at the bandwidth of
a copy of that map by one thread, measured in the same process.

Inference is of one image of 224x224, training of 8 images of 128x128. Rows for which something is
not installed are left out, and a row that fails says why in place of its figures: the exit status
is then 1. Prints Markdown.
"""

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import cbam_tax_keras
import cbam_tax_torch
from alternate import alternate, tax
from cbam_tax_row import NONE, OURS, PLAIN, floor

NETWORKS = ("ResNet50", "MobileNetV2")
ROWS = {**cbam_tax_keras.ROWS, **cbam_tax_torch.ROWS}
# What TensorFlow, JAX and PyTorch take the size of their pools of threads from, when they load.
POOLS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "PJRT_NPROC", "OMP_NUM_THREADS")
# Processors that a row may occupy beyond its threads, the interpreter's own among them.
BEYOND = 0.25
TRACEBACK = "Traceback (most recent call last):"


def measure(builder: str, name: str, threads: int, runs: int | None) -> None:
    """In a process of its own: one row of the table."""
    row = ROWS[name]
    # Nothing that reads these is loaded yet.
    os.environ |= {"KERAS_BACKEND": row.backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    os.environ |= dict.fromkeys(POOLS, str(threads))
    networks = row.networks(builder, row.size)
    with tempfile.TemporaryDirectory() as folder:
        steps = row.steps(networks.models, Path(folder), threads)
        alternate(steps, 0)  # what compiles at the first call may use more threads
        start, busy = time.perf_counter(), time.process_time()
        seconds = alternate(steps, runs or row.runs, warm=0)
        occupied = (time.process_time() - busy) / (time.perf_counter() - start)
    if occupied > threads + BEYOND:
        raise SystemExit(f"{name}: occupied {occupied:.1f} processors with {threads} threads")
    cells = []
    for kind in (OURS, PLAIN):
        found = tax(seconds, kind, NONE) if kind in seconds else ()
        cells += [f"{each:+.1%}" for each in found] or ["", ""]
    least = floor(row, networks.maps) / seconds[NONE].min()
    print(f"| {builder} | {name} | {threads} | {' | '.join(cells)} | {least:+.1%} |")


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """Why a process gave no figures, in one line: what it raised, or what it said last."""
    lines = [each for each in done.stderr.splitlines() if each.strip()] or ["it said nothing"]
    line = lines[-1]
    if TRACEBACK in lines:
        # Below the frames of the last traceback, which are indented, stands the exception.
        last = len(lines) - 1 - lines[::-1].index(TRACEBACK)
        line = next((each for each in lines[last + 1 :] if not each.startswith(" ")), line)
    if done.returncode < 0:
        line = f"ended by {signal.Signals(-done.returncode).name}: {line}"
    return line.strip().replace("|", "/")


def installed(rows: Sequence[str]) -> list[str]:
    """The rows that can be measured here; of the others says which and why."""
    missing: dict[str, list[str]] = {}
    for name in rows:
        for module in ROWS[name].needs:
            if importlib.util.find_spec(module) is None:
                missing.setdefault(module, []).append(name)
                break
    for module, names in missing.items():
        print(f"Without {', '.join(names)}, since {module} is not installed.\n")
    return [name for name in rows if not any(name in names for names in missing.values())]


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, a process for each row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=tuple(ROWS))
    parser.add_argument(
        "--threads",
        help="of every row; by default one, then as many as there are processors",
        nargs="+",
        type=int,
        default=sorted({1, processors()}),
    )
    parser.add_argument("--runs", type=int, help="instead of each row's own number")
    parser.add_argument(
        "--measure",
        help="the first network, row and number alone, here: with all that is said and raised",
        action="store_true",
    )
    given = parser.parse_args(arguments)
    if given.measure:
        measure(given.networks[0], given.rows[0], given.threads[0], given.runs)
        return
    rows = installed(given.rows)
    print("| network | runtime | threads | CBAM, min | median | plain, min | median | floor |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    failed = False
    for builder in given.networks:
        for name in rows:
            for threads in given.threads:
                command = [sys.executable, __file__, "--measure", "--networks", builder]
                command += ["--rows", name, "--threads", str(threads)]
                command += ["--runs", str(given.runs)] if given.runs else []
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    failed = True
                    print(f"| {builder} | {name} | {threads} | no figure: {reason(done)} |||||")
                else:
                    # What converters print stands before it.
                    print(done.stdout.splitlines()[-1])
                sys.stdout.flush()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
