"""The tests of chance: exact binomial tails and bounds of deviations, and what each of them can detect.

Every test comes as a pair: a verdict whose probability to accuse a correct backend is bounded, and the smallest error
that it misses with a probability of at most MISS.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

SURE = 1 - 2.0**-20  # a gamma of 1 that is computed in float32 may be a few units in the last place below
MISS = 1e-6  # every statistical check states the smallest error that it finds with probability 1 - MISS


def binomial_p_values(counts: Any, draws: int, probability: Any) -> NDArray[np.float64]:
    """Exact two-sided p-value: twice the smaller tail of Binomial(draws, probability) at each count, at most 1."""
    counts, probability = np.broadcast_arrays(np.asarray(counts, float), np.asarray(probability, float))
    smaller = np.minimum(_at_most(counts, draws, probability), _at_least(counts, draws, probability))
    p_values: NDArray[np.float64] = np.minimum(1.0, 2 * smaller)
    return p_values


def _at_least(counts: NDArray[np.float64], draws: int, probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(X >= counts), by the incomplete beta function."""
    tail = special.betainc(np.maximum(counts, 1), draws - np.maximum(counts, 1) + 1, probability)
    return np.where(counts <= 0, 1.0, tail)


def _at_most(counts: NDArray[np.float64], draws: int, probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(X <= counts): at most so many successes are at least the rest of failures."""
    return _at_least(draws - counts, draws, 1 - probability)


def binomial_detectable(draws: int, probability: float, false_alarm: float) -> float:
    """The smallest relative error of a rate, too high or too low, that is missed with a probability of at most MISS.

    Infinite where even a rate of 1, or of 0, can be missed.
    """
    above = _found_rate(draws, probability, false_alarm) - probability if probability < SURE else 0.0
    below = _found_rate(draws, 1 - probability, false_alarm) - (1 - probability)
    return max(above, below) / probability


def _found_rate(draws: int, probability: float, false_alarm: float) -> float:
    """The smallest rate above `probability` that is missed with probability MISS; infinite if even 1 is missed."""
    # The smallest count that is an alarm, by bisection on the exact tail.
    low, high = 0, draws + 1
    while high - low > 1:
        middle = (low + high) // 2
        p_value = 2 * float(_at_least(np.asarray(float(middle)), draws, np.asarray(probability)))
        low, high = (low, middle) if p_value <= false_alarm else (middle, high)
    if high > draws:
        return math.inf
    # The rate at which P(X < high) = MISS.
    return float(special.betaincinv(high, draws - high + 1, 1 - MISS))


def binomial_draws(probability: float, relative_error: float, false_alarm: float) -> int:
    """The number of draws with which `binomial_detectable` is at most `relative_error`."""
    low, high = 1, 2
    while binomial_detectable(high, probability, false_alarm) > relative_error:
        low, high = high, 2 * high
    while high - low > max(1, low // 200):
        middle = (low + high) // 2
        if binomial_detectable(middle, probability, false_alarm) > relative_error:
            low = middle
        else:
            high = middle
    return high


def bernstein_deviation(draws: int, variance: float, bound: float, *, sides: int = 1) -> float:
    """The t with P(mean - expectation >= t) <= bound, for the mean of independent values in [0, 1]; or on both sides.

    Bernstein's inequality: P <= exp(-draws t^2 / (2 (variance + t / 3))).
    """
    log = math.log(sides) - math.log(bound)
    return log / (3 * draws) + math.sqrt((log / (3 * draws)) ** 2 + 2 * log * variance / draws)


def poisson_deviation(expected: float, bound: float, *, sides: int = 1) -> float:
    """The t with P(X - expected >= t) <= bound, for a Poisson variable X, by Chernoff's bound; or on both sides.

    The solution of expected * h(t / expected) = -log(bound) with h(u) = (1 + u) log(1 + u) - u, by Lambert's function.
    """
    if expected == 0:
        return 0.0
    h = (math.log(sides) - math.log(bound)) / expected
    if h < 1e-6:  # where Lambert's function would lose its digits, Bernstein's inequality is as sharp
        return bernstein_deviation(1, expected, bound, sides=sides)
    return expected * (math.exp(1 + special.lambertw((h - 1) / math.e).real) - 1)


def drop_fraction_deviation(
    masks: int, expected: float, variance: float, block_fraction: float, bound: float, *, sides: int = 1
) -> float:
    """The t with P(mean - expected >= t) <= bound, for the dropped fraction over independent masks; or on both sides.

    `block_fraction` is the largest part of a map that one block covers. The smaller of two bounds: Bernstein's, and
    that of self-bounding functions (Boucheron, Lugosi, Massart 2000). The number of dropped cells, over the block's, is
    self-bounding: without one of its seeds it shrinks by at most 1, without each in turn by at most itself in all. So
    Chernoff's bound for a Poisson variable of its expectation holds. That is the sharper one for few masks.
    """
    blocks = masks * expected / block_fraction
    return min(
        bernstein_deviation(masks, variance, bound, sides=sides),
        block_fraction * poisson_deviation(blocks, bound, sides=sides) / masks,
    )
