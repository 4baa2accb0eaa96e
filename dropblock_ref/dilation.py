"""From seeds to the keep mask and back: Algorithm 1, line 6, "set all the values of M in the square to be zero".

A cell is dropped if a seed lies in the window of cells whose block covers it: a maximum filter. Where seeds are few, it
is faster to drop their blocks one by one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from .convention import PAPER, Convention, find_convention
from .geometry import PlacedBlock, place_block
from .layout import Layout
from .seeds import CHUNK, check_eligible, check_mask

# maximum_filter looks at all cells once per axis on which the block is longer than one cell, and stamping once, to find
# the seeds. Measured over densities, blocks and shapes, with seeds in C order: stamping is at least 3 times as fast
# while it saves 6 looks or more per cell that it writes.
LOOKS_PER_WRITE = 6
# Cells that could be written in the time that NumPy's calls take on the smallest array.
WRITES_PER_CALL = 4096


def _any_in_window(
    array: NDArray[np.bool_], before: tuple[int, ...], after: tuple[int, ...], layout: Layout
) -> NDArray[np.bool_]:
    """Whether a True lies in the window from `before` to `after` cells around each cell, per spatial axis."""
    if array.size == 0:  # maximum_filter refuses an empty array
        return array.copy()
    size = tuple(i + j + 1 for i, j in zip(before, after, strict=True))
    # With origin 0 the window begins size // 2 cells before the cell; a larger origin begins it earlier.
    origin = tuple(i - n // 2 for i, n in zip(before, size, strict=True))
    return maximum_filter(
        array,
        size=layout.on_spatial_axes(size, 1),
        origin=layout.on_spatial_axes(origin, 0),
        mode="constant",
        cval=0,
    )


def _stamp(seeds: NDArray[np.bool_], block: PlacedBlock, layout: Layout) -> NDArray[np.bool_]:
    """The keep mask, by dropping the blocks seed by seed."""
    kept = np.ones(seeds.shape, dtype=np.bool_)
    every_seed = np.flatnonzero(seeds)
    at_once = max(CHUNK // math.prod(_sides(block)), 1)
    for start in range(0, every_seed.size, at_once):
        seed = every_seed[start : start + at_once]
        cells = seed[None]
        for axis, i, j in zip(layout.spatial_axes, block.before, block.after, strict=True):
            size, step = seeds.shape[axis], math.prod(seeds.shape[axis + 1 :])
            position = seed // step % size
            # Where a block sticks out of the map, the border cell lies in it as well.
            covered = np.clip(position + np.arange(-i, j + 1)[:, None], 0, size - 1)
            cells = (cells[:, None] + (covered - position) * step).reshape(-1, seed.size)
        kept.reshape(-1)[cells] = False
    return kept


def _sides(block: PlacedBlock) -> list[int]:
    """Per spatial axis, how many cells of a map a block can reach."""
    return [i + j + 1 for i, j in zip(block.before, block.after, strict=True)]


def _stamping_is_faster(seeds: NDArray[np.bool_], block: PlacedBlock) -> bool:
    """Whether `_stamp` is at least 3 times as fast as the maximum filter."""
    sides = _sides(block)
    writes = int(np.count_nonzero(seeds)) * math.prod(sides)
    looks_saved = seeds.size * (sum(side > 1 for side in sides) - 1)
    return LOOKS_PER_WRITE * (writes + WRITES_PER_CALL) <= looks_saved


def drop_blocks(seeds: NDArray[np.bool_], block: PlacedBlock, layout: Layout) -> NDArray[np.bool_]:
    """`keep_mask` of seeds that lie on eligible cells."""
    if _stamping_is_faster(seeds, block):
        return _stamp(seeds, block, layout)
    # A seed `after` cells before a cell still covers it, and so does one `before` cells after it.
    dropped = _any_in_window(seeds, block.after, block.before, layout)
    return np.logical_not(dropped, out=dropped)


def keep_mask(
    seeds: Any,
    block_size: Any,
    *,
    data_format: str = "channels_first",
    convention: Convention | str = PAPER,
) -> NDArray[np.bool_]:
    """Drop the block of every seed.

    Parameters
    ----------
    seeds : array_like of bool
        True = a block is centred here; 4 or 5 dimensions, 1 on the channel axis where the convention shares masks.
    block_size : int or sequence of int
        Side of the block in cells, at least 1; one int per spatial axis, or one for all.
    data_format : {"channels_first", "channels_last", "NCHW", "NHWC", "NCDHW", "NDHWC"}
        Order of the axes.
    convention : Convention or str
        The choices to follow, or their name in `CONVENTIONS`.

    Returns
    -------
    ndarray of bool, shape of `seeds`
        M of Algorithm 1: True = kept.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, a seed lies on a cell that is not eligible, or the
        convention refuses the block on this map.

    Notes
    -----
    Line 6 of Algorithm 1 of the paper, defined by one call of `scipy.ndimage.maximum_filter` over the spatial axes.
    Sparse seeds are stamped instead, block by block, which is faster; tests prove that the mask is the same.

    Examples
    --------
    >>> import numpy as np
    >>> from dropblock_ref import keep_mask
    >>> seeds = np.zeros((1, 1, 4, 5), dtype=bool)
    >>> seeds[0, 0, 2, 1] = True
    >>> keep_mask(seeds, 3)[0, 0].astype(int)
    array([[1, 1, 1, 1, 1],
           [0, 0, 0, 1, 1],
           [0, 0, 0, 1, 1],
           [0, 0, 0, 1, 1]])
    """
    convention = find_convention(convention)
    seeds, layout = check_mask(seeds, "seeds", data_format, convention)
    block = place_block(block_size, layout.spatial_shape(seeds.shape), convention)
    check_eligible(seeds, block, layout, convention)
    return drop_blocks(seeds, block, layout)


def recover_seeds(
    keep_mask: Any,
    block_size: Any,
    *,
    data_format: str = "channels_first",
    convention: Convention | str = PAPER,
) -> NDArray[np.bool_]:
    """The largest seed set that explains a keep mask.

    Parameters
    ----------
    keep_mask : array_like of bool
        True = kept; 4 or 5 dimensions, 1 on the channel axis where the convention shares masks.
    block_size : int or sequence of int
        Side of the block in cells, at least 1; one int per spatial axis, or one for all.
    data_format : {"channels_first", "channels_last", "NCHW", "NHWC", "NCDHW", "NDHWC"}
        Order of the axes.
    convention : Convention or str
        The choices to follow, or their name in `CONVENTIONS`.

    Returns
    -------
    ndarray of bool, shape of `keep_mask`
        Every eligible cell whose whole block, as far as it lies in the map, is dropped. The mask is legal, which means
        that some seeds give it, exactly if ``dropblock_ref.keep_mask`` of these seeds equals it.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or the convention refuses the block on this map.

    Notes
    -----
    The inverse of line 6 of Algorithm 1 of the paper, as far as there is one: an erosion of the dropped cells.

    Examples
    --------
    A legal mask, of two blocks, and one that no set of blocks gives:

    >>> import numpy as np
    >>> from dropblock_ref import keep_mask, recover_seeds
    >>> mask = np.array([[0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]], dtype=bool)[None, None]
    >>> recover_seeds(mask, 2)[0, 0].astype(int)
    array([[0, 0, 0, 0],
           [0, 1, 0, 0],
           [0, 0, 0, 1]])
    >>> bool((keep_mask(recover_seeds(mask, 2), 2) == mask).all())
    True
    >>> mask[0, 0, 0, 1] = True
    >>> bool((keep_mask(recover_seeds(mask, 2), 2) == mask).all())
    False
    """
    convention = find_convention(convention)
    kept, layout = check_mask(keep_mask, "keep_mask", data_format, convention)
    block = place_block(block_size, layout.spatial_shape(kept.shape), convention)
    box = layout.on_spatial_axes(block.eligible, slice(None))
    seeds = np.zeros_like(kept)
    seeds[box] = np.logical_not(_any_in_window(kept, block.before, block.after, layout)[box])
    return seeds
