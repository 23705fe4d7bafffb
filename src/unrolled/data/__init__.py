"""Datasets by name and the user's own files, split, prepared and batched: the public names."""

from .batch import Batch, batches
from .dataset import Dataset, Split
from .load import load
from .preparation import Preparation

__all__ = ["Batch", "Dataset", "Preparation", "Split", "batches", "load"]
