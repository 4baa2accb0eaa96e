"""The scale: Algorithm 1, line 8, "A = A x count(M) / count_ones(M)"."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .convention import PAPER, Convention, find_convention
from .layout import Layout
from .seeds import check_mask


def scale(
    keep_mask: Any, *, data_format: str = "channels_first", convention: Convention | str = PAPER
) -> float | NDArray[np.float64]:
    """The factor on kept cells, count(M) / count_ones(M).

    Parameters
    ----------
    keep_mask : array_like of bool
        True = kept; 4 or 5 dimensions, 1 on the channel axis where the convention shares masks.
    data_format : {"channels_first", "channels_last", "NCHW", "NHWC", "NCDHW", "NDHWC"}
        Order of the axes.
    convention : Convention or str
        The choices to follow, or their name in `CONVENTIONS`.

    Returns
    -------
    float, or ndarray of float64 that broadcasts over x
        One number for ``scale_over="batch"`` and ``"none"``; for ``"sample"`` one per sample and for ``"channel"`` one
        per mask, with size 1 on the axes counted over. Counted in integers, divided in float64. Where nothing is kept
        it is 0, or nan where the convention does not guard that division; where there is nothing to count (a batch of
        0) it is 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

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
    mask, layout = check_mask(keep_mask, "keep_mask", data_format, convention)
    if convention.scale_over == "none":
        return 1.0
    if convention.scale_over == "batch":
        return float(_ratio(mask.size, np.array(np.count_nonzero(mask)), convention))
    counted = counted_axes(layout, convention)
    kept = np.count_nonzero(mask, axis=counted, keepdims=True)
    return _ratio(math.prod(mask.shape[axis] for axis in counted), kept, convention)


def counted_axes(layout: Layout, convention: Convention) -> tuple[int, ...]:
    """The axes over which kept cells are counted together."""
    if convention.scale_over == "channel":
        return layout.spatial_axes
    return tuple(range(1 if convention.scale_over == "sample" else 0, layout.ndim))


def _ratio(count: int, kept: NDArray[np.int64], convention: Convention) -> NDArray[np.float64]:
    """count / (kept + epsilon), with the two exceptions that the docstring of `scale` names."""
    if count == 0:
        return np.ones(kept.shape)
    all_dropped = 0.0 if convention.all_dropped == "zeros" else math.nan
    return np.where(kept == 0, all_dropped, count / np.maximum(kept + convention.epsilon, 1.0))
