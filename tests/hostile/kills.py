"""Commands that are killed at random moments, and run again until they end.

    python -m tests.hostile.kills --kills 300

Each command writes to one output, alone or beside a second process that does the same. A clock may
jump by days meanwhile. After each kill, what stands under a final name must be complete, and a run
that is left alone must end with what the command promises. So must one after a run whose files
could not grow beyond a limit. The table tells what came of it; with a fault the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

import keras_cbam
from tests.hostile.fuzz import finish

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# A line of the package in a traceback.
OURS = f'File "{Path(keras_cbam.__file__).parent}/'
# How many kills one output takes before it is left alone.
MOST = 6
# A run that is left alone may take this many times its usual length, and at least a minute.
PATIENCE = 20
# A run that goes on has these. They need not be whole.
AT_WORK = (".state", ".partial-")
# How many runs of each command get a limit on the size of files. It is at least SMALLEST bytes, so
# that the log fits, and below the largest file.
LIMITED = 3
SMALLEST = 16_384


class Command(NamedTuple):
    """A command under attack.

    Attributes:
        arguments: of the folder of inputs and the output.
        again: what is added to go on with a run that was cut off.
        last: the file that is written last.
        share: of all kills, in hundredths.
    """

    arguments: Callable[[Path, Path], list[str]]
    again: tuple[str, ...]
    last: str
    share: int


SMALL = ("--backbone=MobileNet", "--backbone-option=alpha=0.25", "--weights=none")

COMMANDS = {
    "finetune": Command(
        lambda inputs, output: [
            *("finetune", f"{inputs}/images", f"--output={output}", *SMALL, "--image-size=32"),
            *("--batch-size=4", "--epochs=3", "--val-split=0.25", "--attention=spatial"),
            "--checkpoint-seconds=0",
        ],
        ("--resume",),
        "report.md",
        24,
    ),
    "export": Command(
        lambda inputs, output: [
            *("export", f"{inputs}/model.keras", f"--output={output}", "--runtimes=none"),
            *(f"--verification={inputs}/images", f"--calibration={inputs}/images"),
        ],
        (),
        "manifest.json",
        24,
    ),
    "explain": Command(
        lambda inputs, output: [
            *("explain", f"{inputs}/model.keras", f"{inputs}/images", f"--output={output}"),
        ],
        (),
        "index.html",
        24,
    ),
    "detect train": Command(
        lambda inputs, output: [
            *("detect", "train", f"{inputs}/boxes", f"--output={output}", *SMALL),
            *("--image-size=64x96", "--batch-size=2", "--epochs=2", "--head-layers=0"),
            "--checkpoint-seconds=0",
        ],
        ("--resume",),
        "report.md",
        8,
    ),
    "study": Command(
        lambda inputs, output: [
            *("study", "order", f"--data={inputs}/splits", f"--output={output}", "--seeds=1"),
            *("--network=WideResNet18-0.125", "--image-size=32", "--batch-size=4", "--images=16"),
            "--checkpoint-seconds=0",
        ],
        (),
        "order.md",
        20,
    ),
}


def make_inputs(folder: Path) -> None:
    """Write what the commands take, in a process of its own, for it computes."""
    from tests.detection.data import BOXES, write_voc
    from tests.drawn import write_images
    from tests.hostile.readers import _network

    rng = np.random.default_rng(0)
    write_images(folder / "images", rng, count=12)
    for split in ("train", "val"):
        write_images(folder / "splits" / split, rng, count=8)
    write_voc(folder / "boxes", {"train": list(BOXES), "val": ["a", "d"]})
    _network().save(folder / "model.keras")
    (folder / "labels.txt").write_text("blue\nred\n")


def jump(rng: random.Random) -> None:
    """Make the clock that Python's `time.time` tells jump by up to ten days, back and forth.

    The package itself asks `time.monotonic`; the libraries that it calls may not.
    """
    real, shift = time.time, [0.0]

    def jumping() -> float:
        if rng.random() < 0.5:
            shift[0] = rng.uniform(-864_000, 864_000)
        return real() + shift[0]

    time.time = jumping
    time.time_ns = lambda: int(1e9 * jumping())


def start(
    arguments: list[str], told: Path, clock: int | None = None, room: int | None = None
) -> int:
    """Run a command in a fork of this process, which has imported all, and return its number.

    Args:
        arguments: those of the command line.
        told: the file that what it prints is added to.
        clock: seed of a clock that jumps.
        room: bytes beyond which no file grows.
    """
    process = os.fork()
    if process:
        # Whichever of the two is first: a signal to the group must find it.
        with contextlib.suppress(OSError):
            os.setpgid(process, process)
        return process
    code = 1
    try:
        os.setpgid(0, 0)
        # A shell starts what runs in the background with this signal ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        out = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (out, 1), (out, 2)):
            os.dup2(source, target)
        # Not those of whoever started this process, such as pytest.
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        if clock is not None:
            jump(random.Random(clock))
        if room is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        from keras_cbam.cli import main

        sys.argv = ["keras-cbam", *arguments]
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:  # noqa: BLE001, as the interpreter would end
        import traceback

        traceback.print_exc()
    finally:
        # Nothing may lead from here into what the parent had to do.
        for number in set(SIGNALS) - {signal.SIGKILL}:
            signal.signal(number, signal.SIG_IGN)
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def wait(process: int, seconds: float) -> int | None:
    """The exit code of a process, negative for a signal; `None` if it goes on."""
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.02)


def tracebacks(told: Path) -> list[str]:
    """The tracebacks that commands printed.

    Leaves out what Python reports as ignored, since the command goes on. Leaves out tracebacks
    without a line of the package, since a library in C printed them.
    """
    found, block = [], None
    lines = ["", *told.read_text(errors="replace").splitlines()]
    for before, line in itertools.pairwise(lines):
        if line.startswith("Traceback") and "Exception ignored" not in before:
            block = []
            found.append(block)
        if block is not None:
            block.append(line)
            # The first line after it that is not indented names the exception.
            if line and not line.startswith((" ", "Traceback")):
                block = None
    return ["\n".join(block) for block in found if any(OURS in line for line in block)]


def incomplete(output: Path) -> Iterator[str]:
    """What stands under a final name and is not whole, in words."""
    from keras_cbam.errors import InputError
    from keras_cbam.export.proof.manifest import MANIFEST, read_manifest, why_changed

    for path in sorted(output.rglob("*")) if output.exists() else ():
        inside = path.relative_to(output).parts
        if path.is_dir() or any(part.startswith(AT_WORK) for part in inside):
            continue
        try:
            WHOLE.get(path.suffix, lambda path: None)(path)
        except Exception as error:  # noqa: BLE001, whatever says that it is not whole
            yield f"{path.relative_to(output)}: {type(error).__name__}: {error}"
    if (output / MANIFEST).exists():
        try:
            artifacts = read_manifest(output).artifacts
        except InputError as error:
            yield str(error)
            return
        for entry in artifacts:
            if changed := why_changed(output / entry.name, entry.sha256, entry.bytes):
                yield f"{entry.name}: {changed}"


def _not_empty(path: Path) -> None:
    if not path.stat().st_size:
        raise ValueError("nothing in it")


def _archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if (bad := archive.testzip()) is not None:
            raise ValueError(f"{bad} is damaged")


def _picture(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        image.load()


# By suffix; a lock, which has none, is empty.
WHOLE: dict[str, Callable[[Path], object]] = {
    **dict.fromkeys((".html", ".md", ".onnx", ".svg", ".tflite", ".txt"), _not_empty),
    ".json": lambda path: json.loads(path.read_text()),
    ".keras": _archive,
    ".npz": _archive,
    ".png": _picture,
    ".jpg": _picture,
}


@dataclass
class Tally:
    """What came of one command."""

    length: float = 0.0
    kills: int = 0
    outputs: int = 0
    rivals: int = 0
    jumps: int = 0
    limited: int = 0
    ends: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def attack(name: str, kills: int, inputs: Path, folder: Path, rng: random.Random) -> Tally:
    """Kill a command so many times, and let it end after every few."""
    command, tally = COMMANDS[name], Tally()
    whole = folder / "whole"
    begun = time.monotonic()
    process = start(command.arguments(inputs, whole), folder / "whole.txt")
    if wait(process, 600) != 0:
        raise RuntimeError((folder / "whole.txt").read_text()[-2000:])
    tally.length = time.monotonic() - begun
    expected = {path.name for path in whole.iterdir()}
    largest = max(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    while tally.limited < LIMITED or tally.kills < kills:
        output, told = folder / f"out{tally.outputs}", folder / f"out{tally.outputs}.txt"
        tally.outputs += 1
        arguments = command.arguments(inputs, output)
        if tally.limited < LIMITED:
            code = _limit(arguments, told, tally, largest, rng)
            tally.faults += [f"{output.name}: {each}" for each in incomplete(output)]
            if code == 0 and {path.name for path in output.iterdir()} != expected:
                tally.faults.append(f"{output.name}: it ended with 0, and files are missing")
            arguments = [*arguments, *command.again]
        else:
            arguments = _kill_some(command, inputs, output, told, tally, kills, rng)
        # A run that had ended is refused; a command that does not go on does all anew.
        refused = bool(command.again) and (output / command.last).exists()
        process = start(arguments, told)
        code = wait(process, max(60.0, PATIENCE * tally.length))
        end(process)
        if code != (2 if refused else 0):
            tally.faults.append(f"{output.name}: left alone, it ended with {code}")
        left = {path.name for path in output.iterdir()} if output.exists() else set()
        if refused:
            # Nothing is written, so what another process was at is not removed either.
            left = {name for name in left if not name.startswith(".partial-")}
        if left != expected:
            tally.faults.append(f"{output.name}: {sorted(left)}, expected {sorted(expected)}")
        tally.faults += [f"{output.name}: {each}" for each in incomplete(output)]
        tally.faults += [f"{output.name}: {each}" for each in tracebacks(told)]
        shutil.rmtree(output, ignore_errors=True)
        print(f"{name}: {tally.kills} kills, {len(tally.faults)} faults", flush=True)
    return tally


def _limit(
    arguments: list[str], told: Path, tally: Tally, largest: int, rng: random.Random
) -> int | None:
    """Run a command whose files cannot grow beyond a limit, and return its exit code."""
    tally.limited += 1
    room = round(math.exp(rng.uniform(math.log(SMALLEST), math.log(max(largest, SMALLEST + 1)))))
    process = start(arguments, told, room=room)
    code = wait(process, max(60.0, PATIENCE * tally.length))
    end(process)
    tally.ends[str(code)] += 1
    said = told.read_text(errors="replace").count("keras-cbam: ")
    if (code, said) not in ((0, 0), (2, 1)):
        tally.faults.append(f"limited to {room} bytes it ended with {code}, in {said} sentences")
    return code


def _kill_some(
    command: Command,
    inputs: Path,
    output: Path,
    told: Path,
    tally: Tally,
    kills: int,
    rng: random.Random,
) -> list[str]:
    """Kill a command a few times, and return the arguments to go on with."""
    arguments = command.arguments(inputs, output)
    for _ in range(min(MOST, kills - tally.kills)):
        if not _kill(arguments, told, tally, rng):
            break
        tally.faults += [f"{output.name}: {each}" for each in incomplete(output)]
        if (output / command.last).exists():
            break
        arguments = [*command.arguments(inputs, output), *command.again]
    return arguments


def _kill(arguments: list[str], told: Path, tally: Tally, rng: random.Random) -> bool:
    """Start a command once or twice, and kill it; whether a signal ended it."""
    clocks = [rng.randrange(2**32) if rng.random() < 0.25 else None]
    if rng.random() < 0.2:
        clocks.append(None)
        tally.rivals += 1
    tally.jumps += clocks[0] is not None
    processes = [start(arguments, told, clock) for clock in clocks]
    killed = False
    for process in processes:
        code = wait(process, rng.uniform(0, tally.length) / len(processes))
        # A run is refused beside another one, and where one has ended.
        allowed = {0, 2}
        if code is None:
            send = os.killpg if rng.random() < 0.5 else os.kill
            number = rng.choice(SIGNALS)
            send(process, number)
            allowed |= {-number, 128 + number}
            code = wait(process, max(60.0, PATIENCE * tally.length))
            # It may have ended of itself meanwhile.
            killed = killed or code != 0
            tally.kills += code != 0
        end(process)
        tally.ends[str(code)] += 1
        if code is None:
            tally.faults.append("it did not end after a signal")
        elif code not in allowed:
            tally.faults.append(f"it ended with {code}")
    return killed


def end(process: int) -> None:
    """End a process, and what it had started and did not end."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process, 0)


