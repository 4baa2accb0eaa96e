"""The settings that checks try, and the property of each kind, by which others are found where these are not accepted.

They are as small as the property allows, and only the checks about non-square maps, even or per-axis blocks use such
maps, so that a check that fails names the fault.
"""

from __future__ import annotations

import math
from collections.abc import Sized

from ..convention import Convention
from ..theory import expected_drop_fraction
from .settings import Map, Needs

ORDINARY = (Map((9, 9), 3), Map((12, 12), 5, 0.2), Map((5, 5, 5), 3), Map((7, 7, 7), 5, 0.3))
NON_SQUARE = (
    Map((5, 11), 3),
    Map((11, 5), 3),
    Map((4, 9), 3, 0.2),
    Map((9, 4), 3, 0.2),
    Map((6, 10), 4, 0.3),
    Map((10, 6), 4, 0.3),
    Map((3, 5, 8), 3),
    Map((8, 5, 3), 3),
    Map((4, 8, 4), 3),
)
# Of the sizes and the drop_prob that networks use.
REALISTIC = (Map((28, 28), 7, 0.1), Map((14, 14), 7, 0.1), Map((8, 14, 14), 5, 0.1), Map((28, 28), 1, 0.1))
# Seeds so rare that random numbers of 11 bits, or float16's, have none or too many.
SELDOM = (Map((32, 32), 1, 1.5 * 2.0**-11),)
# And so rare that random numbers of 16 bits have none, or too many.
RAREST = (Map((264, 256), 1, 2.0**-18),)
# Whose gamma is not that of another map of as many cells, 14x14.
NON_SQUARE_RATE = (Map((7, 28), 7, 0.1),)
# Where gamma takes another way: large blocks, other maps, a rare or a frequent drop; judged more coarsely.
FURTHER_RATES = (
    Map((14, 14), 9, 0.1),
    Map((20, 20), 7, 0.1),
    Map((40, 40), 13, 0.1),
    Map((14, 14), 3, 0.005),
    Map((14, 14), (3, 7), 0.1),
    Map((12, 12), 3, 0.95),
    Map((8, 10, 12), 5, 0.1),
    Map((6, 6, 6), 3, 0.95),
    Map((56, 56), 7, 0.005),
    Map((10, 20, 20), 5, 0.01),
    *SELDOM,
)
EVEN = (
    Map((8, 8), 2),
    Map((9, 9), 4, 0.3),
    Map((13, 13), 6, 0.3),
    Map((5, 5, 5), 2),
    Map((6, 6, 6), 4, 0.3),
)
PER_AXIS = (
    Map((9, 9), (1, 3)),
    Map((9, 9), (5, 3), 0.3),
    Map((9, 9), (2, 3)),
    Map((9, 9), (3, 4), 0.3),
    Map((5, 5, 5), (1, 3, 5)),
    Map((6, 6, 6), (3, 1, 2)),
    Map((6, 6, 6), (2, 4, 3), 0.3),
)
# Large enough that two independent draws are never the same; see judge.Law.coincidence.
LARGE = (Map((18, 18), 3), Map((7, 7, 7), 3))
# About 69,000 kept cells of 135,000.
MANY_CELLS = (Map((264, 256), 3), Map((40, 42, 40), 3))
# For the rate of every single cell: few cells, none of which drops rarely.
DESIGNED = (Map((5, 5), 3, 0.8), Map((4, 4, 4), 3, 0.8))
DESIGNED_FURTHER = (
    Map((4, 7), 3, 0.7),
    Map((7, 4), 3, 0.7),
    Map((5, 5), 2, 0.4),
    Map((6, 5), (3, 2), 0.6),
    Map((7, 7), (1, 5), 0.4),
    Map((1, 12), (1, 3), 0.5),
    Map((12, 1), (3, 1), 0.5),
    Map((3, 4, 5), 3, 0.7),
    Map((5, 4, 3), 3, 0.7),
    Map((4, 3, 4), (2, 1, 3), 0.6),
)
BLOCK_OF_ONE = tuple(Map(shape, 1, p) for shape in ((6, 6), (3, 3, 3)) for p in (0.3, 0.02, 0.995))
BLOCK_OF_MAP_SIZE = (Map((5, 5), 5, 0.3), Map((4, 4), 4, 0.3), Map((3, 3, 3), 3, 0.3), Map((2, 2, 2), 2, 0.3))
ONE_CELL = (Map((1, 1), 1, 0.3), Map((1, 1, 1), 1, 0.3))
OVERSIZE = (
    Map((5, 5), 6, 0.3),
    Map((5, 5), 7, 0.3),
    Map((5, 5), 8, 0.3),
    Map((4, 7), 6, 0.3),
    Map((7, 5), 6, 0.3),
    Map((3, 3, 3), 5, 0.3),
    Map((3, 4, 5), 4, 0.3),
)
DROP_PROB_ONE = (
    Map((6, 6), 1, 1.0),
    Map((5, 5), 5, 1.0),
    Map((7, 7), 3, 1.0),
    Map((3, 3, 3), 3, 1.0),
    Map((5, 5, 5), 3, 1.0),
)
ALL_DROPPED = (Map((6, 6), 1, 1.0), Map((3, 3, 3), 3, 1.0))


