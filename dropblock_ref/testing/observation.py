"""What one output shows: the mask, read from x and y, whether it is legal, the scale and the values.

This is the second of the oracle's levels, and the first when the seeds are known.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import FLOATING_DTYPES, check_choice, check_integer, check_shape
from ..call import Layout, counted_axes, find_layout
from ..convention import Convention
from ..picture import picture
from ..stages import keep_mask, recover_seeds, scale

MAX_ULPS = 4.0  # values may differ from the float64 product x * scale by so many units in the last place of x's dtype


@dataclass(frozen=True)
class Fault:
    """What a check finds wrong: the check whose name it bears, and what, where, expected and seen."""

    check: str
    text: str
    dtype: str = ""  # of x, where a call has shown it
    special: str | None = None  # the check of the kind of call that alone may show it, as even_blocks


def make_input(shape: tuple[int, ...], dtype: str, seed: int) -> NDArray[Any]:
    """An x without zeros, for use with the oracle's assertions.

    Parameters
    ----------
    shape : sequence of int
        Batch, channels and spatial axes, 4 or 5 in all.
    dtype : {"float16", "bfloat16", "float32", "float64"}
        bfloat16 needs the package ml_dtypes.
    seed : int
        The same arguments give the same array.

    Returns
    -------
    ndarray
        Magnitudes from 0.5 to 2 with every mantissa, both signs.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.
    ImportError
        If dtype is bfloat16 and ml_dtypes is not installed.

    Examples
    --------
    >>> from dropblock_ref.testing import make_input
    >>> make_input((1, 1, 1, 3), "float32", seed=0)
    array([[[[-1.4554425 , -0.9046801 , -0.56146026]]]], dtype=float32)
    """
    shape = check_shape(shape)
    check_choice(dtype, "dtype", FLOATING_DTYPES)
    rng = np.random.default_rng(check_integer(seed, "seed", 0))
    x = rng.uniform(0.5, 2, shape) * rng.choice([-1.0, 1.0], shape)
    converted: NDArray[Any] = x.astype(find_dtype(dtype))
    return converted


def find_dtype(name: str) -> np.dtype[Any]:
    """The dtype of that name; bfloat16 is ml_dtypes'."""
    if name == "bfloat16":
        try:
            import ml_dtypes  # only who asks for bfloat16 needs it
        except ImportError as error:
            raise ImportError("dtype 'bfloat16' needs the package ml_dtypes; pip install ml_dtypes") from error
        name = ml_dtypes.bfloat16
    dtype: np.dtype[Any] = np.dtype(name)
    return dtype


