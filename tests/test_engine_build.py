"""Compiled cells, built and kept: races, crashes, tampering, no room, no compiler, built ahead."""

import contextlib
import dataclasses
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest
import torch

from held import compiled_with
from unrolled.cli import ahead
from unrolled.engine import backends, build, cache, compiler, native
from unrolled.errors import BackendError, BackendWarning
from unrolled.layers import Recurrent
from unrolled.progress import Report

POSIX = pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX's")
LAYOUT = {"slots": {}}


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """A cache of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache.folder()


@pytest.fixture
def no_compiler(monkeypatch, kernels):
    monkeypatch.setenv("PATH", str(kernels))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(backends, "_SAID", [])
    compiler.compiler.cache_clear()
    yield
    compiler.compiler.cache_clear()


def in_another_process(code, **options):
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], text=True, **options)


def test_processes_that_build_one_cell_at_once_all_win(kernels):
    """Each compiles something else under the one key, as compilers may: none reads a mixture."""
    code = """
        import ctypes, os
        from unrolled.engine import build
        for turn in range(6):
            source = f"int who(void) {{ return {os.getpid()}; }}"
            build.build("cell-1", source, {"turn": turn})
            found = build.cached("cell-1")
            assert found is not None, "half a library was seen"
            assert ctypes.CDLL(str(found[0])).who() > 0
    """
    running = [in_another_process(code, stderr=subprocess.PIPE) for _ in range(3)]
    for process in running:
        _, said = process.communicate(timeout=100)
        assert process.returncode == 0, said
    path, layout = build.cached("cell-1")
    assert layout["turn"] == 5
    assert not [left for left in kernels.iterdir() if left.name.startswith(".")]
    assert path.parent == kernels


@POSIX
def test_a_crash_in_the_middle_of_a_build_leaves_nothing_that_is_loaded(kernels, tmp_path):
    killer = tmp_path / "cc"
    killer.write_text("#!/bin/sh\nprintf half > cell.so\nkill -9 $PPID\nsleep 1\n", "utf-8")
    killer.chmod(0o700)
    code = f"""
        from unrolled.engine import build
        found = build.Compiler({str(killer)!r}, (), 16, "x")
        build.build("cell-2", "int x;", {{}}, found=found)
    """
    assert in_another_process(code).wait(60) == -signal.SIGKILL
    assert build.cached("cell-2") is None
    (left,) = kernels.glob(f"{build.WORK}*")
    assert (left / "cell.so").read_text("utf-8") == "half"
    build.build("cell-2", "int x = 3;", LAYOUT)
    assert build.cached("cell-2") is not None
    assert left.exists()  # it may be another process's that is still at work
    os.utime(left, (time.time() - 2 * build.FORGOTTEN,) * 2)
    build.build("cell-3", "int x = 3;", LAYOUT)
    assert not left.exists()


def test_what_was_changed_is_built_again_and_never_loaded(kernels):
    made = build.build("cell-4", "int x = 3;", LAYOUT)
    facts = kernels / "cell-4.json"
    whole = made.read_bytes(), facts.read_bytes()
    assert build.cached("cell-4") is not None
    for path, content in (
        (made, whole[0][:-1] + bytes([whole[0][-1] ^ 1])),
        (made, whole[0][: len(whole[0]) // 2]),
        (made, b""),
        (facts, whole[1][:-9]),
        (facts, b"[]"),
        (facts, b'{"sha256": "../../elsewhere"}'),
    ):
        path.write_bytes(content)
        assert build.cached("cell-4") is None
        build.build("cell-4", "int x = 3;", LAYOUT)
        assert build.cached("cell-4") is not None
    made.unlink()
    assert build.cached("cell-4") is None


@POSIX
def test_what_others_could_have_written_is_not_loaded(kernels, monkeypatch):
    made = build.build("cell-5", "int x = 3;", LAYOUT)
    for mode in (0o666, 0o620):
        made.chmod(mode)
        assert build.cached("cell-5") is None
    made.chmod(0o644)
    (kernels / "cell-5.json").chmod(0o664)
    assert build.cached("cell-5") is None
    (kernels / "cell-5.json").chmod(0o644)
    assert build.cached("cell-5") is not None
    kernels.chmod(0o770)
    with pytest.raises(BackendError, match="got mode 770") as error:
        build.cached("cell-5")
    assert f"chmod 700 {kernels}" in str(error.value)
    kernels.chmod(0o700)
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    with pytest.raises(BackendError, match="somebody else's"):
        build.cached("cell-5")


def test_a_cache_that_cannot_be_written_still_gives_what_it_has(kernels, monkeypatch):
    build.build("cell-6", "int x = 3;", LAYOUT)

    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    assert build.cached("cell-6") is not None
    with pytest.raises(BackendError, match=r"got Read-only file system\. Make room, or set XDG_"):
        build.build("cell-7", "int x = 3;", LAYOUT)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder nobody can write in")
def test_a_cache_that_cannot_be_made_is_said(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/self")
    with pytest.raises(BackendError, match="expected a folder that can be written"):
        cache.folder()


@POSIX
def test_a_full_disk_is_said_and_leaves_nothing(kernels):
    """The limit on a file's size stops the compiler and the copy as a full disk does."""
    code = """
        import resource
        from unrolled.engine import build, cache
        from unrolled.errors import BackendError
        build.compiler()
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        try:
            build.build("cell-8", "int x = 3;", {})
        except BackendError as error:
            print(error)
        try:
            cache.write(cache.folder() / "whole", bytes(5000))
        except OSError as error:
            print(error)
    """
    process = in_another_process(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said, wrong = process.communicate(timeout=60)
    assert "expected a folder that can be written, with room" in said, wrong
    assert "File too large" in said
    assert build.cached("cell-8") is None
    assert not [left for left in kernels.iterdir() if not left.name.startswith("compiler-")]


def test_a_source_that_the_compiler_refuses_is_kept_to_be_reported(kernels):
    with pytest.raises(BackendError, match="the compiler refused") as error:
        build.build("cell-9", "int main(", LAYOUT)
    kept = Path(error.value.what.removeprefix("the compiler refused "))
    assert kept.read_text("utf-8") == "int main("
    assert "error" in error.value.got


def test_a_second_process_asks_the_compiler_nothing(kernels, monkeypatch):
    compiler.compiler.cache_clear()
    first = compiler.compiler()
    compiler.compiler.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("the compiler was called"))
        assert compiler.compiler() == first
    (trial,) = kernels.glob("compiler-*.json")
    trial.write_text('{"version": 1}', "utf-8")
    compiler.compiler.cache_clear()
    assert compiler.compiler() == first


