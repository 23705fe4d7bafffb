"""The ground of the tests holds: each guard of conftest.py is seen to act."""

import os
import random
import socket
import sys
import warnings
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch

from unrolled import messages


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 80), ("2001:db8::1", 80)])
def test_a_connection_beyond_this_machine_is_an_error(address):
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as one, pytest.raises(RuntimeError, match="a test reached"):
        one.connect(address)


def test_a_name_beyond_this_machine_is_not_looked_up():
    with pytest.raises(RuntimeError, match="asked where"):
        socket.create_connection(("example.org", 80), timeout=1)


def test_loopback_is_open():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


def test_fresh_tensors_are_nan():
    assert torch.empty(5).isnan().all()
    assert torch.ones(2).new_empty(3, dtype=torch.float64).isnan().all()


@pytest.mark.parametrize("turn", [1, 2])
def test_every_test_draws_the_same_numbers(turn, request):
    seed = request.config.getoption("seed")
    expected = torch.rand(2, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(torch.rand(2), expected)
    assert random.random() == random.Random(seed).random()
    assert np.random.rand() == np.random.RandomState(seed).rand()  # noqa: NPY002  the old generator


def test_a_warning_is_an_error():
    with pytest.raises(UserWarning):
        warnings.warn("seen", stacklevel=1)


def test_caches_are_of_this_run_alone():
    home = Path(os.environ["UNROLLED_DATA"]).parent
    assert home.name.startswith("unrolled-tests-")
    if sys.platform == "linux":
        assert home in Path(platformdirs.user_cache_dir("unrolled")).parents


def test_english_is_spoken():
    assert messages.language() == "en"
