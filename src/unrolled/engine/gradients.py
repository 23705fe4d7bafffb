"""The backward pass of the backend `c`: what arrives at the results comes in, what the parameters,
inputs and first states receive goes out.
"""

from collections.abc import Callable, Sequence

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


class Backward:
    """The backward pass of one layer: prepared, run, then what came of it collected.

    Args:
        bound: the call, as it was run.
        found: the compiled cell.
        traced: the cell, options of the layer included.
        wants: of which of its tensors the gradient is wanted, in the order of `sequence.flat`.
        shapes: of those tensors, `None` where there is none.
    """

    def __init__(self, bound: Bound, found: Kernel, traced, wants, shapes):
        self.bound, self.found, self.traced = bound, found, traced
        self.wants, self.shapes = wants, shapes
        struct = bound.struct
        struct.S = struct.T * struct.B | 1  # odd, so that vectors of dz share no places in caches
        if bound.form.backward is None:
            bound.form.backward = _places(bound, found)
        self.of_results, self.of_scratch = bound.form.backward
        self._held: list[Tensor] = []
        self.dx: Tensor | None = None

    def prepare(self, grads: tuple, results: Room, scratch: Room) -> None:
        """Let the call point at all that the pass reads and writes.

        Args:
            grads: what arrives at the output, the last states, the records.
            results: what the pass results in, zeros.
            scratch: what else it needs, which the pass of another layer may use next.
        """
        bound, found, traced = self.bound, self.found, self.traced
        struct, layout, widths = bound.struct, found.layout, bound.widths
        steps, batch, units, projected = struct.T, struct.B, struct.H, struct.P
        kept, count = found.kept, len(traced.states)
        d_finals, d_records = grads[1 : 1 + count], grads[1 + count :]

        def arriving(value: Tensor | None, full: int) -> Tensor:
            if value is None:
                return POOL.take(steps, batch, full, dtype=kept).zero_()
            missing = full - value.shape[-1]
            return F.pad(value, (0, missing)) if missing else value

        d_output = arriving(grads[0], widths[traced.states[0]][1])
        if d_output.stride(-1) != 1:
            d_output = d_output.contiguous()
        struct.ldt, struct.ldb = d_output.stride(0), d_output.stride(1)
        self._bind("d_output", d_output)
        for name, d in zip(layout["observed"], d_records, strict=True):
            if d is None:
                setattr(struct, f"q_{name}", None)
                continue
            full = struct.Pp if layout["observed"][name] == "P" else struct.Hp
            self._bind(f"q_{name}", arriving(d, full).contiguous())
        self._results, self._scratch = results, scratch
        results.point(struct)
        scratch.point(struct)
        for s, d in zip(traced.states, d_finals, strict=True):
            if d is not None:
                self._results.tensor(f"a_{s}")[steps & 1, :, : widths[s][0]] = d
        features, operand = struct.K, projected if traced.operand_width == "P" else units
        gates, of_x, of_u = len(traced.x_gates), len(layout["by_x"]), layout["by_u"]
        blocks = max([len(traced.u_gates), *(n + 1 for _, n in of_u)])
        sums = self._sums
        self._gx = sums("gx", gates, of_x, units, features)
        self._gbx = sums("gbx", gates, of_x, units)
        self._gu = sums("gu", blocks, len(of_u), units, operand)
        self._gbu = sums("gbu", blocks, len(of_u), units)
        projs, of_p = len(traced.projs), len(layout["by_proj"])
        self._gp = sums("gp", projs, of_p, projected, units) if projs else None
        struct.want_dx = int(self.wants[0])
        if struct.want_dx:
            self.dx = self._bind("dx", POOL.take(steps, batch, found.padded(features), dtype=kept))

    def run(self) -> None:
        """The pass over time, and the sums."""
        self.found.library.backward(self.bound.pointer())

    def _bind(self, name: str, value: Tensor) -> Tensor:
        self._held.append(value)
        setattr(self.bound.struct, name, value.data_ptr())
        return value

    def _sums(self, name: str, blocks: int, written: int, *shape: int) -> Tensor:
        """What C sums into, a block a gate; zeros where it does not write every block."""
        make = torch.empty if written == blocks else torch.zeros
        return self._bind(name, make(blocks * shape[0], *shape[1:], dtype=self.found.real))

    def told(self) -> dict[str, Tensor]:
        """State → ∂L/∂ of it after each step, (T, B, width), of those that were asked for."""
        struct, layout, widths = self.bound.struct, self.found.layout, self.bound.widths
        steps, batch, wide = struct.T, struct.B, struct.Hp
        dz, place = self._scratch.tensor("dz"), layout["slots"]

        def one(node: int, width: int) -> Tensor:
            vectors = dz[place[str(node)], :, : steps * batch].to(self.found.real)
            return vectors.transpose(0, 1).reshape(steps, batch, wide)[..., :width]

        return {s: one(k, widths[s][0]) for s, k in layout["told"].items()}

    def collect(self) -> list[Tensor | None]:
        """The gradients, in the order of the tensors."""
        traced, layout, widths = self.traced, self.found.layout, self.bound.widths
        struct, shapes, wants = self.bound.struct, self.shapes, self.wants
        units, projected, features = struct.H, struct.P, struct.K
        gu, gbu, room = self._gu, self._gbu, self._results
        result: list[Tensor | None] = [None] * len(shapes)
        if self.dx is not None:
            result[0] = _cut(self.dx, features)
        for gate, block in layout["by_u"]:
            if block >= len(traced.u_gates):  # a gate's matrix that multiplies once more
                own = traced.u_gates.index(gate) * units
                for value in (gu, gbu):
                    value[own : own + units] += value[block * units : (block + 1) * units]
        for n, summed in enumerate((self._gx, self._gbx, gu, gbu, self._gp), 1):
            if summed is not None and shapes[n] is not None:
                result[n] = summed if len(summed) == shapes[n][0] else summed[: shapes[n][0]]
        where = grad_order(traced)
        for n, s in enumerate(traced.states):
            if wants[where["states"] + n]:
                result[where["states"] + n] = room.tensor(f"a_{s}")[0, :, : widths[s][0]].clone()
        for n, name in enumerate(traced.weights):
            if name in layout["by_weight"]:
                result[where["weights"] + n] = room.tensor(f"dw_{name}")[:, :units].sum(0)
        for n, (name, letter) in enumerate(layout["norms"].items()):
            width = projected if letter == "P" else units
            same = layout["shifts"].get(name, name)
            parts = (f"gain_{name}", f"shift_{same}")
            for m, part in enumerate(parts, where["norms"] + 2 * n):
                if shapes[m] is not None:
                    result[m] = room.tensor(f"d_{part}")[:, :width].sum(0)
        return result


