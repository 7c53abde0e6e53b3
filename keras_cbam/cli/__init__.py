"""The `keras-cbam` command: one thin module per subcommand, without logic of its own."""

import sys


def main() -> None:
    """Run the command line; errors end it with one sentence and an exit code."""
    from keras_cbam.errors import MissingPackageError

    try:
        from keras_cbam.cli.app import run
    except ImportError as error:
        if error.name not in ("typer", "rich"):
            raise
        print(f"keras-cbam: {MissingPackageError(error.name, 'cli')}", file=sys.stderr)
        sys.exit(2)
    run()
