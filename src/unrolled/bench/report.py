"""A row comes in; its measured figures, as facts and as lines for people, go out."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from ..messages import tr
from .apart import Apart
from .contenders import contenders
from .streams import stream_contenders
from .tables import Row
from .timing import Timed, Times, interleaved


@dataclass(frozen=True)
class Measured:
    """What was seen of a row.

    Args:
        row: what was timed.
        times: by name, ours first.
        unchecked: rivals whose result could not be compared: their parameters are others.
        peak: operations a second that this machine does at most, or `None` where nobody knows.
        loses: what a rival loses more of than ours may, by its name.
    """

    row: Row
    times: dict[str, Times]
    unchecked: tuple[str, ...]
    peak: float | None
    loses: dict[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> str:
        return next(iter(self.times))

    @property
    def ratios(self) -> dict[str, float]:
        """Ours by each rival's median: below 1 ours is faster."""
        names = list(self.times)
        return {n: self.times[self.ours].median / self.times[n].median for n in names[1:]}

    @property
    def rate(self) -> float:
        return self.row.work.operations() / self.times[self.ours].median

    @property
    def met(self) -> bool | None:
        """Whether every target of the row is reached; `None` where it has none."""
        known = [(self.ratios[n], most) for n, most in self.row.rivals.items() if n in self.ratios]
        wanted = [ratio <= most for ratio, most in known if most is not None]
        if self.row.share is not None and self.peak:
            wanted.append(self.rate / self.peak >= self.row.share)
        return all(wanted) if wanted else None

    def facts(self) -> dict[str, Any]:
        """Everything as plain JSON, times in seconds."""
        work = self.row.work
        return {
            "cell": work.cell,
            "shape": vars(work.shape),
            "training": work.training,
            "stream": self.row.stream,
            "dtype": work.dtype,
            "median": {name: t.median for name, t in self.times.items()},
            "best": {name: t.best for name, t in self.times.items()},
            "runs": len(self.times[self.ours].samples),
            "ratio": self.ratios,
            "unchecked": list(self.unchecked),
            "loses": self.loses,
            "flops": self.rate,
            "share": self.rate / self.peak if self.peak else None,
            "targets": {n: most for n, most in self.row.rivals.items() if most is not None},
            "target_share": self.row.share,
            "met": self.met,
        }

    def lines(self) -> list[str]:
        """For people: who took how long, then the rate."""
        work = self.row.work
        doing = tr("training") if work.training else tr("inference")
        doing = tr("one step of a stream") if self.row.stream else doing
        found = [f"{work.cell}, {work.shape}, {doing}, {work.dtype}"]
        for name, times in self.times.items():
            ratio = self.ratios.get(name)
            said = "" if ratio is None else tr("ours takes {ratio} of it", ratio=f"{ratio:.3f}")
            wanted = self.row.rivals.get(name)
            if wanted is not None and ratio is not None:
                said += tr(" (wanted: {most})", most=f"{wanted:.2f}")
            if name in self.unchecked:
                said += tr(" (parameters of its own: its result is not compared)")
            if name in self.loses:
                said += f" ({self.loses[name]})"
            found.append(f"  {name:<20}{_time(times.median):>12}   {said}".rstrip())
        rate = tr("{rate} GFLOP/s", rate=f"{self.rate / 1e9:.1f}")
        if self.peak:
            share, most = f"{100 * self.rate / self.peak:.0f}", f"{self.peak / 1e9:.0f}"
            rate += tr(", {share} % of this machine's {most}", share=share, most=most)
            if self.row.share is not None:
                rate += tr(" (wanted: {most})", most=f"{100 * self.row.share:.0f} %")
        return [*found, f"  {rate}"]


def measure(
    row: Row,
    runs: int,
    *,
    backend: str,
    peak: float | None,
    all_rivals: bool = False,
    keep_freed: bool = False,
) -> Measured:
    """Check everybody's result, then time them in turn, each in a process of its own.

    Args:
        row: what is timed.
        runs: rounds.
        backend: ours.
        peak: of this machine, operations a second.
        all_rivals: everybody who knows the cell, not those of the row alone.
        keep_freed: whether all processes keep what they free.

    Raises:
        BackendError: a result is wrong; nothing is timed then.
    """
    if row.stream:
        who = stream_contenders(row.work.shape, backend)
    else:
        who = contenders(row.work, backend, () if all_rivals else tuple(row.rivals))
    with ExitStack() as stack:
        timed: list[Timed] = [*who]
        if not row.stream:
            timed = [
                stack.enter_context(Apart(c, row.work, backend, keep_freed=keep_freed)) for c in who
            ]
        times = interleaved(timed, runs)
    unchecked = tuple(c.name for c in who if not c.checked)
    return Measured(row, times, unchecked, peak, {c.name: c.loses for c in who if c.loses})


def markdown(measured: list[Measured]) -> list[str]:
    """The table of docs/performance.md."""
    notes: dict[str, str] = {}
    lines = [
        "| work | ours | rival | ratio | wanted | GFLOP/s | of the peak |",
        "|---|---|---|---|---|---|---|",
    ]
    for m in measured:
        work = m.row.work
        doing = "training" if work.training else "one step" if m.row.stream else "inference"
        doing += "" if work.dtype == "float32" else f", {work.dtype}"
        share = f"{100 * m.rate / m.peak:.0f} %" if m.peak else ""
        if m.row.share is not None:
            share += f" (wanted {100 * m.row.share:.0f} %)"
        head = f"| {work.cell}, {work.shape}, {doing} | {_time(m.times[m.ours].median)} |"
        for n, (name, ratio) in enumerate(m.ratios.items()):
            most = m.row.rivals.get(name)
            wanted = "" if most is None else f"≤ {most:g}"
            rate = f" {m.rate / 1e9:.0f} | {share} |" if n == 0 else " | |"
            if name in m.loses:
                notes[f"{work.cell}, {work.shape}, {name}"] = m.loses[name]
            lines.append(
                f"{head if n == 0 else '| | |'} {name} {_time(m.times[name].median)} |"
                f" **{ratio:.2f}** | {wanted} |{rate}"
            )
    return [*lines, *([""] if notes else []), *(f"{row}: {said}." for row, said in notes.items())]


def _time(seconds: float) -> str:
    return f"{1e6 * seconds:.1f} µs" if seconds < 1e-3 else f"{1e3 * seconds:.2f} ms"
