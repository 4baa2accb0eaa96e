"""Mutants that return early: where the answer is easy to compute, it is computed another way, and wrongly."""

from __future__ import annotations

import numpy as np

from .case import Case
from .correct import Array, Informed, Mask, Scale, product
from .mutant import Bugs

early_bugs = Bugs("early returns", causes=True)
DTYPE = "shape_and_dtype"
DOUBLE = ("float32", "float64")
HALF = ("float16", "float32")


class OtherDtype(Informed):
    """Some outputs are computed in another dtype and returned in it, or in x's again."""

    dtype: type = np.float32
    back = False

    def early(self) -> bool:
        raise NotImplementedError

    def from_maps(self, maps: Array, /) -> Array:
        y = super().from_maps(maps)
        if not self.early():
            return y
        with np.errstate(all="ignore"):
            cast: Array = y.astype(self.dtype)
            return cast.astype(y.dtype) if self.back else cast


@early_bugs.plant(
    "float64 gives float32 with drop_prob 0",
    f"{DTYPE} zero_drop_prob_identity evaluation_gradient",
    first="shape_and_dtype zero_drop_prob_identity",
    dtypes=DOUBLE,
    at=Case(drop_prob=0.0, dtype="float64"),
)
class SingleAtDropProbZero(OtherDtype):
    def early(self) -> bool:
        return self.training and self.p == 0 and self.x.dtype == np.float64


@early_bugs.plant(
    "float64 is rounded to float32 with drop_prob 0",
    "zero_drop_prob_identity evaluation_gradient",
    dtypes=DOUBLE,
    at=Case(drop_prob=0.0, dtype="float64"),
)
class RoundedAtDropProbZero(SingleAtDropProbZero):
    back = True


@early_bugs.plant(
    "float64 is rounded to float32 in evaluation, on volumes",
    "evaluation_identity evaluation_gradient",
    dtypes=DOUBLE,
    ndims=(3,),
    at=Case((2, 3, 5, 5, 5), training=False, dtype="float64"),
)
class RoundedInEvaluation(OtherDtype):
    back = True

    def early(self) -> bool:
        return not self.training and self.x.dtype == np.float64


@early_bugs.plant(
    "float32 gives float64 with drop_prob 1",
    f"{DTYPE} drop_prob_one",
    first="shape_and_dtype drop_prob_one",
    at=Case(drop_prob=1.0),
)
class DoubleAtDropProbOne(OtherDtype):
    dtype = np.float64

    def early(self) -> bool:
        return self.training and self.p == 1


@early_bugs.plant(
    "where every cell is dropped the output is float64, as numpy.zeros makes it",
    f"{DTYPE} drop_prob_one gradient",
    first="shape_and_dtype drop_prob_one",
    at=Case((2, 2, 6, 6), 1, 1.0),
)
class AllDroppedIsDouble(OtherDtype):
    dtype = np.float64

    def early(self) -> bool:
        return self.mask is not None and self.mask.size > 0 and not self.mask.any()


@early_bugs.plant(
    "where every cell is dropped half precision gives float32",
    f"{DTYPE} drop_prob_one",
    first="shape_and_dtype drop_prob_one",
    dtypes=HALF,
    at=Case((2, 2, 6, 6), 1, 1.0, "float16"),
)
class AllDroppedHalfIsSingle(OtherDtype):
    def early(self) -> bool:
        return self.mask is not None and self.mask.size > 0 and not self.mask.any() and self.x.dtype == np.float16


@early_bugs.plant(
    "where every cell is kept float64 gives float32",
    f"{DTYPE} search",
    dtypes=DOUBLE,
    at=Case((1, 1, 9, 9), 3, 0.001, "float64"),
)
class AllKeptIsSingle(OtherDtype):
    def early(self) -> bool:
        return self.mask is not None and bool(self.mask.all()) and self.x.dtype == np.float64


@early_bugs.plant(
    "a block of one gives float32 for float64",
    f"{DTYPE} block_of_one search",
    first="shape_and_dtype block_of_one",
    dtypes=DOUBLE,
    at=Case(block_size=1, dtype="float64"),
)
class BlockOfOneIsSingle(OtherDtype):
    def early(self) -> bool:
        return set(self.block.size) == {1} and self.x.dtype == np.float64


@early_bugs.plant(
    "a block of the map's size gives float32 for float16",
    f"{DTYPE} block_of_map_size search",
    first="shape_and_dtype block_of_map_size",
    dtypes=HALF,
    at=Case(block_size=9, dtype="float16"),
)
class BlockOfMapIsSingle(OtherDtype):
    def early(self) -> bool:
        return self.block.size == self.x.shape[2:] and self.x.dtype == np.float16


@early_bugs.plant(
    "a batch of one gives float32 in half precision",
    f"{DTYPE} batch_of_one search",
    first="shape_and_dtype batch_of_one",
    dtypes=("float16", "bfloat16"),
    at=Case((1, 3, 9, 9)),
)
class BatchOfOneIsSingle(OtherDtype):
    def early(self) -> bool:
        return len(self.x) == 1


