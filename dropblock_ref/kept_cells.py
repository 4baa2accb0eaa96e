"""How many cells of a map are kept: the law of that number S where it is known exactly, and bounds of P(S = 0).

A map is first reduced to the axes along which blocks overlap. If one is left, the seeds are a chain; if few seeds are
left, all their sets are enumerated. Otherwise only bounds are known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .algorithm import Block

MOST_BLOCKS = 18  # whose sets are a quarter of a million
LONGEST_ROW = 10_000
_SMALLEST = 1e-300  # of what a chain goes on with: far smaller numbers would be rounded up for ever

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """One axis of a Block; eligible positions begin at `start` and end before `stop`."""

    size: int
    before: int
    after: int
    start: int
    stop: int

    @property
    def span(self) -> int:
        """How many positions a block covers, if it does not stick out."""
        return self.before + self.after + 1

    @property
    def seeds(self) -> int:
        """How many positions are eligible."""
        return self.stop - self.start

    def mirrored(self) -> Axis:
        """The axis read from its other end."""
        return Axis(self.size, self.after, self.before, self.size - self.stop, self.size - self.start)

    def covering(self, u: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first and the last eligible position whose block covers u."""
        return np.maximum(u - self.after, self.start), np.minimum(u + self.before, self.stop - 1)

    def coverage(self, u: NDArray[np.int64]) -> NDArray[np.int64]:
        """n_k(u)."""
        first, last = self.covering(u)
        return last - first + 1