def test_without_a_compiler_c_says_so_and_auto_takes_another_and_says_so_once(no_compiler):
    x = torch.zeros(1, 2, 3)
    with pytest.raises(BackendError, match="no C compiler: expected one of cc, gcc, clang") as said:
        Recurrent("lstm", 3, 4, backend="c")(x)
    assert "Install gcc or clang" in str(said.value)
    layer, log = Recurrent("lstm", 3, 4), io.StringIO()
    with pytest.warns(BackendWarning, match="no C compiler.*Until then backend torch runs"):
        layer(x)
    assert layer.backend == "torch"
    layer(x)
    Recurrent("lstm", 3, 5)(x)
    assert layer.stream().backend == "torch"
    Report(stream=log).ran(layer)
    first, second = log.getvalue().splitlines()
    assert first == "backend: torch"
    assert second.startswith("no C compiler: expected")


def test_auto_survives_a_cache_that_cannot_be_written(kernels, monkeypatch):
    monkeypatch.setattr(backends, "_SAID", [])
    kernels.chmod(0o777)
    layer = Recurrent("gru", 3, 4)
    with pytest.warns(BackendWarning, match=r"nobody else can write to.*chmod 700"):
        layer(torch.zeros(1, 2, 3))
    assert layer.backend == "torch"


MINE = """
from unrolled.cells import Cell, tanh

class Mine(Cell):
    gates, states = "n", "h"
    def step(self, x, u, h):
        return dict(h=tanh(x.n + 0.5 * u.n(h)))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A cell of the catalogue and one of a file, in a folder, and what the command said."""
    place, said = tmp_path_factory.mktemp("ahead"), io.StringIO()
    (place / "mine.py").write_text(MINE, "utf-8")
    with compiled_with("-O0"), contextlib.redirect_stdout(said):
        ahead.build(["rnn", f"{place / 'mine.py'}:Mine"], out=place / "kernels")
    return place, said.getvalue()


@pytest.fixture
def prebuilt(built, tmp_path, monkeypatch):
    shutil.copytree(built[0], tmp_path / "ahead")
    monkeypatch.chdir(tmp_path / "ahead")
    monkeypatch.setenv("UNROLLED_KERNELS", "kernels")
    return tmp_path / "ahead" / "kernels"


