"""The laboratory: cells come in; experiments with them go out, as rows, tables and pictures.

In order: `budget` (sizes at equal parameters), `ledger` (what has been found so far), `drawn`
(pictures as files); `problems` and `learning` (tests of memory), `remembering` and its picture;
`intervals`, `peak` (memory), `comparing`, its picture and the table of a `paper`; `reach` (how far
gradients do), `clipping`, `reaching` and its picture.
"""

from .comparing import Comparison, compare
from .reaching import Gradients, Study, gradients
from .remembering import Memory, Plan, memory

__all__ = ["Comparison", "Gradients", "Memory", "Plan", "Study", "compare", "gradients", "memory"]
