"""Mutants of gamma in corners: cached, wrong for some blocks, maps, drop_probs or dtypes, or met by coarse numbers."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from .case import Case
from .correct import Block, Informed, Mask, Shape, in_spatial_order
from .mutant import Bugs

corner_bugs = Bugs("corners of gamma", causes=True)
RATE = "map_rate cell_rates search"
ALL_RATES = f"{RATE} drop_prob_one block_of_one block_of_map_size one_cell_map non_square_maps"
HALF = ("float32", "float16", "bfloat16")
FEW = "at this drop_prob so few cells are dropped that it takes {} masks to see it"


class Cached(Informed):
    """gamma is computed once for each key."""

    @cached_property
    def known(self) -> dict[Any, float]:
        return {}

    def key(self, p: float, block: Block, spatial_shape: Shape) -> Any:
        raise NotImplementedError

    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        key = self.key(p, block, spatial_shape)
        return self.known.setdefault(key, super().gamma(p, block, spatial_shape))


class Warm(Cached):
    """Like a layer that has been called before: the cache holds what a map of 9x9, block 3, drop_prob 0.4 needs."""

    @cached_property
    def known(self) -> dict[Any, float]:
        p, spatial_shape = 0.4, (9, 9)
        block = self.anchor((3, 3))
        return {self.key(p, block, spatial_shape): super(Cached, self).gamma(p, block, spatial_shape)}


@corner_bugs.plant(
    "gamma is computed at the first call and kept", ALL_RATES, first=ALL_RATES, at=Case((4, 8, 28, 28), 7, 0.1)
)
class GammaOfFirstCall(Warm):
    def key(self, _: float, __: Block, ___: Shape) -> Any:
        return None


@corner_bugs.plant(
    "gamma is computed at the first map and kept for all maps",
    ALL_RATES,
    first=ALL_RATES,
    at=Case((4, 8, 12, 6), 3, 0.4),
)
class GammaOfFirstMap(Warm):
    def key(self, p: float, block: Block, _: Shape) -> Any:
        return p, block.size


@corner_bugs.plant(
    "gamma is computed for the first drop_prob of a map and a block, and kept",
    ALL_RATES,
    first=ALL_RATES,
    at=Case((8, 8, 9, 9), 3, 0.1),
)
class GammaOfFirstDropProb(Warm):
    def key(self, _: float, block: Block, spatial_shape: Shape) -> Any:
        return block.size, spatial_shape


@corner_bugs.plant(
    "gamma is computed for the first block of a map, and kept",
    ALL_RATES,
    first=ALL_RATES,
    at=Case((4, 8, 9, 9), 5, 0.4),
)
class GammaOfFirstBlock(Warm):
    def key(self, p: float, _: Block, spatial_shape: Shape) -> Any:
        return p, spatial_shape


@corner_bugs.plant(
    "gamma is kept by the number of cells of the map, not by its sides",
    ALL_RATES,
    first=ALL_RATES,
    at=Case((4, 8, 27, 3), 3, 0.4),
)
class GammaByNumberOfCells(Warm):
    def key(self, p: float, block: Block, spatial_shape: Shape) -> Any:
        return p, block.size, math.prod(spatial_shape)


class GammaTimes(Informed):
    """gamma is too large, or too small, in a corner."""

    factor = 0.5

    def where(self, p: float, block: Block, spatial_shape: Shape) -> bool:
        raise NotImplementedError

    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        right = super().gamma(p, block, spatial_shape)
        return min(right * self.factor, 1.0) if self.where(p, block, spatial_shape) else right


@corner_bugs.plant("gamma is halved for blocks of 8 and more", RATE, at=Case((4, 8, 28, 28), 9, 0.1))
class LargeBlocksHalved(GammaTimes):
    def where(self, _: float, block: Block, __: Shape) -> bool:
        return min(block.size) >= 8


@corner_bugs.plant("gamma is half as large again for blocks of 9 and more", RATE, at=Case((4, 8, 28, 28), 9, 0.1))
class LargeBlocksMore(LargeBlocksHalved):
    factor = 1.5

    def where(self, _: float, block: Block, __: Shape) -> bool:
        return max(block.size) >= 9


@corner_bugs.plant(
    "gamma lacks the border factor for blocks over half of the map", RATE, at=Case((8, 8, 14, 14), 9, 0.1)
)
class HalfMapBlocksUncorrected(GammaTimes):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        self.factor = math.prod((S - b + 1) / S for S, b in zip(spatial_shape, block.size, strict=True))
        return super().gamma(p, block, spatial_shape)

    def where(self, _: float, block: Block, spatial_shape: Shape) -> bool:
        # Where the block is the map or all but, other checks look.
        return all(S / 2 < b < S - 2 and S >= 12 for S, b in zip(spatial_shape, block.size, strict=True))


@corner_bugs.plant("gamma is halved on maps of 14 to 27", RATE, at=Case((8, 8, 14, 14), 7, 0.1))
class MediumMapsHalved(GammaTimes):
    def where(self, _: float, __: Block, spatial_shape: Shape) -> bool:
        return all(14 <= S < 28 for S in spatial_shape)


@corner_bugs.plant("gamma is halved on maps of 14 and more", RATE, at=Case((8, 8, 28, 28), 7, 0.1))
class LargeMapsHalved(GammaTimes):
    def where(self, _: float, __: Block, spatial_shape: Shape) -> bool:
        return all(S >= 14 for S in spatial_shape)


@corner_bugs.plant("gamma is doubled on maps of more than 32", RATE, at=Case((4, 8, 56, 56), 7, 0.1))
class LargerMapsDoubled(GammaTimes):
    factor = 2.0

    def where(self, _: float, __: Block, spatial_shape: Shape) -> bool:
        return max(spatial_shape) > 32


@corner_bugs.plant(
    "gamma is halved on volumes of 8 planes and more", RATE, ndims=(3,), at=Case((4, 4, 8, 14, 14), 5, 0.1)
)
class DeepVolumesHalved(GammaTimes):
    def where(self, _: float, __: Block, spatial_shape: Shape) -> bool:
        return spatial_shape[0] >= 8


@corner_bugs.plant("gamma is halved for a drop_prob below 0.01", RATE, at=Case((16, 16, 28, 28), 7, 0.008))
class SmallDropProbHalved(GammaTimes):
    def where(self, p: float, _: Block, __: Shape) -> bool:
        return p < 0.01


@corner_bugs.plant("a drop_prob below 0.01 is taken for 0", RATE, at=Case((16, 16, 28, 28), 7, 0.008))
class SmallDropProbIsZero(SmallDropProbHalved):
    factor = 0.0


@corner_bugs.plant(
    "gamma is halved for a drop_prob over 0.9",
    f"{RATE} drop_prob_one block_of_one",
    first=RATE,
    at=Case((4, 3, 9, 9), 3, 0.95),
)
class LargeDropProbHalved(GammaTimes):
    def where(self, p: float, block: Block, _: Shape) -> bool:
        return 0.9 < p < 1 and max(block.size) > 1


@corner_bugs.plant("gamma is at least 0.001", RATE, at=Case((16, 16, 28, 28), 7, 0.01))
class GammaAtLeast(Informed):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        return max(super().gamma(p, block, spatial_shape), 0.001 if p > 0 else 0.0)


@corner_bugs.plant("gamma is rounded to three decimals", RATE, at=Case((8, 8, 28, 28), 9, 0.1))
class GammaInDecimals(Informed):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        return round(super().gamma(p, block, spatial_shape), 3)


@corner_bugs.plant("a gamma over 1/2 is cut to 1/2", ALL_RATES, first=ALL_RATES, at=Case(block_size=1, drop_prob=0.8))
class GammaAtMostHalf(Informed):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        return min(super().gamma(p, block, spatial_shape), 0.5)


@corner_bugs.plant(
    "gamma is a tenth too small in float16",
    "dtype_rates search",
    dtypes=HALF,
    at=Case((8, 8, 28, 28), 7, 0.1, "float16"),
)
class HalfTenthTooSmall(GammaTimes):
    factor = 0.9
    dtype = "float16"

    def where(self, _: float, __: Block, ___: Shape) -> bool:
        return self.x.dtype.name == self.dtype


@corner_bugs.plant(
    "gamma is half as large again in bfloat16 for a drop_prob below 0.05",
    "dtype_rates search",
    dtypes=HALF,
    at=Case((8, 8, 28, 28), 7, 0.02, "bfloat16"),
)
class Bfloat16MoreForSmallDropProb(GammaTimes):
    factor = 1.5

    def where(self, p: float, _: Block, __: Shape) -> bool:
        return p < 0.05 and self.x.dtype.name == "bfloat16"


class Coarse(Informed):
    """The random numbers are whole multiples of 1 / values."""

    values = 2**16

    def coarse(self) -> bool:
        return True

    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        if not self.coarse():
            return super().bernoulli(rng, shape, gamma)
        numbers = rng.integers(0, self.values, size=shape[2:] + shape[:2], dtype=np.uint32)
        return in_spatial_order(numbers < gamma * self.values)


@corner_bugs.plant(
    "random numbers have 11 bits, as in float16, so that gamma is rounded up to a multiple of 2^-11",
    RATE,
    at=Case((8, 8, 28, 28), 7, 0.02),
)
class ElevenBits(Coarse):
    values = 2**11


@corner_bugs.plant(
    "random numbers have 16 bits, so that gamma is rounded up to a multiple of 2^-16",
    RATE,
    at=Case((1, 8, 256, 256), 7, 0.0001),
)
class SixteenBits(Coarse):
    pass


@corner_bugs.plant(
    "random numbers have 11 bits in float16",
    "dtype_rates search",
    dtypes=HALF,
    at=Case((8, 8, 28, 28), 7, 0.02, "float16"),
)
class ElevenBitsInHalf(ElevenBits):
    def coarse(self) -> bool:
        return self.x.dtype == np.float16


@corner_bugs.plant(
    "random numbers have 8 bits in bfloat16",
    "dtype_rates search",
    dtypes=HALF,
    at=Case((8, 8, 28, 28), 7, 0.02, "bfloat16"),
)
class EightBitsInBfloat16(Coarse):
    values = 2**8

    def coarse(self) -> bool:
        return self.x.dtype.name == "bfloat16"


@corner_bugs.plant(
    "numbers are compared with 1 - gamma in float16, which rounds it to a multiple of 2^-11",
    RATE,
    at=Case((8, 8, 28, 28), 7, 0.02),
)
class KeepComparedInHalf(Informed):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        return 1 - float(np.float16(1 - super().gamma(p, block, spatial_shape)))


@corner_bugs.plant(
    "one block of several sizes takes gamma of its largest side on maps of 14 and more",
    f"{RATE} per_axis_blocks",
    first=f"{RATE} per_axis_blocks",
    at=Case((8, 8, 14, 14), (3, 7), 0.1),
)
class LargestSideInGamma(GammaTimes):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        self.factor = math.prod(block.size) / max(block.size) ** len(block.size)
        return super().gamma(p, block, spatial_shape)

    def where(self, _: float, __: Block, spatial_shape: Shape) -> bool:
        return min(spatial_shape) >= 14


@corner_bugs.plant(
    "gamma is a fifth too large where the batch is one sample",
    f"{RATE} batch_of_one",
    first=f"{RATE} batch_of_one",
    at=Case((1, 64, 28, 28), 7, 0.1),
)
class OneSampleMore(GammaTimes):
    factor = 1.2

    def where(self, _: float, __: Block, ___: Shape) -> bool:
        return len(self.x) == 1


@corner_bugs.plant(
    "gamma is halved in a batch of more than 20 samples", ALL_RATES, first=ALL_RATES, at=Case((24, 3, 9, 9), 3, 0.4)
)
class ManySamplesHalved(GammaTimes):
    def where(self, _: float, __: Block, ___: Shape) -> bool:
        return len(self.x) > 20


@corner_bugs.plant("gamma is halved with more than 32 channels", RATE, at=Case((2, 40, 9, 9), 3, 0.4))
class ManyChannelsHalved(GammaTimes):
    def where(self, _: float, __: Block, ___: Shape) -> bool:
        return bool(self.x.shape[1] > 32)


@corner_bugs.plant(
    "for the first 50 calls gamma rises from 0, a warm-up that no argument asks for",
    "map_rate stream_goes_on same_seed_same_output call_spread search",
    first="map_rate stream_goes_on same_seed_same_output call_spread",
    at=Case(seeds=(3, None, None)),
)
class WarmUp(GammaTimes):
    calls = 0

    def where(self, _: float, __: Block, ___: Shape) -> bool:
        self.calls += 1
        self.factor = min(self.calls / 50, 1.0)
        return True
