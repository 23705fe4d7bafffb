"""The emitted C on other processors: an older one of this line, and ARM where it is emulated."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from unrolled.cells import find
from unrolled.engine.c.tiles import MOST, most_rows
from unrolled.engine.compiler import FLAGS, compiler
from unrolled.engine.native import emitted

ARM = ("aarch64-linux-gnu-gcc", "qemu-aarch64")


def said(folder, path, flags, before, registers, dtype):
    """What the harness prints, compiled so: name → sum."""
    source, _ = emitted(find("lstm").trace(), (), dtype=dtype, registers=registers)
    (folder / "cell.c").write_text(source, "utf-8")
    program, harness = folder / "program", str(Path(__file__).with_name("lstm_alone.c"))
    subprocess.run(
        [path, "-O2", *flags, f'-DCELL="{folder}/cell.c"', harness, "-o", str(program), "-lm"],
        check=True,
        capture_output=True,
    )
    answer = subprocess.run(
        [*before, str(program)], check=True, capture_output=True, text=True, timeout=60
    )
    return {name: float(value) for name, value in map(str.split, answer.stdout.splitlines())}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("machine", ["x86-64", "sandybridge", "haswell", "arm"])
def test_other_processors_agree(machine, dtype, tmp_path):
    here = compiler()
    expected = said(tmp_path, here.path, ["-march=native"], [], here.registers, dtype)
    if machine == "arm":
        if not all(map(shutil.which, ARM)):
            pytest.skip(f"needs {' and '.join(ARM)}")
        flags, before, registers = (
            ["-march=armv8.2-a"],
            [ARM[1], "-L", "/usr/aarch64-linux-gnu"],
            32,
        )
        path = ARM[0]
    else:
        if platform.machine() not in ("x86_64", "AMD64"):
            pytest.skip("needs an x86 processor")
        if (
            machine in ("sandybridge", "haswell")
            and "AVX" not in torch.backends.cpu.get_cpu_capability()
        ):
            pytest.skip("needs AVX2")
        path, flags, before, registers = here.path, [f"-march={machine}"], [], 16
    got = said(tmp_path, path, flags, before, registers, dtype)
    assert set(got) == {"h", "c", "dx", "dW", "dU", "db"} == set(expected)
    for name, value in expected.items():
        assert value != 0
        assert got[name] == pytest.approx(value, rel=2e-5 if dtype == torch.float32 else 1e-12), (
            name
        )


@pytest.mark.parametrize("machine", ["haswell", "znver2", "skylake-avx512"])
def test_weights_of_a_tile_are_loaded_once(machine, tmp_path):
    # Where a compiler loads them for each row, products wait: 0.6 of the speed on an AMD EPYC.
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("needs an x86 processor")
    registers = 32 if "512" in machine else 16
    source, _ = emitted(find("lstm").trace(), (), dtype=torch.float32, registers=registers)
    (tmp_path / "cell.c").write_text(source, "utf-8")
    words = [*FLAGS, f"-march={machine}", "-S", "-o", "-", str(tmp_path / "cell.c")]
    answer = subprocess.run([compiler().path, *words], check=True, capture_output=True, text=True)
    rows = most_rows(4, registers)
    for name, products in {f"tile_04_{rows}_1": rows * 4, "outer_2_4": 8, "tile_01_2_4": 8}.items():
        body = answer.stdout.split(f"\n{name}:", 1)[1].split(f".size\t{name}", 1)[0]
        lines = [line.split("#")[0] for line in body.splitlines()]
        multiplied = [line for line in lines if "vfmadd" in line]
        assert len(multiplied) == products
        assert not [line for line in multiplied if "(" in line], name


@pytest.mark.parametrize("registers", [16, 32])
def test_tiles_fit_the_registers(registers):
    for columns in range(1, MOST + 1):
        rows = most_rows(columns, registers)
        assert rows * columns + min(rows, columns) + 1 <= registers
        more = rows + 1
        assert rows == 8 or more * columns + min(more, columns) + 1 > registers
