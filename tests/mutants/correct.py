"""A correct DropBlock in NumPy alone, written from the paper's Algorithm 1 and not from the reference.

It is cut into small stages, so that a mutant replaces one of them and leaves the others right. Inside the stages arrays
are "maps": (N, C, H, W) or (N, C, D, H, W) in the order of their axes, whatever the layout of x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dropblock_ref.convention import CONVENTIONS, Convention
from dropblock_ref.testing.backend import Backend

Array: TypeAlias = NDArray[Any]
Mask: TypeAlias = NDArray[np.bool_]
Shape: TypeAlias = tuple[int, ...]
Box: TypeAlias = tuple[slice, ...]
Scale: TypeAlias = float | NDArray[np.float64]

ALL_DTYPES = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Block:
    """Per spatial axis: the side of a block, and how many of its cells lie before and after its seed."""

    size: Shape
    before: Shape
    after: Shape


class DropBlock:
    """One backend: a convention, a layout and a stream. Stages take their arguments by position."""

    def __init__(self, convention: Convention | str = "paper", data_format: str = "channels_first") -> None:
        self.rules = CONVENTIONS[convention] if isinstance(convention, str) else convention
        if self.rules.gamma_rule == "calibrated":
            raise ValueError("gamma_rule 'calibrated' is not modelled here")
        self.channels_first = data_format in ("channels_first", "NCHW", "NCDHW")
        self.stream = np.random.default_rng(0)
        self.drop_prob = 0.0  # of the present call; a scale that does not count has no other source

    # What a Backend offers.

    def forward(self, x: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None) -> Array:
        maps, drawn = self.begin(x, drop_prob, block_size, training, seed)
        return self.from_maps(self.identity(maps) if drawn is None else self.multiply(maps, *drawn))

    def vjp(
        self, x: Any, cotangent: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None
    ) -> tuple[Array, Array]:
        maps, drawn = self.begin(x, drop_prob, block_size, training, seed)
        above = self.to_maps(np.asarray(cotangent))
        if drawn is None:
            y, x_bar = self.identity(maps), self.identity_gradient(above)
        else:
            y, x_bar = self.multiply(maps, *drawn), self.gradient(above, *drawn)
        return self.from_maps(y), self.from_maps(x_bar)

    def draw_seeds(self, shape: Shape, dtype: Any, drop_prob: Any, block_size: Any, *, seed: int) -> Mask:  # noqa: ARG002
        in_maps = shape if self.channels_first else (shape[0], shape[-1], *shape[1:-1])
        p, block = self.judge(in_maps, drop_prob, block_size)
        if p == 0:
            return self.from_maps(np.zeros(self.mask_shape(in_maps), dtype=np.bool_))
        return self.from_maps(self.sample_seeds(in_maps, p, block, np.random.default_rng(seed)))

    def apply(self, x: Any, seeds: Any, block_size: Any) -> Array:
        maps, given = self.to_maps(self.check_input(x)), self.to_maps(np.asarray(seeds))
        if given.dtype != np.bool_ or given.shape != self.mask_shape(maps.shape):
            raise ValueError(f"seeds must be boolean of shape {self.mask_shape(maps.shape)}, got {given.shape}")
        _, block = self.judge(maps.shape, 1.0, block_size)
        mask = np.logical_not(self.dilate(given, block))
        return self.from_maps(self.multiply(maps, mask, self.count_scale(mask)))

    # The stages of Algorithm 1.

    def begin(
        self, x: Any, drop_prob: Any, block_size: Any, training: bool, seed: int | None, /
    ) -> tuple[Array, tuple[Mask, Scale] | None]:
        """The maps, and what to multiply them by: mask and scale, or None for the identity."""
        maps = self.to_maps(self.check_input(x))
        p, block = self.judge(maps.shape, drop_prob, block_size)
        rng = self.generator(seed)
        return maps, None if self.is_identity(p, training) else self.sample(maps.shape, p, block, rng)

    def sample(self, shape: Shape, p: float, block: Block, rng: np.random.Generator, /) -> tuple[Mask, Scale]:
        self.drop_prob = p
        mask = np.logical_not(self.dilate(self.sample_seeds(shape, p, block, rng), block))
        return mask, self.count_scale(mask)

    def sample_seeds(self, shape: Shape, p: float, block: Block, rng: np.random.Generator, /) -> Mask:
        gamma = self.gamma(p, block, shape[2:])
        return self.draw(rng, self.mask_shape(shape), gamma, self.eligible(block, shape[2:]))

    def generator(self, seed: int | None, /) -> np.random.Generator:
        """A seed begins the stream anew; without one it goes on."""
        if seed is not None:
            self.stream = np.random.default_rng(seed)
        return self.stream

    def is_identity(self, p: float, training: bool, /) -> bool:
        return not training or p == 0

    def resolve_block(self, sides: Shape, spatial_shape: Shape, /) -> Block:
        """Clip or refuse the block as the convention does, then lay it around its seed."""
        rule = self.rules.oversize_block
        if rule in ("clip_each_axis", "nothing_dropped"):
            sides = tuple(map(min, sides, spatial_shape))
        elif rule == "clip_to_smallest_axis":
            sides = tuple(min(b, *spatial_shape) for b in sides)
        elif rule == "refused" and any(b > S for b, S in zip(sides, spatial_shape, strict=True)):
            raise ValueError(f"block_size {sides} is larger than the map {spatial_shape}")
        if self.rules.even_extra_cell == "refused" and any(b % 2 == 0 for b in sides):
            raise ValueError(f"block_size must be odd, got {sides}")
        return self.anchor(sides)

    def anchor(self, sides: Shape, /) -> Block:
        longer, shorter = tuple(b // 2 for b in sides), tuple((b - 1) // 2 for b in sides)
        if self.rules.even_extra_cell == "after":
            return Block(sides, shorter, longer)
        return Block(sides, longer, shorter)

    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        """Eq. (1) of the paper, and what published packages made of it."""
        if self.rules.gamma_rule == "uncorrected":
            return p / math.prod(block.size)
        axes = list(zip(spatial_shape, block.size, strict=True))
        if self.rules.gamma_rule in ("last_axis", "first_axis"):
            axes = [axes[-1 if self.rules.gamma_rule == "last_axis" else 0]] * len(axes)
        return p * math.prod(S for S, _ in axes) / math.prod(b * (S - b + 1) for S, b in axes)

    def eligible(self, block: Block, spatial_shape: Shape, /) -> Box:
        if self.rules.seed_region == "everywhere":
            return tuple(slice(0, S) for S in spatial_shape)
        return tuple(slice(i, S - j) for i, j, S in zip(block.before, block.after, spatial_shape, strict=True))

    def mask_shape(self, shape: Shape, /) -> Shape:
        samples, channels = shape[:2]
        if self.rules.shared_samples:
            samples = min(samples, 1)
        return (samples, 1 if self.rules.shared_channels else channels, *shape[2:])

    def draw(self, rng: np.random.Generator, shape: Shape, gamma: float, eligible: Box, /) -> Mask:
        """Seeds of this shape, on eligible cells only."""
        seeds = in_spatial_order(np.zeros(shape[2:] + shape[:2], dtype=np.bool_))
        box = seeds[(slice(None), slice(None), *eligible)]
        box[...] = self.bernoulli(rng, box.shape, gamma)
        return seeds

    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        """True with probability gamma, each cell for itself."""
        return in_spatial_order(rng.random(shape[2:] + shape[:2]) < gamma)

    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        """The cells that the blocks of the seeds cover."""
        dropped = seeds
        for axis, before, after in zip(range(2, seeds.ndim), block.before, block.after, strict=True):
            dropped = spread(dropped, axis, before, after)
        return dropped

    def count_scale(self, mask: Mask, /) -> Scale:
        """count(M) / count_ones(M)."""
        if self.rules.scale_over == "none":
            return 1.0
        if self.rules.scale_over == "keep_prob":
            guarded = 0.0 if self.rules.all_dropped == "zeros" else math.inf
            return 1 / (1 - self.drop_prob) if self.drop_prob < 1 else guarded
        first = {"batch": 0, "sample": 1, "channel": 2}[self.rules.scale_over]
        return self.ratio(mask, tuple(range(first, mask.ndim)))

    def ratio(self, mask: Mask, axes: Shape, /) -> Scale:
        count = math.prod(mask.shape[axis] for axis in axes)
        kept = np.asarray(np.count_nonzero(mask, axis=axes, keepdims=True))
        if count == 0:
            return 1.0
        scale = count / np.where(kept == 0, 1, kept + self.rules.epsilon)
        return np.where(kept == 0, 0.0 if self.rules.all_dropped == "zeros" else math.nan, scale)

    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        return product(x, mask, scale)

    def gradient(self, cotangent: Array, mask: Mask, scale: Scale, /) -> Array:
        return product(cotangent, mask, scale)

    def identity(self, x: Array, /) -> Array:
        return x.copy()

    def identity_gradient(self, cotangent: Array, /) -> Array:
        return cotangent.copy()

    # Arguments and layout.

    def judge(self, shape: Shape, drop_prob: Any, block_size: Any, /) -> tuple[float, Block]:
        """drop_prob as a float, and the block on the map, or a refusal."""
        p = self.check_probability(drop_prob)
        return p, self.resolve_block(self.check_block(block_size, len(shape) - 2), shape[2:])

    def check_input(self, x: Any, /) -> Array:
        array = np.asarray(x)
        if array.ndim not in (4, 5):
            raise ValueError(f"x must have 4 or 5 dimensions, got {array.ndim}")
        if array.dtype.name not in ALL_DTYPES:
            raise TypeError(f"x must be of a floating dtype, got {array.dtype}")
        if 0 in self.to_maps(array).shape[2:]:
            raise ValueError(f"x must have at least one cell on every spatial axis, got {array.shape}")
        return array

    def check_probability(self, drop_prob: Any, /) -> float:
        if isinstance(drop_prob, bool) or not isinstance(drop_prob, Real):
            raise TypeError(f"drop_prob must be a real number, got {drop_prob!r}")
        if not 0 <= float(drop_prob) <= 1:
            raise ValueError(f"drop_prob must lie in [0, 1], got {drop_prob!r}")
        return float(drop_prob)

    def check_block(self, block_size: Any, ndim: int, /) -> Shape:
        """One side per spatial axis."""
        sides = tuple(block_size) if isinstance(block_size, Iterable) else (block_size,) * ndim
        if any(isinstance(side, bool) or not isinstance(side, Integral) for side in sides):
            raise TypeError(f"block_size must be an integer, or one per spatial axis, got {block_size!r}")
        if len(sides) != ndim or any(side < 1 for side in sides):
            raise ValueError(f"block_size must be at least 1, one number or {ndim}, got {block_size!r}")
        return tuple(int(side) for side in sides)

    def to_maps(self, x: Array, /) -> Array:
        return x if self.channels_first else np.moveaxis(x, -1, 1)

    def from_maps(self, maps: Array, /) -> Array:
        return maps if self.channels_first else np.moveaxis(maps, 1, -1)


class Informed(DropBlock):
    """A DropBlock whose stages know what the present call is about: a home for bugs that show in some calls only."""

    x: Array
    p: float
    block: Block
    training: bool
    seed: int | None
    mask: Mask | None = None

    def begin(
        self, x: Any, drop_prob: Any, block_size: Any, training: bool, seed: int | None, /
    ) -> tuple[Array, tuple[Mask, Scale] | None]:
        self.x, self.training, self.seed, self.mask = self.to_maps(np.asarray(x)), training, seed, None
        return super().begin(x, drop_prob, block_size, training, seed)

    def judge(self, shape: Shape, drop_prob: Any, block_size: Any, /) -> tuple[float, Block]:
        self.p, self.block = super().judge(shape, drop_prob, block_size)
        return self.p, self.block

    def sample(self, shape: Shape, p: float, block: Block, rng: np.random.Generator, /) -> tuple[Mask, Scale]:
        self.mask, scale = super().sample(shape, p, block, rng)
        return self.mask, scale


def in_spatial_order(cells: Mask) -> Mask:
    """(*spatial, N, C) in memory seen as maps: steps along a spatial axis are then long runs, thus fast."""
    return np.moveaxis(cells, (-2, -1), (0, 1))


def spread(cells: Mask, axis: int, before: int, after: int) -> Mask:
    """Every True reaches `before` cells back and `after` cells on along one axis, and not over the map's border."""
    reached = cells.copy(order="K")
    source, target = np.moveaxis(cells, axis, 0), np.moveaxis(reached, axis, 0)
    for offset in range(1, min(before, len(source) - 1) + 1):
        target[:-offset] |= source[offset:]
    for offset in range(1, min(after, len(source) - 1) + 1):
        target[offset:] |= source[:-offset]
    return reached