def test_cells_that_were_built_ahead_need_no_compiler(built, prebuilt, no_compiler):
    assert f"UNROLLED_KERNELS={built[0] / 'kernels'}" in built[1]
    for cell in ("rnn", "mine.py:Mine"):
        layer = Recurrent(cell, 3, 4, backend="c")
        output, _ = layer(torch.ones(1, 2, 3))
        layer.backend = "reference"
        assert torch.allclose(output, layer(torch.ones(1, 2, 3))[0], atol=1e-6)
    with pytest.raises(BackendError, match=r"got none; .*kernels has no such cell"):
        Recurrent("gru", 3, 4, backend="c")(torch.zeros(1, 2, 3))


def test_what_was_built_ahead_is_checked_before_it_is_loaded(prebuilt, no_compiler, monkeypatch):
    monkeypatch.setattr(native, "_loaded", lambda *a: pytest.fail("it was loaded"))
    (facts,) = prebuilt.glob("rnn-*.json")
    whole = json.loads(facts.read_text("utf-8"))

    def said(match):
        with pytest.raises(BackendError, match=match):
            Recurrent("rnn", 3, 4, backend="c")(torch.zeros(1, 2, 3))

    for change, match in (
        ({"sha256": "0" * 64}, "no such cell"),
        ({"system": "Plan9 vax"}, "made for Plan9 vax"),
        ({"needs": ["avx9999"]}, "made for a processor with avx9999"),
    ):
        facts.write_text(json.dumps({**whole, **change}), "utf-8")
        said(match)
    facts.write_text(json.dumps(whole), "utf-8")
    if os.name == "posix":
        facts.chmod(0o666)
        said("mode 666")
        facts.chmod(0o644)
        prebuilt.chmod(0o775)
        said("mode 775")
    monkeypatch.setenv("UNROLLED_KERNELS", str(prebuilt / "nowhere"))
    said("Correct the variable")


def test_a_model_is_built_ahead_as_it_runs(tmp_path, unrolled, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layer = Recurrent("rnn", 3, 4, zoneout=0.5)
    task = type("Task", (), {"model": torch.nn.Sequential(layer)})
    monkeypatch.setattr("unrolled.tasks.load", lambda directory: task)
    (tmp_path / "model").mkdir()
    with compiled_with("-O0"):
        assert unrolled("cells", "build", "model", "--out", "kernels").code == 0
    monkeypatch.setenv("UNROLLED_KERNELS", str(tmp_path / "kernels"))
    for training in (True, False):
        cell = layer.train(training)._training_cell if training else layer._evaluation_cell
        found, why = native._built_ahead(
            native._key(cell, native._described(cell, (), torch.float32))
        )
        assert found, why


def test_what_cannot_be_built_ahead_is_said(tmp_path, unrolled, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words, said in (
        ([], "expected names of cells, or --all"),
        (["rnn", "--dtype", "int8"], "expected float32, float64 or bfloat16"),
        (["rnn", "--observe", "q"], "expected any of"),
        (["nothing"], "nothing"),
    ):
        ran = unrolled("cells", "build", *words)
        assert ran.code == 2, words
        assert said in ran.err
    if os.name == "posix":
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(0o777)
        assert "chmod 755" in unrolled("cells", "build", "rnn", "--out", "open").err


def test_a_library_of_no_cell_is_refused(tmp_path):
    file = tmp_path / "broken.so"
    file.write_bytes(b"no library")
    with pytest.raises(BackendError, match="Remove it"):
        build.load(file)


def test_auto_says_once_that_a_cell_without_a_kernel_runs_as_a_loop(monkeypatch):
    """A device that has no backend of its own: only the reference is left."""
    monkeypatch.setattr(backends, "_SAID", [])

    class Elsewhere:
        """A tensor's stand-in that says it lies on a GPU."""

        device = torch.device("cuda")

    layer = Recurrent("lem", 3, 4, backend="reference")
    calls = []
    monkeypatch.setattr(
        backends,
        "BACKENDS",
        {n: b._replace(run=calls.append) for n, b in backends.BACKENDS.items()},
    )
    call = dataclasses.replace(_call(layer), x=Elsewhere())
    with pytest.warns(BackendWarning, match="the cell lem has no kernel on cuda"):
        assert backends.run("auto", call)[1] == "reference"
    backends.run("auto", call)
    backends.run("reference", call)
    assert len(calls) == 3


def _call(layer):
    from unrolled.engine.call import Call, Params

    return Call(layer.cell, torch.zeros(1, 1, 3), {}, Params())
