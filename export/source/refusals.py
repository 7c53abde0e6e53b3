"""Exceptions of other libraries, turned into sentences for the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from keras_cbam.errors import InputError


@contextmanager
def refusing(
    sentence: str, *kinds: type[Exception], but: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Raise an `InputError` in place of another exception. An `InputError` is left as it is.

    Args:
        sentence: the text of the error. `<kind>` in it becomes the type of the exception,
            `<error>` its message, and `<reason>` the first line of that, without a dot.
        kinds: the kinds of exceptions to replace; by default all.
        but: kinds that are left as they are.
    """
    try:
        yield
    except (InputError, *but):
        raise
    except Exception as error:
        if kinds and not isinstance(error, kinds):
            raise
        kind = type(error).__name__
        reason = next(iter(str(error).strip().splitlines()), kind).rstrip(".")
        told = sentence.replace("<kind>", kind).replace("<reason>", reason)
        raise InputError(told.replace("<error>", str(error))) from error
