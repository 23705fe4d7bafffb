"""One base error and its few kinds: what went wrong comes in, a line to act on goes out.

Every message has the same parts: the fact, what was expected, what was got, and the fix.
"""


class UnrolledError(Exception):
    """The base of every error that this package raises on purpose.

    Args:
        what: the fact, with the place where it was seen (a file and line, a cell's name, a shape).
        expected: what would have been right.
        got: what was there instead.
        fix: what to do about it, as an order.

    Example:
        >>> str(UnrolledError("x.csv, line 3", expected="64 columns", got="63", fix="Complete it."))
        'x.csv, line 3: expected 64 columns, got 63. Complete it.'
    """

    def __init__(self, what: str, *, expected: object = "", got: object = "", fix: str = ""):
        self.what, self.expected, self.got, self.fix = what, str(expected), str(got), fix
        super().__init__(what, self.expected, self.got, fix)

    def __str__(self) -> str:
        facts = ", ".join(
            f"{word} {fact}"
            for word, fact in (("expected", self.expected), ("got", self.got))
            if fact
        )
        line = f"{self.what}: {facts}." if facts else f"{self.what}."
        return " ".join(f"{line} {self.fix}".split())

    def __reduce__(self):
        return _rebuild, (type(self), self.what, self.expected, self.got, self.fix)


def _rebuild(kind, what, expected, got, fix):
    return kind(what, expected=expected, got=got, fix=fix)


class CellError(UnrolledError):
    """A cell's declaration or its step cannot be read."""


class ShapeError(UnrolledError, ValueError):
    """A tensor, a state or a list of lengths has the wrong shape, dtype or values."""


class BackendError(UnrolledError, RuntimeError):
    """A backend that was asked for by name cannot run this."""


class DataError(UnrolledError):
    """A dataset or a file of the user's is missing, broken, or not what it claims to be."""


class ModelError(UnrolledError):
    """A model directory is missing, broken, hostile, or from another version."""


class TrainingError(UnrolledError):
    """Training cannot go on: a loss that is not finite, a run that cannot be resumed."""


class UsageError(UnrolledError, ValueError):
    """An option or argument has a value it cannot have."""


class FontWarning(UserWarning):
    """Letters of a picture are drawn as boxes for want of a font; says which."""


class BackendWarning(UserWarning):
    """`auto` took a slower backend than the machine could have; says why."""
