"""n(u): how many eligible cells have a block that covers cell u. The exact theory and calibrated gamma stand on it.

It is a product over the spatial axes, and that keeps everything here small.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .algorithm import Block


def covering(block: Block, axis: int, u: Any, v: Any) -> NDArray[np.int64]:
    """n_k(u, v): how many eligible positions of an axis have a block that covers position u and position v."""
    first = np.maximum(np.maximum(u, v) - block.after[axis], block.eligible[axis].start)
    last = np.minimum(np.minimum(u, v) + block.before[axis], block.eligible[axis].stop - 1)
    number: NDArray[np.int64] = np.maximum(last - first + 1, 0)
    return number


def coverage_along_axes(block: Block) -> list[NDArray[np.int64]]:
    """n_k(u): per spatial axis, how many eligible positions have a block that covers position u."""
    return [covering(block, axis, np.arange(S), np.arange(S)) for axis, S in enumerate(block.spatial_shape)]


def coverage_counts(block: Block) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The distinct values of n(u), and how many cells have each; in float64, because volumes overflow int64."""
    n: NDArray[np.float64] = np.ones(1)
    cells: NDArray[Any] = np.ones(1)
    for along_axis in coverage_along_axes(block):
        values, positions = np.unique(along_axis, return_counts=True)
        n, index = np.unique(np.multiply.outer(n, values.astype(np.float64)), return_inverse=True)
        cells = np.bincount(index.ravel(), np.multiply.outer(cells, positions).ravel())
    return n, cells


def pairs_along_axes(block: Block) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Per spatial axis the distinct columns (n_k(u), n_k(v), n_k(u, v)) of pairs that a seed covers both, and numbers.

    There are few, and over the axes each of the three counts is multiplied.
    """
    tables = []
    for axis, n in enumerate(coverage_along_axes(block)):
        # Only pairs less than a block apart: all of them would not fit into memory on a long axis.
        reach = min(block.before[axis] + block.after[axis], n.size - 1)
        offsets = np.arange(-reach, reach + 1)
        u = np.repeat(np.arange(n.size), offsets.size)
        v = u + np.tile(offsets, n.size)
        inside = (v >= 0) & (v < n.size)
        u, v = u[inside], v[inside]
        both = covering(block, axis, u, v)
        # As one number, because np.unique sorts numbers ten times as fast as columns.
        base = int(n.max(initial=0)) + 1
        columns, number = np.unique(((n[u] * base + n[v]) * base + both)[both > 0], return_counts=True)
        tables.append((np.stack([columns // base**2, columns // base % base, columns % base]), number))
    return tables


def calibrated_gamma(drop_prob: float, block: Block) -> float:
    """Solve f(gamma) = drop_prob for gamma by bisection; f, the expected dropped fraction, rises from 0 to 1."""
    if drop_prob in (0, 1):
        return drop_prob
    n, cells = coverage_counts(block)
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        if float(cells @ -np.expm1(n * math.log1p(-middle))) < drop_prob * float(cells.sum()):
            low = middle
        else:
            high = middle
    return high