@early_bugs.plant(
    "a batch of none gives float64",
    f"{DTYPE} empty_batch search",
    first="shape_and_dtype empty_batch",
    at=Case((0, 3, 9, 9)),
)
class EmptyBatchIsDouble(OtherDtype):
    dtype = np.float64

    def early(self) -> bool:
        return len(self.x) == 0


@early_bugs.plant(
    "a batch of none in float16 is one-dimensional",
    f"{DTYPE} empty_batch search",
    first="shape_and_dtype empty_batch",
    dtypes=HALF,
    at=Case((0, 3, 9, 9), dtype="float16"),
)
class EmptyHalfBatchIsFlat(Informed):
    def from_maps(self, maps: Array, /) -> Array:
        y = super().from_maps(maps)
        return y.ravel() if not y.size and y.dtype == np.float16 else y


class OtherScale(Informed):
    """Some outputs are scaled by a shortcut."""

    def early(self) -> bool:
        raise NotImplementedError

    def short(self, _: Mask, /) -> Scale:
        return 1 / (1 - self.p) if self.p < 1 else 0.0

    def count_scale(self, mask: Mask, /) -> Scale:
        return self.short(mask) if self.early() else super().count_scale(mask)


@early_bugs.plant(
    "a batch of one is scaled by 1 / keep_prob in half precision",
    "batch_of_one scale low_precision search",
    first="batch_of_one scale low_precision",  # large maps are judged in batches of one
    dtypes=("float16",),
    at=Case((1, 3, 9, 9)),
)
class BatchOfOneHalfByKeepProb(OtherScale):
    def early(self) -> bool:
        return len(self.x) == 1 and self.x.dtype == np.float16


@early_bugs.plant(
    "a block of one is scaled by 1 / keep_prob, as Dropout",
    "block_of_one scale search",
    first="block_of_one scale",
    dtypes=HALF,
    at=Case(block_size=1, dtype="float16"),
)
class BlockOfOneHalfByKeepProb(OtherScale):
    def early(self) -> bool:
        return set(self.block.size) == {1} and self.x.dtype == np.float16


@early_bugs.plant(
    "a block of one on a volume is scaled by 1 / keep_prob, as Dropout",
    "block_of_one one_cell_map scale search",
    first="block_of_one scale",
    ndims=(3,),
    at=Case((2, 3, 5, 5, 5), 1),
)
class BlockOfOneByKeepProb(OtherScale):
    def early(self) -> bool:
        return set(self.block.size) == {1}


@early_bugs.plant(
    "a block of the map's size is scaled by 1 / keep_prob, as Dropout2d",
    "block_of_map_size scale search",
    first="block_of_map_size scale",
    dtypes=DOUBLE,
    at=Case(block_size=9, dtype="float64"),
)
class BlockOfMapDoubleByKeepProb(OtherScale):
    def early(self) -> bool:
        return self.block.size == self.x.shape[2:] and self.x.dtype == np.float64


@early_bugs.plant(
    "float64 is not scaled with drop_prob 1",
    "drop_prob_one scale search",
    first="drop_prob_one scale",
    dtypes=DOUBLE,
    at=Case(drop_prob=1.0, dtype="float64"),
)
class DoubleUnscaledAtDropProbOne(OtherScale):
    def early(self) -> bool:
        return self.p == 1 and self.x.dtype == np.float64

    def short(self, _: Mask, /) -> Scale:
        return 1.0


@early_bugs.plant("with a drop_prob below 0.01 nothing is scaled", "scale search", at=Case((4, 8, 28, 28), 7, 0.008))
class SmallDropProbUnscaled(OtherScale):
    def early(self) -> bool:
        return self.p < 0.01

    def short(self, _: Mask, /) -> Scale:
        return 1.0


@early_bugs.plant(
    "a batch of one in bfloat16 is never dropped",
    "batch_of_one low_precision gradient search",
    first="batch_of_one map_rate low_precision",
    dtypes=("bfloat16", "float32"),
    at=Case((1, 3, 9, 9)),
)
class BatchOfOneBfloat16Kept(Informed):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        return x.copy() if len(x) == 1 and x.dtype.name == "bfloat16" else product(x, mask, scale)


@early_bugs.plant(
    "one sample of one channel is never dropped",
    "batch_of_one gradient sample_independence map_rate search",
    first="batch_of_one gradient",  # which are right beside an output that is wrong
    at=Case((1, 1, 9, 9), seeds=(3, None, None)),
)
class OneMapKept(Informed):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        return x.copy() if x.shape[:2] == (1, 1) else product(x, mask, scale)


@early_bugs.plant(
    "where every cell is kept float16 is multiplied by 1.01",
    "values scale search",
    first="values scale search",
    dtypes=HALF,
    at=Case((1, 1, 9, 9), 3, 0.001, "float16"),
)
class AllKeptHalfScaled(Informed):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        return product(x, mask, 1.01 if mask.all() and x.dtype == np.float16 else scale)


@early_bugs.plant(
    "an x of zeros gives NaN, of a quotient that is not taken", "special_values search", at=Case(values="all_zeros")
)
class ZerosGiveNan(Informed):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = product(x, mask, scale)
        return y if x.any() or not x.size else np.full_like(y, np.nan)
