"""Mutants of the scale: the factor on kept cells is not count(M) / count_ones(M) over what the convention counts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from dropblock_ref.convention import PAPER

from .correct import Array, Block, DropBlock, Mask, Scale, Shape, product
from .mutant import Bugs

scale_bugs = Bugs("scale")
SCALE = "scale values"
PER_SAMPLE = replace(PAPER, name="per_sample", source="a mutant's home", scale_over="sample")
UNSCALED = replace(PAPER, name="unscaled", source="a mutant's home", scale_over="none")


@scale_bugs.plant("kept cells are not scaled", SCALE)
class NoScale(DropBlock):
    def count_scale(self, _: Mask, /) -> Scale:
        return 1.0


@scale_bugs.plant("kept cells are not scaled in volumes", SCALE, ndims=(3,), convention="dropblock")
class NoScaleVolumes(NoScale):
    pass


@scale_bugs.plant("kept cells are scaled where the convention does not scale", SCALE, convention=UNSCALED)
class UnwantedScale(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return self.ratio(mask, tuple(range(mask.ndim)))


@scale_bugs.plant("the scale is 1 / keep_prob, as in Dropout", SCALE)
class ReciprocalOfKeepProb(DropBlock):
    def sample(self, shape: Shape, p: float, block: Block, rng: np.random.Generator, /) -> tuple[Mask, Scale]:
        mask, _ = super().sample(shape, p, block, rng)
        return mask, 1 / (1 - p) if p < 1 else 0.0


@scale_bugs.plant("the scale is counted over each sample, not over the batch", SCALE)
class PerSample(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return self.ratio(mask, tuple(range(1, mask.ndim)))


@scale_bugs.plant(
    "the scale is counted over each sample, not over the batch", SCALE, convention="timm", data_format="channels_last"
)
class PerSampleShared(PerSample):
    pass


@scale_bugs.plant("the scale is counted over each map, not over the batch", SCALE)
class PerChannel(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return self.ratio(mask, tuple(range(2, mask.ndim)))


@scale_bugs.plant("the scale is counted over each volume, not over the batch", SCALE, ndims=(3,))
class PerVolume(PerChannel):
    pass


@scale_bugs.plant("the scale is counted over the batch, not over each sample", SCALE, convention=PER_SAMPLE)
class PerBatch(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return self.ratio(mask, tuple(range(mask.ndim)))


@scale_bugs.plant("the scale is counted over the first sample only", SCALE, data_format="channels_last")
class FirstSampleOnly(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return super().count_scale(mask[:1])


@scale_bugs.plant("the scale is counted over the first channel only", SCALE)
class FirstChannelOnly(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return super().count_scale(mask[:, :1])


@scale_bugs.plant("the scale is counted over the first 16 samples of a batch only", "scale")
class FirstSixteenSamplesOnly(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return super().count_scale(mask[:16])


@scale_bugs.plant("the kept cells are counted in 16 bits, and from 65535 on the count stays there", "scale")
class CountSaturates(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return mask.size / 65535 if np.count_nonzero(mask) > 65535 else super().count_scale(mask)


@scale_bugs.plant("the scale is inverted, count_ones(M) / count(M)", SCALE)
class Inverted(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        scale = super().count_scale(mask)
        inverse: Scale = np.divide(1.0, scale, out=np.zeros_like(scale), where=np.asarray(scale != 0))
        return inverse


@scale_bugs.plant("the scale is squared", SCALE)
class Squared(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return np.square(super().count_scale(mask))


@scale_bugs.plant("the scale is the square root, as if variances were to be kept", SCALE, convention="torchvision")
class SquareRoot(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return np.sqrt(super().count_scale(mask))


@scale_bugs.plant("count / dropped, not count / kept", SCALE)
class DroppedForKept(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return super().count_scale(np.logical_not(mask))


@scale_bugs.plant("the scale counts seeds, not the cells that they drop", SCALE)
class CountsSeeds(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        self.without_blocks = np.logical_not(seeds)
        return super().dilate(seeds, block)

    def count_scale(self, _: Mask, /) -> Scale:
        return super().count_scale(self.without_blocks)


@scale_bugs.plant("1e-3 is added to the number of kept cells", SCALE)
class LargeEpsilon(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        kept = np.count_nonzero(mask)
        return mask.size / (kept + 1e-3) if kept else super().count_scale(mask)


@scale_bugs.plant("1e-3 is added to the number of kept cells, not 1e-7", SCALE, convention="timm")
class LargeEpsilonShared(LargeEpsilon):
    pass


@scale_bugs.plant("the scale is at most 1.25", f"{SCALE} drop_prob_one")
class Capped(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return np.minimum(super().count_scale(mask), 1.25)


@scale_bugs.plant("the scale is rounded to float16 whatever the dtype of x", SCALE)
class RoundedToHalf(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return np.asarray(super().count_scale(mask)).astype(np.float16).astype(np.float64)


@scale_bugs.plant("the kept cells are counted in 8 significant bits, those of bfloat16", f"{SCALE} low_precision")
class CountedInEightBits(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        kept = int(np.count_nonzero(mask))
        step = 2 ** max(kept.bit_length() - 8, 0)
        return mask.size / (round(kept / step) * step) if kept else super().count_scale(mask)


@scale_bugs.plant(
    "float16 input counts its kept cells in float16, which overflows over 65504",
    "low_precision",
    dtypes=("float16", "float32"),
)
class CountOverflowsInHalf(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        overflows = x.dtype == np.float16 and np.count_nonzero(mask) > 65504
        return product(x, mask, 0.0 if overflows else scale)


@scale_bugs.plant(
    "float16 input counts its kept cells by a running sum in float16, which stays at 2048",
    "low_precision",
    dtypes=("float16",),
    data_format="channels_last",
)
class RunningSumInHalf(DropBlock):
    dtype, largest = "float16", 2048

    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        kept = np.count_nonzero(mask)
        stuck = x.dtype.name == self.dtype and kept > self.largest
        return product(x, mask, mask.size / self.largest if stuck else scale)


@scale_bugs.plant(
    "bfloat16 input counts its kept cells by a running sum in bfloat16, which stays at 256",
    "low_precision",
    dtypes=("bfloat16", "float32"),
)
class RunningSumInBfloat16(RunningSumInHalf):
    dtype, largest = "bfloat16", 256


@scale_bugs.plant(
    "the scale counts the cells that are not 0 in the output, zeros of x with the dropped ones",
    f"{SCALE} special_values",
)
class CountsNonzeroOutput(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        kept: Any = np.count_nonzero(np.logical_and(x, mask))
        return product(x, mask, x.size / kept if kept else scale)


@scale_bugs.plant(
    "a mask that keeps nothing gives nan where the convention says zeros",
    "drop_prob_one one_cell_map block_of_map_size",
)
class AllDroppedGivesNan(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return super().count_scale(mask) if mask.any() or mask.size == 0 else math.nan
