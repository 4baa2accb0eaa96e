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

from dropblock_ref import CONVENTIONS, gamma, keep_mask, valid_seeds
from dropblock_ref.testing.check import Map
from dropblock_ref.testing.judge import Law
from dropblock_ref.testing.statistics import (
    MISS,
    _quantile,
    beta_quantile,
    binomial_detectable,
    binomial_draws,
    binomial_p_values,
    count_law,
    drop_fraction_deviations,
    hypergeometric_p_values,
    poisson_deviation,
    poisson_shortfall,
    table_detectable,
    table_draws,
)
from dropblock_ref.theory import drop_fraction_variance, expected_drop_fraction

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


# drop_fraction_deviations


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
            below, above = drop_fraction_deviations(masks, expected, variance, part, bound)
            assert law[deviations >= above * (1 + 1e-12)].sum() <= bound
            assert law[deviations <= -below * (1 + 1e-12)].sum() <= bound
        law = np.convolve(law, law)


def bernstein(draws: int, variance: float, bound: float) -> float:
    log = -math.log(bound)
    return log / (3 * draws) + math.sqrt((log / (3 * draws)) ** 2 + 2 * log * variance / draws)


@pytest.mark.parametrize("masks", [1, 32, 1024, 10**6])
def test_the_bounds_are_sharper_than_bernsteins(masks: int) -> None:
    where: dict[str, Any] = {"block_size": 7, "spatial_shape": (28, 28)}
    expected, variance = expected_drop_fraction(0.1, **where), drop_fraction_variance(0.1, **where)
    below, above = drop_fraction_deviations(masks, expected, variance, 49 / 784, 1e-9)
    normal = float(stats.norm.isf(1e-9)) * math.sqrt(variance / masks)
    assert above < bernstein(masks, variance, 1e-9) * (0.75 if masks in {32, 1024} else 1.0)
    assert min(below, expected) < above
    assert masks <= 1024 or max(below, above) < 1.1 * normal


def test_far_too_many_cells_in_a_single_mask_are_found() -> None:
    """A block of 3 covers 9 of 64 cells: five blocks or more at an expected number of 1e-5 are no chance."""
    where: dict[str, Any] = {"block_size": 3, "spatial_shape": (8, 8)}
    expected, variance = expected_drop_fraction(1e-6, **where), drop_fraction_variance(1e-6, **where)
    assert drop_fraction_deviations(1, expected, variance, 9 / 64, 1e-9)[1] < 39 / 64 - expected


def test_what_never_or_always_happens_does_not_deviate() -> None:
    assert drop_fraction_deviations(5, 0.0, 0.0, 0.1, 1e-9) == (0, 0)
    assert drop_fraction_deviations(5, 1.0, 0.0, 0.1, 1e-9) == (0, 0)
    assert drop_fraction_deviations(5, 1e-300, 1e-301, 0.1, 1e-9)[0] > 1e-300


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
    assert poisson_deviation(0.0, bound) == 0
    below = poisson_shortfall(expected, bound)
    assert below == math.inf or law.cdf(math.floor(expected - below)) <= bound
    assert (below == math.inf) == (law.pmf(0) > bound)
    assert poisson_shortfall(0.0, bound) == math.inf


def test_poisson_shortfalls_of_large_expectations_are_those_of_the_normal_law() -> None:
    for expected in (1e6, 1e9):
        assert poisson_shortfall(expected, 1e-9) == pytest.approx(math.sqrt(-2 * math.log(1e-9) * expected), rel=5e-3)


# hypergeometric_p_values, table_detectable


@pytest.mark.parametrize(("draws", "first", "second"), [(9, 4, 3), (30, 15, 15), (60, 5, 40), (200, 120, 30)])
def test_the_false_alarm_of_a_table_never_exceeds_the_level(draws: int, first: int, second: int) -> None:
    """Exactly, by the hypergeometric law in rational numbers, for each level at which an alarm begins."""
    counts = range(max(0, first + second - draws), min(first, second) + 1)
    weights = {
        k: Fraction(math.comb(first, k) * math.comb(draws - first, second - k), math.comb(draws, second))
        for k in counts
    }
    assert sum(weights.values()) == 1
    p_values = {k: float(hypergeometric_p_values(k, first, second, draws)) for k in counts}
    for level in (*p_values.values(), 0.05, 1e-6):
        alarms = [k for k, p_value in p_values.items() if p_value <= level]
        assert level >= 1 or float(sum(weights[k] for k in alarms)) <= level
    for k in counts:
        tail = min(sum(weights[j] for j in counts if j <= k), sum(weights[j] for j in counts if j >= k))
        if tail < 1e-3:
            assert float(2 * tail) <= p_values[k] < float(2 * tail) * 1.3  # an upper bound, and a sharp one


