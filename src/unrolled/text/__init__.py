"""Text as whole numbers and as vectors: tokenizers, vocabularies, embeddings: the public names.

Tokenizers load no PyTorch; what does (`embedding`) is imported from its own module.
"""

from .characters import Characters
from .hangul import compose, decompose
from .saved import from_json, learn
from .subwords import Subwords
from .tokenizer import BOS, EOS, PAD, SPECIAL, UNK, Tokenizer
from .vectors import Vectors, read_vectors, write_vectors
from .words import Words

__all__ = [
    "BOS",
    "EOS",
    "PAD",
    "SPECIAL",
    "UNK",
    "Characters",
    "Subwords",
    "Tokenizer",
    "Vectors",
    "Words",
    "compose",
    "decompose",
    "from_json",
    "learn",
    "read_vectors",
    "write_vectors",
]
