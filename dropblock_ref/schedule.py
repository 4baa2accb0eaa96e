"""drop_prob over training steps: section 3 of the paper, "a linear scheme of decreasing the value of keep_prob"."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arguments import LARGEST_INTEGER, as_array, as_scalar, check_integer, check_probability, describe


def linear_schedule(step: Any, start: Any, stop: Any, steps: Any) -> float | NDArray[np.float64]:
    """drop_prob at a training step: ``numpy.linspace(start, stop, steps)[step]``, and `stop` from the last one on.

    Parameters
    ----------
    step : int or array_like of int
        Training step, from 0.
    start, stop : float
        drop_prob at step 0 and from step ``steps - 1`` on, in [0, 1].
    steps : int
        Number of values from `start` to `stop`, both included; at least 1. A warm-up of n steps has n + 1 values: with
        1, a warm-up of 0 steps, it is `stop` at once, where ``numpy.linspace`` has `start`.

    Returns
    -------
    float, or ndarray of float64 of the shape of `step`

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

    Notes
    -----
    Section 3 of the paper; for 2 and more values, those of ``LinearScheduler`` of dropblock 0.3.0 after step + 1 calls
    of its ``step()``.

    Examples
    --------
    >>> from dropblock_ref import linear_schedule
    >>> linear_schedule(2, 0.0, 0.25, 5)
    0.125
    >>> linear_schedule(range(7), 0.0, 0.25, 5)
    array([0.    , 0.0625, 0.125 , 0.1875, 0.25  , 0.25  , 0.25  ])
    """
    start, stop = check_probability(start, "start"), check_probability(stop, "stop")
    steps = check_integer(steps, "steps", 1)
    accepted = f"an integer from 0 to {LARGEST_INTEGER}, or an array of them"
    one = isinstance(as_scalar(step, "step", accepted), Integral)
    index = np.asarray(check_integer(step, "step", 0)) if one else as_array(step, "step", accepted)
    accepted = f"step must be {accepted}"
    if index.dtype.kind not in "iu":
        raise TypeError(f"{accepted}, got {describe(index if index.ndim else step)}")
    if index.size and not 0 <= int(index.min()) <= int(index.max()) <= LARGEST_INTEGER:
        raise ValueError(f"{accepted}, got {int(index.min())} to {int(index.max())} in {describe(index)}")
    last = max(steps - 1, 1)
    increment = (stop - start) / last
    # As numpy.linspace multiplies: a difference so small that the increment is 0 is not divided first.
    rise = index * increment if increment else index / last * (stop - start)
    values = np.where(index < steps - 1, start + rise, stop)
    return values if values.ndim else float(values)
