"""Plain C from a plan. In order: `tiles` (products), `spelling` (names, places, primitives), `step`
(a phase with the cell's equations), `program` (the whole file).

`vector.h` and `product.h` are what every emitted file begins with; `half.h` is there where what is
multiplied is bfloat16, and `matrix.h` in place of the tiles where the machine multiplies matrices.
"""

from .program import Program, emit

__all__ = ["Program", "emit"]
