"""Mutants whose rates are right and whose counts are not: too regular, or too irregular, over calls or in a batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .case import Case
from .correct import DropBlock, Mask, Shape, in_spatial_order
from .mutant import Bugs

regularity_bugs = Bugs("regularity", causes=True)
PAIRED = "call_spread sample_independence distant_cells channel_independence overlapping_cells"
# In a batch so drawn cells are dropped more or less often than they must be, too.
COUNTS = f"{PAIRED} map_rate cell_rates drop_prob_one block_of_one block_of_map_size one_cell_map"
PAIRS = "call_spread call_independence"


def cells_first(shape: Shape) -> Shape:
    """The shape that in_spatial_order turns into `shape`."""
    return shape[2:] + shape[:2]


@regularity_bugs.plant("the number of seeds of a batch is fixed", COUNTS, first=COUNTS, at=Case())
class FixedNumberPerBatch(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        size = math.prod(shape)
        chosen = rng.choice(size, math.floor(size * gamma + rng.random()), replace=False, shuffle=False)
        seeds = np.zeros(size, dtype=np.bool_)
        seeds[chosen] = True
        return in_spatial_order(seeds.reshape(cells_first(shape)))


@regularity_bugs.plant(
    "the number of seeds of a sample, over its channels, is fixed", COUNTS, first=COUNTS, at=Case((4, 16, 9, 9))
)
class FixedNumberPerSample(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        size = math.prod(shape[1:])
        order = rng.random((shape[0], size)).argsort(axis=1).argsort(axis=1)
        number = np.floor(size * gamma + rng.random((shape[0], 1)))
        return (order < number).reshape(shape)


@regularity_bugs.plant(
    "of every 1 / gamma cells in a row exactly one is a seed: stratified", COUNTS, first=COUNTS, at=Case()
)
class Stratified(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        size = math.prod(shape)
        if gamma <= 0 or gamma > 0.5:
            return super().bernoulli(rng, shape, gamma)
        strata = math.ceil(size * gamma) + 1
        start = rng.random()
        places = np.floor((np.arange(strata) - start + rng.random(strata)) / gamma).astype(np.int64)
        seeds = np.zeros(size, dtype=np.bool_)
        seeds[places[(places >= 0) & (places < size)]] = True
        return in_spatial_order(seeds.reshape(cells_first(shape)))


@regularity_bugs.plant(
    "every cell of every channel is a seed in the same number of samples", COUNTS, first=COUNTS, at=Case((16, 2, 9, 9))
)
class BalancedOverBatch(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        order = rng.random(shape).argsort(axis=0).argsort(axis=0)
        number = np.floor(shape[0] * gamma + rng.random((1, *shape[1:])))
        seeds: Mask = order < number
        return seeds


@regularity_bugs.plant(
    "the samples take steps of the golden ratio, a sequence of low discrepancy",
    f"{COUNTS} repeated_draws",
    first=f"{COUNTS} repeated_draws",
    at=Case((16, 2, 9, 9)),
)
class LowDiscrepancy(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        steps = np.arange(shape[0]) * ((math.sqrt(5) - 1) / 2)
        numbers = (rng.random((1, *shape[1:])) + steps.reshape(-1, *[1] * (len(shape) - 1))) % 1
        seeds: Mask = numbers < gamma
        return seeds


@regularity_bugs.plant(
    "every second call has the random numbers of the one before, taken from 1",
    PAIRS,
    first="call_independence call_spread",
    at=Case(seeds=(3, None)),
)
class CallsAntithetic(DropBlock):
    second = False
    state: Any = None

    def generator(self, seed: int | None, /) -> np.random.Generator:
        rng = super().generator(seed)
        self.second = seed is None and self.state is not None and not self.second
        if self.second:
            rng.bit_generator.state = self.state
        else:
            self.state = rng.bit_generator.state
        return rng

    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        numbers = rng.random(cells_first(shape))
        return in_spatial_order((1 - numbers if self.second else numbers) < gamma)


@regularity_bugs.plant(
    "the seeds that are missing in one call to the expected number come in the next",
    PAIRS,
    first="call_independence call_spread",
    costly="a correlation of -0.5 of successive counts takes 190 calls to show",
    at=Case(seeds=(3, None, None)),
)
class CountsMadeUpFor(DropBlock):
    missing = 0.0

    def generator(self, seed: int | None, /) -> np.random.Generator:
        self.missing = self.missing if seed is None else 0.0
        return super().generator(seed)

    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        size = max(math.prod(shape), 1)
        seeds = super().bernoulli(rng, shape, min(max(gamma + self.missing / size, 0.0), 1.0))
        self.missing += size * gamma - np.count_nonzero(seeds)
        return seeds


@regularity_bugs.plant(
    "gamma differs from call to call, by up to a half", COUNTS, first=COUNTS, at=Case(seeds=(3, None))
)
class GammaOfCallVaries(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        spread = min(0.5, 1 / gamma - 1) if gamma else 0.0
        return super().bernoulli(rng, shape, gamma * rng.uniform(1 - spread, 1 + spread))


@regularity_bugs.plant("gamma differs from mask to mask, by up to a half", COUNTS, first=COUNTS, at=Case())
class GammaOfMaskVaries(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        spread = min(0.5, 1 / gamma - 1) if gamma else 0.0
        each = gamma * rng.uniform(1 - spread, 1 + spread, shape[:2])
        return in_spatial_order(rng.random(cells_first(shape)) < each)
