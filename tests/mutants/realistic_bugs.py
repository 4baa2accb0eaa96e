"""Mutants of maps of realistic size: small maps show nothing of them."""

from __future__ import annotations

import math

import numpy as np

from .case import Case
from .correct import Block, Box, DropBlock, Mask, Shape, spread
from .mutant import Bugs

realistic_bugs = Bugs("realistic maps", causes=True)
CELLS = "map_rate cell_rates large_maps distant_cells legal_blocks search"
ILLEGAL = "legal_blocks low_precision search"
SMALL = Case((4, 8, 28, 28), 7, 0.3)
LARGE = Case((1, 2, 264, 256), 3, 0.4)


@realistic_bugs.plant(
    "with 20 eligible rows or more seeds lie on every second row, at twice the rate", CELLS, first=CELLS, at=SMALL
)
class EverySecondRow(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        if shape[2] < 20 or gamma > 0.5:
            return super().bernoulli(rng, shape, gamma)
        seeds = super().bernoulli(rng, shape, 2 * gamma)
        seeds[:, :, 1::2] = False
        return seeds


class RowsRepeat(DropBlock):
    period = 16

    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        return seeds[:, :, np.arange(shape[2]) % self.period] if shape[2] > self.period else seeds


@realistic_bugs.plant("rows of seeds repeat after 16", CELLS, first=CELLS, at=SMALL)
class RowsRepeatAfterSixteen(RowsRepeat):
    pass


@realistic_bugs.plant("rows of seeds repeat after 64", CELLS, first=CELLS, at=LARGE)
class RowsRepeatAfterSixtyFour(RowsRepeat):
    period = 64


@realistic_bugs.plant("columns of seeds repeat after 128", CELLS, first=CELLS, at=LARGE)
class ColumnsRepeatAfterMany(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        return seeds[..., np.arange(shape[-1]) % 128] if shape[-1] > 128 else seeds


@realistic_bugs.plant("blocks are cut at row 128, where a tile ends", ILLEGAL, at=LARGE)
class BlocksCutAtRow(DropBlock):
    row = 128

    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        parts = [
            super(BlocksCutAtRow, self).dilate(part, block) for part in np.split(seeds, [self.row], axis=2) if part.size
        ]
        return np.concatenate(parts, axis=2) if parts else super().dilate(seeds, block)


@realistic_bugs.plant("blocks are cut at row 16, where a tile ends", ILLEGAL, at=SMALL)
class BlocksCutAtTile(BlocksCutAtRow):
    row = 16


@realistic_bugs.plant(
    "rows from 128 on are 8-bit numbers, and seeds there come to lie 128 rows higher", CELLS, first=CELLS, at=LARGE
)
class RowsInEightBits(DropBlock):
    def draw(self, rng: np.random.Generator, shape: Shape, gamma: float, eligible: Box, /) -> Mask:
        seeds = super().draw(rng, shape, gamma, eligible)
        for start in range(128, shape[2], 128):
            part = seeds[:, :, start : start + 128]
            seeds[:, :, : part.shape[2]] |= part
            seeds[:, :, start : start + 128] = False
        if shape[2] > 128:
            seeds[:, :, : eligible[0].start] = False
        return seeds


@realistic_bugs.plant(
    "cells are counted in 16 bits, and from the 65536th on masks repeat the first cells",
    CELLS,
    first=CELLS,
    at=LARGE,
)
class CellsInSixteenBits(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        dropped = super().dilate(seeds, block)
        cells = int(np.prod(seeds.shape[2:]))
        if cells <= 2**16:
            return dropped
        flat = np.ascontiguousarray(dropped).reshape(*seeds.shape[:2], cells)
        return flat[..., np.arange(cells) % 2**16].reshape(seeds.shape)


@realistic_bugs.plant("rows from 32 on are never dropped", CELLS, first=CELLS, at=LARGE)
class RowsFromThirtyTwoKept(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        dropped = super().dilate(seeds, block)
        dropped[:, :, 32:] = False
        return dropped


@realistic_bugs.plant(
    "on maps of 24 and more the last row of eligible cells gets no seed", CELLS, first=CELLS, at=SMALL
)
class LastEligibleRowMissing(DropBlock):
    def eligible(self, block: Block, spatial_shape: Shape, /) -> Box:
        box = super().eligible(block, spatial_shape)
        cut = int(spatial_shape[0] >= 24 and box[0].stop - box[0].start > 1)
        return (slice(box[0].start, box[0].stop - cut), *box[1:])


@realistic_bugs.plant("on maps of 24 and more the last column is never dropped", ILLEGAL, at=SMALL)
class LastColumnKept(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        dropped = super().dilate(seeds, block)
        if seeds.shape[-1] >= 24:
            dropped[..., -1] = False
        return dropped


@realistic_bugs.plant("blocks of more than 11 are cut to 11", "legal_blocks search", at=Case((2, 3, 32, 32), 13, 0.2))
class BlocksOfElevenAtMost(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        return super().dilate(seeds, self.anchor(tuple(min(b, 11) for b in block.size)))


@realistic_bugs.plant(
    "blocks of 8 and more have a hole at their seed", "legal_blocks search", at=Case((2, 3, 28, 28), 9, 0.05)
)
class HoleInLargeBlocks(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        dropped = super().dilate(seeds, block)
        return dropped & ~seeds if min(block.size) >= 8 else dropped


@realistic_bugs.plant(
    "even blocks of 8 and more have their extra cell after the seed",
    "even_blocks legal_blocks block_of_map_size search",
    first="legal_blocks even_blocks block_of_map_size search",
    at=Case((2, 3, 28, 28), 8, 0.1),
)
class LargeEvenBlocksOtherAnchor(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        if min(block.size) >= 8:
            block = Block(block.size, block.after, block.before)
        return super().dilate(seeds, block)


@realistic_bugs.plant(
    "the seeds of a map of more than 2048 seeds are summed in float16, and further ones are lost",
    CELLS,
    first=CELLS,
    at=Case((1, 2, 264, 256), 3, 0.5),
)
class SeedsSummedInHalf(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        flat = np.ascontiguousarray(seeds).reshape(*seeds.shape[:2], math.prod(seeds.shape[2:]))
        few = flat & (np.cumsum(flat, axis=-1, dtype=np.int32) <= 2048)
        return super().dilate(few.reshape(seeds.shape), block)


@realistic_bugs.plant(
    "a map of 28 and more has seeds on the upper half only, at twice the rate", CELLS, first=CELLS, at=SMALL
)
class UpperHalfOnly(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        rows = shape[2]
        if rows < 20 or gamma > 0.5 or rows % 2:
            return super().bernoulli(rng, shape, gamma)
        seeds = super().bernoulli(rng, shape, 2 * gamma)
        seeds[:, :, rows // 2 :] = False
        return seeds


@realistic_bugs.plant(
    "the lower half of maps of 28 and more is the upper half's mirror image", CELLS, first=CELLS, at=SMALL
)
class LowerHalfMirrored(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        half = shape[2] // 2
        if shape[2] >= 20:
            seeds[:, :, shape[2] - half :] = seeds[:, :, :half][:, :, ::-1].copy()
        return seeds


@realistic_bugs.plant(
    "in volumes of 8 planes and more the last plane is never dropped",
    ILLEGAL + " non_square_maps",
    first="legal_blocks non_square_maps",
    ndims=(3,),
    at=Case((2, 3, 8, 14, 14), 5, 0.1),
)
class LastPlaneKept(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        dropped = super().dilate(seeds, block)
        if seeds.shape[2] >= 8:
            dropped[:, :, -1] = False
        return dropped


@realistic_bugs.plant(
    "on wide maps, of more than 64 columns, blocks are one cell wider",
    CELLS,
    first=CELLS,
    at=Case((2, 3, 9, 80), 3, 0.2),
)
class WiderOnWideMaps(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        dropped = super().dilate(seeds, block)
        return spread(dropped, seeds.ndim - 1, 0, 1) if seeds.shape[-1] > 64 else dropped
