"""Mutants of scalars: what kind of number drop_prob and block_size are changes what they mean."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from .case import Case
from .correct import DropBlock, Informed, Shape
from .mutant import Bugs

scalar_bugs = Bugs("scalars", causes=True)
BAD = "bad_arguments search"


@scalar_bugs.plant(
    "a NumPy float as drop_prob is taken for no drop_prob, and becomes 0.5",
    "map_rate search scalar_types",
    first="map_rate search scalar_types",
    at=Case((4, 8, 28, 28), 7, np.float64(0.1)),
)
class NumpyDropProbIsDefault(DropBlock):
    def check_probability(self, drop_prob: Any, /) -> float:
        return super().check_probability(0.5 if isinstance(drop_prob, np.floating) else drop_prob)


@scalar_bugs.plant(
    "a NumPy float as drop_prob is refused", "scalar_types", reported=True, at=Case(drop_prob=np.float64(0.4))
)
class NumpyDropProbRefused(DropBlock):
    def check_probability(self, drop_prob: Any, /) -> float:
        if isinstance(drop_prob, np.floating):
            raise TypeError("drop_prob must be a float")
        return super().check_probability(drop_prob)


@scalar_bugs.plant(
    "a NumPy integer as block_size is refused", "scalar_types", reported=True, at=Case(block_size=np.int64(3))
)
class NumpyBlockRefused(DropBlock):
    def check_block(self, block_size: Any, ndim: int, /) -> Shape:
        if isinstance(block_size, np.integer):
            raise TypeError("block_size must be an int")
        return super().check_block(block_size, ndim)


@scalar_bugs.plant(
    "a NumPy integer as block_size is a block of one column",
    "legal_blocks per_axis_blocks search scalar_types",
    first="legal_blocks per_axis_blocks search scalar_types",
    at=Case(block_size=np.int64(3)),
)
class NumpyBlockOnOneAxis(DropBlock):
    def check_block(self, block_size: Any, ndim: int, /) -> Shape:
        if isinstance(block_size, np.integer):
            block_size = (int(block_size), *(1,) * (ndim - 1))
        return super().check_block(block_size, ndim)


@scalar_bugs.plant(
    "the int 1 as drop_prob is refused, as if it were True",
    "drop_prob_one search scalar_types",
    first="drop_prob_one search scalar_types",
    reported=True,
    at=Case(drop_prob=1),
)
class IntegerOneRefused(DropBlock):
    def check_probability(self, drop_prob: Any, /) -> float:
        if isinstance(drop_prob, Integral):
            raise TypeError("drop_prob must be a float")
        return super().check_probability(drop_prob)


@scalar_bugs.plant(
    "the int 1 as drop_prob is one per cent",
    "drop_prob_one search map_rate scalar_types",
    first="drop_prob_one search map_rate scalar_types",
    at=Case(drop_prob=1),
)
class IntegerOneIsPercent(DropBlock):
    def check_probability(self, drop_prob: Any, /) -> float:
        return super().check_probability(
            drop_prob / 100 if isinstance(drop_prob, Integral) and not isinstance(drop_prob, bool) else drop_prob
        )


@scalar_bugs.plant(
    "the int 0 as drop_prob is taken for none given, and becomes 0.1",
    "scalar_types zero_drop_prob_identity search",
    at=Case(drop_prob=0),
)
class IntegerZeroIsDefault(DropBlock):
    def check_probability(self, drop_prob: Any, /) -> float:
        return super().check_probability(0.1 if isinstance(drop_prob, Integral) and drop_prob == 0 else drop_prob)


@scalar_bugs.plant("a block_size of 2.5 is cut to 2", BAD, reported=True, at=Case(block_size=2.5))
class BlockTruncated(DropBlock):
    def check_block(self, block_size: Any, ndim: int, /) -> Shape:
        return super().check_block(int(block_size) if isinstance(block_size, float) else block_size, ndim)


@scalar_bugs.plant("a drop_prob of 10 is taken for 10 per cent", BAD, reported=True, at=Case(drop_prob=10))
class DropProbInPercent(DropBlock):
    def check_probability(self, drop_prob: Any, /) -> float:
        return super().check_probability(drop_prob / 100 if drop_prob > 1 else drop_prob)


@scalar_bugs.plant(
    "drop_prob is rounded to two decimals",
    "map_rate cell_rates block_of_one search",
    first="map_rate cell_rates block_of_one search",
    at=Case((4, 8, 28, 28), 7, 0.125),
)
class DropProbInPercentSteps(Informed):
    def check_probability(self, drop_prob: Any, /) -> float:
        return round(super().check_probability(drop_prob), 2)


@scalar_bugs.plant(
    "a block_size per axis given as a list is taken in reverse",
    "per_axis_blocks search scalar_types",
    first="per_axis_blocks search scalar_types",
    at=Case(block_size=[1, 3]),
)
class ListReversed(DropBlock):
    def check_block(self, block_size: Any, ndim: int, /) -> Shape:
        return super().check_block(block_size[::-1] if isinstance(block_size, list) else block_size, ndim)