def test_a_table_with_an_event_that_always_or_never_happens_is_no_alarm() -> None:
    assert hypergeometric_p_values([0, 5, 0, 7], [0, 5, 3, 7], [5, 5, 0, 7], [9, 5, 4, 9]).tolist()[:3] == [1, 1, 1]
    assert table_detectable(20, 0, 5, 0.05) == math.inf
    assert table_detectable(20, 20, 5, 0.05, sign=-1) == math.inf


def missed_dependence(draws: int, first: int, rates: tuple[float, float], false_alarm: float) -> float:
    """The probability of no alarm, given the first event's count; `rates` are the second's with it and without it."""
    both, rest = np.arange(first + 1)[:, None], np.arange(draws - first + 1)
    weights = stats.binom.pmf(both, first, rates[0]) * stats.binom.pmf(rest, draws - first, rates[1])
    silent = hypergeometric_p_values(both, first, both + rest, draws) > false_alarm
    return float(weights[silent].sum())


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("draws", "p", "q", "level"), [(200, 0.5, 0.5, 1e-4), (400, 0.5, 0.25, 1e-9), (300, 0.2, 0.6, 0.05)]
)
def test_a_correlation_that_is_called_detectable_is_detected(
    draws: int, p: float, q: float, level: float, sign: int
) -> None:
    """Exactly, by all tables; and one three quarters as large is not."""
    size = table_detectable(draws, round(draws * p), round(draws * q), level, sign=sign)
    if math.isinf(size):
        assert (p, q) != (0.5, 0.5)
        return
    for factor, detected in ((1.0, True), (0.75, False)):
        joint = p * q + sign * factor * size * math.sqrt(p * (1 - p) * q * (1 - q))
        rates = joint / p, (q - joint) / (1 - p)
        assert (missed_dependence(draws, round(draws * p), rates, level) <= MISS) == detected


