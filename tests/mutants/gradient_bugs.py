"""Mutants of the derivative: the forward pass is right, but x_bar is not cotangent * mask * scale of the same draw."""

from __future__ import annotations

from typing import Any

import numpy as np

from .correct import Array, Block, DropBlock, Mask, Scale, Shape
from .mutant import Bugs

gradient_bugs = Bugs("gradient")


@gradient_bugs.plant("the gradient lacks the scale", "gradient")
class GradientWithoutScale(DropBlock):
    def gradient(self, cotangent: Array, mask: Mask, _: Scale, /) -> Array:
        return super().gradient(cotangent, mask, 1.0)


@gradient_bugs.plant("the gradient lacks the scale", "gradient", ndims=(3,), data_format="channels_last")
class GradientWithoutScaleVolumes(GradientWithoutScale):
    pass


@gradient_bugs.plant("the gradient lacks the mask", "gradient")
class GradientWithoutMask(DropBlock):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return super().gradient(cotangent, np.ones_like(mask), scale)


@gradient_bugs.plant("the gradient is the cotangent itself, as of a straight-through estimator", "gradient")
class StraightThrough(DropBlock):
    def gradient(self, cotangent: Array, _: Mask, __: Scale, /) -> Array:
        return cotangent.copy()


@gradient_bugs.plant("the gradient draws another mask than the forward pass", "gradient")
class GradientOfAnotherDraw(DropBlock):
    def vjp(
        self, x: Any, cotangent: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None
    ) -> tuple[Array, Array]:
        y, _ = super().vjp(x, cotangent, drop_prob, block_size, training=training, seed=seed)
        _, x_bar = super().vjp(x, cotangent, drop_prob, block_size, training=training, seed=None)
        return y, x_bar


@gradient_bugs.plant("the gradient is 0 everywhere", "gradient", convention="timm")
class ZeroGradient(DropBlock):
    def gradient(self, cotangent: Array, _: Mask, __: Scale, /) -> Array:
        return np.zeros_like(cotangent)


@gradient_bugs.plant("the gradient has the wrong sign", "gradient")
class GradientNegated(DropBlock):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return -super().gradient(cotangent, mask, scale)


@gradient_bugs.plant("the gradient is scaled twice", "gradient", data_format="channels_last")
class GradientScaledTwice(DropBlock):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return super().gradient(cotangent, mask, np.square(scale))


@gradient_bugs.plant("the gradient goes through the scale, as if the count depended on x", "gradient")
class GradientThroughScale(DropBlock):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        x_bar = super().gradient(cotangent, mask, scale)
        return x_bar - x_bar.mean() if x_bar.size else x_bar


@gradient_bugs.plant("the gradient of every channel has the first channel's mask", "gradient")
class GradientOfFirstChannel(DropBlock):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return super().gradient(cotangent, np.broadcast_to(mask[:, :1], mask.shape), scale)


@gradient_bugs.plant("where every cell is dropped the gradient is NaN, of a quotient that is not taken", "gradient")
class GradientOfAllDroppedIsNan(DropBlock):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        x_bar = super().gradient(cotangent, mask, scale)
        return x_bar if mask.any() else np.full_like(x_bar, np.nan)


@gradient_bugs.plant("the gradient of an even block on a square map has the mask of the other anchor", "gradient")
class GradientOfOtherAnchor(DropBlock):
    even = False

    def resolve_block(self, sides: Shape, spatial_shape: Shape, /) -> Block:
        self.even = len(set(sides)) == len(set(spatial_shape)) == 1 and sides[0] % 2 == 0
        return super().resolve_block(sides, spatial_shape)

    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return super().gradient(cotangent, np.roll(mask, 1, axis=-1) if self.even else mask, scale)


@gradient_bugs.plant("the gradient lacks the scale where the block has a size per axis", "gradient", ndims=(2, 3))
class GradientOfPerAxisBlock(DropBlock):
    per_axis = False

    def resolve_block(self, sides: Shape, spatial_shape: Shape, /) -> Block:
        self.per_axis = len(set(sides)) > 1
        return super().resolve_block(sides, spatial_shape)

    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return super().gradient(cotangent, mask, 1.0 if self.per_axis else scale)


@gradient_bugs.plant("the gradient lacks the mask on maps that are not square", "gradient", data_format="channels_last")
class GradientOfNonSquareMap(DropBlock):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        square = len(set(mask.shape[2:])) == 1
        return super().gradient(cotangent, mask if square else np.ones_like(mask), scale)


@gradient_bugs.plant("no gradient flows to the samples after the third", "gradient")
class GradientOfThreeSamples(DropBlock):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        x_bar = super().gradient(cotangent, mask, scale)
        x_bar[3:] = 0
        return x_bar


@gradient_bugs.plant("no gradient flows with drop_prob 0, as if the output were detached", "evaluation_gradient")
class NoGradientAtZeroDropProb(DropBlock):
    def vjp(
        self, x: Any, cotangent: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None
    ) -> tuple[Array, Array]:
        y, x_bar = super().vjp(x, cotangent, drop_prob, block_size, training=training, seed=seed)
        return y, np.zeros_like(x_bar) if training and drop_prob == 0 else x_bar


@gradient_bugs.plant("the gradient is scaled in evaluation too", "evaluation_gradient")
class EvaluationGradientScaled(DropBlock):
    def identity_gradient(self, cotangent: Array, /) -> Array:
        x_bar: Array = cotangent * cotangent.dtype.type(1.1)
        return x_bar


@gradient_bugs.plant("no gradient flows in evaluation", "evaluation_gradient", ndims=(3,))
class NoEvaluationGradient(DropBlock):
    def identity_gradient(self, cotangent: Array, /) -> Array:
        return np.zeros_like(cotangent)


@gradient_bugs.plant("the gradient of float16 is float32", "gradient shape_and_dtype", dtypes=("float16",))
class GradientUpcast(DropBlock):
    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return super().gradient(cotangent, mask, scale).astype(np.float32)
