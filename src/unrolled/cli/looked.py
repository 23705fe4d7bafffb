"""What the inspector found comes in; what is said of it goes out: parts of an answer, and what was
expected of each token or word.
"""

from collections.abc import Sequence
from typing import Any

import typer

from unrolled.errors import UsageError
from unrolled.inspect.attribution import METHODS, Attribution, StepByStep
from unrolled.inspect.shade import for_terminal, width
from unrolled.messages import tr

SHOWN = 10  # steps that are named
MOST_STEPS = 1000  # beyond them a report integrates and occludes nothing


def colours() -> bool:
    """Whether the terminal shows colours: it is one, and NO_COLOR does not stand against it."""
    import os
    import sys

    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def say_parts(
    found: Attribution, tokens: list[str], joiner: str, length: int, strange: Sequence[str] = ()
) -> None:
    """What each step of one sequence had a part in: the text with it, and the largest.

    Args:
        found: the parts.
        tokens, joiner: the text.
        length: of the sequence.
        strange: tokens that the model does not know.
    """
    parts = found.parts[0, :length]
    typer.echo(
        tr("{method}: the score is {score}, of an empty input {empty}; parts add up to {sum}",
           method=found.said(), score=f"{found.score[0]:.4f}",
           empty=f"{found.empty[0]:.4f}", sum=f"{parts.sum():.4f}")
    )  # fmt: skip
    if found.method == "integrated" and not found.complete():
        typer.echo(tr("the network tips over too steeply for these parts to be complete"))
    if strange:
        typer.echo(tr("unknown to the model, read as <unk>: {words}", words=", ".join(strange)))
    if any(tokens) and any(len(t) < 40 for t in tokens):
        typer.echo(for_terminal(tokens, list(parts), joiner, colour=colours()))
    most = float(abs(parts).max()) or 1.0
    order = sorted(range(length), key=lambda t: -abs(parts[t]))[:SHOWN]
    for t in sorted(order):
        bar = "#" * round(20 * abs(parts[t]) / most)
        typer.echo(f"  {t + 1:>6}  {_shown(tokens[t]):<14}{parts[t]:>11.4f}  {bar}")


def say_steps(seen: Any, joiner: str, b: int) -> None:
    """What was expected of each token, the surprising ones named; or each word with its tag."""
    import numpy as np

    told, tokens = seen.told, seen.tokens[b]
    if "answer" in told:
        pairs = zip(tokens, told["answer"][b], told["probability"][b], strict=True)
        for word, tag, sure in pairs:
            pad = " " * max(1, 16 - width(word))
            typer.echo(f"  {word}{pad}{tag:<10}{100 * sure:6.1f} %")
        return
    if "likeliest" not in told or len(tokens) < 2:
        return
    sure = np.array(told["probability"][b])
    bits = -np.log2(np.maximum(sure, 1e-30))
    typer.echo(
        tr("surprise in bits, {bits} a token on average; the strongest colour is {most}",
           bits=f"{np.nanmean(bits):.3f}", most=f"{np.nanmax(bits):.1f}")
    )  # fmt: skip
    typer.echo(for_terminal(tokens, list(bits), joiner, colour=colours()))
    typer.echo(tr("the most surprising:"))
    for t in np.argsort(-np.nan_to_num(bits), kind="stable")[:SHOWN]:
        if not np.isfinite(bits[t]):
            continue
        typer.echo(
            tr("  token {place}, {token}: {sure} %; expected was {likeliest} with {share} %",
               place=int(t) + 1, token=_shown(tokens[t]), sure=f"{100 * sure[t]:.3g}",
               likeliest=_shown(told["likeliest"][b][t]),
               share=f"{100 * told['likeliest_probability'][b][t]:.3g}")
        )  # fmt: skip


def _shown(token: str) -> str:
    return repr(token) if token != token.strip() or not token else token


def every_part(task: Any, inputs: Any, target: str | None, at: int | None, seen: Any) -> list[Any]:
    """What each step had a part in, in every way that is to be had here, for the report."""
    from unrolled.tasks.looking import looked_at

    found = []
    for method in METHODS if seen.steps <= MOST_STEPS else ("gradient",):
        try:
            found.append(looked_at(task, inputs, method, target=target, at=at))
        except StepByStep:
            return []
        except UsageError as error:
            if "captum" not in error.expected:
                raise
    return found
