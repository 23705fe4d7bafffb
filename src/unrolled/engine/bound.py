"""A call comes in; its C struct goes out, with the memory that it points into.

What only C reads lies in one piece of memory a call: a buffer by itself costs a few microseconds,
a pointer into a piece none.
"""

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import BackendError
from . import forks
from .call import Call
from .native import Kernel
from .room import POOL, Places, Room, Shapes, lying

if TYPE_CHECKING:
    from .gradients import Derived

# Threads share the units of a step, not the rows of the batch, where U has more bytes than this,
# too many for the cache of one core, and each has at most so many rows: U is read less often then.
LARGE, LARGE_ROWS = 3 << 19, 12
# The same where there are fewer rows than threads and U has more bytes than this: what a step then
# takes is worth waiting for each other.
ALONE = 1 << 19
# Gradients of a norm's gains, and of weights of a value a unit, are summed by groups of rows. Whole
# groups are shared by threads: 2, 3, 4, 6, 8 and 12 of them divide this number of groups evenly.
GROUPS, GROUP_ROWS = 24, 2
FEW_ROWS = 6  # a thread with fewer rows of the batch multiplies W x ahead, for all steps at once
MATRICES = (0, 1, 3, 5)  # x, x_weight, u_weight and projections among the tensors of `flat`
STATES = 6  # where first states begin among them


def place(value: Tensor) -> int:
    """Where a tensor lies, for C to read.

    Raises:
        BackendError: it has no memory: it was freed, or never was there.
    """
    found = value.data_ptr()
    if not found and value.numel() and not value._is_zerotensor():
        raise BackendError(
            "a compiled cell",
            expected="tensors on the CPU that have memory",
            got=f"one of shape {tuple(value.shape)} on {value.device} without",
            fix="Move it with `.to(...)`, or keep its storage.",
        )
    return found


class Sizes(NamedTuple):
    """What of a call its form depends on; for names see the C struct, and `bind`.

    `loose`: C copies the rows of x. `blank`: nobody gave first states.
    """

    steps: int
    batch: int
    features: int
    units: int
    projected: int
    reverse: bool
    threads: int
    split: bool
    keep: bool
    apart: bool
    inner: bool
    loose: bool
    blank: bool


class Form:
    """What a call's sizes alone decide: worked out once, then copied and pointed into memory.

    Args:
        found: the compiled cell.
        traced: the cell, options of the layer included.
        sizes: of the call.
    """

    def __init__(self, found: Kernel, traced, sizes: Sizes):
        layout, real, kept = found.layout, found.real, found.kept
        steps, batch, features, units, projected, reverse, threads, split, keep = sizes[:9]
        wide, narrow = found.padded(units), found.padded(projected)
        self.widths = {s: (projected, narrow) if traced.widths[s] == "P" else (units, wide)
                       for s in traced.states}  # fmt: skip
        s = self.struct = found.structure()
        # two halves make a word
        s.ldx = features + (features % 2 if kept != real else 0)
        s.T, s.B, s.K, s.H, s.P, s.Hp, s.Pp = steps, batch, features, units, projected, wide, narrow
        s.G = _groups(batch) if layout["by_weight"] or layout["by_norm"] else max(1, batch)
        s.reverse, s.threads, s.split = int(reverse), threads, int(split)
        s.blank = int(sizes.blank)
        first = self.first = traced.states[0]
        # of one step both places are the sequence, in either direction
        self.whole = {name: keep or steps == 1 or name == first for name in traced.states}
        for name in traced.states:
            setattr(s, f"ring_{name}", steps + 1 if self.whole[name] else 2)
        times = steps if keep else 1
        sequences: Shapes = {
            f"s_{name}": ((steps + 1 if self.whole[name] else 2, batch, self.widths[name][1]), kept)
            for name in traced.states
        }
        saved: Shapes = {
            "save": ((times, batch, layout["saved"], wide), kept),
            "statistics": ((times, batch, len(layout["norms"]), 2), real),
        }
        inside: Shapes = {
            "carry": ((batch, layout["carried"], wide), real),
            "pack": ((found.library.pack_size(ctypes.byref(s)),), real),
        }
        if sizes.loose:
            inside["x"] = ((steps, batch, features), kept)
        if layout["x_columns"] and batch < FEW_ROWS * threads and steps > 1:
            inside["xw"] = ((steps, batch, layout["x_columns"], wide), real)
        if kept != real:
            rings = {name: ((2, batch, self.widths[name][1]), real) for name in traced.states}
            inside |= {f"r_{name}": shape for name, shape in rings.items()}
        # The sequence of the first state is the output, which others hold.
        alone = {f"s_{first}"} if not sizes.inner else set[str]()
        alone = {*sequences, *saved} if sizes.apart else alone
        inside |= {name: v for name, v in {**sequences, **saved}.items() if name not in alone}
        self.alone = {name: v for name, v in {**sequences, **saved}.items() if name in alone}
        self.sequences = tuple(sequences)
        self.places = Places(inside, real)
        self.derived: "Derived | None" = None  # what its backward passes need, once there was one


