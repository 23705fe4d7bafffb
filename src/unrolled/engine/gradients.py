"""The backward pass of the backend `c`: what arrives at the results comes in, what the parameters,
inputs and first states receive goes out.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import BackendError
from .bound import Bound
from .native import Kernel
from .room import POOL, Places, Room, Shapes
from .sequence import grad_order

TWICE = BackendError(
    "the gradient of a compiled cell",
    expected="to be derived once",
    got="a second derivative",
    fix='Take backend="reference" for it.',
)


def gradients(ctx, grads: tuple) -> tuple[Tensor | None, ...]:
    """Run the compiled backward pass and sort its sums into the order of the inputs.

    Args:
        ctx: the call: what is `bound`, `found` and `traced`; which tensors it was given have which
            `shapes`, of which the gradient is wanted (`wants`), and who looks on (`watch`).
        grads: what arrives at the output, the last states, the records.
    """
    bound, found, traced, wants = ctx.bound, ctx.found, ctx.traced, ctx.wants
    struct, layout, widths = bound.struct, found.layout, bound.widths
    steps, batch, features = struct.T, struct.B, struct.K
    wide, narrow, units, projected = struct.Hp, struct.Pp, struct.H, struct.P
    real, kept = found.real, found.kept
    count = len(traced.states)
    d_output, d_finals, d_records = grads[0], grads[1 : 1 + count], grads[1 + count :]
    held: list[Tensor] = []

    def bind(name: str, value: Tensor) -> Tensor:
        held.append(value)
        setattr(struct, name, value.data_ptr())
        return value

    def arriving(value: Tensor | None, full: int) -> Tensor:
        if value is None:
            return POOL.take(steps, batch, full, dtype=kept).zero_()
        missing = full - value.shape[-1]
        return F.pad(value, (0, missing)) if missing else value

    first = traced.states[0]
    d_output = arriving(d_output, widths[first][1])
    if d_output.stride(-1) != 1:
        d_output = d_output.contiguous()
    struct.ldt, struct.ldb = d_output.stride(0), d_output.stride(1)
    bind("d_output", d_output)
    for name, d in zip(layout["observed"], d_records, strict=True):
        if d is None:
            setattr(struct, f"q_{name}", None)
            continue
        full = narrow if layout["observed"][name] == "P" else wide
        bind(f"q_{name}", arriving(d, full).contiguous())
    struct.S = steps * batch | 1  # odd, so that vectors of dz do not share places in caches
    if bound.form.backward is None:
        bound.form.backward = _places(bound, found)
    room = Room(bound.form.backward)
    room.zero(before="dz")
    room.point(struct)
    for s, d in zip(traced.states, d_finals, strict=True):
        if d is not None:
            room.tensor(f"a_{s}")[steps & 1, :, : widths[s][0]] = d

    def sums(name: str, blocks: int, written: int, *shape: int) -> Tensor:
        """What C sums into, a block a gate; zeros where it does not write every block."""
        make = torch.empty if written == blocks else torch.zeros
        return bind(name, make(blocks * shape[0], *shape[1:], dtype=real))

    def cut(value: Tensor, width: int) -> Tensor:
        return value if value.shape[1] == width else value[:, :width]

    gates, of_x = len(traced.x_gates), len(layout["by_x"])
    gx = cut(sums("gx", gates, of_x, units, found.padded(features)), features)
    gbx = sums("gbx", gates, of_x, units)
    blocks, of_u = max([len(traced.u_gates), *(n + 1 for _, n in layout["by_u"])]), layout["by_u"]
    operand = projected if traced.operand_width == "P" else units
    gu = cut(sums("gu", blocks, len(of_u), units, found.padded(operand)), operand)
    gbu = sums("gbu", blocks, len(of_u), units)
    projs, of_p = len(traced.projs), len(layout["by_proj"])
    gp = cut(sums("gp", projs, of_p, projected, wide), units) if projs else None
    struct.want_dx = int(wants[0])
    if struct.want_dx:
        dx = bind("dx", POOL.take(steps, batch, found.padded(features), dtype=kept))
    found.library.backward(bound.pointer())

    if ctx.watch is not None:
        dz, place = room.tensor("dz"), layout["slots"]

        def told(node: int, width: int) -> Tensor:
            vectors = dz[place[str(node)], :, : steps * batch].to(real)
            return vectors.transpose(0, 1).reshape(steps, batch, wide)[..., :width]

        ctx.watch({s: told(k, widths[s][0]) for s, k in layout["told"].items()})
    result: list[Tensor | None] = [None] * len(ctx.shapes)
    if struct.want_dx:
        result[0] = dx if dx.shape[-1] == features else dx[..., :features]
    where = grad_order(traced)
    for n, value in ((1, gx), (2, gbx), (3, gu), (4, gbu), (5, gp)):
        if value is not None and ctx.shapes[n] is not None:
            result[n] = value if len(value) == ctx.shapes[n][0] else value[: ctx.shapes[n][0]]
    for gate, block in of_u:
        if block >= len(traced.u_gates):  # a gate's matrix that multiplies once more
            own = traced.u_gates.index(gate) * units
            for value in (gu, gbu):
                value[own : own + units] += value[block * units : (block + 1) * units]
    for n, s in enumerate(traced.states):
        if wants[where["states"] + n]:
            result[where["states"] + n] = room.tensor(f"a_{s}")[0, :, : widths[s][0]].clone()
    for n, name in enumerate(traced.weights):
        if name in layout["by_weight"]:
            result[where["weights"] + n] = room.tensor(f"dw_{name}")[:, :units].sum(0)
    for n, (name, letter) in enumerate(layout["norms"].items()):
        width = projected if letter == "P" else units
        same = layout["shifts"].get(name, name)
        for m, part in enumerate((f"gain_{name}", f"shift_{same}"), where["norms"] + 2 * n):
            if ctx.shapes[m] is not None:
                result[m] = room.tensor(f"d_{part}")[:, :width].sum(0)
    return tuple(result)


def _places(bound: Bound, found: Kernel) -> Places:
    """Where the buffers of a backward pass lie, those that begin as 0 before `dz`."""
    struct, layout, real = bound.struct, found.layout, found.real
    wide, narrow, lanes = struct.Hp, struct.Pp, found.lanes
    shapes: Shapes = {f"a_{s}": ((2, struct.B, n), real) for s, (_, n) in bound.widths.items()}
    shapes |= {f"dw_{name}": ((struct.G, wide), real) for name in layout["by_weight"]}
    for name, letter in layout["norms"].items():
        full = narrow if letter == "P" else wide
        shapes |= {f"d_{part}_{name}": ((struct.G, full), real) for part in ("gain", "shift")}
    slots = len(layout["slots"])
    shapes |= {
        "dz": ((slots, wide // lanes, struct.S, lanes), found.kept),
        "back_carry": ((struct.B, layout["back_carried"], wide), real),
        "back_statistics": ((struct.B, layout["norm_backs"], 2), real),
        "gb": ((slots, wide), real),
        "sums": ((found.library.sum_size(bound.pointer()),), real),
    }
    return Places(shapes, real)
