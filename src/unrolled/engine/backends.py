"""A call and the name of a backend come in; what it computed and what ran go out.

A backend that was asked for by name never falls back; `auto` may, and says what ran and why.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from ..errors import BackendError, BackendWarning
from ..messages import tr, tr_error
from . import compiled, kernels, reference
from .call import Answer, Call
from .call_cache import CachedCall


def _always(call: Call) -> str:
    return ""


def _never(call: Call) -> BackendError | None:
    return None


def _alone(calls: Sequence[Call]) -> bool:
    return False


class Backend(NamedTuple):
    """One way to compute a call.

    Args:
        unfit: why it cannot run this call, or "".
        run: runs it.
        trouble: what is wrong with this machine, where it could run the call on another.
        joins: whether it runs these layers, on top of each other, better together than each alone.
        run_joined: runs them; states are name → (L, B, width).
    """

    unfit: Callable[[Call], str]
    run: Callable[[Call], Answer]
    trouble: Callable[[Call], BackendError | None] = _never
    joins: Callable[[Sequence[Call]], bool] = _alone
    run_joined: Callable[[Sequence[Call]], Answer] | None = None


# In the order in which `auto` tries.
BACKENDS: dict[str, Backend] = {
    "c": Backend(
        compiled.unfit, compiled.run, compiled.trouble, compiled.joins, compiled.run_joined
    ),
    "torch": Backend(kernels.unfit, kernels.run),
    "reference": Backend(_always, reference.run),
}
NAMES = ("auto", *BACKENDS)
_SAID: list[str] = []  # what `auto` has warned of in this process


def known(backend: str) -> str:
    """The name, if there is such a backend.

    Raises:
        BackendError: there is none.
    """
    if backend not in NAMES:
        raise BackendError(f"backend {backend!r}", expected=f"one of {', '.join(NAMES)}")
    return backend


def run(backend: str, call: Call) -> tuple[Answer, str]:
    """Run a call on a backend, or on the first that fits.

    Returns:
        The answer, and the name of the backend that computed it.

    Raises:
        BackendError: the backend that was asked for cannot run it; says why.

    Warns:
        BackendWarning: `auto` takes a slower one for want of a compiler or of a kernel; said once.
    """
    name = _chosen(backend, call)
    return BACKENDS[name].run(call), name


def _chosen(backend: str, call: Call) -> str:
    if backend != "auto":
        chosen = BACKENDS[backend]
        if reason := chosen.unfit(call):
            raise BackendError(
                f"backend {backend!r}: {reason}", fix='Take backend="auto" or backend="reference".'
            )
        return backend
    troubles: list[BackendError] = []
    for name, chosen in BACKENDS.items():
        if chosen.unfit(call):
            continue
        if error := chosen.trouble(call):
            troubles.append(error)
            continue
        for error in troubles:
            _once(
                tr("{trouble} Until then backend {name} runs.", trouble=tr_error(error), name=name)
            )
        if name == "reference" and call.x.device.type not in ("cpu", "meta"):
            _once(
                tr(
                    "the cell {cell} has no kernel on {device}: it runs there as a loop",
                    cell=call.traced.name,
                    device=call.x.device.type,
                )
            )
        return name
    raise AssertionError("the reference runs everything")


def run_all(backend: str, calls: Sequence[Call]) -> tuple[Answer, str]:
    """Run layers on top of each other: all but the first read the output of the one before.

    Args:
        backend: as for `run`.
        calls: of one cell, one a layer; of all but the first, x is not looked at.

    Returns:
        The last one's output, states as name → (L, B, width), records as name → (L, T, B, width);
        and the name of the backend that computed them.

    Raises:
        BackendError: as `run`.
    """
    name = _chosen(backend, calls[0])
    chosen = BACKENDS[name]
    if chosen.run_joined is not None and chosen.joins(calls):
        return chosen.run_joined(calls), name
    answers: list[Answer] = []
    for call in calls:
        above = replace(call, x=answers[-1].output) if answers else call
        answer, name = run(backend, above)
        answers.append(answer)
    return Answer(
        answers[-1].output,
        {s: torch.stack([a.states[s] for a in answers]) for s in answers[0].states},
        {s: torch.stack([a.observed[s] for a in answers]) for s in answers[0].observed},
    ), name


def run_cached(cached: CachedCall, given: Sequence[torch.Tensor]) -> tuple[Answer, str]:
    """Run a call that is like the cached one, and gives as much; returns what `run_all` does."""
    return compiled.run_cached(cached, given), cached.backend


def said() -> tuple[str, ...]:
    """What `auto` has warned of in this process, in the order of the warnings."""
    return tuple(_SAID)


def _once(text: str) -> None:
    if text not in _SAID:
        _SAID.append(text)
        warnings.warn(text, BackendWarning, stacklevel=3)
