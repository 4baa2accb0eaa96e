"""Test vectors: files with which an implementation in any language is tested without Python.

`write_vectors` writes them (``python -m dropblock_ref vectors OUT``), and `schema.json` describes their manifest.
`verify_results` judges what a program makes of them (``verify OUT RESULTS``), `verify_black_box` what it draws itself.
"""

from .black_box import verify_black_box
from .verify import verify_results
from .write import write_vectors

__all__ = ["verify_black_box", "verify_results", "write_vectors"]
