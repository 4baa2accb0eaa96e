"""Seeds: Algorithm 1, line 5, "Randomly sample mask M: M_ij ~ Bernoulli(gamma)", on the eligible cells.

The paper's M is 1 - seeds: here True means that a block is centred on the cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arguments import check_boolean, check_probability, check_rng, check_shape
from .convention import PAPER, Convention, find_convention
from .geometry import PlacedBlock, place_block
from .layout import Layout, find_layout

# Numbers of 8 bytes made at a time, random ones here and indices in `dilation`: so many stay in the cache, while all at
# once would outweigh x.
CHUNK = 2**16


def mask_shape(shape: tuple[int, ...], layout: Layout, convention: Convention) -> tuple[int, ...]:
    """Shape of the seeds and keep masks for an x of this shape: 1 channel where the channels share a mask."""
    channels = 1 if convention.shared_channels else shape[layout.channel_axis]
    return tuple(channels if axis == layout.channel_axis else size for axis, size in enumerate(shape))


def check_mask(value: Any, name: str, data_format: str, convention: Convention) -> tuple[NDArray[np.bool_], Layout]:
    """A boolean array of seeds or a keep mask, of a shape that the convention can give."""
    mask = check_boolean(value, name)
    layout = find_layout(data_format, mask.shape, name)
    if convention.shared_channels and mask.shape[layout.channel_axis] != 1:
        raise ValueError(
            f"{name} must have size 1 on channel axis {layout.channel_axis}, because convention {convention.name!r} "
            f"shares masks over channels; got shape {mask.shape}"
        )
    return mask, layout


def check_eligible(seeds: NDArray[np.bool_], block: PlacedBlock, layout: Layout, convention: Convention) -> None:
    """Refuse seeds on cells that are not eligible."""
    box = layout.on_spatial_axes(block.eligible, slice(None))
    if np.count_nonzero(seeds) != np.count_nonzero(seeds[box]):
        outside = seeds.copy()
        outside[box] = False
        allowed = " x ".join(f"{e.start}..{e.stop - 1}" for e in block.eligible)
        raise ValueError(
            f"seeds must lie on eligible cells, which are {allowed} on the spatial axes under convention "
            f"{convention.name!r} with a block of {block.size}; "
            f"got {np.count_nonzero(outside)} elsewhere, the first at index {tuple(map(int, np.argwhere(outside)[0]))}"
        )


def sample_seeds(
    gamma: Any,
    block_size: Any,
    shape: Any,
    *,
    rng: np.random.Generator | int,
    data_format: str = "channels_first",
    convention: Convention | str = PAPER,
) -> NDArray[np.bool_]:
    """Draw seeds: each eligible cell independently with probability `gamma`.

    Parameters
    ----------
    gamma : float
        Probability that an eligible cell is a seed, in [0, 1]; see `dropblock_ref.gamma`.
    block_size : int or sequence of int
        Side of the block in cells, at least 1; one int per spatial axis, or one for all.
    shape : sequence of int
        Shape of x: batch, channels and spatial axes, 4 or 5 in all, in the order of `data_format`.
    rng : numpy.random.Generator or int
        Source of randomness; an int stands for ``numpy.random.default_rng(int)``.
    data_format : {"channels_first", "channels_last", "NCHW", "NHWC", "NCDHW", "NDHWC"}
        Order of the axes.
    convention : Convention or str
        The choices to follow, or their name in `CONVENTIONS`.

    Returns
    -------
    ndarray of bool
        True = a block is centred here. Of `shape`, with 1 on the channel axis where the convention shares masks.
        Random numbers are drawn for eligible cells only; the probability is `gamma` to within 2**-53.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or the convention refuses the block on this map.

    Notes
    -----
    Line 5 of Algorithm 1 of the paper.

    Examples
    --------
    >>> from dropblock_ref import sample_seeds
    >>> sample_seeds(0.3, 3, (1, 1, 5, 6), rng=0)[0, 0].astype(int)
    array([[0, 0, 0, 0, 0, 0],
           [0, 0, 1, 1, 1, 0],
           [0, 0, 0, 0, 0, 0],
           [0, 0, 0, 0, 1, 0],
           [0, 0, 0, 0, 0, 0]])
    """
    gamma = check_probability(gamma, "gamma")
    shape = check_shape(shape)
    convention = find_convention(convention)
    layout = find_layout(data_format, shape, "shape")
    block = place_block(block_size, layout.spatial_shape(shape), convention)
    rng = check_rng(rng)
    seeds = np.zeros(mask_shape(shape, layout, convention), dtype=np.bool_)
    box = seeds[layout.on_spatial_axes(block.eligible, slice(None))]
    drawn = np.empty(box.size, dtype=np.bool_)
    for start in range(0, box.size, CHUNK):
        chunk = drawn[start : start + CHUNK]
        np.less(rng.random(chunk.size), gamma, out=chunk)
    box[...] = drawn.reshape(box.shape)
    return seeds
