"""Correct backends in many styles: whatever way an implementation goes, as long as the law and the values are right.

Each style replaces stages of the correct DropBlock by others that give the same, and is held to the conventions that it
can follow. The oracle must pass them all.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from dropblock_ref.testing.backend import Backend

from .correct import Array, Block, Box, DropBlock, Mask, Scale, Shape, make_backend, product
from .mutant import Kind


@dataclass(frozen=True)
class Style:
    """One correct backend."""

    name: str
    how: str
    make: Callable[..., Backend]  # of make_backend's keywords
    conventions: tuple[str, ...]
    reported: frozenset[str] = frozenset()  # checks that may tell something


STYLES: list[Style] = []
EVERY = ("paper", "timm", "dropblock", "torchvision")


def style(
    how: str,
    conventions: tuple[str, ...] = ("paper", "timm"),
    *,
    data_format: str = "channels_first",
    ndims: tuple[int, ...] = (2, 3),
    dtypes: tuple[str, ...] = ("float32",),
    reported: str = "",
) -> Callable[[Kind], Kind]:
    """Class decorator: enter the class, named in snake case."""

    def enter(kind: Kind) -> Kind:
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
        make = partial(make_backend, data_format=data_format, spatial_ndims=ndims, dtypes=dtypes, name=name, kind=kind)
        STYLES.append(Style(name, how, make, conventions, frozenset(reported.split())))
        return kind

    return enter


# How seeds are drawn. `shape` is (samples, channels, *eligible cells).


@style("float32 random numbers", dtypes=("float16", "float32"))
class SingleNumbers(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds: Mask = rng.random(shape, dtype=np.float32) < np.float32(gamma)
        return seeds


@style("integers below a threshold of 32 bits", EVERY)
class IntegerThresholds(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds: Mask = rng.integers(2**32, size=shape, dtype=np.uint64) < round(gamma * 2**32)
        return seeds


@style("geometric gaps from seed to seed", EVERY)
class GeometricGaps(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        size = math.prod(shape)
        seeds = np.zeros(size, dtype=np.bool_)
        last = -1
        while gamma > 0 and last < size:
            steps = last + np.cumsum(rng.geometric(gamma, max(16, int(size * gamma * 1.1))))
            seeds[steps[steps < size]] = True
            last = int(steps[-1])
        return seeds.reshape(shape)


@style("a binomial number of seeds, then so many cells without replacement")
class BinomialThenChoice(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        size = math.prod(shape)
        seeds = np.zeros(size, dtype=np.bool_)
        seeds[rng.choice(size, rng.binomial(size, gamma), replace=False, shuffle=False)] = True
        return seeds.reshape(shape)


@style("one map after the other, in loops over samples and channels")
class MapByMap(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = np.empty(shape, dtype=np.bool_)
        for n, c in np.ndindex(shape[:2]):
            seeds[n, c] = rng.random(shape[2:]) < gamma
        return seeds


@style("one row after the other, upwards", ndims=(2,), data_format="channels_last")
class RowByRow(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = np.empty(shape, dtype=np.bool_)
        for row in reversed(range(shape[2])):
            seeds[:, :, row] = rng.random((shape[1], shape[0], *shape[3:])).swapaxes(0, 1) < gamma
        return seeds


@style("a generator for each sample, by SeedSequence.spawn")
class SpawnedGenerators(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = [child.random(shape[1:]) < gamma for child in rng.spawn(shape[0])]
        return np.array(seeds, dtype=np.bool_).reshape(shape)


@style("a counter-based generator for each sample, keyed by a number of the stream and the sample")
class KeyedGenerators(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        key = int(rng.integers(2**63))
        seeds = [np.random.Generator(np.random.Philox(key=[key, n])).random(shape[1:]) < gamma for n in range(shape[0])]
        return np.array(seeds, dtype=np.bool_).reshape(shape)


@style("a key that is split at each call, as in JAX: the stream is a seed and a counter")
class SplitKey(DropBlock):
    key, calls = 0, 0

    def generator(self, seed: int | None, /) -> np.random.Generator:
        self.key, self.calls = (self.key, self.calls + 1) if seed is None else (seed, 0)
        return np.random.default_rng(self.key if self.calls == 0 else (self.key, self.calls))


@style("NumPy's legacy Mersenne twister, seeded from the stream")
class LegacyNumbers(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        legacy = np.random.RandomState(np.random.MT19937(int(rng.integers(2**63))))
        seeds: Mask = legacy.random_sample(shape) < gamma
        return seeds


@style("exponential times that end before -log(1 - gamma)")
class ExponentialTimes(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        end = -math.log1p(-gamma) if gamma < 1 else math.inf
        seeds: Mask = rng.exponential(size=shape) < end
        return seeds


@style("binomial numbers of one trial", EVERY)
class OneTrial(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        return rng.binomial(1, min(gamma, 1.0), shape).astype(np.bool_)


@style("cells that are kept: numbers over 1 - gamma are seeds")
class KeepNumbers(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        return np.logical_not(rng.random(shape) < 1 - gamma)


@style("seeds drawn on the whole map, and then only the eligible cells taken", EVERY)
class DrawnEverywhere(DropBlock):
    def draw(self, rng: np.random.Generator, shape: Shape, gamma: float, eligible: Box, /) -> Mask:
        where = np.zeros(shape[2:], dtype=np.bool_)
        where[eligible] = True
        seeds: Mask = self.bernoulli(rng, shape, gamma) & where
        return seeds


@style("seeds drawn on a padded grid, and then cropped to the map", EVERY)
class DrawnOnPaddedGrid(DropBlock):
    def draw(self, rng: np.random.Generator, shape: Shape, gamma: float, eligible: Box, /) -> Mask:
        padded = self.bernoulli(rng, (*shape[:2], *(S + 5 for S in shape[2:])), gamma)
        seeds = np.zeros(shape, dtype=np.bool_)
        box = (slice(None), slice(None), *eligible)
        seeds[box] = padded[(slice(None), slice(None), *(slice(2, 2 + S) for S in shape[2:]))][box]
        return seeds


@style("seeds drawn where blocks fit, and then padded with zeros", ("paper", "torchvision"))
class DrawnThenPadded(DropBlock):
    def draw(self, rng: np.random.Generator, shape: Shape, gamma: float, eligible: Box, /) -> Mask:
        inner = rng.random((*shape[:2], *(one.stop - one.start for one in eligible))) < gamma
        margins = [(one.start, S - one.stop) for one, S in zip(eligible, shape[2:], strict=True)]
        return np.pad(inner, ((0, 0), (0, 0), *margins))


@style("in the order in which x lies in memory", ndims=(2,), reported="non_contiguous_input")
class DrawnInMemoryOrder(DropBlock):
    def check_input(self, x: Any, /) -> Array:
        array = super().check_input(x)
        self.swapped = abs(array.strides[-1]) > abs(array.strides[-2])
        return array

    swapped = False

    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds: Mask = rng.random((*shape[:2], *shape[:1:-1]) if self.swapped else shape) < gamma
        return seeds.swapaxes(-1, -2) if self.swapped else seeds

    def draw_seeds(self, shape: Shape, dtype: Any, drop_prob: Any, block_size: Any, *, seed: int) -> Mask:
        self.swapped = False
        return super().draw_seeds(shape, dtype, drop_prob, block_size, seed=seed)


# How blocks are dropped around seeds.


def sides(block: Block) -> list[tuple[int, int, int]]:
    """The axis, and how far a block reaches back and on, for each spatial axis."""
    return list(zip(range(2, 2 + len(block.size)), block.before, block.after, strict=True))


def windows(cells: Mask, axis: int, before: int, after: int) -> Mask:
    """Around each cell, along the last axis, the cells whose blocks can reach it: from `after` back to `before` on."""
    margins = [(0, 0)] * cells.ndim
    margins[axis] = (after, before)
    return sliding_window_view(np.pad(cells, margins), before + after + 1, axis=axis)


@style("one maximum filter per axis", EVERY)
class SeparableMaximum(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        dropped = seeds.astype(np.uint8)
        for axis, before, after in sides(block):
            size = before + after + 1
            # It looks from `after` cells back to `before` cells on; by default from size // 2 cells back.
            origin = after - size // 2
            dropped = ndimage.maximum_filter1d(dropped, size, axis=axis, mode="constant", cval=0, origin=origin)
        return dropped.astype(np.bool_)


@style("a binary dilation by a structure of ones", ("paper",), ndims=(2,))
class BinaryDilation(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        # A structure of odd sides, centred on the seed, whose first row and column an even block lacks.
        reach = tuple(max(before, after) for _, before, after in sides(block))
        structure = np.zeros((1, 1, *(2 * r + 1 for r in reach)), dtype=np.bool_)
        box = tuple(slice(r - i, r + j + 1) for r, (_, i, j) in zip(reach, sides(block), strict=True))
        structure[(slice(None), slice(None), *box)] = True
        dropped: Mask = ndimage.binary_dilation(seeds, structure)
        return dropped


@style("a convolution with ones along each axis, in float32", EVERY)
class Convolution(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        summed = seeds.astype(np.float32)
        for axis, before, after in sides(block):
            ones = np.ones(before + after + 1)
            origin = after - len(ones) // 2
            summed = ndimage.correlate1d(summed, ones, axis=axis, mode="constant", cval=0, origin=origin)
        return summed > 0.5


@style("a transposed convolution: every offset of the block adds the seeds, shifted", EVERY)
class TransposedConvolution(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        room = tuple(S + b - 1 for S, b in zip(seeds.shape[2:], block.size, strict=True))
        full = np.zeros((*seeds.shape[:2], *room), dtype=np.float32)
        for offset in itertools.product(*map(range, block.size)):
            shifted = tuple(slice(o, o + S) for o, S in zip(offset, seeds.shape[2:], strict=True))
            full[(slice(None), slice(None), *shifted)] += seeds
        inside = tuple(slice(i, i + S) for i, S in zip(block.before, seeds.shape[2:], strict=True))
        dropped: Mask = full[(slice(None), slice(None), *inside)] != 0
        return dropped


@style("cumulative sums: an integral image, and differences of its corners", EVERY)
class IntegralImage(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        counts = seeds.astype(np.int64)
        for axis, before, after in sides(block):
            padded = np.insert(np.cumsum(counts, axis=axis), 0, 0, axis=axis)
            size = seeds.shape[axis]
            last = np.minimum(np.arange(size) + before + 1, size)
            first = np.maximum(np.arange(size) - after, 0)
            counts = np.take(padded, last, axis) - np.take(padded, first, axis)
        return counts > 0


@style("blocks written one by one, for each seed", EVERY)
class ScatteredBlocks(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        dropped = np.zeros(seeds.shape, dtype=np.bool_)
        for n, c, *seed in np.argwhere(seeds):
            reach = (slice(max(s - i, 0), s + j + 1) for s, i, j in zip(seed, block.before, block.after, strict=True))
            dropped[(n, c, *reach)] = True
        return dropped


@style("indices of all cells of all blocks, scattered at once")
class ScatteredIndices(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        offsets = np.stack(np.meshgrid(*(np.arange(-i, j + 1) for _, i, j in sides(block)), indexing="ij"), -1)
        cells = np.argwhere(seeds)[:, None, 2:] + offsets.reshape(1, -1, len(block.size))
        maps = np.broadcast_to(np.argwhere(seeds)[:, None, :2], (*cells.shape[:2], 2))
        inside = ((cells >= 0) & (cells < seeds.shape[2:])).all(axis=-1)
        dropped = np.zeros(seeds.shape, dtype=np.bool_)
        dropped[tuple(np.concatenate([maps, cells], axis=-1)[inside].T)] = True
        return dropped


@style("any seed in a sliding window, along each axis", EVERY)
class SlidingWindows(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        for axis, before, after in sides(block):
            seeds = np.asarray(windows(seeds, axis, before, after).any(axis=-1))
        return seeds


@style("minimum pooling of what is kept")
class MinimumOfKept(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        for axis, before, after in sides(block):
            kept = 1 - windows(seeds, axis, before, after).astype(np.uint8)
            seeds = kept.min(axis=-1) == 0
        return seeds


@style("how many cells ago the last seed was, along each axis")
class CellsSinceSeed(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        dropped = seeds
        for axis, before, after in sides(block):
            lane = np.moveaxis(dropped, axis, -1)
            cells = np.arange(lane.shape[-1])
            last = np.maximum.accumulate(np.where(lane, cells, -(10**6)), axis=-1)
            following = np.minimum.accumulate(np.where(lane, cells, 10**6)[..., ::-1], axis=-1)[..., ::-1]
            dropped = np.moveaxis((cells - last <= after) | (following - cells <= before), -1, axis)
        return dropped


@style("products with band matrices", EVERY)
class BandMatrices(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        reached = seeds.astype(np.float32)
        for axis, before, after in sides(block):
            step = np.subtract.outer(np.arange(seeds.shape[axis]), np.arange(seeds.shape[axis]))
            band = ((step >= -before) & (step <= after)).astype(np.float32)
            reached = np.moveaxis(np.tensordot(reached, band, axes=(axis, 1)), -1, axis)
        return reached > 0.5


@style("channels last inside, whatever the layout of x", EVERY)
class ChannelsLastInside(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        inside = np.ascontiguousarray(np.moveaxis(seeds, 1, -1))
        dropped = super().dilate(np.moveaxis(inside, -1, 1), block)
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(dropped, 1, -1)), -1, 1)

    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        inside = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        factor = np.asarray(scale)
        factor = np.moveaxis(factor, 1, -1) if factor.ndim else factor
        return np.moveaxis(product(inside, np.moveaxis(mask, 1, -1), factor), -1, 1)


@style("sample by sample, each with its own dilation")
class SampleBySample(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        parts = [super(SampleBySample, self).dilate(seeds[n : n + 1], block) for n in range(len(seeds))]
        return np.concatenate(parts) if parts else seeds

    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = np.empty_like(x)
        for n in range(len(x)):
            y[n] = product(x[n], mask[n], np.asarray(scale)[0])
        return y


# How values are computed.


@style("numpy.where, so that a dropped NaN becomes 0", ("paper", "timm", "torchvision"), reported="special_values")
class Selected(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        return np.where(mask, product(x, np.ones_like(mask), scale), x.dtype.type(0))


@style("kept cells written into zeros by a boolean index", reported="special_values")
class BooleanIndex(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        kept = np.broadcast_to(mask, x.shape)
        y = np.zeros_like(x)
        y[kept] = product(x, np.ones_like(mask), scale)[kept]
        return y


@style("x times (mask times scale)", dtypes=("float16", "bfloat16", "float32", "float64"))
class MaskTimesScaleFirst(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        compute = np.float64 if x.dtype == np.float64 else np.float32
        with np.errstate(all="ignore"):
            return np.asarray(x.astype(compute) * (mask * np.asarray(scale, dtype=compute))).astype(x.dtype)


@style("(x times scale) times mask, in place on a copy", dtypes=("float32", "float64"), reported="special_values")
class ScaleFirst(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = x.copy()
        with np.errstate(all="ignore"):
            y *= np.asarray(scale, dtype=x.dtype)
            y *= mask
        return y


@style(
    "x times mask times count(M) divided by count_ones(M), in float64",
    ("paper",),
    dtypes=("float16", "float32", "float64"),
)
class CountThenDivide(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        kept = np.count_nonzero(mask)
        with np.errstate(all="ignore"):
            wide = x.astype(np.float64)
            # Of numbers near the largest float64 the first product is infinite.
            if not kept or np.abs(wide).max(initial=0.0, where=np.isfinite(wide)) > 1e300:
                return product(x, mask, scale)
            return np.asarray(wide * mask * mask.size / kept).astype(x.dtype)


@style(
    "a scale that is rounded once to x's half precision, and multiplied there",
    ("paper",),
    dtypes=("float16", "bfloat16"),
)
class ScaleInHalf(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(x * mask.astype(x.dtype) * np.asarray(scale).astype(x.dtype)).astype(x.dtype)


@style("1 / mean(M), a float64 mean", ("paper",))
class ReciprocalOfMean(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return float(1 / mask.mean()) if mask.any() else super().count_scale(mask)


@style("counts of each map, added up")
class CountsAddedUp(DropBlock):
    def ratio(self, mask: Mask, axes: Shape, /) -> Scale:
        kept = sum(int(np.count_nonzero(mask[n, c])) for n, c in np.ndindex(mask.shape[:2]))
        return mask.size / (kept + self.rules.epsilon) if kept else super().ratio(mask, axes)


@style("the input itself where nothing is to be done", EVERY)
class InputItself(DropBlock):
    def identity(self, x: Array, /) -> Array:
        return x

    def identity_gradient(self, cotangent: Array, /) -> Array:
        return cotangent


@style(
    "drop_prob 0 goes the ordinary way, with the epsilon of the convention",
    ("paper", "timm"),
    dtypes=("float32", "float64"),
)
class NoShortcutAtZero(DropBlock):
    def is_identity(self, _: float, training: bool, /) -> bool:
        return not training


@style("the derivative is the forward pass of the cotangent, with the same draw")
class DerivativeByLinearity(DropBlock):
    def vjp(
        self, x: Any, cotangent: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None
    ) -> tuple[Array, Array]:
        self.generator(seed)
        state = self.stream.bit_generator.state
        y = self.forward(x, drop_prob, block_size, training=training, seed=None)
        self.stream.bit_generator.state = state
        return y, self.forward(cotangent, drop_prob, block_size, training=training, seed=None)


@style("outputs that lie in memory otherwise than x", EVERY)
class OtherMemoryOrder(DropBlock):
    def from_maps(self, maps: Array, /) -> Array:
        return np.asfortranarray(super().from_maps(maps))


@style("outputs that are read-only views")
class ReadOnlyOutputs(DropBlock):
    def from_maps(self, maps: Array, /) -> Array:
        y = super().from_maps(maps).copy()[::-1][::-1]
        y.flags.writeable = False
        return y
