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
from .bound import STATES, Bound
from .native import Kernel
from .room import POOL, Places, Room, Shapes, lying
from .sequence import grad_order
from .traced import Traced


def second_derivative_error() -> BackendError:
    """What a second derivative gets: its own error, as a raised one holds what was derived."""
    return BackendError(
        "the gradient of a compiled cell",
        expected="to be derived once",
        got="a second derivative",
        fix='Take backend="reference" for it.',
    )


class Sum(NamedTuple):
    """A sum over time, which C writes.

    Args:
        field: of the struct.
        place: of what receives it, among the tensors.
        shape: its own.
        rows: of these, those that the tensor receives; the others are added to them before.
        whole: whether C writes all of it; else it begins as 0.
    """

    field: str
    place: int
    shape: tuple[int, ...]
    rows: int
    whole: bool


class Derived(NamedTuple):
    """What a backward pass of calls of one form needs: worked out once.

    Args:
        results: where what C adds up by rows lies, and what arrives at first states.
        scratch: where all else lies, which the pass of another layer may use next.
        sums: those over time.
        states, weights, norms: where each group of tensors begins.
    """

    results: Places
    scratch: Places
    sums: tuple[Sum, ...]
    states: int
    weights: int
    norms: int


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

    def derived(self) -> Derived:
        """What any backward pass of such a call needs."""
        form = self.bound.form
        if form.derived is None:
            form.derived = _derived(self.bound, self.found, self.traced)
        return form.derived


class Pass:
    """One backward pass of one layer, with a struct and buffers of its own.

    Args:
        ran: the layer.
        grads: what arrives at its output, the last states, the records.
        results: what C adds up in it.
        scratch: what else it needs, which the pass of another layer may use next.
        batch_first: whether what arrives at the output is (B, T, width).

    Attributes:
        result: the gradients, in the order of the tensors, once it was run and finished.
        dx: that of the input, padded.
    """

    def __init__(self, ran: Ran, grads: tuple, results: Room, scratch: Room, batch_first: bool):
        self.ran, self._results, self._scratch = ran, results, scratch
        bound, found, traced = ran.bound, ran.found, ran.traced
        # Another thread may derive the same graph at this moment.
        self._struct = struct = type(bound.struct).from_buffer_copy(bound.struct)
        self._held: list[Tensor] = []
        layout, count, derived = found.layout, len(traced.states), ran.derived()
        d_output = self._arriving(grads[0], bound.of_output[1])
        if d_output.stride(-1) != 1 or d_output.is_neg() or d_output._is_zerotensor():
            d_output = lying(d_output)
        by_step, by_row = (1, 0) if batch_first and grads[0] is not None else (0, 1)
        struct.ldt, struct.ldb = d_output.stride(by_step), d_output.stride(by_row)
        self._bind("d_output", d_output)
        for name, d in zip(traced.states, grads[1:], strict=False):
            if d is not None:
                self._bind(f"e_{name}", lying(d.to(found.real)))
        for (name, letter), d in zip(layout["observed"].items(), grads[1 + count :], strict=True):
            if d is None:
                setattr(struct, f"q_{name}", None)
            else:
                full = struct.Pp if letter == "P" else struct.Hp
                self._bind(f"q_{name}", lying(self._arriving(d, full)))
        struct.S = _rows(struct)
        results.point(struct)
        scratch.point(struct)
        self.result: list[Tensor | None] = [None] * len(ran.shapes)
        self._sums: list[Tensor] = []
        for one in derived.sums:
            value = (torch.empty if one.whole else torch.zeros)(
                one.shape, dtype=found.real, device="cpu"
            )
            self._sums.append(value)
            setattr(struct, one.field, value.data_ptr())
            if ran.shapes[one.place] is not None:
                whole = one.rows == one.shape[0]
                self.result[one.place] = value if whole else value[: one.rows]
        struct.want_dx = int(ran.wants[0])
        struct.want_first = int(any(ran.wants[derived.states : derived.weights]))
        self.dx: Tensor | None = None
        if ran.wants[0]:
            dx = POOL.take(struct.T, struct.B, found.padded(struct.K), dtype=found.kept)
            self.dx = self._bind("dx", dx)
            self.result[0] = dx if dx.shape[-1] == struct.K else dx[..., : struct.K]

    def _arriving(self, value: Tensor | None, full: int) -> Tensor:
        if value is None:
            steps, batch = self._struct.T, self._struct.B
            return POOL.take(steps, batch, full, dtype=self.ran.found.kept).zero_()
        missing = full - value.shape[-1]
        return F.pad(value, (0, missing)) if missing else value

    def run(self) -> None:
        """The pass over time, and the sums."""
        self.ran.found.library.backward(ctypes.byref(self._struct))

    def _bind(self, name: str, value: Tensor) -> Tensor:
        self._held.append(value)
        setattr(self._struct, name, value.data_ptr())
        return value

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

    def finish(self, *, copy_firsts: bool) -> None:
        """What PyTorch does once C has run, until `result` has all gradients.

        Args:
            copy_firsts: whether those of first states are tensors of their own; else they lie in
                `results`.
        """
        bound, found, traced, wants, shapes = self.ran
        layout, struct, derived = found.layout, bound.struct, self.ran.derived()
        room, units, result = self._results, struct.H, self.result
        for gate, block in layout["by_u"]:
            if block >= len(traced.u_gates):  # a gate's matrix that multiplies once more
                own = traced.u_gates.index(gate) * units
                for one, value in zip(derived.sums, self._sums, strict=True):
                    if one.rows < one.shape[0]:
                        value[own : own + units] += value[block * units : (block + 1) * units]
        for n, s in enumerate(traced.states, derived.states):
            if wants[n]:
                value = room.tensor(f"a_{s}")[0, :, : bound.widths[s][0]]
                result[n] = value.clone() if copy_firsts else value
        for n, name in enumerate(traced.weights, derived.weights):
            if name in layout["by_weight"]:
                result[n] = room.tensor(f"dw_{name}")[:, :units].sum(0)
        for n, (name, letter) in enumerate(layout["norms"].items()):
            width = struct.P if letter == "P" else units
            same = layout["shifts"].get(name, name)
            parts = (f"gain_{name}", f"shift_{same}")
            for m, part in enumerate(parts, derived.norms + 2 * n):
                if shapes[m] is not None:
                    result[m] = room.tensor(f"d_{part}")[:, :width].sum(0)


