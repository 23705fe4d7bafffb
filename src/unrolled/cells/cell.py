"""What a cell is: names of gates and states, plain facts, and one step. It is checked when defined.

A step is typed as in the paper. `x.k` is (W x + b_ih)_k, `u.k(v)` is (U v + b_hh)_k, `w.k` a weight
of one value a unit, `norm.k(v)` a normalisation over the units, `proj.k(v)` a projection.
"""

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from ..engine import declared
from ..engine.trace import trace
from ..engine.traced import Traced
from ..errors import CellError

# While a file is read: its classes that are no cells, with what is wrong; a class that nobody asks
# for spoils none of the others. None: an error is raised where the class is defined.
BROKEN: dict[type, CellError] | None = None


@contextmanager
def forgiving() -> Iterator[dict[type, CellError]]:
    """Keep errors of classes that are defined in this block, instead of raising them."""
    global BROKEN
    before, BROKEN = BROKEN, {}
    try:
        yield BROKEN
    finally:
        BROKEN = before


class Cell:
    """The base of all cells: a declaration, and a step that is typed once.

    Everything that can be said of a cell is a class attribute:

    - `gates`: names of the rows of W and U, in the order in which they are stored;
    - `states`: names of the states; the first is the layer's output;
    - `init`: state → the value it starts from, 0 where nothing is said;
    - `learned`: names of the states whose first value is a parameter;
    - `hyper`: scalar hyper-parameters, `{"dt": 1.0}`: `self.dt` in the step, `LEM(dt=0.5)` outside;
    - `structure`: `{"x": "shared"}` (all gates share one matrix), `{"u": "shared antisymmetric"}`
      (U = M - M^T - gamma I, gamma a hyper-parameter), `{"u": "blocks"}` (block-diagonal, `heads`
      blocks), `{"w": "shared"}` (all units share one value of each weight);
    - `window`: how many inputs, ending at this one, x.k reads (the earlier ones are streaming
      state);
    - `start`: how parameters are initialised: `{"u": "orthogonal", "b.f": 1.0, "w.p": "zeros"}`,
      `("logit", low, high)` (its sigmoid is uniform between them), `("chrono", T)` (a gate's bias
      for memories of up to T steps, Tallec and Ollivier 2018, arXiv:1804.11188), PyTorch's
      uniform(-1/sqrt(H), 1/sqrt(H)) where nothing is said;
    - `layer_norm`: whether W x and U v are normalised, per gate, before the bias;
    - `kernel`: which of PyTorch's kernels computes the same, if one does;
    - `labels`: gate or state → (word in English, word in Korean);
    - `paper`: BibTeX of its source.

    A step returns the new states by name, and beside them anything that is to be observed.

    Raises:
        CellError: at the definition, where the declaration or the step is wrong.

    Example:
        >>> from unrolled.cells import Cell, sigmoid, tanh
        >>> class Mine(Cell):
        ...     gates, states = "z n", "h"
        ...     def step(self, x, u, h):
        ...         z, n = sigmoid(x.z + u.z(h)), tanh(x.n + u.n(h))
        ...         return dict(h=(1 - z) * n + z * h, z=z)
        >>> Mine().name
        'mine'
    """

    gates: ClassVar[str] = ""
    states: ClassVar[str] = "h"
    init: ClassVar[Mapping[str, float]] = {}
    learned: ClassVar[tuple[str, ...]] = ()
    hyper: ClassVar[Mapping[str, float]] = {}
    structure: ClassVar[Mapping[str, str]] = {}
    heads: int = 1
    window: int = 1
    start: ClassVar[Mapping[str, Any]] = {}
    layer_norm: bool = False
    kernel: ClassVar[str] = ""
    labels: ClassVar[Mapping[str, tuple[str, str]]] = {}
    paper: ClassVar[str] = ""
    name: str = ""

    def __init__(self, **options: float):
        for key, value in options.items():
            if key not in self.hyper and key not in ("heads", "window"):
                known = [*self.hyper, "heads", "window"]
                raise CellError(
                    f"cell {self.name}: no hyper-parameter {key!r}",
                    expected=f"any of {', '.join(known)}",
                    got=key,
                    fix="Declare it in `hyper`.",
                )
            if key in self.hyper:
                declared.number(value, f"cell {self.name}: hyper-parameter {key}")
            else:
                declared.whole(value, f"cell {self.name}: {key}")
            setattr(self, key, value)

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        try:
            cls._define()
        except CellError as error:
            if BROKEN is None:
                raise
            BROKEN[cls] = error

    @classmethod
    def _define(cls) -> None:
        """Check the declaration and the step."""
        own = cls.__dict__
        cls.name = declared.cell_name(own.get("name", cls.__name__.lower()))
        _check_types(cls)
        for key, value in cls.hyper.items():
            if key in _ATTRIBUTES:
                raise CellError(
                    f"cell {cls.name}: hyper-parameter {key!r}",
                    expected="a name that is not an attribute of Cell",
                    got=key,
                    fix="Choose another name.",
                )
            if key not in own:
                where = f"cell {cls.name}: hyper-parameter {key}"
                setattr(cls, key, declared.number(value, where))
        if cls.step is None:
            raise CellError(
                f"cell {cls.name}: no step",
                expected="a method `step(self, x, u, h, …)`",
                got="none",
                fix="`unrolled cells new NAME` writes a template.",
            )
        trace(cls())

    step: Any = None

    def trace(self) -> Traced:
        """The cell as data: its graph with these hyper-parameters."""
        return trace(self)


def _check_types(cls) -> None:
    wanted: dict[str, tuple[type, ...]] = {
        "gates": (str, tuple, list),
        "states": (str, tuple, list),
        "init": (Mapping,),
        "hyper": (Mapping,),
        "structure": (Mapping,),
        "start": (Mapping,),
        "labels": (Mapping,),
        "heads": (int,),
        "window": (int,),
        "paper": (str,),
        "kernel": (str,),
    }
    for key, types in wanted.items():
        value = getattr(cls, key)
        if not isinstance(value, types):
            raise CellError(
                f"cell {cls.name}: {key}",
                expected=f"a {types[0].__name__}",
                got=f"a {type(value).__name__}",
                fix=f"Write `{key} = …` as the documentation of Cell shows.",
            )
    known = [*_ATTRIBUTES, *map(str, cls.hyper)]
    for key, value in cls.__dict__.items():
        if not key.startswith("_") and key not in known:
            close = difflib.get_close_matches(key, known, 1)
            helper = f"The name of a helper begins with an underscore: `_{key}`."
            raise CellError(
                f"cell {cls.name}: unknown attribute {key!r}",
                expected=f"one of {', '.join(known)}",
                got=key,
                fix=f"Did you mean `{close[0]}`?"
                if close
                else helper
                if callable(value)
                else "A number is declared in `hyper`.",
            )


_ATTRIBUTES = sorted(k for k in dir(Cell) if not k.startswith("_"))
