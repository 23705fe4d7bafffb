"""The house stays in order: imports point backwards, files are short, exceptions have reasons.

Each check is a function from text to complaints, so that the tests can also see it complain.
"""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "unrolled"
# The order in which data flows. A module may import what stands before it, or in its own folder.
ORDER = (
    "errors messages fonts files tensors engine cells layers text data checkpoint inspect "
    "interrupts memory randomness progress optimise history watch runs card train tasks lab "
    "explore export serve bench cli __main__"
).split()
INSTANT = "torch numpy sympy scipy sklearn matplotlib pandas".split()
SOURCES = sorted(PACKAGE.rglob("*.py"))
PYTHON = SOURCES + sorted((ROOT / "tests").rglob("*.py")) + sorted(ROOT.glob("benchmarks/**/*.py"))
TEXTS = PYTHON + sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "Makefile", "*.toml", "*.txt", ".ci/*", "src/**/*.json")
    for path in ROOT.glob(pattern)
)


def name(path):
    return path.relative_to(ROOT).as_posix()


def imported(tree, module, is_package):
    """Every module that the code imports, anywhere in it, as (line, absolute dotted name)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            up = node.level - is_package
            base = parts[: len(parts) - up] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            if source == "unrolled":
                yield from ((node.lineno, f"unrolled.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, source


def forward_imports(code, module, is_package=False):
    """Complaints about imports that point to what comes later."""
    here = module.split(".")[1] if "." in module else "unrolled"
    for line, target in imported(ast.parse(code), module, is_package):
        if not target.startswith("unrolled.") or target == "unrolled.__version__":
            continue
        there = target.split(".")[1]
        if there not in ORDER:
            yield f"{module}:{line} imports {target}, which has no place in the order"
        elif here == "unrolled" or ORDER.index(there) > ORDER.index(here):
            yield f"{module}:{line} imports {target}, which comes later"


def exceptions_without_reason(code):
    """Complaints about a check that is switched off in a line that does not say why."""
    found = re.compile(
        r"(?P<mark>#\s*noqa(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?|#\s*type:\s*ignore(?:\[[\w, -]*\])?"
        r"|#\s*pragma:\s*no cover|#\s*mypy:[^#]*)(?P<rest>[^\n]*)"
    )
    for number, line in enumerate(code.splitlines(), 1):
        for match in found.finditer(line):
            others = found.sub("", match["rest"])
            if not re.search(r"\w{2,}.*\w{2,}", others):
                yield f"line {number}: {match['mark']} gives no reason"
            if re.fullmatch(r"#\s*(noqa|type:\s*ignore)", match["mark"]):
                yield f"line {number}: {match['mark']} names no rule"


def machine_paths(text):
    """Complaints about paths that exist on one machine only."""
    for number, line in enumerate(text.splitlines(), 1):
        if re.search(r"(?<![\w.<>{}-])/(home|Users|root|work|tmp|opt|mnt)/\w", line):
            yield f"line {number}: {line.strip()[:80]}"
        if re.search(r"\b[A-Z]:\\+(Users|Documents)", line):
            yield f"line {number}: {line.strip()[:80]}"


def dotted(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_imports_point_only_backwards(path):
    code = path.read_text(encoding="utf-8")
    module = dotted(path)
    if module != "unrolled":
        top = module.split(".")[1]
        assert top in ORDER, f"{top} has no place in the order"
    assert not list(forward_imports(code, module, path.stem == "__init__"))


@pytest.mark.parametrize(
    ("code", "module"),
    [
        ("import unrolled.cells", "unrolled.engine.graph"),
        ("from unrolled import layers", "unrolled.cells"),
        ("from ..cells import find", "unrolled.engine.graph"),
        ("from .. import cli", "unrolled.data.load"),
        ("def f():\n    from unrolled.train import train", "unrolled.data.load"),
        ("from unrolled.utils import x", "unrolled.cli"),
        ("import unrolled.errors", "unrolled"),
    ],
)
def test_an_import_that_points_forward_is_seen(code, module):
    assert list(forward_imports(code, module))


def test_a_relative_import_in_a_package_file_is_of_that_package():
    assert not list(forward_imports("from .graph import Node", "unrolled.engine", is_package=True))
    assert list(forward_imports("from ..cells import find", "unrolled.engine", is_package=True))


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_no_file_has_more_than_500_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_every_file_opens_with_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_every_exception_from_a_check_has_its_reason(path):
    if path != Path(__file__):
        assert not list(exceptions_without_reason(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "line",
    ["x = 1  # noqa", "x = 1  # noqa: E501", "f(x)  # type: ignore[arg-type]"],
)
def test_an_exception_without_reason_is_seen(line):
    assert list(exceptions_without_reason(line))
    assert not list(exceptions_without_reason("x = 1  # noqa: E501  a link that cannot be broken"))


def test_every_rule_switched_off_in_pyproject_has_its_reason():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    settings = tomllib.loads(text)["tool"]
    off = settings["ruff"]["lint"]["ignore"] + settings["mypy"]["disable_error_code"]
    off += settings["pytest"]["ini_options"]["filterwarnings"][1:]
    for rule in off:
        line = next(line for line in text.splitlines() if f'"{rule}"' in line or rule in line)
        assert re.search(r"#\s*\S+ \S+", line), f"{rule} is switched off without a reason"


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_no_path_of_a_machine(path):
    if path != Path(__file__):
        assert not list(machine_paths(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("line", ["open('/home/ann/x.csv')", "cd /tmp/a", r"C:\Users\ann"])
def test_a_path_of_a_machine_is_seen(line):
    assert list(machine_paths(line))
    assert not list(machine_paths("see docs/home/work.md, or runs/tmp/x"))


@pytest.mark.parametrize(
    "module", ["unrolled", "unrolled.errors", "unrolled.messages", "unrolled.cells", "unrolled.cli"]
)
def test_what_must_be_instant_loads_nothing_heavy(module):
    heavy = INSTANT + (["typer", "rich"] if module != "unrolled.cli" else [])
    code = f"import {module}, sys; print(*(m for m in {heavy!r} if m in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