def gradients(
    layers: Sequence[Ran | None],
    grads: Sequence[Tensor | None],
    watch: Callable[[dict[str, Tensor]], None] | None = None,
    *,
    batch_first: bool = False,
    firsts: int = 0,
) -> list[Tensor | None]:
    """Run the backward passes of layers on top of each other.

    Args:
        layers: the lowest first; `None` where nothing below and in it wants a gradient.
        grads: what arrives at the last output, the last states, the records; at the states of
            several layers (L, B, width).
        watch: told what `Pass.told` says; for one layer alone.
        batch_first: whether what arrives at the output is (B, T, width), and the input's is to be.
        firsts: how many first states were given for all layers at once, (L, B, width).

    Returns:
        The gradients of all layers' tensors, in their order, and behind them those of such first
        states; nobody else holds them.
    """
    above = [(n, ran) for n, ran in enumerate(layers) if ran is not None][::-1]
    needs = [ran.derived() for _, ran in above]
    own = sum(one.results.size for one in needs)  # then what they share
    shared = max(one.scratch.size for one in needs)
    memory, at = POOL.piece(own + shared, above[0][1].found.real), 0
    arrives, passes = grads[0], dict[int, Pass]()  # the last layer's first
    rest = grads[1:]
    for (n, ran), one in zip(above, needs, strict=True):
        if len(layers) > 1:
            rest = tuple([None if d is None else d[n] for d in grads[1:]])
        rooms = Room(one.results, memory, at), Room(one.scratch, memory, own)
        at += one.results.size
        passes[n] = Pass(ran, (arrives, *rest), *rooms, batch_first and not passes)
        arrives = passes[n].dx
    for of_layer in passes.values():  # without a pause: C finds in the caches what C left there
        of_layer.run()
    for of_layer in passes.values():
        of_layer.finish(copy_firsts=not firsts)
    if watch is not None:
        watch(passes[0].told())
    nothing: list[Tensor | None] = [None] * len(above[0][1].shapes)
    found: list[Tensor | None] = []
    stacked: list[Tensor | None] = []
    for place in range(STATES, STATES + firsts):
        results = [passes[n].result for n in sorted(passes)]
        rows = [value for result in results if (value := result[place]) is not None]
        stacked.append(torch.stack(rows) if rows else None)
        for result in results:
            result[place] = None
    for n in range(len(layers)):
        result = passes[n].result if n in passes else nothing
        found += result if n == 0 else [None, *result[1:]]  # dx of an upper layer has gone down
    if batch_first and found[0] is not None:
        found[0] = found[0].transpose(0, 1)
    return found + stacked


def _rows(struct) -> int:
    """Rows of a vector of dz: odd, so that vectors share no places in caches."""
    return struct.T * struct.B | 1


def _derived(bound: Bound, found: Kernel, traced: Traced) -> Derived:
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
    order = grad_order(traced)
    places = order["states"], order["weights"], order["norms"]
    return Derived(
        Places(results, real), Places(scratch, real), _sums(struct, layout, traced), *places
    )


def _sums(struct, layout, traced: Traced) -> tuple[Sum, ...]:
    units, projected = struct.H, struct.P
    x_gates, u_gates, projs = len(traced.x_gates), len(traced.u_gates), len(traced.projs)
    blocks = max([u_gates, *(block + 1 for _, block in layout["by_u"])])
    operand = projected if traced.operand_width == "P" else units
    x_whole, u_whole = len(layout["by_x"]) == x_gates, len(layout["by_u"]) == blocks
    by_x, by_u, by_proj = x_gates * units, u_gates * units, projs * projected
    found = (
        Sum("gx", 1, (by_x, struct.K), by_x, x_whole),
        Sum("gbx", 2, (by_x,), by_x, x_whole),
        Sum("gu", 3, (blocks * units, operand), by_u, u_whole),
        Sum("gbu", 4, (blocks * units,), by_u, u_whole),
        Sum("gp", 5, (by_proj, units), by_proj, len(layout["by_proj"]) == projs),
    )
    return tuple(one for one in found if one.shape[0])
