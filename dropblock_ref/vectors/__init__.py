"""Test vectors: files with which an implementation in any language is tested without Python.

`write_vectors` writes them (``python -m dropblock_ref vectors OUT``), and `schema.json` describes their manifest.
"""

from .cases import CASES, SMALL_CASES, Case
from .write import write_vectors

__all__ = [
    "CASES",
    "SMALL_CASES",
    "Case",
    "write_vectors",
]
