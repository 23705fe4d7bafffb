"""The catalogue: a name, a class or FILE.py:Class comes in, a cell goes out.

A family is a module; to add a cell, add its class to one. `from unrolled.cells import …` also gives
the functions that steps are typed with.
"""

import difflib
import importlib.util
import inspect
import sys
from pathlib import Path

from ..engine.adding import add_primitive
from ..engine.primitives import (
    absolute,
    cos,
    exp,
    log,
    logsigmoid,
    maximum,
    minimum,
    positive,
    prefer,
    relu,
    sigmoid,
    sin,
    softplus,
    sqrt,
    tanh,
)
from ..errors import CellError
from . import differential, elman, gru, linear, lstm, minimal, xlstm
from .cell import Cell, forgiving
from .paper import OPTIONS

FAMILIES = (elman, lstm, gru, minimal, linear, differential, xlstm)

CATALOGUE: dict[str, type[Cell]] = {
    kind.name: kind
    for family in FAMILIES
    for kind in vars(family).values()
    if inspect.isclass(kind) and issubclass(kind, Cell) and kind.__module__ == family.__name__
}

__all__ = [
    "CATALOGUE",
    "Cell",
    "absolute",
    "add_primitive",
    "cite",
    "cos",
    "exp",
    "find",
    "log",
    "logsigmoid",
    "maximum",
    "minimum",
    "names",
    "positive",
    "prefer",
    "relu",
    "sigmoid",
    "sin",
    "softplus",
    "sqrt",
    "tanh",
]


def names() -> list[str]:
    """The names of the catalogue's cells, by family.

    Example:
        >>> "lstm" in names()
        True
    """
    return list(CATALOGUE)


def find(cell) -> Cell:
    """The cell of this name, class, object or file.

    Args:
        cell: a name of the catalogue, `FILE.py:Class`, a subclass of `Cell`, or a cell.

    Raises:
        CellError: there is none; says which name comes closest.

    Example:
        >>> find("lstm").states
        'h c'
    """
    if cell is Cell or type(cell) is Cell:
        raise CellError(
            "Cell itself has no step",
            expected="a class derived from it, with a method `step(self, x, u, h, …)`",
            got="Cell",
            fix="`unrolled cells new NAME` writes a template.",
        )
    if isinstance(cell, Cell):
        return cell
    if inspect.isclass(cell) and issubclass(cell, Cell):
        return cell()
    if isinstance(cell, str) and cell in CATALOGUE:
        return CATALOGUE[cell]()
    if isinstance(cell, str) and ".py" in cell:
        return _from_file(cell)()
    close = difflib.get_close_matches(str(cell).lower(), CATALOGUE, 1)
    raise CellError(
        f"no cell {cell!r}",
        expected=f"a name ({', '.join(CATALOGUE)}), FILE.py:Class, or a Cell",
        got=repr(cell),
        fix=f"Did you mean {close[0]!r}?" if close else "`unrolled cells list` shows them.",
    )


def _from_file(reference: str) -> type[Cell]:
    path, _, wanted = reference.rpartition(":") if ".py:" in reference else (reference, "", "")
    file = Path(path)
    if not file.is_file():
        raise CellError(
            f"no file {path}",
            expected="FILE.py:Class",
            got=reference,
            fix="Give the path from this folder.",
        )
    spec = importlib.util.spec_from_file_location(f"unrolled_user_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise CellError(f"{path} is no Python file", expected="FILE.py:Class", got=reference)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        with forgiving() as broken:
            spec.loader.exec_module(module)
    except CellError as error:
        raise CellError(
            f"{path}: {error.what}", expected=error.expected, got=error.got, fix=error.fix
        ) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a user's file raises, said in one line
        line = error.lineno if isinstance(error, SyntaxError) else _line_of(error, path)
        where = f"{path}, line {line}" if line else path
        raise CellError(where, expected="Python that can be imported", got=_named(error)) from None
    own = {
        k: v
        for k, v in vars(module).items()
        if inspect.isclass(v) and issubclass(v, Cell) and v.__module__ == module.__name__
    }
    if wanted in own or (not wanted and len(own) == 1):
        found = own[wanted or next(iter(own))]
        for kind in found.__mro__:
            if kind in broken:
                wrong = broken[kind]
                raise CellError(
                    f"{path}: {wrong.what}", expected=wrong.expected, got=wrong.got, fix=wrong.fix
                )
        return found
    if inspect.isclass(getattr(module, wanted, None)):
        raise CellError(
            f"{path}:{wanted} is no cell",
            expected=f"one of {', '.join(own) or '(it defines none)'}",
            got="a class that is not derived from unrolled.Cell",
            fix=f"Write `class {wanted}(Cell):`.",
        )
    raise CellError(
        f"{path} has no cell {wanted!r}" if wanted else f"{path}: which cell",
        expected=f"one of {', '.join(own) or '(it defines none)'}",
        got=wanted or "no name",
        fix=f"Write {path}:{(difflib.get_close_matches(wanted, own, 1) or [*own, 'CLASS'])[0]}.",
    )


def _line_of(error: BaseException, path: str) -> int:
    trace = error.__traceback__
    line = 0
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).resolve() == Path(path).resolve():
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def cite(*cells) -> str:
    """BibTeX of the papers of these cells, or of every recurrent layer (and option) of a module.

    Args:
        cells: names, cells, or modules that contain recurrent layers.

    Example:
        >>> cite("gru").splitlines()[0]
        '@inproceedings{cho2014learning,'
    """
    papers: dict[str, None] = {}
    for cell in cells:
        if hasattr(cell, "modules"):
            layers = [m for m in cell.modules() if hasattr(m, "cell")]
            found = [m.cell.paper for m in layers]
            for option, paper in OPTIONS.items():
                found += [paper for m in layers if getattr(m, option, None)]
        else:
            found = [find(cell).paper]
        papers.update(dict.fromkeys(p.strip() for p in found if p.strip()))
    return "\n\n".join(papers)
