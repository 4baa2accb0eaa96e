"""Assertions for a test that has x and y in hand, and needs no Backend."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import FLOATING_DTYPES, as_array, check_floating, check_probability, check_real, describe
from ..call import counted_axes, find_layout, mask_shape, place_block
from ..convention import Convention, find_convention
from ..theory import drop_fraction_variance, expected_drop_fraction
from .observation import find_problems, read_dropped
from .statistics import MISS, drop_fraction_deviation

_SMALLEST_FALSE_ALARM = 1e-100


def assert_valid_output(
    y: Any, x: Any, block_size: Any, *, data_format: str = "channels_first", convention: Convention | str = "paper"
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
    data_format : {"channels_first", "channels_last", "NCHW", "NHWC", "NCDHW", "NDHWC"}
        Order of the axes.
    convention : Convention or str
        The choices to follow, or their name in `CONVENTIONS`.

    Raises
    ------
    AssertionError
        If y has not x's shape and dtype, dropped cells are not a union of legal blocks, masks are not shared as the
        convention says, or kept cells are not x * scale to 4 ulps. The message says what, where, expected and seen.
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or x has a zero, an infinity or a NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from dropblock_ref import drop_block
    >>> from dropblock_ref.testing import assert_valid_output, make_input
    >>> x = make_input((2, 3, 8, 8), "float32", seed=0)
    >>> assert_valid_output(drop_block(x, 0.2, 3, rng=0), x, 3)
    """
    x = check_floating(x, "x")
    convention = find_convention(convention)
    place_block(block_size, find_layout(data_format, x.shape, "x").spatial_shape(x.shape), convention)
    check_readable(x)
    problems = find_problems(x, as_array(y, "y"), block_size, data_format, convention)
    if problems:
        raise AssertionError("\n".join(problem.text for problem in problems))


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
        probability `false_alarm`, by the exact variance of a mask's dropped fraction and the inequalities of Bernstein
        and of Boucheron, Lugosi and Massart. The message also says what deviation so many masks detect with probability
        1 - 1e-6.
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, x has a zero, an infinity or a NaN, or there is nothing to
        count.

    Examples
    --------
    >>> from dropblock_ref import drop_block
    >>> from dropblock_ref.testing import assert_drop_rate, make_input
    >>> x = make_input((64, 8, 21, 21), "float32", seed=0)
    >>> assert_drop_rate(drop_block(x, 0.5, 3, rng=0), x, 0.5, 3)
    """
    x, y = check_floating(x, "x"), as_array(y, "y")
    drop_prob = check_probability(drop_prob, "drop_prob")
    false_alarm = check_false_alarm(false_alarm)
    convention = find_convention(convention)
    layout = find_layout(data_format, x.shape, "x")
    spatial_shape = layout.spatial_shape(x.shape)
    expected = expected_drop_fraction(drop_prob, block_size, spatial_shape, convention=convention)
    variance = drop_fraction_variance(drop_prob, block_size, spatial_shape, convention=convention)
    if y.shape != x.shape:
        raise AssertionError(f"the output has shape {y.shape}; expected that of x, {x.shape}")
    if not x.size:
        raise ValueError(f"x must have samples to count, got shape {x.shape}")
    check_readable(x)
    masks = math.prod(mask_shape(x.shape, layout, convention)) // math.prod(spatial_shape)
    if y.dtype.name not in FLOATING_DTYPES:
        raise AssertionError(f"the output has dtype {y.dtype}; expected that of x, {x.dtype}")
    seen = float(np.mean(read_dropped(y, counted_axes(layout, convention))))
    part = largest_block_fraction(block_size, spatial_shape, convention)
    alarm = drop_fraction_deviation(masks, expected, variance, part, false_alarm, sides=2)
    if abs(seen - expected) > alarm:
        sure = alarm + drop_fraction_deviation(masks, expected, variance, part, MISS)
        raise AssertionError(
            f"{expected:.6f} of the cells must be dropped on average, under convention {convention.name!r} with "
            f"drop_prob {drop_prob}, block_size {block_size} and maps of {spatial_shape}; over {masks} masks "
            f"{seen:.6f} are. A correct implementation is off by more than {alarm:.6f} with probability at most "
            f"{false_alarm:g}; an error of about {sure:.6f} is found with probability {1 - MISS}"
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


def largest_block_fraction(block_size: Any, spatial_shape: tuple[int, ...], convention: Convention) -> float:
    """The largest part of a map that one block covers."""
    block = place_block(block_size, spatial_shape, convention).size
    return math.prod(min(b, S) for b, S in zip(block, spatial_shape, strict=True)) / math.prod(spatial_shape)


def check_false_alarm(value: Any) -> float:
    """A probability that is neither 1 nor so small that its parts leave the range of a float."""
    accepted = f"a real number of at least {_SMALLEST_FALSE_ALARM} and below 1"
    probability = check_real(value, "false_alarm", 1.0, accepted)
    if not _SMALLEST_FALSE_ALARM <= probability < 1:
        raise ValueError(f"false_alarm must be {accepted}, got {describe(value)}")
    return probability
