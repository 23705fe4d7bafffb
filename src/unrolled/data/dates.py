"""A seed comes in; dates as people of some forty languages write them, and in ISO 8601, go out.

The ways of writing are those of Babel, which has them from Unicode's CLDR. No date of one part is
in another. Ways with two digits of a year are left out: they say no century, and 3/4/20 is a day in
March here and in April there.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import UsageError

from .pairs import PairDataset, Pairs, Part, split_pairs

LANGUAGES = (
    "bg ca cs da de el en es et eu fi fr ga hi hr hu id is it ja ko lt lv ms nb nl pl pt ro ru sk "
    "sl sr sv th tr uk vi zh"
).split()
FORMS = ("short", "medium", "long", "full")
COUNTS = {"train": 12000, "valid": 1000, "test": 2000}
_FIRST, _LAST = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)


def dates(
    *,
    seed: int = 0,
    data_dir: str | Path | None = None,
    valid: Part = None,
    test: Part = None,
) -> PairDataset:
    """Dates in three parts, drawn anew from the seed.

    Args:
        seed: of the draws.
        data_dir: must be None: Babel carries this data.
        valid, test: 0 for none; None is as usual.

    Raises:
        UsageError: a folder or a size is given, or Babel is not installed.

    Example:
        >>> found = dates(seed=1)
        >>> found.train.texts[0][0][4], len(found.test)
        ('-', 2000)
    """
    if data_dir is not None:
        raise UsageError(
            "dates with a folder",
            expected="no folder",
            got=str(data_dir),
            fix="Leave it out: Babel carries this data.",
        )
    for name, value in (("valid", valid), ("test", test)):
        if value not in (None, 0):
            raise UsageError(name, expected="0, or nothing: dates are drawn in parts", got=value)
    parts = drawn(seed)
    reads = {
        name: lambda name=name: parts[name]
        for name, value in (("valid", valid), ("test", test))
        if value is None
    }
    return split_pairs(
        "dates",
        parts["train"],
        reads,
        seed=seed,
        valid=valid,
        test=test,
        source=f"babel, seed {seed}",
        sums={},
    )


def drawn(seed: int) -> dict[str, Pairs]:
    """All parts: texts and ISO dates."""
    package = _package()
    random = np.random.RandomState(seed % 2**32)
    ways = [(name, form) for name in LANGUAGES for form in FORMS if _whole(package, name, form)]
    span = (_LAST - _FIRST).days + 1
    total = sum(COUNTS.values())
    days = [_FIRST + datetime.timedelta(int(n)) for n in random.permutation(span)[:total]]
    chosen = [ways[k] for k in random.randint(0, len(ways), total)]
    pairs = [
        (package.format_date(day, format=form, locale=name), day.isoformat())
        for day, (name, form) in zip(days, chosen, strict=True)
    ]
    found, start = {}, 0
    for part, count in COUNTS.items():
        some = pairs[start : start + count]
        found[part] = Pairs([text for text, _ in some], [[iso] for _, iso in some], (), "babel")
        start += count
    return found


def _whole(package: Any, name: str, form: str) -> bool:
    """Whether a way of writing has all four digits of the year."""
    day = datetime.date(1987, 6, 25)
    text = package.format_date(day, format=form, locale=name)
    return any(year in text for year in ("1987", "१९८७", "๑๙๘๗", "2530"))


def _package() -> Any:
    try:
        from babel import dates as package
    except ImportError:
        raise UsageError(
            "dates",
            expected="the package babel",
            got="none installed",
            fix="pip install 'unrolled[translate]'",
        ) from None
    return package
