"""Mutants of the values: mask and scale are right, but y is not x times both, or not of x's dtype, shape or place."""

from __future__ import annotations

from typing import Any

import numpy as np

from .correct import Array, DropBlock, Mask, Scale, product
from .mutant import Bugs

value_bugs = Bugs("values")


@value_bugs.plant(
    "float16 and bfloat16 input gives float32", "shape_and_dtype low_precision", dtypes=("float16", "bfloat16")
)
class HalfBecomesSingle(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = super().multiply(x, mask, scale)
        return y.astype(np.float32) if x.dtype.itemsize == 2 else y


@value_bugs.plant("float64 input gives float32", "shape_and_dtype", dtypes=("float32", "float64"))
class DoubleBecomesSingle(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = super().multiply(x, mask, scale)
        with np.errstate(all="ignore"):
            return y.astype(np.float32) if x.dtype == np.float64 else y


@value_bugs.plant("float64 input is computed in float32", "values scale", dtypes=("float32", "float64"))
class DoubleComputedInSingle(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        with np.errstate(all="ignore"):
            return super().multiply(x.astype(np.float32), mask, scale).astype(x.dtype)


@value_bugs.plant(
    "float32 input is computed in float16", "values scale special_values", ndims=(3,), data_format="channels_last"
)
class SingleComputedInHalf(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        with np.errstate(all="ignore"):
            return super().multiply(x.astype(np.float16), mask, scale).astype(x.dtype)


@value_bugs.plant("maps of 28x28 cells or more are computed in float16", "values")
class LargeMapsComputedInHalf(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        large = np.prod(x.shape[2:]) >= 28 * 28
        with np.errstate(all="ignore"):
            return super().multiply(x.astype(np.float16) if large else x, mask, scale).astype(x.dtype)


@value_bugs.plant(
    "float16 is multiplied by count(M) and then divided by count_ones(M), both in float16",
    "low_precision special_values",
    dtypes=("float16",),
)
class HalfMultipliedTwice(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        if x.dtype != np.float16 or not mask.any():
            return super().multiply(x, mask, scale)
        with np.errstate(all="ignore"):
            return x * mask * np.float16(mask.size) / np.float16(np.count_nonzero(mask))


@value_bugs.plant("values are clipped to [-1e4, 1e4]", "special_values values")
class Clipped(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        return np.clip(super().multiply(x, mask, scale), -1e4, 1e4)


@value_bugs.plant("negative values become 0, as if a ReLU followed", "values special_values legal_blocks")
class NegativeBecomesZero(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = super().multiply(x, mask, scale)
        return np.maximum(y, np.zeros_like(y))


@value_bugs.plant("values lose their sign", "values special_values", data_format="channels_last")
class SignLost(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        return np.abs(super().multiply(x, mask, scale))


@value_bugs.plant("NaN is replaced by 0", "special_values")
class NanReplaced(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = super().multiply(x, mask, scale)
        return np.where(np.isnan(y), np.zeros_like(y), y)


@value_bugs.plant("infinity is replaced by the largest number", "special_values", convention="torchvision")
class InfinityReplaced(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        return np.nan_to_num(super().multiply(x, mask, scale), nan=np.nan)


@value_bugs.plant("the output is written into x", "input_unmodified")
class WrittenIntoInput(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        x[...] = super().multiply(x, mask, scale)
        return x


@value_bugs.plant(
    "x is scaled in place before it is copied", "input_unmodified", ndims=(3,), data_format="channels_last"
)
class ScaledInPlace(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = super().multiply(x, mask, scale)
        x[...] = product(x, np.ones_like(mask), scale)
        return y


@value_bugs.plant("the last sample of the batch is left as it is", "values scale sample_independence map_rate")
class LastSampleUntouched(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = super().multiply(x, mask, scale)
        y[-1:] = x[-1:]
        return y


@value_bugs.plant(
    "the last channel is left as it is",
    "values scale channel_sharing channel_independence map_rate",
    data_format="channels_last",
)
class LastChannelUntouched(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = super().multiply(x, mask, scale)
        y[:, -1:] = x[:, -1:]
        return y


@value_bugs.plant(
    "the last channel is left as it is where channels share a mask",
    "values scale channel_sharing legal_blocks",
    convention="timm",
)
class LastChannelUntouchedShared(LastChannelUntouched):
    pass


@value_bugs.plant("dropped cells hold the mean of the kept ones, not 0", "values legal_blocks scale")
class DroppedFilledWithMean(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = super().multiply(x, mask, scale)
        with np.errstate(all="ignore"):
            return y + np.where(mask, 0, np.mean(y)).astype(y.dtype) if y.size else y


@value_bugs.plant("height and width of the output are exchanged on square maps", "values special_values scale")
class OutputTransposed(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = super().multiply(x, mask, scale)
        return np.swapaxes(y, -1, -2) if y.shape[-1] == y.shape[-2] else y


@value_bugs.plant("the memory of a non-contiguous x is read as if it were contiguous", "non_contiguous_input")
class MemoryReadInOrder(DropBlock):
    def check_input(self, x: Any, /) -> Array:
        array = super().check_input(x)
        base = array if array.base is None else np.asarray(array.base)
        if array.flags.c_contiguous or base.dtype != array.dtype or base.size < array.size:
            return array
        return base.ravel(order="K")[: array.size].reshape(array.shape)


@value_bugs.plant("the samples' order is reversed in the output", "values special_values scale", convention="dropblock")
class SamplesReversed(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        return super().multiply(x, mask, scale)[::-1]


@value_bugs.plant("a batch of 1 loses its batch axis", "batch_of_one shape_and_dtype")
class BatchOfOneSqueezed(DropBlock):
    def from_maps(self, maps: Array, /) -> Array:
        y = super().from_maps(maps)
        return y[0] if len(y) == 1 else y


@value_bugs.plant("a batch of 0 stops with a division by zero", "empty_batch")
class EmptyBatchCrashes(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return super().count_scale(mask) if len(mask) else mask.size / int(np.count_nonzero(mask))


@value_bugs.plant("a batch of 0 gives a batch of 1", "empty_batch", ndims=(3,))
class EmptyBatchFilled(DropBlock):
    def from_maps(self, maps: Array, /) -> Array:
        return super().from_maps(maps if len(maps) else np.zeros((1, *maps.shape[1:]), maps.dtype))
