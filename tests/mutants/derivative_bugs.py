"""Mutants of the derivative that show for some values, some settings or some sizes only."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import Case
from .correct import Array, Informed, Mask, Scale, product
from .mutant import Bugs

derivative_bugs = Bugs("derivative", causes=True)
VALUES = "gradient search"


def ratio(x: Array, mask: Mask, scale: Scale) -> Array:
    """y / x."""
    with np.errstate(all="ignore"):
        quotient: Array = product(x, mask, scale) / x
        return quotient.astype(x.dtype)


@derivative_bugs.plant(
    "the derivative is y / x * cotangent, which is NaN where x is 0", VALUES, at=Case(values="zeros")
)
class QuotientOfOutputAndInput(Informed):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        with np.errstate(all="ignore"):
            return (cotangent * ratio(self.x, mask, scale)).astype(cotangent.dtype)


@derivative_bugs.plant("no gradient flows where y is 0, to kept zeros of x either", VALUES, at=Case(values="zeros"))
class GradientWhereOutputIsNotZero(Informed):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return super().gradient(cotangent, product(self.x, mask, scale) != 0, scale)


@derivative_bugs.plant("the derivative is clipped to [-1, 1]", VALUES, at=Case())
class GradientClipped(Informed):
    largest = 1.0

    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        x_bar = super().gradient(cotangent, mask, scale)
        return np.clip(x_bar, x_bar.dtype.type(-self.largest), x_bar.dtype.type(self.largest))


@derivative_bugs.plant("the derivative is clipped to [-10, 10]", VALUES, at=Case(values="large"))
class GradientClippedAtTen(GradientClipped):
    largest = 10.0


@derivative_bugs.plant("the derivative is scaled to a norm of at most 1000", VALUES, at=Case(values="large"))
class GradientNormClipped(Informed):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        norm = float(np.linalg.norm(cotangent.astype(np.float64)))
        return super().gradient(cotangent, mask, np.asarray(scale) * (1000 / norm if norm > 1000 else 1))


@derivative_bugs.plant(
    "the derivative at NaN and infinities of x is NaN, as if x were multiplied by 0", VALUES, at=Case(values="special")
)
class GradientNanWhereInputIs(Informed):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(super().gradient(cotangent, mask, scale) + 0 * self.x)


@derivative_bugs.plant("no gradient flows to NaN and infinities of x", VALUES, at=Case(values="special"))
class GradientOnlyOfFiniteInput(Informed):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return super().gradient(cotangent, mask & np.isfinite(self.x), scale)


@derivative_bugs.plant("NaN of the cotangent becomes 0", VALUES, at=Case(values="special"))
class NanCotangentReplaced(Informed):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return super().gradient(np.where(np.isnan(cotangent), cotangent.dtype.type(0), cotangent), mask, scale)


@derivative_bugs.plant(
    "no gradient flows where x is larger than 6, as through a ReLU6", VALUES, at=Case(values="large")
)
class GradientOfClippedInput(Informed):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return super().gradient(cotangent, mask & (np.abs(self.x) <= 6), scale)


@derivative_bugs.plant("tiny derivatives are flushed to 0", VALUES, at=Case(values="tiny"))
class TinyGradientFlushed(Informed):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return super().gradient(cotangent, mask & (np.abs(cotangent) > 1e-30), scale)


@derivative_bugs.plant(
    "the derivative of float16 is multiplied by count(M) before it is divided by the kept cells, and overflows",
    "gradient low_precision search",
    dtypes=("float16",),
    at=Case((4, 16, 28, 28), 7, 0.1),
)
class HalfGradientOverflows(Informed):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        with np.errstate(all="ignore"):
            overflows = np.abs(cotangent.astype(np.float32)) * mask.size > 65504
            x_bar = super().gradient(cotangent, mask, scale)
            return np.where(overflows & mask, np.copysign(x_bar.dtype.type(np.inf), x_bar), x_bar)


class AnotherDraw(Informed):
    """The derivative of some calls is that of another draw."""

    def another(self) -> bool:
        raise NotImplementedError

    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        if self.another():
            mask, scale = self.sample(cotangent.shape, self.p, self.block, self.generator(None))
        return super().gradient(cotangent, mask, scale)


@derivative_bugs.plant("the derivative of a block of one is that of another draw", VALUES, at=Case(block_size=1))
class GradientOfAnotherDrawForBlockOfOne(AnotherDraw):
    def another(self) -> bool:
        return set(self.block.size) == {1}


@derivative_bugs.plant(
    "the derivative of a block as large as the map is that of another draw", VALUES, at=Case(block_size=9)
)
class GradientOfAnotherDrawForBlockOfMap(AnotherDraw):
    def another(self) -> bool:
        return self.block.size == self.x.shape[2:]


@derivative_bugs.plant(
    "the derivative of blocks of 7 and more is that of another draw", VALUES, at=Case((2, 3, 28, 28), 7, 0.1)
)
class GradientOfAnotherDrawForLargeBlocks(AnotherDraw):
    def another(self) -> bool:
        return min(self.block.size) >= 7


@derivative_bugs.plant(
    "the derivative of a batch of more than 20 samples is that of another draw", VALUES, at=Case((24, 3, 9, 9))
)
class GradientOfAnotherDrawForManySamples(AnotherDraw):
    def another(self) -> bool:
        return len(self.x) > 20


@derivative_bugs.plant("no gradient flows to channels after the eighth", VALUES, at=Case((2, 12, 9, 9)))
class GradientOfEightChannels(Informed):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        x_bar = super().gradient(cotangent, mask, scale)
        x_bar[:, 8:] = 0
        return x_bar


@derivative_bugs.plant("with drop_prob 1 no gradient flows", VALUES, at=Case(drop_prob=1.0))
class NoGradientAtDropProbOne(Informed):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return super().gradient(cotangent, mask, 0.0 if self.p == 1 else scale)


@derivative_bugs.plant(
    "with a drop_prob below 0.1 the derivative lacks the scale", VALUES, at=Case((4, 8, 9, 9), 3, 0.05)
)
class GradientWithoutScaleForSmallDropProb(Informed):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return super().gradient(cotangent, mask, 1.0 if self.p < 0.1 else scale)


@derivative_bugs.plant(
    "neither the output of vjp nor its derivative is scaled",
    "scale values gradient search",
    first="scale values gradient",
)
class VjpWithoutScale(Informed):
    def vjp(
        self, x: Any, cotangent: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None
    ) -> tuple[Array, Array]:
        self.count = not training
        try:
            return super().vjp(x, cotangent, drop_prob, block_size, training=training, seed=seed)
        finally:
            self.count = True

    count = True

    def count_scale(self, mask: Mask, /) -> Scale:
        return super().count_scale(mask) if self.count else 1.0


@derivative_bugs.plant(
    "vjp drops single cells and no blocks, and its derivative fits that",
    "legal_blocks same_seed_same_output gradient search",
    first="legal_blocks same_seed_same_output gradient",
)
class VjpDropsCells(Informed):
    def vjp(
        self, x: Any, cotangent: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None
    ) -> tuple[Array, Array]:
        return super().vjp(x, cotangent, drop_prob, 1 if training else block_size, training=training, seed=seed)


@derivative_bugs.plant(
    "vjp does not draw what forward draws for the same seed",
    "gradient same_seed_same_output search",
    first="same_seed_same_output gradient",
)
class VjpOfAnotherSeed(Informed):
    def vjp(
        self, x: Any, cotangent: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None
    ) -> tuple[Array, Array]:
        other = None if seed is None else seed + 10**6
        return super().vjp(x, cotangent, drop_prob, block_size, training=training, seed=other)
