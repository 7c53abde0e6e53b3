"""The processes that train one model together: each on its share of every batch, on JAX."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_cbam.errors import InputError, LostProcessError

# Those that `keras.distribution.initialize` reads.
VARIABLES = (
    "KERAS_DISTRIBUTION_JOB_ADDRESSES",
    "KERAS_DISTRIBUTION_PROCESS_ID",
)
# What the runtime says where another process is gone.
LOST = ("Gloo", "coordination service", "Connection closed by peer", "Connection reset by peer")


class Processes:
    """This process among those that train one model.

    Args:
        index: which one this is, from 0. The first alone writes files.
        count: how many there are.
    """

    def __init__(self, index: int = 0, count: int = 1):
        self.index = index
        self.count = count

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.index == 0

    def wait(self, name: str) -> None:
        """Wait until all processes have come here, with the same name."""
        if self.count > 1:
            from jax.experimental import multihost_utils

            with told_if_lost():
                multihost_utils.sync_global_devices(name)

    def agree(self, what: str, value: Any) -> None:
        """Raise an `InputError` unless all processes have the same value, which JSON keeps."""
        digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
        all_digests = self.gather(np.frombuffer(digest, "uint8")[None])
        if (all_digests != all_digests[0]).any():
            raise InputError(
                f"The processes of this run do not have the same {what}. Expected one folder of "
                "images and one of results that all of them see."
            )

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows of all processes, as many of each, in the order of processes."""
        if self.count == 1:
            return rows
        from jax.experimental import multihost_utils

        with told_if_lost():
            return np.asarray(multihost_utils.process_allgather(rows)).reshape(-1, *rows.shape[1:])

    def first_of(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the first process's arrays, of the shapes and types of one's own.

        What each computes apart may differ in the last bit from host to host.
        """
        return [self.gather(array[None])[0] for array in arrays]


ALONE = Processes()


def join_processes(hosts: str | None = None, process_id: int | None = None) -> Processes:
    """Meet the other processes of a run, and share every batch with them from now on.

    To be called once, before anything is computed.

    Args:
        hosts: addresses, each `host:port`, one a process, with commas between them; the first of
            them is where all meet. By default those of the environment,
            `KERAS_DISTRIBUTION_JOB_ADDRESSES`; a process is alone where there are none.
        process_id: which of them this is, from 0; by default `KERAS_DISTRIBUTION_PROCESS_ID`.

    Returns:
        This process among the others.

    Raises:
        InputError: if the backend is not JAX, or hosts and number do not go together.
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
            "Expected hosts as host:port, one a process with commas between them, and a process "
            f"number below {count}. Received: hosts {hosts}, process number {process_id}"
        )
    if count == 1:
        return ALONE
    if keras.config.backend() != "jax":
        raise InputError(
            "Several processes train together on JAX alone; set KERAS_BACKEND=jax. "
            f"Received: {keras.config.backend()}"
        )
    # The first address alone, since the others may be names that only their own hosts know.
    keras.distribution.initialize(addresses[0], count, process_id)
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    return Processes(process_id, count)


@contextlib.contextmanager
def on_its_own() -> Iterator[None]:
    """Build and run models here that are not shared with other processes."""
    shared = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(shared)


@contextlib.contextmanager
def told_if_lost() -> Iterator[None]:
    """Turn what the runtime says where another process is gone into a `LostProcessError`."""
    try:
        yield
    except Exception as error:
        if any(sign in str(error) for sign in LOST):
            raise LostProcessError(
                "Another process of this run is gone. Start all of them again, finetune with "
                "--resume."
            ) from error
        raise


def share(items: Any, index: int, count: int) -> Any:
    """The part of a sequence that belongs to process `index` of `count`, in order."""
    size = len(items) // count
    return items[index * size : (index + 1) * size]
