"""A dataset's name or a path of the user's comes in; a Dataset in three parts goes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import UsageError

from .assemble import Choices, Part, assemble
from .catalogue import DATASETS, named
from .dataset import Dataset
from .generated import parts as drawn
from .memory import from_arrays as checked
from .preparation import Preparation
from .published import read_named
from .reading import Column, Options, Parts, read_parts
from .wording import TextPreparation

# what is no examples with answers: its kind, and what it is for
_OTHER_FORMS = {
    "text": ("a text", "Train on it with: --task language"),
    "tagged": ("tagged sentences", "Train on it with: --task tag"),
    "words": ("what word vectors are measured on", "Measure vectors with: unrolled words eval"),
}


def load(
    name_or_path: str | Path,
    *,
    data_dir: str | Path | None = None,
    kind: str | None = None,
    read: str = "rows",
    seed: int = 0,
    valid: Part = None,
    test: Part = None,
    by: str | None = None,
    label: Column | Sequence[Column] | None = None,
    features: str | Sequence[Column] | None = None,
    group: Column | None = None,
    time: Column | None = None,
    id: Column | None = None,
    encoding: str = "utf-8",
    header: bool | None = None,
    layout: str | None = None,
    channels: int = 1,
    missing: str = "error",
    size: tuple[int, int] | None = None,
    scale: str | None = None,
    steps: int | None = None,
    preparation: Preparation | TextPreparation | None = None,
    labels: Sequence[str] | None = None,
    text: Column | None = None,
    level: str = "words",
    vocabulary: int = 0,
    least: int = 1,
    lower: bool = True,
    jamo: bool = False,
    split_at: str = "words",
    limit: int = 0,
    kept: str = "start",
) -> Dataset:
    """Load a dataset by name, or a file or folder of the user's.

    Args:
        name_or_path: "digits", "mnist", "imdb", "adding" and others of `DATASETS`; or a CSV or TSV
            (one example a row, or one moment a row with columns id and time), a .npy or .npz file,
            a folder of images by class or of idx files, a table of texts (CSV, TSV, JSON lines).
        data_dir: the folder with a named dataset's files; None looks in UNROLLED_DATA, then in the
            cache, then downloads.
        kind: "single", "multi", "regression"; None tells from the answers.
        read: an image's "rows", "columns", "pixels" or "permuted" pixels become the steps.
        seed: of the split and of the permutation, from 0 to 4294967295.
        valid: a fraction of all examples, a number of them, 0, or a path; None is 5,000 of MNIST's
            60,000, and a tenth elsewhere.
        test: the same; None is the published part, a fifth of digits, a tenth of the user's own.
        by: "seed", "group" or "time"; None is "group" where groups are given, else "seed".
        label: the answer's column, or several; of .npy files, the file of answers.
        features: the columns that are read, in order; None takes all that have no other role.
        group: the column that says whom an example comes from.
        time: the column of times.
        id: the column that names an example or a series.
        encoding: of a text file.
        header: whether a table's first line names its columns; None finds out.
        layout: "rows" or "long"; None is long where a table has columns for both id and time.
        channels: values of one moment in a table with one example a row.
        missing: "error", or "mask": a missing value becomes 0 and is marked in a channel of masks.
        size: (H, W) to resize a folder's images to.
        scale: "none", "unit" or "standard"; None is "unit" for images, "standard" for series.
        steps: of a test of memory: how long its sequences are; None is as usual.
        preparation: that of a trained model, instead of learning one.
        labels: those of a trained model, instead of finding them.
        text: the column of texts, which makes this a dataset of texts; of JSON lines a field.
        level: what a text is read in: "words", "characters" or "subwords".
        vocabulary: how many tokens are known at most; 0 for all of the training part.
        least: how often a token has to be seen there.
        lower: whether letters are made small.
        jamo: whether Hangul is read letter by letter (not "words").
        split_at: "words" (punctuation apart) or "blanks".
        limit: tokens of a text that are read; 0 for all.
        kept: of a longer text its "start", its "end", or "both", half of each.

    Raises:
        DataError: the data is missing, broken or not what it should be.
        UsageError: an option has a value that it cannot have, or cannot go with this data.

    Example:
        >>> digits = load("digits", seed=1)
        >>> len(digits.train), len(digits.valid), len(digits.test), digits.preparation.features
        (1258, 180, 359, 8)
    """
    options = Options(
        label,
        features,
        group,
        time,
        id,
        encoding,
        header,
        layout,
        channels,
        missing,
        size,
        text=text,
    )
    choices = Choices(seed, valid, test, by, kind, labels)
    learning: dict[str, Any] = {"read": read, "seed": seed, "scale": scale, "missing": missing}
    learning["wording"] = {
        "level": level,
        "vocabulary": vocabulary,
        "least": least,
        "lower": lower,
        "jamo": jamo,
        "split_at": split_at,
        "limit": limit,
        "kept": kept,
    }
    if str(name_or_path) in DATASETS:
        facts = named(str(name_or_path))
        if facts.form in _OTHER_FORMS:
            got, fix = _OTHER_FORMS[facts.form]
            raise UsageError(
                f"{facts.name} as examples",
                expected="a dataset of sequences with answers",
                got=got,
                fix=fix,
            )
        if isinstance(preparation, Preparation):
            options = _as_learnt(options, preparation)
        if facts.form == "generated":
            _only_files_have(facts.name, options, None, by)
            parts = drawn(facts.name, facts.counts, steps, seed)
            learning["scale"] = scale or "none"
        else:
            _only_files_have(facts.name, options, kind, by)
            parts = read_named(facts, data_dir)
        choices = replace(
            choices,
            valid=facts.valid if valid is None and parts.valid is None else valid,
            test=facts.counts[1] if test is None and parts.test is None else test,
        )
        found = assemble(facts.name, parts, choices, options, learning, preparation)
        found.provenance["sizes"].setdefault("test", facts.counts[1])
        return found
    if preparation is not None:
        options = _as_learnt(options, preparation)
    path = Path(name_or_path).expanduser()
    if not path.exists() and not any(mark in str(name_or_path) for mark in "/\\."):
        named(str(name_or_path))
    if data_dir is not None:
        raise UsageError(
            f"data_dir={str(data_dir)!r}",
            expected="a dataset's name beside it (" + ", ".join(DATASETS) + ")",
            got=f"the path {path}",
            fix="Leave it out: the path says where the data is.",
        )
    parts = read_parts(path, options)
    learning |= {"columns": parts.train.columns, "resize": options.size is not None}
    return assemble(str(name_or_path), parts, choices, options, learning, preparation)


def from_arrays(
    x: Any,
    y: Any,
    *,
    kind: str | None = None,
    read: str = "rows",
    seed: int = 0,
    valid: float | int | None = None,
    test: float | int = 0,
    by: str | None = None,
    groups: np.ndarray | None = None,
    times: np.ndarray | None = None,
    lengths: np.ndarray | None = None,
    missing: str = "error",
    scale: str | None = None,
    labels: Sequence[str] | None = None,
    name: str = "arrays",
) -> Dataset:
    """Make a dataset of arrays in memory; options as in `load`, but nothing is held out to test.

    Args:
        x: (N, T), (N, T, I), a list of (Tᵢ, I), or images uint8 (N, H, W).
        y: (N,) or (N, K).
        groups: (N,), whom each example comes from.
        times: (N,), when each was taken.
        lengths: (N,), how many of the T steps count.

    Raises:
        DataError: counts differ, or a value is no number, missing or infinite.
        UsageError: an option has a value that it cannot have.

    Example:
        >>> data = from_arrays(np.zeros((10, 5)), np.arange(10) % 2, valid=2)
        >>> len(data.train), len(data.valid), data.preparation.features, data.labels
        (8, 2, 1, ['0', '1'])
    """
    raw = checked(
        x,
        np.asarray(y),
        lengths=lengths,
        groups=None if groups is None else np.asarray(groups),
        times=None if times is None else np.asarray(times),
        source=name,
        missing=missing,
    )
    choices = Choices(seed, valid, test, by, kind, labels)
    learning = {"read": read, "seed": seed, "scale": scale, "missing": missing}
    return assemble(name, Parts(raw), choices, Options(missing=missing), learning, None)


def _as_learnt(options: Options, preparation: Preparation | TextPreparation) -> Options:
    changes: dict[str, Any] = {}
    if isinstance(preparation, TextPreparation):
        own = preparation.columns[0] if preparation.columns else None
        return replace(options, text=own if options.text is None else options.text)
    if preparation.layout in ("rows", "long"):
        changes["missing"] = preparation.missing
        if options.features is None and preparation.columns:
            changes["features"] = list(preparation.columns)
        if preparation.layout == "rows":
            changes["channels"] = preparation.channels
    if preparation.layout == "arrays":
        changes["missing"] = preparation.missing
    if preparation.resize:
        changes["size"] = preparation.shape[:2]
    return replace(options, **changes)


def _only_files_have(name: str, options: Options, kind: str | None, by: str | None) -> None:
    for option, default in vars(Options()).items():
        given = getattr(options, option)
        if given != default and option not in ("missing", "size"):
            raise UsageError(
                f"{option}={given!r}", expected="a file of yours", got=name, fix="Leave it out."
            )
    if kind not in (None, "single") or by not in (None, "seed"):
        raise UsageError(
            name,
            expected="kind 'single', split by seed",
            got=f"kind {kind!r}, split by {by!r}",
            fix="Leave both out.",
        )
