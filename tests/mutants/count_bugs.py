"""Mutants of the count behind the scale: too few bits, clamped, an epsilon, or rounded."""

from __future__ import annotations

import numpy as np

from .case import Case
from .correct import DropBlock, Informed, Mask, Scale
from .mutant import Bugs

count_bugs = Bugs("counts", causes=True)
SCALE = "scale values search"
LARGE = Case((1, 2, 264, 256), 3, 0.4)
DOUBLE = ("float32", "float64")


class OtherCount(Informed):
    """The kept cells are counted otherwise."""

    def kept(self, kept: int, of: int) -> float:
        raise NotImplementedError

    def count_scale(self, mask: Mask, /) -> Scale:
        kept = int(np.count_nonzero(mask))
        other = self.kept(kept, mask.size)
        return mask.size / other if kept and other else super().count_scale(mask)


@count_bugs.plant(
    "the kept cells are summed in float32 one by one, and from 2^24 on the sum stays there",
    SCALE,
    at=Case((1, 1, 4200, 4200), 7, 0.01, derivative=False),
    costly="it takes 2^24 kept cells, 64 MiB of x, in one call",
)
class SumStopsInSingle(OtherCount):
    def kept(self, kept: int, _: int) -> float:
        return min(kept, 2**24)


@count_bugs.plant("the kept cells are counted in 16 bits, modulo 2^16", SCALE, at=LARGE)
class CountInSixteenBits(OtherCount):
    def kept(self, kept: int, _: int) -> float:
        return kept % 2**16


@count_bugs.plant("the kept cells are counted in signed 16 bits, and from 2^15 on negative", SCALE, at=LARGE)
class CountInSignedSixteenBits(OtherCount):
    def kept(self, kept: int, _: int) -> float:
        return (kept + 2**15) % 2**16 - 2**15


@count_bugs.plant(
    "the kept cells of a row are counted in 8 bits, modulo 256", SCALE, at=Case((1, 1, 3, 300), (1, 3), 0.1)
)
class CountOfRowInEightBits(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        kept = int((np.count_nonzero(mask, axis=-1) % 256).sum())
        return mask.size / kept if kept else super().count_scale(mask)


class Clamped(Informed):
    largest = 100.0

    def count_scale(self, mask: Mask, /) -> Scale:
        return np.minimum(super().count_scale(mask), self.largest)


@count_bugs.plant(
    "the scale is at most 100",
    f"{SCALE} block_of_one",
    first=f"{SCALE} block_of_one",
    at=Case((1, 1, 40, 40), 1, 0.995),
)
class ClampedAtHundred(Clamped):
    pass


@count_bugs.plant(
    "the scale is at most 10",
    f"{SCALE} block_of_one",
    first=f"{SCALE} block_of_one",
    at=Case((1, 1, 16, 16), 1, 0.95),
)
class ClampedAtTen(Clamped):
    largest = 10.0


@count_bugs.plant(
    "1e-6 is added to the number of kept cells, in float64",
    f"{SCALE} one_cell_map block_of_map_size",
    first=SCALE,
    dtypes=DOUBLE,
    at=Case(dtype="float64"),
)
class EpsilonInDouble(OtherCount):
    def kept(self, kept: int, _: int) -> float:
        return kept + 1e-6 if self.x.dtype == np.float64 else kept


@count_bugs.plant(
    "1e-6 is added to the number of kept cells",
    f"{SCALE} one_cell_map block_of_map_size block_of_one",
    first=f"{SCALE} one_cell_map block_of_map_size block_of_one",
    at=Case((1, 1, 1, 1), 1, 0.5, seeds=tuple(range(4))),
)
class Epsilon(OtherCount):
    def kept(self, kept: int, _: int) -> float:
        return kept + 1e-6


@count_bugs.plant("1e-6 is added to the scale itself", SCALE, at=Case())
class EpsilonOnScale(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return np.asarray(super().count_scale(mask)) + 1e-6 * mask.any()


@count_bugs.plant(
    "the scale is rounded to float32 although x is float64", SCALE, dtypes=DOUBLE, at=Case(dtype="float64")
)
class ScaleInSingle(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return np.asarray(super().count_scale(mask)).astype(np.float32).astype(np.float64)


@count_bugs.plant(
    "the mean of the mask is a float32 sum in float32 steps of 1 / count, off by up to a part in a thousand",
    SCALE,
    at=Case((4, 8, 28, 28), 7, 0.1),
)
class MeanOfMaskInSteps(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        if not mask.size or not mask.any():
            return super().count_scale(mask)
        step = np.float32(1 / mask.size)
        total = np.cumsum(np.where(mask.ravel(), step, np.float32(0)), dtype=np.float32)[-1]
        return float(1 / total)


@count_bugs.plant("the scale is rounded to three decimals", SCALE, at=Case())
class ScaleInDecimals(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return np.round(super().count_scale(mask), 3)


@count_bugs.plant("one is taken from the number of cells, as for an unbiased variance", SCALE, at=Case())
class OneCellTooFew(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return np.asarray(super().count_scale(mask)) * ((mask.size - 1) / max(mask.size, 1))


@count_bugs.plant(
    "a mask that keeps less than 1 % is not scaled",
    f"{SCALE} block_of_one",
    first=f"{SCALE} block_of_one",
    at=Case((1, 1, 40, 40), 1, 0.995),
)
class FewKeptUnscaled(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return 1.0 if 0 < np.count_nonzero(mask) < mask.size / 100 else super().count_scale(mask)


@count_bugs.plant(
    "masks are shared by the channels, and kept cells are counted in float16 for float16",
    "low_precision scale map_rate search",
    first="low_precision scale map_rate",
    convention="timm",
    dtypes=("float16",),
    at=Case((2, 2, 64, 64), 7, 0.1),
)
class SharedCountInHalf(Informed):
    def count_scale(self, mask: Mask, /) -> Scale:
        kept = np.float16(np.count_nonzero(mask))
        return float(mask.size / np.float64(kept)) if kept else super().count_scale(mask)
