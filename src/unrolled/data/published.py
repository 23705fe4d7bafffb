"""The facts about a named dataset come in; its parts go out, checked against its checksums."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from unrolled.errors import DataError, UsageError

from .download import known, obtain
from .facts import Named
from .idx import read_pair
from .pronouns import stories
from .raw import Raw
from .reading import Options, Parts
from .texts import read_texts


def read_named(facts: Named, data_dir: str | Path | None = None) -> Parts:
    """Read a dataset by name; its test part is read when it is called for.

    Args:
        facts: of the dataset.
        data_dir: the folder with its files, or None.

    Returns:
        Its parts; pixels are bytes, 0 to 255.

    Raises:
        DataError: files are missing, broken, or not the published ones.
        UsageError: a folder was given for a dataset that a library carries.
    """
    if not facts.files:
        return _embedded(facts, data_dir)
    paths = obtain(facts, data_dir)
    if facts.form == "texts":
        return _texts(facts, paths)

    def read(split: str) -> Raw:
        pair = [paths[f"{split}-images"], paths[f"{split}-labels"]]
        pixels, answers, sums = read_pair(pair[0], pair[1], len(facts.labels))
        for what, path in zip(("images", "labels"), pair, strict=True):
            file, checksum = facts.files[f"{split}-{what}"], sums[path.name]
            if known(file, path, checksum) is False:
                raise DataError(
                    f"{path} is not the published file of {facts.name}",
                    expected=f"SHA-256 {file.sha256}",
                    got=checksum,
                    fix=f"Run: unrolled data fetch {facts.name} - or, to use it as data of your "
                    "own, give its folder in place of the name.",
                )
        return Raw(
            pixels,
            "image",
            "images",
            answers,
            labels=list(facts.labels),
            source=str(pair[0].parent),
            sha256=sums,
        )

    return Parts(read("train"), test=lambda: read("test"))


def _texts(facts: Named, paths: dict[str, Path]) -> Parts:
    text, label = facts.columns
    options = Options(text=text, label=label, header=None if isinstance(text, str) else False)

    def read(part: str) -> Raw:
        path, file = paths[part], facts.files[part]
        raw = read_texts(path, options)
        checksum = raw.sha256[path.name]
        if checksum != file.sha256:
            raise DataError(
                f"{path} is not the published file of {facts.name}",
                expected=f"SHA-256 {file.sha256}",
                got=checksum,
                fix="Get the file again - or, to use it as data of your own, give its path in "
                "place of the name.",
            )
        numbers = np.array([int(str(answer)) for answer in raw.answers or ()], np.int64)
        return replace(raw, answers=numbers, labels=list(facts.labels))

    valid = partial(read, "valid") if "valid" in paths else None
    return Parts(read("train"), valid=valid, test=partial(read, "test"))


def _embedded(facts: Named, data_dir: str | Path | None) -> Parts:
    if data_dir is not None:
        raise UsageError(
            f"{facts.name} with a folder",
            expected="no folder",
            got=str(data_dir),
            fix=f"Leave it out: {facts.carrier} carries this data.",
        )
    if facts.name == "pronouns":
        return stories()
    from sklearn.datasets import load_digits

    scans = load_digits()
    return Parts(
        Raw(
            # 0 to 16 there; as bytes, a model of them reads anybody's image files as well
            np.rint(scans.images * (255 / 16)).astype(np.uint8),
            "image",
            "images",
            scans.target.astype(np.int64),
            labels=list(facts.labels),
            source="sklearn.datasets.load_digits",
        )
    )
