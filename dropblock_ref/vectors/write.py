"""Write the test vectors: a manifest, its schema, and the arrays of each case.

The same bytes on every run, machine and version of NumPy: inputs are made of the raw words of a bit generator, whose
stream is stable, and are exact in every dtype; NaN is written with one bit pattern.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zlib
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..call import find_layout, mask_shape, place_block
from ..convention import CONVENTIONS
from ..dropblock import trace, vjp
from ..testing.observation import find_dtype
from .cases import CASES, SMALL_CASES, Case

FORMAT = "dropblock_ref vectors"
VERSION = 1
# dtype -> how its bits are called in a .npy file, and those of NaN, whose sign and payload differ between machines
_BITS: dict[str, tuple[str, int]] = {
    "float16": ("<f2", 0x7E00),
    "bfloat16": ("<u2", 0x7FC0),
    "float32": ("<f4", 0x7FC00000),
    "float64": ("<f8", 0x7FF8000000000000),
}


def write_vectors(folder: str | os.PathLike[str], *, small: bool = False) -> int:
    """Write the test vectors: ``manifest.json``, ``schema.json``, and a folder of .npy files for each case.

    Parameters
    ----------
    folder : path
        Where to write; a folder that does not exist yet, or an empty one.
    small : bool
        Only the few dozen cases that are kept in the repository as ``tests/vectors``.

    Returns
    -------
    int
        Number of cases.

    Raises
    ------
    ValueError
        If `folder` exists and is not an empty folder.
    ImportError
        If ml_dtypes, which makes bfloat16, is not installed.

    Notes
    -----
    The page "Test vectors" of the documentation describes the files.

    Examples
    --------
    >>> import tempfile
    >>> from dropblock_ref.vectors import write_vectors
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_vectors(folder, small=True)
    44
    """
    find_dtype("bfloat16")  # without which nothing is begun
    root = Path(folder)
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise ValueError(f"folder must not exist or be an empty folder, got {str(root)!r}")
    cases = SMALL_CASES if small else CASES
    lines = [json.dumps(_write_case(root, case)) for case in cases]
    head = json.dumps({"format": FORMAT, "version": VERSION, "cases": []}).removesuffix("]}")
    _write(root / "manifest.json", (head + "\n" + ",\n".join(lines) + "\n]}\n").encode())
    _write(root / "schema.json", (resources.files(__package__) / "schema.json").read_bytes())
    return len(cases)


def _write_case(root: Path, case: Case) -> dict[str, Any]:
    """Write the arrays of a case and return its entry of the manifest."""
    arrays, gamma = _arrays(case)
    convention = asdict(CONVENTIONS[case.convention])
    del convention["name"], convention["source"]
    return {
        "name": case.name,
        "convention": case.convention,
        **convention,
        "data_format": case.data_format,
        "dtype": case.dtype,
        "shape": case.shape,
        "block_size": case.block_size,
        "drop_prob": case.drop_prob,
        "training": case.training,
        "gamma": float(f"{gamma:.12g}"),  # the last digits differ between machines
        "arrays": {name: _write_array(root, f"{case.name}/{name}.npy", array) for name, array in arrays.items()},
    }


def _arrays(case: Case) -> tuple[dict[str, NDArray[Any]], float]:
    """The inputs of a case, what the reference makes of them, and gamma."""
    convention = CONVENTIONS[case.convention]
    words = np.random.PCG64(zlib.crc32(case.name.encode()))
    seeds = _seeds(case, words)
    x, cotangent = _values(case, words), _values(case, words)
    options: dict[str, Any] = {
        "seeds": seeds,
        "training": case.training,
        "data_format": case.data_format,
        "convention": convention,
    }
    traced = trace(x, case.drop_prob, case.block_size, **options)
    if case.special_values:
        # Dropped are only zeros: what becomes of a dropped infinity or NaN is left to the implementation.
        kept = np.broadcast_to(traced.keep_mask, x.shape)
        x.flat[np.flatnonzero(kept)[:5]] = np.array([0.0, -0.0, np.inf, -np.inf, np.nan]).astype(x.dtype)
        x.flat[np.flatnonzero(~kept)[:2]] = np.array([0.0, -0.0]).astype(x.dtype)
        traced = trace(x, case.drop_prob, case.block_size, **options)
    arrays = {
        "x": x,
        "seeds": seeds,
        "keep_mask": traced.keep_mask,
        "scale": np.reshape(traced.scale, np.shape(traced.scale) or (1,) * x.ndim),
        "y": traced.output,
        "cotangent": cotangent,
        "x_bar": vjp(cotangent, traced),
    }
    return arrays, traced.gamma


def _values(case: Case, words: np.random.PCG64) -> NDArray[Any]:
    """Values of both signs, none of them 0, that every dtype has exactly: plus or minus 1/32, 2/32, ..., 128/32."""
    bits = words.random_raw(int(np.prod(case.shape))) >> np.uint64(56)
    magnitude = 1 + (bits & np.uint64(127)).astype(np.float64)
    signed = np.where(bits > 127, -magnitude, magnitude) / 32
    return signed.reshape(case.shape).astype(find_dtype(case.dtype))


def _seeds(case: Case, words: np.random.PCG64) -> NDArray[np.bool_]:
    """None, all, or a few of the eligible cells: those with the smallest words."""
    convention = CONVENTIONS[case.convention]
    layout = find_layout(case.data_format, case.shape, "shape")
    block = place_block(case.block_size, layout.spatial_shape(case.shape), convention)
    seeds = np.zeros(mask_shape(case.shape, layout, convention), dtype=np.bool_)
    eligible = seeds[layout.on_spatial_axes(block.eligible, slice(None))]
    number = {"none": 0, "some": max(1, eligible.size // 16), "all": eligible.size}[case.seeds]
    eligible.flat[np.argsort(words.random_raw(eligible.size), kind="stable")[:number]] = True
    return seeds


def _write_array(root: Path, file: str, array: NDArray[Any]) -> dict[str, Any]:
    """Write an array and return its entry of the manifest."""
    portable = array if array.dtype == np.bool_ else _bits(array)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, portable, version=(1, 0), allow_pickle=False)
    _write(root / file, buffer.getvalue())
    return {
        "file": file,
        "dtype": portable.dtype.str,
        "shape": portable.shape,
        "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
    }


def _bits(array: NDArray[Any]) -> NDArray[Any]:
    """Floating numbers in C order and little endian, bfloat16 as uint16, with one bit pattern for NaN."""
    descr, nan = _BITS[array.dtype.name]
    bits = np.array(array, order="C").view(f"u{array.dtype.itemsize}")
    bits[np.isnan(array)] = nan
    return bits.view("u2" if descr == "<u2" else array.dtype).astype(descr)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
