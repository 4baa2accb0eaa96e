"""The tests of chance: exact binomial tails and bounds of deviations, and what each of them can detect.

Every test comes as a pair: a verdict whose probability to accuse a correct backend is bounded, and the smallest error
that it misses with a probability of at most MISS.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

SURE = 1 - 2.0**-20  # a gamma of 1 that is computed in float32 may be a few units in the last place below
_SMALL = 1e-6  # below this Lambert's function loses its digits, and a bound that needs none is as sharp
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


@lru_cache(maxsize=4096)
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
    return beta_quantile(high, draws - high + 1, 1 - MISS)


def beta_quantile(a: int, b: int, level: float) -> float:
    """The x with P(X <= x) = level for a Beta(a, b); `special.betaincinv` of SciPy 1.11.2 is far off for small a."""
    from scipy.optimize import brentq  # heavy

    return float(brentq(lambda x: special.betainc(a, b, x) - level, 0, 1, xtol=1e-300, rtol=1e-14, maxiter=2000))


@lru_cache(maxsize=4096)
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


def poisson_deviation(expected: float, bound: float) -> float:
    """The t with P(X - expected >= t) <= bound, for a Poisson variable X, by Chernoff's bound.

    The solution of expected * h(t / expected) = -log(bound) with h(u) = (1 + u) log(1 + u) - u, by Lambert's function.
    """
    if expected == 0:
        return 0.0
    h = -math.log(bound) / expected
    if h < _SMALL:
        return expected * (h / 3 + math.sqrt((h / 3) ** 2 + 2 * h))
    return expected * (math.exp(1 + special.lambertw((h - 1) / math.e).real) - 1)


def poisson_shortfall(expected: float, bound: float) -> float:
    """The t with P(X - expected <= -t) <= bound, for a Poisson variable X; infinite where even 0 is no surprise.

    The solution of expected * h(-t / expected) = -log(bound), on the other branch of Lambert's function.
    """
    h = -math.log(bound) / expected if expected else math.inf
    if h > 1:
        return math.inf
    if h < _SMALL:
        return expected * math.sqrt(2 * h)
    return expected * (1 - math.exp(1 + special.lambertw((h - 1) / math.e, -1).real))


def drop_fraction_deviations(
    masks: int, expected: float, variance: float, block_fraction: float, bound: float
) -> tuple[float, float]:
    """The s and t with P(mean <= expected - s) <= bound, P(mean >= expected + t) <= bound, for the dropped fraction.

    The mean is that over independent masks; `block_fraction` is the largest part of a map that one block covers. Both
    are the smaller of two bounds. Bennett's inequality says that a mean of variables that exceed their expectation by
    at most j deviates upwards no more than j times a Poisson variable of variance variance / j^2. And the number of
    dropped cells, over the block's, is self-bounding (Boucheron, Lugosi, Massart 2000): without one of its seeds it
    shrinks by at most 1, without each in turn by at most itself in all, so that it deviates, either way, no more than a
    Poisson variable of its expectation. That is the sharper one for few masks.
    """

    def bennett(jump: float) -> float:
        if jump < 1e-100:  # its square is no number; what never exceeds its expectation never deviates
            return 0.0 if jump == 0 else math.inf
        return jump * poisson_deviation(masks * variance / jump**2, bound) / masks

    blocks = masks * expected / block_fraction
    below = min(bennett(expected), block_fraction * poisson_shortfall(blocks, bound) / masks)
    above = min(bennett(1 - expected), block_fraction * poisson_deviation(blocks, bound) / masks)
    return below, above


def hypergeometric_p_values(together: Any, first: Any, second: Any, draws: Any) -> NDArray[np.float64]:
    """Two-sided p-value of a 2x2 table: how often two events happened together, given how often each of them did.

    Where the events are independent, whatever their probabilities, the number of draws with both has the
    hypergeometric law, given the other three numbers (Fisher's exact test). The tail beyond `together` falls faster
    than a geometric series with its first two terms, whose sum is an upper bound, and in a far tail nearly the same.
    """
    k, a, b, n = np.broadcast_arrays(
        *(np.asarray(count, dtype=np.float64) for count in (together, first, second, draws))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        log_weight = (
            _log_choose(a, k) + _log_choose(n - a, b - k) - _log_choose(n, b) + 1e-12 * (n + 1)  # for the rounding
        )
        upwards = (a - k) * (b - k) / ((k + 1) * (n - a - b + k + 1))
        downwards = k * (n - a - b + k) / ((a - k + 1) * (b - k + 1))
        ratio = np.where(k * n >= a * b, upwards, downwards)
        tail = np.where(ratio < 1, np.exp(log_weight) / (1 - ratio), 1.0)
    p_values: NDArray[np.float64] = np.minimum(1.0, 2 * tail)
    return p_values


def _log_choose(n: NDArray[np.float64], k: NDArray[np.float64]) -> NDArray[np.float64]:
    return special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)


@lru_cache(maxsize=4096)
def table_detectable(draws: int, first: int, second: int, false_alarm: float, *, sign: int = 1) -> float:
    """The smallest correlation of two events that is missed with a probability of at most MISS, of this sign.

    For two events that happened `first` and `second` times in so many draws; infinite where even the largest can be
    missed.
    """
    p, q = first / draws, second / draws
    spread = math.sqrt(p * (1 - p) * q * (1 - q))
    if spread == 0:
        return math.inf

    def found(size: float) -> bool:
        joint = p * q + sign * size * spread
        with_first, without = (min(max(part, 0.0), 1.0) for part in (joint / p, (q - joint) / (1 - p)))
        # So many of the second event with the first one, and without it; each bound is missed with half of MISS.
        levels = (MISS / 2, 1 - MISS / 2)[::sign]
        both, rest = _quantile(first, with_first, levels[0]), _quantile(draws - first, without, levels[1])
        beyond = sign * (both * draws - first * (both + rest)) > 0
        return beyond and float(hypergeometric_p_values(both, first, both + rest, draws)) <= false_alarm

    low, high = 0.0, abs((min(p, q) if sign > 0 else max(p + q - 1, 0.0)) - p * q) / spread
    if not found(high):
        return math.inf
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


@lru_cache(maxsize=4096)
def table_draws(kinds: int, false_alarm: float) -> int:
    """The number of draws below which no dependence of two events is found, in the best case that half have each."""
    draws = 2
    while not math.isfinite(table_detectable(draws, draws // 2, draws // 2, false_alarm / kinds)):
        draws += 2
    return draws


def _quantile(draws: int, probability: float, level: float) -> int:
    """The smallest count that Binomial(draws, probability) does not exceed with a probability of `level` at least."""
    if probability in {0.0, 1.0} or draws == 0:
        return round(draws * probability)

    def enough(count: int) -> bool:
        return count >= draws or float(special.bdtr(count, draws, probability)) >= level

    real = special.bdtrik(level, draws, probability)  # not a number where the probability is hardly more than 0
    guess = max(0, math.floor(real)) if math.isfinite(real) else 0
    while not enough(guess):
        guess += 1
    while guess > 0 and enough(guess - 1):
        guess -= 1
    return guess


@dataclass(frozen=True)
class CountLaw:
    """The law of a sum of independent events: P(sum = start + i) is weights[i]."""

    start: int
    weights: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """Its expectation."""
        return float(self.weights @ self._values)

    @property
    def variance(self) -> float:
        """Its variance."""
        return float(self.weights @ (self._values - self.mean) ** 2)

    @property
    def _values(self) -> NDArray[np.float64]:
        return self.start + np.arange(self.weights.size, dtype=np.float64)

    def p_value(self, count: float) -> float:
        """Two-sided: twice the smaller tail, at most 1."""
        at_most, at_least = (float(self.weights[side].sum()) for side in (self._values <= count, self._values >= count))
        return min(1.0, 2 * min(at_most, at_least))

    def steady_p_value(self, ratio: float, counts: int) -> float:
        """A bound of P(sum of (count - mean of the counts)^2 <= ratio * (counts - 1) * variance), by Chernoff.

        With z = (count - mean) / sqrt(variance), the expectation of exp(-l sum of (z - mean of the z)^2) is exactly the
        integral over a normal variable g of the counts-th power of E exp(g sqrt(2 l / counts) z - l z^2), because
        E exp(g s) = exp(s^2 / 2). For normal counts it is (1 + 2 l)^((1 - counts) / 2), whence the choice of l; but
        it is at most half of the variance, so that what is integrated is as smooth as for normal counts.
        """
        if ratio >= 1 or counts < 2:
            return 1.0
        part = min((1 / max(ratio, 1e-4) - 1) / 2, self.variance / 2)  # the l of the docstring
        z, width = self._deviations, math.sqrt(1 + 2 * part)
        steps = np.linspace(-12, 12, 121)
        g = width * steps
        exponents = np.multiply.outer(g * math.sqrt(2 * part / counts), z) - part * z**2
        largest = exponents.max(axis=1)
        powers = counts * (largest + np.log(np.exp(exponents - largest[:, None]) @ self.weights)) - g**2 / 2
        log_moment = _log_sum(powers) + math.log(width * (steps[1] - steps[0]) / math.sqrt(2 * math.pi))
        return math.exp(min(0.0, log_moment + part * ratio * (counts - 1)))

    def unsteady_p_value(self, ratio: float, counts: int) -> float:
        """A bound of P(sum of (count - mean of the counts)^2 >= ratio * (counts - 1) * variance), by Chernoff.

        Around the expectation the sum is larger still, and its parts are independent.
        """
        if ratio * (counts - 1) <= counts:
            return 1.0
        with np.errstate(divide="ignore"):
            logs = np.log(self.weights)
        best = 0.0
        for part in (0.25, 0.5, 0.75, 1.0):  # of the factor that is best for normal counts; skew ones have fatter tails
            factor = part * (1 - counts / (ratio * (counts - 1))) / 2
            log_moment = _log_sum(logs + factor * self._deviations**2)
            best = min(best, counts * log_moment - factor * ratio * (counts - 1))
        return math.exp(best)

    @property
    def _deviations(self) -> NDArray[np.float64]:
        return (self._values - self.mean) / math.sqrt(self.variance)

    def spread_detectable(self, counts: int, false_alarm: float) -> tuple[float, float]:
        """The variances, as parts of the right one, below and above which normal counts are missed with at most MISS.

        0 and infinity where none is found.
        """
        if counts < 2 or self.variance == 0:
            return 0.0, math.inf

        def edge(p_value: Callable[[float, int], float], factor: float) -> float:
            """The alarm that is nearest to 1, upwards or downwards; infinite, or 0, where there is none."""
            far = factor
            while p_value(far, counts) > false_alarm:
                far *= factor
                if not 1e-4 < far < self.weights.size**2 / self.variance:
                    return math.inf if factor > 1 else 0.0
            near = far / factor
            for _ in range(12):
                middle = math.sqrt(near * far)
                near, far = (near, middle) if p_value(middle, counts) <= false_alarm else (middle, far)
            return far

        few, many = (float(special.gammaincinv((counts - 1) / 2, part)) * 2 / (counts - 1) for part in (MISS, 1 - MISS))
        return edge(self.steady_p_value, 1 / 1.5) / many, edge(self.unsteady_p_value, 1.5) / few


def _log_sum(logs: NDArray[np.float64]) -> float:
    """The logarithm of the sum of what has these logarithms."""
    return float(logs.max()) + math.log(float(np.exp(logs - logs.max()).sum()))


def count_law(probabilities: NDArray[np.float64], times: int) -> CountLaw:
    """The law of the number of events, where each of these happens, or does not, so many times; all independent."""
    start, weights = 0, np.ones(1)
    for probability, number in zip(*np.unique(probabilities, return_counts=True), strict=True):
        draws = int(number) * times
        k = np.arange(draws + 1, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
            logs = (
                _log_choose(np.asarray(float(draws)), k)
                + special.xlogy(k, probability)
                + special.xlog1py(draws - k, -probability)
            )
            weights = np.convolve(weights, _without_ends(part := np.exp(logs)))
        start += int(np.flatnonzero(part)[0])
    return CountLaw(start, weights / weights.sum())


def _without_ends(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without what has underflowed."""
    some = np.flatnonzero(weights)
    return weights[some[0] : some[-1] + 1]
