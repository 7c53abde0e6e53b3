"""Files that are complete or not there, and directories that several processes write to."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from keras_cbam.errors import InputError
from keras_cbam.files import (
    PARTIAL,
    atomic_path,
    check_writable,
    remove_abandoned,
    staging_directory,
)

HOLDING = """
import sys, time
from keras_cbam.files import staging_directory
with staging_directory(sys.argv[1]) as folder:
    (folder / "begun").touch()
    print("at it", flush=True)
    time.sleep(60)
"""


def partial(directory):
    return [path for path in directory.iterdir() if path.name.startswith(PARTIAL)]


def test_what_another_process_is_at_stays_and_what_it_left_goes(tmp_path):
    command = [sys.executable, "-c", HOLDING, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "at it\n"
            (theirs,) = partial(tmp_path)
            with staging_directory(tmp_path) as ours:
                assert ours != theirs
                assert (theirs / "begun").exists()
            with atomic_path(tmp_path / "a.txt") as path:
                path.write_text("whole")
            assert partial(tmp_path) == [theirs]
        finally:
            other.kill()
    remove_abandoned(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_what_earlier_versions_left_goes(tmp_path):
    (tmp_path / f"{PARTIAL}1-model.keras").touch()
    (tmp_path / f"{PARTIAL}2").mkdir()
    (tmp_path / "mine").touch()
    remove_abandoned(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_many_stagings_at_once_disturb_none(tmp_path):
    def stage(_):
        with staging_directory(tmp_path / "new" / "folder") as folder:
            (folder / "a").write_text("a")
            assert (folder / "a").read_text() == "a"

    # A lock is that of an opened file, so threads are to one another as processes are.
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(stage, range(400)))
    # The last of them may have found the folders of the others, which are not its own to remove.
    assert {path.name for path in tmp_path.rglob("*")} <= {"new", "folder"}


def test_a_directory_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for name, sentence in (
        ("file/under", "Received a file: "),
        ("link", "Received a broken link: "),
        ("link/under", "Received a broken link: "),
        ("x" * 305, "Cannot write to directory .*: File name too long"),
    ):
        with pytest.raises(InputError, match=sentence):
            check_writable(tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}
    check_writable(tmp_path / "a" / "b")


def test_nothing_is_left_of_what_failed(tmp_path):
    def fail():
        with atomic_path(tmp_path / "a.txt") as path:
            path.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []
