"""Algorithm 1 and eq. (1) of the paper (Ghiasi, Lin, Le, 2018, arXiv:1810.12890): all that DropBlock is.

Arrays are (N, C, H, W) or (N, C, D, H, W). Nothing is checked here: `dropblock_ref.drop_block` does that, takes other
layouts and other conventions, and is faster; tests hold it to this file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter


@dataclass(frozen=True)
class Block:
    """A block on a map, per spatial axis: a seed at s drops the cells s - before, ..., s + after."""

    spatial_shape: tuple[int, ...]
    size: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    eligible: tuple[slice, ...]  # where seeds may lie

    @property
    def box(self) -> tuple[Any, ...]:
        """The eligible cells, as an index of an array of maps."""
        return (..., *self.eligible)


def place(size: tuple[int, ...], spatial_shape: tuple[int, ...]) -> Block:
    """Figure 2: seeds lie where the whole block fits into the map; an even block has its extra cell before the seed."""
    before = tuple(b // 2 for b in size)
    after = tuple((b - 1) // 2 for b in size)
    eligible = tuple(slice(i, S - j) for i, j, S in zip(before, after, spatial_shape, strict=True))
    return Block(spatial_shape, size, before, after, eligible)


def gamma(drop_prob: float, block: Block) -> float:
    """Eq. (1): drop_prob / prod(b) * prod(S / (S - b + 1)), with one quotient of integers and so rounded little."""
    cells = math.prod(block.spatial_shape)
    sides = zip(block.size, block.spatial_shape, strict=True)
    return drop_prob * (cells / math.prod(b * (S - b + 1) for b, S in sides))


def sample_seeds(gamma: float, block: Block, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Line 5: M_ij ~ Bernoulli(gamma) on the eligible cells. The paper's M is 1 - seeds."""
    seeds = np.zeros(shape, dtype=np.bool_)
    box = seeds[block.box]
    box[...] = rng.random(box.shape) < gamma
    return seeds


def keep_mask(seeds: NDArray[np.bool_], block: Block) -> NDArray[np.bool_]:
    """Line 6: drop the block of every seed."""
    # The seeds whose blocks cover a cell lie from `after` cells before it to `before` cells after it. With origin 0 the
    # filter's window begins size // 2 cells before the cell, with a larger one earlier.
    size = (1, 1, *(i + j + 1 for i, j in zip(block.before, block.after, strict=True)))
    origin = (0, 0, *(j - (i + j + 1) // 2 for i, j in zip(block.before, block.after, strict=True)))
    dropped: NDArray[np.bool_] = maximum_filter(seeds, size=size, origin=origin, mode="constant", cval=0)
    return np.logical_not(dropped, out=dropped)


def scale(keep_mask: NDArray[np.bool_]) -> float:
    """Line 8: count(M) / count_ones(M), and 0 where nothing is kept."""
    kept = np.count_nonzero(keep_mask)
    return keep_mask.size / kept if kept else 0.0


def multiply(x: NDArray[Any], keep_mask: NDArray[np.bool_], scale: float) -> NDArray[Any]:
    """Lines 7 and 8: x * M * scale, computed in float32 or float64 and rounded once. A dropped NaN stays NaN."""
    wide = np.result_type(x.dtype, np.float32)
    product: NDArray[Any] = np.multiply(x, keep_mask * wide.type(scale), dtype=wide)
    return product.astype(x.dtype)


def drop_block(x: NDArray[Any], drop_prob: float, block: Block, rng: np.random.Generator) -> NDArray[Any]:
    """Algorithm 1 in training. In evaluation (line 1) the output is x."""
    seeds = sample_seeds(gamma(drop_prob, block), block, x.shape, rng)
    mask = keep_mask(seeds, block)
    return multiply(x, mask, scale(mask))