def gradients(
    layers: Sequence[Backward | None],
    grads: tuple[Tensor | None, ...],
    watch: Callable[[dict[str, Tensor]], None] | None = None,
) -> list[Tensor | None]:
    """Run the backward passes of layers on top of each other.

    Args:
        layers: the lowest first; `None` where nothing below and in it wants a gradient.
        grads: what arrives at the last output, the last states, the records; at the states of
            several layers (L, B, width).
        watch: told what `Backward.told` says; for one layer alone.

    Returns:
        The gradients of all layers' tensors, in their order.
    """
    running = [layer for layer in reversed(layers) if layer is not None]
    real = running[0].found.real
    at = zeros = sum(layer.of_results.size for layer in running)  # then what they share
    size = zeros + max(layer.of_scratch.size for layer in running)
    memory = POOL.take(size, dtype=real)
    memory[:zeros].zero_()
    arrives: Tensor | None = grads[0]
    place = len(layers)
    for layer in running:
        place -= 1
        rest = grads[1:]
        if len(layers) > 1:
            rest = tuple(None if d is None else d[place] for d in rest)
        at -= layer.of_results.size
        results = Room(layer.of_results, memory, at)
        layer.prepare((arrives, *rest), results, Room(layer.of_scratch, memory, zeros))
        arrives = layer.dx
    for layer in running:  # nothing between them: C finds in the caches what C left there
        layer.run()
    if watch is not None:
        watch(running[0].told())
    count = len(running[0].shapes)
    gone: list[Tensor | None] = [None] * count
    found = [gone if layer is None else layer.collect() for layer in layers]
    if len(layers) > 1:
        for own in found[1:]:
            own[0] = None  # dx of an upper layer has gone down
    return [grad for own in found for grad in own]


def _cut(value: Tensor, width: int) -> Tensor:
    return value if value.shape[-1] == width else value[..., :width]


def _places(bound: Bound, found: Kernel) -> tuple[Places, Places]:
    """Where the buffers of a backward pass lie: those of its results, which begin as 0, others."""
    struct, layout, real = bound.struct, found.layout, found.real
    wide, narrow, lanes = struct.Hp, struct.Pp, found.lanes
    results: Shapes = {f"a_{s}": ((2, struct.B, n), real) for s, (_, n) in bound.widths.items()}
    results |= {f"dw_{name}": ((struct.G, wide), real) for name in layout["by_weight"]}
    for name, letter in layout["norms"].items():
        full = narrow if letter == "P" else wide
        results |= {f"d_{part}_{name}": ((struct.G, full), real) for part in ("gain", "shift")}
    slots = len(layout["slots"])
    scratch: Shapes = {
        "dz": ((slots, wide // lanes, struct.S, lanes), found.kept),
        "back_carry": ((struct.B, layout["back_carried"], wide), real),
        "back_statistics": ((struct.B, layout["norm_backs"], 2), real),
        "gb": ((slots, wide), real),
        "sums": ((found.library.sum_size(bound.pointer()),), real),
    }
    return Places(results, real), Places(scratch, real)