def product(x: Array, mask: Mask, scale: Scale) -> Array:
    """x * mask * scale; half precision in float32, rounded once."""
    compute = np.float64 if x.dtype == np.float64 else np.float32
    with np.errstate(all="ignore"):
        y = np.multiply(x.astype(compute, copy=False), mask)
        y *= np.asarray(scale, dtype=compute)
        rounded: Array = y.astype(x.dtype, copy=False)
    return rounded


def make_backend(
    convention: Convention | str = "paper",
    data_format: str = "channels_first",
    spatial_ndims: Shape = (2, 3),
    dtypes: tuple[str, ...] = ALL_DTYPES,
    *,
    name: str | None = None,
    kind: Callable[[Convention | str, str], DropBlock] = DropBlock,
    with_vjp: bool = True,
    with_draw_seeds: bool = True,
    with_apply: bool = True,
) -> Backend:
    """The correct backend, or with `kind` a wrong one; without draw_seeds and apply it is a black box."""
    implementation = kind(convention, data_format)
    return Backend(
        name=f"correct {implementation.rules.name}" if name is None else name,
        forward=implementation.forward,
        convention=convention,
        data_format=data_format,
        spatial_ndims=spatial_ndims,
        dtypes=dtypes,
        vjp=implementation.vjp if with_vjp else None,
        draw_seeds=implementation.draw_seeds if with_draw_seeds else None,
        # Which is not given the drop_prob that the scale of some is made of.
        apply=implementation.apply if with_apply and implementation.rules.scale_over != "keep_prob" else None,
    )
