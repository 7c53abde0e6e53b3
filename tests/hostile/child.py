"""One reader against many mutants, in a process of its own with limits."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np

from keras_cbam.errors import InputError, MissingPackageError
from tests.hostile.readers import READERS

# A reader that takes longer for one small file hangs, in seconds.
LIMIT = 20.0
# Python's audit events that reach out of a process.
REACHING = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Hang(BaseException):
    """Raised where a reader does not end."""


class Watch:
    """Notes what a reader does beyond reading, outside of one folder.

    Python reports it by audit events; they cannot be switched off again.
    """

    def __init__(self, folder: Path):
        self.folder = str(folder)
        self.seen: list[str] = []
        self.active = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple) -> None:
        if not self.active:
            return
        if event in REACHING:
            self.seen.append(f"{event} {arguments[0]!r}")
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
            path = str(arguments[0])
            if not path.startswith((self.folder, "/dev/")) and not path.isdigit():
                self.seen.append(f"open {path}")


def _alarm(*_: object) -> None:
    raise Hang


def main(name: str, seed: int, first: int, last: int, folder: Path) -> None:
    """Print a line of JSON for each mutant: its number, what became of it, and more if bad."""
    reader = READERS[name]
    root = folder / name
    root.mkdir(parents=True, exist_ok=True)
    targets = reader.make(root)
    originals = [path.read_bytes() for path in targets]
    watch = Watch(folder)
    signal.signal(signal.SIGALRM, _alarm)
    for number in range(first, last):
        rng = np.random.default_rng((seed, number))
        which = int(rng.integers(len(targets)))
        mutant = reader.mutate(originals[which], rng)
        print(json.dumps({"begun": number}), flush=True)
        targets[which].write_bytes(mutant)
        outcome, detail = "read", ""
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
        watch.active, watch.seen = True, []
        try:
            reader.read(root)
        except (InputError, MissingPackageError) as error:
            outcome = "refused"
            if len(str(error).splitlines()) != 1:
                outcome, detail = "not one sentence", str(error)
        except Hang:
            outcome = "hang"
        except Exception:  # noqa: BLE001, whatever it is, it is a fault
            outcome, detail = "traceback", traceback.format_exc()[-1500:]
        watch.active = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        if watch.seen:
            outcome, detail = "reached out", "; ".join(watch.seen[:5])
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        row = {"number": number, "outcome": outcome, "detail": detail, "memory": memory}
        print(json.dumps(row), flush=True)
        targets[which].write_bytes(originals[which])


if __name__ == "__main__":
    own = tempfile.mkdtemp(prefix="hostile-") if len(sys.argv) < 6 else sys.argv[5]
    main(sys.argv[1], *map(int, sys.argv[2:5]), Path(own))
