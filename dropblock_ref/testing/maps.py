"""The maps that checks try; each check takes those that the backend supports.

They are as small as the property allows, and only the checks about non-square maps, even or per-axis blocks use such
maps, so that a check that fails names the fault.
"""

from __future__ import annotations

from collections.abc import Sized

from .check import Map

ORDINARY = (Map((9, 9), 3), Map((12, 12), 5, 0.2), Map((5, 5, 5), 3), Map((7, 7, 7), 5, 0.3))
ANY_MAP = (ORDINARY, "ordinary map")
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
# Large enough that two independent draws are never the same; see distribution.coincidence_bound.
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
    Map((3, 4, 5), 3, 0.7),
    Map((5, 4, 3), 3, 0.7),
    Map((4, 3, 4), (2, 1, 3), 0.6),
)
# For many calls with few samples each.
SMALL = (Map((5, 5), 3, 0.8), Map((4, 4), 2, 0.8), Map((4, 4, 4), 3, 0.8))
BLOCK_OF_ONE = tuple(Map(shape, 1, p) for shape in ((6, 6), (3, 3, 3)) for p in (0.3, 0.02, 0.98))
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


def kinds(maps: Sized) -> str:
    """How many, in words."""
    return f"{len(maps)} kind{'s' * (len(maps) != 1)} of map"
