"""gamma, the probability that an eligible cell is a seed: eq. (1) of the paper and its variants."""

from __future__ import annotations

import math
from typing import Any

from .arguments import check_probability, check_spatial_shape
from .convention import PAPER, Convention, find_convention
from .coverage import calibrated_gamma
from .geometry import place_block


def gamma(drop_prob: Any, block_size: Any, spatial_shape: Any, *, convention: Convention | str = PAPER) -> float:
    """Probability that an eligible cell is a seed.

    Parameters
    ----------
    drop_prob : float
        Nominal probability that a unit is dropped, in [0, 1]; 1 - keep_prob of the paper.
    block_size : int or sequence of int
        Side of the block in cells, at least 1; one int per spatial axis, or one for all.
    spatial_shape : sequence of int
        (H, W) or (D, H, W) of the map, at least 1 each.
    convention : Convention or str
        The choices to follow, or their name in `CONVENTIONS`.

    Returns
    -------
    float
        In [0, 1]. With the paper's rule at most `drop_prob`, and equal to it for a block of 1 or as large as the map.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or the convention refuses the block on this map.

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
    p = check_probability(drop_prob, "drop_prob")
    spatial_shape = check_spatial_shape(spatial_shape)
    convention = find_convention(convention)
    block = place_block(block_size, spatial_shape, convention)
    if convention.gamma_rule == "uncorrected":
        return p / math.prod(block.size)
    if convention.gamma_rule == "calibrated":
        return calibrated_gamma(p, block)
    sides = list(zip(spatial_shape, block.size, strict=True))
    if convention.gamma_rule == "last_axis":
        sides = sides[-1:] * len(sides)
    # The quotient of the two integer products is rounded once and is at most 1, so gamma never exceeds drop_prob.
    return float(p * (math.prod(S for S, _ in sides) / math.prod(b * (S - b + 1) for S, b in sides)))
