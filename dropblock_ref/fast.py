"""The stages of `algorithm` that take time, faster: each equals the function of its name there.

Bit for bit where nothing is drawn. Sparse seeds are drawn by the gaps between them: other numbers of the same law.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import algorithm
from .algorithm import Block

# Numbers of 8 bytes made at a time: so many stay in the cache, while one for each cell would outweigh x.
CHUNK = 2**16
# Measured: a seed drawn by the gap before it takes as long as 7 cells drawn one by one, and a small map more calls.
SPARSE = 1 / 32
FEWEST = 2**12


def new_mask(like: NDArray[Any], value: bool) -> NDArray[np.bool_]:
    """A boolean array of one value, of the shape and memory order of `like`; its cells in memory are `ravel("K")`."""
    mask = np.empty_like(like, dtype=np.bool_)
    mask.fill(value)
    return mask


def sample_seeds(gamma: float, block: Block, like: NDArray[Any], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Line 5: seeds of the shape and memory order of `like`; by the gaps between them where they are sparse."""
    seeds = new_mask(like, False)
    box = seeds[block.box]
    if sparse(gamma, box.size):
        seeds.ravel("K")[sample_cells(gamma, block, seeds, rng)] = True
        return seeds
    if box.size <= CHUNK:
        box[...] = rng.random(box.shape) < gamma
        return seeds
    drawn = np.empty(box.size, dtype=np.bool_)
    for start in range(0, box.size, CHUNK):
        chunk = drawn[start : start + CHUNK]
        np.less(rng.random(chunk.size), gamma, out=chunk)
    box[...] = drawn.reshape(box.shape)
    return seeds


def sparse(gamma: float, eligible: int) -> bool:
    """Whether seeds on so many eligible cells are drawn by the gaps between them."""
    return 0 < gamma < SPARSE and eligible >= FEWEST


def sample_cells(gamma: float, block: Block, mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Line 5: the cells of the seeds in the memory of a new mask."""
    box = mask[block.box]
    place = successes(gamma, box.size, rng)
    first = sum(part.start * step for part, step in zip(block.eligible, mask.strides[2:], strict=True))
    cells: NDArray[np.int64] = first + place * box.strides[-1]
    for axis in reversed(range(box.ndim - 1)):
        place = place // box.shape[axis + 1]
        if jump := box.strides[axis] - box.shape[axis + 1] * box.strides[axis + 1]:  # in memory, at the end of a row
            cells += place * jump
    return cells


def successes(gamma: float, trials: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Which of so many Bernoulli(gamma) trials succeed: the distances between successes are geometric."""
    found, last = [np.empty(0, dtype=np.int64)], -1
    while last < trials - 1:
        count = min(CHUNK, int(1.1 * gamma * (trials - last)) + 16)
        with np.errstate(over="ignore"):  # of a tiny gamma; what lies beyond the last trial is as good as infinite
            failures = np.minimum(np.floor(np.log1p(-rng.random(count)) / math.log1p(-gamma)), trials)
        found.append(last + np.cumsum(failures.astype(np.int64) + 1))
        last = int(found[-1][-1])
    places = np.concatenate(found)
    return places[: np.searchsorted(places, trials)]


def drop(gamma: float, block: Block, like: NDArray[Any], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Lines 5 and 6: the mask of `sample_seeds`, without an array of seeds where they are sparse."""
    eligible = like[block.box].size
    if sparse(gamma, eligible) and stamping_pays(gamma * eligible, block, like.size):
        kept = new_mask(like, True)
        return stamp(kept, sample_cells(gamma, block, kept, rng), block)
    return keep_mask(sample_seeds(gamma, block, like, rng), block)


def keep_mask(seeds: NDArray[np.bool_], block: Block) -> NDArray[np.bool_]:
    """Line 6; block by block where that is faster."""
    if not any(block.before + block.after):
        return ~seeds  # blocks of one cell
    if not stamping_pays(int(np.count_nonzero(seeds)), block, seeds.size):
        return algorithm.keep_mask(seeds, block)
    kept = new_mask(seeds, True)
    in_order = seeds if seeds.strides == kept.strides else seeds.copy("K")
    return stamp(kept, in_order.ravel("K").nonzero()[0], block)


def stamping_pays(seeds: float, block: Block, cells: int) -> bool:
    """Whether so many blocks have no more cells than the maximum filter looks at: all cells, once an axis.

    A block of most of a large map is left to the filter, because the stamp makes 8 bytes for each cell of a block.
    """
    volume, axes = 1, 0
    for before, after in zip(block.before, block.after, strict=True):
        volume *= before + after + 1
        axes += before + after > 0
    return not seeds or (volume <= max(CHUNK, cells // 8) and seeds * volume <= cells * axes)


def stamp(kept: NDArray[np.bool_], seeds: NDArray[np.int64], block: Block) -> NDArray[np.bool_]:
    """Line 6: drop the blocks of these cells of a new mask, and return it."""
    memory = kept.ravel("K")  # a view
    at_once = max(CHUNK // math.prod(i + j + 1 for i, j in zip(block.before, block.after, strict=True)), 1)
    for start in range(0, seeds.size, at_once):
        seed = seeds[start : start + at_once]
        cells = seed[None]
        for axis, S in enumerate(block.spatial_shape):
            before, after, eligible = block.before[axis], block.after[axis], block.eligible[axis]
            step, reach = kept.strides[2 + axis], np.arange(-before, after + 1)[:, None]
            if eligible.start < before or eligible.stop > S - after:
                # Blocks stick out. Their cells on the border of the map stand for those beyond it.
                position = seed // step % S
                reach = np.clip(position + reach, 0, S - 1) - position
            cells = (cells[:, None] + reach * step).reshape(-1, seed.size)
        memory[cells] = False
    return kept


def multiply(
    x: NDArray[Any],
    keep_mask: NDArray[np.bool_],
    scale: float | NDArray[np.float64],
    dtype: np.dtype[Any] | None = None,
) -> NDArray[Any]:
    """Lines 7 and 8, in `dtype` (x's by default); where the weights would take much memory, a part of x at a time."""
    product = np.empty_like(x, dtype=dtype)
    wide = np.result_type(product.dtype, np.float32)
    # Infinities and NaN are legal, and a large kept value may leave the range of the dtype: the product as it is.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        factor = np.asarray(scale, dtype=wide)
        if x.size <= CHUNK or keep_mask.size * wide.itemsize <= 2 * x.size:
            weights = keep_mask.astype(wide)
            weights *= factor
            np.multiply(x, weights, out=product, dtype=wide, casting="same_kind")
            return product
        parts = np.nditer(
            [x, keep_mask, factor, product],
            flags=["external_loop", "buffered", "zerosize_ok"],
            op_flags=[["readonly"], ["readonly"], ["readonly"], ["writeonly"]],
            op_dtypes=[wide, np.bool_, wide, wide],
            casting="same_kind",
            buffersize=4 * CHUNK,
        )
        with parts:
            for part, kept, factors, out in parts:
                np.copyto(out, kept)
                np.multiply(out, factors, out=out)
                np.multiply(out, part, out=out)
    return product
