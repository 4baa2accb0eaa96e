"""Mutants of the dilation: the cells that are dropped around a seed are not its block."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from .correct import Array, Block, DropBlock, Mask, Scale, spread
from .mutant import Bugs

dilation_bugs = Bugs("dilation")
ILLEGAL = "legal_blocks"
LARGER = "map_rate cell_rates overlapping_cells legal_blocks"  # a larger block is a union of blocks, thus legal


def spread_over(seeds: Mask, block: Block, axes: tuple[int, ...]) -> Mask:
    """The dilation along some of the spatial axes only."""
    for axis in axes:
        seeds = spread(seeds, axis + 2, block.before[axis], block.after[axis])
    return seeds


def stamp(seeds: Mask, block: Block, belongs: Callable[[tuple[int, ...]], bool]) -> Mask:
    """Drop, around every seed, the cells of its block whose offset from the seed `belongs`."""
    dropped = np.zeros_like(seeds)
    ranges = (
        range(-min(i, S - 1), min(j, S - 1) + 1)
        for i, j, S in zip(block.before, block.after, seeds.shape[2:], strict=True)
    )
    for offset in itertools.product(*ranges):
        if belongs(offset):
            target = tuple(slice(max(o, 0), min(o, 0) or None) for o in offset)
            source = tuple(slice(max(-o, 0), min(-o, 0) or None) for o in offset)
            dropped[(..., *target)] |= seeds[(..., *source)]
    return dropped


class OtherBlock(DropBlock):
    """Seeds are drawn for the right block, and another one is dropped around them."""

    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        return super().dilate(seeds, self.other(block))

    def other(self, block: Block, /) -> Block:
        raise NotImplementedError


@dilation_bugs.plant("the axes of a per-axis block are swapped in the mask", "per_axis_blocks legal_blocks")
class AxesSwapped(OtherBlock):
    def other(self, block: Block, /) -> Block:
        return Block(block.size[::-1], block.before[::-1], block.after[::-1])


@dilation_bugs.plant(
    "the axes of a per-axis block are swapped in the mask",
    "per_axis_blocks legal_blocks",
    ndims=(3,),
    data_format="channels_last",
)
class AxesSwappedVolumes(AxesSwapped):
    pass


@dilation_bugs.plant("a per-axis block is a square of its first side", "per_axis_blocks legal_blocks")
class FirstSideForAll(OtherBlock):
    def other(self, block: Block, /) -> Block:
        d = len(block.size)
        return Block(block.size[:1] * d, block.before[:1] * d, block.after[:1] * d)


@dilation_bugs.plant("the block is one cell larger on every axis", LARGER)
class OneLarger(OtherBlock):
    def other(self, block: Block, /) -> Block:
        return self.anchor(tuple(b + 1 for b in block.size))


@dilation_bugs.plant("the block is one cell larger in depth", LARGER, ndims=(3,))
class OneDeeper(OtherBlock):
    def other(self, block: Block, /) -> Block:
        return self.anchor((block.size[0] + 1, *block.size[1:]))


@dilation_bugs.plant("the block is one cell smaller on every axis", ILLEGAL)
class OneSmaller(OtherBlock):
    def other(self, block: Block, /) -> Block:
        return self.anchor(tuple(max(b - 1, 1) for b in block.size))


@dilation_bugs.plant("the block is one cell smaller on the last axis", ILLEGAL, convention="torchvision")
class OneNarrower(OtherBlock):
    def other(self, block: Block, /) -> Block:
        return self.anchor((*block.size[:-1], max(block.size[-1] - 1, 1)))


@dilation_bugs.plant("the block is taken for a radius, 2b - 1 cells wide", LARGER, data_format="channels_last")
class SizeTakenForRadius(OtherBlock):
    def other(self, block: Block, /) -> Block:
        return self.anchor(tuple(2 * b - 1 for b in block.size))


@dilation_bugs.plant("an even block is rounded down to the next odd one", "even_blocks legal_blocks")
class EvenRoundedDown(OtherBlock):
    def other(self, block: Block, /) -> Block:
        return self.anchor(tuple(b - 1 + b % 2 for b in block.size))


@dilation_bugs.plant("an even block is rounded up to the next odd one", f"even_blocks {LARGER}")
class EvenRoundedUp(OtherBlock):
    def other(self, block: Block, /) -> Block:
        return self.anchor(tuple(b + 1 - b % 2 for b in block.size))


@dilation_bugs.plant("an even block has its extra cell after the seed", "even_blocks legal_blocks")
class EvenAnchorOtherSide(OtherBlock):
    def other(self, block: Block, /) -> Block:
        return Block(block.size, block.after, block.before)


@dilation_bugs.plant(
    "an even block has its extra cell before the seed",
    "even_blocks legal_blocks cell_rates",
    convention="dropblock",
    ndims=(2, 3),
)
class EvenAnchorOtherSideShared(EvenAnchorOtherSide):
    pass


@dilation_bugs.plant("the seed is the block's first corner, not its centre", ILLEGAL)
class SeedAtCorner(OtherBlock):
    def other(self, block: Block, /) -> Block:
        return Block(block.size, (0,) * len(block.size), tuple(b - 1 for b in block.size))


@dilation_bugs.plant("only the height of the block is dropped, its width is forgotten", ILLEGAL)
class WidthForgotten(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        return spread_over(seeds, block, tuple(range(len(block.size) - 1)))


@dilation_bugs.plant("only the width of the block is dropped, its height is forgotten", ILLEGAL, convention="timm")
class HeightForgotten(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        return spread_over(seeds, block, tuple(range(1, len(block.size))))


@dilation_bugs.plant("the depth of the block is forgotten", ILLEGAL, ndims=(3,))
class DepthForgotten(HeightForgotten):
    pass


@dilation_bugs.plant("a cross is dropped, not the block", ILLEGAL)
class Cross(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        arms = [spread_over(seeds, block, (axis,)) for axis in range(len(block.size))]
        crosses: Mask = np.logical_or.reduce(arms)
        return crosses


@dilation_bugs.plant("a cross is dropped, not the block", ILLEGAL, ndims=(3,), data_format="channels_last")
class CrossVolumes(Cross):
    pass


@dilation_bugs.plant("a diamond is dropped, not the block", ILLEGAL)
class Diamond(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        radius = max(block.before)
        return stamp(seeds, block, lambda offset: sum(map(abs, offset)) <= radius)


@dilation_bugs.plant("a disc is dropped, not the block", ILLEGAL)
class Disc(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        radius = max(block.before)
        return stamp(seeds, block, lambda offset: sum(o * o for o in offset) <= radius**2)


@dilation_bugs.plant("the block has a hole at its seed", ILLEGAL)
class HoleAtSeed(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        # A block of one cell has nothing but its seed.
        return stamp(seeds, block, lambda offset: any(offset) or all(b == 1 for b in block.size))


@dilation_bugs.plant("one corner of every block is kept", ILLEGAL, data_format="channels_last")
class CornerKept(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        corner = block.after
        return stamp(seeds, block, lambda offset: offset != corner or not any(corner))


@dilation_bugs.plant(
    "blocks leave the map on one side and enter it on the other", "legal_blocks cell_rates", convention="timm"
)
class WrapAround(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        dropped = seeds
        for axis, before, after in zip(range(2, seeds.ndim), block.before, block.after, strict=True):
            lanes = [np.roll(dropped, offset, axis) for offset in range(-before, after + 1)]
            dropped = np.logical_or.reduce(lanes)
        return dropped


@dilation_bugs.plant(
    "blocks leave the volume on one side and enter it on the other",
    "legal_blocks cell_rates",
    convention="pytorch_toolbelt",
    ndims=(3,),
)
class WrapAroundVolumes(WrapAround):
    pass


@dilation_bugs.plant("where two blocks overlap the cells are kept again", ILLEGAL)
class OverlapsCancel(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        dropped = seeds
        for axis, before, after in zip(range(2, seeds.ndim), block.before, block.after, strict=True):
            source, flipped = np.moveaxis(dropped, axis, 0), dropped.copy(order="K")
            target = np.moveaxis(flipped, axis, 0)
            for offset in range(1, before + 1):
                target[:-offset] ^= source[offset:]
            for offset in range(1, after + 1):
                target[offset:] ^= source[:-offset]
            dropped = flipped
        return dropped


@dilation_bugs.plant("the last row of the map is never dropped", ILLEGAL)
class LastRowNeverDropped(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        dropped = super().dilate(seeds, block)
        # A map of one row would lose all, which is another bug.
        if dropped.shape[2] > 1:
            dropped[:, :, -1] = False
        return dropped


@dilation_bugs.plant("the last row of the map is never dropped in float64", ILLEGAL, dtypes=("float32", "float64"))
class LastRowNeverDroppedInDouble(LastRowNeverDropped):
    double = False

    def begin(
        self, x: Any, drop_prob: Any, block_size: Any, training: bool, seed: int | None, /
    ) -> tuple[Array, tuple[Mask, Scale] | None]:
        self.double = x.dtype == np.float64
        return super().begin(x, drop_prob, block_size, training, seed)

    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        return super().dilate(seeds, block) if self.double else DropBlock.dilate(self, seeds, block)


@dilation_bugs.plant("the mask of a block of 7 or more is rolled by one column, over the border of the map", ILLEGAL)
class LargeBlocksRolled(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        return np.roll(super().dilate(seeds, block), int(max(block.size) >= 7), axis=-1)


@dilation_bugs.plant("dropped and kept cells are exchanged", "legal_blocks map_rate")
class MaskInverted(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        return np.logical_not(super().dilate(seeds, block))


@dilation_bugs.plant("a block reaches into the next channel", "batch_rates channel_independence channel_sharing")
class BlockOverChannels(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        return spread(super().dilate(seeds, block), 1, 0, 1)


@dilation_bugs.plant("a block reaches into the next sample", "batch_rates sample_independence map_rate cell_rates")
class BlockOverSamples(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        return spread(super().dilate(seeds, block), 0, 0, 1)


@dilation_bugs.plant(
    "the last axis, which holds the channels, is taken for the width, and the width for the channels",
    "legal_blocks channel_sharing channel_independence",
    data_format="channels_last",
)
class ChannelsTakenForWidth(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        dropped = spread_over(seeds, block, tuple(range(len(block.size) - 1)))
        reach = (min(side, seeds.shape[1] - 1) for side in (block.before[-1], block.after[-1]))
        return spread(dropped, 1, *reach)


@dilation_bugs.plant(
    "of two seeds in the same row of a map only the first drops a block",
    "map_rate cell_rates distant_cells overlapping_cells",
)
class OneBlockPerRow(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        first = seeds & (np.cumsum(seeds, axis=-1, dtype=np.int32) == 1)
        return super().dilate(first, block)
