"""What other conventions do instead of the paper: one small function for each value of a Convention's field."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from . import algorithm
from .algorithm import Block
from .convention import Convention
from .coverage import calibrated_gamma

Sizes = tuple[int, ...]


def place(asked: Sizes, spatial_shape: Sizes, convention: Convention) -> Block:
    """Where a block lies around its seed, and where seeds may lie."""
    size = OVERSIZE_BLOCK[convention.oversize_block](asked, spatial_shape)
    block = EVEN_EXTRA_CELL[convention.even_extra_cell](algorithm.place(size, spatial_shape))
    block = SEED_REGION[convention.seed_region](block)
    return nowhere(block) if size != asked and convention.oversize_block == "nothing_dropped" else block


def as_it_is(size: Sizes, _: Sizes) -> Sizes:
    """The block that was asked for: it fits, or may stick out."""
    return size


def clip_each_axis(size: Sizes, spatial_shape: Sizes) -> Sizes:
    """Each side at most its own axis of the map."""
    return tuple(min(b, S) for b, S in zip(size, spatial_shape, strict=True))


def clip_to_smallest_axis(size: Sizes, spatial_shape: Sizes) -> Sizes:
    """Each side at most the smallest axis of the map."""
    return tuple(min(b, *spatial_shape) for b in size)


def extra_cell_before(block: Block) -> Block:
    """As the paper's authors have it."""
    return block


def extra_cell_after(block: Block) -> Block:
    """The block mirrored."""
    eligible = tuple(slice(i, S - j) for i, j, S in zip(block.after, block.before, block.spatial_shape, strict=True))
    return replace(block, before=block.after, after=block.before, eligible=eligible)


def fitting(block: Block) -> Block:
    """Seeds where the whole block fits."""
    return block


def everywhere(block: Block) -> Block:
    """Seeds on all cells; a block that sticks out of the map reaches at most across it."""
    before, after = (
        tuple(min(i, S - 1) for i, S in zip(cells, block.spatial_shape, strict=True))
        for cells in (block.before, block.after)
    )
    return replace(block, before=before, after=after, eligible=tuple(slice(0, S) for S in block.spatial_shape))


def nowhere(block: Block) -> Block:
    """No seeds."""
    return replace(block, eligible=(slice(0, 0),) * len(block.size))


OVERSIZE_BLOCK: dict[str, Callable[[Sizes, Sizes], Sizes]] = {
    "refused": as_it_is,  # refused in `call`, as even blocks are
    "clip_each_axis": clip_each_axis,
    "clip_to_smallest_axis": clip_to_smallest_axis,
    "unclipped": as_it_is,
    "nothing_dropped": clip_each_axis,
}
EVEN_EXTRA_CELL = {"before": extra_cell_before, "after": extra_cell_after, "refused": extra_cell_before}
SEED_REGION = {"fitting": fitting, "everywhere": everywhere}


def gamma(drop_prob: float, block: Block, convention: Convention) -> float:
    """The probability that an eligible cell is a seed."""
    return GAMMA_RULE[convention.gamma_rule](drop_prob, block)


def uncorrected(drop_prob: float, block: Block) -> float:
    """drop_prob / prod(b), without the border correction."""
    return drop_prob / math.prod(block.size)


def last_axis(drop_prob: float, block: Block) -> float:
    """Eq. (1) as if every axis were the last one."""
    return of_axis(drop_prob, block, -1)


def first_axis(drop_prob: float, block: Block) -> float:
    """Eq. (1) as if every axis were the first one."""
    return of_axis(drop_prob, block, 0)


def of_axis(drop_prob: float, block: Block, axis: int) -> float:
    """Eq. (1) as if every axis were this one."""
    ndim = len(block.size)
    alike = replace(block, spatial_shape=(block.spatial_shape[axis],) * ndim, size=(block.size[axis],) * ndim)
    return algorithm.gamma(drop_prob, alike)


GAMMA_RULE: dict[str, Callable[[float, Block], float]] = {
    "border_corrected": algorithm.gamma,
    "uncorrected": uncorrected,
    "last_axis": last_axis,
    "first_axis": first_axis,
    "calibrated": calibrated_gamma,
}


def scale(keep_mask: NDArray[np.bool_], drop_prob: float | None, convention: Convention) -> float | NDArray[np.float64]:
    """The factor on kept cells; an array has size 1 on the axes over which cells are counted together."""
    if convention.scale_over == "none":
        return 1.0
    if convention.scale_over == "keep_prob":
        return inverse_keep_prob(drop_prob, convention)
    if convention.scale_over == "batch":
        return over_batch(keep_mask, convention)
    return over_axes(keep_mask, convention)


def inverse_keep_prob(drop_prob: float | None, convention: Convention) -> float:
    """1 / keep_prob, whatever was dropped."""
    if drop_prob is None:
        raise ValueError(
            f"drop_prob must be given, because the scale of convention {convention.name!r} is 1 / (1 - drop_prob); "
            "got None"
        )
    if drop_prob == 1:
        return 0.0 if convention.all_dropped == "zeros" else math.inf
    return 1 / (1 - drop_prob)


def counted_axes(ndim: int, convention: Convention) -> tuple[int, ...]:
    """The axes of (N, C, *map) over which kept cells are counted together."""
    return tuple(range({"sample": 1, "channel": 2}.get(convention.scale_over, 0), ndim))


def over_batch(keep_mask: NDArray[np.bool_], convention: Convention) -> float:
    """count / (kept + epsilon); 0, or nan, where nothing is kept, and 1 where there is nothing to count."""
    count, kept = keep_mask.size, int(np.count_nonzero(keep_mask))
    if count == 0:
        return 1.0
    return count / (kept + convention.epsilon) if kept else ALL_DROPPED[convention.all_dropped]


def over_axes(keep_mask: NDArray[np.bool_], convention: Convention) -> NDArray[np.float64]:
    """`over_batch` of each sample, or of each map."""
    axes = counted_axes(keep_mask.ndim, convention)
    count = math.prod(keep_mask.shape[axis] for axis in axes)
    kept = np.count_nonzero(keep_mask, axis=axes, keepdims=True)
    if count == 0:
        return np.ones(kept.shape)
    return np.where(kept == 0, ALL_DROPPED[convention.all_dropped], count / np.maximum(kept + convention.epsilon, 1))


ALL_DROPPED = {"zeros": 0.0, "nan": math.nan}
