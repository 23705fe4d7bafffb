"""The documents tell the truth: what they show is what the command prints, their links lead on.

A block ```console holds commands after `$ ` and their output. Commands that answer at once are run
and compared letter by letter. The others of the README run as well, from top to bottom, numbers and
times left out; those of its Korean twin with `make slow`.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from unrolled import messages

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
INSTANT = ("--help", "--version", "cells list", "cells show", "cells new", "cells check")


def blocks(path, language):
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands(block):
    """(command, output) for every `$ unrolled …` of a block."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, _, output = part.partition("\n")
        yield line, output


def session(path):
    return [each for block in blocks(path, "console") for each in commands(block)]


def is_instant(line):
    return any(line.startswith(f"unrolled {word}") for word in INSTANT)


def blurred(text):
    """Text without what differs from run to run: numbers, and spaces that follow their width."""
    return re.sub(r"\s+", " ", re.sub(r"\d[\d,.]*", "#", text)).strip()


@pytest.mark.parametrize("path", [p for p in DOCUMENTS if session(p)], ids=lambda p: p.name)
def test_what_is_shown_is_what_is_printed(path, unrolled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNROLLED_LANG", "ko" if path.name.endswith(".ko.md") else "en")
    messages.use(None)
    for line, output in session(path):
        if is_instant(line):
            ran = unrolled(*shlex.split(line)[1:])
            assert (ran.code, ran.out.rstrip()) == (0, output.rstrip()), line


@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    "name", ["README.md", pytest.param("README.ko.md", marks=pytest.mark.slow)]
)
def test_the_readme_runs_from_top_to_bottom(name, tmp_path):
    path = ROOT / name
    language = "ko" if name.endswith(".ko.md") else "en"
    for line, output in session(path):
        if "mnist" in line or not line.startswith("unrolled"):
            continue  # what needs a download is not run
        words = [sys.executable, "-m", *shlex.split(line), "--lang", language]
        ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8")
        assert ran.returncode == 0, f"{line}\n{ran.stderr}"
        said = blurred(ran.stdout)
        for shown in output.splitlines():
            if shown.strip() not in ("", "…"):
                assert blurred(shown) in said, line


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_examples_in_python_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = {}
    for block in blocks(path, "python"):
        exec(compile(block, path.name, "exec"), scope)  # noqa: S102  the document's own code


def test_the_c_of_the_documents_is_what_is_emitted(unrolled):
    emitted = unrolled("cells", "show", "mingru", "--stage", "c").out
    lines = {line.strip() for line in emitted.splitlines()}
    shown = blocks(ROOT / "docs" / "engine.md", "c")
    assert shown
    assert not [line for block in shown for line in block.splitlines() if line not in lines]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    missing = [to for to in links if "://" not in to and not (path.parent / to).exists()]
    assert not missing


def test_the_readme_begins_with_the_sentence_the_equations_the_training_and_a_picture():
    for name in ("README.md", "README.ko.md"):
        first = (ROOT / name).read_text(encoding="utf-8").splitlines()[:30]
        head = "\n".join(first)
        assert first[0] == "# unrolled"
        assert "def step(self" in head
        assert "$ unrolled train digits" in head
        assert re.search(r"!\[[^]]+\]\([^)]+\.png\)", head)


def test_both_readmes_show_the_same_commands():
    english, korean = (
        [line for line, _ in session(ROOT / n)] for n in ("README.md", "README.ko.md")
    )
    assert english == korean


def test_a_wrong_output_is_seen():
    block = "$ unrolled --version\nunrolled 9.9.9\n$ unrolled cells list\nx\n"
    assert list(commands(block)) == [
        ("unrolled --version", "unrolled 9.9.9\n"),
        ("unrolled cells list", "x\n"),
    ]
    assert blurred("accuracy 97.22 % in  3.1 s") == blurred("accuracy 96.1 % in 12 s")
    assert blurred("accuracy 97.22 %") != blurred("loss 97.22 %")
