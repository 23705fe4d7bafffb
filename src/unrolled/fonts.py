"""Fonts of this machine, for Matplotlib; letters that none draws are told in one sentence."""

import functools
import logging
import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from unrolled.errors import FontWarning
from unrolled.messages import tr

_GLYPH = re.compile(r"Glyph (\d+) ")
_SHOWN = 8  # letters of the sentence
# A family that draws a script, by the first word of its letters' names in Unicode.
_FAMILIES = {
    "HANGUL": "Nanum Gothic (fonts-nanum)",
    "CJK": "Noto Sans CJK (fonts-noto-cjk)",
    "HIRAGANA": "Noto Sans CJK (fonts-noto-cjk)",
    "KATAKANA": "Noto Sans CJK (fonts-noto-cjk)",
}

_TOLD: set[str] = set()  # families that were asked for in this process: each once


@functools.cache
def look_again() -> int:
    """Tell Matplotlib of fonts installed since it wrote down which there are; how many, once.

    It never looks again by itself, so that who installs what is missing would see no difference.
    """
    from matplotlib import font_manager

    manager = font_manager.fontManager
    known = {entry.fname for entry in manager.ttflist}
    new = [path for path in font_manager.findSystemFonts() if path not in known]
    for path in new:
        try:
            manager.addfont(path)
        except (OSError, RuntimeError, ValueError):
            continue  # a file that is no font draws nothing
    return len(new)


@contextmanager
def boxes_told() -> Iterator[None]:
    """Let Matplotlib's warnings of letters that no font here draws be one, after the block.

    Warns:
        FontWarning: which letters are drawn as boxes, and what to install; once for each font.

    Example:
        >>> with boxes_told():
        ...     pass
    """
    chatter = logging.getLogger("matplotlib.font_manager")
    level = chatter.level
    chatter.setLevel(logging.ERROR)  # a font without a bold face is no news
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        chatter.setLevel(level)
    letters: dict[str, None] = {}
    for one in caught:
        found = _GLYPH.match(str(one.message))
        if found:
            letters[chr(int(found[1]))] = None
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    scripts = {unicodedata.name(letter, "").split(" ")[0] for letter in letters}
    families = {_FAMILIES.get(script, "Noto (fonts-noto)") for script in scripts}
    if families <= _TOLD:
        return
    _TOLD.update(families)
    shown = " ".join(list(letters)[:_SHOWN]) + (" …" if len(letters) > _SHOWN else "")
    warnings.warn(
        tr(
            "No font here draws {letters}: boxes stand for them in pictures. Install one, such as "
            "{families}.",
            letters=shown,
            families=", ".join(sorted(families)),
        ),
        FontWarning,
        stacklevel=3,
    )
