"""Standard input comes in; its text goes out, or one error where it is none."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from unrolled.errors import DataError


@contextmanager
def _decoded() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError("standard input", expected="text in utf-8", got=error.reason) from None


def whole() -> str:
    """All of it.

    Raises:
        DataError: it is no text in UTF-8.
    """
    with _decoded():
        return sys.stdin.read()


def line() -> str:
    """The next line with its end; empty where there is none. Raises as `whole` does."""
    with _decoded():
        return sys.stdin.readline()


def lines() -> Iterator[str]:
    """One line after the other, as they come. Raises as `whole` does."""
    while read := line():
        yield read
