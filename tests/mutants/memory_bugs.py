"""Mutants of memory: x, cotangents and outputs that lie otherwise than in plain order, and arrays that are modified."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from .case import EVALUATE, Case
from .correct import Array, DropBlock, Informed, Mask, Scale, Shape, product
from .mutant import Bugs

memory_bugs = Bugs("memory", causes=True)
ORDER = "non_contiguous_input search"
MODIFIED = "input_unmodified"
# An output that changes after it was returned, and an x that changes after the call, belong to the same check.
LATER = "output_unmodified"
LARGE = 2**18  # numbers
TWICE = (3, None)


def lies_channels_last(x: Array) -> bool:
    """Whether maps lie in memory as NHWC does, and not as NCHW does."""
    return bool(np.moveaxis(x, 1, -1).flags.c_contiguous) and not x.flags.c_contiguous


def is_expanded(x: Array) -> bool:
    return any(stride == 0 and size > 1 for stride, size in zip(x.strides, x.shape, strict=True))


def is_transposed(x: Array) -> bool:
    """Whether a map lies column by column."""
    return abs(x.strides[-1]) > abs(x.strides[-2]) and min(x.shape[-2:]) > 1 and not x.flags.f_contiguous


def last_of_expanded(y: Array, strides: Shape) -> Array:
    """What remains of an output that was given x's strides, where several entries are one place: the last one."""
    for axis, stride in enumerate(strides):
        if stride == 0 and y.shape[axis]:
            y = np.repeat(np.take(y, [-1], axis), y.shape[axis], axis)
    return y


def over_memory(x: Array, mask: Mask, scale: Scale) -> Array:
    """x times the mask, both taken in the order of their memory."""
    order = np.argsort([-abs(stride) for stride in x.strides], kind="stable")
    laid = x.transpose(order)
    flat = np.broadcast_to(mask, x.shape).reshape(laid.shape)
    return product(laid, flat, scale).transpose(np.argsort(order))


# The memory order of x.


