"""Given masks, compared with the exact probabilities: what is wrong, and what so many masks can detect.

Nothing is drawn here: the masks come from a backend's draws, or from files that another program wrote.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import check_block_size
from ..call import place_block
from ..convention import Convention
from ..coverage import covering
from ..stages import gamma
from ..theory import drop_probability
from .check import Map
from .statistics import SURE, binomial_detectable, binomial_p_values

_WRONG_RATE = 1e-6  # cells whose rate is off at this level, over all of a map, are not judged in pairs
_MASKS_AT_ONCE = 2**16  # counts below 2^24 are exact in float32


@dataclass(frozen=True)
class Verdict:
    """What a comparison says; `wrong` and `idle` are empty where nothing is wrong, and where it could be made."""

    detects: str  # the smallest error that it finds with probability 1 - MISS
    wrong: str = ""  # what, where, expected and seen
    idle: str = ""  # why nothing could be judged
    told: str = ""  # what else is to be said of it


@dataclass(frozen=True)
class Pairs:
    """How often the cells of many pairs were dropped together."""

    counts: NDArray[np.int64]
    draws: int
    expected: NDArray[np.float64]  # the probability of each pair
    judged: NDArray[np.bool_]
    name: Callable[[int], str]


def rates_of(one: Map, rules: Convention) -> NDArray[np.float64]:
    """P(u dropped) of every cell, in one row."""
    return drop_probability(one.drop_prob, one.block_size, one.spatial_shape, convention=rules).ravel()


def coincidence_bound(one: Map, rules: Convention, masks: int) -> float:
    """An upper bound of the probability that two independent draws of so many masks are the same.

    Cells that no seed covers together are independent; two draws agree on one with probability P^2 + (1 - P)^2.
    """
    dropped = _independent_cells(one, rules)
    return float(np.prod(dropped**2 + (1 - dropped) ** 2) ** masks)


def all_dropped_bound(one: Map, rules: Convention, masks: int) -> float:
    """An upper bound of the probability that so many masks drop everything."""
    return float(np.prod(_independent_cells(one, rules)) ** masks)


def _independent_cells(one: Map, rules: Convention) -> NDArray[np.float64]:
    """The drop probabilities of cells a block apart, which no seed covers together."""
    lattice = tuple(slice(None, None, size) for size in check_block_size(one.block_size, len(one.spatial_shape)))
    return rates_of(one, rules).reshape(one.spatial_shape)[lattice]


def joint_probability(one: Map, rules: Convention) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """P(u and v dropped), and n(u, v), for all pairs of cells of a small map."""
    block = place_block(one.block_size, one.spatial_shape, rules)
    positions = [np.indices((S, S)) for S in one.spatial_shape]
    both: NDArray[np.int64] = reduce(np.kron, [covering(block, axis, u, v) for axis, (u, v) in enumerate(positions)])
    n = np.diagonal(both)
    q = 1 - gamma(one.drop_prob, one.block_size, one.spatial_shape, convention=rules)
    return 1 - q ** n[:, None] - q**n + q ** (n[:, None] + n - both), both


def count_together(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.int64]:
    """In how many rows each column of one array and each of the other are both dropped."""
    counts = np.zeros((first.shape[1], second.shape[1]), dtype=np.int64)
    for start in range(0, len(first), _MASKS_AT_ONCE):
        a, b = (part[start : start + _MASKS_AT_ONCE].astype(np.float32, copy=False) for part in (first, second))
        counts += (a.T @ b).astype(np.int64)
    return counts


def judge_cells(one: Map, rules: Convention, counts: NDArray[np.int64], draws: int, budget: float) -> Verdict:
    """Whether every single cell is dropped as often as its exact probability says."""
    expected = np.minimum(rates_of(one, rules), SURE)
    p_values = binomial_p_values(counts, draws, expected)
    each = budget / counts.size
    error = binomial_detectable(draws, float(expected.min()), each)
    detects = f"{percent(error)} error of any cell's rate ({one})"
    if not (p_values <= each).any():
        return Verdict(detects)
    worst = _worst(p_values, counts / draws / expected)
    return Verdict(
        detects,
        f"cell {cell_of(worst, one)} must be dropped with probability {expected[worst]:.6f}, and is dropped in "
        f"{counts[worst]} of {draws} masks, {counts[worst] / draws:.6f} (p-value {p_values[worst]:.1e}; "
        f"{np.count_nonzero(p_values <= each)} of {counts.size} cells differ); rates seen / expected:\n"
        + _ratios(counts / draws / expected, one.spatial_shape),
    )


def judge_pairs(one: Map, pairs: Pairs, budget: float) -> Verdict:
    """Whether the cells of every pair are dropped together as often as they must be."""
    expected = np.minimum(pairs.expected, SURE)
    p_values = np.where(pairs.judged, binomial_p_values(pairs.counts, pairs.draws, expected), 1.0)
    each = budget / pairs.counts.size
    error = binomial_detectable(pairs.draws, float(expected.min()), each)
    detects = f"{percent(error)} error of any joint rate ({one})"
    if not pairs.judged.any():
        text = f"the cells themselves are not dropped as often as they must be, see cell_rates ({one})"
        return Verdict(detects, idle=text)
    if not (p_values <= each).any():
        return Verdict(detects)
    worst = _worst(p_values, pairs.counts / pairs.draws / expected)
    return Verdict(
        detects,
        f"{pairs.name(worst)} must be dropped together with probability {expected[worst]:.6f}, and are in "
        f"{pairs.counts[worst]} of {pairs.draws} draws, {pairs.counts[worst] / pairs.draws:.6f} (p-value "
        f"{p_values[worst]:.1e}; {np.count_nonzero(p_values <= each)} of {pairs.counts.size} pairs differ)",
    )


def judge_pairs_of_map(
    one: Map, rules: Convention, together: NDArray[np.int64], draws: int, budget: float, *, overlapping: bool
) -> Verdict:
    """Whether the cells of one map that one block can cover, or that none can, have their joint rates."""
    probability, both = joint_probability(one, rules)
    u, v = np.nonzero(np.triu((both > 0) == overlapping, k=1))
    right = rates_are_right(one, rules, np.diagonal(together), draws)

    def name(k: int) -> str:
        return f"cells {cell_of(u[k], one)} and {cell_of(v[k], one)} of one map"

    return judge_pairs(one, Pairs(together[u, v], draws, probability[u, v], right[u] & right[v], name), budget)


def judge_independence(
    one: Map, rules: Convention, first: NDArray[Any], second: NDArray[Any], budget: float, what: str
) -> Verdict:
    """Whether each mask of one group is independent of each of the other; both groups are (draws, masks, cells)."""
    draws, masks, cells = first.shape
    a, b = first.reshape(draws, -1), second.reshape(draws, -1)
    rates = rates_of(one, rules)
    expected = np.tile(np.multiply.outer(rates, rates), (masks, second.shape[1])).ravel()

    def name(k: int) -> str:
        u, v = divmod(k, second.shape[1] * cells)
        return f"cells {cell_of(u % cells, one)} and {cell_of(v % cells, one)} of two {what}"

    judged = np.logical_and.outer(*(rates_are_right(one, rules, part.sum(axis=0), draws) for part in (a, b))).ravel()
    return judge_pairs(one, Pairs(count_together(a, b).ravel(), draws, expected, judged, name), budget)


def rates_are_right(one: Map, rules: Convention, counts: NDArray[Any], draws: int) -> NDArray[np.bool_]:
    """Which cells, of one map after another, are dropped as often as they must be: only of these are pairs judged.

    A wrong rate makes every joint rate wrong too, and is the business of the check of rates.
    """
    rates = rates_of(one, rules)
    p_values = binomial_p_values(counts, draws, np.tile(rates, counts.size // rates.size))
    return p_values > _WRONG_RATE / counts.size


def cell_of(index: Any, one: Map) -> tuple[int, ...]:
    """The cell at a place of the row."""
    return tuple(int(i) for i in np.unravel_index(int(index), one.spatial_shape))


def percent(relative: float) -> str:
    """A relative error in words."""
    if np.isinf(relative):
        return "no"
    return f"{100 * relative:.2g} %" if relative < 1 else f"{100 * relative:.0f} %"


def _worst(p_values: NDArray[np.float64], ratios: NDArray[np.float64]) -> int:
    """The smallest p-value, and of those that are 0 the largest deviation."""
    return int(np.lexsort((-np.abs(ratios - 1), p_values))[0])


def _ratios(ratios: NDArray[np.float64], spatial_shape: tuple[int, ...]) -> str:
    table = ratios.reshape(spatial_shape)
    title = ""
    while table.ndim > 2:
        title += f"slice 0 of {table.shape[0]} in depth\n"
        table = table[0]
    return title + "\n".join(" ".join(f"{ratio:5.2f}" for ratio in row[:12]) for row in table[:12])
