"""The backward pass of the backend `c`: what arrives at the results comes in, what the parameters,
inputs and first states receive goes out.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

# Who looks on: called after each backward pass with the address of the call's x_weight, which tells
# the calls apart, and gate → ∂L/∂(x.gate) at every step, (T, B, H).
WATCHERS: list[Callable[[int, dict[str, Tensor]], None]] = []


def gradients(ctx, grads: tuple, pool) -> tuple[Tensor | None, ...]:
    """Run the compiled backward pass and sort its sums into the order of the inputs."""
    from .compiled import grad_order

    bound, found, traced = ctx.bound, ctx.found, ctx.traced
    struct, layout, widths = bound.struct, found.layout, bound.widths
    steps, batch, features = struct.T, struct.B, struct.K
    wide, narrow = struct.Hp, struct.Pp
    real, kept = found.real, found.kept
    count = len(traced.states)
    d_output, d_finals, d_records = grads[0], grads[1 : 1 + count], grads[1 + count :]
    keep: list[Tensor] = []

    def bind(name: str, value: Tensor) -> Tensor:
        keep.append(value)
        setattr(struct, name, value.data_ptr())
        return value

    def zeros(*shape: int, dtype: torch.dtype = real) -> Tensor:
        return pool.take(*shape, dtype=dtype).zero_()

    def arriving(value: Tensor | None, full: int) -> Tensor:
        if value is None:
            return zeros(steps, batch, full, dtype=kept)
        missing = full - value.shape[-1]
        return (F.pad(value, (0, missing)) if missing else value).contiguous()

    first = traced.states[0]
    bind("d_output", arriving(d_output, widths[first][1]))
    for name, d in zip(layout["observed"], d_records, strict=True):
        full = narrow if layout["observed"][name] == "P" else wide
        bind(f"q_{name}", arriving(d, full))
    adjoint = {}
    for s, d in zip(traced.states, d_finals, strict=True):
        width, full = widths[s]
        adjoint[s] = bind(f"a_{s}", zeros(2, batch, full))
        if d is not None:
            adjoint[s][steps & 1, :, :width] = d
    slots = len(layout["slots"])
    dz = bind("dz", pool.take(steps, batch, slots, wide, dtype=kept))
    bind("back_carry", pool.take(batch, layout["back_carried"], wide, dtype=real))
    bind("back_statistics", pool.take(batch, layout["norm_backs"], 2, dtype=real))
    rows = {name: bind(f"dw_{name}", zeros(batch, wide)) for name in layout["by_weight"]}
    gains, shifts = {}, {}
    for name, letter in layout["norms"].items():
        full = narrow if letter == "P" else wide
        gains[name] = bind(f"d_gain_{name}", zeros(batch, full))
        shifts[name] = bind(f"d_shift_{name}", zeros(batch, full))
    inputs = len(traced.x_gates)
    size = {"H": struct.H, "P": struct.P}

    def whole(n: int) -> int:
        return -(-n // layout["strip"]) * layout["strip"]

    gx = bind("gx", zeros(whole(features), inputs, wide))[:features]
    gu = [
        bind(f"gu_{n}", pool.take(whole(size[letter]), count, wide, dtype=real))[: size[letter]]
        for n, (letter, count) in enumerate(layout["operands"])
    ]
    gp = bind("gp", zeros(whole(struct.H), len(traced.projs), narrow))[: struct.H]
    gb = bind("gb", pool.take(slots, wide, dtype=real))
    struct.want_dx = int(ctx.wants_dx)
    if struct.want_dx:
        dx = bind("dx", pool.take(steps, batch, found.padded(features), dtype=kept))
    found.library.backward(bound.pointer())

    units, projected = struct.H, struct.P
    for watcher in WATCHERS:
        by_gate = {
            g: dz[:, :, layout["slots"][str(k)], :units].to(real) for g, k in layout["by_x"].items()
        }
        watcher(struct.x_weight, by_gate)
    result: list[Tensor | None] = [None] * len(ctx.shapes)
    if struct.want_dx:
        result[0] = dx[..., :features]
    where = grad_order(traced)
    if ctx.shapes[1] is not None:
        result[1] = gx[:, :, :units].permute(1, 2, 0).reshape(ctx.shapes[1])
    by_slot = layout["slots"]
    if ctx.shapes[2] is not None:
        of_x = {gate: gb[by_slot[str(k)], :units] for gate, k in layout["by_x"].items()}
        result[2] = _rows(traced.x_gates, of_x, gb, units)
    if ctx.shapes[3] is not None:
        matrices: dict[str, Tensor] = {}
        biases: dict[str, Tensor] = {}
        for gate, node, operand, place in layout["by_u"]:
            matrix, bias = gu[operand][:, place, :units].t(), gb[by_slot[str(node)], :units]
            matrices[gate] = matrices[gate] + matrix if gate in matrices else matrix
            biases[gate] = biases[gate] + bias if gate in biases else bias
        result[3] = torch.cat(
            [
                matrices[g] if g in matrices else gb.new_zeros(units, ctx.shapes[3][1])
                for g in traced.u_gates
            ]
        )
        if ctx.shapes[4] is not None:
            result[4] = _rows(traced.u_gates, biases, gb, units)
    if ctx.shapes[5] is not None:
        result[5] = gp[:, :, :projected].permute(1, 2, 0).reshape(ctx.shapes[5])
    for n, s in enumerate(traced.states):
        result[where["states"] + n] = adjoint[s][0, :, : widths[s][0]].clone()
    for n, name in enumerate(traced.weights):
        if name in rows:
            result[where["weights"] + n] = rows[name][:, :units].sum(0)
    for n, name in enumerate(traced.norms):
        width = projected if layout["norms"][name] == "P" else units
        result[where["norms"] + 2 * n] = gains[name][:, :width].sum(0)
        if ctx.shapes[where["norms"] + 2 * n + 1] is not None:
            result[where["norms"] + 2 * n + 1] = shifts[name][:, :width].sum(0)
    return tuple(result)


def _rows(gates, found: dict[str, Tensor], like: Tensor, units: int) -> Tensor:
    return torch.cat([found[g] if g in found else like.new_zeros(units) for g in gates])
