"""Products on a processor that multiplies matrices of bfloat16 (AMX), in plain C where it does not.

What a machine without those instructions runs of `matrix.h` is the same C, with the instructions
replaced by `tiles_in_c.h`.
"""

import dataclasses
import json
import subprocess
from pathlib import Path

import pytest
import torch

from held import compiled_with
from test_bfloat16 import FAMILIES, HALF, LENGTHS, hold, hold_everything, of
from unrolled.cells import find
from unrolled.engine import build, compiler, native
from unrolled.layers import Recurrent

IN_C = (
    "-include",
    str(Path(__file__).parent / "tiles_in_c.h"),
    "-D__AMX_TILE__=1",
    "-D__AMX_BF16__=1",
)
pytestmark = pytest.mark.skipif(
    "avx512bf16" not in (compiler.instructions() or ()),
    reason="bfloat16 is widened on this processor",
)
# Rows: fewer than a tile has, as many, one more, two tiles, more; units and features with tails.
SHAPES = [(3, 1, 1, 16), (2, 16, 32, 33), (4, 17, 5, 64), (2, 32, 64, 40), (3, 49, 20, 96)]


@pytest.fixture(scope="module")
def in_c():
    with compiled_with("-O1", *IN_C) as machine:
        yield machine


@pytest.mark.parametrize("name", FAMILIES)
def test_cells_of_every_kind(name, in_c):
    hold_everything(name)


@pytest.mark.parametrize("name", ["lstm", "gru"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_and_words_of_all_numbers(name, shape, in_c):
    hold(of(name, shape[-1]), *shape, 2)


def test_padding_counts_as_nothing(in_c):
    hold(find("lstm"), 6, 7, 5, 17, 2, lengths=LENGTHS, bidirectional=True)


def run(batch, threads=2, cell="gru", units=48):
    torch.manual_seed(0)
    layer = Recurrent(cell, 20, units, 2, backend="c", dtype=HALF)
    x = torch.randn(batch, 9, 20).to(HALF).requires_grad_()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        output, _ = layer(x)
        output.float().square().sum().backward()
    finally:
        torch.set_num_threads(before)
    return layer, x, output, [x.grad, *(p.grad for p in layer.parameters())]


def test_bits_depend_neither_on_threads_nor_on_rows_nor_on_time(in_c):
    layer, x, output, gradients = run(50)
    for got, want in zip(run(50, threads=1)[3], gradients, strict=True):
        assert torch.equal(got, want)
    for rows in (1, 13, 33):
        assert torch.equal(layer(x[:rows])[0], output[:rows])
    stream = layer.stream(50)
    for t in range(9):
        assert torch.equal(stream(x[:, t].detach()), output[:, t])


@pytest.mark.skipif("amxbf16" not in (compiler.instructions() or ()), reason="no such instructions")
@pytest.mark.parametrize("flags", [("-O1",), ()], ids=["O1", "as for users"])
def test_the_instructions_do_what_c_does(flags, in_c):
    _, _, output, gradients = run(33)
    with compiled_with(*flags):
        _, _, other, others = run(33)
    assert torch.equal(output, other)
    for got, want in zip(others, gradients, strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize("names", ["__AMX_TILE__ __AMX_BF16__", "__AMXTILE__ __AMXBF16__"])
def test_compilers_name_them_in_two_ways(names):
    """gcc has an underscore more than clang 14."""
    machine = build.compiler()
    others = "__AMX_TILE__ __AMX_BF16__ __AMXTILE__ __AMXBF16__".split()
    flags = [*(f"-U{name}" for name in others), *(f"-D{name}=1" for name in names.split())]
    source, _ = native.emitted(find("lstm").trace(), (), dtype=HALF, registers=machine.registers)
    command = [machine.path, *machine.flags, *flags, "-E", "-x", "c", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=True)
    assert "multiply(" in done.stdout  # what tiles do


def test_nothing_else_needs_them(anew, monkeypatch, tmp_path):
    machine = dataclasses.replace(compiler.compiler(), needs=("amxbf16", "avx512f"))
    for dtype, expected in ((HALF, ["amxbf16", "avx512f"]), (torch.float32, ["avx512f"])):
        monkeypatch.setattr(build, "compiler", lambda *_: machine)
        path = native.build_ahead(find("rnn").trace(), (), dtype, tmp_path)
        [facts] = [json.loads(f.read_text()) for f in path.parent.glob("rnn-*.json")]
        assert facts["needs"] == expected
        for file in path.parent.glob("rnn-*"):
            file.unlink()


@pytest.fixture
def anew(tmp_path, monkeypatch):
    """A cache and a process that know nothing of compilers yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native, "_KERNELS", {})
    cached = (compiler.compiler, compiler.instructions)  # before a test replaces them
    for found in cached:
        found.cache_clear()
    yield
    for found in cached:
        found.cache_clear()


def test_where_the_system_refuses_them_none_is_used(anew, monkeypatch, tmp_path):
    monkeypatch.setattr(compiler, "_may_use_tiles", lambda: False)
    assert compiler.TILES.isdisjoint(compiler.instructions())
    machine = compiler.compiler()
    assert compiler.TILES.isdisjoint(machine.needs)
    monkeypatch.setattr(build, "compiler", lambda *machine: compiler.compiler())
    hold(find("lstm"), 5, 18, 7, 33, 2)
    library = next((tmp_path / "unrolled" / "kernels").glob("lstm-*.so"))
    assert b"multiply" not in library.read_bytes()  # the name of what tiles do


def test_where_the_system_says_nothing_none_is_used(anew, monkeypatch):
    monkeypatch.setattr(compiler, "instructions", lambda: None)
    monkeypatch.setattr(compiler, "_remembered", lambda path, machine: None)
    machine = compiler.compiler()
    assert compiler.TILES.isdisjoint(machine.needs)
    assert not compiler.unfit(compiler.system(), ["avx2"])
    assert "amxbf16" in compiler.unfit(compiler.system(), ["avx2", "amxbf16"])


def test_what_was_built_for_them_is_not_run_without_them(anew, monkeypatch):
    monkeypatch.setattr(compiler, "_may_use_tiles", lambda: False)
    assert "amxbf16" in compiler.unfit(compiler.system(), ["avx2", "amxbf16"])
