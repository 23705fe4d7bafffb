"""Datasets by name and the user's own files, split, prepared and batched: the public names."""

from .batch import Batch, batches
from .catalogue import DATASETS, Named, named
from .corpus import Corpus, Text, corpus_of, load_text
from .dataset import Dataset, Split
from .download import fetch
from .inputs import read_inputs
from .load import from_arrays, load
from .preparation import Preparation
from .shelves import locate
from .wording import TextPreparation

__all__ = [
    "DATASETS",
    "Batch",
    "Corpus",
    "Dataset",
    "Named",
    "Preparation",
    "Split",
    "Text",
    "TextPreparation",
    "batches",
    "corpus_of",
    "fetch",
    "from_arrays",
    "load",
    "load_text",
    "locate",
    "named",
    "read_inputs",
]
