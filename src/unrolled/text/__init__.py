"""Texts and files of word vectors come in; tokens, numbers and tables of vectors go out."""

from unrolled.text.vectors import Vectors, read_vectors, write_vectors

__all__ = ["Vectors", "read_vectors", "write_vectors"]
