"""The classical tests of memory: a name, a length and a seed come in; examples drawn anew go out.

N examples, T steps. Equal seeds give equal examples on any machine.
"""

from __future__ import annotations

import numpy as np

from unrolled.errors import UsageError

from .raw import Raw
from .reading import Parts

STEPS = {"adding": 100, "parity": 32, "copy": 30}
SYMBOLS, LENGTH = 8, 10  # of the copy test: what is to be kept, and how much of it
COPIED = ("_", *"12345678", ">")  # its numbers as words: blank, symbols, signal
_TRAIN, _TEST = 0, 1  # which part a draw is for


def adding(count: int, steps: int, seed: int, part: int = _TRAIN) -> tuple[np.ndarray, np.ndarray]:
    """Two numbers are marked, one in each half; their sum is asked for at the end.

    Whoever always says 1 has a mean squared error of 1/6 (Hochreiter and Schmidhuber 1997; Le,
    Jaitly and Hinton 2015, arXiv:1504.00941).

    Args:
        count: N.
        steps: T, at least 2.
        seed: of the draws.
        part: 0 to learn from, 1 to test on.

    Returns:
        float32 (N, T, 2): a number from 0 to 1 and its mark, 0 or 1; float32 (N, 1): the sum.

    Example:
        >>> x, y = adding(3, 10, seed=0)
        >>> x.shape, bool(np.allclose((x[..., 0] * x[..., 1]).sum(1), y[:, 0]))
        ((3, 10, 2), True)
    """
    random = _random("adding", steps, seed, part, least=2)
    x = np.zeros((count, steps, 2), np.float32)
    x[..., 0] = random.uniform(size=(count, steps))
    rows, half = np.arange(count), steps // 2
    for first, behind in ((0, half), (half, steps)):
        x[rows, random.randint(first, behind, count), 1] = 1
    return x, (x[..., 0] * x[..., 1]).sum(1, keepdims=True)


def parity(count: int, steps: int, seed: int, part: int = _TRAIN) -> tuple[np.ndarray, np.ndarray]:
    """Ones and zeros; whether the number of ones is odd is asked for at the end.

    Returns:
        float32 (N, T, 1), -1 for a zero; int64 (N,): 0 even, 1 odd.

    Example:
        >>> x, y = parity(1, 4, seed=3)
        >>> bool((x > 0).sum() % 2 == y[0])
        True
    """
    random = _random("parity", steps, seed, part, least=1)
    ones = random.randint(0, 2, (count, steps))
    return (2 * ones - 1)[:, :, None].astype(np.float32), ones.sum(1) % 2


def copy(count: int, steps: int, seed: int, part: int = _TRAIN) -> tuple[np.ndarray, np.ndarray]:
    """Ten symbols, `steps` blanks, a signal; then the ten are to be said in their order.

    An answer stands to each step: blanks until the signal (Hochreiter and Schmidhuber 1997;
    Arjovsky, Shah and Bengio 2016, arXiv:1511.06464).

    Returns:
        int64 (N, T) of inputs and of answers, T = steps + 20: 0 blank, 1 to 8 symbols, 9 signal.

    Example:
        >>> inputs, answers = copy(1, 5, seed=0)
        >>> inputs.shape, bool((inputs[0, :10] == answers[0, -10:]).all()), int(inputs[0, 14])
        ((1, 25), True, 9)
    """
    random = _random("copy", steps, seed, part, least=1)
    inputs = np.zeros((count, steps + 2 * LENGTH), np.int64)
    answers = np.zeros_like(inputs)
    kept = random.randint(1, SYMBOLS + 1, (count, LENGTH))
    inputs[:, :LENGTH] = answers[:, -LENGTH:] = kept
    inputs[:, LENGTH + steps - 1] = SYMBOLS + 1
    return inputs, answers


def parts(name: str, counts: tuple[int, int], steps: int | None, seed: int) -> Parts:
    """A test of memory as examples to learn from and to test on.

    Raises:
        UsageError: the number of steps cannot be, or the answers stand to each step.
    """
    length = STEPS[name] if steps is None else steps
    if name == "copy":
        raise UsageError(
            "copy as examples",
            expected="a test with one answer to a sequence: adding or parity",
            got="one with an answer to each step",
            fix="Train on it with: --task tag - or draw it with unrolled.data.generated.copy.",
        )
    draw = adding if name == "adding" else parity

    def read(part: int) -> Raw:
        x, y = draw(counts[part], length, seed, part)
        return Raw(
            x,
            "series",
            "arrays",
            answers=y,
            names=["sum"] if name == "adding" else None,
            labels=None if name == "adding" else ["even", "odd"],
            source=f"{name}, {length} steps, seed {seed}",
        )

    return Parts(read(_TRAIN), test=lambda: read(_TEST))


def _random(name: str, steps: int, seed: int, part: int, least: int) -> np.random.RandomState:
    if type(steps) is not int or steps < least:
        raise UsageError(
            f"steps of {name}", expected=f"a whole number of at least {least}", got=repr(steps)
        )
    return np.random.RandomState([seed % 2**32, part, steps])
