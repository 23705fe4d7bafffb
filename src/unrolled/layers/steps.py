"""Steps that a module makes one by one come in; whoever looks on knows that they are one run."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from .stack import Stack


@contextmanager
def one_run(layers: Stack, lengths: Tensor) -> Iterator[None]:
    """Say that the steps made in this block are one run over sequences.

    It changes nothing of what is computed; the inspector shows such steps as one call.

    Args:
        layers: whose steps they are.
        lengths: (B) steps of each sequence, on the CPU.
    """
    layers._one_run = lengths
    try:
        yield
    finally:
        layers._one_run = None
