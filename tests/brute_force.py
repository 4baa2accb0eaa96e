"""Algorithm 1 by nested loops, cell by cell: what the package is compared with, written without it.

Arrays are containers here and nothing more: every entry is read and written alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain, combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dropblock_ref import Convention

Cell = tuple[int, ...]
Bools = NDArray[np.bool_]


def sides(block_size: int | tuple[int, ...], spatial_shape: Cell, convention: Convention) -> Cell:
    """The block's sides after clipping."""
    asked = block_size if isinstance(block_size, tuple) else tuple(block_size for _ in spatial_shape)
    if convention.oversize_block in ("clip_each_axis", "nothing_dropped"):
        return tuple(min(b, S) for b, S in zip(asked, spatial_shape, strict=True))
    if convention.oversize_block == "clip_to_smallest_axis":
        return tuple(min(b, *spatial_shape) for b in asked)
    return asked


def block_cells(seed: Cell, block: Cell, convention: Convention) -> Iterator[Cell]:
    """The cells of the block centred on `seed`, also those outside the map."""
    ranges = []
    for s, b in zip(seed, block, strict=True):
        half = (b - 1) // 2
        first = s - half - 1 if b % 2 == 0 and convention.even_extra_cell == "before" else s - half
        ranges.append(range(first, first + b))
    return product(*ranges)


def cells_of(spatial_shape: Cell) -> list[Cell]:
    return list(product(*(range(S) for S in spatial_shape)))


def lies_in(cell: Cell, spatial_shape: Cell) -> bool:
    return all(0 <= u < S for u, S in zip(cell, spatial_shape, strict=True))


def eligible_cells(block_size: int | tuple[int, ...], spatial_shape: Cell, convention: Convention) -> list[Cell]:
    block = sides(block_size, spatial_shape, convention)
    asked = block_size if isinstance(block_size, tuple) else (block_size,) * len(spatial_shape)
    if convention.oversize_block == "nothing_dropped" and block != asked:
        return []
    if convention.seed_region == "everywhere":
        return cells_of(spatial_shape)
    return [
        seed
        for seed in cells_of(spatial_shape)
        if all(lies_in(cell, spatial_shape) for cell in block_cells(seed, block, convention))
    ]


def coverage(block_size: int | tuple[int, ...], spatial_shape: Cell, convention: Convention) -> dict[Cell, int]:
    """How many eligible cells have a block that covers each cell."""
    block = sides(block_size, spatial_shape, convention)
    counts = dict.fromkeys(cells_of(spatial_shape), 0)
    for seed in eligible_cells(block_size, spatial_shape, convention):
        for cell in block_cells(seed, block, convention):
            if cell in counts:
                counts[cell] += 1
    return counts


def drop_fraction(
    gamma: Fraction, block_size: int | tuple[int, ...], spatial_shape: Cell, convention: Convention
) -> Fraction:
    """The expected fraction of dropped cells, exactly."""
    counts = coverage(block_size, spatial_shape, convention)
    return 1 - sum((1 - gamma) ** n for n in counts.values()) / Fraction(len(counts))


def gamma(
    drop_prob: float, block_size: int | tuple[int, ...], spatial_shape: Cell, convention: Convention
) -> Fraction | None:
    """Gamma as an exact fraction; None for the rule that has no closed form."""
    block = sides(block_size, spatial_shape, convention)
    value = Fraction(drop_prob)
    if convention.gamma_rule == "calibrated":
        return None
    for k in range(len(spatial_shape)):
        axis = {"last_axis": -1, "first_axis": 0}.get(convention.gamma_rule, k)
        value /= block[axis]
        if convention.gamma_rule != "uncorrected":
            value *= Fraction(spatial_shape[axis], spatial_shape[axis] - block[axis] + 1)
    return value


def channel_axis(data_format: str, ndim: int) -> int:
    return 1 if data_format in ("channels_first", "NCHW", "NCDHW") else ndim - 1


def parts(index: Cell, data_format: str) -> tuple[int, int, Cell]:
    """Sample, channel and cell of an index."""
    axis = channel_axis(data_format, len(index))
    return index[0], index[axis], tuple(index[k] for k in range(1, len(index)) if k != axis)


def whole(sample: int, channel: int, cell: Cell, data_format: str) -> Cell:
    """The index of a cell of a channel of a sample."""
    middle = list(cell)
    middle.insert(channel_axis(data_format, len(cell) + 2) - 1, channel)
    return (sample, *middle)


def mask_shape(shape: Cell, data_format: str, convention: Convention) -> Cell:
    axis = channel_axis(data_format, len(shape))
    shared = {axis} if convention.shared_channels else set()
    shared |= {0} if convention.shared_samples else set()
    return tuple(min(S, 1) if k in shared else S for k, S in enumerate(shape))


