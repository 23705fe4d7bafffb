"""The datasets with a name, a module for each kind of data: facts go out, `catalogue` finds them.

Checksums are SHA-256 of the *uncompressed* content, since the same file is gzipped in many ways.
"""
