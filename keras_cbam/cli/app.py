"""The application: commands and exit codes."""

from __future__ import annotations

import importlib
import os
import sys

import typer

from keras_cbam import __version__
from keras_cbam.cli import detect, signals, start
from keras_cbam.cli.terminal import errors, flush_output, prepare_streams
from keras_cbam.errors import LostProcessError
from keras_cbam.files import told
from keras_cbam.text import printable

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# Each command is a function in the module of its name. The help lists them in this order.
for name in (
    *("finetune", "export", "study", "verify", "explain"),
    *("benchmark", "points", "models", "convert", "demo"),
):
    app.command(name)(getattr(importlib.import_module(f"keras_cbam.cli.{name}"), name))
app.add_typer(detect.app, name="detect")


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    verbose: bool = typer.Option(
        False, "--verbose", help="Show the log lines of TensorFlow and other libraries."
    ),
) -> None:
    """CBAM attention in Keras vision models: fine-tune, export, prove."""
    if version:
        typer.echo(f"keras-cbam {__version__}")
        raise typer.Exit()
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit()
    if verbose:
        start.show_messages()


def run() -> None:
    """Run the command line. Bad input gives one sentence and exit code 2; Ctrl-C gives 130."""
    signals.listen()
    code: str | int | None = 0
    try:
        prepare_streams()
        app(standalone_mode=True)
    except SystemExit as ended:
        code = ended.code
    except KeyboardInterrupt:
        code = 130
    except LostProcessError as error:
        _refuse(str(error))
        flush_output()
        # A normal exit would let JAX wait for the process that is gone.
        os._exit(signals.exit_code() or 1)
    except Exception as error:
        # After a signal, another exception may be what a library made of the signal's own.
        if signals.exit_code():
            code = 1
        elif (sentence := told(error)) is not None:
            code = _refuse(sentence)
        else:
            raise
    # Keep exit code 0 even if a library swallowed a signal: the work is done.
    if code:
        code = signals.exit_code() or code
    if (failed := flush_output()) and not code:
        code = _refuse(failed)
    signals.ignore()
    sys.exit(code)


def _refuse(sentence: str) -> int:
    # A line break in a name would look like another message.
    said = printable(sentence, keep="")
    errors.print(f"keras-cbam: {said}", style="red", highlight=False)
    return 2
