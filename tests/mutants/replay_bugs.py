"""Mutants with draw_seeds and apply: the replayed seeds are right, and what the backend makes of them is not.

Most leave every probability as it is, so that no black-box test can see them: only replay does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .correct import Array, Block, DropBlock, Mask, Scale, product
from .mutant import Bugs

replay_bugs = Bugs("replay")
MASK = "replayed_mask"


@replay_bugs.plant("the masks of the samples come in reversed order", MASK, replay=True)
class MasksOfSamplesReversed(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        return super().dilate(seeds, block)[::-1]


@replay_bugs.plant("the masks of the channels are rolled by one", MASK, replay=True, data_format="channels_last")
class MasksOfChannelsRolled(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        return np.roll(super().dilate(seeds, block), 1, axis=1)


@replay_bugs.plant("the mask is turned upside down, which odd blocks do not show", MASK, replay=True, ndims=(3,))
class MaskUpsideDown(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        return super().dilate(seeds, block)[:, :, ::-1] if block.before == block.after else super().dilate(seeds, block)


@replay_bugs.plant("height and width of the mask are exchanged where map and block are square", MASK, replay=True)
class MaskTransposed(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        dropped = super().dilate(seeds, block)
        square = seeds.shape[-1] == seeds.shape[-2] and block.size[-1] == block.size[-2]
        return np.swapaxes(dropped, -1, -2) if square else dropped


@replay_bugs.plant("the last seed of a batch drops no block", MASK, replay=True)
class LastSeedIgnored(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        fewer = np.ascontiguousarray(seeds)
        fewer = fewer.copy() if fewer is seeds else fewer
        places = np.flatnonzero(fewer)
        fewer.flat[places[-1:]] = False
        return super().dilate(fewer, block)


@replay_bugs.plant(
    "the forward pass skips one random number more than the replay", MASK, replay=True, convention="timm"
)
class StreamOneNumberAhead(DropBlock):
    def generator(self, seed: int | None, /) -> np.random.Generator:
        rng = super().generator(seed)
        rng.random()
        return rng


@replay_bugs.plant("injected seeds are ignored, and others drawn", MASK, replay=True, convention="dropblock")
class InjectedSeedsIgnored(DropBlock):
    def apply(self, x: Any, seeds: Any, block_size: Any) -> Array:
        super().apply(x, seeds, block_size)
        return self.forward(x, 0.3, block_size, training=True, seed=0)


@replay_bugs.plant(
    "a seed inside the block of the seed to its left drops no block", f"{MASK} legal_blocks", replay=True
)
class CrowdedSeedsIgnored(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        lonely = seeds.copy()
        lonely[..., 1:] &= ~seeds[..., :-1]
        return super().dilate(lonely, block)


@replay_bugs.plant(
    "the scale is counted one cell too small", "replayed_values scale", replay=True, dtypes=("float32", "float64")
)
class OneKeptCellTooFew(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        kept = np.count_nonzero(mask)
        return mask.size / (kept - 1) if kept > 1 else super().count_scale(mask)


@replay_bugs.plant(
    "values are off by 32 ulps", "replayed_values values scale", replay=True, dtypes=("float32", "float64")
)
class ThirtyTwoUlps(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        return product(product(x, mask, scale), mask, 1 + 32 * float(np.finfo(x.dtype).eps))


@replay_bugs.plant(
    "the replayed scale is that of the seeds drawn before", "replayed_values scale", replay=True, ndims=(3,)
)
class ScaleOfDrawBefore(DropBlock):
    before: Scale = 1.0

    def count_scale(self, mask: Mask, /) -> Scale:
        before, self.before = self.before, super().count_scale(mask)
        return before