@memory_bugs.plant(
    "where NCHW data lies as NHWC the mask is laid over the memory, not over the axes",
    f"{ORDER} legal_blocks",
    first="non_contiguous_input",
    at=Case(memory="other_layout", derivative=False),
)
class NhwcStridesMisread(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        return (over_memory if lies_channels_last(x) else product)(x, mask, scale)


@memory_bugs.plant(
    "where NHWC data lies as NCHW the mask is laid over the memory, not over the axes",
    f"{ORDER} legal_blocks",
    data_format="channels_last",
    at=Case(memory="other_layout", derivative=False),
)
class NchwStridesMisread(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        if lies_channels_last(x) or not x.flags.c_contiguous:
            return product(x, mask, scale)
        as_nhwc = np.moveaxis(np.broadcast_to(mask, x.shape), 1, -1).reshape(x.shape)
        return product(x, as_nhwc, scale)


@memory_bugs.plant(
    "where a volume lies channels last nothing is dropped",
    ORDER,
    ndims=(3,),
    at=Case(shape=(2, 3, 5, 5, 5), memory="other_layout", derivative=False),
)
class NhwcVolumesKept(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        return x.copy() if lies_channels_last(x) else product(x, mask, scale)


@memory_bugs.plant(
    "where height and width lie exchanged in memory, they are exchanged in the mask",
    f"{ORDER} gradient",
    first="non_contiguous_input gradient",  # without the seeds, only a derivative shows the mask that was meant
    at=Case(memory="transposed", derivative=False),
)
class TransposedMisread(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        return (over_memory if is_transposed(x) else product)(x, mask, scale)


@memory_bugs.plant(
    "the output of an expanded x has its strides, so that all samples get the last one's mask",
    f"{ORDER} sample_independence channel_sharing",
    first="non_contiguous_input",
    at=Case(memory="expanded", derivative=False),
)
class ExpandedInputSharesOutput(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        return last_of_expanded(product(x, mask, scale), x.strides)


@memory_bugs.plant(
    "an x that is one value expanded is left as it is", ORDER, at=Case(memory="one_value", derivative=False)
)
class ConstantInputKept(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        return x.copy() if not any(x.strides) else product(x, mask, scale)


@memory_bugs.plant("a read-only x is refused", ORDER, at=Case(memory="read_only", derivative=False))
class ReadOnlyRefused(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        if not x.flags.writeable:
            raise ValueError("assignment destination is read-only")
        return product(x, mask, scale)


@memory_bugs.plant("a read-only x is refused in evaluation", ORDER, at=Case(memory="read_only", training=False))
class ReadOnlyRefusedInEvaluation(DropBlock):
    def identity(self, x: Array, /) -> Array:
        if not x.flags.writeable:
            raise ValueError("assignment destination is read-only")
        return x.copy()


@memory_bugs.plant("a part of a larger batch is read from the batch's first sample on", ORDER, at=Case(memory="part"))
class PartReadFromStart(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        base = x if x.base is None else np.asarray(x.base)
        whole = base.dtype == x.dtype and base.size > x.size and base.flags.c_contiguous and x.flags.c_contiguous
        return product(base.ravel()[: x.size].reshape(x.shape) if whole else x, mask, scale)


@memory_bugs.plant("an x in Fortran order gives float64", ORDER, at=Case(memory="fortran"))
class FortranOrderUpcast(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = product(x, mask, scale)
        return y.astype(np.float64) if x.flags.f_contiguous and not x.flags.c_contiguous else y


# The memory order of the cotangent.


@memory_bugs.plant(
    "a cotangent that lies as NHWC is masked in the order of its memory",
    "gradient search",
    at=Case(memory="other_layout"),
)
class NhwcCotangentMisread(DropBlock):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return (over_memory if lies_channels_last(cotangent) else product)(cotangent, mask, scale)


@memory_bugs.plant(
    "a cotangent whose height and width lie exchanged is masked in the order of its memory",
    "gradient search",
    at=Case(memory="transposed"),
)
class TransposedCotangentMisread(DropBlock):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return (over_memory if is_transposed(cotangent) else product)(cotangent, mask, scale)


@memory_bugs.plant(
    "the derivative of an expanded cotangent has its strides, so that all samples get the last one's",
    "gradient search",
    at=Case(memory="expanded"),
)
class ExpandedCotangentShares(DropBlock):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return last_of_expanded(product(cotangent, mask, scale), cotangent.strides)


@memory_bugs.plant(
    "a cotangent of ones, expanded as of a sum, is passed on as it is", "gradient search", at=Case(memory="one_value")
)
class CotangentOfSumPassedOn(DropBlock):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return cotangent.copy() if not any(cotangent.strides) else product(cotangent, mask, scale)


@memory_bugs.plant("a read-only cotangent is refused", "gradient search", at=Case(memory="read_only"))
class ReadOnlyCotangentRefused(DropBlock):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        if not cotangent.flags.writeable:
            raise ValueError("assignment destination is read-only")
        return product(cotangent, mask, scale)


@memory_bugs.plant(
    "a cotangent with steps between its columns is read as if it had none", "gradient search", at=Case(memory="stepped")
)
class SteppedCotangentMisread(DropBlock):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        base = cotangent if cotangent.base is None else np.asarray(cotangent.base)
        if abs(cotangent.strides[-1]) > cotangent.itemsize and base.size > cotangent.size:
            cotangent = base.ravel(order="K")[: cotangent.size].reshape(cotangent.shape)
        return product(cotangent, mask, scale)


# Outputs that change later.


class OneBuffer(Informed):
    """Some outputs are written into memory that their next one of the same shape overwrites."""

    @cached_property
    def memory(self) -> dict[Any, Array]:
        return {}

    def reuses(self) -> bool:
        return True

    def stored(self, y: Array, what: str) -> Array:
        place = self.memory.setdefault((what, y.shape, y.dtype.name), np.empty_like(y))
        place[...] = y
        return place

    def forward(self, x: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None) -> Array:
        y = super().forward(x, drop_prob, block_size, training=training, seed=seed)
        return self.stored(y, "y") if self.reuses() else y


@memory_bugs.plant("the next call overwrites the output", LATER, at=Case(seeds=TWICE, fresh=True, derivative=False))
class OutputOverwritten(OneBuffer):
    pass


@memory_bugs.plant(
    "the next call in evaluation overwrites the output of the one before",
    LATER,
    data_format="channels_last",
    at=Case(seeds=TWICE, fresh=True, training=False, derivative=False),
)
class EvaluationOutputOverwritten(OneBuffer):
    def reuses(self) -> bool:
        return not self.training


@memory_bugs.plant(
    "the next call overwrites the output in half precision, which is computed in one buffer",
    LATER,
    dtypes=("float32", "float16"),
    at=Case(seeds=TWICE, fresh=True, dtype="float16", derivative=False),
)
class HalfOutputOverwritten(OneBuffer):
    def reuses(self) -> bool:
        return self.x.dtype == np.float16


@memory_bugs.plant(
    "the next call overwrites the output of a large x",
    LATER,
    at=Case((1, 2, 512, 512), 7, 0.1, seeds=TWICE, fresh=True, derivative=False),
)
class LargeOutputOverwritten(OneBuffer):
    def reuses(self) -> bool:
        return self.x.size >= LARGE


@memory_bugs.plant(
    "the next call overwrites the output where every cell is dropped",
    LATER,
    at=Case((2, 2, 6, 6), 1, 1.0, seeds=(3, EVALUATE), derivative=False, fresh=True),
)
class ZerosOverwritten(OneBuffer):
    def reuses(self) -> bool:
        return self.mask is None or not self.mask.any()


@memory_bugs.plant(
    "the next derivative overwrites the one before",
    LATER,
    first="output_unmodified gradient",
    at=Case(seeds=TWICE, fresh=True),
)
class DerivativeOverwritten(OneBuffer):
    def reuses(self) -> bool:
        return False

    def vjp(
        self, x: Any, cotangent: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None
    ) -> tuple[Array, Array]:
        y, x_bar = super().vjp(x, cotangent, drop_prob, block_size, training=training, seed=seed)
        return y, self.stored(x_bar, "x_bar")


@memory_bugs.plant(
    "the derivative is written over the output that vjp returns",
    "output_unmodified gradient evaluation_gradient values legal_blocks input_unmodified",
    first="output_unmodified",
)
class DerivativeOverOutput(OneBuffer):
    def vjp(
        self, x: Any, cotangent: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None
    ) -> tuple[Array, Array]:
        y, x_bar = super().vjp(x, cotangent, drop_prob, block_size, training=training, seed=seed)
        y[...] = x_bar
        return y, y

    def reuses(self) -> bool:
        return False


# x and the cotangent modified.


class WritesIntoX(Informed):
    """The product of some calls is written into x, too."""

    def writes(self) -> bool:
        raise NotImplementedError

    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = super().multiply(x, mask, scale)
        if self.writes() and x.flags.writeable:
            x[...] = y
        return y


@memory_bugs.plant("x of a batch of one is modified", MODIFIED, at=Case((1, 3, 9, 9), derivative=False))
class InputModifiedOfOneSample(WritesIntoX):
    def writes(self) -> bool:
        return len(self.x) == 1


@memory_bugs.plant("x is modified where the block is one cell", MODIFIED, at=Case(block_size=1, derivative=False))
class InputModifiedByBlockOfOne(WritesIntoX):
    def writes(self) -> bool:
        return set(self.block.size) == {1}


@memory_bugs.plant("x is modified where the block is the map", MODIFIED, at=Case(block_size=9, derivative=False))
class InputModifiedByBlockOfMap(WritesIntoX):
    def writes(self) -> bool:
        return self.block.size == self.x.shape[2:]


@memory_bugs.plant("x is modified with drop_prob 1", MODIFIED, at=Case((4, 3, 9, 9), 3, 1.0, derivative=False))
class InputModifiedAtDropProbOne(WritesIntoX):
    def writes(self) -> bool:
        return self.p == 1


@memory_bugs.plant(
    "x is filled with zeros where every cell is dropped", MODIFIED, at=Case((2, 2, 6, 6), 1, 1.0, derivative=False)
)
class InputModifiedWhereAllDropped(WritesIntoX):
    def writes(self) -> bool:
        return self.mask is not None and not self.mask.any()


@memory_bugs.plant("a large x is modified", MODIFIED, at=Case((2, 2, 264, 256), 3, 0.4, derivative=False))
class LargeInputModified(WritesIntoX):
    def writes(self) -> bool:
        return self.x.size >= LARGE


@memory_bugs.plant(
    "x is modified in batches of more than 20 samples", MODIFIED, at=Case((24, 2, 9, 9), derivative=False)
)
class InputModifiedOfManySamples(WritesIntoX):
    def writes(self) -> bool:
        return len(self.x) > 20


@memory_bugs.plant(
    "x is modified in half precision",
    MODIFIED,
    dtypes=("float32", "bfloat16", "float16"),
    at=Case(dtype="bfloat16", derivative=False),
)
class HalfInputModified(WritesIntoX):
    def writes(self) -> bool:
        return self.x.dtype.itemsize == 2


@memory_bugs.plant(
    "an x that is not contiguous is modified", f"{MODIFIED} search", at=Case(memory="stepped", derivative=False)
)
class NonContiguousInputModified(WritesIntoX):
    def writes(self) -> bool:
        return not self.x.flags.c_contiguous


@memory_bugs.plant(
    "NaN of x is replaced in place",
    f"{MODIFIED} special_values search",
    first="input_unmodified special_values",
    at=Case(values="special", derivative=False),
)
class NanReplacedInPlace(WritesIntoX):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = product(x, mask, scale)
        if x.flags.writeable:
            np.nan_to_num(x, copy=False)
        return y


@memory_bugs.plant("x is modified with drop_prob 0", MODIFIED, at=Case(drop_prob=0.0, derivative=False))
class InputModifiedAtDropProbZero(Informed):
    def identity(self, x: Array, /) -> Array:
        y = x.copy()
        if self.training and x.flags.writeable:
            x *= x.dtype.type(0.5)
        return y


@memory_bugs.plant("x is modified by vjp, and not by forward", MODIFIED, at=Case())
class InputModifiedByVjp(DropBlock):
    def vjp(
        self, x: Any, cotangent: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None
    ) -> tuple[Array, Array]:
        y, x_bar = super().vjp(x, cotangent, drop_prob, block_size, training=training, seed=seed)
        if x.flags.writeable:
            x[...] = y
        return y, x_bar


@memory_bugs.plant(
    "the derivative is written into the cotangent",
    "gradient input_unmodified",
    first="gradient input_unmodified",
    at=Case(),
)
class WrittenIntoCotangent(DropBlock):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        x_bar = super().gradient(cotangent, mask, scale)
        if cotangent.flags.writeable:
            cotangent[...] = x_bar
        return x_bar


@memory_bugs.plant(
    "the cotangent is filled with zeros in evaluation",
    "evaluation_gradient input_unmodified",
    first="evaluation_gradient input_unmodified",
    ndims=(3,),
    at=Case((2, 3, 5, 5, 5), training=False),
)
class CotangentModifiedInEvaluation(DropBlock):
    def identity_gradient(self, cotangent: Array, /) -> Array:
        x_bar = cotangent.copy()
        if cotangent.flags.writeable:
            cotangent[...] = 0
        return x_bar


@memory_bugs.plant(
    "the x of the call before is overwritten", "input_unmodified", at=Case(seeds=TWICE, fresh=True, derivative=False)
)
class LastInputOverwritten(Informed):
    last: Array | None = None

    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        if self.last is not None and self.last.flags.writeable and self.last is not x:
            self.last[...] = 0
        self.last = x
        return super().multiply(x, mask, scale)


@memory_bugs.plant("the injected seeds are modified", MODIFIED, replay=True, at=Case(injected=True))
class SeedsModified(DropBlock):
    def apply(self, x: Any, seeds: Any, block_size: Any) -> Array:
        y = super().apply(x, seeds, block_size)
        seeds[...] = False
        return y


@memory_bugs.plant("x is modified where seeds are injected", MODIFIED, replay=True, at=Case(injected=True))
class InputModifiedByApply(DropBlock):
    def apply(self, x: Any, seeds: Any, block_size: Any) -> Array:
        y = super().apply(x, seeds, block_size)
        x[...] = y
        return y
