"""Tests of memory by name: a length and a seed come in; sequences never seen before go out.

Each has an error that is 0 at best, what whoever remembers nothing gets, and below what it counts
as solved.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from unrolled.data import generated, load
from unrolled.errors import UsageError

TRAIN, TEST = 0, 1  # part of the generators; validation is drawn from TRAIN with a seed of its own
WHOLE = {"digits": 8, "mnist": 28, "fashion-mnist": 28}


@dataclass(frozen=True)
class Problem:
    """One test of memory at one length.

    Args:
        name: of the test.
        steps: as asked for; `copy` runs 20 more.
        features: I.
        outputs: numbers that the network answers with.
        draw: (count, seed, part) → inputs (N, T, I) and targets.
        each: how many of the last steps are answered; 0 is one answer at the end.
        baseline: error of a network without memory.
        solved: the error below which it counts as solved.
    """

    name: str
    steps: int
    features: int
    outputs: int
    draw: Callable[[int, int, int], tuple[Tensor, Tensor]]
    each: int
    baseline: float
    solved: float

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What is learnt from: outputs (N, K) or (N, T, K) against targets."""
        if self.name == "adding":
            return functional.mse_loss(outputs, targets)
        return functional.cross_entropy(outputs.flatten(0, -2), targets.flatten())

    def error(self, outputs: Tensor, targets: Tensor) -> float:
        """The mean squared error of `adding`; elsewhere the share of wrong answers."""
        if self.name == "adding":
            return float(functional.mse_loss(outputs.double(), targets.double()))
        wrong = outputs.argmax(-1) != targets
        return float((wrong[:, -self.each :] if self.each else wrong).double().mean())


def problem(name: str, steps: int, images: str = "digits", data_dir: Any = None) -> Problem:
    """The test of this name at this length.

    Args:
        name: adding, copy, parity or pixels.
        steps: T; of `pixels` a square: images are made smaller or larger to have so many.
        images: the dataset of `pixels`, or a path of one's own grey square images.
        data_dir: the dataset's folder.

    Raises:
        UsageError: there is no such test, or not at this length.

    Example:
        >>> test = problem("copy", 5)
        >>> x, y = test.draw(2, 0, TRAIN)
        >>> tuple(x.shape), tuple(y.shape), test.baseline
        ((2, 25, 10), (2, 25), 0.875)
    """
    if name not in PROBLEMS:
        raise UsageError("task", expected="one of " + ", ".join(PROBLEMS), got=repr(name))
    return PROBLEMS[name](steps, images, data_dir)


def _adding(steps: int, images: str, data_dir: Any) -> Problem:
    def draw(count: int, seed: int, part: int) -> tuple[Tensor, Tensor]:
        x, y = generated.adding(count, steps, seed, part)
        return torch.from_numpy(x), torch.from_numpy(y)

    draw(0, 0, TRAIN)
    return Problem("adding", steps, 2, 1, draw, 0, 1 / 6, 0.01)


def _parity(steps: int, images: str, data_dir: Any) -> Problem:
    def draw(count: int, seed: int, part: int) -> tuple[Tensor, Tensor]:
        x, y = generated.parity(count, steps, seed, part)
        return torch.from_numpy(x), torch.from_numpy(y)

    draw(0, 0, TRAIN)
    return Problem("parity", steps, 1, 2, draw, 0, 0.5, 0.01)


def _copy(steps: int, images: str, data_dir: Any) -> Problem:
    symbols = generated.SYMBOLS + 2

    def draw(count: int, seed: int, part: int) -> tuple[Tensor, Tensor]:
        x, y = (torch.from_numpy(v) for v in generated.copy(count, steps, seed, part))
        return functional.one_hot(x, symbols).float(), y

    draw(0, 0, TRAIN)
    return Problem(
        "copy", steps, symbols, symbols - 1, draw, generated.LENGTH, 1 - 1 / generated.SYMBOLS, 0.01
    )


def _pixels(steps: int, images: str, data_dir: Any) -> Problem:
    if images not in WHOLE and not Path(images).expanduser().exists():
        known = ", ".join(WHOLE)
        raise UsageError("images", expected=f"one of {known}, or a path of yours", got=repr(images))
    data = None if images in WHOLE else load(images)
    whole = WHOLE[images] if data is None else _side(images, data.train.inputs)
    side = round(steps**0.5)
    if side * side != steps or side < 2 or (whole % side and side % whole):
        sides = [n for n in range(2, 4 * whole + 1) if not whole % n or not n % whole]
        raise UsageError(
            f"steps of pixels of {images}",
            expected="one of " + ", ".join(str(n * n) for n in sides),
            got=steps,
        )
    data = load(images, data_dir=data_dir) if data is None else data
    order = np.random.RandomState(0).permutation(steps)
    most = float(np.max(data.train.inputs))
    parts = (data.train, data.valid)
    made = {id(p): _resized(np.asarray(p.inputs, np.float32) / most, side) for p in parts}

    def draw(count: int, seed: int, part: int) -> tuple[Tensor, Tensor]:
        if part == TEST:  # read when it is asked for: at the end of a run
            made.setdefault(id(data.test), _resized(np.asarray(data.test.inputs) / most, side))
        split = data.test if part == TEST else data.valid if seed == HELD else data.train
        assert split.targets is not None  # named images have labels
        if part == TEST or seed == HELD:
            index = np.arange(min(count, len(split)))
        else:
            index = np.random.RandomState(seed % 2**32).randint(0, len(split), count)
        pixels = made[id(split)][index].reshape(len(index), steps, 1)[:, order]
        x = torch.from_numpy(np.ascontiguousarray(pixels, np.float32))
        return x, torch.from_numpy(np.asarray(split.targets)[index])

    classes = len(data.labels)
    return Problem("pixels", steps, 1, classes, draw, 0, 1 - 1 / classes, 1 / classes)


def _side(images: str, pixels: Any) -> int:
    """Pixels of a side of one's own images."""
    shape = np.shape(pixels)
    if len(shape) != 3 or shape[1] != shape[2]:
        raise UsageError(
            f"images {images}", expected="grey squares", got=" x ".join(map(str, shape))
        )
    return shape[1]


def _resized(images: np.ndarray, side: int) -> np.ndarray:
    """Images (N, H, H) as (N, side, side): means of blocks, or each pixel several times."""
    count, whole, _ = images.shape
    if side >= whole:
        many = side // whole
        return images.repeat(many, 1).repeat(many, 2)
    block = whole // side
    return images.reshape(count, side, block, side, block).mean((2, 4))


HELD = 2**31  # the seed of what decides when to stop; no batch to learn from has it
PROBLEMS: dict[str, Callable[[int, str, Any], Problem]] = {
    "adding": _adding,
    "copy": _copy,
    "parity": _parity,
    "pixels": _pixels,
}
