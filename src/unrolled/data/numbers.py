"""A seed comes in; rows of handwritten digits, and the numbers said in words, go out.

The scans are scikit-learn's, the words num2words'. No part has a number or a scan of another:
what is tested are unseen numbers in unseen handwriting.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import UsageError

from .pairs import PairDataset, Pairs, Part, split_pairs

LANGUAGES = ("en", "ko")
COUNTS = {"train": 12000, "valid": 500, "test": 1000}
_UNLIKE = {"train": 8000, "valid": 500, "test": 1000}  # numbers; those of training come again
DIGITS = 4  # of the longest number; shorter ones have blank columns behind them
_SIDE, _MOST = 8, 255 / 16  # pixels of a scan, and what makes its grey levels bytes


def spoken_numbers(
    *,
    seed: int = 0,
    language: str = "en",
    data_dir: str | Path | None = None,
    valid: Part = None,
    test: Part = None,
) -> PairDataset:
    """Images uint8 (N, 8, 32) and the numbers on them in words, in three parts.

    Args:
        seed: of the draws.
        language: "en" or "ko".
        data_dir: must be None: scikit-learn carries the scans.
        valid, test: 0 for none; None is as usual.

    Raises:
        UsageError: another language, a folder or a size is given, or num2words is not installed.

    Example:
        >>> found = spoken_numbers(seed=1)
        >>> found.train.inputs.shape, len(found.test)
        ((12000, 8, 32), 1000)
    """
    if language not in LANGUAGES:
        raise UsageError("language", expected=" or ".join(LANGUAGES), got=repr(language))
    if data_dir is not None:
        raise UsageError(
            "spoken-numbers with a folder",
            expected="no folder",
            got=str(data_dir),
            fix="Leave it out: scikit-learn carries this data.",
        )
    for name, value in (("valid", valid), ("test", test)):
        if value not in (None, 0):
            raise UsageError(name, expected="0, or nothing: numbers are drawn in parts", got=value)
    parts = drawn(seed, language)
    reads = {
        name: lambda name=name: parts[name]
        for name, value in (("valid", valid), ("test", test))
        if value is None
    }
    return split_pairs(
        f"spoken-numbers {language}",
        parts["train"],
        reads,
        seed=seed,
        valid=valid,
        test=test,
        source=f"sklearn.datasets.load_digits and num2words, seed {seed}",
        sums={},
    )


def drawn(seed: int, language: str = "en") -> dict[str, Pairs]:
    """All parts: images, words, and the numbers as ids."""
    from sklearn.datasets import load_digits

    say = _package()
    found = load_digits()
    scans = np.rint(found.images * _MOST).astype(np.uint8)
    random = np.random.RandomState(seed % 2**32)
    order = random.permutation(len(scans))
    # the shares of the dataset `digits`: 1,258 scans to learn from, 180 to choose, 359 to test
    cuts = {"train": order[:1258], "valid": order[1258:1438], "test": order[1438:]}
    numbers = _numbers(random, sum(_UNLIKE.values()))
    parts, start = {}, 0
    for part, count in COUNTS.items():
        of = {digit: [i for i in cuts[part] if found.target[i] == digit] for digit in range(10)}
        own = numbers[start : start + _UNLIKE[part]]
        start += len(own)
        some = (own * (1 + count // len(own)))[:count]
        pixels = np.zeros((count, _SIDE, _SIDE * DIGITS), np.uint8)
        for k, number in enumerate(some):
            for place, letter in enumerate(str(number)):
                scan = scans[of[int(letter)][random.randint(len(of[int(letter)]))]]
                pixels[k, :, _SIDE * place : _SIDE * (place + 1)] = scan
        texts = [[str(say(number, lang=language))] for number in some]
        parts[part] = Pairs(pixels, texts, [str(number) for number in some], "spoken-numbers")
    return parts


def _numbers(random: np.random.RandomState, count: int) -> list[int]:
    """Different numbers of up to four digits: all short ones, and a draw of the long ones."""
    short, long = np.arange(1000), np.arange(1000, 10**DIGITS)
    chosen = np.concatenate([short, random.permutation(long)[: count - len(short)]])
    return [int(number) for number in random.permutation(chosen)]


def _package() -> Any:
    try:
        from num2words import num2words
    except ImportError:
        raise UsageError(
            "spoken-numbers",
            expected="the package num2words",
            got="none installed",
            fix="pip install 'unrolled[translate]'",
        ) from None
    return num2words
