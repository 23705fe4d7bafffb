"""Freed memory is kept by the process that asked for it."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from unrolled.memory import keep_freed
if sys.argv[1] == "keep":
    assert keep_freed()
def step():
    torch.ones(12_000_000)
for _ in range(20):  # until a piece that was freed is large enough for the next one's alignment
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str, variables: dict[str, str]) -> int:
    ran = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, env=variables
    )
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout)


@pytest.fixture
def variables():
    return {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_a_large_piece_is_mapped_once(variables):
    assert faults("keep", variables) * 20 < faults("leave", variables)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_what_the_user_said_to_the_c_library_goes_first(variables):
    told = {**variables, "MALLOC_MMAP_THRESHOLD_": "65536"}
    ran = subprocess.run(
        [sys.executable, "-c", "from unrolled.memory import keep_freed; print(keep_freed())"],
        capture_output=True,
        text=True,
        env=told,
    )
    assert ran.stdout == "False\n"
