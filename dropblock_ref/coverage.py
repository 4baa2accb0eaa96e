"""n(u): how many eligible cells have a block that covers cell u. The exact theory and calibrated gamma stand on it.

It is a product over the spatial axes, and that keeps everything here small.
"""

from __future__ import annotations

import math
from dataclasses import replace
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


def pairs_along_axis(block: Block, axis: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows n_k(u), n_k(v), n_k(u, v) of the pairs u <= v that a seed covers both, and how many pairs each stands for.

    A pair of a position with itself counts half, so that these pairs and their mirror images are all pairs. On a long
    axis all but a block's length of the middle is left out: there every position is like its neighbour.
    """
    span = block.before[axis] + block.after[axis] + 1
    start, stop = block.eligible[axis].start, block.eligible[axis].stop
    # In the middle the eligible positions do not end within a block's reach. No pair reaches from one end to the other.
    middle = stop - start - span + 1
    left_out = max(middle - span, 0)
    size = block.spatial_shape[axis] - left_out
    eligible = tuple(slice(start, stop - left_out) if k == axis else part for k, part in enumerate(block.eligible))
    short = replace(block, eligible=eligible)
    offset, u = np.nonzero(np.add.outer(np.arange(min(span, size)), np.arange(size)) < size)
    counts = np.stack([covering(short, axis, *pair) for pair in ((u, u), (u + offset, u + offset), (u, u + offset))])
    return counts, np.where(offset == 0, 0.5, 1.0) * np.where(u == start + block.after[axis], 1.0 + left_out, 1.0)


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
