"""Words from the company they keep: texts come in, a model directory of word vectors goes out.

The vectors are learnt by word2vec (Mikolov and others 2013, arXiv:1301.3781 and 1310.4546). Any
text task starts from them by `--embedding DIR`; `unrolled words` asks them what lies near.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import unrolled
from unrolled import checkpoint, files
from unrolled.data.lines import Lines
from unrolled.errors import ModelError
from unrolled.history import Log
from unrolled.messages import tr
from unrolled.progress import Report
from unrolled.tasks import word2vec
from unrolled.tasks.word2vec_options import Options
from unrolled.text import Vectors


class Table(nn.Module):
    """V words as rows of numbers, and how often each was seen.

    Args:
        vectors: (V, E).
        counts: (V,).
    """

    vectors: Tensor
    counts: Tensor

    def __init__(self, vectors: Tensor, counts: Tensor):
        super().__init__()
        self.register_buffer("vectors", vectors)
        self.register_buffer("counts", counts)


class Embed:
    """The task of giving each word a vector; what training has come to.

    Args:
        words: V, the most frequent first.
        counts: how often each was seen.
        values: float32 (V, E).
        options: how they were learnt.
        facts: figures of the training.
        epochs: a row of figures for each.

    Example:
        >>> texts = ["the cat sat on the mat", "the dog sat on the rug"] * 50
        >>> task = Embed.learn(texts, embedding=10, epochs=5, least=1)
        >>> len(task.vectors), task.vectors["cat"].shape
        (7, (10,))
    """

    name = "embed"

    def __init__(
        self,
        words: Sequence[str],
        counts: np.ndarray,
        values: np.ndarray,
        options: Options,
        facts: Mapping[str, Any],
        epochs: Sequence[Mapping[str, Any]] = (),
    ):
        self.labels, self.options = list(words), options
        self.model = Table(torch.from_numpy(values), torch.from_numpy(counts))
        self.facts, self.epochs = dict(facts), list(epochs)

    @classmethod
    def learn(
        cls, texts: Lines | Sequence[str], *, progress: Report | None = None, **options: Any
    ) -> Embed:
        """Learn vectors from texts.

        Args:
            texts: a list of texts, or what `unrolled.data.lines.load_lines` gives.
            progress: what says how far it is; None says nothing.
            options: as for `unrolled.tasks.word2vec_options.Options`.

        Raises:
            DataError: too few words are frequent enough.
            UsageError: an option has a value that it cannot have, or gensim is not installed.
        """
        chosen = Options(**options)
        if not isinstance(texts, Lines):
            held = list(texts)
            texts = Lines("the texts", lambda: iter(held), {"source": "texts"})
        report = progress or Report(False)
        report.begin(1000, 0)
        found = word2vec.learn(
            texts, chosen, lambda share, said: report.told(round(1000 * share), said)
        )
        report.close()
        return cls(found.words, found.counts, found.values, chosen, found.facts, found.epochs)

    @property
    def vectors(self) -> Vectors:
        """The words and their vectors."""
        return Vectors(self.labels, self.model.vectors.numpy())

    def config(self) -> dict[str, Any]:
        """How the vectors were learnt, as plain JSON."""
        return {"name": self.name, **self.options.to_json()}

    def describe(self) -> str:
        """What was learnt in one line."""
        return tr(
            "{method}, window {window}: {words} words as {width} numbers each",
            method=self.options.method,
            window=self.options.window,
            words=f"{len(self.labels):,}",
            width=self.options.width,
        )

    def summary(self) -> str:
        """The figures in words."""
        return tr(
            "{words} words, {share} % of the {running} running words, in {seconds} s",
            words=f"{self.facts['words']:,}",
            share=f"{100 * self.facts['covered']:.1f}",
            running=f"{self.facts['running_words']:,}",
            seconds=f"{self.facts['seconds']:.0f}",
        )

    def save(
        self,
        directory: str | Path,
        *,
        overwrite: bool = False,
        command: str = "",
        source: str = "the texts",
        recipe: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write a model directory: vectors, words, figures and a card.

        Args:
            directory: where to.
            overwrite: give up a model that is there.
            command: what the card says it was made with.
            source: what the card says the texts were.
            recipe: plain JSON for config.json.
            provenance: of the texts, as plain JSON.

        Raises:
            ModelError: something else, or a model, stands there, or the disk refuses.
        """
        target = Path(directory).expanduser()
        free(target, overwrite=overwrite)
        data = {"name": source, **(provenance or {})}
        run = {"command": command, "recipe": recipe, "data": data, "result": self.facts}
        checkpoint.save(target, self, run=run)
        log = Log(target / "metrics.jsonl")
        for row in self.epochs:
            log.add(event="epoch", **row)
        log.add(event="result", **self.facts)
        files.write(target / "README.md", self._card(target, command, source).encode())
        return target

    def _card(self, directory: Path, command: str, source: str) -> str:
        options = [
            f"{name} = {json.dumps(value, ensure_ascii=False)}"
            for name, value in self.options.to_json().items()
        ]
        made = ["```sh", command, "```", ""] if command else []
        return "\n".join(
            [
                f"# Word vectors of {source}: {self.describe()}",
                "",
                f"{self.summary()}.",
                "",
                "## How they were made",
                "",
                *made,
                "```toml",
                *options,
                "```",
                "",
                "## How to use them",
                "",
                "```sh",
                f"unrolled words near {directory.as_posix()} {self.labels[0]}",
                f"unrolled train DATA --embedding {directory.as_posix()}",
                "```",
                "",
                "```python",
                "from unrolled.text import read_vectors",
                "",
                f'vectors = read_vectors("{directory.as_posix()}")',
                "```",
                "",
                f"Made with unrolled {unrolled.__version__}; nothing in this directory is "
                "executable.",
                "",
            ]
        )


def free(directory: Path, *, overwrite: bool = False) -> None:
    """Refuse a directory that cannot take a new model, before hours of work are lost on it.

    Raises:
        ModelError: it holds something else, or a model that nobody gave up.
    """
    checkpoint.refuse_strange(directory)
    if (directory / checkpoint.WEIGHTS).exists() and not overwrite:
        raise ModelError(
            f"{directory} holds a model",
            expected="a new directory",
            fix="Choose another --out, or give it up with --overwrite.",
        )