@dataclass(frozen=True)
class ReducedMap:
    """A map that stands for `slices` independent ones; each of its cells stands for `alike` that are kept together."""

    axes: tuple[Axis, ...]  # at least one
    overlapping: tuple[bool, ...]  # which axes of the map they are
    log_q: float
    slices: int
    alike: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the map, with size 1 on the axes that are left out."""
        sizes = iter(self.axes)
        return tuple(next(sizes).size if overlapping else 1 for overlapping in self.overlapping)


def reduce_map(block: Block, log_q: float) -> ReducedMap:
    """Leave out the axes along which a block is one cell, and those that every block covers whole."""
    axes, overlapping, slices, alike = [], [], 1, 1
    for size, before, after, part in zip(block.spatial_shape, block.before, block.after, block.eligible, strict=True):
        axis = Axis(size, before, after, part.start, part.stop)
        whole = part.stop - 1 - before <= 0 and part.start + after >= size - 1
        overlapping.append(axis.span > 1 and not whole)
        if overlapping[-1]:
            axes.append(axis)
        elif axis.span == 1:
            slices *= size
        else:
            alike *= size
            log_q *= axis.seeds
    return ReducedMap(tuple(axes) or (Axis(1, 0, 0, 0, 1),), tuple(overlapping), log_q, slices, alike)


def laplace(one: ReducedMap, tau: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """1 - E[exp(-tau S)]; E[K_u exp(-tau S)], with kinds of cells first; and the kind of each cell.

    S counts the cells of the reduced map. A ValueError says where it is not known.
    """
    if len(one.axes) == 1 and one.axes[0].size <= LONGEST_ROW:
        return _laplace_of_row(one.axes[0], one.log_q, tau)
    sets = SeedSets.of(one)
    if sets is None:
        raise ValueError(
            f"masks must be None, the limit of many masks, where blocks overlap along one axis of more than "
            f"{LONGEST_ROW} cells, or along several axes with more than {MOST_BLOCKS} eligible cells; got a map of "
            f"{one.shape} with {math.prod(axis.seeds for axis in one.axes)} eligible cells"
        )
    sizes, index = np.unique(sets.sizes, return_inverse=True)
    of_size = np.bincount(index, sets.chances)
    of_cell = np.stack([np.bincount(index, sets.chances * row) for row in sets.kept])
    lost = np.array([-(of_size @ np.expm1(-sizes * t)) for t in tau])
    return lost, np.stack([of_cell @ np.exp(-sizes * t) for t in tau], axis=1), sets.kinds


def nothing_kept(one: ReducedMap) -> tuple[float, float]:
    """Bounds of P(S = 0), equal where `laplace` is known."""
    if len(one.axes) == 1:
        exact = float(_row_dropped(one.axes[0], np.array([one.log_q]))[0])
        return exact, exact
    sets = SeedSets.of(one)
    if sets is not None:
        exact = float(sets.chances[sets.sizes == 0].sum())
        return exact, exact
    upper = _upper_bound(one)
    return min(_lower_bound(one), upper), upper  # they may be equal but for rounding


# A row: a chain of seeds, each of which needs to know only the one before.


def _chain(axis: Axis, log_q: Floats, t: Floats) -> tuple[Floats, Floats]:
    """E[t^S], and for u = 0 to the end E[t^(kept cells before u)] over the seeds before those that cover u.

    From a seed to the next one less than a block away nothing is kept between. If that is further away, or there is
    none, the first cell after its block is kept, and what lies before that cell is such an expectation itself.
    """
    q, g = np.exp(log_q), -np.expm1(log_q)
    powers = np.exp(np.multiply.outer(np.arange(axis.span), log_q))
    seeds = np.zeros((axis.stop, *t.shape))  # E[t^(kept cells before its block); a seed lies here]
    kept = np.zeros((axis.size + 1, *t.shape))
    kept[0] = 1
    for u in range(axis.start - axis.before, axis.size + 1):
        if u > 0:
            kept[u] = kept[u - 1] * t
        if u > axis.start + axis.after:
            kept[u] = kept[u] * q + seeds[u - 1 - axis.after]
        if (s := u + axis.before) < axis.stop:  # the seed whose block begins at u
            near = min(axis.span - 1, s - axis.start)
            among = np.einsum("i...,i...", seeds[s - near : s][::-1], powers[:near])
            seeds[s] = g * (among + powers[near] * kept[max(u, 0)])
            if s >= axis.start + axis.span:
                seeds[s][seeds[s] < _SMALLEST] = 0
                if not (seeds[s - near : s + 1].any() or kept[u].any()):  # so it stays
                    break
    reaching = axis.size - axis.after  # the first seed whose block reaches the end
    last = np.exp(np.multiply.outer(np.arange(axis.stop - reaching)[::-1], log_q))
    total = kept[-1] * np.exp((axis.stop - reaching) * log_q) + (seeds[reaching:] * last).sum(axis=0)
    return total, kept


def _row_dropped(axis: Axis, log_q: Floats) -> Floats:
    """P(S = 0) of a row, for several probabilities of a seed."""
    return _chain(axis, log_q, np.zeros_like(log_q))[0]


def _laplace_of_row(axis: Axis, log_q: float, tau: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
    t, logs, cells = np.exp(-tau), np.full(tau.shape, log_q), np.arange(axis.size)
    _, before = _chain(axis, logs, t)
    _, after = _chain(axis.mirrored(), logs, t)
    first = np.exp(axis.coverage(cells) * log_q)[:, None] * before[:-1]  # E[K_u t^(kept cells before u)]
    # 1 - t^S is the sum of (1 - t) t^(kept cells before u) over the kept cells u.
    return -np.expm1(-tau) * first.sum(axis=0), first * t * after[-2::-1], cells


def _lower_bound(one: ReducedMap) -> float:
    """The best of: all rows as if they were independent; rows of seeds, each dropping all beside it, as a chain."""
    bounds = []
    for k, axis in enumerate(one.axes):
        others = [other.coverage(np.arange(other.size)) for other in one.axes[:k] + one.axes[k + 1 :]]
        bounds.append(_product_of_rows(axis, others, one.log_q))
    for order in permutations(one.axes):
        log_q = one.log_q
        for axis in order:
            chance = float(_row_dropped(axis, np.array([log_q]))[0])
            log_q = math.log1p(-min(chance, 1 - 2.0**-53))
        bounds.append(chance)
    return max(bounds)


def _upper_bound(one: ReducedMap) -> float:
    """Rows a block apart on the other axes, the last of them at the edge."""
    bounds = []
    for k, axis in enumerate(one.axes):
        others = []
        for other in one.axes[:k] + one.axes[k + 1 :]:
            u = np.arange(0, other.size, other.span)
            u[-1] = other.size - 1
            others.append(other.coverage(u))
        bounds.append(_product_of_rows(axis, others, one.log_q))
    return min(bounds)


def _product_of_rows(axis: Axis, others: Sequence[NDArray[np.int64]], log_q: float) -> float:
    """The product of P(a row is dropped) over rows with these coverages on the other axes."""
    n, rows = np.unique(reduce(np.multiply.outer, others), return_counts=True)
    dropped = _row_dropped(axis, log_q * n.astype(np.float64))
    return float(np.prod(dropped**rows))


# Few blocks: all their sets.


@dataclass(frozen=True)
class SeedSets:
    """All sets of seeds. Seeds with the same block are one here, and so are cells in the same blocks."""

    chances: Floats  # of each set
    kept: NDArray[np.bool_]  # (kinds of cells, sets)
    sizes: Floats  # S of each set
    kinds: NDArray[np.int64]  # of each cell of the map

    @classmethod
    def of(cls, one: ReducedMap) -> SeedSets | None:
        """None where there are more than MOST_BLOCKS different blocks."""
        blocks = [_different_blocks(axis) for axis in one.axes]
        if math.prod(number.size for _, _, number in blocks) > MOST_BLOCKS:
            return None
        covered, kinds = np.ones((1, 1), dtype=np.bool_), np.zeros((), dtype=np.int64)
        seeds: NDArray[Any] = np.ones(1)  # how many have each block
        cells: NDArray[Any] = np.ones(1)  # how many are of each kind
        for axis, (first, last, number) in zip(one.axes, blocks, strict=True):
            u = np.arange(axis.size)
            inside = (first[:, None] <= u) & (u <= last[:, None])
            codes = 2 ** np.arange(number.size) @ inside
            _, example, kind, alike = np.unique(codes, return_index=True, return_inverse=True, return_counts=True)
            covered, seeds, cells = np.kron(covered, inside[:, example]), np.kron(seeds, number), np.kron(cells, alike)
            kinds = np.add.outer(kinds * alike.size, kind)
        chances: NDArray[Any] = np.ones(1)
        kept = np.ones((cells.size, 1), dtype=np.bool_)
        for block, log_q in zip(covered, seeds * one.log_q, strict=True):
            chances = np.concatenate([chances * np.exp(log_q), chances * -np.expm1(log_q)])
            kept = np.concatenate([kept, kept & ~block[:, None]], axis=1)
        sizes = np.zeros(chances.size)
        for several, row in zip(cells, kept, strict=True):  # as a product of matrices, each bool would become 8 bytes
            sizes += several * row
        return cls(chances, kept, sizes, kinds)


def _different_blocks(axis: Axis) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """First and last position on the axis of the different blocks, and how many seeds have each."""
    s = np.arange(axis.start, axis.stop)
    first, last = np.maximum(s - axis.before, 0), np.minimum(s + axis.after, axis.size - 1)
    _, example, number = np.unique(first * axis.size + last, return_index=True, return_counts=True)
    return first[example], last[example], number