def table(tallies: dict[str, Tally]) -> str:
    """The tallies as Markdown."""
    columns = (
        *("command", "a run, s", "kills", "outputs", "beside another", "clocks that jump"),
        *("limited files", "exit codes", "faults"),
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, tally in tallies.items():
        ends = ", ".join(f"{code}: {count}" for code, count in sorted(tally.ends.items()))
        counts = (tally.kills, tally.outputs, tally.rivals, tally.jumps, tally.limited)
        cells = [name, f"{tally.length:.0f}", *map(str, counts), ends, str(len(tally.faults))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run, and print the faults and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300, help="Of all commands together.")
    parser.add_argument("--command", action="append", choices=COMMANDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inputs", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inputs:
        make_inputs(given.inputs)
        return
    # Imported once; nothing is computed here, so that a fork can.
    import keras_cbam.cli.app
    import keras_cbam.detection
    import keras_cbam.export
    import keras_cbam.studies
    import keras_cbam.visualize  # noqa: F401

    names = given.command or list(COMMANDS)
    tallies = {}
    with tempfile.TemporaryDirectory(prefix="kills-") as root:
        inputs = Path(root) / "inputs"
        inputs.mkdir()
        own = [sys.executable, "-m", "tests.hostile.kills", f"--inputs={inputs}"]
        subprocess.run(own, check=True)
        shares = sum(COMMANDS[name].share for name in names)
        for name in names:
            folder = Path(root) / name.replace(" ", "-")
            folder.mkdir()
            count = round(given.kills * COMMANDS[name].share / shares)
            rng = random.Random(f"{given.seed} {name}")
            tallies[name] = attack(name, count, inputs, folder, rng)
    finish({name: tally.faults for name, tally in tallies.items()}, table(tallies))


if __name__ == "__main__":
    main()
