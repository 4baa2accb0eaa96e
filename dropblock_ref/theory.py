"""Exact probabilities of DropBlock: how often a cell, two cells and a whole map really drop.

A cell u is kept if none of the n(u) eligible cells whose blocks cover it is a seed: probability (1 - gamma)^n(u). Two
cells are kept together if none of the n(u) + n(v) - n(u, v) seeds that cover either is there. Both counts are products
over the axes, and that keeps everything below small.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .algorithm import Block
from .arguments import check_cells, check_integer, check_integers, check_probability
from .call import documented, resolve_map
from .convention import Convention
from .coverage import calibrated_gamma as calibrate
from .coverage import coverage_along_axes, coverage_counts, covering, pairs_along_axis
from .kept_cells import laplace, nothing_kept, reduce_map
from .rules import gamma as seed_probability
from .rules import inverse_keep_prob

__all__ = [
    "all_dropped_probability",
    "calibrated_gamma",
    "coverage",
    "drop_fraction_variance",
    "drop_probability",
    "expected_drop_fraction",
    "expected_output_ratio",
    "keep_covariance",
    "untouched_probability",
]

_UNDERFLOW = 746.0  # exp(-746) is less than half of the smallest positive number


@documented
def coverage(block_size: Any, spatial_shape: Any, *, convention: Convention | str = "paper") -> NDArray[np.int64]:
    """n(u): how many eligible cells have a block that covers cell u.

    Parameters
    ----------
    {block_size}
    {spatial_shape}
    {convention}

    Returns
    -------
    ndarray of int64, shape `spatial_shape`
        At least 1 and at most the volume of the block.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or the convention refuses the block on this map.

    Notes
    -----
    With blocks of b that fit into S cells, ``n(u) = min(u, S - b) - max(u - b + 1, 0) + 1`` on each axis, multiplied
    over the axes.

    Examples
    --------
    >>> from dropblock_ref.theory import coverage
    >>> coverage((1, 3), (2, 5))
    array([[1, 2, 3, 2, 1],
           [1, 2, 3, 2, 1]])
    """
    _, block = resolve_map(block_size, spatial_shape, convention)
    check_cells(block.spatial_shape, "spatial_shape")
    return reduce(np.multiply.outer, coverage_along_axes(block))


@documented
def drop_probability(
    drop_prob: Any, block_size: Any, spatial_shape: Any, *, gamma: Any = None, convention: Convention | str = "paper"
) -> NDArray[np.float64]:
    """P(u dropped): the probability that cell u is dropped.

    Parameters
    ----------
    drop_prob : float or None
        Nominal probability that a unit is dropped, in [0, 1]; None if `gamma` is given.
    {block_size}
    {spatial_shape}
    gamma : float, optional
        Probability that an eligible cell is a seed, in [0, 1], instead of the one that `drop_prob` gives.
    {convention}

    Returns
    -------
    ndarray of float64, shape `spatial_shape`
        ``1 - (1 - gamma)**n(u)``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, if not exactly one of `drop_prob` and `gamma` is given, or
        the convention refuses the block on this map.

    Examples
    --------
    >>> from dropblock_ref.theory import drop_probability
    >>> p = drop_probability(0.1, 7, (28, 28))
    >>> round(float(p[0, 0]), 4), round(float(p[14, 14]), 4)
    (0.0033, 0.1498)
    """
    _, block, log_q = _place_seeds(drop_prob, gamma, block_size, spatial_shape, convention)
    check_cells(block.spatial_shape, "spatial_shape")
    n = reduce(np.multiply.outer, coverage_along_axes(block))
    dropped: NDArray[np.float64] = -np.expm1(n * log_q)
    return dropped


def expected_drop_fraction(
    drop_prob: Any, block_size: Any, spatial_shape: Any, *, gamma: Any = None, convention: Convention | str = "paper"
) -> float:
    """f: the expected fraction of dropped cells.

    Parameters
    ----------
    drop_prob, block_size, spatial_shape, gamma, convention
        As for `drop_probability`.

    Returns
    -------
    float
        The mean over the map of the probability that a cell is dropped. With the paper's choices at most `drop_prob`.

    Raises
    ------
    TypeError, ValueError
        As for `drop_probability`.

    Examples
    --------
    >>> from dropblock_ref.theory import expected_drop_fraction
    >>> round(expected_drop_fraction(0.1, 7, (28, 28)), 4)
    0.0939
    >>> round(expected_drop_fraction(0.1, 7, (28, 28), convention="timm_uncoupled"), 4)
    0.1329
    """
    _, block, log_q = _place_seeds(drop_prob, gamma, block_size, spatial_shape, convention)
    n, cells = coverage_counts(block)
    with np.errstate(under="ignore"):
        return float(cells @ -np.expm1(n * log_q) / cells.sum())


def drop_fraction_variance(
    drop_prob: Any, block_size: Any, spatial_shape: Any, *, gamma: Any = None, convention: Convention | str = "paper"
) -> float:
    """Variance of the dropped fraction of one mask.

    Parameters
    ----------
    drop_prob, block_size, spatial_shape, gamma, convention
        As for `drop_probability`.

    Returns
    -------
    float
        The mean over all pairs of cells of their covariance.

    Raises
    ------
    TypeError, ValueError
        As for `drop_probability`.

    Notes
    -----
    ``Cov(K_u, K_v) = q**(n(u) + n(v)) * (exp(L n(u, v)) - 1)`` with q = 1 - gamma and L = -log(q). Each term of the
    series of the exponential, ``(L n(u, v))**k / k!``, is a product over the axes, so its sum over all pairs of cells
    is a few small matrix products. All terms are positive: nothing cancels, and the sum stops where the rest is less
    than 1e-16 of it.

    Examples
    --------
    >>> from dropblock_ref.theory import drop_fraction_variance
    >>> round(drop_fraction_variance(0.3, 1, (4, 4)) * 16, 4)  # independent cells: p (1 - p)
    0.21
    """
    _, block, log_q = _place_seeds(drop_prob, gamma, block_size, spatial_shape, convention)
    if log_q in (0, -math.inf):
        return 0.0
    with np.errstate(over="ignore", under="ignore"):  # NumPy 1 reports a quotient of the smallest numbers as too large
        return _mean_covariance(block, -log_q)


def _mean_covariance(block: Block, L: float) -> float:
    """Mean covariance of all pairs of cells, for L = -log(1 - gamma); the relative error of the method is below 2e-16.

    With x(u) = L n(u) and r(u, v) = n(u, v) / sqrt(n(u) n(v)), which is at most 1, a covariance is the sum over k >= 1
    of w_k(u) w_k(v) r(u, v)**k, where w_k = exp(-x) sqrt(x**k / k!). Cells of equal coverage on every axis are a class
    with one w, and on each axis the sums of r**k over the pairs of two classes are a matrix.
    """
    n = coverage_along_axes(block)
    classes = [np.unique(along_axis) for along_axis in n]
    x: NDArray[np.float64] = L * reduce(np.multiply.outer, [values.astype(np.float64) for values in classes])
    least, cells = float(x.min()), math.prod(block.spatial_shape)
    if least > _UNDERFLOW:  # a covariance is at most exp(-x) of either cell
        return 0.0
    # By that bound all pairs with a cell beyond `most` have together less than exp(-40) of one cell's variance.
    most = least + 40 + 2 * math.log(cells) - math.log(-math.expm1(-least))
    w = np.where(x <= most, np.exp(least / 2 - x), 0)
    most = float(x[x <= most].max())
    axes = []
    for axis, values in enumerate(classes):
        (of_u, of_v, both), number = pairs_along_axis(block, axis)
        index = np.searchsorted(values, of_u) * values.size + np.searchsorted(values, of_v)
        axes.append((index, number, both / np.sqrt(of_u * of_v), values.size))
    powers = [number for _, number, _, _ in axes]
    total, w, k = 0.0, w * np.sqrt(x / most), 1  # the factor exp(-least) * most is left out, so that nothing underflows
    while True:
        image = w
        for axis, (index, _, ratio, size) in enumerate(axes):
            powers[axis] = powers[axis] * ratio
            half = np.bincount(index, powers[axis], size**2).reshape(size, size)
            image = np.tensordot(image, half + half.T, axes=(0, 0))  # the axis moves to the end; after all, none has
        term = float(np.vdot(w, image))
        total += term
        # Every pair's next term is at most `most` / (k + 1) times this one.
        if k + 1 > most and term * most <= 1e-16 * total * (k + 1 - most):
            return total / cells**2 * math.exp(-least) * most
        k += 1
        w = w * np.sqrt(x / k)


def untouched_probability(
    drop_prob: Any, block_size: Any, spatial_shape: Any, *, gamma: Any = None, convention: Convention | str = "paper"
) -> float:
    """Probability that a mask drops nothing.

    Parameters
    ----------
    drop_prob, block_size, spatial_shape, gamma, convention
        As for `drop_probability`.

    Returns
    -------
    float
        ``(1 - gamma)**k`` for k eligible cells.

    Raises
    ------
    TypeError, ValueError
        As for `drop_probability`.

    Examples
    --------
    >>> from dropblock_ref.theory import untouched_probability
    >>> round(untouched_probability(0.1, 7, (28, 28)), 4)
    0.2014
    """
    _, block, log_q = _place_seeds(drop_prob, gamma, block_size, spatial_shape, convention)
    return math.exp(log_q * math.prod(part.stop - part.start for part in block.eligible))


def keep_covariance(
    drop_prob: Any,
    block_size: Any,
    spatial_shape: Any,
    first: Any,
    second: Any,
    *,
    gamma: Any = None,
    convention: Convention | str = "paper",
) -> float:
    """Covariance of the keep indicators of two cells of a map, which is also that of their drop indicators.

    Parameters
    ----------
    drop_prob, block_size, spatial_shape, gamma, convention
        As for `drop_probability`.
    first, second : sequence of int
        The two cells, one index from 0 on per spatial axis.

    Returns
    -------
    float
        ``q**(n(u) + n(v) - n(u, v)) - q**(n(u) + n(v))`` with q = 1 - gamma: not negative, and 0 for two cells that no
        block covers both.

    Raises
    ------
    TypeError, ValueError
        As for `drop_probability`, or if a cell does not lie on the map.

    Examples
    --------
    >>> from dropblock_ref.theory import keep_covariance
    >>> keep_covariance(0.5, 3, (9, 9), (4, 4), (4, 7))
    0.0
    >>> round(keep_covariance(0.5, 1, (9, 9), (4, 4), (4, 4)), 6)  # of a cell with itself: p (1 - p)
    0.25
    """
    _, block, log_q = _place_seeds(drop_prob, gamma, block_size, spatial_shape, convention)
    u, v = (_check_cell(cell, name, block.spatial_shape) for cell, name in ((first, "first"), (second, "second")))
    of_u, of_v, both = (
        math.prod(int(covering(block, axis, a[axis], b[axis])) for axis in range(len(u)))
        for a, b in ((u, u), (v, v), (u, v))
    )
    return math.exp((of_u + of_v - both) * log_q) * -math.expm1(both * log_q) if both else 0.0


def _check_cell(cell: Any, name: str, spatial_shape: tuple[int, ...]) -> tuple[int, ...]:
    accepted = f"a cell of the map {spatial_shape}, one index from 0 on per spatial axis"
    index = check_integers(cell, name, 0, (len(spatial_shape),), accepted)
    if any(k >= S for k, S in zip(index, spatial_shape, strict=True)):
        raise ValueError(f"{name} must be {accepted}, got {index}")
    return index


def expected_output_ratio(
    drop_prob: Any,
    block_size: Any,
    spatial_shape: Any,
    *,
    gamma: Any = None,
    masks: Any = None,
    convention: Convention | str = "paper",
) -> NDArray[np.float64]:
    """E[y] / x: by what factor the output of a cell is too bright, or too dark, on average.

    Parameters
    ----------
    drop_prob, block_size, spatial_shape, gamma, convention
        As for `drop_probability`.
    masks : int or None
        How many independent masks are counted together for one scale, at least 1; None = the limit of many. A batch of
        N samples with C channels has N * C masks for ``scale_over="batch"`` and C for ``"sample"``, or N and 1 where
        channels share a mask. For ``"channel"`` it is 1, and None means 1. Without effect where nothing is counted.

    Returns
    -------
    ndarray of float64, shape `spatial_shape`
        E[y] / x of every cell. Where the convention makes nan of masks that keep nothing, the mean is over the draws
        that keep something.

    Raises
    ------
    TypeError, ValueError
        As for `drop_probability`; if `masks` is another number than 1 for ``scale_over="channel"``; or if the ratio for
        a number of masks is not known exactly (see Notes).

    Notes
    -----
    The limit is ``(1 - P(u)) / (1 - f)``, on every map. For a number of masks the ratio is exact where

    - blocks overlap along one axis at most, of at most 10000 cells: blocks of one cell (then it is ``1 - p**n`` for n
      cells counted together, without `epsilon`), as large as the map, or maps of one row;
    - at most 18 cells are eligible, not counting those whose blocks drop the same cells as another's.

    Elsewhere it is refused. The method leaves out less than 3e-16 of the result.

    Examples
    --------
    >>> from dropblock_ref.theory import expected_output_ratio
    >>> ratio = expected_output_ratio(0.1, 7, (14, 14))
    >>> round(float(ratio[0, 0]), 2), round(float(ratio[7, 7]), 2)  # corner and centre, in large batches
    (1.1, 0.81)
    >>> alone = expected_output_ratio(0.5, 3, (5, 5), masks=1)  # one map, counted alone
    >>> round(float(alone[0, 0]), 3), round(float(expected_output_ratio(0.5, 3, (5, 5))[0, 0]), 3)
    (1.571, 1.386)
    """
    rules, block, log_q = _place_seeds(drop_prob, gamma, block_size, spatial_shape, convention)
    number = _check_masks(masks, rules)
    check_cells(block.spatial_shape, "spatial_shape")
    n = reduce(np.multiply.outer, coverage_along_axes(block))
    if rules.scale_over == "none":
        kept: NDArray[np.float64] = np.exp(n * log_q)
        return kept
    if rules.scale_over == "keep_prob":
        scale = inverse_keep_prob(None if drop_prob is None else check_probability(drop_prob, "drop_prob"), rules)
        return np.exp(n * log_q) * scale if math.isfinite(scale) else np.full(n.shape, math.nan)
    if log_q == -math.inf:
        return np.full(n.shape, 0.0 if rules.all_dropped == "zeros" else math.nan)
    if number is None:
        with np.errstate(under="ignore"):
            relative = np.exp((n - n.min()) * log_q)  # without a common factor, which may be too small for a float
            ratio: NDArray[np.float64] = relative / relative.mean()
        return ratio
    with np.errstate(under="ignore"):
        return _counted_ratio(block, log_q, number, rules)


def _check_masks(masks: Any, rules: Convention) -> int | None:
    """The number of masks that are counted together; None = the limit."""
    number = None if masks is None else check_integer(masks, "masks", 1)
    if rules.scale_over != "channel":
        return number
    if number not in (None, 1):
        raise ValueError(f"masks must be 1 or None for scale_over 'channel', which counts each alone, got {number}")
    return 1


def _counted_ratio(block: Block, log_q: float, masks: int, rules: Convention) -> NDArray[np.float64]:
    """E[K_u * count / (kept + epsilon)], with 1 / x as the integral of exp(-tau x) over tau.

    The masks are independent, so the mean of exp(-tau * kept) is a product over them. With tau = exp(y) the trapezoidal
    rule of step h = 1/4 differs from 1 / x by less than 2e-16 of it for every x, by 2 * abs(Gamma(1 + 2 pi i / h)), and
    its ends leave out less than exp(-38) of it. So it is for the mean of 1 / x, whatever the law of x.
    """
    one = reduce_map(block, log_q)
    masks *= one.slices
    count = float(masks * one.alike * math.prod(one.shape))
    least = one.alike + rules.epsilon  # of kept + epsilon, where something is kept
    y = np.arange(-39 - math.log((count + rules.epsilon) / least), 4, 0.25)
    tau = np.exp(y) / least
    lost, kept, kinds = laplace(one, np.append(tau * one.alike, 1e4))
    log = np.log1p(-np.minimum(lost, 1 - 2.0**-53))  # of the mean of exp(-tau * kept) of one mask
    ratio = kept[:, :-1] @ (0.25 * count * tau * np.exp(float(masks - 1) * log[:-1] - rules.epsilon * tau))
    if rules.all_dropped == "nan":
        something = -math.expm1(masks * log[-1])  # exp(-1e4) is 0 as a float, so only what keeps nothing is not lost
        ratio = ratio / something if something else np.full_like(ratio, math.nan)
    return np.broadcast_to(ratio[kinds].reshape(one.shape), block.spatial_shape).copy()


def all_dropped_probability(
    drop_prob: Any,
    block_size: Any,
    spatial_shape: Any,
    *,
    gamma: Any = None,
    masks: Any = 1,
    convention: Convention | str = "paper",
) -> tuple[float, float]:
    """Bounds of the probability that masks drop everything, equal where it is known exactly.

    Parameters
    ----------
    drop_prob, block_size, spatial_shape, gamma, convention
        As for `drop_probability`.
    masks : int
        How many independent masks, at least 1.

    Returns
    -------
    (float, float)
        A lower and an upper bound. They are equal where blocks overlap along one axis at most, and where at most 18
        cells are eligible (see `expected_output_ratio`).

    Raises
    ------
    TypeError, ValueError
        As for `drop_probability`, or if `masks` is not an integer of at least 1.

    Notes
    -----
    A row of cells is dropped if from each seed on it the next is at most a block away: a chain, which is exact. A map
    is dropped

    - at most as often as rows of it that are so far apart that they are independent;
    - at least as often as if all its rows were independent, because a dropped one makes the others more likely
      (Harris' inequality);
    - at least as often as rows of seeds, each of which drops everything beside it, form a chain.

    The best of these over the axes is returned. Rounding may move a bound by a relative 1e-12, and one below 1e-300 may
    be returned as 0.

    Examples
    --------
    >>> from dropblock_ref.theory import all_dropped_probability
    >>> all_dropped_probability(0.5, 1, (2, 2))
    (0.0625, 0.0625)
    >>> lower, upper = all_dropped_probability(0.9, 7, (14, 14))
    >>> f"between {lower:.1e} and {upper:.1e}"
    'between 1.0e-05 and 1.0e-05'
    """
    _, block, log_q = _place_seeds(drop_prob, gamma, block_size, spatial_shape, convention)
    number = check_integer(masks, "masks", 1)
    if log_q in (0, -math.inf):
        return (1.0, 1.0) if log_q else (0.0, 0.0)
    one = reduce_map(block, log_q)
    with np.errstate(under="ignore"):
        lower, upper = (bound ** (number * one.slices) for bound in nothing_kept(one))
    return lower, upper


def calibrated_gamma(
    drop_prob: Any, block_size: Any, spatial_shape: Any, *, convention: Convention | str = "paper"
) -> float:
    """Find the gamma for which the expected fraction of dropped cells is exactly `drop_prob`.

    Parameters
    ----------
    drop_prob, block_size, spatial_shape, convention
        As for `drop_probability`; the convention's own rule for gamma has no influence.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    TypeError, ValueError
        As for `drop_probability`.

    Notes
    -----
    The root, by bisection, of ``expected_drop_fraction(None, ..., gamma=gamma) - drop_prob``, which rises with gamma.

    Examples
    --------
    >>> from dropblock_ref.theory import calibrated_gamma, expected_drop_fraction
    >>> gamma = calibrated_gamma(0.1, 7, (28, 28))
    >>> round(gamma, 6), round(expected_drop_fraction(None, 7, (28, 28), gamma=gamma), 12)
    (0.003534, 0.1)
    """
    block = resolve_map(block_size, spatial_shape, convention)[1]
    return calibrate(check_probability(drop_prob, "drop_prob"), block)


def _place_seeds(
    drop_prob: Any, gamma: Any, block_size: Any, spatial_shape: Any, convention: Convention | str
) -> tuple[Convention, Block, float]:
    """The convention, the block on the map, and log(1 - gamma)."""
    convention, block = resolve_map(block_size, spatial_shape, convention)
    if (drop_prob is None) == (gamma is None):
        given = "neither" if gamma is None else "both"
        raise ValueError(f"exactly one of drop_prob and gamma must be given (the other None), got {given}")
    if gamma is None:
        gamma = seed_probability(check_probability(drop_prob, "drop_prob"), block, convention)
    else:
        gamma = check_probability(gamma, "gamma")
    return convention, block, math.log1p(-gamma) if gamma < 1 else -math.inf
