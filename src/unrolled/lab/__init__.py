"""The laboratory: cells come in; experiments with them go out, as rows, tables and pictures.

In order: `budget` (sizes at equal parameters), `ledger` (what has been found so far), `drawn`
(pictures as files); `problems` and `learning` (tests of memory), `remembering` and its picture.
"""

from .remembering import Memory, Plan, memory

__all__ = ["Memory", "Plan", "memory"]
