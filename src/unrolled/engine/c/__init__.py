"""Plain C from a plan. In order: `tiles` (products), `spelling` (names, places, primitives), `step`
(a phase with the cell's equations), `program` (the whole file).

`vector.h` and `product.h` are what every emitted file begins with.
"""

from .program import Program, emit

__all__ = ["Program", "emit"]
