"""What is said to people: the Korean is complete and fills the same places as the English."""

import ast
import inspect
import json
import re
from importlib import resources
from pathlib import Path

import pytest
import typer

import unrolled
from unrolled import cells, cli, messages
from unrolled.errors import DataError, UnrolledError, UsageError

SOURCE = Path(unrolled.__file__).parent
CATALOGUE = json.loads(
    (resources.files("unrolled") / "messages_ko.json").read_text(encoding="utf-8")
)


def places(template):
    return sorted(re.findall(r"\{(\w+)\}", template))


def said_in_code():
    """Every template that the code gives to `tr` as it stands."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "tr"
                and isinstance(node.args[0], ast.Constant)
            ):
                yield node.args[0].value


def helps(command):
    if command.help:
        yield command.help
    for parameter in command.params:
        if getattr(parameter, "help", None):
            yield parameter.help
    for inner in getattr(command, "commands", {}).values():
        yield from helps(inner)


KINDS = {kind.__name__ for kind in (UnrolledError, *UnrolledError.__subclasses__())}


def texts(node):
    """What an expression can say: texts whose places are filled with one word, `…`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        for left in list(texts(node.left)) or ["…"]:
            for right in list(texts(node.right)) or ["…"]:
                yield left + right


def said_by_errors():
    """Every text with which the code raises an error, if it is a phrase and not a name."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in KINDS:
                parts = [*node.args[:1], *(k.value for k in node.keywords)]
                yield from (text for part in parts for text in texts(part) if is_phrase(text))


def is_phrase(text):
    return len(re.findall(r"\b[A-Za-z]+\b", re.sub(r"`[^`]*`|\S*[=(…]\S*", "", text))) > 1


def without_korean(templates):
    return sorted({template for template in templates if template not in CATALOGUE})


def test_the_catalogue_is_sorted_and_has_each_template_once():
    text = (resources.files("unrolled") / "messages_ko.json").read_text(encoding="utf-8")
    pairs = json.loads(text, object_pairs_hook=list)
    keys = [key for key, _ in pairs]
    assert keys == sorted(set(keys))


def test_both_languages_fill_the_same_places():
    wrong = [key for key, korean in CATALOGUE.items() if places(key) != places(korean)]
    assert not wrong


def test_every_template_of_the_code_has_its_korean():
    assert not without_korean(said_in_code())


def test_a_template_without_korean_is_seen():
    assert without_korean(["never said", "yes"]) == ["never said"]


def test_nearly_every_error_can_be_said_in_korean():
    messages.use("ko")
    said = set(said_by_errors())
    mute = sorted(text for text in said if messages.tr_filled(text) == text)
    # one in twenty may wait for its Korean: a new error is first of all clear in English
    assert len(mute) <= len(said) / 20, mute


def test_a_name_is_no_phrase_and_a_phrase_is_one():
    assert not any(map(is_phrase, ["hx", "proj_size", "…: …", "--label", "`u.k(v)`", "T=0"]))
    assert all(map(is_phrase, ["a number", "… is missing", "no cell …"]))
    assert len(list(said_by_errors())) > 100


def test_every_help_has_its_korean():
    commands = [typer.main.get_command(cli.app), *(cli.load(verb) for verb in cli.COMMANDS)]
    assert not without_korean(text for command in commands for text in helps(command))


def test_every_cell_is_described_in_korean():
    first = (inspect.getdoc(kind).splitlines()[0] for kind in cells.CATALOGUE.values())
    assert not without_korean(first)


@pytest.mark.parametrize(
    ("variables", "language"),
    [
        ({"UNROLLED_LANG": "ko"}, "ko"),
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "C"}, "en"),
        ({"LC_ALL": "C", "LANG": "ko_KR.UTF-8"}, "en"),
        ({"LC_MESSAGES": "ko_KR.UTF-8", "LANG": "en_US.UTF-8"}, "ko"),
        ({"UNROLLED_LANG": "en", "LC_ALL": "ko_KR.UTF-8"}, "en"),
    ],
)
def test_the_language_follows_the_variable_then_the_locale(variables, language, monkeypatch):
    for name in ("UNROLLED_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert messages.language() == language


def test_without_variables_the_system_is_asked(monkeypatch):
    for name in ("UNROLLED_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("locale.getlocale", lambda: ("Korean_Korea", "949"))
    assert messages.language() == "ko"
    monkeypatch.setattr("locale.getlocale", lambda: (None, None))
    assert messages.language() == "en"


def test_a_language_that_is_not_spoken_is_refused(monkeypatch):
    with pytest.raises(UsageError, match="en or ko"):
        messages.use("fr")
    monkeypatch.setenv("UNROLLED_LANG", "fr")
    with pytest.raises(UsageError, match="UNROLLED_LANG"):
        messages.language()


@pytest.fixture
def korean(monkeypatch):
    """Korean is spoken, with a small catalogue."""
    small = {
        "{path} is missing": "{path} 파일이 없습니다",
        "{path} is missing a row": "{path} 파일에 행이 모자랍니다",
        "cell {name}: {what}": "셀 {name}: {what}",
        "64 columns": "열 64개",
        "Complete it.": "채우세요.",
        "{a} and {a}": "{a} 두 번",
    }
    monkeypatch.setattr(messages, "catalogue", lambda: small)
    messages._patterns.cache_clear()
    messages.use("ko")
    yield
    messages.use(None)
    messages._patterns.cache_clear()


@pytest.mark.usefixtures("korean")
class TestKorean:
    """What is said when Korean is spoken."""

    def test_a_template_is_filled_in_korean(self):
        assert messages.tr("{path} is missing", path="a.csv") == "a.csv 파일이 없습니다"

    def test_a_template_without_korean_is_said_in_english(self):
        assert messages.tr("{path} is odd", path="a.csv") == "a.csv is odd"

    def test_a_filled_text_finds_its_template(self):
        assert messages.tr_filled("a b.csv is missing") == "a b.csv 파일이 없습니다"

    def test_the_more_exact_template_wins(self):
        assert messages.tr_filled("a.csv is missing a row") == "a.csv 파일에 행이 모자랍니다"

    def test_what_fills_a_place_is_said_in_korean_too(self):
        assert messages.tr_filled("cell a: a.csv is missing") == "셀 a: a.csv 파일이 없습니다"

    def test_a_place_that_comes_twice_is_filled_alike(self):
        assert messages.tr_filled("x and x") == "x 두 번"
        assert messages.tr_filled("x and y") == "x and y"

    def test_braces_in_a_value_are_only_text(self):
        assert messages.tr_filled("{x} is missing") == "{x} 파일이 없습니다"

    def test_an_error_is_one_line(self):
        error = DataError("a.csv is missing", expected="64 columns", got="63", fix="Complete it.")
        said = "a.csv 파일이 없습니다: 필요한 것: 열 64개, 받은 것: 63. 채우세요."
        assert messages.tr_error(error) == said
        assert messages.tr_error(DataError("a.csv is missing")) == "a.csv 파일이 없습니다."


def test_in_english_texts_stay_as_they_are():
    error = DataError("a.csv is missing", expected="x", got="y", fix="Do it.")
    assert messages.tr_error(error) == str(error)
    assert messages.tr_filled("yes") == "yes"
