"""Mutants of files: bytes, JSON and archives, each by a random generator."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

Rng = np.random.Generator


def _nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


# What stands where something else was expected.
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 3, 2**31, 2**70, -(2**63), 0.5, 1e308, float("inf"), float("nan")),
    *("", "x", "x" * 5000, "../../../tmp/x", "/etc/passwd", "a\nb", "\x1b[31m", "\ud800", "None"),
    *([], {}, [[]], [1, "a", None], {"a": {}}, _nested(60)),
)
# Integers that sizes and offsets do not have.
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def of_bytes(data: bytes, rng: Rng) -> bytes:
    """A mutant of any file."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        change = BYTE_CHANGES[int(rng.integers(len(BYTE_CHANGES)))]
        place = int(rng.integers(len(changed) + 1))
        change(changed, place, rng)
    return bytes(changed)


def _cut(data: bytearray, place: int, rng: Rng) -> None:
    del data[place:]


def _flip(data: bytearray, place: int, rng: Rng) -> None:
    for at in rng.integers(max(len(data), 1), size=int(rng.integers(1, 9))):
        if at < len(data):
            data[at] ^= 1 << int(rng.integers(8))


def _extreme(data: bytearray, place: int, rng: Rng) -> None:
    size = int(rng.choice([1, 2, 4, 8]))
    value = EXTREMES[int(rng.integers(len(EXTREMES)))] % 256**size
    data[place : place + size] = value.to_bytes(size, rng.choice(["little", "big"]))


def _insert(data: bytearray, place: int, rng: Rng) -> None:
    data[place:place] = rng.bytes(int(rng.integers(1, 64)))


def _drop(data: bytearray, place: int, rng: Rng) -> None:
    del data[place : place + int(rng.integers(1, 64))]


def _repeat(data: bytearray, place: int, rng: Rng) -> None:
    piece = data[place : place + int(rng.integers(1, 512))]
    data[place:place] = piece * int(rng.integers(1, 8))


BYTE_CHANGES: tuple[Callable[[bytearray, int, Rng], None], ...] = (
    _cut,
    _flip,
    _flip,
    _extreme,
    _extreme,
    _insert,
    _drop,
    _repeat,
)


def of_json(data: bytes, rng: Rng) -> bytes:
    """A mutant of a JSON file: mostly of its values, sometimes of its bytes."""
    if rng.random() < 0.2:
        return of_bytes(data, rng)
    value = json.loads(data)
    for _ in range(int(rng.integers(1, 3))):
        value = _changed(value, rng)
    return json.dumps(value).encode()


def _changed(value: Any, rng: Rng) -> Any:
    """The value with one of its parts replaced, left out, doubled or renamed."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
        return copy.deepcopy(ODD[int(rng.integers(len(ODD)))])
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[int(rng.integers(len(keys)))]
    kind = rng.random()
    if kind < 0.7:
        value[key] = _changed(value[key], rng)
    elif kind < 0.85:
        del value[key]
    elif isinstance(value, list):
        value.extend(copy.deepcopy(value[key]) for _ in range(int(rng.choice([1, 50]))))
    else:
        value[str(ODD[int(rng.integers(len(ODD)))])] = value.pop(key)
    return value


def of_zip(data: bytes, rng: Rng) -> bytes:
    """A mutant of an archive: of a member, of the list of members, or of its bytes."""
    if rng.random() < 0.2:
        return of_bytes(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = list(members)[int(rng.integers(len(members)))]
    kind = rng.random()
    if kind < 0.75:
        change = of_json if name.endswith(".json") else of_bytes
        members[name] = change(members[name], rng)
    elif kind < 0.85:
        members[f"../{name}"] = members.pop(name)
    elif kind < 0.92:
        members[name] = bytes(2**24)
    else:
        del members[name]
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return written.getvalue()