def spatial_shape_of(shape: Cell, data_format: str) -> Cell:
    return parts(shape, data_format)[2]


def keep_mask(seeds: Bools, block_size: int | tuple[int, ...], data_format: str, convention: Convention) -> Bools:
    spatial_shape = spatial_shape_of(seeds.shape, data_format)
    block = sides(block_size, spatial_shape, convention)
    mask = np.ones(seeds.shape, dtype=np.bool_)
    for index in cells_of(seeds.shape):
        if seeds[index]:
            sample, channel, seed = parts(index, data_format)
            for cell in block_cells(seed, block, convention):
                if lies_in(cell, spatial_shape):
                    mask[whole(sample, channel, cell, data_format)] = False
    return mask


def largest_seeds(mask: Bools, block_size: int | tuple[int, ...], data_format: str, convention: Convention) -> Bools:
    """Every eligible cell whose block, as far as it lies in the map, is dropped."""
    spatial_shape = spatial_shape_of(mask.shape, data_format)
    block = sides(block_size, spatial_shape, convention)
    eligible = eligible_cells(block_size, spatial_shape, convention)
    seeds = np.zeros(mask.shape, dtype=np.bool_)
    for index in cells_of(mask.shape):
        sample, channel, seed = parts(index, data_format)
        if seed in eligible:
            inside = [cell for cell in block_cells(seed, block, convention) if lies_in(cell, spatial_shape)]
            seeds[index] = not any(mask[whole(sample, channel, cell, data_format)] for cell in inside)
    return seeds


def scale(mask: Bools, data_format: str, convention: Convention, drop_prob: float) -> dict[Cell, float]:
    """The factor for every index of the mask."""
    groups: dict[Cell, list[Cell]] = {}
    of_group: dict[str, Callable[[int, int], Cell]] = {
        "none": lambda _sample, _channel: (),
        "keep_prob": lambda _sample, _channel: (),
        "batch": lambda _sample, _channel: (),
        "sample": lambda sample, _channel: (sample,),
        "channel": lambda sample, channel: (sample, channel),
    }
    for index in cells_of(mask.shape):
        sample, channel, _ = parts(index, data_format)
        groups.setdefault(of_group[convention.scale_over](sample, channel), []).append(index)
    factors: dict[Cell, float] = {}
    for indices in groups.values():
        kept = 0
        for index in indices:
            kept += int(mask[index])
        if convention.scale_over == "none":
            factor = 1.0
        elif convention.scale_over == "keep_prob" and drop_prob == 1:
            factor = 0.0 if convention.all_dropped == "zeros" else math.inf
        elif convention.scale_over == "keep_prob":
            factor = 1 / (1 - drop_prob)
        elif kept == 0:
            factor = 0.0 if convention.all_dropped == "zeros" else math.nan
        else:
            factor = len(indices) / (kept + convention.epsilon)
        factors |= dict.fromkeys(indices, factor)
    return factors


def ulp32(value: float) -> float:
    """Distance of neighbouring float32 numbers at `value`."""
    exponent = math.frexp(min(abs(value), 2.0**127))[1]
    return 2.0 ** (max(exponent, -125) - 24)


def same(a: float, b: float) -> bool:
    """The same number, with its sign; or both NaN."""
    return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))


def is_product(y: Any, x: Any, kept: bool, factor: float) -> bool:
    """Whether y is x * kept * factor, as exactly as the dtype of x allows."""
    exact = float(x) * float(kept) * factor
    if x.dtype.name == "float64":
        return same(float(y), exact)
    if x.dtype.name == "float32":
        if math.isnan(exact) or math.isinf(float(x)) or exact == 0:
            return same(float(y), exact)
        if math.isinf(float(y)):
            return math.copysign(1, exact) == math.copysign(1, float(y)) and abs(exact) > float(
                np.finfo(np.float32).max
            ) * (1 - 2.0**-23)
        return abs(float(y) - exact) <= 1.5 * ulp32(exact)
    with np.errstate(all="ignore"):
        expected = (np.float32(x) * np.float32(kept) * np.float32(factor)).astype(x.dtype)
    return same(float(y), float(expected))


def subsets(cells: list[Cell]) -> Iterator[tuple[Cell, ...]]:
    return chain.from_iterable(combinations(cells, k) for k in range(len(cells) + 1))


def mask_of(
    seeds: tuple[Cell, ...], block_size: int | tuple[int, ...], spatial_shape: Cell, convention: Convention
) -> frozenset[Cell]:
    """The dropped cells of one map with these seeds."""
    block = sides(block_size, spatial_shape, convention)
    covered = {cell for seed in seeds for cell in block_cells(seed, block, convention)}
    return frozenset(cell for cell in covered if lies_in(cell, spatial_shape))