def coarser(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    """Whichever of two dtypes rounds more; a wrong dtype is one problem, and not wrong values on top."""
    return min(a, b, key=lambda dtype: _BITS.get(dtype.name, _BITS_OF_FLOAT64))


_BITS = {"float16": (10, -14), "bfloat16": (7, -126), "float32": (23, -126)}  # of the mantissa; smallest exponent
_BITS_OF_FLOAT64 = (52, -1022)


def ulp(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """One unit in the last place of `dtype` at each value: its spacing, that of the smallest normal number below."""
    mantissa_bits, smallest_exponent = _BITS.get(dtype.name, _BITS_OF_FLOAT64)
    exponent = np.where(values == 0, smallest_exponent, np.frexp(values)[1] - 1)
    unit: NDArray[np.float64] = np.ldexp(1.0, np.maximum(exponent, smallest_exponent) - mantissa_bits)
    return unit


def read_dropped(y: NDArray[Any], counted: tuple[int, ...] | None = None) -> NDArray[np.bool_]:
    """Where y shows a dropped cell, for an x without zeros.

    Where all cells that are counted together, over the axes `counted`, are NaN, all of them are dropped: 0 / 0.
    """
    dropped: NDArray[np.bool_] = np.equal(y, 0)
    if np.isnan(y).any():
        dropped |= np.isnan(y).all(axis=counted, keepdims=True)
    return dropped


def find_problems(
    x: NDArray[Any],
    y: Any,
    block_size: Any,
    data_format: str,
    convention: Convention,
    *,
    seeds: NDArray[np.bool_] | None = None,
    drop_prob: float | None = None,
) -> list[Fault]:
    """Everything that is wrong with y as DropBlock of x, which has no zeros; by the seeds where they are known."""
    problems = []
    if not isinstance(y, np.ndarray):
        return [Fault("shape_and_dtype", f"the output must be a NumPy array, and is a {type(y).__name__}")]
    if y.shape != x.shape:
        return [Fault("shape_and_dtype", f"the output has shape {y.shape}; expected that of x, {x.shape}")]
    if y.dtype != x.dtype:
        problems.append(Fault("shape_and_dtype", f"the output has dtype {y.dtype}; expected that of x, {x.dtype}"))
    if not y.size or y.dtype.name not in FLOATING_DTYPES:
        return problems
    layout = find_layout(data_format, x.shape, "x")
    mask = np.logical_not(read_dropped(y, counted_axes(layout, convention)))
    found: list[Fault | None] = []
    # Where the mask is wrong, the scale is judged all the same. What the backend has counted may be what can be read
    # from y, or what it should be; `counted` are both.
    counted = [mask]
    first = one_of_each(mask, convention, layout)
    if (mask != first).any():
        # Blocks are judged all the same, with the masks that there are.
        own = replace(convention, shared_channels=False, shared_samples=False)
        of_blocks = _check_mask(mask, block_size, data_format, own, layout, None)[1]
        found += [_unshared(mask, first, convention, layout), of_blocks]
        shared = [0] * convention.shared_samples + [layout.channel_axis] * convention.shared_channels
        counted = [each(mask, axis=tuple(shared), keepdims=True) for each in (np.any, np.all)]
    else:
        mask = first
    if not found:
        expected, problem = _check_mask(mask, block_size, data_format, convention, layout, seeds)
        found.append(problem)
        counted = [mask] if problem is None else [mask, expected]
    factors = [scale(one, drop_prob=drop_prob, data_format=data_format, convention=convention) for one in counted]
    found.append(find_value_problem(x, y, mask, factors, convention, layout, drop_prob))
    return [*problems, *(problem for problem in found if problem is not None)]


def one_of_each(mask: NDArray[np.bool_], convention: Convention, layout: Layout) -> NDArray[np.bool_]:
    """The masks that are drawn, where samples or channels share them: the first."""
    if convention.shared_samples:
        mask = mask[:1]
    return np.take(mask, [0], axis=layout.channel_axis) if convention.shared_channels else mask


def _unshared(mask: NDArray[np.bool_], first: NDArray[np.bool_], convention: Convention, layout: Layout) -> Fault:
    sample, channel, cell = _where(mask != first, layout)
    what = "the channels of a sample" if not convention.shared_samples else "the samples of a call"
    other = "channel 0" if not convention.shared_samples else "sample 0"
    if convention.shared_samples and convention.shared_channels:
        what, other = "all samples and channels", "channel 0 of sample 0"
    return Fault(
        "channel_sharing",
        f"{what} must share one mask under convention {convention.name!r}, but in sample {sample} "
        f"channel {channel} differs from {other}, first at cell {cell}\n"
        + picture(mask[layout.map_index(sample, channel)]),
    )


def _check_mask(
    mask: NDArray[np.bool_],
    block_size: Any,
    data_format: str,
    convention: Convention,
    layout: Layout,
    seeds: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.bool_], Fault | None]:
    """The mask that it should be, as far as that is known, and what is wrong."""
    if seeds is not None:
        try:
            expected = keep_mask(seeds, block_size, data_format=data_format, convention=convention)
        except ValueError as error:
            return mask, Fault("replayed_mask", f"the drawn seeds are not legal: {error}")
        return expected, find_replayed_problem(mask, expected, seeds, block_size, convention, layout)
    largest = recover_seeds(mask, block_size, data_format=data_format, convention=convention)
    expected = keep_mask(largest, block_size, data_format=data_format, convention=convention)
    property_ = f"dropped cells must be a union of legal blocks of {block_size} (convention {convention.name!r})"
    legend = "# dropped, . kept, x dropped but in no legal block"
    text = _compare_masks(mask, expected, property_, legend, layout)
    return expected, Fault("legal_blocks", text) if text else None


def find_replayed_problem(
    mask: NDArray[np.bool_],
    expected: NDArray[np.bool_],
    seeds: NDArray[np.bool_],
    block_size: Any,
    convention: Convention,
    layout: Layout,
) -> Fault | None:
    """Where a mask is not the expected one of known seeds."""
    property_ = f"the mask must drop the blocks of {block_size} around the drawn seeds (convention {convention.name!r})"
    legend = "# dropped, . kept, x dropped but should be kept, o kept but should be dropped, S seed"
    text = _compare_masks(mask, expected, property_, legend, layout, seeds)
    return Fault("replayed_mask", text) if text else None


def _compare_masks(
    mask: NDArray[np.bool_],
    expected: NDArray[np.bool_],
    property_: str,
    legend: str,
    layout: Layout,
    seeds: NDArray[np.bool_] | None = None,
) -> str:
    """Where two masks differ, in words and as a picture; empty where they are equal."""
    wrong = mask != expected
    if not wrong.any():
        return ""
    sample, channel, cell = _where(wrong, layout)
    index = layout.map_index(sample, channel)
    marks = {"x": (expected & ~mask)[index], "o": (mask & ~expected)[index]}
    if seeds is not None:
        marks = {"S": (seeds & ~mask)[index], **marks}
    return (
        f"{property_}, but {np.count_nonzero(wrong)} of {mask.size} cells differ, "
        f"the first in sample {sample}, channel {channel}, cell {cell}:\n"
        + picture(mask[index], marks, cell)
        + f"\n({legend})"
    )


def find_value_problem(
    x: NDArray[Any],
    y: NDArray[Any],
    mask: NDArray[np.bool_],
    factors: Sequence[float | NDArray[np.float64]],
    convention: Convention,
    layout: Layout,
    drop_prob: float | None,
) -> Fault | None:
    """Where kept cells are not x * factor, or dropped cells are NaN without reason.

    With a wrong mask there are two counts, and any factor from the first to the second is right.
    """
    nan = np.isnan(y) & ~np.broadcast_to(mask, x.shape)
    if nan.any() and (convention.all_dropped == "zeros" or convention.scale_over == "none"):
        return Fault("values", f"cells are dropped and NaN; expected zeros, in {map_picture(mask, nan, layout)}")
    wide_x, wide_y = x.astype(np.float64), y.astype(np.float64)
    dtype = coarser(x.dtype, y.dtype)
    with np.errstate(all="ignore"):
        products = [wide_x * np.where(mask, factor, 0.0) for factor in factors]
        expected = products[0]
        off = beyond = np.abs(wide_y - expected)
        if len(products) > 1:
            beyond = np.maximum(np.minimum(*products) - wide_y, wide_y - np.maximum(*products))
        overflowed = expected.astype(dtype).astype(np.float64)  # a product may leave the range of the dtype
    no_number = (~np.isfinite(wide_y) & (wide_y == overflowed)) | (np.isnan(x) & np.isnan(y))
    mask = np.broadcast_to(mask, x.shape)
    wrong = mask & ~(no_number | (beyond <= MAX_ULPS * ulp(expected, dtype)))
    if not wrong.any() and len(products) == 1:
        return None
    # If the kept cells of each map have one common ratio y / x, the factor is wrong; if not, the values are.
    ratios, unsteady = _common_ratios(wide_x, wide_y, mask, layout, dtype)
    unsteady &= ~no_number
    wrong |= unsteady
    if not wrong.any():
        return None
    sample, channel, cell = _where(unsteady if unsteady.any() else wrong, layout)
    index = layout.map_index(sample, channel)
    ratio = float(ratios[index].flat[0])
    shown = map_picture(mask, wrong, layout)
    where = f"{np.count_nonzero(wrong)} of {np.count_nonzero(mask)} kept cells"
    place = f"sample {sample}, channel {channel}"
    full = (sample, *_full_cell(layout, channel, cell))
    used = float(np.broadcast_to(factors[0], x.shape)[full])
    ulps = f"{off[full] / ulp(expected[full], dtype):.3g} ulps of {dtype}"
    if not unsteady.any() and abs(ratio - used) > ulp(np.asarray(used), dtype):
        right, seen = tell_apart(used, ratio)
        return Fault(
            "scale",
            f"kept cells must be multiplied by the scale count(M) / count_ones(M) = {right}, but in {place} they are "
            f"multiplied by {seen}{_explain(ratio, used, mask, layout, index, drop_prob, dtype, convention)} ({ulps} "
            f"off; {where} are wrong)\n{shown}",
        )
    right, seen = tell_apart(float(expected[full]), float(wide_y[full]))
    return Fault(
        "values",
        f"kept cells must be x * scale within {MAX_ULPS:g} ulps of {dtype}, but {where} differ by more, the first in "
        f"{place}, cell {cell}: x = {wide_x[full]:.9g}, expected {right}, seen {seen} ({ulps} off)\n{shown}",
    )


def _common_ratios(
    x: NDArray[np.float64], y: NDArray[np.float64], mask: NDArray[np.bool_], layout: Layout, dtype: np.dtype[Any]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The median of y / x over the kept cells of each map, of x's shape, and the cells where it is not y / x."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of maps without kept cells
        ratios = np.nanmedian(np.where(mask, y / x, np.nan), axis=layout.spatial_axes, keepdims=True)
        common = x * ratios
        unsteady = mask & ~(np.abs(y - common) <= 2 * MAX_ULPS * ulp(np.nan_to_num(common), dtype))
    return np.broadcast_to(ratios, x.shape), unsteady


def tell_apart(expected: float, seen: float) -> tuple[str, str]:
    """Two numbers in so many digits that they are told apart, if they are."""
    for digits in (7, 9, 12):
        texts = f"{expected:.{digits}g}", f"{seen:.{digits}g}"
        # Not only the last digit: what is off by little more than the digits show would look like a rounding.
        if abs(float(texts[0]) - float(texts[1])) > abs(expected - seen) / 2 and texts[0] != texts[1]:
            return texts
    return f"{expected:.17g}", f"{seen:.17g}"


def _explain(
    ratio: float,
    used: float,
    mask: NDArray[np.bool_],
    layout: Layout,
    index: tuple[Any, ...],
    drop_prob: float | None,
    dtype: np.dtype[Any],
    convention: Convention,
) -> str:
    """What the wrong scale is, where it is a common mistake."""
    kept = np.count_nonzero(mask) / mask.size
    sample, one_map = mask[index[0]], mask[index]
    candidates = {
        "no scale at all": 1.0,
        "kept cells counted over the whole batch": 1 / kept,
        "kept cells counted in this sample only": sample.size / max(np.count_nonzero(sample), 1),
        "kept cells counted in this map only": one_map.size / max(np.count_nonzero(one_map), 1),
        "the scale's inverse": kept,
        "the scale's square": kept**-2,
        "the scale's square root": kept**-0.5,
    }
    if drop_prob is not None and drop_prob < 1:
        candidates["1 / keep_prob"] = 1 / (1 - drop_prob)
    close = max(1e-5, 2 * float(ulp(np.asarray(1.0), dtype)))
    for text, value in candidates.items():
        if abs(ratio / value - 1) < close < abs(used / value - 1):
            return f", which is {text}"
    counted = {"batch": mask, "sample": sample, "channel": one_map}.get(convention.scale_over)
    if counted is not None and ratio > 0:
        ones = np.count_nonzero(counted) / (mask.shape[layout.channel_axis] if convention.shared_channels else 1)
        ones /= len(mask) if convention.shared_samples and convention.scale_over == "batch" else 1
        epsilon = (ones + convention.epsilon) * used / ratio - ones
        power = 10.0 ** round(math.log10(epsilon)) if epsilon > 0 else 0.0
        if abs(epsilon - power) <= 0.02 * power and ones * float(ulp(np.asarray(1.0), dtype)) < 0.02 * power:
            return f", which is count(M) / (count_ones(M) + {power:g})"
    if dtype == np.float64 and abs(ratio / used - 1) <= 2.0**-22:
        return ", which is the right scale to the precision of float32: it is counted, divided or rounded in float32"
    return ""


def _where(wrong: NDArray[np.bool_], layout: Layout) -> tuple[int, int, tuple[int, ...]]:
    """Sample, channel and cell of the first True."""
    position = [int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape)]
    return position[0], position[layout.channel_axis], tuple(position[axis] for axis in layout.spatial_axes)


def _full_cell(layout: Layout, channel: int, cell: tuple[int, ...]) -> tuple[int, ...]:
    """The index behind the sample's, in the order of the layout."""
    entries = list(layout.on_spatial_axes(cell, channel))
    return tuple(entries[1:])


def same(a: Any, b: Any) -> bool:
    """Equal shape and values, in the coarser dtype of both; NaN equals NaN."""
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.shape == b.shape):
        return False
    dtype = coarser(a.dtype, b.dtype)
    a, b = a.astype(dtype, copy=False), b.astype(dtype, copy=False)
    return bool(((a == b) | (np.isnan(a) & np.isnan(b))).all())


def difference(expected: NDArray[Any], y: Any) -> str:
    """Where an array is not as expected, in words."""
    if not isinstance(y, np.ndarray) or y.shape != expected.shape:
        return f"is {type(y).__name__} of shape {getattr(y, 'shape', None)}, not {expected.shape}"
    wrong = ~((y == expected) | (np.isnan(expected) & np.isnan(y)))
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (
        f"{np.count_nonzero(wrong)} of {expected.size} cells differ, first at index {index}: expected "
        f"{expected[index]}, seen {y[index]}"
    )


def map_picture(mask: NDArray[np.bool_], wrong: NDArray[np.bool_], layout: Layout) -> str:
    """The map with the first wrong cell, and where it is."""
    sample, channel, cell = _where(wrong, layout)
    index = layout.map_index(sample, channel)
    shown = picture(mask[index], {"!": wrong[index]}, cell)
    return f"sample {sample}, channel {channel}, first wrong cell {cell}:\n{shown}\n(# dropped, . kept, ! wrong)"
