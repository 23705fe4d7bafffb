"""What is said about a dataset that is known by its name: its files, their sums, its licence.

The modules under `listed` fill it in; readers, downloads and lists take it.
"""

from __future__ import annotations

from dataclasses import dataclass

PARTS = ("train-images", "train-labels", "test-images", "test-labels")


@dataclass(frozen=True)
class File:
    """One file of a dataset.

    Args:
        name: as it is published, without `.gz`.
        size: bytes, uncompressed.
        sha256: of the uncompressed content, or "" where it is not known.
        gz_sha256: of the file as its authors gzipped it, or "".
        zipped: whether its mirrors send it gzipped.
    """

    name: str
    size: int
    sha256: str = ""
    gz_sha256: str = ""
    zipped: bool = True


@dataclass(frozen=True)
class Named:
    """A dataset that is known by its name.

    Args:
        name: what the user types.
        about: one line.
        labels: names of the classes, in the order of their numbers.
        counts: examples to learn from and to test on, as published; of a text, its tokens.
        valid: how many of the former validate unless the user says otherwise.
        files: by part ("train-images", …); empty where a library carries the data.
        mirrors: folders on the web, tried in this order.
        folders: names that this dataset's folder goes by on people's disks.
        licence: what its authors allow.
        paper: where it was published.
        form: "images", "texts" (with labels), "text" (one whole), "tagged" (sentences),
            "parallel" (sentences and their translations), "captions", "generated", or "words"
            (what word vectors are measured on).
        carrier: what brings the data where it has no files.
        columns: of texts: the column of the text and that of the label.
    """

    name: str
    about: str
    labels: tuple[str, ...]
    counts: tuple[int, int]
    valid: int
    files: dict[str, File]
    mirrors: tuple[str, ...]
    folders: tuple[str, ...]
    licence: str
    paper: str
    form: str = "images"
    carrier: str = "scikit-learn"
    columns: tuple[str | int, str | int] = ("text", "label")
