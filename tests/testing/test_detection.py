"""The detection limits that checks state are true: a backend wrong by just that much is caught.

A check finds an error of its stated size with probability 1 - 1e-6 (MISS), so that each test here that runs one check
once fails by luck with probability at most 1e-6, with streams of other seeds than the fixed ones. That the limits are
true in both directions, and the smallest, is shown exactly in test_statistics.py; here the whole way from the draws to
the verdict is tried.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from dropblock_ref import CONVENTIONS, Convention
from dropblock_ref.testing import CheckResult, judge
from dropblock_ref.testing.check import Map, Run
from dropblock_ref.testing.maps import REALISTIC
from dropblock_ref.testing.oracle import CHECKS
from dropblock_ref.testing.statistics import binomial_detectable
from dropblock_ref.theory import calibrated_gamma, drop_probability, expected_drop_fraction
from tests.mutants.correct import Block, DropBlock, Mask, Shape, make_backend

pytestmark = pytest.mark.slow

Index: TypeAlias = tuple[slice | int, ...]
Kind: TypeAlias = Callable[[Convention | str, str], DropBlock]
Tamper: TypeAlias = Callable[[Mask, np.random.Generator], None]
EVERY = slice(None)
EITHER_WAY = pytest.mark.parametrize("direction", [1, -1], ids=["high", "low"])
SEEDS = (0, 1, 2)


class OffRate(DropBlock):
    """The expected fraction of dropped cells is too large by a factor."""

    factor = 1.0

    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        fraction = expected_drop_fraction(p, block.size, spatial_shape, convention=self.rules)
        return calibrated_gamma(min(fraction * self.factor, 1.0), block.size, spatial_shape, convention=self.rules)


class Tampered(DropBlock):
    """A correct DropBlock whose dropped cells, (N, C, *spatial), are changed on one map with one block."""

    on: Map
    tamper: Tamper
    noise: np.random.Generator

    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        dropped = super().dilate(seeds, block)
        if (seeds.shape[2:], block) == (self.on.spatial_shape, self.block_of(self.on)):
            dropped = dropped.copy()
            self.tamper(dropped, self.noise)
        return dropped

    def block_of(self, one: Map) -> Block:
        return self.judge((1, 1, *one.spatial_shape), one.drop_prob, one.block_size)[1]


def off_rate(factor: float, convention: Convention | str, data_format: str) -> DropBlock:
    implementation = OffRate(convention, data_format)
    implementation.factor = factor
    return implementation


def tampered(on: Map, seed: int, tamper: Tamper, convention: Convention | str, data_format: str) -> DropBlock:
    implementation = Tampered(convention, data_format)
    implementation.on, implementation.tamper, implementation.noise = on, tamper, np.random.default_rng((1810, seed))
    return implementation


def try_check(
    name: str,
    kind: Kind,
    *,
    convention: str = "paper",
    ndims: tuple[int, ...] = (2,),
    seed: int = 0,
    quick: bool = False,
) -> CheckResult:
    """One check on a black box."""
    backend = make_backend(convention, "channels_first", ndims, ("float32",), kind=kind, name="wrong")
    return CHECKS[name].run(Run(backend, seed, 1e-9, quick))


@dataclass(frozen=True)
class Limit:
    """What a check says about one map: it finds every error of a rate that is `relative` of it."""

    one: Map
    draws: int
    rate: float  # the smallest, for which the limit is meant
    relative: float


@cache
def limits(name: str, convention: str = "paper", quick: bool = False) -> tuple[Limit, ...]:
    """The limits that a check states, listened to while it makes them."""
    found: list[Limit] = []
    maps: list[Map] = []

    def listen(question: Callable[..., Any], law: judge.Law, *rest: Any, **more: Any) -> Any:
        maps.append(law.setting)  # type: ignore[arg-type]
        return question(law, *rest, **more)

    def record(draws: int, probability: float, false_alarm: float) -> float:
        limit = Limit(maps[-1], draws, probability, binomial_detectable(draws, probability, false_alarm))
        if limit.relative <= 1 and limit not in found:  # no larger one is judged; what it is, is asked twice
            found.append(limit)
        return limit.relative

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "judge_cells", partial(listen, judge.judge_cells))
        patch.setattr(judge, "judge_pairs", partial(listen, judge.judge_pairs))
        patch.setattr(judge, "binomial_detectable", record)
        result = try_check(name, DropBlock, convention=convention, quick=quick)
    assert result.status == "passed"
    what = "any cell's rate" if name == "cell_rates" else "any joint rate"
    stated = [
        f"{100 * limit.relative:{'.0f' if limit.relative > 1 else '.2g'}} % error of {what} ({limit.one})"
        for limit in found
    ]
    assert result.detects.split("; ") == list(dict.fromkeys(stated))
    return tuple(found)


def rates_of(one: Map, convention: str) -> NDArray[np.float64]:
    return drop_probability(one.drop_prob, one.block_size, one.spatial_shape, convention=convention)


# The rate of the map


@EITHER_WAY
@pytest.mark.parametrize(
    ("convention", "ndims", "percent"),
    [("paper", (2,), 3), ("timm", (2,), 3), ("dropblock", (2,), 3), ("torchvision", (3,), 5.4)],
)
def test_an_error_of_the_maps_rate_is_caught(
    convention: str, ndims: tuple[int, ...], percent: float, direction: int
) -> None:
    """The stated part of the expected fraction; fails by luck with probability 1e-6."""
    kind = partial(off_rate, 1 + 0.01 * percent * direction)
    result = try_check("map_rate", kind, convention=convention, ndims=ndims)
    assert result.status == "failed", result
    assert result.detects.startswith(f"{percent:g} % error of the map's rate")
    assert "must be dropped on average" in result.message


@EITHER_WAY
@pytest.mark.parametrize("seed", SEEDS)
def test_an_error_of_the_maps_rate_is_caught_by_the_quick_profile(seed: int, direction: int) -> None:
    """10 % of the expected fraction; fails by luck with probability 1e-6."""
    result = try_check("map_rate", partial(off_rate, 1 + 0.1 * direction), seed=seed, quick=True)
    assert result.status == "failed", result


def test_what_map_rate_states_is_what_is_tried_here() -> None:
    for quick, percent in ((False, 3), (True, 10)):
        result = try_check("map_rate", DropBlock, quick=quick)
        assert result.status == "passed"
        stated = re.match(rf"([\d.]+) % error of the map's rate \({re.escape(str(REALISTIC[0]))}\)", result.detects)
        assert stated is not None
        assert 0.8 * percent < float(stated[1]) <= percent


# The rate of a cell


def change_rate(cell: Shape, rate: float, wanted: float) -> Tamper:
    """Drop that cell with another probability, whatever else is dropped."""

    def tamper(dropped: Mask, noise: np.random.Generator) -> None:
        index: Index = (EVERY, EVERY, *cell)
        chosen = noise.random(dropped.shape[:2])
        if wanted > rate:
            dropped[index] |= chosen < (wanted - rate) / (1 - rate)
        else:
            dropped[index] &= chosen >= (rate - wanted) / rate

    return tamper


def try_cell(convention: str, number: int, cell: Shape | None, direction: int, seed: int, *, quick: bool) -> None:
    """Be wrong by the stated limit in one cell of one map, by default the one that drops least."""
    limit = limits("cell_rates", convention, quick)[number]
    rates = rates_of(limit.one, convention)
    if cell is None:
        cell = tuple(int(i) for i in np.unravel_index(int(np.argmin(rates)), rates.shape))
        assert rates[cell] == pytest.approx(limit.rate)
    wanted = float(rates[cell]) * (1 + direction * limit.relative)
    assert 0 <= wanted <= 1
    kind = partial(tampered, limit.one, seed, change_rate(cell, float(rates[cell]), wanted))
    result = try_check("cell_rates", kind, convention=convention, seed=seed, quick=quick)
    assert result.status == "failed", result
    assert f"on {limit.one}\n" in result.message
    assert f"cell {cell} must be dropped with probability {rates[cell]:.6f}" in result.message


@EITHER_WAY
@pytest.mark.parametrize(
    ("convention", "number"),
    [("paper", 0), ("paper", 1), ("paper", 3), ("paper", 5), ("timm", 0), ("timm", 2), ("dropblock", 0)],
)
def test_an_error_of_the_rarest_cells_rate_is_caught(convention: str, number: int, direction: int) -> None:
    """The stated 3 % or, on further maps, 10 %; fails by luck with probability 1e-6."""
    assert limits("cell_rates", convention)[number].relative <= 1.001 * (0.03 if number == 0 else 0.1)
    try_cell(convention, number, None, direction, 0, quick=False)


@EITHER_WAY
@pytest.mark.parametrize(("cell", "seed"), [((0, 0), 1), ((0, 0), 2), ((0, 2), 3), ((2, 2), 4), ((4, 1), 5)])
def test_an_error_of_any_cells_rate_is_caught(cell: Shape, seed: int, direction: int) -> None:
    """The stated limit holds for cells that drop more often too; fails by luck with probability 1e-6."""
    try_cell("paper", 0, cell, direction, seed, quick=False)


@EITHER_WAY
@pytest.mark.parametrize("seed", range(5))
def test_an_error_of_a_cells_rate_is_caught_by_the_quick_profile(seed: int, direction: int) -> None:
    """20 %; fails by luck with probability 1e-6."""
    try_cell("paper", 0, None, direction, seed, quick=True)


# Joint rates. One pair of cells is made dependent, or less dependent, while both keep their own rates.


def change_joint_rate(first: Index, second: Index, rates: tuple[float, float], joint: float, wanted: float) -> Tamper:
    """Drop both more or less often together, by changing the second only."""

    def tamper(dropped: Mask, noise: np.random.Generator) -> None:
        relate(dropped, dropped[first].copy(), second, rates, joint, wanted, noise)

    return tamper


def relate(
    dropped: Mask,
    a: Any,
    second: Index,
    rates: tuple[float, float],
    joint: float,
    wanted: float,
    noise: np.random.Generator,
) -> None:
    """Move probability between the four outcomes of a and b, so that both go on to have their own rates."""
    b, chosen = dropped[second], noise.random(np.shape(a))
    move = abs(wanted - joint)
    if wanted > joint:  # from (1, 0) to (1, 1), and as much from (0, 1) to (0, 0)
        on, off = a & ~b & (chosen < move / (rates[0] - joint)), ~a & b & (chosen < move / (rates[1] - joint))
    else:  # from (0, 0) to (0, 1), and as much from (1, 1) to (1, 0)
        on, off = ~a & ~b & (chosen < move / (1 - sum(rates) + joint)), a & b & (chosen < move / joint)
    dropped[second] = (b | on) & ~off


def joint_rate(rates: tuple[float, float], joint: float, relative: float) -> float:
    """A joint rate wrong by that much, or the most that there is."""
    lowest, highest = max(0.0, sum(rates) - 1), min(rates)
    return float(np.clip(joint * (1 + relative), lowest, highest))


@EITHER_WAY
@pytest.mark.parametrize("number", [0, 1, 3, 5])
def test_an_error_of_a_joint_rate_within_a_map_is_caught(number: int, direction: int) -> None:
    """The stated limit, of the rarest pair that can be so wrong; fails by luck with probability 1e-6."""
    name = "overlapping_cells"
    limit = limits(name)[number]
    joint, both = judge.Law(limit.one, CONVENTIONS["paper"]).pairs
    rates = rates_of(limit.one, "paper").ravel()
    wanted = joint * (1 + direction * limit.relative)
    possible = (wanted <= np.minimum.outer(rates, rates)) & (wanted >= np.add.outer(rates, rates) - 1)
    joint = np.where((both > 0) & possible, joint, 1.0)
    u, v = (int(i) for i in np.unravel_index(int(np.argmin(joint)), joint.shape))
    assert limit.rate <= joint[u, v] < 0.9
    try_pair(name, limit, cell_of(u, limit.one), cell_of(v, limit.one), float(joint[u, v]), direction)


def try_pair(name: str, limit: Limit, u: Shape, v: Shape, joint: float, direction: int) -> None:
    rates = rates_of(limit.one, "paper")
    pair = float(rates[u]), float(rates[v])
    wanted = joint_rate(pair, joint, direction * limit.relative)
    assert wanted == pytest.approx(joint * (1 + direction * limit.relative))
    tamper = change_joint_rate((EVERY, EVERY, *u), (EVERY, EVERY, *v), pair, joint, wanted)
    result = try_check(name, partial(tampered, limit.one, 0, tamper))
    assert result.status == "failed", result
    assert f"on {limit.one}\n" in result.message


def cell_of(index: int, one: Map) -> Shape:
    return tuple(int(i) for i in np.unravel_index(index, one.spatial_shape))


@cache
def correlation(name: str, what: str) -> float:
    """The stated one of the small map."""
    result = try_check(name, DropBlock)
    assert result.status == "passed"
    stated = re.search(rf"a correlation of (0\.\d+) between {what} \(5x5, block 3", result.detects)
    assert stated is not None, result.detects
    return float(stated[1]) * 1.05  # it is shown with two digits


SMALL = Map((5, 5), 3, 0.8)
CORNERS = (0, 0), (4, 4)


def correlate(dropped: Mask, first: Any, second: Index, size: float, noise: np.random.Generator) -> None:
    """Give two corners, whose rates are the same, this correlation."""
    rate = float(rates_of(SMALL, "paper")[0, 0])
    joint = rate**2 + size * rate * (1 - rate)
    relate(dropped, first, second, (rate, rate), rate**2, joint, noise)


def correlated(name: str, what: str, tamper: Callable[[float], Tamper], seed: int) -> CheckResult:
    kind = partial(tampered, SMALL, seed, tamper(correlation(name, what)))
    return try_check(name, kind, seed=seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_correlation_of_two_distant_cells_is_caught(seed: int) -> None:
    """The stated one; fails by luck with probability 1e-6."""

    def tamper(size: float) -> Tamper:
        def change(dropped: Mask, noise: np.random.Generator) -> None:
            correlate(dropped, dropped[:, :, 0, 0].copy(), (EVERY, EVERY, 4, 4), size, noise)

        return change

    result = correlated("distant_cells", "two distant cells", tamper, seed)
    assert result.status == "failed", result
    assert "cells (0, 0) and (4, 4) of one map must be independent" in result.message


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("axis", ["sample", "channel"])
def test_a_correlation_of_the_cells_of_neighbours_is_caught(axis: str, start: int) -> None:
    """The stated one, of every second pair; fails by luck with probability 1e-6."""

    def tamper(size: float) -> Tamper:
        def change(dropped: Mask, noise: np.random.Generator) -> None:
            length = dropped.shape[axis == "channel"]
            pairs = (length - start) // 2 * 2
            firsts, seconds = slice(start, start + pairs, 2), slice(start + 1, start + pairs, 2)
            i, j = ((EVERY, part) if axis == "channel" else (part, EVERY) for part in (firsts, seconds))
            correlate(dropped, dropped[(*i, 0, 0)].copy(), (*j, 4, 4), size, noise)

        return change

    result = correlated(f"{axis}_independence", f"cells of successive {axis}s", tamper, start)
    assert result.status == "failed", result
    assert f"cells (0, 0) and (4, 4) of the masks of successive {axis}s must be independent" in result.message


@pytest.mark.parametrize("start", [0, 1])
def test_a_correlation_of_the_cells_of_successive_calls_is_caught(start: int) -> None:
    """The stated one, of every second pair of calls; fails by luck with probability 1e-6."""

    def tamper(size: float) -> Tamper:
        before: list[Any] = []

        def change(dropped: Mask, noise: np.random.Generator) -> None:
            if len(before) % 2 != start and before:
                correlate(dropped, before[-1], (EVERY, EVERY, 4, 4), size, noise)
            before.append(dropped[:, :, 0, 0].copy())

        return change

    result = correlated("call_independence", "cells of successive calls", tamper, start)
    assert result.status == "failed", result
    assert "cells (0, 0) and (4, 4) of the masks of successive calls must be independent" in result.message


def test_independence_is_judged_to_a_few_percent() -> None:
    """Two cells that are always dropped together have a correlation of 1."""
    for axis in ("sample", "channel", "call"):
        assert correlation(f"{axis}_independence", f"cells of successive {axis}s") < 0.1
        assert correlation(f"{axis}_independence", f"the masks of successive {axis}s") < 0.08


def test_a_tampered_backend_without_an_error_passes() -> None:
    """What is changed here and there changes nothing by itself; the streams are fixed."""
    rate = float(rates_of(Map((5, 5), 3, 0.8), "paper")[0, 0])
    for name, tamper in (
        ("cell_rates", change_rate((0, 0), rate, rate)),
        ("channel_independence", change_joint_rate((EVERY, 0, 0, 0), (EVERY, 1, 4, 4), (rate, rate), rate**2, rate**2)),
    ):
        assert try_check(name, partial(tampered, Map((5, 5), 3, 0.8), 0, tamper)).status == "passed"
    assert try_check("map_rate", partial(off_rate, 1.0)).status == "passed"
