"""A layer's trace comes in; what each step adds to the gradient of its shared weights goes out.

One W and one U serve all steps: ∂L/∂W is a sum over steps of products of what arrived at the gates
and what they read. The matrices are those that are multiplied with, tied and derived ones included.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .adjoint import Values
from .traces import LayerTrace

Block = tuple[Tensor, Tensor]  # (T, R, rows) and (T, R, columns): a sum over R of outer products


@dataclass(frozen=True)
class Share:
    """One matrix, or vector, and what the steps add to its gradient.

    Args:
        name: `x_weight`, `u_weight`, `x_bias`, `u_bias`, `w.NAME`, `norm.NAME`, `proj.NAME`.
        total: the gradient, the sum of all shares.
        norms: (T) length of each step's share, in the order in which the steps ran.
        parts: (T) each step's share along the total: the parts add up to 1.
        blocks: what the shares are made of, stacked by rows.
    """

    name: str
    total: Tensor
    norms: np.ndarray
    parts: np.ndarray
    blocks: tuple[Block, ...]

    def at(self, t: int) -> Tensor:
        """The share of the step that ran as number t, from 0: as large as the total."""
        rows = [d[t].T @ o[t] for d, o in self.blocks]
        return torch.cat(rows).reshape(self.total.shape)


def shares(layer: LayerTrace, derivatives: Values | None = None) -> dict[str, Share]:
    """Each step's share of the gradient of everything that one layer multiplies with.

    Args:
        layer: one layer and direction.
        derivatives: of another loss, or of one that was cut; those of the trace's otherwise.

    Raises:
        UsageError: the trace has no loss.

    Example:
        >>> from unrolled.inspect import trace
        >>> from unrolled.layers import Recurrent
        >>> seen = trace(Recurrent("gru", 3, 4), torch.randn(2, 9, 3))
        >>> share = shares(seen["l0"])["u_weight"]
        >>> len(share.parts), round(float(share.parts.sum()), 6)
        (9, 1.0)
    """
    values = layer.derivatives if derivatives is None else derivatives
    return {name: _share(name, blocks) for name, blocks in _blocks(layer, values).items()}


def _blocks(layer: LayerTrace, values: Values) -> dict[str, tuple[Block, ...]]:
    one, traced, derived = layer.one, layer.traced, values.derived
    like = one.before(traced.states[0])
    params = one.call.params
    units = layer.values.full(_any_wide(layer)).shape[-1]
    none = like.new_zeros(one.steps, like.shape[1], units)

    def full(k: int | None) -> Tensor:
        return none if k is None else values.full(k)

    found: dict[str, tuple[Block, ...]] = {}
    one_each = like.new_ones(one.steps, like.shape[1], 1)
    if params.x_weight is not None:
        x = values.input()
        arrived = [full(derived.by_x.get(g)) for g in traced.x_gates]
        found["x_weight"] = tuple((d, x) for d in arrived)
        if params.x_bias is not None:
            found["x_bias"] = tuple((d, one_each) for d in arrived)
    if params.u_weight is not None:
        matrix, bias = [], []
        for gate in traced.u_gates:
            nodes = [k for k in derived.by_u if values.nodes[k].attr == gate]
            pairs = [(values.full(derived.by_u[k]), values.masked(_wide(values, k))) for k in nodes]
            d = torch.cat([d for d, _ in pairs], 1) if pairs else none
            width = params.u_weight.shape[1]
            v = torch.cat([v for _, v in pairs], 1) if pairs else none.new_zeros(
                *none.shape[:2], width)  # fmt: skip
            matrix.append((d, v))
            bias.append((d, d.new_ones(*d.shape[:2], 1)))
        found["u_weight"] = tuple(matrix)
        if params.u_bias is not None:
            found["u_bias"] = tuple(bias)
    for name, k in derived.by_weight.items():
        found[f"w.{name}"] = ((values.full(k), one_each),)
    for name, k in derived.by_norm.items():
        d, (hat, _) = values.full(k), values.normalised(name)
        found[f"norm.{name}"] = ((d * values.masked(hat), one_each), (d, one_each))
    for name, k in derived.by_proj.items():
        j = next(n.args[0] for n in values.nodes if n.op == "proj" and n.attr == name)
        found[f"proj.{name}"] = ((values.full(k), values.full(j)),)
    return found


def _any_wide(layer: LayerTrace) -> int:
    """A node of H units."""
    nodes = layer.traced.graph.nodes
    return next(k for k, n in enumerate(nodes) if n.op in ("x", "u", "weight", "state"))


def _wide(values: Values, k: int) -> Tensor:
    """What a product with U is of."""
    return values.full(values.nodes[k].args[0])


def _share(name: str, blocks: tuple[Block, ...]) -> Share:
    totals: list[Tensor] = []
    norms = along = torch.zeros(len(blocks[0][0]), dtype=torch.float64)
    for d, o in blocks:
        total = d.flatten(0, 1).T @ o.flatten(0, 1)
        totals.append(total)
        # ‖Σ d oᵀ‖² = Σ (d·d')(o·o'), without ever making a matrix a step
        norms = norms + ((d @ d.mT) * (o @ o.mT)).sum((1, 2)).double().clamp(min=0)
        along = along + ((d @ total) * o).sum((1, 2)).double()
    whole = torch.cat(totals)
    square = float((whole.double() ** 2).sum())
    parts = along / square if square else torch.zeros_like(along)
    if whole.shape[1] == 1:
        whole = whole.squeeze(1)
    return Share(name, whole, norms.sqrt().numpy(), parts.numpy(), blocks)


def together(found: Mapping[str, Share]) -> np.ndarray:
    """(T) each step's part of the whole gradient of a layer, all matrices side by side."""
    weights = {k: float((s.total.double() ** 2).sum()) for k, s in found.items()}
    whole = sum(weights.values())
    parts = [s.parts * weights[k] for k, s in found.items()]
    return np.sum(parts, axis=0) / whole if whole else np.sum(parts, axis=0)
