"""A block on a map: its size after clipping, where it lies around its seed, and which cells are eligible as seeds.

Algorithm 1, line 6: "For each zero position M_ij, create a spatial square mask with the center being M_ij", and the
paper's section 3: seeds are sampled only where the whole block lies in the feature map.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arguments import check_block_size, check_cells, check_spatial_shape
from .convention import PAPER, Convention, find_convention


@dataclass(frozen=True)
class PlacedBlock:
    """A block on a map, per spatial axis k: the block of a seed at s covers s - before[k], ..., s + after[k]."""

    size: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    eligible: tuple[slice, ...]

    def covering(self, axis: int, u: Any, v: Any) -> NDArray[np.int64]:
        """n_k(u, v): how many eligible positions of an axis have a block that covers position u and position v."""
        first = np.maximum(np.maximum(u, v) - self.after[axis], self.eligible[axis].start)
        last = np.minimum(np.minimum(u, v) + self.before[axis], self.eligible[axis].stop - 1)
        number: NDArray[np.int64] = np.maximum(last - first + 1, 0)
        return number


def place_block(block_size: Any, spatial_shape: tuple[int, ...], convention: Convention) -> PlacedBlock:
    """Judge a block on a map by the convention; parity and eligibility are judged after clipping."""
    return _place(check_block_size(block_size, len(spatial_shape)), spatial_shape, convention)


def accepts_block(block_size: Any, spatial_shape: tuple[int, ...], convention: Convention) -> bool:
    """Whether the convention has a place for this block on this map."""
    asked = check_block_size(block_size, len(spatial_shape))
    try:
        _place(asked, spatial_shape, convention)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)  # every stage asks for the same few blocks
def _place(asked: tuple[int, ...], spatial_shape: tuple[int, ...], convention: Convention) -> PlacedBlock:
    size = asked
    if convention.oversize_block == "clip_each_axis":
        size = tuple(min(b, S) for b, S in zip(asked, spatial_shape, strict=True))
    elif convention.oversize_block == "clip_to_smallest_axis":
        size = tuple(min(b, *spatial_shape) for b in asked)
    elif convention.oversize_block == "refused" and any(b > S for b, S in zip(asked, spatial_shape, strict=True)):
        raise ValueError(
            f"block_size must be at most the map's size on every spatial axis, {spatial_shape}, "
            f"because convention {convention.name!r} refuses larger blocks; got {asked}"
        )
    if convention.even_extra_cell == "refused" and any(b % 2 == 0 for b in size):
        clipped = f", which is {size} on a map of {spatial_shape}" if size != asked else ""
        raise ValueError(
            f"block_size must be odd on every spatial axis, because convention {convention.name!r} refuses even "
            f"blocks; got {asked}{clipped}"
        )
    # A block that sticks out of the map reaches at most across it.
    larger = tuple(min(b // 2, S - 1) for b, S in zip(size, spatial_shape, strict=True))
    smaller = tuple(min((b - 1) // 2, S - 1) for b, S in zip(size, spatial_shape, strict=True))
    before, after = (smaller, larger) if convention.even_extra_cell == "after" else (larger, smaller)
    if convention.seed_region == "fitting":
        eligible = tuple(slice(i, S - j) for i, j, S in zip(before, after, spatial_shape, strict=True))
    else:
        eligible = tuple(slice(0, S) for S in spatial_shape)
    return PlacedBlock(size, before, after, eligible)


def coverage_along_axes(block: PlacedBlock, spatial_shape: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """n_k(u): per spatial axis, how many eligible positions have a block that covers position u."""
    return [block.covering(axis, np.arange(S), np.arange(S)) for axis, S in enumerate(spatial_shape)]


def coverage_counts(
    block: PlacedBlock, spatial_shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The distinct values of n(u), and how many cells have each; in float64, because volumes overflow int64."""
    n: NDArray[np.float64] = np.ones(1)
    cells: NDArray[Any] = np.ones(1)
    for along_axis in coverage_along_axes(block, spatial_shape):
        values, positions = np.unique(along_axis, return_counts=True)
        n, index = np.unique(np.multiply.outer(n, values.astype(np.float64)), return_inverse=True)
        cells = np.bincount(index.ravel(), np.multiply.outer(cells, positions).ravel())
    return n, cells


def pairs_along_axes(
    block: PlacedBlock, spatial_shape: tuple[int, ...]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Per spatial axis the distinct columns (n_k(u), n_k(v), n_k(u, v)) of pairs that a seed covers both, and numbers.

    There are few, and over the axes each of the three counts is multiplied.
    """
    tables = []
    for axis, n in enumerate(coverage_along_axes(block, spatial_shape)):
        # Only pairs less than a block apart: all of them would not fit into memory on a long axis.
        reach = min(block.before[axis] + block.after[axis], n.size - 1)
        offsets = np.arange(-reach, reach + 1)
        u = np.repeat(np.arange(n.size), offsets.size)
        v = u + np.tile(offsets, n.size)
        inside = (v >= 0) & (v < n.size)
        u, v = u[inside], v[inside]
        both = block.covering(axis, u, v)
        # As one number, because np.unique sorts numbers ten times as fast as columns.
        base = int(n.max(initial=0)) + 1
        columns, number = np.unique(((n[u] * base + n[v]) * base + both)[both > 0], return_counts=True)
        tables.append((np.stack([columns // base**2, columns // base % base, columns % base]), number))
    return tables


def valid_seeds(block_size: Any, spatial_shape: Any, *, convention: Convention | str = PAPER) -> NDArray[np.bool_]:
    """Where a seed may lie.

    Parameters
    ----------
    block_size : int or sequence of int
        Side of the block in cells, at least 1; one int per spatial axis, or one for all.
    spatial_shape : sequence of int
        (H, W) or (D, H, W) of the map, at least 1 each.
    convention : Convention or str
        The choices to follow, or their name in `CONVENTIONS`.

    Returns
    -------
    ndarray of bool, shape `spatial_shape`
        True = eligible. With ``seed_region="fitting"`` an axis of S cells and a block of b have the eligible positions
        ``b // 2`` to ``S - (b - 1) // 2 - 1`` (the halves exchanged for ``even_extra_cell="after"``); with
        ``"everywhere"`` all cells are eligible.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or the convention refuses the block on this map.

    Notes
    -----
    Section 3 of the paper: the seeds are drawn in the green region of its figure 2, where blocks fit.

    Examples
    --------
    >>> from dropblock_ref import valid_seeds
    >>> valid_seeds((3, 2), (4, 5)).astype(int)
    array([[0, 0, 0, 0, 0],
           [0, 1, 1, 1, 1],
           [0, 1, 1, 1, 1],
           [0, 0, 0, 0, 0]])
    """
    spatial_shape = check_spatial_shape(spatial_shape)
    block = place_block(block_size, spatial_shape, find_convention(convention))
    valid = np.zeros(check_cells(spatial_shape, "spatial_shape"), dtype=np.bool_)
    valid[block.eligible] = True
    return valid
