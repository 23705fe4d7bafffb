"""Cells and a number of parameters come in; how many units each may have goes out.

Cells are compared at equal parameters, not at equal units: a unit of an LSTM costs four times what
one of an RNN does.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from unrolled.cells import find
from unrolled.engine.traced import Traced
from unrolled.errors import UsageError
from unrolled.layers import Recurrent

MOST = 2**16  # units that anybody would ask for


def traced(cell: Any) -> Traced:
    """The cell of this name, class, object or file, traced."""
    return cell if isinstance(cell, Traced) else find(cell).trace()


def title(cell: Any) -> str:
    """What to call a cell in tables and pictures: as it was asked for, or its own name."""
    if isinstance(cell, str):
        return cell.rpartition(":")[2] if ".py:" in cell else cell
    return traced(cell).name


def titles(cells: Sequence[Any]) -> list[str]:
    """What to call the cells, each by a name of its own.

    Raises:
        UsageError: two go by one name.
    """
    found = [title(cell) for cell in cells]
    for name in found:
        if found.count(name) > 1:
            raise UsageError("cells", expected="each once, under a name of its own", got=name)
    return found


def digest(cell: Traced) -> str:
    """A cell's equations in twelve letters: another text under an old name is another cell.

    Example:
        >>> digest(traced("gru")) == digest(traced("lstm"))
        False
    """
    words = json.dumps(cell.to_json(), sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()[:12]


def count(module: nn.Module) -> int:
    """Parameters that learn.

    Example:
        >>> count(nn.Linear(3, 2))
        8
    """
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def units(
    wanted: int, parameters: Callable[[int], int], what: str = "the cell", heads: int = 1
) -> int:
    """The number of units whose network comes nearest to `wanted` parameters.

    Args:
        wanted: parameters.
        parameters: from units to parameters, growing.
        what: is in the error.
        heads: the number of units is a multiple of it, as a block-diagonal U needs.

    Raises:
        UsageError: the smallest network has more, or none is that large.

    Example:
        >>> units(10_000, lambda h: 4 * h * h)
        50
    """
    low, high = 1, 1
    if parameters(heads) > wanted:
        raise UsageError(
            "parameters",
            expected=f"at least {parameters(heads)}, those of the smallest network of {what}",
            got=wanted,
        )
    while parameters(high * heads) < wanted:
        low, high = high, 2 * high
        if high > MOST:
            raise UsageError("parameters", expected=f"what {MOST} units of {what} have", got=wanted)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if parameters(middle * heads) < wanted else (low, middle)
    return min((low * heads, high * heads), key=lambda h: abs(parameters(h) - wanted))


def hidden(cell: Any, wanted: int, inputs: int, outputs: int, layers: int = 1) -> int:
    """Units a layer of a stack with a linear read-out that has about `wanted` parameters.

    Example:
        >>> hidden("rnn", 10_000, 2, 1), hidden("lstm", 10_000, 2, 1)
        (98, 48)
    """
    own = traced(cell)

    def parameters(h: int) -> int:
        with torch.device("meta"):
            return count(Recurrent(own, inputs, h, layers)) + outputs * (h + 1)

    return units(wanted, parameters, title(cell), own.heads)
