"""What goes wrong around a command: disks, terminals, names. One sentence, and a way on."""

import contextlib
import os
import signal
import subprocess
import time

import pytest
import typer

from keras_cbam.cli.artifact_table import print_table
from keras_cbam.cli.terminal import out, progress_bar
from tests.backend import BACKEND
from tests.cli.running import command, run_here
from tests.cli.test_cli import finetune

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="the command runs one backend")


@pytest.mark.parametrize("output", ["link", "x" * 305])
def test_an_output_that_cannot_be_is_refused(output, image_folder, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    done = run_here(*finetune(image_folder, "--output", tmp_path / output))
    assert done.returncode == 2
    assert done.stderr.count("keras-cbam: ") == 1
    done = run_here("finetune", "y" * 305, "--output", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.count("keras-cbam: ") == 1


def test_any_terminal_is_written_to():
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii", "LANG": "C"}
    done = subprocess.run(
        command("--help"), capture_output=True, text=True, env=ascii_only, check=False
    )
    assert (done.returncode, "finetune" in done.stdout) == (0, True), done.stderr
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command("--version"), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    said = [line for line in done.stderr.splitlines() if "keras-cbam: " in line]
    assert (done.returncode, len(said)) == (2, 1), done.stderr
    assert "Traceback" not in done.stderr
    closed = ["sh", "-c", '"$@" >&-', "sh", *command("--version")]
    done = subprocess.run(closed, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


def test_a_name_does_not_steer_the_terminal(tmp_path):
    done = run_here("verify", tmp_path / "\x1b]0;title\x07")
    assert done.returncode == 2
    assert "\\x1b]0;title\\x07" in done.stderr
    assert "\x1b" not in done.stderr


def test_tables_and_bars_show_names_as_they_are(capsys, monkeypatch):
    monkeypatch.setattr(out, "_width", 80)
    name = "\x1b]0;title\x07[bold] x[/bold]"
    with progress_bar() as bar:
        bar.update(bar.add_task(name, total=1, note=name), advance=1)
    print_table("title", ["column"], [[name]])
    printed = capsys.readouterr().out
    # The bar's are cut to the width of the terminal.
    assert printed.count("\\x1b]0;title\\x07[b") == 3
    assert "\\x1b]0;title\\x07[bold] x[/bold]" in printed
    assert "\x1b]0;" not in printed


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize(
    "library", ["passes on", "raises another", "hides it", "swallows it, then fails"]
)
def test_a_signal_is_one_whatever_a_library_makes_of_it(library, number, code, monkeypatch):
    """A C extension interrupted during import raises ImportError; TensorFlow's, ValueError."""
    # A job in the background has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupted(*arguments):
        try:
            os.kill(os.getpid(), number)
        except BaseException as error:
            if library == "passes on":
                raise
            if library == "raises another":
                raise ImportError("initialization failed") from error
        if library == "hides it":
            raise ValueError("the structures differ")
        raise typer.Exit(1)

    monkeypatch.setattr("keras_cbam.models.catalogue.catalogue", interrupted)
    done = run_here("models")
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_a_signal_that_was_swallowed_does_not_fail_what_succeeds(monkeypatch):
    def swallowed(*arguments):
        with contextlib.suppress(SystemExit):
            os.kill(os.getpid(), signal.SIGTERM)
        return []

    monkeypatch.setattr("keras_cbam.models.catalogue.catalogue", swallowed)
    assert run_here("models", "--json").returncode == 0
    # The next command in this process begins anew.
    monkeypatch.undo()
    assert run_here("models", "--nothing").returncode == 2


def test_a_signal_that_python_ignores_is_sent_again(monkeypatch):
    """Python prints an exception in `__del__`, and goes on."""

    class Dying:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)

    def swallowed(*arguments):
        Dying()
        time.sleep(60)

    monkeypatch.setattr("keras_cbam.models.catalogue.catalogue", swallowed)
    begun = time.monotonic()
    done = run_here("models")
    assert done.returncode == 143
    assert "ignored" not in done.stderr
    assert time.monotonic() - begun < 30
