"""The judge: its bounds hold exactly, where all outcomes can be listed, and planted errors of each kind are found.

Whatever is drawn here has fixed seeds. With others a planted error is missed with a probability of at most 1e-6.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dropblock_ref import CONVENTIONS, PAPER, drop_block, sample_seeds
from dropblock_ref.testing import CheckResult, judge, make_input
from dropblock_ref.testing.check import Map, Run, settle
from dropblock_ref.testing.judge import Law, Repetition, Tally
from dropblock_ref.testing.oracle import CHECKS
from tests.mutants.correct import DropBlock, Mask, Shape, make_backend

Masks = NDArray[np.bool_]
ONE = Map((1, 2), 1, 0.4)
SMALL = Map((5, 5), 3, 0.8)
REALISTIC = Map((28, 28), 7, 0.1)
BUDGET = 1e-11


def law_of(one: Map, convention: str = "paper") -> Law:
    return Law(one, CONVENTIONS[convention])


def draw(one: Map, samples: int, channels: int, rng: np.random.Generator) -> Masks:
    """Dropped cells of the reference, (samples, channels, cells)."""
    x = np.ones((samples, channels, *one.spatial_shape), dtype=np.float32)
    dropped: Masks = (drop_block(x, one.drop_prob, one.block_size, rng=rng) == 0).reshape(samples, channels, -1)
    return dropped


def tally_of(
    one: Map, calls: int, samples: int, channels: int, change: Callable[[Masks, int], Any] | None = None
) -> Tally:
    """Of calls of the reference, whose masks may be changed."""
    tally, rng = Tally(law_of(one), pairs=True), np.random.default_rng(1)
    for call in range(calls):
        dropped = draw(one, samples, channels, rng).copy()
        if change is not None:
            change(dropped, call)
        tally.add(dropped, 0 if call == 0 else None)
    return tally


# Repetition


def outcomes(masks: int) -> list[tuple[Masks, float]]:
    """All sequences of masks of two cells, and their probabilities."""
    single = [np.array(cells) for cells in itertools.product((False, True), repeat=2)]
    found = []
    for chosen in itertools.product(single, repeat=masks):
        dropped = np.stack(chosen)[:, None]
        number = int(dropped.sum())
        found.append((dropped, 0.4**number * 0.6 ** (2 * masks - number)))
    return found


@pytest.mark.parametrize("budget", [0.9, 0.5, 0.2])
def test_independent_masks_repeat_no_more_often_than_is_said(budget: float) -> None:
    """Exactly, over all 4096 sequences of six masks of two cells."""
    chance = judged = 0.0
    for dropped, probability in outcomes(6):
        repetition = Repetition()
        repetition.add(dropped, law_of(ONE), 0)
        verdict = repetition.verdict(budget)
        chance += probability * (verdict.fault is not None)
        judged += probability * (not verdict.not_judged)
    assert chance <= budget
    assert judged > 0 or budget < 0.5


@pytest.mark.parametrize(("period", "calls"), [(64, 130), (100, 202)])
def test_a_stream_that_repeats_is_found_and_the_calls_are_named(period: int, calls: int) -> None:
    repetition, rng = Repetition(), np.random.default_rng(0)
    stream = [draw(REALISTIC, 1, 1, rng) for _ in range(period)]
    for call in range(calls):
        repetition.add(stream[call % period], law_of(REALISTIC), 0 if call == 0 else None)
    verdict = repetition.verdict(BUDGET)
    assert verdict.fault is not None
    assert verdict.fault.check == "repeated_draws"
    assert f"from sample 0, channel 0 of call {period} on are the same as from sample 0, channel 0 of call 0" in (
        verdict.fault.text
    )


def test_samples_that_come_again_far_behind_are_found() -> None:
    rng = np.random.default_rng(0)
    dropped = draw(Map((4, 4), 2, 0.5), 16384 + 100, 1, rng).copy()
    dropped[16384:] = dropped[:100]
    repetition = Repetition()
    repetition.add(dropped, law_of(Map((4, 4), 2, 0.5)), 0)
    fault = repetition.verdict(BUDGET).fault
    assert fault is not None
    assert fault.check == "repeated_draws"
    assert "from sample 16384, channel 0 of call 0 on are the same as from sample 0" in fault.text


def test_random_seeds_modulo_sixteen_are_found_and_the_same_seed_may_come_again() -> None:
    for modulo in (16, 1000):
        repetition = Repetition()
        for seed in (*range(18), 3, 3, 7):
            repetition.add(draw(SMALL, 8, 8, np.random.default_rng(seed % modulo)), law_of(SMALL), seed)
        fault = repetition.verdict(BUDGET).fault
        assert (fault is not None) == (modulo == 16)
        if fault is not None:
            assert (
                "call 16 (random seed 16) on are the same as from sample 0, channel 0 of call 0 (random seed 0)"
                in fault.text
            )


def test_channels_that_share_masks_are_found() -> None:
    repetition, rng = Repetition(), np.random.default_rng(0)
    repetition.add(draw(REALISTIC, 2, 64, rng)[:, np.arange(130) % 64], law_of(REALISTIC), 0)
    fault = repetition.verdict(BUDGET).fault
    assert fault is not None
    assert fault.check == "repeated_draws"


@pytest.mark.parametrize("drop_prob", [0.0, 0.001, 0.06])
def test_wrong_rates_are_no_repetition(drop_prob: float) -> None:
    """Masks that drop less, or nothing, are the same more often."""
    repetition, rng = Repetition(), np.random.default_rng(0)
    for call in range(20):
        repetition.add(
            draw(replace(REALISTIC, drop_prob=drop_prob), 10, 8, rng), law_of(REALISTIC), 0 if call == 0 else None
        )
    assert repetition.verdict(BUDGET).fault is None


def test_what_cannot_repeat_visibly_is_not_judged() -> None:
    repetition = Repetition()
    repetition.add(draw(SMALL, 2, 2, np.random.default_rng(0)), law_of(SMALL), 0)
    assert "masks are needed to find some that repeat, there are 4" in repetition.verdict(BUDGET).not_judged


def test_groups_that_drop_nothing_share_no_masks() -> None:
    nothing = np.zeros((2, 50, 25), dtype=np.bool_)
    assert "drop nothing, see map_rate" in judge.judge_repeats(law_of(SMALL), nothing, BUDGET, "call", "x").not_judged


# Rows


def test_rows_are_the_same_no_more_often_than_is_said() -> None:
    """Exactly, over all masks of 4x2 with blocks of one cell."""
    one, budget = Map((4, 2), 1, 0.5), 0.99
    faults = 0
    masks = np.array(list(itertools.product((False, True), repeat=16)), dtype=np.bool_)[::7].reshape(-1, 2, 8)
    for mask in masks[:2000]:
        faults += judge.judge_lines(law_of(one), mask, budget).fault is not None
    assert faults <= budget * 2000


@pytest.mark.parametrize("period", [16, 64])
@pytest.mark.parametrize("axis", [0, 1])
def test_rows_that_repeat_are_found_in_a_single_large_mask(axis: int, period: int) -> None:
    one = Map((264, 256), 3, 0.5)
    law = law_of(one)
    seeds = sample_seeds(law.gamma, 3, (1, 1, 264, 256), rng=0)
    assert judge.judge_lines(law, draw(one, 1, 1, np.random.default_rng(0))[0], BUDGET).fault is None
    seeds = np.take(seeds, np.arange(1, 255) % period + 1, axis=2 + axis)
    dropped = drop_block(np.ones((1, 1, *seeds.shape[2:]), np.float32), 0.5, 3, seeds=_fitting(seeds)) == 0
    law = law_of(Map(seeds.shape[2:], 3, 0.5))
    verdict = judge.judge_lines(law, dropped.reshape(1, -1), BUDGET)
    assert verdict.fault is not None
    assert re.search(
        r"(rows|columns) \d+ and \d+ drop the same cells in all of 1 masks|cells of row 0, ", verdict.fault.text
    )


def _fitting(seeds: Masks) -> Masks:
    inside = np.zeros_like(seeds)
    inside[..., 1:-1, 1:-1] = seeds[..., 1:-1, 1:-1]
    return inside


def test_rows_of_few_masks_are_not_judged() -> None:
    dropped = draw(SMALL, 1, 1, np.random.default_rng(0))[0]
    assert "may be the same by chance" in judge.judge_lines(law_of(SMALL), dropped, BUDGET).not_judged


# Batches, and calls


def test_the_counts_of_batches_of_calls_add_up() -> None:
    """To the same verdicts, but for the calls on both sides of a cut, which are not compared."""
    rng = np.random.default_rng(3)
    calls = [draw(SMALL, 10, 3, rng) for _ in range(12)]
    whole, first, second = (Tally(law_of(SMALL), pairs=True) for _ in range(3))
    for number, dropped in enumerate(calls):
        whole.add(dropped, 0 if number == 0 else None)
        (first if number < 7 else second).add(dropped, number if number in {0, 7} else None)
    added = first + second
    assert added.masks == whole.masks == 360
    for name in ("counts", "together"):
        assert (getattr(added, name) == getattr(whole, name)).all()
    assert added.in_pairs == whole.in_pairs
    assert added.totals == whole.totals
    for question in (judge.judge_batch, judge.judge_spread, partial(judge.judge_independence, axis="sample")):
        assert question(tally=added, budget=1e-3) == question(tally=whole, budget=1e-3)
    calls[9] = calls[2]
    again = Tally(law_of(SMALL), pairs=True)
    for dropped in calls[7:]:
        again.add(dropped, 5)
    assert (first + again).repetition.verdict(1e-3).fault is not None


def nothing_in_the_last(dropped: Masks, _: int) -> None:
    dropped[-1] = False


def test_a_sample_that_is_never_dropped_is_found_and_wrong_rates_are_not() -> None:
    verdict = judge.judge_batch(tally_of(SMALL, 40, 20, 4, nothing_in_the_last), BUDGET)
    assert verdict.fault is not None
    assert "sample 19 of 20 drops more cells than are expected in 0 of 160 of its masks" in verdict.fault.text
    assert "a sample or a channel that is never dropped" in verdict.detects
    wrong = tally_of(replace(SMALL, drop_prob=0.5), 40, 20, 4)
    wrong.law = law_of(SMALL)
    assert judge.judge_batch(wrong, BUDGET).fault is None
    assert "too few to tell samples or channels apart" in judge.judge_batch(tally_of(SMALL, 1, 2, 1), BUDGET).not_judged


def mirrored(dropped: Masks, _: int) -> None:
    half = len(dropped) // 2
    dropped[half : 2 * half] = dropped[half - 1 :: -1, :, ::-1]


def half_mirrored(dropped: Masks, _: int) -> None:
    half = len(dropped) // 2
    dropped[half : 2 * half] = dropped[:half, :, ::-1]


@pytest.mark.parametrize("change", [mirrored, half_mirrored])
def test_a_second_half_of_the_batch_that_mirrors_the_first_is_found(change: Callable[[Masks, int], None]) -> None:
    for samples in (20, 100):
        fault = judge.judge_independence(tally_of(SMALL, 16, samples, 2, change), "sample", BUDGET).fault
        assert fault is not None
        assert "samples" in fault.text


@pytest.mark.parametrize("axis", ["sample", "channel", "call"])
@pytest.mark.parametrize("drop_prob", [0.3, 0.95])
def test_wrong_rates_are_no_dependence(axis: str, drop_prob: float) -> None:
    law, tally, rng = law_of(SMALL), Tally(law_of(SMALL), pairs=True), np.random.default_rng(0)
    for _ in range(30):
        tally.add(draw(replace(SMALL, drop_prob=drop_prob), 30, 8, rng))
    assert judge.judge_independence(tally, axis, 1e-6).fault is None
    assert judge.judge_pairs(law, tally.together, tally.in_pairs, 1e-6, overlapping=False).fault is None
    assert judge.judge_cells(law, tally.counts, tally.masks, 1e-6).fault is not None


# The variance over calls


class FixedNumberOfSeeds(DropBlock):
    """A call has always the same number of seeds."""

    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        size = math.prod(shape)
        seeds = np.zeros(size, dtype=np.bool_)
        seeds[rng.choice(size, round(size * gamma), replace=False)] = True
        return seeds.reshape(shape)


class Stratified(DropBlock):
    """Every hundredth part of the numbers of a call is as often as every other: a Latin hypercube."""

    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        size = math.prod(shape)
        return ((rng.permutation(size) + rng.random(size)) / size < gamma).reshape(shape)


class CoinPerCall(DropBlock):
    """A call drops half as much as it should, or one and a half."""

    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        return super().bernoulli(rng, shape, gamma * rng.choice([0.5, 1.5]))


class Antithetic(DropBlock):
    """The second half of a batch uses 1 - U."""

    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        half = shape[0] // 2
        numbers = rng.random((shape[0] - half, *shape[1:]))
        return np.concatenate([numbers[:half] > 1 - gamma, numbers < gamma])


class LastSampleKept(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        seeds[-1] &= len(seeds) == 1
        return seeds


class EverySecondRow(DropBlock):
    """On maps of realistic size seeds lie on every second row, at twice the gamma."""

    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        if shape[2] < 20:
            return super().bernoulli(rng, shape, gamma)
        seeds = super().bernoulli(rng, shape, 2 * gamma)
        seeds[:, :, 1::2] = False
        return seeds


class RowsRepeat(DropBlock):
    """The rows of seeds repeat after 16."""

    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        return super().bernoulli(rng, shape, gamma)[:, :, np.arange(shape[2]) % 16]


class FurtherChannelsShare(DropBlock):
    """Channels from 64 on share the masks of the first."""

    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        return super().bernoulli(rng, shape, gamma)[:, np.arange(shape[1]) % 64]


class ElevenBits(DropBlock):
    """Random numbers on a grid of 2^11."""

    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        return rng.integers(0, 2**11, shape) < gamma * 2**11


class WrongForLargeBlocks(DropBlock):
    """gamma is a third too large for blocks of 8 and more."""

    def gamma(self, p: float, block: Any, spatial_shape: Shape, /) -> float:
        return super().gamma(p, block, spatial_shape) * (1.34 if block.size[0] >= 8 else 1.0)


class WrongForSmallDropProb(DropBlock):
    """gamma is a third too large for drop_prob below 0.01."""

    def gamma(self, p: float, block: Any, spatial_shape: Shape, /) -> float:
        return super().gamma(p, block, spatial_shape) * (1.34 if p < 0.01 else 1.0)


class CachedGamma(DropBlock):
    """gamma is that of the first map."""

    first: float | None = None

    def gamma(self, p: float, block: Any, spatial_shape: Shape, /) -> float:
        self.first = super().gamma(p, block, spatial_shape) if self.first is None else self.first
        return self.first


class OffRate(DropBlock):
    """drop_prob is 0.6 of what it should be."""

    def gamma(self, p: float, block: Any, spatial_shape: Shape, /) -> float:
        return super().gamma(0.6 * p, block, spatial_shape)


class SharedOverSamples(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        return np.repeat(super().bernoulli(rng, (1, *shape[1:]), gamma), shape[0], axis=0)


NAMES = (
    "repeated_draws",
    "sample_independence",
    "channel_independence",
    "call_independence",
    "batch_rates",
    "call_spread",
    "map_rate",
    "cell_rates",
    "overlapping_cells",
    "distant_cells",
)
PLANTED: dict[type[DropBlock], set[str]] = {
    FixedNumberOfSeeds: {"call_spread"},
    Stratified: {"call_spread"},
    CoinPerCall: {"sample_independence", "channel_independence"},
    Antithetic: {"sample_independence"},
    LastSampleKept: {"batch_rates"},
    EverySecondRow: {"cell_rates"},
    RowsRepeat: {"distant_cells"},
    FurtherChannelsShare: {"repeated_draws"},
    ElevenBits: {"map_rate"},
    WrongForLargeBlocks: {"map_rate"},
    WrongForSmallDropProb: {"map_rate"},
    CachedGamma: {"map_rate", "cell_rates"},
    OffRate: {"map_rate", "cell_rates"},
    SharedOverSamples: {"repeated_draws"},
}


def results(kind: type[DropBlock], *, quick: bool = False) -> dict[str, CheckResult]:
    backend = make_backend("paper", "channels_first", (2,), ("float32",), kind=kind, name="wrong")
    run = Run(backend, 0, 1e-9, quick)
    return {result.name: result for result in settle(run, [CHECKS[name].run(run) for name in NAMES])}


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLANTED, ids=lambda kind: kind.__name__)
def test_a_planted_error_fails_its_checks_and_no_others(kind: type[DropBlock]) -> None:
    """What is wrong otherwise is not judged, and says where to look."""
    found = results(kind)
    failed = {name for name, result in found.items() if result.status == "failed"}
    assert failed == PLANTED[kind], {name: found[name].message for name in failed ^ PLANTED[kind]}


def test_a_right_backend_passes_them_all() -> None:
    assert {result.status for result in results(DropBlock).values()} == {"passed"}


# The law


def test_every_block_covers_one_cell_of_the_lattice_and_no_two_are_covered_together() -> None:
    for one in (SMALL, REALISTIC, Map((7, 9), (2, 4), 0.3), Map((4, 5, 6), (1, 2, 3), 0.3), Map((3, 3), 3, 0.3)):
        law = law_of(one)
        lattice = np.zeros(law.cells, dtype=np.bool_)
        lattice[law.lattice] = True
        sides = (one.block_size,) * len(one.spatial_shape) if isinstance(one.block_size, int) else one.block_size
        windows = np.lib.stride_tricks.sliding_window_view(lattice.reshape(one.spatial_shape), sides)
        assert (windows.sum(axis=tuple(range(len(sides), 2 * len(sides)))) == 1).all()


@pytest.mark.parametrize("masks", [20, 300])
def test_the_stated_error_of_the_rate_is_the_smallest(masks: int) -> None:
    """It is found by the two deviations, and one that is a tenth smaller is not, in one direction at least."""
    law = law_of(REALISTIC)
    error = judge.rate_error(law, masks, 1e-9)
    below, above = law.deviations(masks, 1e-9 / 4)

    def found(fraction: float) -> bool:
        down, up = law.deviations(masks, 1e-6, fraction)
        return fraction + up <= law.expected - below or fraction - down >= law.expected + above

    if error < 1:
        assert found(law.expected * (1 - error))
    assert found(law.expected * (1 + error))
    assert not (found(law.expected * (1 + 0.9 * error)) and found(law.expected * (1 - min(0.9 * error, 1.0))))
    assert judge.rate_masks(law, error, 1e-9) <= masks * 1.01


# Identity


def test_identity_is_exact_but_for_the_epsilon_of_a_scale() -> None:
    x = make_input((2, 2, 4, 4), "float64", 0)
    question = partial(judge.judge_identity, x, check="evaluation_identity", what="y must be x")
    assert question(x.copy()).fault is None
    assert question(x.astype(np.float32)).fault is None  # a wrong dtype is another check's business
    almost = x.copy()
    almost[0, 0, 0, 0] = np.nextafter(almost[0, 0, 0, 0], 9)
    fault = question(almost).fault
    assert fault is not None
    assert "1 of 64 cells differ" in fault.text
    scale = 64 / (64 + 1e-6)
    assert question(x * scale).fault is not None
    assert question(x * scale, scale=scale).fault is None
    assert question(2 * x, scale=scale).fault is not None
    assert question(x[:1], scale=scale).fault is not None


def test_the_judge_knows_conventions_whose_channels_share_masks() -> None:
    tally = Tally(Law(SMALL, replace(PAPER, name="shared", shared_channels=True)))
    assert "channels share masks" in judge.judge_independence(tally, "channel", BUDGET).not_judged
