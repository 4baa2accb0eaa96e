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

from .arguments import check_block_size, check_spatial_shape
from .convention import PAPER, Convention, find_convention


@dataclass(frozen=True)
class PlacedBlock:
    """A block on a map, per spatial axis k: the block of a seed at s covers s - before[k], ..., s + after[k]."""

    spatial_shape: tuple[int, ...]
    size: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    eligible: tuple[slice, ...]


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
    return PlacedBlock(spatial_shape, size, before, after, eligible)


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
    valid = np.zeros(spatial_shape, dtype=np.bool_)
    valid[block.eligible] = True
    return valid
