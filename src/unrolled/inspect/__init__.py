"""The inspector: a network and an input come in; what happened inside, step by step, goes out.

In order: `record` (calls of layers, as they ran), `adjoint` (derivatives by any value at any step),
`trace` (the two together, by name), `words` and `tables` (what names mean, files).
"""

from .tables import save_arrays, save_table
from .trace import LayerTrace, Trace, trace

__all__ = ["LayerTrace", "Trace", "save_arrays", "save_table", "trace"]