def _drops(one: Map, rules: Convention) -> bool:
    """Often enough that a batch shows it, and not everything."""
    f = expected_drop_fraction(one.drop_prob, one.block_size, one.spatial_shape, convention=rules)
    return 1e-3 <= f <= 0.98


def _small(one: Map, rules: Convention) -> bool:
    return math.prod(one.spatial_shape) <= 28 * 28 and _drops(one, rules)


def _oblong(one: Map, rules: Convention) -> bool:
    return len(set(one.spatial_shape)) > 1 and _drops(one, rules)


def _even(one: Map, _: Convention) -> bool:
    return any(b % 2 == 0 for b in one.sides)


def _per_axis(one: Map, rules: Convention) -> bool:
    return isinstance(one.block_size, tuple) and len(set(one.block_size)) > 1 and _drops(one, rules)


def _block_of_one(one: Map, rules: Convention) -> bool:
    return all(b == 1 for b in one.sides) and math.prod(one.spatial_shape) > 1 and _small(one, rules)


def _block_of_map_size(one: Map, rules: Convention) -> bool:
    return one.sides == one.spatial_shape and max(one.sides) > 1 and _small(one, rules)


def _one_cell(one: Map, rules: Convention) -> bool:
    return math.prod(one.spatial_shape) == 1 and _drops(one, rules)


def _oversize(one: Map, _: Convention) -> bool:
    return math.prod(one.spatial_shape) <= 100 and any(b > S for b, S in zip(one.sides, one.spatial_shape, strict=True))


def _drop_prob_one(one: Map, _: Convention) -> bool:
    return one.drop_prob == 1 and math.prod(one.spatial_shape) <= 200


def _drops_all(one: Map, rules: Convention) -> bool:
    everything = expected_drop_fraction(one.drop_prob, one.block_size, one.spatial_shape, convention=rules) == 1
    return one.drop_prob == 1 and math.prod(one.spatial_shape) <= 28 * 28 and everything


def _many_cells(one: Map, _: Convention) -> bool:
    return 2**16 <= math.prod(one.spatial_shape) <= 2**17


ANY_SETTING = Needs("setting that was tried", ORDINARY)
ANY_MAP = Needs("setting that drops between 0.1 % and 98 %", ORDINARY, _drops)
NON_SQUARE_MAP = Needs("non-square map", NON_SQUARE, _oblong)
EVEN_BLOCK = Needs("even block", EVEN, _even)
EVEN_BLOCK_REFUSED = Needs("even block", EVEN, _even, refused=True)
PER_AXIS_BLOCK = Needs("block with a size per axis", PER_AXIS, _per_axis)
ONE_CELL_BLOCK = Needs("block of one cell", BLOCK_OF_ONE, _block_of_one)
MAP_SIZED_BLOCK = Needs("block of the map's size", BLOCK_OF_MAP_SIZE, _block_of_map_size)
ONE_CELL_MAP = Needs("map of one cell", ONE_CELL, _one_cell)
OVERSIZE_BLOCK = Needs("block larger than the map", OVERSIZE, _oversize, refused=True)
PROBABILITY_ONE = Needs("drop_prob of 1", DROP_PROB_ONE, _drop_prob_one)
DROPS_ALL = Needs("drop_prob of 1 that drops every cell", ALL_DROPPED, _drops_all, most=1)
LARGE_MAP = Needs("setting that drops between 0.1 % and 98 %", LARGE, _drops, most=1)
REALISTIC_MAP = Needs("setting that drops between 0.1 % and 98 %", REALISTIC, _drops, most=1, own=True)
DESIGNED_MAP = Needs("map of at most 784 cells", (*DESIGNED, *DESIGNED_FURTHER), _small, most=1)
HUGE_MAP = Needs("map of some 70,000 cells", MANY_CELLS, _many_cells, most=1)
REPLAYED = Needs("setting that drops between 0.1 % and 98 %", (*ORDINARY, *NON_SQUARE, *EVEN, *PER_AXIS), _drops)


def kinds(maps: Sized) -> str:
    """How many, in words."""
    return f"{len(maps)} kind{'s' * (len(maps) != 1)} of map"
