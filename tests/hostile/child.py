"""One reader against many mutants, within limits."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_cbam.errors import InputError, MissingPackageError
from tests.hostile.readers import READERS, Reader

# Python's audit events that reach out of a process.
REACHING = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect")
# Those of them that start a process.
STARTING = ("os.exec", "os.posix_spawn", "subprocess.Popen")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Hang(BaseException):
    """Raised where a reader does not end."""


class Watch:
    """Notes what a reader does beyond reading, outside of one folder.

    Python reports it by audit events; they cannot be switched off again.
    """

    def __init__(self, folder: Path, starts: bool):
        self.folder = str(folder)
        self.reaching = tuple(each for each in REACHING if not (starts and each in STARTING))
        self.seen: list[str] = []
        self.active = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple) -> None:
        if not self.active:
            return
        if event in self.reaching:
            self.seen.append(f"{event} {arguments[0]!r}")
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
            path = str(arguments[0])
            # A folder is opened for a file without a name, which is gone when it is closed.
            if os.path.isdir(path):
                return
            if not path.startswith((self.folder, "/dev/")) and not path.isdigit():
                self.seen.append(f"open {path}")


def _alarm(*_: object) -> None:
    raise Hang


def attack(name: str, seed: int, numbers: range, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a row before each mutant, and one after it: what became of it, and more if bad."""
    reader = READERS[name]
    root = folder / name
    root.mkdir(parents=True, exist_ok=True)
    targets = reader.make(root)
    originals = [path.read_bytes() for path in targets]
    # Whole files are read, or their mutants would say nothing.
    reader.read(root)
    watch = Watch(folder, reader.starts)
    signal.signal(signal.SIGALRM, _alarm)
    for number in numbers:
        rng = np.random.default_rng((seed, number))
        which = int(rng.integers(len(targets)))
        mutant = reader.mutate(originals[which], rng)
        yield {"begun": number}
        targets[which].write_bytes(mutant)
        outcome, detail = _outcome(reader, root, watch)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        yield {"number": number, "outcome": outcome, "detail": detail, "memory": memory}
        targets[which].write_bytes(originals[which])


def _outcome(reader: Reader, root: Path, watch: Watch) -> tuple[str, str]:
    """What becomes of the files in a folder, and more about it if that is bad."""
    outcome, detail = "read", ""
    signal.setitimer(signal.ITIMER_REAL, reader.seconds)
    watch.seen.clear()
    watch.active = True
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
    finally:
        watch.active = False
        signal.setitimer(signal.ITIMER_REAL, 0)
    if watch.seen:
        outcome, detail = "reached out", "; ".join(watch.seen[:5])
    return outcome, detail


def main() -> None:
    """Print the rows as JSON."""
    name, seed, first, last, folder = sys.argv[1:]
    for row in attack(name, int(seed), range(int(first), int(last)), Path(folder)):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
