"""What is said to people: an English template comes in, English or Korean goes out.

The Korean stands in `messages_ko.json`, as {English template: Korean template}; what is missing
there is said in English.
"""

import functools
import json
import os
import re
from importlib import resources

from unrolled.errors import UnrolledError, UsageError

LANGUAGES = ("en", "ko")
_chosen: str | None = None


def use(language: str | None) -> None:
    """Choose the language of everything said from now on; None: that of the locale.

    Raises:
        UsageError: the language is not one of `LANGUAGES`.

    Example:
        >>> use("ko")
        >>> tr("yes")
        '예'
        >>> use("en")
        >>> tr("yes")
        'yes'
    """
    global _chosen
    if language is not None and language not in LANGUAGES:
        raise UsageError("--lang", expected=" or ".join(LANGUAGES), got=repr(language))
    _chosen = language


def language() -> str:
    """The language in use: the chosen one, `UNROLLED_LANG`, the locale's, or English."""
    if _chosen is not None:
        return _chosen
    asked = os.environ.get("UNROLLED_LANG", "")
    if asked:
        if asked not in LANGUAGES:
            raise UsageError("UNROLLED_LANG", expected=" or ".join(LANGUAGES), got=repr(asked))
        return asked
    return "ko" if _locale().lower().startswith("ko") else "en"


def tr(template: str, **values: object) -> str:
    """Say `template`, its `{names}` filled from `values`, in the language in use.

    Example:
        >>> use("en")
        >>> tr("no cell is called {name}", name="'lstn'")
        "no cell is called 'lstn'"
    """
    said = catalogue().get(template, template) if language() == "ko" else template
    return said.format(**values) if values else said


def tr_filled(text: str) -> str:
    """Say a text that was filled in English already, as those of errors are.

    Korean is found by matching the text against the catalogue's templates, the one with the most
    fixed letters first; what fills its places is said in Korean too. A text that fits none stays
    as it is.
    """
    if language() != "ko" or not text:
        return text
    if text in catalogue():
        return catalogue()[text]
    for pattern, korean in _patterns():
        found = pattern.fullmatch(text)
        if found:
            inside = found.groupdict().items()
            return korean.format(**{k: _inner(v, text) for k, v in inside})
    return text


def _inner(value: str, text: str) -> str:
    """What fills a place: a phrase is said in Korean, a single word is somebody's name."""
    return tr_filled(value) if " " in value and value != text else value


def tr_error(error: UnrolledError) -> str:
    """An error's one line in the language in use."""
    if language() != "ko":
        return str(error)
    expected, got = tr_filled(error.expected), tr_filled(error.got)
    facts = [f"필요한 것: {expected}"] * bool(expected) + [f"받은 것: {got}"] * bool(got)
    what = ": ".join([tr_filled(error.what), *([", ".join(facts)] if facts else [])])
    return " ".join(f"{what}. {tr_filled(error.fix)}".split())


@functools.cache
def catalogue() -> dict[str, str]:
    """The Korean of every template."""
    file = resources.files("unrolled") / "messages_ko.json"
    return json.loads(file.read_text(encoding="utf-8"))


@functools.cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    filled = [template for template in catalogue() if re.search(r"\{\w+\}", template)]
    filled.sort(key=lambda template: len(re.sub(r"\{\w+\}", "", template)), reverse=True)
    return [(_pattern(template), catalogue()[template]) for template in filled]


def _pattern(template: str) -> re.Pattern[str]:
    seen: set[str] = set()
    pieces = []
    for piece in re.split(r"(\{\w+\})", template):
        name = piece[1:-1]
        if not re.fullmatch(r"\{\w+\}", piece):
            pieces.append(re.escape(piece))
        elif name in seen:
            pieces.append(f"(?P={name})")
        else:
            seen.add(name)
            pieces.append(f"(?P<{name}>.+?)")
    return re.compile("".join(pieces), re.DOTALL)


def _locale() -> str:
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(variable):
            return os.environ[variable]
    import locale  # only Windows and a bare environment come here

    return locale.getlocale()[0] or ""
