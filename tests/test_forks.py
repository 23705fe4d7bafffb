"""A forked child computes and does not hang: plain forks, prefork servers, workers of a loader."""

import subprocess
import sys
from pathlib import Path

import pytest

import fork_cells
from unrolled.engine import build, forks

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="elsewhere processes are spawned"
)
SCRIPT = Path(__file__).with_name("fork_cells.py")


def ran(*arguments):
    words = [sys.executable, "-W", "ignore", str(SCRIPT), *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=240)


def test_children_compute_what_their_parents_do():
    found = ran()
    assert found.returncode == 0, found.stderr
    said = dict(line.split() for line in found.stdout.splitlines())
    assert said == {case.__name__: "True" for case in fork_cells.CASES}, found.stderr


@pytest.mark.slow
@pytest.mark.skipif("-fopenmp" not in build.compiler().flags, reason="there is one thread anyway")
def test_a_child_that_hangs_would_be_seen():
    assert ran("unguarded").stdout.split() == ["plain", "False"]


def test_a_process_that_was_forked_past_python_has_one_thread(monkeypatch):
    assert forks.many_threads()
    monkeypatch.setattr(forks, "_safe_in", forks._safe_in + 1)
    assert not forks.many_threads()
    monkeypatch.setattr(forks, "_paused", True)
    forks._in_child()
    assert forks.many_threads()
