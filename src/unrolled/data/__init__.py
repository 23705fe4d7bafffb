"""Datasets by name and the user's own files, split, prepared and batched: the public names."""

from .batch import Batch, batches
from .catalogue import DATASETS, Named, named
from .dataset import Dataset, Split
from .download import fetch
from .inputs import read_inputs
from .load import from_arrays, load
from .preparation import Preparation
from .shelves import locate

__all__ = [
    "DATASETS",
    "Batch",
    "Dataset",
    "Named",
    "Preparation",
    "Split",
    "batches",
    "fetch",
    "from_arrays",
    "load",
    "locate",
    "named",
    "read_inputs",
]
