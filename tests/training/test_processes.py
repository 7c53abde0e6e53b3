"""Training that is killed goes on to the same end, in one process; several do the work of one."""

import os
import random
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from keras_cbam.errors import InputError
from keras_cbam.training import ImageBatches, join_processes
from keras_cbam.training.processes import VARIABLES
from tests.backend import BACKEND, ROOT, quick_on
from tests.training.child import LOST, images

on_jax = pytest.mark.skipif(BACKEND != "jax", reason="several processes train on JAX alone")


def start(directory, hosts, process_id, kill_after=0):
    directory.mkdir(exist_ok=True)
    arguments = [str(directory), hosts, str(process_id), str(kill_after)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.child", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # The cores are shared with the tests beside this one; what JAX compiled is used again.
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "JAX_COMPILATION_CACHE_DIR": str(directory.parent.parent / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
    )


def free_hosts(count):
    holders = [socket.socket() for _ in range(count)]
    for holder in holders:
        holder.bind(("127.0.0.1", 0))
    hosts = [f"127.0.0.1:{holder.getsockname()[1]}" for holder in holders]
    for holder in holders:
        holder.close()
    return ",".join(hosts)


def train(directory, count=1, kills=()):
    """Run so many processes, one of which may kill itself; return exit codes and outputs."""
    hosts = "-" if count == 1 else free_hosts(count)
    after = dict(kills)
    running = [start(directory, hosts, i, after.get(i, 0)) for i in range(count)]
    said = [process.communicate(timeout=300)[0] for process in running]
    return [process.returncode for process in running], said


def end(directory, process_id=0):
    with np.load(directory / f"{process_id}.npz") as file:
        losses = file["losses"]
        return losses, [file[f"weight_{i}"] for i in range(len(file.files) - 1)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The end of one process that nothing interrupted."""
    directory = tmp_path_factory.mktemp("whole")
    codes, said = train(directory)
    assert codes == [0], said
    losses, weights = end(directory)
    assert losses.shape == (3, 2)
    assert losses[-1, 1] < 0.9 * losses[0, 1]
    return losses, weights


@pytest.mark.backends
@quick_on("torch")
def test_killed_and_resumed_to_the_same_bits(whole, tmp_path):
    # 9 batches in each of 3 epochs; each backend is killed at another one.
    kill = random.Random(BACKEND).randrange(1, 27)
    codes, _ = train(tmp_path, kills=[(0, kill)])
    assert codes == [-signal.SIGKILL]
    codes, said = train(tmp_path)
    assert codes == [0], said
    losses, weights = end(tmp_path)
    np.testing.assert_array_equal(losses, whole[0], err_msg=f"killed after {kill} batches")
    for ours, expected in zip(weights, whole[1], strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A directory with the ends of two processes that nothing interrupted."""
    directory = tmp_path_factory.mktemp("pair")
    codes, said = train(directory, 2)
    assert codes == [0, 0], said
    return directory


def assert_as_one(whole, directory, count):
    for process_id in range(count):
        losses, weights = end(directory, process_id)
        np.testing.assert_allclose(losses, whole[0], rtol=1e-4)
        for ours, expected in zip(weights, whole[1], strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4)


@on_jax
@pytest.mark.backends
def test_two_processes_do_the_work_of_one(whole, pair):
    assert_as_one(whole, pair, 2)


@on_jax
@pytest.mark.slow
@pytest.mark.backends
def test_four_processes_do_the_work_of_one(whole, tmp_path):
    codes, said = train(tmp_path, 4)
    assert codes == [0] * 4, said
    assert_as_one(whole, tmp_path, 4)


@on_jax
@pytest.mark.slow
@pytest.mark.backends
def test_one_of_two_is_killed_and_both_go_on_to_the_same_bits(pair, tmp_path):
    for victim, after in ((1, 4), (0, 7)):
        codes, said = train(tmp_path, 2, kills=[(victim, after)])
        assert codes[victim] == -signal.SIGKILL
        # Where the first is gone, JAX may end the others before they can say so themselves.
        ends = {LOST: "Another process of this run is gone", -signal.SIGABRT: "another task died"}
        assert ends[codes[1 - victim]] in said[1 - victim]
    codes, said = train(tmp_path, 2)
    assert codes == [0, 0], said
    np.testing.assert_array_equal(end(tmp_path)[0], end(pair)[0])
    for ours, expected in zip(end(tmp_path)[1], end(pair)[1], strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_processes_share_every_batch():
    def drawn(shard):
        batches = ImageBatches(
            images(20, 0), 8, 4, training=True, augmentations=("crop",), shard=shard
        )
        return [batches[i] for i in range(len(batches))]

    whole, parts = drawn((0, 1)), [drawn((i, 2)) for i in range(2)]
    assert len(whole) == len(parts[0]) == 5
    for batch, (pixels, labels) in enumerate(whole):
        for k, expected in enumerate((pixels, labels)):
            joined = np.concatenate([part[batch][k] for part in parts])
            np.testing.assert_array_equal(joined, expected)
    with pytest.raises(InputError, match=r"3 processes share evenly. Received: batches of 4"):
        drawn((0, 3))


def test_hosts_that_cannot_be(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert join_processes().count == 1
    with pytest.raises(InputError, match="process number goes with hosts"):
        join_processes(None, 1)
    with pytest.raises(InputError, match=r"process number below 2. Received: .* number 2"):
        join_processes("a:1,b:1", 2)
    with pytest.raises(InputError, match=r"process number below 2. Received: .* number -1"):
        join_processes("a:1,b:1")
    with pytest.raises(InputError, match="host:port"):
        join_processes("a,b", 0)
    if BACKEND != "jax":
        monkeypatch.setenv(VARIABLES[0], "a:1,b:1")
        monkeypatch.setenv(VARIABLES[1], "1")
        with pytest.raises(InputError, match="JAX alone; set KERAS_BACKEND=jax"):
            join_processes()
