"""A call and the name of a backend come in; what it computed and what ran go out.

A backend that was asked for by name never falls back; `auto` may, and says what ran.
"""

from collections.abc import Callable

from ..errors import BackendError
from . import compiled, kernels, reference
from .call import Answer, Call


def _always(call: Call) -> str:
    return ""


# name → (why it cannot run a call, or "", and how it runs one), in the order in which `auto` tries.
BACKENDS: dict[str, tuple[Callable[[Call], str], Callable[[Call], Answer]]] = {
    "c": (compiled.unfit, compiled.run),
    "torch": (kernels.unfit, kernels.run),
    "reference": (_always, reference.run),
}
NAMES = ("auto", *BACKENDS)


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
    """
    tried = list(BACKENDS) if backend == "auto" else [backend]
    for name in tried:
        unfit, compute = BACKENDS[name]
        reason = unfit(call)
        if not reason:
            return compute(call), name
    raise BackendError(
        f"backend {backend!r}: {reason}", fix='Take backend="auto" or backend="reference".'
    )
