"""A comparison comes in; the table of a paper and its references, for LaTeX, go out."""

import re
from typing import Any

from unrolled.cells import cite

from . import budget
from .comparing import Comparison, Contender

UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
SPECIAL = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


def latex(found: Comparison) -> str:
    """A table for the package booktabs, each cell with its \\cite; the best mean is bold.

    The interval behind ± is Student's, of 95 %, over seeds.
    """
    rows = found.table()
    memory = any(row["bytes"] is not None for row in rows)
    heads = ["Cell", "Units", "Parameters", "Rate", _measure(found), "Time (s)"]
    heads += [f"Memory ({scale(found)[1]})"] if memory else []
    lines = [
        r"% \usepackage{booktabs}; the references are in compare.bib",
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{_caption(found, rows)}}}",
        r"  \label{tab:cells}",
        f"  \\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        r"    \toprule",
        f"    {' & '.join(heads)} \\\\",
        r"    \midrule",
    ]
    best = found.best()
    for row, contender in zip(rows, found.contenders, strict=True):
        value = _value(found, row)
        cells = [
            _named(contender),
            str(row["hidden"]),
            f"{row['parameters']:,}".replace(",", r"\,"),
            "--" if row["lr"] is None else f"{row['lr']:g}",
            _bold(value) if row["cell"] == best else value,
            _spread(row["seconds"], row["seconds_half_width"], ".1f"),
        ]
        if memory:
            cells.append("--" if row["bytes"] is None else f"{row['bytes'] / scale(found)[0]:.1f}")
        lines.append(f"    {' & '.join(cells)} \\\\")
    lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}", ""]
    return "\n".join(lines)


def bibtex(found: Comparison) -> str:
    """The papers of all cells that have one, each once."""
    return cite(*(c.cell for c in found.contenders)) + "\n"


def scale(found: Comparison) -> tuple[int, str]:
    """The unit in which the largest need is a number above one."""
    most = max((c.bytes or 0 for c in found.contenders), default=0)
    return next((unit for unit in UNITS if most >= unit[0]), UNITS[-1])


def escaped(text: str) -> str:
    r"""A text as LaTeX sets it.

    Example:
        >>> print(escaped("my_cell & co"))
        my\_cell \& co
    """
    return text.translate(SPECIAL)


def _named(contender: Contender) -> str:
    keys = re.findall(r"@\w+\{\s*([^,\s]+)", budget.traced(contender.cell).paper)
    cited = f"~\\cite{{{','.join(keys)}}}" if keys else ""
    return escaped(contender.title) + cited


def _measure(found: Comparison) -> str:
    name = found.metric.replace("_", " ").capitalize()
    if name.upper() in ("RMSE", "F1"):
        name = name.upper()
    return escaped(f"{name} (%)" if found.percent else name)


def _value(found: Comparison, row: dict[str, Any]) -> str:
    many = 100 if found.percent else 1
    width = row["half_width"]
    value = row[found.metric]
    form = ".2f" if found.percent else ".4g"
    return _spread(value and value * many, width and width * many, form)


def _spread(value: float | None, width: float | None, form: str) -> str:
    if value is None:
        return "--"
    return f"${value:{form}}$" if width is None else f"${value:{form}} \\pm {width:{form}}$"


def _bold(value: str) -> str:
    """The mean of `$mean \\pm width$` in bold."""
    return re.sub(r"^\$([^ $]+)", r"$\\mathbf{\1}", value)


def _caption(found: Comparison, rows: list[dict[str, Any]]) -> str:
    count = max(row["runs"] + row["diverged"] for row in rows)
    lost = [f"{row['cell']} {row['diverged']}" for row in rows if row["diverged"]]
    tried = len(found.contenders[0].tries)
    interval = " $\\pm$ Student's 95\\,\\% interval" if count > 1 else ""
    said = (
        f"{escaped(found.source.rstrip('/').rpartition('/')[2])}, {found.part} part: mean"
        f"{interval} over {count} seed{'s' * (count > 1)}; the learning rate of each cell is the "
        f"best of {tried} on the validation part."
    )
    return said + (f" Runs that diverged are left out: {escaped(', '.join(lost))}." if lost else "")
