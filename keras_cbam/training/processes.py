"""Data-parallel training in several processes, each on its share of every batch, on JAX."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_cbam.errors import InputError, LostProcessError

# The environment variables that `keras.distribution.initialize` reads.
VARIABLES = (
    "KERAS_DISTRIBUTION_JOB_ADDRESSES",
    "KERAS_DISTRIBUTION_PROCESS_ID",
)
# Parts of the messages that the runtime raises when another process is gone.
LOST = ("Gloo", "coordination service", "Connection closed by peer", "Connection reset by peer")


@dataclass(frozen=True)
class Processes:
    """The processes that train one model, as this process sees them.

    Args:
        index: index of this process, from 0. Only the first process writes files.
        count: number of processes.
    """

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.index == 0

    def wait(self, name: str) -> None:
        """Wait until all processes have called this method with the same name."""
        if self.count > 1:
            from jax.experimental import multihost_utils

            with told_if_lost():
                multihost_utils.sync_global_devices(name)

    def agree(self, what: str, value: Any) -> None:
        """Raise an `InputError` unless all processes have the same value, made of JSON types."""
        digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
        all_digests = self.gather(np.frombuffer(digest, "uint8")[None])
        if (all_digests != all_digests[0]).any():
            raise InputError(
                f"The processes of this run do not have the same {what}. Expected one folder of "
                "images and one of results that all of them see."
            )

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows of all processes, in their order; each must pass as many rows."""
        if self.count == 1:
            return rows
        from jax.experimental import multihost_utils

        with told_if_lost():
            return np.asarray(multihost_utils.process_allgather(rows)).reshape(-1, *rows.shape[1:])

    def first_of(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the first process's arrays, which have the shapes and types of `arrays`.

        Values that each process computes by itself may differ in the last bit between hosts.
        """
        return [self.gather(array[None])[0] for array in arrays]


ALONE = Processes()


def join_processes(hosts: str | None = None, process_id: int | None = None) -> Processes:
    """Join the other processes of a run, and share every batch with them from now on.

    Call this function once, before anything is computed.

    Args:
        hosts: the address of each process, `host:port`, separated by commas. All processes connect
            to the first address. Defaults to the environment variable
            `KERAS_DISTRIBUTION_JOB_ADDRESSES`; without it, the process trains alone.
        process_id: index of this process, from 0. Defaults to the environment variable
            `KERAS_DISTRIBUTION_PROCESS_ID`.

    Returns:
        A `Processes` with the index of this process and the number of processes.

    Raises:
        InputError: if the backend is not JAX, or if `hosts` and `process_id` do not fit together.
    """
    hosts = hosts or os.environ.get(VARIABLES[0])
    if not hosts:
        if process_id is not None:
            raise InputError(
                "A process number goes with hosts, such as --hosts 10.0.0.1:1234,10.0.0.2:1234."
            )
        return ALONE
    addresses = [address.strip() for address in hosts.split(",")]
    count = len(addresses)
    if process_id is None:
        given = os.environ.get(VARIABLES[1], "")
        process_id = int(given) if given.isdecimal() else -1
    if not 0 <= process_id < count or not all(":" in address for address in addresses):
        raise InputError(
            "Expected hosts as host:port, one for each process, separated by commas, and a process "
            f"number below {count}. Received: hosts {hosts}, process number {process_id}"
        )
    if count == 1:
        return ALONE
    if keras.config.backend() != "jax":
        raise InputError(
            "Several processes train together on JAX alone; set KERAS_BACKEND=jax. "
            f"Received: {keras.config.backend()}"
        )
    # Pass only the first address: the others may be names that only their own hosts can resolve.
    keras.distribution.initialize(addresses[0], count, process_id)
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    return Processes(process_id, count)


@contextlib.contextmanager
def on_its_own() -> Iterator[None]:
    """Build and run models in this context without the other processes."""
    shared = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(shared)


@contextlib.contextmanager
def told_if_lost() -> Iterator[None]:
    """Raise a `LostProcessError` if the runtime reports that another process is gone."""
    try:
        yield
    except Exception as error:
        if any(sign in str(error) for sign in LOST):
            raise LostProcessError(
                "Another process of this run is gone. Start all of them again; finetune needs "
                "--resume."
            ) from error
        raise


def share(items: Any, index: int, count: int) -> Any:
    """Return the part of a sequence that belongs to process `index` of `count`, in order."""
    size = len(items) // count
    return items[index * size : (index + 1) * size]
