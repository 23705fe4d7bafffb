"""The laboratory: cells come in; experiments with them go out, as rows, tables and pictures.

In order: `budget` (sizes at equal parameters), `ledger` (what has been found so far), `drawn`
(pictures as files); `problems` and `learning` (tests of memory), `remembering` and its picture;
`intervals`, `peak` (memory), `comparing`, its picture and the table of a `paper`.
"""

from .comparing import Comparison, compare
from .remembering import Memory, Plan, memory

__all__ = ["Comparison", "Memory", "Plan", "compare", "memory"]
