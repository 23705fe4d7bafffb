"""A traced cell comes in, its compiled library goes out, ready to be called.

A kernel is found by a hash of the cell, the options and the machine, first among those that were
built ahead; only where there is none are the passes run and the compiler called.
"""

import ctypes
import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..errors import BackendError
from . import build, cache, compiler, forks
from .precision import WIDER
from .traced import Traced, node_widths

MOST_FORMS = 512  # a few KB each


@dataclass
class Kernel:
    """A loaded library and what has to be known to call it.

    Args:
        library: with `forward`, `backward`, `pack_size`, `sum_size` and `vector_reals`.
        structure: the C struct of a call.
        layout: how many values are saved and carried, and what is differentiated by what.
        real, kept: dtypes of what is computed, and of what is multiplied and saved.
        lanes: reals in a vector: units are padded to a multiple of it.
        forms: what calls of the same sizes have in common, by their sizes.
    """

    library: Any
    structure: type[ctypes.Structure]
    layout: dict[str, Any]
    real: torch.dtype
    kept: torch.dtype
    lanes: int = 0
    buffers: tuple[str, ...] = field(default=())
    forms: dict[Any, Any] = field(default_factory=dict)

    def padded(self, n: int) -> int:
        """Units with their padding."""
        return -(-n // self.lanes) * self.lanes

    def once(self, sizes: Any, make: Callable[[], Any]) -> Any:
        """What calls of these sizes have in common, made at the first of them."""
        form = self.forms.get(sizes)
        if form is None:
            if len(self.forms) >= MOST_FORMS:  # sentences of all lengths: begin anew
                self.forms.clear()
            form = self.forms[sizes] = make()
        return form


Found = tuple[Path, dict[str, Any]]  # a library and its layout
_KERNELS: dict[tuple[int, tuple[str, ...], torch.dtype], tuple[Traced, Kernel]] = {}


def kernel(traced: Traced, observed: tuple[str, ...], dtype: torch.dtype) -> Kernel:
    """The compiled cell for these recorded values and this dtype of what is multiplied.

    Raises:
        BackendError: there is no compiler, or it fails.
    """
    key = (id(traced), observed, dtype)
    if key not in _KERNELS:  # the cell is kept beside the kernel, so that its id stays its own
        _KERNELS[key] = (traced, _make(traced, observed, dtype))
    return _KERNELS[key][1]


def loaded(identity: int, observed: tuple[str, ...], dtype: torch.dtype) -> bool:
    """Whether the kernel of the cell with this `id` is in memory: nothing else is needed then."""
    return (identity, observed, dtype) in _KERNELS


def _make(traced: Traced, observed: tuple[str, ...], dtype: torch.dtype) -> Kernel:
    described = _described(traced, observed, dtype)
    found, missed = _built_ahead(_key(traced, described))
    if found is None:
        found = _built(traced, observed, dtype, described, missed)
    path, layout = found
    return _loaded(str(path), json.dumps(layout))


def _described(traced: Traced, observed: tuple[str, ...], dtype: torch.dtype) -> str:
    return json.dumps([traced.to_json(), observed, str(dtype)], sort_keys=True)


def _key(traced: Traced, described: str, machine: str = "") -> str:
    identity = f"{build.emitter_identity()}{machine}{described}"
    return f"{_slug(traced.name)}-{hashlib.sha256(identity.encode()).hexdigest()[:32]}"


def _built_ahead(key: str) -> tuple[Found | None, str]:
    """What `UNROLLED_KERNELS` has of this cell, or why nothing."""
    folder = cache.ahead()
    if folder is None:
        return None, ""
    found = cache.find(folder, key)
    if found is None:
        return None, f"{folder} has no such cell of this version"
    unfit = compiler.unfit(found[1].get("system", ""), found[1].get("needs", []))
    return (None, f"{folder}: {unfit}") if unfit else (found, "")


def _built(traced, observed, dtype: torch.dtype, described: str, missed: str) -> Found:
    """The cell from the cache, compiled where it is not there."""
    try:
        machine = build.compiler()
    except BackendError as error:
        got = f"{error.got}; {missed}" if missed else error.got
        raise BackendError(error.what, expected=error.expected, got=got, fix=error.fix) from None
    key = _key(traced, described, machine.identity)
    found = build.cached(key)
    if found is None:
        source, layout = emitted(traced, observed, dtype=dtype, registers=machine.registers)
        build.build(key, source, layout)
        found = build.cached(key)
    if found is None:
        raise BackendError(f"the compiled cell {key} vanished", fix="Try again.")
    return found


def build_ahead(
    traced: Traced,
    observed: tuple[str, ...],
    dtype: torch.dtype,
    folder: Path,
    machine: str = "native",
) -> Path:
    """Compile a cell into a folder that `UNROLLED_KERNELS` will name, and return the library.

    Args:
        traced: the cell, options of the layer included.
        observed: recorded values beside the first state.
        dtype: what it computes in.
        folder: where it goes.
        machine: what it is for, as the compiler's `-march` says it.

    Raises:
        BackendError: there is no compiler, or it fails.
    """
    key = _key(traced, _described(traced, observed, dtype))
    found = build.compiler(machine)
    source, layout = emitted(traced, observed, dtype=dtype, registers=found.registers)
    return build.build(key, source, layout, folder, found)


def _slug(name: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name)[:40]


def emitted(
    traced: Traced, observed: tuple[str, ...], *, dtype: torch.dtype, registers: int
) -> tuple[str, dict[str, Any]]:
    """The cell's C and the layout of its calls.

    Args:
        traced: the cell, options of the layer included.
        observed: recorded values beside the states.
        dtype: of what is multiplied: float32, float64 or bfloat16.
        registers: vector registers of the machine, 32 or 16.
    """
    from .c import emit
    from .c.spelling import Spelling
    from .c.sums import u_blocks
    from .plan import plan

    planned = plan(traced, observed, half=dtype == torch.bfloat16)
    program = emit(planned, registers=registers, double=dtype == torch.float64)
    derived, spelling = planned.derived, Spelling(planned)
    widths = node_widths(traced.graph, traced.widths)
    layout = {
        "counts": program.counts,
        "buffers": program.buffers,
        "saved": len(planned.saved),
        "carried": len(planned.carried),
        "back_carried": len(planned.back_carried),
        "slots": {str(k): n for k, n in spelling.slots.items()},
        "x_columns": sum(bool(c.x) for phase in planned.forward for c in phase.columns),
        "by_x": derived.by_x,
        # The gate of each product with U, and in which block of rows its gradient lies.
        "by_u": [[traced.graph.nodes[k].attr, block] for k, block in u_blocks(planned).items()],
        "by_weight": list(derived.by_weight),
        "by_norm": list(derived.by_norm),
        "shifts": planned.shifts,
        "by_proj": derived.by_proj,
        "norms": {
            name: widths[k] for name, k in ((n, spelling.norm_operand[n]) for n in traced.norms)
        },
        "norm_backs": len(spelling.back_index),
        "observed": {name: widths[derived.outputs[name]] for name in planned.observed},
        "told": planned.told,
        "scans": planned.scans,
        "dtype": str(dtype).removeprefix("torch."),
    }
    return program.source, layout


@functools.cache
def _loaded(path: str, described: str) -> Kernel:
    layout = json.loads(described)
    counts, buffers = layout["counts"], tuple(layout["buffers"])
    fields: list[tuple[str, Any]] = [(name, ctypes.c_long) for name in counts]
    fields += [("lengths", ctypes.c_void_p)]
    fields += [(name, ctypes.c_void_p) for name in buffers]
    structure = type("Call", (ctypes.Structure,), {"_fields_": fields})
    library = build.load(Path(path))
    forks.guard(library)
    for name in ("forward", "backward", "bind", "advance", "pack_size", "sum_size", "vector_reals"):
        function = getattr(library, name)
        function.restype = ctypes.c_long if name.endswith(("_size", "_reals")) else None
    library.forward.argtypes = [ctypes.c_void_p, ctypes.c_long]
    library.backward.argtypes = [ctypes.c_void_p]
    library.bind.argtypes = [ctypes.c_void_p]
    library.advance.argtypes = [ctypes.c_void_p, ctypes.c_long]
    library.pack_size.argtypes = library.sum_size.argtypes = [ctypes.c_void_p]
    kept = getattr(torch, layout["dtype"])
    real = WIDER.get(kept, kept)
    return Kernel(library, structure, layout, real, kept, int(library.vector_reals()), buffers)
