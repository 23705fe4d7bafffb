"""A file of words and options come in; the vectors of gensim's word2vec go out, of a run or more.

Several runs learn at the same time, a thread or more each: gensim reads and learns without Python.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unrolled.errors import UsageError
from unrolled.messages import tr
from unrolled.text.likeness import at_length_one

from .common_part import without_common
from .word2vec_options import Options

Told = Callable[[float, str], Any]
Rows = list[dict[str, Any]]


class Corpus(NamedTuple):
    """The words to be learnt from.

    Args:
        path: a text a line, words between blanks.
        counts: how often each word is there that gets a vector, the most frequent first.
        texts: how many lines.
        words: how many running words.
    """

    path: Path
    counts: Mapping[str, int]
    texts: int
    words: int


def side_by_side(corpus: Corpus, options: Options, told: Told) -> tuple[np.ndarray, Rows]:
    """What each run has learnt, side by side, and its epochs.

    Args:
        corpus: of V words.
        options: how, with the number of `runs`.
        told: called with the share of the work that is done, and what is going on in words.

    Returns:
        (V, runs · embedding), and a row of figures for each epoch of each run.
    """
    shares = [0.0] * options.runs
    stop = threading.Event()
    results: list[Future[tuple[np.ndarray, Rows]]] = [Future() for _ in shares]

    def learn(run: int) -> None:
        def heard(share: float, what: str) -> None:
            if stop.is_set():
                raise _Stopped
            shares[run] = share
            told(sum(shares) / len(shares), what)

        try:
            results[run].set_result(_learnt(corpus, options, run, heard))
        except BaseException as error:  # noqa: BLE001 - given on to who waits for the result
            results[run].set_exception(error)
            stop.set()

    for run in range(1, options.runs):
        # whoever is interrupted does not wait for what a daemon learns, an epoch more at most
        threading.Thread(target=learn, args=(run,), daemon=True).start()
    learn(0)
    if stop.is_set():
        errors = [result.exception() for result in results if result.done()]
        raise next(e for e in errors if e is not None and not isinstance(e, _Stopped))
    found = [result.result() for result in results]
    return (
        np.concatenate([values for values, _ in found], 1),
        [row for _, rows in found for row in rows],
    )


class _Stopped(Exception):
    """Another run has failed."""


def _learnt(corpus: Corpus, options: Options, run: int, told: Told) -> tuple[np.ndarray, Rows]:
    rows: Rows = []
    model = gensim()(
        vector_size=options.embedding,
        sg=int(options.method == "skip-gram"),
        window=options.window,
        negative=options.negative,
        ns_exponent=options.exponent,
        sample=options.sample,
        min_count=1,
        alpha=options.lr,
        seed=options.seed + run,
        workers=options.threads,
    )
    model.follow(rows, options.epochs, told)
    model.build_vocab_from_freq(dict(corpus.counts), corpus_count=corpus.texts)
    model.train(
        corpus_file=str(corpus.path),
        total_examples=corpus.texts,
        total_words=corpus.words,
        epochs=options.epochs,
        report_delay=0.5,
    )
    order = [model.wv.key_to_index[word] for word in corpus.counts]
    values = model.wv.vectors[order]
    if options.output != "input":
        values, others = (
            _even(table, options) if options.output == "even" else table
            for table in (values, model.syn1neg[order])
        )
        values = (values + others) / 2
    return values, [{"run": run + 1, **row} for row in rows] if options.runs > 1 else rows


def _even(table: np.ndarray, options: Options) -> np.ndarray:
    return at_length_one(without_common(table, whitened=options.whitened))


def gensim() -> Any:
    """gensim's Word2Vec, which says how far it is."""
    try:
        from gensim.models import Word2Vec
    except ImportError:
        raise UsageError(
            "word vectors",
            expected="the package gensim",
            got="none installed",
            fix="pip install 'unrolled[words]'",
        ) from None
    logging.getLogger("gensim").setLevel(logging.ERROR)

    class Following(Word2Vec):
        """Word2Vec whose progress and epochs are heard of."""

        def follow(self, rows: list[dict[str, Any]], epochs: int, told: Callable) -> None:
            """Say progress to `told`, and add a row for each epoch."""
            self._rows, self._epochs, self._told = rows, epochs, told

        def _log_progress(  # what gensim calls at the end of each worker's epoch
            self, job_queue, progress_queue, cur_epoch, example_count, total_examples,
            raw_word_count, total_words, trained_word_count, elapsed,
        ):  # fmt: skip
            share = (cur_epoch + min(raw_word_count / total_words, 1)) / self._epochs
            said = tr(
                "epoch {epoch}/{epochs}, {rate} words/s",
                epoch=cur_epoch + 1,
                epochs=self._epochs,
                rate=f"{raw_word_count / max(elapsed, 1e-9):,.0f}",
            )
            self._told(share, said)

        def _log_epoch_end(
            self, cur_epoch, example_count, total_examples, raw_word_count, total_words,
            trained_word_count, elapsed, is_corpus_file_mode,
        ):  # fmt: skip
            row = {
                "epoch": cur_epoch + 1,
                "words": int(raw_word_count),
                "trained_words": int(trained_word_count),
                "seconds": round(elapsed, 3),
            }
            self._rows.append(row)

    return Following
