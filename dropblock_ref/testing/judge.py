"""The judge: one function for each question about masks that chance has drawn.

It answers with a Verdict: what is wrong, if anything, and both numbers, the chance to fail a correct backend and the
smallest error that it finds with probability 1 - MISS. Nothing is drawn here: `check_backend` passes the masks of a
backend, `assert_drop_rate` and `verify_black_box` those that they were given. Masks come as dropped cells, (samples,
channels, cells), one channel where the convention shares masks; their counts, a Tally, add up over batches of calls.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache, reduce
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..arguments import check_block_size
from ..call import place_block
from ..convention import Convention
from ..coverage import calibrated_gamma, covering
from ..stages import gamma as seed_probability
from ..theory import drop_fraction_variance, drop_probability, expected_drop_fraction, untouched_probability
from .observation import MAX_ULPS, Fault, coarser, difference, same, ulp
from .statistics import (
    MISS,
    SURE,
    CountLaw,
    binomial_detectable,
    binomial_draws,
    binomial_p_values,
    count_law,
    drop_fraction_deviations,
    hypergeometric_p_values,
    table_detectable,
    table_draws,
)

_WRONG_RATE = 1e-6  # cells whose rate is off at this level, over all of a map, are not judged in pairs
_MASKS_AT_ONCE = 2**16  # counts below 2^24 are exact in float32
_MOST_MASKS = 10**15  # nobody has more
MOST_CELLS_IN_PAIRS = 1024  # whose pairs are a million
_MOST_CELLS_OF_NEIGHBOURS = 64  # of two masks, all cells of one are compared with all of the other
_MOST_DRAWS_OF_CELLS = 2**13  # of two masks of a larger map each cell is compared with itself, so often
_MOST_MASKS_IN_PAIRS = 2**12  # of a larger map
_MOST_GROUPS = 1024  # samples, or channels, that are compared at every distance
_MOST_PAIRED_GROUPS = 256  # and each with each other one
_AXES = ("sample", "channel")
_HIGH = ", to drop more cells than are expected,"


@dataclass(frozen=True)
class Verdict:
    """The answer to one question about masks.

    Attributes
    ----------
    fault : Fault or None
        What is wrong: expected and seen, where.
    detects : str
        The smallest error that is found with probability 1 - 1e-6, in words.
    false_alarm : float
        Upper bound of the probability that masks of a correct backend have this fault.
    not_judged : str
        Why the question was not answered, where it was not.
    seen : str
        What else there is to say.
    """

    fault: Fault | None = None
    detects: str = ""
    false_alarm: float = 0.0
    not_judged: str = ""
    seen: str = ""


class Setting(Protocol):
    """A map, a block on it and a drop_prob."""

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """(H, W) or (D, H, W)."""

    @property
    def block_size(self) -> Any:
        """An int, or one per axis."""

    @property
    def drop_prob(self) -> float:
        """The nominal one."""


class Law:
    """The exact law of the masks of one setting under one convention."""

    def __init__(self, setting: Setting, rules: Convention) -> None:
        self.setting, self.rules = setting, rules
        self.shape = setting.spatial_shape
        self.cells = math.prod(self.shape)
        self._variances: dict[float, float] = {}  # of the fraction of dropped cells of one mask, by its expectation
        self.gamma = seed_probability(setting.drop_prob, setting.block_size, self.shape, convention=rules)

    def __str__(self) -> str:
        return str(self.setting)

    def _of(self, function: Callable[..., Any], gamma: float | None = None) -> Any:
        given = self.gamma if gamma is None else gamma
        return function(None, self.setting.block_size, self.shape, gamma=given, convention=self.rules)

    @cached_property
    def rates(self) -> NDArray[np.float64]:
        """P(u dropped) of every cell, in one row."""
        rates: NDArray[np.float64] = self._of(drop_probability).ravel()
        return rates

    @cached_property
    def expected(self) -> float:
        """Of the fraction of dropped cells."""
        return float(self._of(expected_drop_fraction))

    @cached_property
    def untouched(self) -> float:
        """The probability that a mask drops nothing."""
        return float(self._of(untouched_probability))

    @cached_property
    def block_fraction(self) -> float:
        """The largest part of a map that one block covers."""
        block = place_block(self.setting.block_size, self.shape, self.rules).size
        return math.prod(min(b, S) for b, S in zip(block, self.shape, strict=True)) / self.cells

    def gamma_of(self, fraction: float) -> float:
        """The gamma that drops this fraction on average."""
        block = place_block(self.setting.block_size, self.shape, self.rules)
        return calibrated_gamma(min(max(fraction, 0.0), 1.0), block)

    def deviations(self, masks: int, bound: float, fraction: float | None = None) -> tuple[float, float]:
        """How far below and above its expectation the dropped fraction of so many masks comes with the bound.

        Of the masks of this setting, or of those of the gamma that drops another fraction.
        """
        expected = self.expected if fraction is None else fraction
        if expected not in self._variances:
            gamma = None if fraction is None else self.gamma_of(fraction)
            self._variances[expected] = float(self._of(drop_fraction_variance, gamma))
        # A gamma of 1 that is computed in float32 keeps a cell now and then.
        variance = max(self._variances[expected], 1 - SURE if expected > SURE else 0.0)
        return drop_fraction_deviations(masks, expected, variance, self.block_fraction, bound)

    @cached_property
    def lattice(self) -> NDArray[np.int64]:
        """Cells a block apart, which no seed covers together, so that they are independent; every block covers one.

        Of all these lattices the one on which two masks are the least likely to agree.
        """
        sizes = check_block_size(self.setting.block_size, len(self.shape))
        sums = np.log(_agreement(self.rates)).reshape(self.shape)
        for axis, (b, S) in enumerate(zip(sizes, self.shape, strict=True)):  # added up over the lattice of each offset
            padded = np.concatenate([np.moveaxis(sums, axis, 0), np.zeros((-S % b, *np.delete(sums.shape, axis)))])
            sums = np.moveaxis(padded.reshape(-1, b, *padded.shape[1:]).sum(axis=0), 0, axis)
        offset = np.unravel_index(int(np.argmin(sums)), sums.shape)
        best = tuple(slice(int(k), None, b) for k, b in zip(offset, sizes, strict=True))
        cells: NDArray[np.int64] = np.arange(self.cells).reshape(self.shape)[best].ravel()
        return cells

    def coincidence(self, masks: int = 1, gamma: float | None = None) -> float:
        """An upper bound of the probability that two independent draws of so many masks are the same."""
        rates = self.rates if gamma is None else self._of(drop_probability, gamma).ravel()
        return float(np.prod(_agreement(rates[self.lattice])) ** masks)

    def all_dropped(self, masks: int) -> float:
        """An upper bound of the probability that so many masks drop everything."""
        return float(np.prod(self.rates[self.lattice]) ** masks)

    @property
    def pairs(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """P(u and v dropped), and n(u, v), for all pairs of cells of a small map."""
        return _pairs_of(self)

    def cell(self, index: Any) -> tuple[int, ...]:
        """The cell at a place of the row."""
        return tuple(int(i) for i in np.unravel_index(int(index), self.shape))


@lru_cache(maxsize=4)  # of a volume they may take 40 MB
def _pairs_of(law: Law) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    block = place_block(law.setting.block_size, law.shape, law.rules)
    positions = [np.indices((S, S)) for S in law.shape]
    both: NDArray[np.int64] = reduce(np.kron, [covering(block, axis, u, v) for axis, (u, v) in enumerate(positions)])
    n, q = np.diagonal(both), 1 - law.gamma
    return 1 - q ** n[:, None] - q**n + q ** (n[:, None] + n - both), both


@lru_cache(maxsize=256)
def find_law(setting: Setting, rules: Convention) -> Law:
    """The law of one setting, made once; it keeps what it has computed."""
    return Law(setting, rules)


def _agreement(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability that two independent events of this rate both happen, or both do not."""
    agreement: NDArray[np.float64] = rates**2 + (1 - rates) ** 2
    return agreement


