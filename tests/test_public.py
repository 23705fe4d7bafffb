"""The public surface, frozen: a name that comes or goes is a decision, noted in CHANGELOG.md."""

import importlib
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import unrolled

SURFACE = [
    "Cell",
    "Classifier",
    "GRU",
    "LSTM",
    "RNN",
    "Recurrent",
    "Regressor",
    "UnrolledError",
    "__version__",
    "cite",
]


def test_the_surface_is_what_was_agreed():
    assert sorted(unrolled.__all__) == SURFACE


@pytest.mark.parametrize("name", [name for name in SURFACE if name != "__version__"])
def test_every_name_is_there_and_documented(name):
    found = getattr(unrolled, name)
    assert found.__doc__
    assert getattr(importlib.import_module(unrolled._HOMES[name]), name) is found


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = unrolled.nothing_like_it


def test_the_names_are_listed():
    assert set(SURFACE) <= set(dir(unrolled))


def test_star_import_brings_the_surface():
    code = "from unrolled import *; print(sorted(n for n in dir() if n[0] != '_'))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str([name for name in SURFACE if name[0] != "_"])


def test_the_version_is_said_once():
    assert metadata.version("unrolled") == unrolled.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", unrolled.__version__)


def test_types_are_promised():
    assert (Path(unrolled.__file__).parent / "py.typed").is_file()