def test_with_the_stated_number_of_draws_a_dependence_is_found_and_with_two_less_none() -> None:
    needed = table_draws(100, 1e-9)
    assert math.isfinite(table_detectable(needed, needed // 2, needed // 2, 1e-11))
    assert 2 / math.comb(needed - 2, needed // 2 - 1) > 0.2 * 1e-11


# CountLaw


def test_the_law_of_a_count_is_exact() -> None:
    """Against the convolution of the single events."""
    probabilities = np.array([0.1, 0.25, 0.25, 0.7])
    law = count_law(probabilities, 3)
    expected = np.ones(1)
    for probability in np.repeat(probabilities, 3):
        expected = np.convolve(expected, [1 - probability, probability])
    np.testing.assert_allclose(law.weights, expected[law.start : law.start + law.weights.size], rtol=1e-10)
    assert law.mean == pytest.approx(3 * 1.3)
    assert law.variance == pytest.approx(3 * float((probabilities * (1 - probabilities)).sum()))
    assert count_law(np.array([1.0, 0.5]), 4).start == 4


@pytest.mark.parametrize(("probabilities", "times", "counts"), [([0.3, 0.6], 2, 4), ([0.5], 6, 5), ([0.05], 8, 4)])
def test_variances_deviate_no_more_than_their_bounds(probabilities: list[float], times: int, counts: int) -> None:
    """Exactly: over all outcomes of the counts, the probability of those with a p-value of at most the level."""
    law = count_law(np.array(probabilities), times)
    values, weights = np.arange(law.start, law.start + law.weights.size), law.weights
    spreads: dict[float, float] = defaultdict(float)
    for chosen in itertools.product(range(values.size), repeat=counts):
        ratio = float(np.var(values[list(chosen)], ddof=1)) / law.variance
        spreads[round(ratio, 9)] += float(np.prod(weights[list(chosen)]))
    assert sum(spreads.values()) == pytest.approx(1)
    for p_value in (law.steady_p_value, law.unsteady_p_value):
        alarms = {ratio: p_value(ratio, counts) for ratio in spreads}
        for level in (*alarms.values(), 0.05):
            assert level >= 1 or sum(spreads[ratio] for ratio in spreads if alarms[ratio] <= level) <= level * (
                1 + 1e-9
            )


def test_bounds_of_variances_are_near_those_of_normal_counts() -> None:
    law = count_law(np.full(16, 0.15), 900)
    for ratio in (0.08, 0.2, 0.3):
        exact = float(stats.chi2.cdf(63 * ratio, 63))
        assert exact < law.steady_p_value(ratio, 64) < 20 * exact
    for ratio in (2.5, 4.0):
        exact = float(stats.chi2.sf(63 * ratio, 63))
        assert exact < law.unsteady_p_value(ratio, 64) < 1000 * exact
    low, high = law.spread_detectable(64, 1e-11)
    rng = np.random.default_rng(0)  # 500 variances, each missed with a probability of at most 1e-6
    for part, p_value in ((low, law.steady_p_value), (high, law.unsteady_p_value)):
        normal = rng.normal(0, math.sqrt(part * law.variance), (500, 64))
        assert all(p_value(float(np.var(row, ddof=1)) / law.variance, 64) <= 1e-11 for row in normal)


def test_too_few_counts_have_no_variance_to_find() -> None:
    law = count_law(np.array([0.5]), 6)
    assert law.spread_detectable(1, 0.05) == (0, math.inf)
    assert law.spread_detectable(3, 1e-11) == (0, math.inf)
    assert law.steady_p_value(0.0, 1) == law.steady_p_value(1.2, 5) == law.unsteady_p_value(0.9, 5) == 1
    assert count_law(np.array([1.0]), 6).spread_detectable(9, 0.05) == (0, math.inf)


# Law.coincidence: what repeats by chance


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
    law = Law(one, CONVENTIONS[convention])
    same = math.fsum(weight**2 for weight in probabilities.values())
    all_dropped = probabilities.get(bytes([1]) * math.prod(one.spatial_shape), 0.0)
    for masks in (1, 4, 6):
        assert same**masks * (1 - 1e-12) <= law.coincidence(masks) < 1
        assert all_dropped**masks * (1 - 1e-12) <= law.all_dropped(masks)


def test_coincidences_of_single_cells_are_exact() -> None:
    """Cells that do not depend on each other leave nothing to bound."""
    one = Map((3, 4), 1, 0.2)
    same = math.fsum(weight**2 for weight in mask_probabilities(one, "paper").values())
    assert Law(one, CONVENTIONS["paper"]).coincidence() == pytest.approx(same, rel=1e-12)


@pytest.mark.parametrize(
    ("draws", "probability", "level"),
    [
        (1000, 0.5325636340885271, 0.999714888110607),  # where special.bdtrik gives too little,
        (10**6, 0.41410415476190365, 0.9999999999999974),  # too much,
        (10, 1e-310, 0.9),  # and no number
    ],
)
def test_a_quantile_is_the_smallest_count_that_is_not_exceeded_so_often(
    draws: int, probability: float, level: float
) -> None:
    quantile = _quantile(draws, probability, level)
    assert stats.binom.cdf(quantile, draws, probability) >= level
    assert quantile == 0 or stats.binom.cdf(quantile - 1, draws, probability) < level


@pytest.mark.parametrize("a", [1, 2, 4, 9, 500])
@pytest.mark.parametrize("b", [1, 30, 217_294, 28_110_931])
@pytest.mark.parametrize("level", [5e-9, 0.3, 1 - 1e-6, 1 - 1e-9])
def test_a_quantile_of_the_beta_law_is_where_the_binomial_law_says(a: int, b: int, level: float) -> None:
    """P(Beta(a, b) <= x) is the chance of a successes and more of a + b - 1, of probability x."""
    x = beta_quantile(a, b, level)
    assert stats.binom.sf(a - 1, a + b - 1, x) == pytest.approx(level, rel=1e-7)
    assert stats.binom.cdf(a - 1, a + b - 1, x) == pytest.approx(1 - level, rel=1e-5)
