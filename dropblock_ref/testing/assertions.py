"""Assertions for a test that has x and y in hand, and needs no Backend."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import (
    FLOATING_DTYPES,
    as_array,
    check_block_size,
    check_floating,
    check_probability,
    check_real,
    describe,
)
from ..call import counted_axes, find_layout, mask_shape, place_block
from ..convention import Convention, find_convention
from ..stages import keep_mask
from .judge import find_law, judge_rate, masks_that_show_nothing_dropped
from .observation import find_problems, read_dropped
from .settings import Map
from .statistics import MISS

_SMALLEST_FALSE_ALARM = 1e-100


def assert_valid_output(
    y: Any,
    x: Any,
    block_size: Any,
    *,
    seeds: Any = None,
    drop_prob: Any = None,
    data_format: str = "channels_first",
    convention: Convention | str = "paper",
) -> None:
    """Assert that y can be the output of DropBlock for x in training; one observation is enough.

    Parameters
    ----------
    y : array_like
        Output of the implementation under test.
    x : array_like of float16, bfloat16, float32 or float64
        Its input, without zeros (a zero of y must mean that the cell is dropped); 4 or 5 dimensions.
    block_size : int or sequence of int
        Side of the block in cells, at least 1; one int per spatial axis, or one for all.
    seeds : array_like of bool, optional
        The seeds from which y was drawn, of x's shape, with 1 on the channel axis where the convention shares masks,
        and on eligible cells only. With them the mask must be theirs, cell by cell.
    drop_prob : float, optional
        Nominal probability that a unit is dropped, in [0, 1]; a message may then name 1 / keep_prob.
    data_format : {"channels_first", "channels_last", "NCHW", "NHWC", "NCDHW", "NDHWC"}
        Order of the axes.
    convention : Convention or str
        The choices to follow, or their name in `CONVENTIONS`.

    Raises
    ------
    AssertionError
        If y has not x's shape and dtype, dropped cells are not a union of legal blocks (or, with `seeds`, not their
        blocks), masks are not shared as the convention says, or kept cells are not x * scale to 4 ulps. The message
        says what, where, expected and seen.
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or x has a zero, an infinity or a NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from dropblock_ref import drop_block
    >>> from dropblock_ref.testing import assert_valid_output, make_input
    >>> x = make_input((2, 3, 8, 8), "float32", seed=0)
    >>> assert_valid_output(drop_block(x, 0.2, 3, rng=0), x, 3)

    Where the seeds are known, another mask fails, however legal:

    >>> from dropblock_ref import trace
    >>> drawn = trace(x, 0.2, 3, rng=0)
    >>> assert_valid_output(drawn.output, x, 3, seeds=drawn.seeds)
    """
    x = check_floating(x, "x")
    convention = find_convention(convention)
    layout = find_layout(data_format, x.shape, "x")
    place_block(block_size, layout.spatial_shape(x.shape), convention)
    if seeds is not None:
        seeds = as_array(seeds, "seeds")
        shape = mask_shape(x.shape, layout, convention)
        if seeds.dtype != np.bool_ or seeds.shape != shape:
            kind = f"{seeds.dtype} of shape {seeds.shape}"
            raise ValueError(f"seeds must be a boolean array of shape {shape}, got {kind}")
        keep_mask(seeds, block_size, data_format=data_format, convention=convention)  # refuses what is not eligible
    if drop_prob is not None:
        drop_prob = check_probability(drop_prob, "drop_prob")
    check_readable(x)
    how: dict[str, Any] = {"seeds": seeds, "drop_prob": drop_prob}
    faults = find_problems(x, as_array(y, "y"), block_size, data_format, convention, **how)
    if faults:
        raise AssertionError("\n".join(fault.text for fault in faults))


def assert_drop_rate(
    y: Any,
    x: Any,
    drop_prob: Any,
    block_size: Any,
    *,
    false_alarm: float = 1e-9,
    data_format: str = "channels_first",
    convention: Convention | str = "paper",
) -> None:
    """Assert that the fraction of dropped cells is the exact expected one, up to what chance explains.

    Parameters
    ----------
    y : array_like
        Output of the implementation under test in training; the more samples, the more it detects.
    x : array_like of float16, bfloat16, float32 or float64
        Its input, without zeros; 4 or 5 dimensions.
    drop_prob : float
        Nominal probability that a unit is dropped, in [0, 1]. The expected fraction is not this but
        `theory.expected_drop_fraction`.
    block_size : int or sequence of int
        Side of the block in cells, at least 1; one int per spatial axis, or one for all.
    false_alarm : float
        Upper bound, from 1e-100 to below 1, of the probability that the assertion fails for a correct implementation.
    data_format : {"channels_first", "channels_last", "NCHW", "NHWC", "NCDHW", "NDHWC"}
        Order of the axes.
    convention : Convention or str
        The choices to follow, or their name in `CONVENTIONS`.

    Raises
    ------
    AssertionError
        If the fraction of dropped cells is further from the expected one than a correct implementation comes with
        probability `false_alarm`, by the exact variance of a mask's dropped fraction and the inequalities of Bennett
        and of Boucheron, Lugosi and Massart; or if nothing is dropped, or everything, which is judged by its own
        probability. The message also says what error so many masks find with probability 1 - 1e-6.
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or x has a zero, an infinity or a NaN; or if there are so
        few masks that an output that drops nothing could not fail. The message says how many it takes.

    Examples
    --------
    >>> from dropblock_ref import drop_block
    >>> from dropblock_ref.testing import assert_drop_rate, make_input
    >>> x = make_input((64, 8, 21, 21), "float32", seed=0)
    >>> assert_drop_rate(drop_block(x, 0.5, 3, rng=0), x, 0.5, 3)

    Two samples of one channel say nothing, and do not pass:

    >>> try:
    ...     assert_drop_rate(x[:2, :1], x[:2, :1], 0.1, 7)
    ... except ValueError as error:
    ...     print(str(error)[:75])
    x must have at least 25 masks, so that an output that drops nothing fails (
    """
    x, y = check_floating(x, "x"), as_array(y, "y")
    drop_prob = check_probability(drop_prob, "drop_prob")
    false_alarm = check_false_alarm(false_alarm)
    convention = find_convention(convention)
    layout = find_layout(data_format, x.shape, "x")
    spatial_shape = layout.spatial_shape(x.shape)
    sides = check_block_size(block_size, len(spatial_shape))
    law = find_law(Map(spatial_shape, sides[0] if len(set(sides)) == 1 else sides, drop_prob), convention)
    if y.shape != x.shape:
        raise AssertionError(f"the output has shape {y.shape}; expected that of x, {x.shape}")
    if not x.size:
        raise ValueError(f"x must have samples to count, got shape {x.shape}")
    check_readable(x)
    if y.dtype.name not in FLOATING_DTYPES:
        raise AssertionError(f"the output has dtype {y.dtype}; expected that of x, {x.dtype}")
    masks = math.prod(mask_shape(x.shape, layout, convention)) // law.cells
    needed = masks_that_show_nothing_dropped(law, false_alarm)
    if masks < needed:
        raise ValueError(
            f"x must have at least {needed} masks, so that an output that drops nothing fails (by chance {masks} "
            f"mask{'s' * (masks != 1)} of {law} drop nothing with probability {law.untouched**masks:.2g}), got {masks}"
        )
    dropped = np.count_nonzero(read_dropped(y, counted_axes(layout, convention))) * masks * law.cells / x.size
    verdict = judge_rate(law, dropped, masks, false_alarm)
    if verdict.fault is not None:
        raise AssertionError(
            f"{verdict.fault.text}; on {law}. A correct implementation fails with probability at most "
            f"{false_alarm:g}; {verdict.detects or verdict.seen} is found with probability {1 - MISS}"
        )


def check_readable(x: NDArray[Any]) -> None:
    """Refuse an x of which y cannot show the mask."""
    with np.errstate(all="ignore"):
        unreadable = (x == 0) | ~np.isfinite(x)
    if unreadable.any():
        raise ValueError(
            "x must have no zeros and be finite, so that a zero of y means a dropped cell; "
            f"{np.count_nonzero(unreadable)} of {x.size} cells are not, the first at index "
            f"{tuple(map(int, np.argwhere(unreadable)[0]))} (in Python, make_input makes such an x)"
        )


def check_false_alarm(value: Any) -> float:
    """A probability that is neither 1 nor so small that its parts leave the range of a float."""
    accepted = f"a real number of at least {_SMALLEST_FALSE_ALARM} and below 1"
    probability = check_real(value, "false_alarm", 1.0, accepted)
    if not _SMALLEST_FALSE_ALARM <= probability < 1:
        raise ValueError(f"false_alarm must be {accepted}, got {describe(value)}")
    return probability
