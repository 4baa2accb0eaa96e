"""The tests of chance are exact, or bounds that hold: against scipy.stats, rational numbers, and enumeration."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from dropblock_ref import drop_block, gamma, keep_mask, valid_seeds
from dropblock_ref.testing import make_input
from dropblock_ref.testing.check import Map, Run
from dropblock_ref.testing.distribution import _all_dropped_bound, coincidence_bound
from dropblock_ref.testing.statistics import (
    MISS,
    bernstein_deviation,
    binomial_detectable,
    binomial_draws,
    binomial_p_values,
    drop_fraction_deviation,
    poisson_deviation,
)
from dropblock_ref.theory import drop_fraction_variance, expected_drop_fraction
from tests.mutants.correct import make_backend

# binomial_p_values


def exact_p_value(count: int, draws: int, probability: Fraction) -> Fraction:
    """Twice the smaller tail, in rational numbers."""
    a, b = probability.numerator, probability.denominator
    weights = [math.comb(draws, k) * a**k * (b - a) ** (draws - k) for k in range(draws + 1)]
    smaller = min(sum(weights[: count + 1]), sum(weights[count:]))
    return min(Fraction(1), Fraction(2 * smaller, b**draws))


@pytest.mark.parametrize("draws", [1, 2, 7, 40])
@pytest.mark.parametrize("probability", [Fraction(0), Fraction(1, 64), Fraction(1, 4), Fraction(3, 4), Fraction(1)])
def test_p_values_are_exact(draws: int, probability: Fraction) -> None:
    counts = np.arange(draws + 1)
    expected = [float(exact_p_value(int(count), draws, probability)) for count in counts]
    np.testing.assert_allclose(binomial_p_values(counts, draws, float(probability)), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("count", [0, 100, 150, 200, 249, 250, 251, 300, 400, 500, 600])
def test_far_tails_are_exact(count: int) -> None:
    expected = float(exact_p_value(count, 1000, Fraction(1, 4)))
    assert float(binomial_p_values(count, 1000, 0.25)) == pytest.approx(expected, rel=1e-11, abs=0)
    assert expected > 0


def test_far_tails_reach_down_to_1e_200() -> None:
    expected = float(exact_p_value(705, 1000, Fraction(1, 4)))
    assert 1e-210 < expected < 1e-190
    assert float(binomial_p_values(705, 1000, 0.25)) == pytest.approx(expected, rel=1e-10, abs=0)


@pytest.mark.parametrize("draws", [1, 10, 1000, 10**6])
@pytest.mark.parametrize("probability", [0.0, 1e-7, 0.003, 0.2, 0.5, 0.9, 0.9999, 1.0])
def test_p_values_are_those_of_scipy_stats(draws: int, probability: float) -> None:
    spread = np.array([-30, -12, -5, -1, -0.2, 0, 0.2, 1, 5, 12, 30]) * math.sqrt(
        draws * probability * (1 - probability)
    )
    counts = np.unique(np.clip(np.rint(draws * probability + spread), 0, draws).astype(int))
    counts = np.union1d(counts, [0, draws])
    law = stats.binom(draws, probability)
    expected = np.minimum(1, 2 * np.minimum(law.cdf(counts), law.sf(counts - 1)))
    seen = binomial_p_values(counts, draws, probability)
    told = expected > 1e-200
    np.testing.assert_allclose(seen[told], expected[told], rtol=1e-7, atol=0)
    assert (seen[~told] <= 1e-199).all()


def test_p_values_of_what_is_certain() -> None:
    assert binomial_p_values([0, 1, 5], 5, 0.0).tolist() == [1, 0, 0]
    assert binomial_p_values([0, 4, 5], 5, 1.0).tolist() == [0, 0, 1]


def test_p_values_broadcast_counts_with_probabilities() -> None:
    seen = binomial_p_values([[3], [9]], 10, [0.3, 0.5, 0.9])
    each = [[float(binomial_p_values(k, 10, p)) for p in (0.3, 0.5, 0.9)] for k in (3, 9)]
    assert seen.tolist() == each


@pytest.mark.parametrize("draws", [1, 2, 3, 5, 10, 25, 60])
def test_the_false_alarm_never_exceeds_the_level(draws: int) -> None:
    """Exactly: the probability of the counts whose p-value is at most the level is at most the level."""
    counts = np.arange(draws + 1)
    for probability in np.concatenate([np.linspace(0, 1, 101), [1e-9, 1e-4, 1 - 1e-4]]):
        p_values = binomial_p_values(counts, draws, probability)
        weights = stats.binom.pmf(counts, draws, probability)
        # Every p-value is a level at which the alarm jumps; the ones between are no worse.
        for level in np.unique(np.concatenate([p_values[p_values < 1], [0.05, 1e-3, 1e-9]])):
            assert weights[p_values <= level].sum() <= level * (1 + 1e-9) + 1e-300, (probability, level)


# binomial_detectable and binomial_draws


def missed(draws: int, probability: float, rate: float, false_alarm: float) -> float:
    """The probability that a backend with this rate raises no alarm, by scipy.stats and the counts that are alarms."""
    counts = np.arange(draws + 1)
    silent = np.flatnonzero(binomial_p_values(counts, draws, probability) > false_alarm)
    low, high = int(silent[0]), int(silent[-1])  # the p-value rises up to the middle and then falls
    assert len(silent) == high - low + 1
    law = stats.binom(draws, rate)
    upwards = rate > probability
    inside = law.cdf(high) - law.cdf(low - 1)
    # Near 0 the difference of two numbers near 1 says nothing; one of both sides then does.
    return float(law.cdf(high) if upwards else law.sf(low - 1)) if inside < 0.5 else float(inside)


RATES = (1e-3, 0.02, 0.061, 0.25, 0.5, 0.678, 0.9, 0.99)
LEVELS = (0.05, 1e-6, 1e-13)


@pytest.mark.parametrize("false_alarm", LEVELS)
@pytest.mark.parametrize("draws", [40, 500, 7000, 100_000])
@pytest.mark.parametrize("probability", RATES)
def test_an_error_that_is_called_detectable_is_detected_both_ways(
    probability: float, draws: int, false_alarm: float
) -> None:
    relative = binomial_detectable(draws, probability, false_alarm)
    assert relative > 0
    if math.isinf(relative):
        return
    for factor in (1, 1.05, 1.5, 4):
        for rate in (probability * (1 + factor * relative), probability * (1 - factor * relative)):
            if 0 <= rate <= 1:
                seen = missed(draws, probability, rate, false_alarm)
                assert seen <= MISS * (1 + 1e-6), f"{rate} is missed with probability {seen}"


@pytest.mark.parametrize("false_alarm", LEVELS)
@pytest.mark.parametrize("draws", [500, 7000, 100_000])
@pytest.mark.parametrize("probability", RATES)
def test_no_smaller_error_is_called_detectable_than_can_be(probability: float, draws: int, false_alarm: float) -> None:
    """It is the smallest: a slightly smaller error is missed more often, in one of both directions."""
    relative = min(binomial_detectable(draws, probability, false_alarm), 1.0)
    rates = [probability * (1 + 0.999 * relative), probability * (1 - 0.999 * relative)]
    assert any(missed(draws, probability, min(rate, 1.0), false_alarm) > MISS for rate in rates)


def test_too_few_draws_detect_nothing() -> None:
    assert binomial_detectable(5, 0.9, 1e-3) == math.inf
    assert binomial_detectable(1, 0.5, 0.05) == math.inf


def test_what_must_always_happen_is_seen_not_to() -> None:
    """A rate of 1 can only be too low; one mask that keeps the cell is an alarm, and 20,000 masks show one."""
    relative = binomial_detectable(20_000, 1.0, 1e-12)
    assert relative == pytest.approx(1 - MISS ** (1 / 20_000), rel=1e-6)


@pytest.mark.parametrize("false_alarm", [0.05, 1e-12])
@pytest.mark.parametrize(
    ("probability", "relative"), [(p, r) for p in (0.02, 0.247, 0.678) for r in (0.03, 0.1, 0.5) if p * (1 + r) < 1]
)
def test_draws_are_enough_and_not_many_more(probability: float, relative: float, false_alarm: float) -> None:
    draws = binomial_draws(probability, relative, false_alarm)
    assert binomial_detectable(draws, probability, false_alarm) <= relative
    assert binomial_detectable(int(0.95 * draws), probability, false_alarm) > relative


# bernstein_deviation


@pytest.mark.parametrize("bound", [0.2, 0.01, 1e-6, 1e-12, 1e-30])
@pytest.mark.parametrize("probability", [0.001, 0.05, 0.3, 0.5, 0.8, 0.999])
@pytest.mark.parametrize("draws", [1, 10, 300, 100_000])
def test_bernstein_bounds_both_binomial_tails(draws: int, probability: float, bound: float) -> None:
    deviation = bernstein_deviation(draws, probability * (1 - probability), bound)
    law = stats.binom(draws, probability)
    above = math.ceil(draws * (probability + deviation) * (1 - 1e-12))
    below = math.floor(draws * (probability - deviation) + draws * 1e-12)
    assert law.sf(above - 1) <= bound
    assert law.cdf(below) <= bound


@pytest.mark.parametrize("bound", [0.001, 1e-6, 1e-11])
def test_bernstein_is_not_much_wider_than_the_normal_law(bound: float) -> None:
    draws, variance = 100_000, 0.01
    normal = float(stats.norm.isf(bound)) * math.sqrt(variance / draws)
    assert normal < bernstein_deviation(draws, variance, bound) < 1.4 * normal


@pytest.mark.parametrize("convention", ["paper", "timm_uncoupled"])
def test_bernstein_bounds_the_means_of_block_masks(convention: str) -> None:
    """400 means of 50 masks of blocks each; 0.05 bounds one side, and the mean deviates as its variance says.

    By luck this fails with probability below 1e-6: the count by the exact tail, the variance by 5 of its deviations.
    """
    where: dict[str, Any] = {"block_size": 7, "spatial_shape": (14, 14), "convention": convention}
    expected, variance = expected_drop_fraction(0.1, **where), drop_fraction_variance(0.1, **where)
    x = make_input((400, 50, 14, 14), "float32", 0)
    dropped = drop_block(x, 0.1, 7, rng=0, convention=convention) == 0
    means = dropped.mean(axis=(1, 2, 3))
    deviation = bernstein_deviation(50, variance, 0.05)
    for side in (means - expected >= deviation, expected - means >= deviation):
        assert stats.binom.sf(np.count_nonzero(side) - 1, 400, 0.05) > 1e-7
    spread = float(np.mean((means - expected) ** 2)) / (variance / 50)
    assert abs(spread - 1) < 5 * math.sqrt(2 / 400) * 1.2


# drop_fraction_deviation


def law_of_dropped_cells(one: Map, gamma: float, convention: str) -> NDArray[np.float64]:
    """The exact law of the number of dropped cells of a mask, over all configurations of seeds."""
    eligible = valid_seeds(one.block_size, one.spatial_shape, convention=convention)
    places = np.argwhere(eligible)
    law = np.zeros(eligible.size + 1)
    for chosen in itertools.product((False, True), repeat=len(places)):
        seeds = np.zeros((1, 1, *one.spatial_shape), dtype=np.bool_)
        seeds[(0, 0, *places[list(chosen)].T)] = True
        dropped = np.count_nonzero(~keep_mask(seeds, one.block_size, convention=convention))
        law[dropped] += gamma ** sum(chosen) * (1 - gamma) ** (len(places) - sum(chosen))
    return law


@pytest.mark.parametrize("gamma", [1e-6, 0.003, 0.05, 0.3, 0.9])
@pytest.mark.parametrize(
    ("one", "convention", "part"),
    [
        (Map((4, 4), 2), "paper", 4 / 16),
        (Map((3, 6), (2, 5)), "paper", 10 / 18),
        (Map((3, 3), 1), "paper", 1 / 9),
        (Map((3, 3), 3), "timm_uncoupled", 9 / 9),
        (Map((2, 2, 2), 2), "dropblock", 8 / 8),
    ],
    ids=str,
)
def test_dropped_fractions_deviate_no_more_than_their_bound(
    one: Map, convention: str, part: float, gamma: float
) -> None:
    """Against the exact law of the sum over 1 to 64 masks, from the enumeration of all configurations of seeds."""
    of_one = law_of_dropped_cells(one, gamma, convention)
    cells = of_one.size - 1
    fractions = np.arange(cells + 1) / cells
    expected = float(of_one @ fractions)
    variance = float(of_one @ (fractions - expected) ** 2)
    law = of_one
    for masks in (1, 2, 4, 8, 16, 32, 64):
        deviations = np.arange(law.size) / (cells * masks) - expected
        for bound in (0.5, 0.05, 1e-3, 1e-6):
            t = drop_fraction_deviation(masks, expected, variance, part, bound)
            assert law[deviations >= t * (1 + 1e-12)].sum() <= bound
            assert law[deviations <= -t * (1 + 1e-12)].sum() <= bound
            both = drop_fraction_deviation(masks, expected, variance, part, bound, sides=2)
            assert law[np.abs(deviations) >= both * (1 + 1e-12)].sum() <= bound
        law = np.convolve(law, law)


def test_dropped_fractions_of_few_masks_have_a_sharper_bound_than_bernsteins() -> None:
    where: dict[str, Any] = {"block_size": 3, "spatial_shape": (21, 21)}
    expected, variance = expected_drop_fraction(0.1, **where), drop_fraction_variance(0.1, **where)
    deviation = drop_fraction_deviation(512, expected, variance, 9 / 441, 1e-9, sides=2)
    assert deviation < bernstein_deviation(512, variance, 1e-9, sides=2) / 2


def test_far_too_many_cells_in_a_single_mask_are_found() -> None:
    """A block of 3 covers 9 of 64 cells: five blocks or more at an expected number of 1e-5 are no chance."""
    where: dict[str, Any] = {"block_size": 3, "spatial_shape": (8, 8)}
    expected, variance = expected_drop_fraction(1e-6, **where), drop_fraction_variance(1e-6, **where)
    assert drop_fraction_deviation(1, expected, variance, 9 / 64, 1e-9, sides=2) < 39 / 64 - expected


@pytest.mark.parametrize("expected", [1e-300, 1e-9, 0.01, 1.0, 30.0, 1e4, 1e9, 1e15])
@pytest.mark.parametrize("bound", [0.5, 1e-3, 1e-9, 1e-100])
def test_poisson_deviations_solve_chernoffs_equation(expected: float, bound: float) -> None:
    u = poisson_deviation(expected, bound) / expected
    # (1 + u) log(1 + u) - u cancels for small u, where it is u^2 / 2 - u^3 / 6.
    h = (1 + u) * math.log1p(u) - u if u > 1e-2 else u * u / 2 - u**3 / 6 + u**4 / 12
    assert expected * h == pytest.approx(-math.log(bound), rel=1e-3)
    assert expected * h > -math.log(bound) * (1 - 1e-6)


@pytest.mark.parametrize("expected", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("bound", [0.5, 1e-3, 1e-9])
def test_poisson_variables_deviate_no_more_than_their_bound(expected: float, bound: float) -> None:
    t, law = poisson_deviation(expected, bound), stats.poisson(expected)
    assert law.sf(math.ceil(expected + t) - 1) <= bound
    assert law.cdf(math.floor(expected - t)) <= bound
    assert poisson_deviation(0.0, bound) == 0


# coincidence_bound: what repeats by chance


SMALL_MAPS = (
    (Map((4, 4), 2, 0.4), "paper"),
    (Map((5, 5), 3, 0.8), "paper"),
    (Map((3, 5), (1, 3), 0.5), "paper"),
    (Map((3, 3, 3), 2, 0.6), "paper"),
    (Map((4, 4), 4, 0.3), "paper"),
    (Map((3, 4), 1, 0.2), "paper"),
    (Map((3, 3), 2, 0.5), "timm"),
    (Map((3, 4), 3, 0.9), "timm_uncoupled"),
    (Map((2, 2, 2), 2, 0.3), "dropblock"),
    (Map((3, 3), 5, 0.5), "pytorch_toolbelt"),
)


def mask_probabilities(one: Map, convention: str) -> dict[bytes, float]:
    """The probability of every mask, by enumeration of all seed configurations; keys are the dropped cells."""
    positions = np.argwhere(valid_seeds(one.block_size, one.spatial_shape, convention=convention))
    chosen = np.array(list(itertools.product([False, True], repeat=len(positions))))
    seeds: NDArray[np.bool_] = np.zeros((len(chosen), 1, *one.spatial_shape), dtype=np.bool_)
    for column, position in enumerate(positions):
        seeds[(slice(None), 0, *position)] = chosen[:, column]
    dropped = ~keep_mask(seeds, one.block_size, convention=convention)
    seed_prob = gamma(one.drop_prob, one.block_size, one.spatial_shape, convention=convention)
    number = chosen.sum(axis=1)
    weights = seed_prob**number * (1 - seed_prob) ** (len(positions) - number)
    probabilities: dict[bytes, float] = defaultdict(float)
    for mask, weight in zip(dropped, weights, strict=True):
        probabilities[mask.tobytes()] += float(weight)
    assert math.fsum(probabilities.values()) == pytest.approx(1, rel=1e-12)
    return probabilities


@pytest.mark.parametrize(("one", "convention"), SMALL_MAPS, ids=str)
def test_coincidences_are_bounded(one: Map, convention: str) -> None:
    probabilities = mask_probabilities(one, convention)
    run = Run(make_backend(convention), 0, 1e-9)
    same = math.fsum(weight**2 for weight in probabilities.values())
    all_dropped = probabilities.get(bytes([1]) * math.prod(one.spatial_shape), 0.0)
    for samples, channels in ((1, 1), (2, 3), (4, 1)):
        masks = samples * (1 if run.backend.rules.shared_channels else channels)
        bound = coincidence_bound(run, one, samples=samples, channels=channels)
        assert same**masks * (1 - 1e-12) <= bound < 1
        assert all_dropped**masks * (1 - 1e-12) <= _all_dropped_bound(run, one, samples=samples, channels=channels)


def test_coincidences_of_single_cells_are_exact() -> None:
    """Cells that do not depend on each other leave nothing to bound."""
    one = Map((3, 4), 1, 0.2)
    run = Run(make_backend("paper"), 0, 1e-9)
    same = math.fsum(weight**2 for weight in mask_probabilities(one, "paper").values())
    assert coincidence_bound(run, one, samples=1, channels=1) == pytest.approx(same, rel=1e-12)
