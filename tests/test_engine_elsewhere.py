"""The emitted C on other processors: an older one of this line, and ARM where it is emulated."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from unrolled.cells import find
from unrolled.engine.compiler import compiler
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
@pytest.mark.parametrize("machine", ["x86-64", "haswell", "arm"])
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
        if machine == "haswell" and "AVX" not in torch.backends.cpu.get_cpu_capability():
            pytest.skip("needs AVX2")
        path, flags, before, registers = here.path, [f"-march={machine}"], [], 16
    got = said(tmp_path, path, flags, before, registers, dtype)
    assert set(got) == {"h", "c", "dx", "dW", "dU", "db"} == set(expected)
    for name, value in expected.items():
        assert value != 0
        assert got[name] == pytest.approx(value, rel=2e-5 if dtype == torch.float32 else 1e-12), (
            name
        )
