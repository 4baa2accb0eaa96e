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

from . import coverage as counts
from . import rules
from .algorithm import Block
from .arguments import check_integers, check_probability
from .call import resolve_map
from .convention import Convention
from .coverage import coverage_along_axes, coverage_counts, covering, pairs_along_axes

__all__ = [
    "calibrated_gamma",
    "coverage",
    "drop_fraction_variance",
    "drop_probability",
    "expected_drop_fraction",
    "keep_covariance",
    "untouched_probability",
]


def coverage(block_size: Any, spatial_shape: Any, *, convention: Convention | str = "paper") -> NDArray[np.int64]:
    """n(u): how many eligible cells have a block that covers cell u.

    Parameters
    ----------
    block_size : int or sequence of int
        Side of the block in cells, at least 1; one int per spatial axis, or one for all.
    spatial_shape : sequence of int
        (H, W) or (D, H, W) of the map, at least 1 each.
    convention : Convention or str
        The choices to follow, or their name in `CONVENTIONS`.

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
    return reduce(np.multiply.outer, coverage_along_axes(block))


def drop_probability(
    drop_prob: Any, block_size: Any, spatial_shape: Any, *, gamma: Any = None, convention: Convention | str = "paper"
) -> NDArray[np.float64]:
    """P(u dropped): the probability that cell u is dropped.

    Parameters
    ----------
    drop_prob : float or None
        Nominal probability that a unit is dropped, in [0, 1]; None if `gamma` is given.
    block_size : int or sequence of int
        Side of the block in cells, at least 1; one int per spatial axis, or one for all.
    spatial_shape : sequence of int
        (H, W) or (D, H, W) of the map, at least 1 each.
    gamma : float, optional
        Probability that an eligible cell is a seed, in [0, 1], instead of the one that `drop_prob` gives.
    convention : Convention or str
        The choices to follow, or their name in `CONVENTIONS`.

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
    block, log_q = _place_seeds(drop_prob, gamma, block_size, spatial_shape, convention)
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
    block, log_q = _place_seeds(drop_prob, gamma, block_size, spatial_shape, convention)
    n, cells = coverage_counts(block)
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
    ``Cov(K_u, K_v) = q**(n(u) + n(v) - n(u, v)) - q**(n(u) + n(v))`` with q = 1 - gamma. Pairs with equal counts are
    taken together: on each axis there are few different (n_k(u), n_k(v), n_k(u, v)), and the three counts multiply.

    Examples
    --------
    >>> from dropblock_ref.theory import drop_fraction_variance
    >>> round(drop_fraction_variance(0.3, 1, (4, 4)) * 16, 4)  # independent cells: p (1 - p)
    0.21
    """
    block, log_q = _place_seeds(drop_prob, gamma, block_size, spatial_shape, convention)
    *tables, (last, last_pairs) = pairs_along_axes(block)
    counts, pairs = np.ones((3, 1)), np.ones(1)
    for on_axis, number in tables:
        counts = (counts[:, :, None] * on_axis[:, None, :]).reshape(3, -1)
        pairs = np.multiply.outer(pairs, number).ravel()
    total = 0.0
    for column, number in zip(last.T, last_pairs, strict=True):  # one at a time, because their product would be large
        of_u, of_v, of_both = counts * column[:, None]
        covariance = np.exp((of_u + of_v - of_both) * log_q) * -np.expm1(of_both * log_q)
        total += float(number) * float(pairs @ covariance)
    return float(total / math.prod(block.spatial_shape) ** 2)


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
    block, log_q = _place_seeds(drop_prob, gamma, block_size, spatial_shape, convention)
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
    block, log_q = _place_seeds(drop_prob, gamma, block_size, spatial_shape, convention)
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
    _, block = resolve_map(block_size, spatial_shape, convention)
    return counts.calibrated_gamma(check_probability(drop_prob, "drop_prob"), block)


def _place_seeds(
    drop_prob: Any, gamma: Any, block_size: Any, spatial_shape: Any, convention: Convention | str
) -> tuple[Block, float]:
    """The block on the map, and log(1 - gamma)."""
    convention, block = resolve_map(block_size, spatial_shape, convention)
    if (drop_prob is None) == (gamma is None):
        given = "neither" if gamma is None else "both"
        raise ValueError(f"exactly one of drop_prob and gamma must be given (the other None), got {given}")
    if gamma is None:
        gamma = rules.gamma(check_probability(drop_prob, "drop_prob"), block, convention)
    gamma = check_probability(gamma, "gamma")
    return block, math.log1p(-gamma) if gamma < 1 else -math.inf
