"""Mutants that have made a verdict untrue: one fault hid another, or made the oracle accuse what was right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from dropblock_ref.convention import PAPER

from .case import Case
from .correct import Array, Block, Box, DropBlock, Informed, Mask, Scale, Shape, product
from .mutant import Bugs

verdict_bugs = Bugs("verdicts", causes=True)
RATES = "map_rate cell_rates drop_prob_one block_of_one block_of_map_size one_cell_map"
ANSWERS = (  # what needs an output
    "evaluation_identity zero_drop_prob_identity shape_and_dtype input_unmodified same_seed_same_output stream_goes_on "
    "channel_sharing legal_blocks scale values non_square_maps even_blocks per_axis_blocks block_of_one "
    "block_of_map_size one_cell_map drop_prob_one non_contiguous_input batch_of_one empty_batch special_values "
    "gradient evaluation_gradient map_rate cell_rates overlapping_cells distant_cells channel_independence "
    "sample_independence call_independence repeated_draws call_spread batch_rates large_maps supported_input search"
)
OWN = replace(PAPER, name="own", source="a mutant's home", scale_over="sample")


class TimesFactor(DropBlock):
    """The scale is far too large, besides another fault."""

    factor = 500.0

    def count_scale(self, mask: Mask, /) -> Scale:
        return np.asarray(super().count_scale(mask)) * self.factor


# Two faults: the second must not be passed.


@verdict_bugs.plant(
    "single cells are dropped, not blocks, and kept ones are multiplied by 500 times the scale",
    "legal_blocks scale map_rate cell_rates overlapping_cells values",
    first="legal_blocks",
    not_passed="scale",
)
class CellsDroppedAndFiveHundred(TimesFactor):
    def dilate(self, seeds: Mask, _: Block, /) -> Mask:
        return seeds.copy()


@verdict_bugs.plant(
    "single cells are dropped and the kept ones are multiplied by some number between 500 and 2000 each",
    "legal_blocks scale map_rate cell_rates overlapping_cells values",
    first="legal_blocks",
    not_passed="scale values",
)
class CellsDroppedAndNoise(DropBlock):
    def dilate(self, seeds: Mask, _: Block, /) -> Mask:
        return seeds.copy()

    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        noise = np.random.default_rng(0).uniform(500, 2000, x.shape)
        return product(product(x, mask, scale), mask, noise)


@verdict_bugs.plant(
    "the mask is mirrored, and kept cells are multiplied by 5 times the scale",
    "replayed_mask replayed_values scale values",
    first="replayed_mask scale",
    replay=True,
    not_passed="replayed_values scale",
)
class MirroredAndFive(TimesFactor):
    factor = 5.0

    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        return super().dilate(seeds, block)[..., ::-1]


@verdict_bugs.plant(
    "every channel has its own mask where they share one, and 7 times the scale",
    "channel_sharing scale values",
    first="channel_sharing",
    convention="timm",
    not_passed="scale",
)
class OwnMasksAndSeven(TimesFactor):
    factor = 7.0

    def mask_shape(self, shape: Shape, /) -> Shape:
        return shape


@verdict_bugs.plant(
    "one cell of every block is kept, and kept cells of the first channel only are scaled",
    "legal_blocks scale values",
    first="legal_blocks",
    not_passed="scale",
)
class CornerKeptAndFirstChannelScaled(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        dropped = super().dilate(seeds, block)
        return dropped & ~seeds if max(block.size) > 1 else dropped

    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        return np.concatenate([product(x[:, :1], mask[:, :1], scale), product(x[:, 1:], mask[:, 1:], 1.0)], axis=1)


@verdict_bugs.plant(
    "cells in the overlap of two blocks become -1 times x, as 1 minus a count of blocks",
    "values legal_blocks scale replayed_values replayed_mask",
    first="values legal_blocks",
    not_passed="values",
)
class OverlapsNegative(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = product(x, mask, scale)
        return np.where(self.counts > 1, -x, y).astype(x.dtype)

    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        counts = seeds.astype(np.int16)
        for axis, before, after in zip(range(2, seeds.ndim), block.before, block.after, strict=True):
            counts = sum(self.moved(counts, axis, step) for step in range(-before, after + 1))
        self.counts = counts
        return counts > 0

    @staticmethod
    def moved(counts: Any, axis: int, step: int) -> Any:
        other = np.zeros_like(counts)
        source, target = np.moveaxis(counts, axis, 0), np.moveaxis(other, axis, 0)
        if abs(step) < len(source):
            target[max(step, 0) : len(source) + min(step, 0)] = source[max(-step, 0) : len(source) - max(step, 0)]
        return other


@verdict_bugs.plant(
    "the scale is inverted where the mask is illegal, by one row of the map that is never dropped",
    "legal_blocks scale values",
    first="legal_blocks",
    ndims=(3,),
    data_format="channels_last",
    at=Case((2, 3, 5, 5, 5)),
    not_passed="scale",
)
class PlaneKeptAndInverted(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        dropped = super().dilate(seeds, block)
        if dropped.shape[2] > 1:
            dropped[:, :, -1] = False
        return dropped

    def count_scale(self, mask: Mask, /) -> Scale:
        return np.asarray(np.count_nonzero(mask) / max(mask.size, 1))


@verdict_bugs.plant(
    "everything is refused, whatever is given",
    ANSWERS,
    first=ANSWERS,
    at=Case(),
    not_passed="bad_arguments oversize_block",
)
class EverythingRefused(DropBlock):
    def check_input(self, x: Any, /) -> Array:
        raise ValueError(f"cannot handle {np.shape(x)}")


# One fault: what is right must not be accused of it.


@verdict_bugs.plant(
    "gamma is a tenth of what it must be; the derivative is exact",
    RATES,
    first="map_rate cell_rates drop_prob_one block_of_one",
)
class GammaTenth(DropBlock):
    factor = 0.1

    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        return min(self.factor * super().gamma(p, block, spatial_shape), 1.0)


@verdict_bugs.plant(
    "gamma is doubled; the derivative is exact",
    RATES,
    first="map_rate cell_rates drop_prob_one block_of_one",
    ndims=(3,),
    data_format="channels_last",
    at=Case((2, 3, 5, 5, 5)),
)
class GammaDoubled(GammaTenth):
    factor = 2.0


@verdict_bugs.plant(
    "drop_prob is multiplied by 0.6",
    RATES,
    first="map_rate cell_rates drop_prob_one block_of_one",
)
class SixTenthsOfDropProb(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        return super().gamma(0.6 * p, block, spatial_shape)


@verdict_bugs.plant(
    "all samples share their masks; rates and channels are right",
    "sample_independence channel_sharing repeated_draws regularity",
    first="sample_independence channel_sharing repeated_draws",
)
class SamplesShareAll(DropBlock):
    def draw(self, rng: np.random.Generator, shape: Shape, gamma: float, eligible: Box, /) -> Mask:
        one = super().draw(rng, (min(shape[0], 1), *shape[1:]), gamma, eligible)
        return np.repeat(one, shape[0], axis=0) if shape[0] else one


@verdict_bugs.plant(
    "the masks of every second sample are those of the one before; all rates are right",
    "sample_independence channel_sharing repeated_draws regularity",
    first="sample_independence channel_sharing repeated_draws",
)
class SamplesInPairs(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        return seeds[np.arange(shape[0]) // 2 * 2]


@verdict_bugs.plant(
    "a call that goes on with the stream repeats the mask of the one before; all rates are right",
    "stream_goes_on repeated_draws call_independence",
    first="stream_goes_on repeated_draws call_independence",
    at=Case(seeds=(3, None)),
)
class StreamStands(DropBlock):
    state: Any = None

    def generator(self, seed: int | None, /) -> np.random.Generator:
        rng = super().generator(seed)
        if seed is None and self.state is not None:
            rng.bit_generator.state = self.state
        else:
            self.state = rng.bit_generator.state
        return rng


@verdict_bugs.plant(
    "x is overwritten with the output, which is returned",
    "input_unmodified",
    convention="timm",
    data_format="channels_last",
    at=Case(derivative=False),
)
class OutputIsInput(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        if not x.flags.writeable:
            return product(x, mask, scale)
        x[...] = product(x, mask, scale)
        return x


@verdict_bugs.plant(
    "the mask depends on x: the random numbers are digits of x, and the seed is ignored where they are used",
    "same_seed_same_output stream_goes_on special_values repeated_draws call_independence map_rate cell_rates",
    first="same_seed_same_output stream_goes_on",
    at=Case(seeds=(3, None)),
)
class NumbersOfInput(Informed):
    def bernoulli(self, _: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        digits = np.abs(self.x.astype(np.float64)) * 2.0**17 % 1
        box = tuple(slice(0, size) for size in shape[2:])
        seeds: Mask = np.nan_to_num(digits)[(slice(None), slice(None), *box)] < gamma
        return seeds


@verdict_bugs.plant(
    "the mask depends on x: seeds lie where x is large, of the same seed other masks for other values",
    "same_seed_same_output special_values",
    first="same_seed_same_output special_values",
    at=Case(values="large"),
)
class SeedsWhereInputIsLarge(Informed):
    def generator(self, seed: int | None, /) -> np.random.Generator:
        finite = np.isfinite(self.x.astype(np.float64)).all()
        large = bool(np.abs(np.nan_to_num(self.x.astype(np.float64))).max(initial=0.0) > 100) or not finite
        return super().generator(seed + 10**6 if large and seed is not None else seed)


@verdict_bugs.plant(
    "the seed is ignored; everything else is right",
    "same_seed_same_output",
    convention="torchvision",
    data_format="channels_last",
    ndims=(2, 3),
    at=Case(seeds=(3, 3)),
)
class WrapperIgnoresSeed(DropBlock):
    def generator(self, _: int | None, /) -> np.random.Generator:
        return super().generator(None)


@verdict_bugs.plant(
    "the seed is ignored in vjp only",
    "same_seed_same_output gradient",
    first="same_seed_same_output gradient",
    at=Case(seeds=(3, 3)),
)
class VjpIgnoresSeed(DropBlock):
    def vjp(
        self,
        x: Any,
        cotangent: Any,
        drop_prob: Any,
        block_size: Any,
        *,
        training: bool,
        seed: int | None,  # noqa: ARG002
    ) -> tuple[Array, Array]:
        return super().vjp(x, cotangent, drop_prob, block_size, training=training, seed=None)


@verdict_bugs.plant(
    "the scale of a convention with epsilon lacks it; values differ by parts of a million",
    "scale values",
    convention=replace(OWN, name="own_epsilon", epsilon=0.01),
)
class EpsilonMissing(DropBlock):
    def ratio(self, mask: Mask, axes: Shape, /) -> Scale:
        kept = np.asarray(np.count_nonzero(mask, axis=axes, keepdims=True))
        count = np.prod([mask.shape[axis] for axis in axes])
        return np.where(kept == 0, 0.0, count / np.maximum(kept, 1))


@verdict_bugs.plant(
    "drop_prob is read as keep_prob, in evaluation as well as in training",
    f"{RATES} zero_drop_prob_identity evaluation_gradient gradient",
    first="zero_drop_prob_identity map_rate",
    at=Case(drop_prob=0.2),
)
class KeepProbIsAsked(DropBlock):
    def check_probability(self, drop_prob: Any, /) -> float:
        return 1 - super().check_probability(drop_prob)


@verdict_bugs.plant(
    "the layouts are swapped: NHWC is taken for NCHW",
    ANSWERS,
    first="supported_input legal_blocks channel_sharing evaluation_identity",
    data_format="channels_last",
)
class LayoutsSwapped(DropBlock):
    def to_maps(self, x: Array, /) -> Array:
        return x

    def from_maps(self, maps: Array, /) -> Array:
        return maps
