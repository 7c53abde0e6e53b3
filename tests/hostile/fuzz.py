"""Mutants of every file that the package reads, for some minutes.

    python -m tests.hostile.fuzz --minutes 30

Each reader has a process of its own, which is started anew where it dies. The table tells what
became of the mutants. One that is neither read nor refused in one sentence is a fault, and with
a fault the exit code is 1. `--reader NAME --seed S --first N --mutants 1` does mutant N again.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

GOOD = ("read", "refused")
# A reader that is silent for so long is stopped, in seconds: it hangs where no signal is heard.
SILENCE = 90.0
# Resident memory of a reader, in MiB. TensorFlow alone takes about 700.
MEMORY = 3000
# How long a reader has its turn before the next, in seconds.
TURN = 120.0


@dataclass
class Tally:
    """What became of the mutants of one reader."""

    outcomes: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    memory: int = 0

    def add(self, number: int, outcome: str, detail: str = "", memory: int = 0) -> None:
        """Count a mutant."""
        # It is the peak of the process, so only the mutant that raised it is to blame.
        if outcome in GOOD and memory > max(MEMORY, self.memory):
            outcome = "memory"
        self.outcomes[outcome] += 1
        self.memory = max(self.memory, memory)
        if outcome not in GOOD:
            self.faults.append(f"mutant {number}: {outcome}\n{detail}")


def attack(name: str, seed: int, first: int, last: int, tally: Tally, until: float) -> int:
    """Give a reader the mutants of some numbers, and return that of the first not given."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        command = [sys.executable, "-m", "tests.hostile.child", name]
        command += [str(seed), str(first), str(last), folder]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TMPDIR": folder}
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=environment,
        ) as child:
            lines: queue.Queue[str | None] = queue.Queue()
            threading.Thread(target=_pass_on, args=(child.stdout, lines), daemon=True).start()
            begun = done = first
            while True:
                try:
                    line = lines.get(timeout=SILENCE)
                except queue.Empty:
                    child.kill()
                    tally.add(begun, "hang")
                    return begun + 1
                if line is None:
                    break
                row = json.loads(line) if line.startswith("{") else {}
                if "begun" in row:
                    begun = row["begun"]
                elif "outcome" in row:
                    tally.add(**row)
                    done = row["number"] + 1
                    if time.monotonic() > until:
                        child.kill()
                        return done
        if done < last and child.returncode != 0:
            tally.add(begun, "died", f"exit code {child.returncode}")
            return begun + 1
        return done


def _pass_on(stream, lines: queue.Queue) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def fuzz(
    names: list[str], seed: int, first: int, mutants: int | None, minutes: float, workers: int
) -> dict[str, Tally]:
    """Attack readers in turns of `TURN` seconds, until each had its mutants or the time is up."""
    until = time.monotonic() + 60 * minutes
    tallies = {name: Tally() for name in names}
    places = dict.fromkeys(names, first)

    def turns(name: str) -> None:
        last = sys.maxsize if mutants is None else first + mutants
        end = min(until, time.monotonic() + TURN)
        while places[name] < last and time.monotonic() < end:
            places[name] = attack(name, seed, places[name], last, tallies[name], end)

    with ThreadPoolExecutor(workers) as pool:
        while True:
            before = dict(places)
            list(pool.map(turns, names))
            if time.monotonic() > until or places == before:
                return tallies


def table(tallies: dict[str, Tally]) -> str:
    """The tallies as Markdown."""
    bad = sorted({outcome for tally in tallies.values() for outcome in tally.outcomes} - set(GOOD))
    columns = ["mutants", *GOOD, *(bad or ["faults"]), "peak memory, MiB"]
    lines = [f"| reader | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    rows = {**tallies, "all": _sum(tallies)}
    for name, tally in rows.items():
        cells = [sum(tally.outcomes.values()), *(tally.outcomes[each] for each in GOOD)]
        cells += [tally.outcomes[each] for each in bad] or [0]
        lines.append(f"| {name} | {' | '.join(f'{cell:,}' for cell in (*cells, tally.memory))} |")
    return "\n".join(lines)


def finish(faults: Mapping[str, Sequence[str]], text: str) -> NoReturn:
    """Print the first faults of each name and the table, and exit with 1 if there are any."""
    for name, told in faults.items():
        for fault in told[:20]:
            print(f"{name}, {fault}\n")
    print(text)
    sys.exit(any(faults.values()))


def _sum(tallies: dict[str, Tally]) -> Tally:
    whole = Tally(memory=max(tally.memory for tally in tallies.values()))
    for tally in tallies.values():
        whole.outcomes += tally.outcomes
    return whole


def main() -> None:
    """Run, print the faults and the table."""
    # Where the readers are is known to the children alone, which import Keras.
    from tests.hostile.readers import READERS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--reader", action="append", choices=READERS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="Number of the first mutant.")
    parser.add_argument("--mutants", type=int, help="Of each reader; by default until the time.")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    tallies = fuzz(
        given.reader or list(READERS),
        given.seed,
        given.first,
        given.mutants,
        given.minutes,
        given.workers,
    )
    finish({name: tally.faults for name, tally in tallies.items()}, table(tallies))


if __name__ == "__main__":
    # The children find this package, wherever this was started.
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    main()
