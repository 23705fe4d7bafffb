"""Parameters of one layer and direction: a cell and sizes come in, names, shapes and values go out.

Names and layouts are those of `torch.nn` (`weight_ih_l0` of (G·H, I), …); what a cell has beyond
them is added after: `w_NAME`, `norm_NAME_weight`, `norm_NAME_bias`, `init_STATE`. Tied and derived
matrices are made effective here, in PyTorch, so that no backend has to know them.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..engine.call import Params
from ..engine.traced import Traced, node_widths
from ..errors import ShapeError


@dataclass(frozen=True)
class Sizes:
    """Input features, units, and width after a projection."""

    inputs: int
    units: int
    projected: int

    def width(self, letter: str) -> int:
        """Units of a state or operand whose width is `H` or `P`."""
        return self.projected if letter == "P" else self.units


def shapes(
    traced: Traced, sizes: Sizes, *, bias: bool, learned: tuple[str, ...]
) -> dict[str, tuple[int, ...]]:
    """Name → shape of every parameter, in the order of `torch.nn`.

    Raises:
        ShapeError: the units cannot be divided into the cell's heads.
    """
    units = sizes.units
    found: dict[str, tuple[int, ...]] = {}
    tied = {side: "shared" in traced.structure.get(side, "").split() for side in ("x", "u", "w")}
    x_gates, u_gates = len(traced.x_gates), len(traced.u_gates)
    operand = sizes.width(traced.operand_width)
    if x_gates:
        found["weight_ih"] = (units * (1 if tied["x"] else x_gates), traced.window * sizes.inputs)
    if u_gates:
        columns = operand // _heads(traced, operand, units)
        found["weight_hh"] = (units * (1 if tied["u"] else u_gates), columns)
    if bias and x_gates:
        found["bias_ih"] = (units * x_gates,)
    if bias and u_gates:
        found["bias_hh"] = (units * u_gates,)
    if traced.projs:
        found["weight_hr"] = (sizes.projected * len(traced.projs), units)
    found |= {f"w_{name}": (1 if tied["w"] else units,) for name in traced.weights}
    widths = _norm_widths(traced, sizes)
    for name in traced.norms:
        found[f"norm_{name}_weight"] = (widths[name],)
        if _own(traced, name):
            found[f"norm_{name}_bias"] = (widths[name],)
    return found | {f"init_{s}": (sizes.width(traced.widths[s]),) for s in learned}


def _heads(traced: Traced, operand: int, units: int) -> int:
    if "blocks" not in traced.structure.get("u", "").split():
        return 1
    if operand % traced.heads or units % traced.heads:
        raise ShapeError(
            f"cell {traced.name} with {traced.heads} heads",
            expected=f"a number of units that {traced.heads} divides",
            got=units,
            fix="Change hidden_size or heads.",
        )
    return traced.heads


def _norm_widths(traced: Traced, sizes: Sizes) -> dict[str, int]:
    widths = node_widths(traced.graph, traced.widths)
    return {
        str(n.attr): sizes.width(widths[k])
        for k, n in enumerate(traced.graph.nodes)
        if n.op == "norm"
    }


def _own(traced: Traced, norm: str) -> bool:
    """Whether the step itself has this norm; layer norm's take the gate's bias as theirs."""
    side, _, gate = norm.partition("_")
    return not (side in ("x", "u") and gate in traced.gates)


def initialise(traced: Traced, sizes: Sizes, named: Mapping[str, Tensor]) -> None:
    """Give parameters their first values, in place: PyTorch's, then what the cell says otherwise.

    Draws in the order of the parameters, as `torch.nn` does, so that one seed gives both the same.
    """
    bound = 1.0 / math.sqrt(sizes.units) if sizes.units else 0.0
    with torch.no_grad():
        for name, value in named.items():
            if name.startswith("norm_"):
                value.fill_(1.0 if name.endswith("_weight") else 0.0)
            elif name.startswith("init_"):
                value.fill_(traced.init[name.removeprefix("init_")])
            else:
                value.uniform_(-bound, bound)
        for key, way in traced.start.items():
            for part in _parts(traced, sizes, key, named):
                _fill(part, way)


def _parts(traced: Traced, sizes: Sizes, key: str, named) -> Iterator[Tensor]:
    """The parts of the parameters that a key of `start` speaks of, each to be filled by itself."""
    side, _, gate = key.partition(".")
    if side == "w":
        yield from (named[f"w_{name}"] for name in ([gate] if gate else traced.weights))
    elif side == "b":
        first, second = (
            dict(zip(gates, named[name].split(sizes.units), strict=True)) if name in named else {}
            for name, gates in (("bias_ih", traced.x_gates), ("bias_hh", traced.u_gates))
        )
        for name in [gate] if gate else traced.gates:
            both = [side[name] for side in (first, second) if name in side]
            for other in both[1:]:  # the two biases add up: one carries the value
                other.zero_()
            yield from both[:1]
    elif (matrix := {"x": "weight_ih", "u": "weight_hh"}[side]) in named:
        blocks = named[matrix].split(sizes.units)
        gates = traced.u_gates if side == "u" else traced.x_gates
        heads = traced.heads if side == "u" else 1
        for block in [blocks[gates.index(gate)]] if gate and len(blocks) > 1 else blocks:
            yield from block.chunk(heads)  # each block of a block-diagonal U is a matrix


def _fill(value: Tensor, way: Any) -> None:
    how, *numbers = way if isinstance(way, tuple) else (way,)
    if not value.numel():
        return
    if isinstance(how, (int, float)):
        value.fill_(how)
    elif how == "zeros":
        value.zero_()
    elif how == "ones":
        value.fill_(1.0)
    elif how == "orthogonal":
        nn.init.orthogonal_(value)
    elif how == "identity":
        nn.init.eye_(value)
    elif how == "xavier":
        nn.init.xavier_uniform_(value)
    elif how == "uniform":
        value.uniform_(*numbers)
    elif how == "normal":
        value.normal_(0.0, *numbers)
    elif how == "logit":  # a sigmoid of it is uniform
        value.uniform_(*numbers).logit_()
    elif how == "chrono":  # memories of 1 to T steps (Tallec and Ollivier 2018, arXiv:1804.11188)
        value.uniform_(1.0, max(numbers[0] - 1.0, 1.0)).log_()


def effective(
    traced: Traced, sizes: Sizes, named: Mapping[str, Tensor], *, weight_drop: float = 0.0
) -> Params:
    """The matrices a backend multiplies with, made of the parameters.

    Args:
        traced: the cell with the layer's options.
        sizes: of this layer.
        named: name (without layer and direction) → parameter.
        weight_drop: probability with which a weight of U is dropped (Merity, Keskar and Socher
            2018, arXiv:1708.02182); 0 in evaluation.
    """
    x, u = named.get("weight_ih"), named.get("weight_hh")
    if u is not None and weight_drop:
        u = F.dropout(u, weight_drop)
    if not (traced.structure or traced.norms or traced.projs or traced.weights):
        return Params(x, named.get("bias_ih"), u, named.get("bias_hh"))
    if x is not None and "shared" in traced.structure.get("x", "").split():
        x = x.repeat(len(traced.x_gates), 1)
    if u is not None:
        u = _structured(traced, sizes, u)
    x_bias, u_bias = named.get("bias_ih"), named.get("bias_hh")
    norms = {name: _norm(traced, sizes, name, named, x_bias, u_bias) for name in traced.norms}
    taken = {name.partition("_")[0] for name in traced.norms if not _own(traced, name)}
    hr = named.get("weight_hr")
    projs = {} if hr is None else dict(zip(traced.projs, hr.chunk(len(traced.projs)), strict=True))
    return Params(
        x_weight=x,
        x_bias=None if "x" in taken else x_bias,
        u_weight=u,
        u_bias=None if "u" in taken else u_bias,
        weights={name: _each(named[f"w_{name}"], sizes.units) for name in traced.weights},
        norms=norms,
        projs=projs,
    )


def _each(weight: Tensor, units: int) -> Tensor:
    """A weight of every unit; as it is, where it is that already: a view would be derived too."""
    return weight if len(weight) == units else weight.expand(units).contiguous()


def _norm(traced, sizes, name, named, x_bias, u_bias):
    gain = named[f"norm_{name}_weight"]
    if _own(traced, name):
        return gain, named[f"norm_{name}_bias"]
    side, _, gate = name.partition("_")
    bias, gates = (x_bias, traced.x_gates) if side == "x" else (u_bias, traced.u_gates)
    return gain, None if bias is None else bias.split(sizes.units)[gates.index(gate)]


def _structured(traced: Traced, sizes: Sizes, u: Tensor) -> Tensor:
    kinds = traced.structure.get("u", "").split()
    if not kinds or (kinds == ["blocks"] and traced.heads == 1):
        return u
    blocks = list(u.split(sizes.units))
    if "blocks" in kinds and traced.heads > 1:
        blocks = [torch.block_diag(*block.chunk(traced.heads)) for block in blocks]
    if "antisymmetric" in kinds:
        shift = traced.hyper.get("gamma", 0.0) * torch.eye(
            sizes.units, dtype=u.dtype, device=u.device
        )
        blocks = [block - block.T - shift for block in blocks]
    if "shared" in kinds:
        blocks = blocks * len(traced.u_gates)
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks)
