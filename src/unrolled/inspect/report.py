"""A trace comes in; one HTML file goes out, with every picture inside it and nothing from outside.

Pictures are there twice, for light and for dark; print is light.
"""

import base64
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..messages import language, tr
from . import pictures
from .attribution import Attribution
from .bptt import Truncation, truncations, walk, walk_text
from .finder import Follower
from .flows import Flow, flow, lyapunov
from .memory import by_way, statistics, units
from .pictures.attention import attention
from .pictures.saying import saying
from .pictures.style import Style, missing_font, png
from .shade import for_page
from .sharing import Share, shares
from .spoken import Spoken
from .tables import written
from .traces import LayerTrace, Trace
from .walking import as_text, step_walk
from .words import said

MOST_LAYERS = 4  # with pictures of their own; a report stays a report
MOST_ROWS = 200  # of a table
MOST_STEPS = 2000  # beyond them no Jacobian is multiplied for a report

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1a1a1a;--faint:#d8d8d8}
@media (prefers-color-scheme:dark){:root{--paper:#16181c;--ink:#e6e6e6;--faint:#3a3e46}}
@media print{:root{--paper:#fff;--ink:#1a1a1a;--faint:#d8d8d8}}
body{font:15px/1.55 system-ui,"Noto Sans KR","Malgun Gothic",sans-serif;color:var(--ink);
background:var(--paper);max-width:1080px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.2rem;border-bottom:1px solid var(--faint);margin-top:2.2rem}
h3{font-size:1rem}img{max-width:100%;height:auto;display:block;margin:.6rem 0}
img.dark{display:none}
@media (prefers-color-scheme:dark){img.dark{display:block}img.light{display:none}}
@media print{img.dark{display:none!important}img.light{display:block!important}}
table{border-collapse:collapse;font-size:.9rem;display:block;overflow-x:auto;margin:.6rem 0 1rem}
td,th{padding:.2rem .7rem;border-bottom:1px solid var(--faint);text-align:right}
td:first-child,th:first-child{text-align:left}
p.shaded{line-height:1.8;font-family:ui-monospace,"DejaVu Sans Mono",monospace;
overflow-wrap:anywhere}p.shaded span{border-radius:2px}
pre{overflow-x:auto;font:13px/1.45 ui-monospace,"DejaVu Sans Mono",monospace;padding:.7rem;
border:1px solid var(--faint);border-radius:6px}
"""


@dataclass(frozen=True)
class Followed:
    """Units that follow something, and a text in the best one's colours.

    Args:
        what: is followed, as the user wrote it.
        units: the best first.
        tokens, joiner: the text.
        values: of the best unit, (T); wanted: what is followed, (T).
        gates: name → its mean where what is followed rises, falls, and elsewhere.
    """

    what: str
    units: Sequence[Follower]
    tokens: Sequence[str]
    joiner: str
    values: np.ndarray
    wanted: np.ndarray
    gates: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)


def save_report(
    trace: Trace,
    path: str | Path,
    *,
    title: str = "",
    b: int = 0,
    step: int | None = None,
    unit: int | None = None,
    attributions: Sequence[Attribution] = (),
    followed: Followed | None = None,
) -> Path:
    """Write everything that can be seen in a trace as one HTML file.

    Args:
        trace: with a loss.
        path: the file.
        title: its heading.
        b: the sequence that is drawn.
        step, unit: of the step walk; the last step, and the unit that remembers longest, otherwise.
        attributions: what each step of the drawn sequence had a part in, of it alone.
        followed: units that follow something.

    Raises:
        UsageError: the trace has no loss, or no such sequence, step or unit.
        DataError: the file cannot be written.

    Example:
        >>> import tempfile, torch
        >>> from unrolled.inspect import trace
        >>> from unrolled.layers import Recurrent
        >>> seen = trace(Recurrent("gru", 3, 4), torch.randn(1, 6, 3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_report(seen, f"{folder}/report.html").stat().st_size < 5_000_000
        True
    """
    sections = _sections(trace, title or tr("What happened inside"), b, step, unit,
                         attributions, followed)  # fmt: skip
    body = "\n".join(sections)
    page = (
        f'<!doctype html><html lang="{language()}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{html.escape(title or "unrolled")}</title>'
        f"<style>{STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )
    return written(Path(path).expanduser(), page.encode())


def _sections(
    trace: Trace, title: str, b: int, step: int | None, unit: int | None,
    attributions: Sequence[Attribution], followed: Followed | None,
):  # fmt: skip
    layers = _chosen(trace)
    flows = [flow(layer) for layer in layers]
    yield f"<h1>{html.escape(title)}</h1>"
    yield _paragraph(
        tr("Sequences: {count}; drawn is {name}, {steps} steps. Gradients are of: {about}.",
           count=len(trace.ids), name=trace.ids[b], steps=int(trace.lengths[b]),
           about=trace.about or tr("the loss"))
    )  # fmt: skip
    if words := missing_font():
        yield _paragraph(words)
    if followed is not None:
        yield from _followed(followed)
    yield from _told(trace, b)
    if trace.said:
        yield from _said(trace.said[b])
    yield _heading(tr("The network, folded and unrolled"))
    if trace.said:
        yield _picture(lambda s: saying(trace.said[b].parts, s), tr("the network"))
    else:
        yield _picture(lambda s: pictures.topology(trace, s, b), tr("the network"))
    yield _heading(tr("How far gradients reach"))
    for f in flows:
        yield _paragraph(f.said())
        if advice := f.advice(once=trace.once):
            yield "<ul>" + "".join(f"<li>{html.escape(a)}</li>" for a in advice) + "</ul>"
    yield _picture(lambda s: pictures.flows(flows, s), tr("gradients through time"))
    yield from _exponents(layers, flows, b)
    yield _heading(tr("What each step adds to the shared weights"))
    found: dict[str, dict[str, Share]] = {layer.title: shares(layer) for layer in layers}
    yield _picture(lambda s: pictures.parts(found, s), tr("parts of the gradient"))
    if trace.steps <= MOST_STEPS:
        cuts: dict[str, list[Truncation]] = {
            layer.title: truncations(layer, b=b) for layer in layers
        }
        yield _heading(tr("What truncation loses"))
        yield _picture(lambda s: pictures.truncation(cuts, s), tr("truncation"))
    if attributions or (trace.x_gradient is not None and trace.x.ndim == 3):
        yield _heading(tr("What it looked at"))
        yield from _looked_at(trace, attributions, b)
    yield _heading(tr("Memory"))
    yield _picture(lambda s: pictures.memory(layers, s), tr("time constants"))
    for layer in layers:
        yield from _of_layer(layer, trace, b)
    yield _heading(tr("One step, in numbers"))
    yield from _walks(layers[-1], b, step, unit)


def _followed(followed: Followed):
    best = followed.units[0]
    yield _heading(tr("Units that follow {what}", what=followed.what))
    yield _paragraph(
        tr("Chosen on the first half of the text, scored on the second. By chance the best unit "
           "reaches {chance} there.", chance=f"{best.chance:.4f}")
    )  # fmt: skip
    rows = []
    for one in followed.units:
        share = "–" if one.accuracy is None else f"{100 * one.accuracy:.2f} %"
        usual = "–" if one.usual is None else f"{100 * one.usual:.2f} %"
        rows.append([f"{one.name}[{one.unit}]", f"{one.held:.4f}", share, usual])
    head = [tr("unit"), best.measure, tr("accuracy"), tr("the commoner answer")]
    yield _table(head, rows)
    if followed.gates:
        rows = [[n, *(f"{value:.3f}" for value in v)] for n, v in followed.gates.items()]
        yield _table(
            [
                tr("gate"),
                tr("where it begins or grows"),
                tr("where it ends or falls"),
                tr("elsewhere"),
            ],
            rows,
        )
    yield for_page(followed.tokens, followed.values, followed.joiner)


def _told(trace: Trace, b: int):
    """What a task said of each step: how sure it was of each token, or of each word's tag."""
    told, tokens = trace.told, trace.tokens[b]
    if "answer" in told:
        yield _heading(tr("Each word's answer"))
        rows = [
            [word, answer, f"{100 * sure:.1f} %"]
            for word, answer, sure in zip(
                tokens, told["answer"][b], told["probability"][b], strict=True
            )
        ]
        yield _table([tr("word"), tr("answer"), tr("probability")], rows[:MOST_ROWS])
    elif "likeliest" in told and len(tokens) > 1:
        yield _heading(tr("How little each token was expected"))
        sure = np.array(told["probability"][b], float)
        bits = -np.log2(np.maximum(sure, 1e-30))
        yield for_page(tokens, bits, trace.joiner)
        order = [t for t in np.argsort(-np.nan_to_num(bits), kind="stable") if bits[t] == bits[t]]
        rows = [
            [str(t + 1), repr(tokens[t]), f"{bits[t]:.2f}", f"{100 * sure[t]:.3g} %",
             repr(told["likeliest"][b][t]), f"{100 * told['likeliest_probability'][b][t]:.3g} %"]
            for t in order[:10]
        ]  # fmt: skip
        head = [tr("step"), tr("token"), tr("bits"), tr("probability"), tr("expected was"),
                tr("probability")]  # fmt: skip
        yield _table(head, rows)


def _said(one: Spoken):
    """What was said, how sure each piece was, and where was looked for it."""
    yield _heading(tr("What it said"))
    rows = [
        [piece, f"{100 * sure:.1f} %"]
        for piece, sure in zip(one.pieces, one.probability, strict=True)
    ]
    yield _table([tr("token"), tr("probability")], rows[:MOST_ROWS])
    if one.looked is not None:
        drawn = partial(attention, one.looked, one.read, one.pieces)
        yield _picture(drawn, tr("attention: each step looks at every place"))


def _looked_at(trace: Trace, attributions: Sequence[Attribution], b: int):
    length, tokens = int(trace.lengths[b]), trace.tokens[b]
    real = trace.x_gradient is not None and trace.x.ndim == 3
    if not attributions:
        yield _picture(lambda s: pictures.looked_at(trace, s, b), tr("gradient times input"))
    for one in attributions:
        words = one.said()
        yield f"<h3>{html.escape(words)}</h3>"
        yield _paragraph(
            tr("score {score}, of an empty input {empty}; the parts add up to {sum}",
               score=f"{one.score[0]:.4f}", empty=f"{one.empty[0]:.4f}",
               sum=f"{one.parts[0].sum():.4f}")
        )  # fmt: skip
        if one.method == "integrated" and not one.complete():
            yield _paragraph(tr("the network tips over too steeply for these parts to be complete"))
        parts, features = one.parts[0, :length], one.features
        draw: Callable[[Style], Any]
        if real and features is not None:
            x, wide = trace.x[b, :length], features[0, :length]
            draw = partial(pictures.features, x, wide, title=words)
        else:
            label = tr("part of the score")
            draw = partial(pictures.steps, parts, tokens=tokens, title=words, label=label)
        yield _picture(draw, words)
        if any(tokens) and not real:
            yield for_page(tokens, parts, trace.joiner)


def _chosen(trace: Trace) -> list[LayerTrace]:
    """The first call of each layer; of many the lowest, as many of an encoder as of its decoder."""
    every = list({layer.title: layer for layer in reversed(trace.layers)}.values())[::-1]
    heights: dict[str, int] = {}
    ranked = []
    for place, layer in enumerate(every):
        height = heights[layer.one.name] = heights.get(layer.one.name, -1) + 1
        ranked.append((height, place))
    return [every[place] for place in sorted(p for _, p in sorted(ranked)[:MOST_LAYERS])]


def _exponents(layers: list[LayerTrace], flows: list[Flow], b: int):
    rows = []
    for layer, f in zip(layers, flows, strict=True):
        short = layer.one.steps <= MOST_STEPS
        exponents = ", ".join(f"{e:.4f}" for e in lyapunov(layer, 3, b)) if short else "–"
        horizon = "–" if f.horizon is None else str(f.horizon)
        rows.append([f.title, f"{f.rate:.4f}", f"{f.ratio:.3g}", horizon, exponents])
    head = [tr("layer"), tr("rate a step"), tr("first over last step"), tr("horizon, steps"),
            tr("leading Lyapunov exponents, nats a step")]  # fmt: skip
    yield _table(head, rows)


def _of_layer(layer: LayerTrace, trace: Trace, b: int):
    yield _heading(f"{layer.title}: {layer.traced.name}")
    tokens = trace.tokens_of(layer)[b]
    yield _picture(lambda s: pictures.values(layer, s, b, tokens), tr("gates and states"))
    yield _picture(lambda s: pictures.gates(layer, s), tr("distributions"))
    rows = []
    for one in statistics(layer):
        words = said(layer.traced, one.name)
        low, high = ("–" if v is None else f"{100 * v:.1f} %" for v in (one.low, one.high))
        name = one.name if words == one.name else f"{one.name}: {words}"
        stuck = ", ".join(map(str, one.stuck[:8])) + (" …" if len(one.stuck) > 8 else "")
        rows.append([name, f"{one.mean:.3f}", f"{one.std:.3f}", low, high, stuck or "–"])
    head = [tr("name"), tr("mean"), tr("deviation"), tr("low"), tr("high"), tr("stuck units")]
    yield _table(head, rows)
    ranked = units(layer)
    way = tr("kept beside U") if by_way(layer) == "kept" else tr("through U's diagonal alone")
    yield _paragraph(tr("Longest memory, {way}:", way=way))
    rows = [
        [f"{u.state}[{u.unit}]", f"{u.keep:.4f}", f"{u.steps:.1f}", f"{u.spread:.3f}",
         tr("yes") if u.dead else "–"]
        for u in ranked[:8]
    ]  # fmt: skip
    head = [tr("unit"), tr("kept a step"), tr("time constant, steps"), tr("deviation"),
            tr("hardly moves")]  # fmt: skip
    yield _table(head, rows)


def _walks(layer: LayerTrace, b: int, step: int | None, unit: int | None):
    step = int(layer.one.ends()[b]) if step is None else step
    if unit is None:
        ranked = units(layer)
        unit = ranked[0].unit if ranked else 0
    lines = step_walk(layer, step, unit, b)
    yield _paragraph(
        tr("{layer}, step {step}, unit {unit}", layer=layer.title, step=step, unit=unit)
    )
    yield f"<pre>{html.escape(as_text(lines))}</pre>"
    yield _heading(tr("Back-propagation through time, step by step"))
    yield f"<pre>{html.escape(walk_text(walk(layer, b), most=4))}</pre>"


def _picture(draw: Callable[[Style], Any], words: str) -> str:
    alt = html.escape(words)
    tags = []
    for name, style in (("light", Style()), ("dark", Style(dark=True))):
        data = base64.b64encode(png(draw, style)).decode()
        tags.append(f'<img class="{name}" alt="{alt}" src="data:image/png;base64,{data}">')
    return "\n".join(tags)


def _heading(words: str) -> str:
    return f"<h2>{html.escape(words)}</h2>"


def _paragraph(words: str) -> str:
    return f"<p>{html.escape(words)}</p>"


def _table(head: list[str], rows: list[list[str]]) -> str:
    def line(cells: list[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    return "<table>" + line(head, "th") + "".join(line(r, "td") for r in rows) + "</table>"
