"""Mutants of eq. (1): gamma, the probability that an eligible cell is a seed, is wrong."""

from __future__ import annotations

import math

from .correct import Block, DropBlock, Shape
from .mutant import Bugs

gamma_bugs = Bugs("gamma")
RATES = "map_rate cell_rates"


@gamma_bugs.plant("gamma lacks the border factor prod(S / (S - b + 1)) of eq. (1)", RATES)
class NoBorderFactor(DropBlock):
    def gamma(self, p: float, block: Block, _: Shape, /) -> float:
        return p / math.prod(block.size)


@gamma_bugs.plant("the border factor is used although the convention has none", RATES, convention="dropblock")
class UnwantedBorderFactor(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        factor = math.prod(S / max(S - b + 1, 1) for S, b in zip(spatial_shape, block.size, strict=True))
        return super().gamma(p, block, spatial_shape) * factor


@gamma_bugs.plant("the border factor is forgotten where every cell is eligible", RATES, convention="timm")
class NoBorderFactorShared(NoBorderFactor):
    pass


@gamma_bugs.plant("keep_prob stands in the place of drop_prob", RATES)
class KeepProbForDropProb(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        return super().gamma(1 - p, block, spatial_shape)


@gamma_bugs.plant(
    "keep_prob stands in the place of drop_prob", RATES, ndims=(3,), data_format="channels_last", convention="tpu"
)
class KeepProbForDropProbVolumes(KeepProbForDropProb):
    pass


@gamma_bugs.plant(
    "the border factor of the last axis is used for every axis, wrong on non-square maps", f"{RATES} non_square_maps"
)
class LastAxisForAll(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        # A block longer than the last axis has no such factor.
        if max(block.size) > spatial_shape[-1]:
            return p / math.prod(block.size)
        return super().gamma(p, block, (spatial_shape[-1],) * len(spatial_shape))


@gamma_bugs.plant("the border factor of the depth is forgotten", RATES, ndims=(3,), data_format="channels_last")
class NoBorderFactorInDepth(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        return super().gamma(p, block, spatial_shape) * (spatial_shape[0] - block.size[0] + 1) / spatial_shape[0]


@gamma_bugs.plant("the block counts once, 1/b and not 1/b^d", RATES)
class BlockCountedOnce(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        return min(super().gamma(p, block, spatial_shape) * math.prod(block.size[1:]), 1.0)


@gamma_bugs.plant("volumes take 1/b^2, the number of maps, and not 1/b^3", RATES, ndims=(3,))
class VolumeTakenForMap(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        return min(super().gamma(p, block, spatial_shape) * block.size[0], 1.0)


@gamma_bugs.plant("the block counts twice, 1/b^(2d)", RATES)
class BlockCountedTwice(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        return super().gamma(p, block, spatial_shape) / math.prod(block.size)


@gamma_bugs.plant("drop_prob itself is taken for gamma", RATES)
class DropProbAsGamma(DropBlock):
    def gamma(self, p: float, _: Block, __: Shape, /) -> float:
        return p


@gamma_bugs.plant("gamma is 5 % too high", RATES)
class FivePercentHigh(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        return min(1.05 * super().gamma(p, block, spatial_shape), 1.0)


@gamma_bugs.plant("gamma is 5 % too low", RATES)
class FivePercentLow(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        return 0.95 * super().gamma(p, block, spatial_shape)


@gamma_bugs.plant("gamma is 5 % too low in volumes", RATES, ndims=(3,))
class FivePercentLowVolumes(FivePercentLow):
    pass


@gamma_bugs.plant("gamma is 5 % too high, masks shared over channels", RATES, convention="timm")
class FivePercentHighShared(FivePercentHigh):
    pass


@gamma_bugs.plant("the border factor is inverted, (S - b + 1) / S", RATES)
class BorderFactorInverted(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        factor = math.prod((S - b + 1) / S for S, b in zip(spatial_shape, block.size, strict=True))
        return p / math.prod(block.size) * factor


@gamma_bugs.plant("the border factor is S / (S - b), off by one", RATES)
class BorderFactorOffByOne(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        factor = math.prod(S / max(S - b, 1) for S, b in zip(spatial_shape, block.size, strict=True))
        return min(p / math.prod(block.size) * factor, 1.0)


@gamma_bugs.plant("the border factor is rounded down by an integer division", RATES)
class BorderFactorIntegerDivision(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        factor = math.prod(S // (S - b + 1) for S, b in zip(spatial_shape, block.size, strict=True))
        return p / math.prod(block.size) * factor


@gamma_bugs.plant(
    "1 - gamma is a float16, whose steps of 2^-11 are coarse beside gamma: it is truncated to them", RATES
)
class GammaInFloat16(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        steps = super().gamma(p, block, spatial_shape) * 2**11
        return math.floor(steps) / 2**11


@gamma_bugs.plant(
    "gamma is computed from the block before it is clipped to the map", "oversize_block map_rate", convention="tpu"
)
class GammaOfUnclippedBlock(DropBlock):
    def resolve_block(self, sides: Shape, spatial_shape: Shape, /) -> Block:
        self.asked = sides
        return super().resolve_block(sides, spatial_shape)

    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        return super().gamma(p, block, spatial_shape) * math.prod(block.size) / math.prod(self.asked)


@gamma_bugs.plant(
    "gamma takes the first side of a per-axis block for all",
    f"{RATES} per_axis_blocks",
)
class FirstSideInGamma(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        sides = (block.size[0],) * len(block.size)
        return min(super().gamma(p, block, spatial_shape) * math.prod(block.size) / math.prod(sides), 1.0)
