"""The exceptions the command line turns into one sentence and an exit code."""


class InputError(ValueError):
    """Something the user gave cannot be used: a path, an option, a file. Exit code 2."""


class MissingPackageError(ImportError):
    """An optional package is not installed; the message carries the pip command. Exit code 2."""

    def __init__(self, package: str, extra: str):
        super().__init__(f"{package} is not installed; run: pip install 'keras-cbam[{extra}]'")
