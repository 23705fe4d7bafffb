"""The backward pass of the backend `c`: what arrives at the results comes in, what the parameters,
inputs and first states receive goes out.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import BackendError
from .bound import Bound
from .native import Kernel
from .room import POOL, Places, Room, Shapes
from .sequence import grad_order
from .traced import Traced

TWICE = BackendError(
    "the gradient of a compiled cell",
    expected="to be derived once",
    got="a second derivative",
    fix='Take backend="reference" for it.',
)


class Ran(NamedTuple):
    """A layer as it was run, for who derives it later, once or often.

    Args:
        bound: the call.
        found: the compiled cell.
        traced: the cell, options of the layer included.
        wants: of which of its tensors the gradient is wanted, in the order of `sequence.flat`.
        shapes: of those tensors, `None` where there is none.
    """

    bound: Bound
    found: Kernel
    traced: Traced
    wants: Sequence[bool]
    shapes: Sequence[torch.Size | None]

    def places(self) -> tuple[Places, Places]:
        """Where the buffers of a backward pass lie: its results, which begin as 0, and others."""
        form = self.bound.form
        if form.backward is None:
            form.backward = _places(self.bound, self.found)
        return form.backward


class Pass:
    """One backward pass of one layer, with a struct and buffers of its own.

    Args:
        ran: the layer.
        grads: what arrives at its output, the last states, the records.
        results: what the pass results in, zeros.
        scratch: what else it needs, which the pass of another layer may use next.
    """

    def __init__(self, ran: Ran, grads: tuple, results: Room, scratch: Room):
        self.ran, self._results, self._scratch = ran, results, scratch
        bound, found, traced = ran.bound, ran.found, ran.traced
        # Another thread may derive the same graph at this moment.
        self._struct = struct = type(bound.struct).from_buffer_copy(bound.struct)
        self._held: list[Tensor] = []
        layout, widths = found.layout, bound.widths
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
        struct.S = _rows(struct)
        results.point(struct)
        scratch.point(struct)
        for s, d in zip(traced.states, d_finals, strict=True):
            if d is not None:
                results.tensor(f"a_{s}")[steps & 1, :, : widths[s][0]] = d
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
        struct.want_dx = int(ran.wants[0])
        of_states = grad_order(traced)["states"]
        struct.want_first = int(any(ran.wants[of_states : of_states + count]))
        self.dx: Tensor | None = None
        if struct.want_dx:
            self.dx = self._bind("dx", POOL.take(steps, batch, found.padded(features), dtype=kept))

    def run(self) -> None:
        """The pass over time, and the sums."""
        self.ran.found.library.backward(ctypes.byref(self._struct))

    def _bind(self, name: str, value: Tensor) -> Tensor:
        self._held.append(value)
        setattr(self._struct, name, value.data_ptr())
        return value

    def _sums(self, name: str, blocks: int, written: int, *shape: int) -> Tensor:
        """What C sums into, a block a gate; zeros where it does not write every block."""
        make = torch.empty if written == blocks else torch.zeros
        return self._bind(name, make(blocks * shape[0], *shape[1:], dtype=self.ran.found.real))

    def told(self) -> dict[str, Tensor]:
        """State → ∂L/∂ of it after each step, (T, B, width), of those that were asked for."""
        found, struct, widths = self.ran.found, self._struct, self.ran.bound.widths
        steps, batch, wide = struct.T, struct.B, struct.Hp
        dz, place = self._scratch.tensor("dz"), found.layout["slots"]

        def one(node: int, width: int) -> Tensor:
            if found.kept is not found.real:
                return dz[:, :, place[str(node)], :width].to(found.real)
            vectors = dz[place[str(node)], :, : steps * batch]
            return vectors.transpose(0, 1).reshape(steps, batch, wide)[..., :width]

        return {s: one(k, widths[s][0]) for s, k in found.layout["told"].items()}

    def collect(self) -> list[Tensor | None]:
        """The gradients, in the order of the tensors."""
        bound, found, traced, wants, shapes = self.ran
        layout, widths, struct, room = found.layout, bound.widths, self._struct, self._results
        units, projected, gu, gbu = struct.H, struct.P, self._gu, self._gbu
        result: list[Tensor | None] = [None] * len(shapes)
        if self.dx is not None:
            result[0] = self.dx if self.dx.shape[-1] == struct.K else self.dx[..., : struct.K]
        for gate, block in layout["by_u"]:
            if block >= len(traced.u_gates):  # a gate's matrix that multiplies once more
                own = traced.u_gates.index(gate) * units
                for value in (gu, gbu):
                    value[own : own + units] += value[block * units : (block + 1) * units]
        for n, summed in enumerate((self._gx, self._gbx, gu, gbu, self._gp), 1):
            shape = shapes[n]
            if summed is not None and shape is not None:
                result[n] = summed if len(summed) == shape[0] else summed[: shape[0]]
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
    layers: Sequence[Ran | None],
    grads: tuple[Tensor | None, ...],
    watch: Callable[[dict[str, Tensor]], None] | None = None,
) -> list[Tensor | None]:
    """Run the backward passes of layers on top of each other.

    Args:
        layers: the lowest first; `None` where nothing below and in it wants a gradient.
        grads: what arrives at the last output, the last states, the records; at the states of
            several layers (L, B, width).
        watch: told what `Pass.told` says; for one layer alone.

    Returns:
        The gradients of all layers' tensors, in their order; nobody else holds them.
    """
    above = [(n, ran) for n, ran in enumerate(layers) if ran is not None][::-1]
    at = zeros = sum(ran.places()[0].size for _, ran in above)  # then what they share
    shared = max(ran.places()[1].size for _, ran in above)
    memory = POOL.take(zeros + shared, dtype=above[0][1].found.real)
    memory[:zeros].zero_()
    arrives, passes = grads[0], dict[int, Pass]()  # the last layer's first
    for n, ran in above:
        rest = grads[1:]
        if len(layers) > 1:
            rest = tuple(None if d is None else d[n] for d in rest)
        of_results, of_scratch = ran.places()
        at -= of_results.size
        rooms = Room(of_results, memory, at), Room(of_scratch, memory, zeros)
        passes[n] = Pass(ran, (arrives, *rest), *rooms)
        arrives = passes[n].dx
    for one in passes.values():  # nothing between them: C finds in the caches what C left there
        one.run()
    if watch is not None:
        watch(passes[0].told())
    nothing: list[Tensor | None] = [None] * len(above[0][1].shapes)
    found: list[Tensor | None] = []
    for n in range(len(layers)):
        own = passes[n].collect() if n in passes else nothing
        found += own if n == 0 else [None, *own[1:]]  # dx of an upper layer has gone down
    return found


def _rows(struct) -> int:
    """Rows of a vector of dz: odd, so that vectors share no places in caches."""
    return struct.T * struct.B | 1


def _places(bound: Bound, found: Kernel) -> tuple[Places, Places]:
    struct, layout, real = bound.struct, found.layout, found.real
    wide, narrow, lanes = struct.Hp, struct.Pp, found.lanes
    results: Shapes = {f"a_{s}": ((2, struct.B, n), real) for s, (_, n) in bound.widths.items()}
    results |= {f"dw_{name}": ((struct.G, wide), real) for name in layout["by_weight"]}
    for name, letter in layout["norms"].items():
        full = narrow if letter == "P" else wide
        results |= {f"d_{part}_{name}": ((struct.G, full), real) for part in ("gain", "shift")}
    slots = len(layout["slots"])
    # Vectors of units lie by themselves where sums over time read them as they lie.
    vectors = (slots, wide // lanes, _rows(struct), lanes)
    rows = (struct.T, struct.B, slots, wide)
    scratch: Shapes = {
        "dz": (vectors if found.kept is real else rows, found.kept),
        "back_carry": ((struct.B, layout["back_carried"], wide), real),
        "back_statistics": ((struct.B, layout["norm_backs"], 2), real),
        "gb": ((slots, wide), real),
        "sums": ((found.library.sum_size(bound.pointer()),), real),
    }
    return Places(results, real), Places(scratch, real)
