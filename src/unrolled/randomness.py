"""Random states of torch, NumPy and Python: borrowed for a run, kept in tensors, given back."""

# NumPy's old global generator is what a user's own task may draw from.
# ruff: noqa: NPY002

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from unrolled.errors import ModelError


@contextmanager
def borrowed(seed: int, device: torch.device) -> Iterator[None]:
    """Seed every generator with `seed`; leave each as it was found.

    Example:
        >>> before = torch.get_rng_state()
        >>> with borrowed(1, torch.device("cpu")):
        ...     _ = torch.rand(1)
        >>> bool((torch.get_rng_state() == before).all())
        True
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)


def capture(device: torch.device) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Every generator's state, as tensors and plain facts."""
    kept: Any = np.random.get_state()
    _, keys, position, has_gauss, gauss = kept
    version, words, python_gauss = random.getstate()
    tensors = {
        "random.torch": torch.get_rng_state(),
        "random.numpy": torch.from_numpy(keys.astype(np.int64)),
        "random.python": torch.tensor(words, dtype=torch.int64),
    }
    if device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(device)
    return tensors, {
        "numpy": [int(position), int(has_gauss), float(gauss)],
        "python": [version, python_gauss],
    }


def restore(
    tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any], device: torch.device
) -> None:
    """Put back what `capture` took.

    Raises:
        ModelError: a state is missing or broken.
    """
    try:
        torch.set_rng_state(tensors["random.torch"])
        keys = tensors["random.numpy"].numpy().astype(np.uint32)
        np.random.set_state(("MT19937", keys, *facts["numpy"]))
        version, gauss = facts["python"]
        random.setstate((version, tuple(tensors["random.python"].tolist()), gauss))
        if device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], device)
    except (LookupError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ModelError(
            "the random states of the run to resume are broken",
            got=" ".join(str(error).split()),
            fix="Train again without --resume.",
        ) from None