class Bound:
    """One call's C struct, with the tensors that keep its memory alive."""

    def __init__(self, form: Form):
        self._begin(form, form.struct)

    def _begin(self, form: Form, struct) -> None:
        self.form, self.widths, self.first = form, form.widths, form.first
        self.struct = type(struct).from_buffer_copy(struct)
        self.held: dict[str, Tensor] = {}
        self.room: Room | None = None
        self.sequences: dict[str, Tensor] = {}
        self.rings: dict[str, Tensor] = {}
        self.recorded: dict[str, Tensor] = {}
        self.saved: dict[str, Tensor] = {}

    def alike(self) -> "Bound":
        """A call that differs in its memory alone, which it does not hold yet."""
        other = Bound.__new__(Bound)
        other._begin(self.form, self.struct)
        return other

    def set(self, name: str, value: Tensor | None) -> None:
        if value is not None:
            self.held[name] = value
            setattr(self.struct, name, place(value))

    def own(self) -> list[Tensor]:
        """What a backward pass may read, each in one piece, as tensors of one axis."""
        return [
            *(self.room.own() if self.room is not None else ()),
            *(
                value.view(-1)
                for name, value in self.held.items()
                # Neither first states, which C copies, nor records, nor rows that it copies.
                if name[:2] not in ("i_", "o_") and value.is_contiguous()
            ),
        ]

    def pointer(self):
        return ctypes.byref(self.struct)

    @property
    def output(self) -> Tensor:
        """The first state after every step in the order of time, padded: (T, B, width)."""
        rows = self.sequences[self.first]
        return rows[:-1] if self.struct.reverse else rows[1:]

    @property
    def before_output(self) -> int:
        """Elements of the first state's sequence before the output: a row of first states."""
        return 0 if self.struct.reverse else self.struct.B * self.of_output[1]

    @property
    def of_output(self) -> tuple[int, int]:
        """Width of the first state, and the same with its padding."""
        return self.widths[self.first]

    def read(self, below: "Bound") -> None:
        """Take another call's output as the input."""
        self.struct.x = below.output.data_ptr()  # which `below` holds
        self.struct.ldx = below.of_output[1]

    def start(self, name: str, value: Tensor) -> None:
        """Let a state of a stream go on from this value: (B, width)."""
        for rows in (self.sequences[name][0], *(r[0] for r in self._ring(name))):
            width, full = self.widths[name]
            if full != width:
                rows.zero_()
                rows = rows[:, :width]
            rows.copy_(value)

    def carried(self, name: str) -> Tensor:
        """A state as a stream carries it on, (B, width)."""
        ring = self._ring(name)
        rows = ring[0][0] if ring else self.sequences[name][0]
        width, full = self.widths[name]
        return rows if width == full else rows[:, :width]

    def _ring(self, name: str) -> list[Tensor]:
        return [self.rings[name]] if name in self.rings else []


def bind(
    found: Kernel,
    traced,
    call: Call,
    lengths,
    tensors,
    *,
    keep: bool,
    apart: bool = False,
    inner: bool = False,
    below: Bound | None = None,
) -> Bound:
    """Fill the struct of a call.

    Args:
        found: the compiled cell.
        traced: the cell, options of the layer included.
        call: one layer, one direction.
        lengths: (B), or `None`.
        tensors: as `sequence.flat` orders them.
        keep: whether a backward pass will follow.
        apart: whether what the backward pass reads lies in tensors of their own, in `saved`.
        inner: whether the output is for another layer alone, which `below` will name.
        below: the layer whose output is the input, in place of x among the tensors.
    """
    layout, real, kept = found.layout, found.real, found.kept
    x_weight, x_bias, u_weight, u_bias, projs = (
        None if v is None else _ready(v, kept if n in MATRICES else real)
        for n, v in enumerate(tensors[1:6], 1)
    )
    if below is None:  # there is always an input, if of no features
        place(tensors[0])
        steps, batch, features = tensors[0].shape
        x, loose = _input(tensors[0].to(kept), pairs=kept != real)
    else:
        steps, batch, features = below.struct.T, below.struct.B, below.of_output[0]
        loose = False
    units, projected = sizes(traced, call, tensors)
    firsts = tensors[STATES : STATES + len(traced.states)]
    blank = all(v is None for v in firsts)
    threads = _threads(steps * batch * units)
    split = _shares_units(traced, found, batch, units, projected, threads)
    of = Sizes(
        steps, batch, features, units, projected, call.reverse, threads, split, keep, apart, inner,
        loose, blank,
    )  # fmt: skip
    form = found.once(of, lambda: Form(found, traced, of))
    bound = Bound(form)
    if lengths is not None:
        bound.set("lengths", lengths.contiguous())
    if below is not None:
        bound.read(below)
    else:
        bound.set("source" if loose else "x", x)
        bound.struct.source_t, bound.struct.source_b = x.stride(0), x.stride(1)
    for name, value in (("x_weight", x_weight), ("x_bias", x_bias), ("u_weight", u_weight),
                        ("u_bias", u_bias), ("proj_weight", projs)):  # fmt: skip
        bound.set(name, value)
    full = form.struct.Hp, form.struct.Pp
    _bind_small(bound, traced, tensors, form.widths, full)
    room = bound.room = Room(form.places)
    room.point(bound.struct)
    for name, (shape, dtype) in form.alone.items():
        value = POOL.take(*shape, dtype=dtype)
        bound.set(name, value)
        if name not in form.sequences:
            bound.saved[name] = value
        else:
            bound.sequences[name.removeprefix("s_")] = value
    for name, first in zip(traced.states, firsts, strict=True):
        if name not in bound.sequences:
            bound.sequences[name] = room.tensor(f"s_{name}")
        if kept != real:
            bound.rings[name] = room.tensor(f"r_{name}")
        if first is not None:
            bound.set(f"i_{name}", _ready(first, real))
    for name, letter in layout["observed"].items():
        buffer = POOL.take(steps, batch, full[letter == "P"], dtype=kept)
        if lengths is not None:
            buffer.zero_()
        bound.set(f"o_{name}", buffer)
        bound.recorded[name] = buffer[..., : projected if letter == "P" else units]
    return bound