# Identity


def judge_identity(expected: NDArray[Any], y: NDArray[Any], check: str, what: str, *, scale: float = 1.0) -> Verdict:
    """Whether an output is exactly what was given, in the coarser dtype of both.

    `scale` is what a convention counts where every cell is kept, which its epsilon makes a little less than 1: with
    drop_prob 0, but not in evaluation, its product is right as well, to 4 ulps.
    """
    if same(expected, y):
        return Verdict()
    if scale != 1 and expected.shape == y.shape:
        with np.errstate(all="ignore"):
            product = expected.astype(np.float64) * scale
            off = np.abs(y.astype(np.float64) - product)
            near = off <= MAX_ULPS * ulp(product, coarser(expected.dtype, y.dtype))
        if (near | (y == expected) | (np.isnan(y) & np.isnan(expected))).all():
            return Verdict(seen="the product with a scale whose epsilon is added to the count")
    return Verdict(Fault(check, f"{what}, and {difference(expected, y)}"))


# What repeats


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _hash(masks: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """128 bits for each row, as two numbers."""
    packed = np.packbits(masks, axis=-1).astype(np.uint64)
    keys = np.random.default_rng(packed.shape[-1]).integers(0, 2**64, (packed.shape[-1], 2), dtype=np.uint64)
    return _mix(packed @ keys)


def _words(hashes: NDArray[np.uint64], length: int) -> NDArray[np.uint64]:
    """The hash of every run of `length` rows, from those of runs of half the length."""
    words, done = hashes, 1
    while done < length:
        step = min(done, length - done)
        words = _mix(_mix(words[:-step]) * np.uint64(3) + words[step:])
        done += step
    return words


@dataclass(frozen=True)
class _Part:
    """The masks of one call, as far as they can repeat."""

    call: int
    stream: int  # the number of the reseeding before it
    seed: int | None  # what was given then
    shape: tuple[int, int]  # samples and channels
    hashes: NDArray[np.uint64]  # (masks, 2)
    plain: NDArray[np.bool_]  # whether a mask drops nothing or everything, which says nothing about its stream
    dropped: int  # cells


@dataclass
class Repetition:
    """Masks that were drawn before: words of so many masks in a row that independent masks do not repeat by chance.

    A single mask may well come twice (on 14x14 with block 7 at 0.1 two masks are the same with probability 0.4, most of
    them empty). Words of w masks, drawn one after the other for one setting, are compared with all other such words, w
    being the smallest number for which the bound of the chance that w masks are the same, times the number of pairs,
    is within the budget. What one and the same random seed draws again is no repetition. Where the rates are wrong, w
    is that of the gamma that was seen, if it is larger.
    """

    parts: dict[str, tuple[Law, list[_Part]]] = field(default_factory=dict)
    calls: int = 0
    streams: int = 0
    seed: int | None = None

    def add(self, dropped: NDArray[np.bool_], law: Law, seed: int | None) -> None:
        """The masks of one call, (samples, channels, cells), in the order of the calls, and the seed given to it."""
        if seed is not None:
            self.streams, self.seed = self.streams + 1, seed
        masks = dropped.reshape(-1, dropped.shape[-1])
        number = np.count_nonzero(masks, axis=1)
        plain = (number == 0) | (number == law.cells)
        part = _Part(
            self.calls,
            self.streams,
            self.seed,
            (dropped.shape[0], dropped.shape[1]),
            _hash(masks),
            plain,
            int(number.sum()),
        )
        self.parts.setdefault(f"{law} {law.rules.name}", (law, []))[1].append(part)
        self.calls += 1

    def skip(self, seed: int | None) -> None:
        """A call whose masks are not looked at, though it draws from the stream."""
        if seed is not None:
            self.streams, self.seed = self.streams + 1, seed
        self.calls += 1

    def verdict(self, budget: float) -> Verdict:
        """Whether a word repeats, over all settings."""
        if not self.parts:
            return Verdict(not_judged="no mask was drawn")
        verdicts = [_repeated(law, parts, budget / len(self.parts)) for law, parts in self.parts.values()]
        return merge(verdicts)


def _repeated(law: Law, parts: list[_Part], budget: float) -> Verdict:
    hashes = np.concatenate([part.hashes for part in parts])
    masks = len(hashes)
    seen = law.gamma_of(sum(part.dropped for part in parts) / (masks * law.cells))
    agreement = max(law.coincidence(), law.coincidence(gamma=seen))
    if agreement >= 1:
        return Verdict(not_judged=f"masks that are all the same may be right ({law})")
    pairs = max(masks, 2) * (masks + 1) / 2
    length = max(1, math.ceil(math.log(budget / pairs) / math.log(agreement)))
    sizes = [len(part.hashes) for part in parts]
    of_part = np.repeat(np.arange(len(parts)), sizes)
    # A stream goes on through calls of one setting, as long as no other setting draws from it.
    breaks = [a.stream != b.stream or a.call + 1 != b.call for a, b in itertools.pairwise(parts)]
    chain = np.repeat(np.cumsum([0, *breaks]), sizes)
    if masks < 2 * length:
        return Verdict(not_judged=f"{2 * length} masks are needed to find some that repeat, there are {masks} ({law})")
    plain = np.concatenate([[0], np.cumsum(np.concatenate([part.plain for part in parts]))])
    starts = np.arange(masks - length + 1)
    # Words of masks that are nearly all plain, where they should not be, show a wrong rate.
    least = max(1, math.ceil(length * (1 - law.untouched) / 2))
    starts = starts[
        (chain[starts] == chain[starts + length - 1]) & (plain[starts + length] - plain[starts] <= length - least)
    ]
    words = _words(hashes, length)[starts]
    detects = f"any {length} masks in a row that come again ({law})"
    order = np.argsort(words[:, 0], kind="stable")
    words, starts = words[order], starts[order]
    again = np.zeros(len(words), dtype=np.bool_)
    again[1:] = (words[1:] == words[:-1]).all(axis=1)
    first = starts[np.maximum.accumulate(np.where(again, 0, np.arange(len(words))))]
    stream, seed = (np.array([getattr(part, name) for part in parts], dtype=object) for name in ("stream", "seed"))
    a, b = of_part[first], of_part[starts]
    # Words that overlap are no independent ones, and one seed may be given twice.
    wrong = again & (starts - first >= length) & ((stream[a] == stream[b]) | (seed[a] != seed[b]))
    if not wrong.any():
        return Verdict(detects=detects, false_alarm=budget)
    found = int(np.flatnonzero(wrong)[np.argmin(starts[wrong])])
    begin = np.cumsum([0, *sizes])

    def place(mask: int) -> str:
        part = parts[int(of_part[mask])]
        sample, channel = divmod(mask - int(begin[of_part[mask]]), part.shape[1])
        seeded = "" if part.seed is None else f" (random seed {part.seed})" if len(set(seed)) > 1 else ""
        return f"sample {sample}, channel {channel} of call {part.call}{seeded}"

    earlier, later = place(int(first[found])), place(int(starts[found]))
    text = (
        f"every mask must be drawn anew, but {'the' if length == 1 else f'the {length}'} mask{'s' * (length > 1)} from "
        f"{later} on {'are' if length > 1 else 'is'} the same as from {earlier} on (by chance with probability at most "
        f"{budget:.1e}; {np.count_nonzero(wrong)} such places)"
    )
    return Verdict(Fault("repeated_draws", text), detects, budget)


def judge_repeats(law: Law, groups: NDArray[np.bool_], budget: float, what: str, check: str) -> Verdict:
    """Whether two of the groups, (groups, masks, cells), have all their masks in common, and not by chance."""
    number, masks = groups.shape[:2]
    if number < 2:
        return Verdict(not_judged=f"there is one {what}")
    pairs = number * (number - 1) // 2
    chance = pairs * law.coincidence(masks)
    if chance > budget:
        of_one = law.coincidence()
        needed = math.ceil(math.log(budget / pairs) / math.log(of_one)) if of_one < 1 else math.inf
        text = f"{needed} masks per {what} are needed to find {what}s that share their masks, there are {masks}"
        return Verdict(not_judged=text)
    detects = f"any two {what}s that share their masks ({law})"
    seen: dict[bytes, int] = {}
    for current, group in enumerate(groups):
        first = seen.setdefault(group.tobytes(), current)
        if first != current:
            if not group.any():
                return Verdict(not_judged=f"{what}s {first} and {current} drop nothing, see map_rate")
            text = (
                f"every {what} must draw masks of its own, but {what}s {first} and {current} have the same {masks} "
                f"masks (by chance with probability at most {chance:.1e})"
            )
            return Verdict(Fault(check, text), detects, budget)
    return Verdict(detects=detects, false_alarm=budget)


def judge_lines(law: Law, dropped: NDArray[np.bool_], budget: float) -> Verdict:
    """Whether each row, column or plane of a map is dropped as often as it must be, and none is the same as another.

    In all masks, (masks, cells). Rows at least a block apart are independent, and in each the cells that lie a block
    apart.
    """
    masks = dropped.reshape(-1, *law.shape)
    sizes = place_block(law.setting.block_size, law.shape, law.rules).size
    rates = law.rates.reshape(law.shape)
    named = ("row", "column") if len(sizes) == 2 else ("plane", "row", "column")
    judged = []
    for axis, (size, side) in enumerate(zip(sizes, law.shape, strict=True)):
        others = tuple(slice(None, None, b) for k, b in enumerate(sizes) if k != axis)
        slabs = np.moveaxis(rates, axis, 0)[(slice(None), *others)].reshape(side, -1)
        lines = np.moveaxis(masks, 1 + axis, 0)
        few = lines[(slice(None), slice(None), *others)].reshape(side, -1)
        each = budget / len(sizes) / 2 / side
        laws: dict[bytes, CountLaw] = {}
        for line, (seen, rate) in enumerate(zip(np.count_nonzero(few, axis=1), slabs, strict=True)):
            if (key := rate.tobytes()) not in laws:
                laws[key] = count_law(np.minimum(rate, SURE), len(masks))
            if (p_value := laws[key].p_value(seen)) <= each:
                text = (
                    f"of {few.shape[1]} cells of {named[axis]} {line}, which no block covers together, "
                    f"{laws[key].mean:.1f} must be dropped on average in {len(masks)} masks, and {seen} are (p-value "
                    f"{p_value:.1e})"
                )
                return Verdict(Fault("large_maps", text), "", budget)
        # Two rows agree with a probability of at most the larger of both, by the inequality of Cauchy and Schwarz.
        agreements = np.log(_agreement(slabs)).sum(axis=1) * len(masks)
        chosen = agreements <= math.log(budget / len(sizes) / side**2)
        if np.count_nonzero(chosen) <= size:
            continue
        judged.append(named[axis])
        rows = lines.reshape(side, -1)
        hashes = _hash(rows)
        some = chosen & rows.any(axis=1) & ~rows.all(axis=1)
        first_of: dict[bytes, int] = {}
        for row in np.flatnonzero(some):
            first = first_of.setdefault(hashes[row].tobytes(), int(row))
            if row - first >= size:
                text = (
                    f"{named[axis]}s {first} and {row} drop the same cells in all of {len(masks)} masks (by chance "
                    f"with probability at most {budget:.1e})"
                )
                return Verdict(Fault("large_maps", text), "", budget)
    if not judged:
        return Verdict(not_judged=f"two rows may be the same by chance in all of {len(masks)} masks ({law})")
    return Verdict(detects=f"any two {judged[0]}s that are always the same ({law})", false_alarm=budget)


# What masks show, in counts that add up


class Tally:
    """What masks of one setting show, in counts that add up over batches of calls.

    A mask is `high` where it drops more cells than are expected. Whatever the rates are, where masks are independent
    and of one law, so are these events.
    """

    def __init__(self, law: Law, *, pairs: bool = False) -> None:
        self.law = law
        self.masks = 0
        self.counts = np.zeros(law.cells, dtype=np.int64)
        self.together = np.zeros((law.cells,) * 2 if pairs else (0, 0), dtype=np.int64)  # within one mask
        self.in_pairs = 0  # of so many masks
        self.high = {axis: np.zeros(0, dtype=np.int64) for axis in _AXES}  # per sample, and per channel
        self.of_each = {axis: np.zeros(0, dtype=np.int64) for axis in _AXES}  # of so many masks
        self.both_high = {axis: np.zeros((0, 0), dtype=np.int64) for axis in _AXES}
        self.neighbours = {(axis, k): _Neighbours(law) for axis in (*_AXES, "call") for k in range(2)}
        self.totals: dict[int, list[int]] = {}  # dropped cells of the lattice, per call of so many masks
        self.repetition = Repetition()
        self.calls = 0
        self._last: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None
        self._tables: dict[str, list[Tables]] = {}

    def add(self, dropped: NDArray[np.bool_], seed: int | None = None) -> None:
        """The masks of one call, in the order of the calls, and the random seed that was given to it."""
        samples, channels, cells = dropped.shape
        rows = dropped.reshape(-1, cells)
        self._tables = {}
        self.masks += len(rows)
        self.counts += np.count_nonzero(rows, axis=0)
        if self.together.size and (cells <= _MOST_CELLS_OF_NEIGHBOURS or self.in_pairs < _MOST_MASKS_IN_PAIRS):
            self.together += count_together(rows, rows)
            self.in_pairs += len(rows)
        high = np.count_nonzero(dropped, axis=2) > self.law.expected * cells
        for axis, by_group in (("sample", high), ("channel", high.T)):
            self.high[axis] = _add(self.high[axis], np.count_nonzero(by_group, axis=1))
            self.of_each[axis] = _add(self.of_each[axis], np.full(*by_group.shape))
            few = by_group[:_MOST_GROUPS]
            self.both_high[axis] = _add(self.both_high[axis], count_together(few.T, few.T))
        for k in range(2):
            pairs = [(dropped[i:samples:2], high[i:samples:2]) for i in (k, k + 1)]
            self.neighbours["sample", k].add(*_cut(pairs))
            pairs = [(dropped[:, i:channels:2].swapaxes(0, 1), high[:, i:channels:2].T) for i in (k, k + 1)]
            self.neighbours["channel", k].add(*_cut(pairs))
        if self._last is not None:
            self.neighbours["call", self.calls % 2].add(*_cut([self._last, (dropped, high)]))
        self.totals.setdefault(len(rows), []).append(int(np.count_nonzero(rows[:, self.law.lattice])))
        self.repetition.add(dropped, self.law, seed)
        self.calls += 1
        self._last = dropped, high

    def tables(self, axis: str) -> list[Tables]:
        """Of successive samples, channels or calls; of samples and channels of all pairs, too."""
        if axis not in self._tables:
            tables = [table for k in range(2) for table in self.neighbours[axis, k].tables(axis)]
            self._tables[axis] = tables + (_all_pairs(self, axis) if axis != "call" else [])
        return self._tables[axis]

    def __add__(self, other: Tally) -> Tally:
        """The tally of both; calls of one are not compared with those of the other, except for what repeats."""
        added = Tally(self.law, pairs=bool(self.together.size))
        for name in ("masks", "counts", "together", "in_pairs", "calls"):
            setattr(added, name, getattr(self, name) + getattr(other, name))
        for name in ("high", "of_each", "both_high"):
            mine, others = getattr(self, name), getattr(other, name)
            setattr(added, name, {axis: _add(mine[axis], others[axis]) for axis in _AXES})
        added.neighbours = {key: part + other.neighbours[key] for key, part in self.neighbours.items()}
        for masks, totals in (*self.totals.items(), *other.totals.items()):
            added.totals.setdefault(masks, []).extend(totals)
        added.repetition = _join(self.repetition, other.repetition)
        return added


def _cut(pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Both of the length of the shorter one."""
    common = min(len(high) for _, high in pairs)
    return [(cells[:common], high[:common]) for cells, high in pairs]


def _join(first: Repetition, second: Repetition) -> Repetition:
    parts = {key: (law, list(own)) for key, (law, own) in first.parts.items()}
    for key, (law, own) in second.parts.items():
        moved = [
            replace(part, call=part.call + first.calls + 1, stream=part.stream + first.streams + 1) for part in own
        ]
        parts.setdefault(key, (law, []))[1].extend(moved)
    return Repetition(parts, first.calls + second.calls + 1, first.streams + second.streams + 1, second.seed)


class _Neighbours:
    """How often cells, and whole masks, are dropped together with those of the next sample, channel or call."""

    def __init__(self, law: Law) -> None:
        self.law = law
        size = law.cells if law.cells <= _MOST_CELLS_OF_NEIGHBOURS else 0
        self.draws = 0
        self.high = np.zeros(3, dtype=np.int64)  # both, the first, the second
        self.cells = np.zeros((3, law.cells), dtype=np.int64)  # the first, the second, and both for the same cell
        self.of_cells = 0  # so many draws
        self.together = np.zeros((size, size), dtype=np.int64)

    def add(self, first: tuple[NDArray[np.bool_], NDArray[np.bool_]], second: Any) -> None:
        """Of each the cells, (..., cells), and whether the whole masks are high, (...)."""
        a, b = first[1].ravel(), second[1].ravel()
        self.draws += a.size
        self.high += [np.count_nonzero(a & b), np.count_nonzero(a), np.count_nonzero(b)]
        if self.of_cells < _MOST_DRAWS_OF_CELLS or self.together.size:
            cells = [part[0].reshape(-1, self.law.cells) for part in (first, second)]
            self.of_cells += a.size
            self.cells[:2] += [np.count_nonzero(part, axis=0) for part in cells]
            if self.together.size:
                self.together += count_together(*cells)
            else:
                self.cells[2] += np.count_nonzero(cells[0] & cells[1], axis=0)

    def __add__(self, other: _Neighbours) -> _Neighbours:
        added = _Neighbours(self.law)
        for name in ("draws", "high", "cells", "of_cells", "together"):
            setattr(added, name, getattr(self, name) + getattr(other, name))
        return added

    def tables(self, axis: str) -> list[Tables]:
        """Of whole masks, and of cells: all pairs of those of a small map, and each with itself of a large one."""
        where = f"successive {axis}s"
        size, cell, (first, second, same) = self.law.cells, self.law.cell, self.cells
        both, of_first, of_second = self.high[:, None]
        masks = Tables(
            both, of_first, of_second, self.draws, lambda _: f"masks of {where}{_HIGH}", f"the masks of {where}"
        )
        if not self.together.size:
            name = lambda k: f"cells {cell(k)} of the masks of {where}"  # noqa: E731
            return [masks, Tables(same, first, second, self.of_cells, name, f"the same cells of {where}")]
        firsts, seconds = np.repeat(first, size), np.tile(second, size)
        name = lambda k: f"cells {cell(k // size)} and {cell(k % size)} of the masks of {where}"  # noqa: E731
        return [masks, Tables(self.together.ravel(), firsts, seconds, self.of_cells, name, f"cells of {where}")]


def _add(a: NDArray[np.int64], b: NDArray[Any]) -> NDArray[np.int64]:
    """The sum of two arrays, the smaller one filled up with zeros."""
    added = np.zeros(np.maximum(a.shape, b.shape), dtype=np.int64)
    added[tuple(map(slice, a.shape))] += a
    added[tuple(map(slice, b.shape))] += b
    return added


def count_together(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.int64]:
    """In how many rows each column of one array and each of the other are both dropped."""
    counts = np.zeros((first.shape[1], second.shape[1]), dtype=np.int64)
    for start in range(0, len(first), _MASKS_AT_ONCE):
        a, b = (part[start : start + _MASKS_AT_ONCE].astype(np.float32, copy=False) for part in (first, second))
        counts += (a.T @ b).astype(np.int64)
    return counts


# Independence, whatever the rates


@dataclass(frozen=True)
class Tables:
    """How often pairs of events happened together, the first, and the second of each, in so many independent draws."""

    together: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    draws: Any  # an int, or one for each pair
    name: Callable[[int], str]  # of a pair
    what: str  # of all

    @cached_property
    def p_values(self) -> NDArray[np.float64]:
        """By Fisher's exact test."""
        return hypergeometric_p_values(self.together, self.first, self.second, self.draws)


def judge_tables(kinds: Sequence[Tables], budget: float, check: str, law: Law) -> Verdict:
    """Whether the events of all pairs are independent, by Fisher's exact test: it holds for any rates."""
    kinds = [tables for tables in kinds if np.max(tables.draws, initial=0) > 0]
    limits: dict[str, float] = {}
    for tables in kinds:
        if (limit := _limit(tables, budget / len(kinds))) is not None:
            limits[limit[1]] = max(limit[0], limits.get(limit[1], 0.0))
    if not limits:
        few = max((int(np.max(tables.draws)) for tables in kinds), default=0)
        needed = table_draws(min((tables.together.size for tables in kinds), default=1), budget / max(len(kinds), 1))
        text = f"more than {needed} pairs of masks are needed to find any dependence, there are {few} ({law})"
        return Verdict(not_judged=text)
    detects = "; ".join(f"a correlation of {limit:.2g} between {what} ({law})" for what, limit in limits.items())
    text = find_dependence(kinds, budget)
    return Verdict(Fault(check, text) if text else None, detects, budget)


def find_dependence(kinds: Sequence[Tables], budget: float) -> str:
    """The first pair that is not independent, in words."""
    for tables in kinds:
        each = budget / len(kinds) / max(1, tables.together.size)
        p_values = tables.p_values
        if (p_values <= each).any():
            draws = np.broadcast_to(np.asarray(tables.draws), tables.together.shape)
            expected = tables.first * (tables.second / draws)
            worst = _worst(p_values, tables.together / np.maximum(expected, 1e-300))
            return (
                f"{tables.name(worst)} must be independent: so often as each is seen, both are expected in "
                f"{expected[worst]:.1f} of {draws[worst]} draws, and are seen in {tables.together[worst]} (p-value "
                f"{p_values[worst]:.1e}; {np.count_nonzero(p_values <= each)} of {p_values.size} pairs differ)"
            )
    return ""


def _limit(tables: Tables, budget: float) -> tuple[float, str] | None:
    """The smallest correlation that is found of every pair, or of every pair that is not too rare to find any."""
    draws = np.broadcast_to(np.asarray(tables.draws), tables.together.shape)
    each = budget / max(1, draws.size)
    rarity = np.minimum(tables.first, draws - tables.first) * np.minimum(tables.second, draws - tables.second)
    order = np.argsort(rarity)

    def of(place: int) -> float:
        number, first, second = (int(part[order[place]]) for part in (draws, tables.first, tables.second))
        return table_detectable(number, first, second, each)

    low, high = -1, draws.size
    while high - low > 1:
        middle = 0 if low < 0 else (low + high) // 2  # mostly every pair will do
        low, high = (low, middle) if math.isfinite(of(middle)) else (middle, high)
    if high == draws.size:
        return None
    least = f" that are dropped {tables.first[order[high]]} and {tables.second[order[high]]} times or more"
    return of(high), tables.what + (least if high else "")


def judge_independence(tally: Tally, axis: str, budget: float) -> Verdict:
    """Whether the masks of two samples, channels or calls are independent; `axis` is one of these words.

    Neighbours are compared cell by cell. Of all samples, or channels, each pair is judged by whether both drop more
    cells than are expected, and so is every distance, its disjoint pairs taken together, and the last with the first.
    """
    shared = {"channel": tally.law.rules.shared_channels, "sample": tally.law.rules.shared_samples}
    if shared.get(axis):
        return Verdict(not_judged=f"{axis}s share masks under convention {tally.law.rules.name!r}")
    if (tally.calls if axis == "call" else len(tally.of_each[axis])) < 2:
        return Verdict(not_judged=f"there is one {axis}")
    return judge_tables(tally.tables(axis), budget, f"{axis}_independence", tally.law)


@cache
def _disjoint_pairs(groups: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (i, j > i), so that of each distance none has a group that another one has."""
    i, j = np.triu_indices(groups, k=1)
    disjoint = i // (j - i) % 2 == 0
    return i[disjoint], j[disjoint]


def _all_pairs(tally: Tally, axis: str) -> list[Tables]:
    together, high, number = tally.both_high[axis], tally.high[axis], tally.of_each[axis]
    groups = int(np.count_nonzero(number[: len(together)] == number[0]))  # a last, smaller call has fewer

    def counts(i: NDArray[np.int64], j: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [together[i, j], high[i], high[j], np.full(i.size, number[0])]

    k, m = np.triu_indices(min(groups, _MOST_PAIRED_GROUPS), k=1)
    few = counts(k, m)
    i, j = _disjoint_pairs(groups)
    pooled = [np.bincount(j - i, part, groups)[1:].astype(np.int64) for part in counts(i, j)]
    early = np.arange(groups // 2)
    ends = [part.sum(keepdims=True) for part in counts(early, groups - 1 - early)]
    ways: list[tuple[Sequence[NDArray[np.int64]], Callable[[int], str], str]] = [
        (few, lambda pair: f"{axis}s {k[pair]} and {m[pair]}", f"any two {axis}s"),
        (pooled, lambda k: f"{axis}s at a distance of {k + 1}", f"{axis}s at any distance"),
        (
            ends,
            lambda _: f"{axis}s of which one comes as late as the other comes early",
            f"a batch and its reverse in {axis}s",
        ),
    ]
    return [Tables(both, first, second, of, _high(name), what) for (both, first, second, of), name, what in ways]


def _high(name: Callable[[int], str]) -> Callable[[int], str]:
    return lambda k: name(k) + _HIGH


def judge_batch(tally: Tally, budget: float) -> Verdict:
    """Whether all samples of a batch, and all channels, drop as often as each other, whatever that rate is."""
    faults, judged = [], []
    for axis in _AXES:
        high, number = tally.high[axis], tally.of_each[axis]
        each = budget / len(_AXES) / max(high.size, 1)
        all_high, masks = high.sum(), number.sum()
        if high.size < 2 or hypergeometric_p_values(0, number.min(), all_high, masks) > each:
            continue
        judged.append(axis)
        p_values = hypergeometric_p_values(high, number, all_high, masks)
        if (p_values <= each).any():
            worst = _worst(p_values, high / number / (all_high / masks))
            faults.append(
                f"all {axis}s must be dropped equally often, but {axis} {worst} of {high.size} drops more cells than "
                f"are expected in {high[worst]} of {number[worst]} of its masks, and all together in {all_high} of "
                f"{masks} (p-value {p_values[worst]:.1e}; {np.count_nonzero(p_values <= each)} {axis}s differ)"
            )
    if not judged:
        return Verdict(not_judged=f"{tally.masks} masks are too few to tell samples or channels apart ({tally.law})")
    detects = f"a {' or a '.join(judged)} that is never dropped ({tally.law})"
    return Verdict(Fault("batch_rates", faults[0]) if faults else None, detects, budget)


def find_dependent_draws(tally: Tally, budget: float) -> Fault | None:
    """Whether masks are not drawn anew, or not independently, or not all alike: then no rate can be judged."""
    for fault in (tally.repetition.verdict(budget / 5).fault, judge_batch(tally, budget / 5).fault):
        if fault is not None:
            return fault
    for axis in (*_AXES, "call"):
        if text := find_dependence(tally.tables(axis), budget / 5):
            return Fault(f"{axis}_independence", text)
    return None


def merge(verdicts: Sequence[Verdict]) -> Verdict:
    """Several answers as one: its fault is the first; it is not judged only where none is."""
    made = [verdict for verdict in verdicts if not verdict.not_judged]
    return Verdict(
        next((verdict.fault for verdict in made if verdict.fault is not None), None),
        "; ".join(dict.fromkeys(verdict.detects for verdict in made if verdict.detects)),
        sum(verdict.false_alarm for verdict in made),
        "" if made else "; ".join(dict.fromkeys(verdict.not_judged for verdict in verdicts)),
        "; ".join(dict.fromkeys(text for verdict in verdicts for text in (verdict.seen, verdict.not_judged) if text)),
    )


# Rates


def judge_rate(law: Law, dropped: int, masks: int, budget: float) -> Verdict:
    """Whether so many dropped cells in so many masks are what is expected, up to chance.

    Half of the budget is for the deviation of the fraction, either way; a quarter each for nothing dropped, whose
    probability is exact, and everything.
    """
    seen = dropped / (masks * law.cells)
    below, above = law.deviations(masks, budget / 4)
    nothing, everything = law.untouched**masks, law.all_dropped(masks)
    error = rate_error(law, masks, budget)
    detects = [f"{percent(error)} error of the map's rate ({law})"] if error < math.inf else []
    if law.expected == 0:
        detects = [f"any dropped cell ({law})"]
    detects += ["an output that drops nothing"] if nothing <= budget / 4 and error > 1 else []
    told = f"{seen:.6f} dropped, {law.expected:.6f} expected ({law})"
    if error > 1:
        needed = f"{rate_masks(law, 1.0, budget):.2g}"
        few = f"about {needed} masks are needed to find 100 % error of the map's rate, there are {masks}"
        if not detects:
            return Verdict(not_judged=few)
        told += f"; {few}"
    text, relative = "", f", {100 * (seen / law.expected - 1):+.1f} %" if law.expected else ""
    if dropped == 0 and nothing <= budget / 4:
        text = (
            f"no cell is dropped in {masks} masks, by chance with probability {nothing:.1e}; {law.expected:.6f} of "
            "them must be, on average"
        )
    elif seen == 1 and everything <= budget / 4:
        text = (
            f"all cells are dropped in {masks} masks, by chance with probability at most {everything:.1e}; "
            f"{law.expected:.6f} of them must be, on average"
        )
    elif not -below < seen - law.expected < above and seen != law.expected:
        text = (
            f"{law.expected:.6f} of the cells must be dropped on average (drop_prob {law.setting.drop_prob} is the "
            f"nominal rate), and over {masks} masks {seen:.6f} are{relative}; a correct implementation stays between "
            f"{max(law.expected - below, 0):.6f} and {min(law.expected + above, 1):.6f}, under convention "
            f"{law.rules.name!r} with gamma {law.gamma:.6g}{_rate_of_keep_prob(law, seen, masks)}"
        )
    return Verdict(Fault("map_rate", text) if text else None, "; ".join(detects), budget, seen=told)


def _rate_of_keep_prob(law: Law, seen: float, masks: int) -> str:
    """What is said where this is the fraction that the other probability drops."""
    other = 1 - law.setting.drop_prob
    expected = float(expected_drop_fraction(other, law.setting.block_size, law.shape, convention=law.rules))
    below, above = law.deviations(masks, MISS, expected)
    if not -below <= seen - expected <= above:
        return ""
    return f"; that is the rate of drop_prob {other:g}: is keep_prob passed for it?"


@lru_cache(maxsize=256)
def rate_error(law: Law, masks: int, budget: float) -> float:
    """The smallest relative error of the dropped fraction, too much or too little, that `judge_rate` finds.

    Infinite where even nothing, or everything, can be missed.
    """
    if law.expected == 0:
        return 0.0
    below, above = law.deviations(masks, budget / 4)

    def found(fraction: float) -> bool:
        """Whether a gamma that drops this fraction is missed with probability MISS at most."""
        if fraction == 0 and law.untouched**masks <= budget / 4:
            return True
        down, up = law.deviations(masks, MISS, fraction)
        return fraction + up <= law.expected - below or fraction - down >= law.expected + above

    errors = []
    for extreme, step in ((0.0, -below), (1.0, above)) if law.expected < SURE else ((0.0, -below),):
        if not found(extreme):
            return math.inf
        near, far = law.expected, law.expected + 4 * step  # mostly both deviations are much alike
        if not 0 < far < 1 or not found(far):
            far = extreme
        while abs(far - near) > 0.01 * abs(far - law.expected):
            middle = (near + far) / 2
            near, far = (near, middle) if found(middle) else (middle, far)
        errors.append(abs(far - law.expected) / law.expected)
    return max(errors)


@lru_cache(maxsize=256)
def rate_masks(law: Law, error: float, budget: float) -> int:
    """The number of masks with which `judge_rate` finds this relative error, too much and too little."""
    fractions = [law.expected * (1 - error), min(1.0, law.expected * (1 + error))]
    if law.expected >= SURE:
        fractions = fractions[:1]
    if error >= 1:
        fractions = [0.0, *fractions[1:]]

    def found(masks: int) -> bool:
        below, above = law.deviations(masks, budget / 4)
        for fraction in fractions:
            if fraction == 0:
                right = law.untouched**masks <= budget / 4 or below <= law.expected
            else:
                down, up = law.deviations(masks, MISS, fraction)
                low, high = law.expected - below, law.expected + above
                right = fraction + up <= low if fraction < law.expected else fraction - down >= high
            if not right:
                return False
        return True

    low, high = 0, 1
    while not found(high) and high < _MOST_MASKS:
        low, high = high, 2 * high
    while high - low > max(1, low // 200):
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def masks_that_show_nothing_dropped(law: Law, budget: float) -> int:
    """The number of masks from which on `judge_rate` fails an output that drops nothing."""
    by_chance = math.ceil(math.log(budget / 4) / math.log(law.untouched)) if 0 < law.untouched < 1 else 1
    return max(1, by_chance)


def judge_cells(law: Law, counts: NDArray[np.int64], masks: int, budget: float) -> Verdict:
    """Whether every single cell is dropped as often as its exact probability says."""
    expected = np.minimum(law.rates, SURE)
    each = budget / counts.size
    p_values = binomial_p_values(counts, masks, expected)
    few = _too_few(masks, "masks", float(expected.min()), each)
    error = binomial_detectable(masks, float(expected.min()), each)
    detects = "" if few else f"{percent(error)} error of any cell's rate ({law})"
    if not (p_values <= each).any():
        return Verdict(None, detects, budget, not_judged=few)
    worst = _worst(p_values, counts / masks / expected)
    text = (
        f"cell {law.cell(worst)} must be dropped with probability {expected[worst]:.6f}, and is dropped in "
        f"{counts[worst]} of {masks} masks, {counts[worst] / masks:.6f} (p-value {p_values[worst]:.1e}; "
        f"{np.count_nonzero(p_values <= each)} of {counts.size} cells differ); rates seen / expected:\n"
        + _ratios(counts / masks / expected, law.shape)
    )
    return Verdict(Fault("cell_rates", text), detects, budget)


def judge_pairs(law: Law, together: NDArray[np.int64], masks: int, budget: float, *, overlapping: bool) -> Verdict:
    """Whether two cells of a mask that one block can cover, or that none can, are dropped together as they must be.

    Of `together` the diagonal has the counts of the cells themselves. Cells that no block covers both are independent,
    whatever their rates. Of those that one can cover, only cells with right rates are judged: a wrong rate makes every
    joint rate wrong too, and is the business of the check of rates.
    """
    check = "overlapping_cells" if overlapping else "distant_cells"
    if law.cells > MOST_CELLS_IN_PAIRS:
        text = f"pairs of cells are compared on maps of up to {MOST_CELLS_IN_PAIRS} cells, this has {law.cells}"
        return Verdict(not_judged=text)
    joint, both = law.pairs
    u, v = np.nonzero(np.triu((both > 0) == overlapping, k=1))
    if not u.size:
        return Verdict(not_judged=f"there are no two cells that {'one' if overlapping else 'no'} block covers")
    counts = np.diagonal(together)

    def name(k: int) -> str:
        return f"cells {law.cell(u[k])} and {law.cell(v[k])} of one map"

    if not overlapping:
        tables = Tables(together[u, v], counts[u], counts[v], masks, name, "two distant cells")
        return judge_tables([tables], budget, check, law)
    expected = np.minimum(joint[u, v], SURE)
    right = binomial_p_values(counts, masks, np.minimum(law.rates, SURE)) > _WRONG_RATE / law.cells
    text = _too_few(masks, "masks", float(expected.min()), budget / u.size)
    if not text and not (chosen := right[u] & right[v]).any():
        text = f"the cells themselves are not dropped as often as they must be, see cell_rates ({law})"
    if text:
        return Verdict(not_judged=text)
    return _judge_joint_rates(law, together[u, v], expected, chosen, masks, budget, name)


def _judge_joint_rates(
    law: Law,
    counts: NDArray[np.int64],
    expected: NDArray[np.float64],
    chosen: NDArray[np.bool_],
    masks: int,
    budget: float,
    name: Callable[[int], str],
) -> Verdict:
    each = budget / counts.size
    detects = f"{percent(binomial_detectable(masks, float(expected.min()), each))} error of any joint rate ({law})"
    p_values = np.where(chosen, binomial_p_values(counts, masks, expected), 1.0)
    if not (p_values <= each).any():
        return Verdict(None, detects, budget)
    worst = _worst(p_values, counts / masks / expected)
    text = (
        f"{name(worst)} must be dropped together with probability {expected[worst]:.6f}, and are in {counts[worst]} of "
        f"{masks} draws, {counts[worst] / masks:.6f} (p-value {p_values[worst]:.1e}; "
        f"{np.count_nonzero(p_values <= each)} of {p_values.size} pairs differ)"
    )
    return Verdict(Fault("overlapping_cells", text), detects, budget)


def judge_spread(tally: Tally, budget: float) -> Verdict:
    """Whether the number of dropped cells varies from call to call as that of independent masks does.

    It is counted on cells a block apart, which are independent, so that its law is exact; only where its mean is right,
    because what is dropped less often varies less too.
    """
    law = tally.law
    masks, totals = max(tally.totals.items(), key=lambda item: (len(item[1]), item[0]), default=(0, []))
    calls = len(totals)
    if calls < 2:
        return Verdict(not_judged="there is one call")
    of_call = count_law(law.rates[law.lattice], masks)
    if of_call.variance == 0:
        return Verdict(not_judged=f"the number of dropped cells is the same in every call ({law})")
    low, high = of_call.spread_detectable(calls, budget / 2)
    if low == 0 and math.isinf(high):
        return Verdict(not_judged=f"{calls} calls are too few to tell how much their number of dropped cells varies")
    if _mean_p_value(of_call, totals) < _WRONG_RATE:
        return Verdict(not_judged=f"too many cells are dropped, or too few, see map_rate ({law})")
    ratio = float(np.var(totals, ddof=1)) / of_call.variance
    parts = [f"less than {percent(low)}"] * (low > 0) + [f"more than {percent(high)}"] * (high < math.inf)
    detects = f"a variance over calls of {' or '.join(parts)} of the right one ({law})"
    steady, unsteady = of_call.steady_p_value(ratio, calls), of_call.unsteady_p_value(ratio, calls)
    if min(steady, unsteady) > budget / 2:
        return Verdict(None, detects, budget)
    text = (
        f"in {calls} calls of {masks} masks the number of dropped cells, on cells that no block covers together, has a "
        f"variance of {float(np.var(totals, ddof=1)):.4g}, {percent(ratio)} of that of independent masks, "
        f"{of_call.variance:.4g} (p-value {min(steady, unsteady):.1e}): the calls are too "
        f"{'much alike, as if the number of seeds were fixed' if steady < unsteady else 'different'}"
    )
    return Verdict(Fault("call_spread", text), detects, budget)


def _mean_p_value(law: CountLaw, totals: Sequence[int]) -> float:
    """By the normal law, which is near enough to say that a rate is the business of another check."""
    z = abs(sum(totals) - len(totals) * law.mean) / math.sqrt(len(totals) * law.variance)
    return math.erfc(z / math.sqrt(2))


def judge_all_dropped(law: Law, calls: NDArray[np.bool_], masks: int, budget: float) -> Verdict:
    """Whether calls of so many masks, of which these drop everything, do so by chance."""
    chance = calls.size * law.all_dropped(masks)
    if chance > budget:
        return Verdict(not_judged="a call that drops everything may be right")
    detects = "a call that drops everything"
    if not calls.any():
        return Verdict(None, detects, budget)
    text = f"all cells are dropped in call {int(np.argmax(calls))}, by chance with probability at most {chance:.1e}"
    return Verdict(Fault("map_rate", text), detects, budget)


def _too_few(draws: int, what: str, probability: float, each: float) -> str:
    """What is said where even a cell, or a pair, that is dropped never or twice as often can be missed."""
    if probability > 0 and binomial_detectable(draws, min(probability, SURE), each) <= 1:
        return ""
    common = min(max(probability, 1e-6), SURE)  # what is rarer needs more in proportion
    factor = common / probability if probability > 0 else math.inf
    needed = binomial_draws(common, 1.0, each) * max(factor, 1.0)
    return f"about {needed:.2g} {what} are needed to find 100 % error of the rarest rate, there are {draws}"


def percent(relative: float) -> str:
    """A relative error in words."""
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
