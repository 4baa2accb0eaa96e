"""The stages of Algorithm 1 one by one, as users call them: each resolves its arguments and calls one function."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import fast, rules
from .arguments import check_boolean, check_cells, check_probability, check_rng, check_shape
from .call import check_eligible, check_sharing, documented, find_layout, resolve, resolve_map, resolve_mask
from .convention import Convention, find_convention


@documented
def gamma(drop_prob: Any, block_size: Any, spatial_shape: Any, *, convention: Convention | str = "paper") -> float:
    """Probability that an eligible cell is a seed.

    Parameters
    ----------
    {drop_prob}
    {block_size}
    {spatial_shape}
    {convention}

    Returns
    -------
    float
        In [0, 1]. With the paper's rule at most `drop_prob`, and equal to it for a block of 1 or as large as the map.

    Raises
    ------
    {raises}

    Notes
    -----
    Eq. (1) of the paper, for a map with sides S and a block with sides b::

        gamma = drop_prob / prod(b) * prod(S / (S - b + 1))

    Examples
    --------
    >>> from dropblock_ref import gamma
    >>> round(gamma(0.1, 7, (28, 28)), 6)
    0.003306
    >>> round(gamma(0.1, 7, (28, 28), convention="dropblock"), 6)
    0.002041
    """
    convention, block = resolve_map(block_size, spatial_shape, convention)
    return rules.gamma(check_probability(drop_prob, "drop_prob"), block, convention)


@documented
def valid_seeds(block_size: Any, spatial_shape: Any, *, convention: Convention | str = "paper") -> NDArray[np.bool_]:
    """Where a seed may lie.

    Parameters
    ----------
    {block_size}
    {spatial_shape}
    {convention}

    Returns
    -------
    ndarray of bool, shape `spatial_shape`
        True = eligible. With ``seed_region="fitting"`` an axis of S cells and a block of b have the eligible positions
        ``b // 2`` to ``S - (b - 1) // 2 - 1`` (the halves exchanged for ``even_extra_cell="after"``); with
        ``"everywhere"`` all cells are eligible.

    Raises
    ------
    {raises}

    Notes
    -----
    Section 3 of the paper: the seeds are drawn in the green region of its figure 2, where blocks fit.

    Examples
    --------
    >>> from dropblock_ref import valid_seeds
    >>> valid_seeds((3, 2), (4, 5)).astype(int)
    array([[0, 0, 0, 0, 0],
           [0, 1, 1, 1, 1],
           [0, 1, 1, 1, 1],
           [0, 0, 0, 0, 0]])
    """
    _, block = resolve_map(block_size, spatial_shape, convention)
    valid = np.zeros(check_cells(block.spatial_shape, "spatial_shape"), dtype=np.bool_)
    valid[block.eligible] = True
    return valid


@documented
def sample_seeds(
    gamma: Any,
    block_size: Any,
    shape: Any,
    *,
    rng: np.random.Generator | int,
    data_format: str = "channels_first",
    convention: Convention | str = "paper",
) -> NDArray[np.bool_]:
    """Draw seeds: each eligible cell independently with probability `gamma`.

    Parameters
    ----------
    gamma : float
        Probability that an eligible cell is a seed, in [0, 1]; see `dropblock_ref.gamma`.
    {block_size}
    shape : sequence of int
        Shape of x: batch, channels and spatial axes, 4 or 5 in all, in the order of `data_format`.
    {rng}
    {data_format}
    {convention}

    Returns
    -------
    ndarray of bool
        True = a block is centred here. Of `shape`, with 1 on the channel axis where the convention shares masks.

    Raises
    ------
    {raises}

    Notes
    -----
    Line 5 of Algorithm 1 of the paper.

    {stream}

    Examples
    --------
    >>> from dropblock_ref import sample_seeds
    >>> sample_seeds(0.3, 3, (1, 1, 5, 6), rng=0)[0, 0].astype(int)
    array([[0, 0, 0, 0, 0, 0],
           [0, 0, 1, 1, 1, 0],
           [0, 0, 0, 0, 0, 0],
           [0, 0, 0, 0, 1, 0],
           [0, 0, 0, 0, 0, 0]])
    """
    call = resolve(check_shape(shape), block_size, data_format, convention, "shape")
    probability, rng = check_probability(gamma, "gamma"), check_rng(rng)
    return call.layout.outside(fast.sample_seeds(probability, call.block, call.new_mask(), rng))


@documented
def keep_mask(
    seeds: Any,
    block_size: Any,
    *,
    data_format: str = "channels_first",
    convention: Convention | str = "paper",
) -> NDArray[np.bool_]:
    """Drop the block of every seed.

    Parameters
    ----------
    {seeds}
    {block_size}
    {data_format}
    {convention}

    Returns
    -------
    ndarray of bool, shape of `seeds`
        M of Algorithm 1: True = kept.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, a seed lies on a cell that is not eligible, or the
        convention refuses the block on this map.

    Notes
    -----
    Line 6 of Algorithm 1 of the paper, defined by one call of `scipy.ndimage.maximum_filter` over the spatial axes.
    The blocks of sparse seeds are dropped one by one instead, which is faster and gives the same mask.

    Examples
    --------
    >>> import numpy as np
    >>> from dropblock_ref import keep_mask
    >>> seeds = np.zeros((1, 1, 4, 5), dtype=bool)
    >>> seeds[0, 0, 2, 1] = True
    >>> keep_mask(seeds, 3)[0, 0].astype(int)
    array([[1, 1, 1, 1, 1],
           [0, 0, 0, 1, 1],
           [0, 0, 0, 1, 1],
           [0, 0, 0, 1, 1]])
    """
    call, inside = resolve_mask(seeds, "seeds", block_size, data_format, convention)
    check_eligible(inside, call)
    return call.layout.outside(fast.keep_mask(inside, call.block))


@documented
def recover_seeds(
    keep_mask: Any,
    block_size: Any,
    *,
    data_format: str = "channels_first",
    convention: Convention | str = "paper",
) -> NDArray[np.bool_]:
    """The largest seed set that explains a keep mask.

    Parameters
    ----------
    {keep_mask}
    {block_size}
    {data_format}
    {convention}

    Returns
    -------
    ndarray of bool, shape of `keep_mask`
        Every eligible cell whose whole block, as far as it lies in the map, is dropped. The mask is legal, which means
        that some seeds give it, exactly if ``dropblock_ref.keep_mask`` of these seeds equals it.

    Raises
    ------
    {raises}

    Notes
    -----
    The inverse of line 6 of Algorithm 1 of the paper, as far as there is one: an erosion of the dropped cells.

    Examples
    --------
    A legal mask, of two blocks, and one that no set of blocks gives:

    >>> import numpy as np
    >>> from dropblock_ref import keep_mask, recover_seeds
    >>> mask = np.array([[0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]], dtype=bool)[None, None]
    >>> recover_seeds(mask, 2)[0, 0].astype(int)
    array([[0, 0, 0, 0],
           [0, 1, 0, 0],
           [0, 0, 0, 1]])
    >>> bool((keep_mask(recover_seeds(mask, 2), 2) == mask).all())
    True
    >>> mask[0, 0, 0, 1] = True
    >>> bool((keep_mask(recover_seeds(mask, 2), 2) == mask).all())
    False
    """
    call, inside = resolve_mask(keep_mask, "keep_mask", block_size, data_format, convention)
    # What the maximum filter of the mirrored block leaves is where no kept cell lies in the block.
    mirrored = rules.everywhere(replace(call.block, before=call.block.after, after=call.block.before))
    seeds = np.zeros_like(inside)
    seeds[call.block.box] = fast.keep_mask(inside, mirrored)[call.block.box]
    return call.layout.outside(seeds)


@documented
def scale(
    keep_mask: Any,
    *,
    drop_prob: Any = None,
    data_format: str = "channels_first",
    convention: Convention | str = "paper",
) -> float | NDArray[np.float64]:
    """The factor on kept cells, count(M) / count_ones(M).

    Parameters
    ----------
    {keep_mask}
    drop_prob : float, optional
        As for `drop_block`. Required where ``scale_over="keep_prob"``, whose scale is 1 / (1 - drop_prob) and counts
        nothing; without effect otherwise.
    {data_format}
    {convention}

    Returns
    -------
    float, or ndarray of float64 that broadcasts over x
        One number for ``scale_over="batch"``, ``"keep_prob"`` and ``"none"``; for ``"sample"`` one per sample and for
        ``"channel"`` one per mask, with size 1 on the axes counted over. Counted in integers, divided in float64. Where
        nothing is kept it is 0, or nan where the convention does not guard that division; where there is nothing to
        count (a batch of 0) it is 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or `drop_prob` is required and missing.

    Notes
    -----
    Line 8 of Algorithm 1 of the paper; with `epsilon` of the convention, count(M) / (count_ones(M) + epsilon).

    Examples
    --------
    >>> import numpy as np
    >>> from dropblock_ref import scale
    >>> mask = np.ones((2, 1, 4, 4), dtype=bool)
    >>> mask[0, 0, :2, :4] = False
    >>> scale(mask)
    1.3333333333333333
    """
    convention = find_convention(convention)
    mask = check_boolean(keep_mask, "keep_mask")
    layout = find_layout(data_format, mask.shape, "keep_mask")
    check_sharing(mask, "keep_mask", layout, convention)
    probability = None if drop_prob is None else check_probability(drop_prob, "drop_prob")
    return layout.outside(rules.scale(layout.inside(mask), probability, convention))