def rebind(bound: Bound, traced, kept: list[Tensor]) -> None:
    """Point a call at what an earlier one kept: the sequences of states, what it saved."""
    names = [*(f"s_{name}" for name in traced.states), "save", "statistics"]
    for name, value in zip(names, kept, strict=True):
        bound.set(name, value.contiguous())


def without_firsts(
    tensors: Sequence[Tensor | None], layers: int, states: int
) -> list[Tensor | None]:
    """The tensors of some layers, `None` in place of first states: C has copied these."""
    each, places = len(tensors) // layers, range(STATES, STATES + states)
    return [None if n % each in places else v for n, v in enumerate(tensors)]


def sizes(traced, call: Call, tensors) -> tuple[int, int]:
    """H and P."""
    _, x_weight, _, u_weight, _, projs = tensors[:6]
    if x_weight is not None:
        units = x_weight.shape[0] // len(traced.x_gates)
    elif u_weight is not None:
        units = u_weight.shape[0] // len(traced.u_gates)
    else:
        units = call.states[traced.states[0]].shape[-1]
    return units, projs.shape[0] // len(traced.projs) if projs is not None else units


def _shares_units(
    traced, found: Kernel, batch: int, units: int, projected: int, threads: int
) -> bool:
    """Whether threads share the units of each step rather than the rows of the batch."""
    if threads == 1 or found.layout["norms"]:  # a norm is taken over all units
        return False
    if found.layout["scans"]:
        return batch < threads
    operand = projected if traced.operand_width == "P" else units
    size = len(traced.u_gates) * units * operand * found.kept.itemsize
    few = size > LARGE and batch <= LARGE_ROWS * threads
    return few or (size > ALONE and batch < threads)


def _groups(batch: int) -> int:
    """Groups of rows, the same for any number of threads: bits depend on them."""
    if batch < GROUPS * GROUP_ROWS:
        return max(1, batch)
    return GROUPS * max(1, batch // (8 * GROUPS))


def _threads(work: int) -> int:
    return torch.get_num_threads() if work > 2048 and forks.many_threads() else 1


def _bind_small(bound, traced, tensors, widths, full) -> None:
    """Weights, norms, masks and noises; padded where the machine's vectors need it."""
    rest = list(tensors[STATES + len(traced.states) :])
    for name in traced.weights:
        bound.set(f"raw_{name}", lying(rest.pop(0)))
    for name in traced.norms:
        for part in ("gain", "shift"):
            value = rest.pop(0)
            bound.set(f"raw_{part}_{name}", None if value is None else lying(value))
    for name in traced.masks:
        bound.set(f"m_{name}", _pad(rest.pop(0), full[name[0] == "P"]))
    for name in traced.noises:
        bound.set(f"z_{name}", _pad(rest.pop(0), widths[name][1]))


def _input(x: Tensor, *, pairs: bool) -> tuple[Tensor, bool]:
    """x as C takes it, and whether its rows, each in one piece, lie apart: C copies them then."""
    if pairs and x.shape[-1] % 2:
        return F.pad(x, (0, 1)).contiguous(), False  # two halves make a word
    if x.is_contiguous():
        return x, False
    return (x, True) if x.stride(-1) == 1 else (x.contiguous(), False)


def _ready(value: Tensor, dtype: torch.dtype) -> Tensor:
    place(value)  # before PyTorch copies it from nowhere
    if value.dtype is not dtype:
        value = value.to(dtype)
    return lying(value)


def _pad(value: Tensor, full: int) -> Tensor:
    missing = full - value.shape[-1]
    return F.pad(value, (0, missing)).contiguous() if missing else value.contiguous()
