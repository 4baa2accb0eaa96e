"""Mutants of the derivative: the forward pass is right, but x_bar is not cotangent * mask * scale of the same draw."""

from __future__ import annotations

from typing import Any

import numpy as np

from .correct import Array, DropBlock, Mask, Scale
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
