"""The ground every test stands on, examples in docstrings too: one seed, no network, no home.

Fresh tensors are NaN until they are written, caches and settings are folders of this run alone,
English is spoken, and a connection beyond this machine is an error that nobody catches by chance.
"""

import os
import random
import shutil
import socket
import tempfile

# Sums in products of PyTorch (MKL's) in one order wherever an operand lies in memory: tests that
# hold two ways of computing against each other compare bits. It has to be said before MKL loads.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
from pathlib import Path
from typing import NamedTuple

import hypothesis
import numpy as np
import pytest
import torch

from unrolled import cli, messages

HOMES = ("UNROLLED_DATA", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "LOCALAPPDATA")

hypothesis.settings.register_profile("unrolled", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.load_profile("unrolled")


class NetworkBlocked(RuntimeError):
    """A test reached beyond this machine. No OSError: code that survives those must not hide it."""


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=1997, help="the seed that every test starts from")
    parser.addoption("--cells", type=int, default=1000, help="random cells of the slow campaign")


def pytest_report_header(config):
    return f"seed: {config.getoption('seed')} (another: --seed N)"


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # the workers of pytest-xdist inherit these
        config.unrolled_home = tempfile.mkdtemp(prefix="unrolled-tests-")
        for name in HOMES:
            folder = Path(config.unrolled_home, name.lower())
            folder.mkdir()
            os.environ[name] = str(folder)
        os.environ.pop("UNROLLED_KERNELS", None)
        os.environ["UNROLLED_LANG"] = "en"
        os.environ["MPLBACKEND"] = "Agg"
        os.environ["COLUMNS"] = "100"
    for method in ("connect", "connect_ex", "sendto"):
        setattr(socket.socket, method, _at_home(getattr(socket.socket, method)))
    socket.getaddrinfo = _known(socket.getaddrinfo)
    config.pluginmanager.register(Ground(config.getoption("seed")))


def pytest_unconfigure(config):
    if hasattr(config, "unrolled_home"):
        shutil.rmtree(config.unrolled_home, ignore_errors=True)


class Ground:
    """What is laid anew before each test, and each example of a docstring."""

    def __init__(self, seed):
        self.seed = seed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item):
        random.seed(self.seed)
        np.random.seed(self.seed)  # noqa: NPY002  scikit-learn draws from the old generator
        torch.manual_seed(self.seed)
        torch.use_deterministic_algorithms(True)  # this is what makes torch.empty give NaN
        messages.use(None)


def _at_home(method):
    def guarded(self, *arguments):
        address = arguments[-1]
        if isinstance(address, tuple) and not _is_loopback(address[0]):
            raise NetworkBlocked(f"a test reached for {address[0]}")
        return method(self, *arguments)

    return guarded


def _known(resolve):
    def guarded(host, *arguments, **options):
        if not _is_loopback(host):
            raise NetworkBlocked(f"a test asked where {host} is")
        return resolve(host, *arguments, **options)

    return guarded


def _is_loopback(host):
    name = host.decode() if isinstance(host, bytes) else (host or "localhost")
    return name in ("localhost", "::1", "0.0.0.0", "::") or name.startswith("127.")


class Ran(NamedTuple):
    """What a command line left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def unrolled(capsys):
    """Run a command line in this process: `unrolled("cells", "list").out`."""

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Ran(int(left.value.code or 0), said.out, said.err)

    return run
