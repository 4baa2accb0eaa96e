"""Small maps, and all the sets of seeds that can be drawn on them: what the exact theory is compared with.

Blocks, eligible cells and counts come from tests/brute_force.py, which is written without the package.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dropblock_ref import CONVENTIONS, PAPER, Convention
from tests import brute_force

Shape = tuple[int, ...]
Floats = NDArray[np.float64]

MOST_SEEDS = 13
# Odd, even, per-axis, as large as the map, larger than it on one axis or on all.
MAPS: tuple[tuple[Shape, int | Shape], ...] = (
    ((1, 1), 1),
    ((1, 13), 3),
    ((2, 6), 2),
    ((3, 4), 1),
    ((3, 4), 2),
    ((3, 4), 3),
    ((4, 3), (2, 3)),
    ((3, 4), (1, 4)),
    ((3, 4), 4),
    ((4, 3), 3),
    ((3, 4), (1, 3)),
    ((2, 3), 5),
    ((3, 3), 8),
    ((5, 5), 3),
    ((6, 4), (3, 2)),
    ((5, 6), 4),
    ((7, 7), 7),
    ((4, 9), (3, 5)),
    ((1, 1, 1), 1),
    ((2, 2, 3), 2),
    ((2, 2, 3), 3),
    ((2, 3, 2), (1, 3, 2)),
    ((1, 2, 3), 7),
    ((4, 4, 4), 3),
    ((3, 3, 4), (3, 1, 2)),
    ((3, 4, 3), 2),
)
OWN = (
    replace(PAPER, name="after", even_extra_cell="after"),
    replace(PAPER, name="last_axis_fitting", gamma_rule="last_axis", oversize_block="clip_to_smallest_axis"),
    replace(CONVENTIONS["timm"], name="calibrated_everywhere", gamma_rule="calibrated", even_extra_cell="after"),
    replace(PAPER, name="odd_everywhere", seed_region="everywhere", even_extra_cell="refused"),
)
RULES = (*CONVENTIONS.values(), *OWN)


@dataclass(frozen=True)
class Case:
    rules: Convention
    spatial_shape: Shape
    block_size: int | Shape

    def __str__(self) -> str:
        return f"{self.rules.name}-{'x'.join(map(str, self.spatial_shape))}-{self.block_size}"

    @property
    def where(self) -> dict[str, Any]:
        return {"block_size": self.block_size, "spatial_shape": self.spatial_shape, "convention": self.rules}


def accepted(case: Case) -> bool:
    """Whether the convention accepts the block, judged here and not by the package."""
    block = brute_force.sides(case.block_size, case.spatial_shape, case.rules)
    if case.rules.oversize_block == "refused" and any(b > S for b, S in zip(block, case.spatial_shape, strict=True)):
        return False
    return case.rules.even_extra_cell != "refused" or all(b % 2 for b in block)


ACCEPTED = [case for case in (Case(rules, *one) for rules in RULES for one in MAPS) if accepted(case)]
SMALL = [
    case
    for case in ACCEPTED
    if len(brute_force.eligible_cells(case.block_size, case.spatial_shape, case.rules)) <= MOST_SEEDS
]


@cache
def covers(case: Case) -> NDArray[np.bool_]:
    """(seeds, cells): whether the block of an eligible seed covers a cell."""
    block = brute_force.sides(case.block_size, case.spatial_shape, case.rules)
    cells = brute_force.cells_of(case.spatial_shape)
    seeds = brute_force.eligible_cells(case.block_size, case.spatial_shape, case.rules)
    table = np.zeros((len(seeds), len(cells)), dtype=np.bool_)
    for number, seed in enumerate(seeds):
        for cell in brute_force.block_cells(seed, block, case.rules):
            if brute_force.lies_in(cell, case.spatial_shape):
                table[number, cells.index(cell)] = True
    return table


@cache
def configurations(case: Case) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For all seed configurations: how many seeds, and (configurations, cells) which cells are dropped."""
    seeds = len(covers(case))
    drawn = (np.arange(2**seeds)[:, None] >> np.arange(seeds)) & 1
    return drawn.sum(axis=1), drawn @ covers(case).astype(np.int64) > 0


def weights(case: Case, gamma: float) -> Floats:
    """The probability of every seed configuration."""
    drawn, _ = configurations(case)
    probabilities: Floats = gamma**drawn * (1 - gamma) ** (len(covers(case)) - drawn)
    return probabilities
