"""`unrolled words`: word vectors come in; neighbours, analogies, figures or a map go out."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from unrolled.errors import UsageError
from unrolled.messages import tr

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None)

Source = Annotated[
    str,
    typer.Argument(
        metavar="VECTORS",
        help="A model directory of `train --task embed`, or a file: word2vec, GloVe, .vec.",
    ),
]
Limit = Annotated[
    int | None, typer.Option(metavar="N", help="Read only the first N words, the most frequent.")
]
Encoding = Annotated[str, typer.Option(help="Of a text file.")]
Count = Annotated[int, typer.Option(help="How many words to name.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def near(
    source: Source,
    words: Annotated[
        list[str], typer.Argument(metavar="WORD...", help="A word, or several: their middle.")
    ],
    count: Count = 10,
    limit: Limit = None,
    encoding: Encoding = "utf-8",
    as_json: AsJson = False,
) -> None:
    """Name the words that lie nearest."""
    _say(_like(source, limit, encoding).near(words, count), as_json)


@app.command()
def analogy(
    source: Source,
    a: Annotated[str, typer.Argument(metavar="A", help="As A …")],
    b: Annotated[str, typer.Argument(metavar="B", help="… is to B, …")],
    c: Annotated[str, typer.Argument(metavar="C", help="… C is to what?")],
    count: Count = 5,
    limit: Limit = None,
    encoding: Encoding = "utf-8",
    as_json: AsJson = False,
) -> None:
    """Go on: A is to B as C is to what?  Example: man king woman."""
    _say(_like(source, limit, encoding).analogy(a, b, c, count), as_json)


@app.command("eval")
def eval_(
    source: Source,
    lists: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LIST]...",
            help="wordsim353, simlex999, analogies, or files of yours; default: all three.",
        ),
    ] = None,
    data_dir: Annotated[
        str | None,
        typer.Option("--data", metavar="DIR", help="The folder with the lists by name."),
    ] = None,
    limit: Limit = None,
    encoding: Encoding = "utf-8",
    as_json: AsJson = False,
) -> None:
    """Measure vectors on what people say: pairs of words by rank, analogies by section."""
    from unrolled.data.lists import NAMES, read_list
    from unrolled.text.judged import measure, parse

    chosen = lists or list(NAMES)
    # lists first: what is wrong with them shows before the vectors are read
    judged = [parse(read_list(name, data_dir=data_dir, encoding=encoding), name) for name in chosen]
    like = _like(source, limit, encoding)
    found = {one.name: measure(like, one) for one in judged}
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    for name, figures in found.items():
        _say_figures(name, figures)


@app.command("map")
def map_(
    source: Source,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORD]...", help="What to draw; default: the most frequent words."),
    ] = None,
    out: Annotated[
        str, typer.Option(metavar="PNG", help="Where to write the picture.")
    ] = "words.png",
    count: Annotated[
        int, typer.Option(help="How many words are drawn; of given ones, neighbours of each.")
    ] = 0,
    method: Annotated[
        str, typer.Option(help="tsne: neighbours stay neighbours; pca: a plain projection.")
    ] = "tsne",
    seed: Annotated[int, typer.Option(help="Of tsne.")] = 0,
    dark: Annotated[bool, typer.Option("--dark", help="On dark paper.")] = False,
    limit: Limit = None,
    encoding: Encoding = "utf-8",
) -> None:
    """Draw words as a map in two dimensions: their neighbours beside them."""
    from unrolled import files
    from unrolled.cli.outputs import file_to_write
    from unrolled.inspect.pictures.style import Style, png
    from unrolled.inspect.pictures.words import placed, word_map

    target = file_to_write("--out", out, ".png")
    if not 0 <= count <= 2000:
        raise UsageError("--count", expected="0 to 2000", got=count)
    like = _like(source, limit, encoding)
    chosen, groups = _chosen(like, words or [], count)
    places = placed(like.vectors.values[[like.row(word) for word in chosen]], method=method,
                    seed=seed)  # fmt: skip
    numbered = _undrawn(chosen)
    if numbered:
        typer.echo(
            tr(
                "No font here draws these words: the map has numbers. Install one, such as Nanum "
                "Gothic (`apt install fonts-nanum`); `unrolled doctor` looks for it."
            )
        )
        for number, word in enumerate(chosen, 1):
            typer.echo(f"{number}\t{word}")
    picture = png(
        lambda style: word_map(chosen, places, groups=groups, numbered=numbered, style=style),
        Style(dark=dark),
    )
    assert target is not None  # there is a name by default
    files.write(target, picture)
    typer.echo(target)


def _like(source: str, limit: int | None, encoding: str) -> Any:
    from unrolled.text.likeness import Likeness
    from unrolled.text.vectors import read_vectors

    return Likeness(read_vectors(source, limit=limit, encoding=encoding))


def _say(found: list[tuple[str, float]], as_json: bool) -> None:
    if as_json:
        rows = [{"word": word, "cosine": cosine} for word, cosine in found]
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for word, cosine in found:
        typer.echo(f"{cosine:.4f}\t{word}")


def _say_figures(name: str, figures: dict[str, Any]) -> None:
    share = 100 * figures["covered"] / figures["count"]
    covered = tr(
        "{covered} of {count} covered ({share} %)",
        covered=figures["covered"],
        count=figures["count"],
        share=f"{share:.1f}",
    )
    if "sections" not in figures:
        rank = figures["spearman"]
        said = tr("too few to compare") if rank is None else f"Spearman {rank:.4f}"
        typer.echo(f"{name}: {said}, {covered}")
        return
    width = max(map(len, figures["sections"]))
    for section, row in figures["sections"].items():
        right = "–" if row["accuracy"] is None else f"{100 * row['accuracy']:.1f} %"
        typer.echo(f"  {section:<{width}}  {right:>7}  {row['covered']:>6} / {row['count']}")
    said = tr("{share} % right", share=f"{100 * figures['accuracy']:.2f}")
    typer.echo(f"{name}: {said}, {covered}")


def _chosen(like: Any, words: list[str], count: int) -> tuple[list[str], list[int]]:
    """The words of a map, and which of the given words each belongs to."""
    if not words:
        frequent = like.vectors.words[: count or 200]
        return frequent, [0] * len(frequent)
    groups: dict[str, int] = {}
    for number, word in enumerate(words):
        groups.setdefault(like.vectors.words[like.row(word)], number)
    for number, word in enumerate(words):
        if count or len(words) < 3:
            for neighbour, _ in like.near(word, count or 20):
                groups.setdefault(neighbour, number)
    return list(groups), list(groups.values())


def _undrawn(words: list[str]) -> bool:
    """Whether there are Korean words, and no font here draws them."""
    from unrolled.inspect.pictures.style import korean_family

    hangul = any("가" <= letter <= "힣" for word in words for letter in word)
    return hangul and not korean_family()
