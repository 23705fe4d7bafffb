"""Recurrent neural networks: type a cell once, as its equations; train it, see inside it, ship it.

The names below are the whole public surface. Each is loaded when it is first asked for, so that
`import unrolled` itself is instant.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "Cell": "unrolled.cells",
    "Classifier": "unrolled.tasks.estimators",
    "GRU": "unrolled.layers",
    "LSTM": "unrolled.layers",
    "RNN": "unrolled.layers",
    "Recurrent": "unrolled.layers",
    "Regressor": "unrolled.tasks.estimators",
    "UnrolledError": "unrolled.errors",
    "cite": "unrolled.cells",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'unrolled' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
