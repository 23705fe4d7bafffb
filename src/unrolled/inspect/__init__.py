"""The inspector: a network and an input come in; what happened inside, step by step, goes out.

In order: `record` (calls of layers, as they ran), `adjoint` (derivatives by any value at any step),
`traces` (the two together, by name), `words` and `tables` (what names mean, files), `flows` (how
far gradients reach), `sharing` (what each step adds to a shared weight's), `bptt` (the way back as
a walk, and cut short), `memory` (what units keep), `walking` (one step of one unit, in numbers).
"""

from .bptt import truncations, walk
from .flows import Flow, flow, gains, jacobians, lyapunov
from .memory import statistics, units
from .running import trace
from .sharing import shares
from .tables import save_arrays, save_table
from .traces import LayerTrace, Trace
from .walking import step_walk

__all__ = [
    "Flow",
    "LayerTrace",
    "Trace",
    "flow",
    "gains",
    "jacobians",
    "lyapunov",
    "save_arrays",
    "save_table",
    "shares",
    "statistics",
    "step_walk",
    "trace",
    "truncations",
    "units",
    "walk",
]
