"""What people say about words comes in, pairs or analogies; how well vectors agree goes out.

Words without a vector are passed over, as is usual; how many that leaves is always said with the
figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.errors import DataError, UsageError

from .likeness import Likeness


@dataclass(frozen=True)
class Judged:
    """A list that vectors are measured on.

    Args:
        name: what messages call it.
        pairs: (one, other, what people say) of each pair of words; empty for analogies.
        sections: name → questions (a, b, c, d): a is to b as c is to d; empty for pairs.
    """

    name: str
    pairs: list[tuple[str, str, float]]
    sections: dict[str, list[tuple[str, str, str, str]]]


def parse(text: str, name: str = "the list") -> Judged:
    """Read a list of pairs or of analogies.

    Args:
        text: two words and a number a line, parted by tabs, commas, semicolons or blanks (lines
            that begin with "#" and one line of names at the head are passed over); or four words a
            line under lines such as ": capitals".
        name: what messages call it.

    Raises:
        DataError: a line is neither, or there is none.

    Example:
        >>> parse("# pairs\\ncat\\tdog\\t7.5\\n").pairs
        [('cat', 'dog', 7.5)]
        >>> parse(": family\\nman king woman queen\\n").sections
        {'family': [('man', 'king', 'woman', 'queen')]}
    """
    pairs: list[tuple[str, str, float]] = []
    sections: dict[str, list[tuple[str, str, str, str]]] = {}
    section, analogies, seen = "", False, 0
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        seen += 1
        if line.startswith(":"):
            section, analogies = line[1:].strip() or "all", True
            sections.setdefault(section, [])
            continue
        cells = _cells(line)
        if seen == 1 and len(cells) == 4 and not any(map(_is_number, cells)):
            section, analogies = "all", True
            sections.setdefault(section, [])
        if analogies:
            if len(cells) != 4:
                raise _wrong(name, number, "four words", line)
            sections[section].append((cells[0], cells[1], cells[2], cells[3]))
            continue
        if len(cells) < 3 or not _is_number(cells[2]):
            if seen == 1 and len(cells) >= 3:
                continue  # the names of the columns
            raise _wrong(name, number, "two words and a number", line)
        pairs.append((cells[0], cells[1], float(cells[2])))
    if not pairs and not any(sections.values()):
        raise DataError(name, expected="pairs of words or analogies", got="none")
    return Judged(name, pairs, {name: some for name, some in sections.items() if some})


def measure(like: Likeness, judged: Judged) -> dict[str, Any]:
    """How well vectors agree with people.

    Returns:
        `count` and `covered`: how many pairs or questions there are, and of how many all words
        have a vector; of pairs `spearman`, the rank correlation of the cosines with what people
        say, and `pearson` (None where fewer than three pairs are covered, or all are equal); of
        analogies `accuracy` of the covered ones, and `sections` with the same by section.

    Raises:
        UsageError: no vector fits: nothing is covered.
    """
    found = _pairs(like, judged) if judged.pairs else _analogies(like, judged)
    if not found["covered"]:
        raise UsageError(
            judged.name,
            expected="words that have a vector",
            got=f"none of {found['count']} entries",
            fix="Is it the list of another language?",
        )
    return found


def spearman(one: np.ndarray, other: np.ndarray) -> float | None:
    """The rank correlation of two rows of numbers; ties share the mean of their ranks.

    Example:
        >>> spearman(np.array([1, 2, 3, 3]), np.array([1, 4, 9, 9]))
        1.0
    """
    from scipy.stats import rankdata

    return pearson(rankdata(one), rankdata(other))


def pearson(one: np.ndarray, other: np.ndarray) -> float | None:
    """The correlation of two rows of numbers; None where there is none."""
    one, other = one - np.mean(one), other - np.mean(other)
    size = float(np.sqrt((one @ one) * (other @ other)))
    if len(one) < 3 or size == 0:
        return None
    return max(-1.0, min(1.0, round(float(one @ other) / size, 12)))


def _pairs(like: Likeness, judged: Judged) -> dict[str, Any]:
    places = [
        (one, other, said)
        for a, b, said in judged.pairs
        if (one := like.vectors.find(a)) is not None and (other := like.vectors.find(b)) is not None
    ]
    rows = np.array([place[:2] for place in places], np.int64).reshape(-1, 2)
    said = np.array([place[2] for place in places], np.float64)
    units = like.units
    cosines = np.einsum("ij,ij->i", units[rows[:, 0]], units[rows[:, 1]]).astype(np.float64)
    return {
        "count": len(judged.pairs),
        "covered": len(places),
        "spearman": spearman(cosines, said) if len(places) else None,
        "pearson": pearson(cosines, said) if len(places) else None,
    }


def _analogies(like: Likeness, judged: Judged) -> dict[str, Any]:
    find = like.vectors.find
    sections: dict[str, dict[str, Any]] = {}
    for name, questions in judged.sections.items():
        rows = [[find(word) for word in question] for question in questions]
        known = np.array([row for row in rows if None not in row], np.int64).reshape(-1, 4)
        right = int((like.answers(known[:, :3]) == known[:, 3]).sum()) if len(known) else 0
        sections[name] = {
            "count": len(questions),
            "covered": len(known),
            "right": right,
            "accuracy": right / len(known) if len(known) else None,
        }
    count, covered, right = (
        sum(section[key] for section in sections.values()) for key in ("count", "covered", "right")
    )
    return {
        "count": count,
        "covered": covered,
        "right": right,
        "accuracy": right / covered if covered else None,
        "sections": sections,
    }


def _cells(line: str) -> list[str]:
    for mark in "\t;,":
        if line.count(mark) >= 2:
            return [cell.strip().strip('"') for cell in line.split(mark)]
    return line.split()


def _is_number(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def _wrong(name: str, number: int, expected: str, line: str) -> DataError:
    return DataError(
        f"{name}, line {number}",
        expected=expected,
        got=line.strip()[:60],
        fix="Write a pair and what people say of it, or four words under a line such as : capitals",
    )
