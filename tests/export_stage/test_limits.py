"""Files that somebody else made run within limits of time and memory."""

import time

import pytest

from keras_cbam.errors import InputError
from keras_cbam.export import Limits, verify
from keras_cbam.export.timing import time_artifacts
from tests.backend import BACKEND
from tests.cli.running import run_here
from tests.export_stage.handmade import doubling, endless, shipped

pytest.importorskip("onnx")
pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="limits are the same everywhere")


def large():
    """It holds 16 GiB before it answers."""
    from onnx import TensorProto, helper

    size = helper.make_tensor("size", TensorProto.INT64, (1,), [2**32])
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("Neg", ["zeros"], ["more"]),
        helper.make_node("ReduceSum", ["more"], ["none"], keepdims=0),
        helper.make_node("Add", ["x", "none"], ["y"]),
    ]
    return doubling(nodes, [size])


def test_an_export_within_the_limits_is_verified(tmp_path):
    assert verify(shipped(tmp_path / "out"), runtimes=()).missed == ()


def test_verify_ends_what_takes_too_long(tmp_path):
    directory, start = shipped(tmp_path / "out", endless()), time.monotonic()
    (missed,) = verify(directory, runtimes=(), limits=Limits(seconds=3)).missed
    assert missed.endswith("runtimes.run took more than the 3 s that are allowed")
    assert time.monotonic() - start < 20


def test_benchmark_ends_what_takes_too_long(tmp_path):
    directory = shipped(tmp_path / "out", endless())
    with pytest.raises(InputError, match=r"runtimes\.stopwatch took more than the 3 s"):
        time_artifacts(directory, limits=Limits(seconds=3))


def test_verify_ends_what_takes_too_much(tmp_path):
    directory = shipped(tmp_path / "out", large())
    (missed,) = verify(directory, runtimes=(), limits=Limits(gibibytes=1)).missed
    assert missed.endswith("(it may use 1 GiB)")


@pytest.mark.parametrize(("name", "code"), [("verify", 1), ("benchmark", 2)])
def test_the_options(name, code, tmp_path):
    directory = shipped(tmp_path / "out", endless())
    options = ["--time-limit", "3", "--memory-limit", "2"]
    options += ["--runtimes", "none"] if name == "verify" else []
    done = run_here(name, directory, *options)
    assert done.returncode == code
    assert "took more than the 3 s" in " ".join((done.stdout + done.stderr).split())
