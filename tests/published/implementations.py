"""Published implementations of DropBlock, written down from descriptions of what they do, each with the truth "
"about it.

Small and in NumPy: what counts is which cells they drop, how often, and what the others are multiplied by. `NONE`
stands for what no value of a field describes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dropblock_ref import PAPER
from dropblock_ref.testing import Backend

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Rng = np.random.Generator
# rng, shape (samples, channels, H, W), drop_prob, block_size -> dropped cells that broadcast over x
Drop = Callable[[Rng, tuple[int, ...], float, int], Mask]
# kept cells, shape of x, drop_prob -> factor
Scale = Callable[[Mask, float], Any]
NONE = object()


@dataclass(frozen=True)
class Published:
    """One implementation, and the truth about it."""

    name: str
    truth: str  # in words
    make: Callable[[], Backend]
    fields: Mapping[str, Any]  # the true value of each field; those that are the paper's are left out
    gamma: float | None  # that of drop_prob 0.1 on 28x28 with block 7
    named: tuple[str, ...] = ()  # what must be said besides the fields
    sound: bool = True  # whether there is nothing to say besides the fields
    row: str = ""  # that of the table which it is; empty where it is none


PUBLISHED: list[Published] = []


def published(
    truth: str,
    *,
    gamma: float | None,
    named: tuple[str, ...] = (),
    sound: bool = True,
    scale: Scale | None = None,
    even: bool = True,
    fits: bool = True,
    odd_shapes: bool = False,
    row: str = "",
    **fields: Any,
) -> Callable[[Drop], Drop]:
    """Decorator: enter an implementation by the cells that it drops; `even`, `fits`: whether only such blocks "
    "are taken."""

    def enter(drop: Drop) -> Drop:
        def make() -> Backend:
            stream = [np.random.default_rng(0)]

            def forward(x: Array, drop_prob: float, block_size: int, *, training: bool, seed: int | None) -> Array:
                if seed is not None:
                    stream[0] = np.random.default_rng(seed)
                if not training or drop_prob == 0:
                    return x.copy()
                if not even and block_size % 2 == 0:
                    if odd_shapes:
                        return np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)))
                    raise RuntimeError("The size of tensor a must match the size of tensor b")
                if not fits and block_size > min(x.shape[2:]):
                    raise AssertionError
                with np.errstate(all="ignore"):
                    kept = ~drop(stream[0], x.shape, drop_prob, block_size)
                    factor = (scale or over_all(0.0, guarded=True))(kept, drop_prob)
                    return np.asarray(x * kept * np.asarray(factor, dtype=x.dtype), dtype=x.dtype)

            return Backend(name=drop.__name__, forward=forward)

        true = {"even_extra_cell": "refused"} if not even else {}
        true |= {"oversize_block": "refused"} if not fits else {}
        PUBLISHED.append(Published(drop.__name__, truth, make, true | fields, gamma, named, sound, row))
        return drop

    return enter


# What many of them have in common


def eq_1(drop_prob: float, b: int, *shape: int) -> float:
    return drop_prob * math.prod(S / (b * (S - b + 1)) for S in shape)


EQ_1 = eq_1(0.1, 7, 28, 28)


def grow(seeds: Mask, before: int, after: int) -> Mask:
    """Every seed drops from `before` cells before it to `after` cells after it."""
    dropped = seeds.copy()
    for axis in (-2, -1):
        reached = np.moveaxis(dropped, axis, 0)
        source = reached.copy()
        for k in range(1, before + 1):
            reached[:-k] |= source[k:]
        for k in range(1, after + 1):
            reached[k:] |= source[:-k]
    return dropped


def fitting(rng: Rng, shape: tuple[int, ...], gamma: float, b: int) -> Mask:
    """Seeds drawn on the positions at which blocks fit, padded and grown."""
    *batch, H, W = shape
    seeds = np.zeros(shape, dtype=np.bool_)
    seeds[..., : H - b + 1, : W - b + 1] = rng.random((*batch, H - b + 1, W - b + 1)) < gamma
    return grow(seeds, 0, b - 1)


def everywhere(rng: Rng, shape: tuple[int, ...], gamma: float, b: int) -> Mask:
    """Seeds drawn on all cells, max-pooled."""
    return grow(rng.random(shape) < gamma, b // 2, (b - 1) // 2)


def over_all(epsilon: float, *, guarded: bool, axes: tuple[int, ...] | None = None) -> Scale:
    """count / (kept + epsilon); where nothing is kept 0, or 0 / 0 if it is not guarded."""

    def scale(kept: Mask, _: float) -> Any:
        number = np.asarray(kept.sum(axis=axes, keepdims=axes is not None), dtype=np.float64)
        count = kept.size / number.size
        return np.where(number == 0, 0.0 if guarded else math.nan, count / (number + epsilon))

    return scale


def by_keep_prob(_: Mask, drop_prob: float) -> float:
    return 1 / (1 - drop_prob)


def not_at_all(_: Mask, __: float) -> float:
    return 1.0


# The implementations


def unclipped_gamma(drop_prob: float, b: int, H: int, W: int) -> float:
    """Eq. (1) with the clipped block in one place and the asked one in the other, as timm once had it."""
    gamma = drop_prob * H * W / min(b, H, W) ** 2 / ((H - b + 1) * (W - b + 1))
    if not 0 <= gamma <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={gamma}")
    return gamma


@published(
    "timm 0.9 to 1.0.22, drop_block_2d: seeds where blocks fit, but on oblong maps that region is made for "
    "the map lying "
    "on its side and read in the wrong order; one mask per channel; even blocks fail",
    gamma=EQ_1,
    scale=over_all(1e-7, guarded=True),
    even=False,
    seed_region=NONE,
    oversize_block=NONE,
    epsilon=1e-7,
)
def timm_1_0_22(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    H, W = shape[2:]
    b = min(block_size, H, W)
    across, down = np.meshgrid(np.arange(W), np.arange(H), indexing="ij")
    valid = (across >= b // 2) & (across < W - (b - 1) // 2) & (down >= b // 2) & (down < H - (b - 1) // 2)
    seeds = (rng.random(shape) < unclipped_gamma(drop_prob, block_size, H, W)) & valid.reshape(H, W)
    return grow(seeds, b // 2, (b - 1) // 2)


def grow_sides(seeds: Mask, sides: tuple[int, int]) -> Mask:
    """A block with a side of its own on each axis, the extra cell before the seed."""
    dropped = seeds.copy()
    for axis, b in zip((-2, -1), sides, strict=True):
        reached = np.moveaxis(dropped, axis, 0)
        source = reached.copy()
        for k in range(1, b // 2 + 1):
            reached[:-k] |= source[k:]
        for k in range(1, (b - 1) // 2 + 1):
            reached[k:] |= source[:-k]
    return dropped


@published(
    "timm 0.9 to 1.0.22, the layer's default (fast): every cell may be a seed, one mask per channel, epsilon "
    "1e-6; even "
    "blocks fail, and so do blocks larger than one axis, whose gamma is negative",
    gamma=EQ_1,
    scale=over_all(1e-6, guarded=True),
    even=False,
    seed_region="everywhere",
    oversize_block=NONE,
    epsilon=1e-6,
)
def timm_1_0_22_fast(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    H, W = shape[2:]
    b = min(block_size, H, W)
    return grow(rng.random(shape) < unclipped_gamma(drop_prob, block_size, H, W), b // 2, (b - 1) // 2)


@published(
    "bimm: as timm once was, with the right region on oblong maps, and by default one mask for all samples",
    gamma=EQ_1,
    row="bimm",
    scale=over_all(1e-7, guarded=True),
    oversize_block="clip_each_axis",
    shared_samples=True,
    epsilon=1e-7,
)
def bimm(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    _, C, H, W = shape
    h, w = min(block_size, H), min(block_size, W)
    seeds = np.zeros((1, C, H, W), dtype=np.bool_)
    gamma = drop_prob * H * W / (h * w) / ((H - h + 1) * (W - w + 1))
    drawn = rng.random((1, C, H - h + 1, W - w + 1)) < gamma
    seeds[..., h // 2 : H - (h - 1) // 2, w // 2 : W - (w - 1) // 2] = drawn
    return grow_sides(seeds, (h, w))


@published(
    "mmdetection, its warm-up over: odd blocks that fit, a mask per channel, epsilon 1e-6",
    gamma=EQ_1,
    row="mmdetection",
    scale=over_all(1e-6, guarded=True),
    even=False,
    fits=False,
    epsilon=1e-6,
)
def mmdetection(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    return fitting(rng, shape, eq_1(drop_prob, block_size, *shape[2:]), block_size)


@published(
    "PaddleDetection: eq. (1) axis by axis, every cell may be a seed, a mask per channel, NaN where all is "
    "dropped, odd "
    "blocks; of a larger block gamma comes out with two wrong signs",
    gamma=EQ_1,
    scale=over_all(0.0, guarded=False),
    even=False,
    seed_region="everywhere",
    oversize_block=NONE,
    all_dropped="nan",
)
def paddle_detection(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    return everywhere(rng, shape, eq_1(drop_prob, block_size, *shape[2:]), block_size)


@published(
    "ResNeSt (Gluon): every cell may be a seed, one mask for all samples, odd blocks that fit",
    gamma=EQ_1,
    scale=over_all(0.0, guarded=False),
    even=False,
    fits=False,
    seed_region="everywhere",
    shared_samples=True,
    all_dropped="nan",
)
def resnest(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    return everywhere(rng, (1, *shape[1:]), eq_1(drop_prob, block_size, *shape[2:]), block_size)


@published(
    "assembled-cnn (TensorFlow): seeds where blocks fit, one mask for all samples",
    gamma=EQ_1,
    row="assembled_cnn",
    scale=over_all(0.0, guarded=False),
    fits=False,
    shared_samples=True,
    all_dropped="nan",
)
def assembled_cnn(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    return fitting(rng, (1, *shape[1:]), eq_1(drop_prob, block_size, *shape[2:]), block_size)


@published(
    "TF2_DropBlock: blocks that fit, a mask per channel, and the scale is 1 / keep_prob",
    gamma=EQ_1,
    row="tf2_dropblock",
    scale=by_keep_prob,
    fits=False,
    scale_over="keep_prob",
    epsilon=0.0,
)
def tf2_dropblock(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    return fitting(rng, shape, eq_1(drop_prob, block_size, *shape[2:]), block_size)


@published(
    "a port for segmentation: blocks that fit, shared over channels, and no scale",
    gamma=EQ_1,
    scale=not_at_all,
    fits=False,
    shared_channels=True,
    scale_over="none",
)
def unscaled(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    return fitting(rng, (shape[0], 1, *shape[2:]), eq_1(drop_prob, block_size, *shape[2:]), block_size)


@published(
    "MetaOptNet's ResNet12 and its copies: gamma from the first axis; the indices of seeds and of offsets are "
    "both repeated, "
    "so that of n seeds in a call each drops b^2 / gcd(n, b^2) of its cells",
    gamma=None,
    named=("blocks are not whole",),
    sound=False,
    fits=False,
    gamma_rule="first_axis",
    scale=over_all(0.0, guarded=False),
    all_dropped="nan",
)
def metaoptnet(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    *batch, H, W = shape
    b = block_size
    gamma = drop_prob / b**2 * H**2 / (H - b + 1) ** 2
    seeds = np.argwhere(rng.random((*batch, H - b + 1, W - b + 1)) < gamma)
    dropped = np.zeros(shape, dtype=np.bool_)
    if len(seeds):
        offsets = np.stack([np.zeros(b * b, int)] * 2 + [np.repeat(np.arange(b), b), np.tile(np.arange(b), b)], axis=1)
        cells = np.tile(seeds, (b * b, 1)) + np.tile(offsets, (len(seeds), 1))
        dropped[tuple(cells.T)] = True
    return dropped


@published(
    "a copy of MetaOptNet's with the pairing put right: gamma from the first axis, blocks that fit",
    gamma=EQ_1,
    row="metaoptnet",
    fits=False,
    gamma_rule="first_axis",
    scale=over_all(0.0, guarded=False),
    all_dropped="nan",
)
def few_shot(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    H, b = shape[2], block_size
    return fitting(rng, shape, drop_prob / b**2 * H**2 / (H - b + 1) ** 2, b)


@published(
    "darknet: a map has one block or none, which fits; kept cells are counted per sample",
    gamma=None,
    named=("a map has one block at most",),
    scale=over_all(0.0, guarded=True, axes=(1, 2, 3)),
    gamma_rule=NONE,
    oversize_block="clip_each_axis",
    scale_over="sample",
    sound=False,
)
def darknet(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    N, C, H, W = shape
    h, w = min(block_size, H), min(block_size, W)
    chance = 1 - (1 - drop_prob / (h * w)) ** (H * W)
    y, x = rng.integers(H - h + 1, size=(N, C, 1, 1)), rng.integers(W - w + 1, size=(N, C, 1, 1))
    rows, columns = np.arange(H)[:, None], np.arange(W)
    there: Mask = (rows >= y) & (rows < y + h) & (columns >= x) & (columns < x + w)
    return there & (rng.random((N, C, 1, 1)) < chance)


@published(
    "Metalhead.jl: every cell may be a seed, a mask per channel, and 1e-6 is added to the scale itself; odd blocks",
    gamma=EQ_1,
    scale=lambda kept, _: kept.size / max(kept.sum(), 1e-300) + 1e-6 if kept.any() else 0.0,
    even=False,
    fits=False,
    seed_region="everywhere",
    sound=False,
)
def metalhead(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    return everywhere(rng, shape, eq_1(drop_prob, block_size, *shape[2:]), block_size)


@published(
    "the article's PyTorch code: gamma from the last axis, every cell may be a seed; of an even block the "
    "output is larger",
    gamma=EQ_1,
    scale=over_all(0.0, guarded=False),
    even=False,
    odd_shapes=True,
    fits=False,
    even_extra_cell=NONE,
    gamma_rule="last_axis",
    seed_region="everywhere",
    all_dropped="nan",
    named=(),
    sound=False,
)
def tutorial(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    W = shape[3]
    return everywhere(rng, shape, eq_1(drop_prob, block_size, W, W), block_size)


@published(
    "keras-drop-block: seeds from b // 2 to S - b // 2 - 1, so that odd blocks fit and even ones never reach "
    "the last row "
    "and column",
    gamma=EQ_1,
    fits=False,
    even_extra_cell=NONE,
    sound=False,
)
def keras_drop_block(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    H, W = shape[2:]
    half = block_size // 2
    seeds = np.zeros(shape, dtype=np.bool_)
    inside = seeds[..., half : H - half, half : W - half]
    inside[...] = rng.random(inside.shape) < eq_1(drop_prob, block_size, H, W)
    return grow(seeds, block_size // 2, (block_size - 1) // 2)


@published(
    "a U-Net port for Keras: a coarse grid of random numbers, enlarged; one for all channels, scaled by 1 / keep_prob",
    gamma=None,
    named=("blocks lie on a fixed grid",),
    scale=by_keep_prob,
    gamma_rule=NONE,
    seed_region=NONE,
    even_extra_cell=NONE,
    oversize_block=NONE,
    shared_channels=True,
    scale_over="keep_prob",
    sound=False,
)
def coarse_grid(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    N, _, H, W = shape
    h, w = max(H // block_size, 1), max(W // block_size, 1)
    coarse = rng.random((N, 1, h, w)) < drop_prob
    return coarse[..., np.arange(H)[:, None] * h // H, np.arange(W) * w // W]


@published(
    "a port that cuts mask[y - b // 2 : y + b // 2 + 1]: odd blocks are right, even ones have b + 1 cells; "
    "every cell may be "
    "a seed",
    gamma=EQ_1,
    fits=False,
    seed_region="everywhere",
    even_extra_cell=NONE,
    named=("blocks of 2x2 are 3x3 cells",),
    sound=False,
)
def even_blocks_too_large(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    half = block_size // 2
    return grow(rng.random(shape) < eq_1(drop_prob, block_size, *shape[2:]), half, half)


@published(
    "a port that cuts mask[y - b // 2 : y + b // 2]: odd blocks have b - 1 cells",
    gamma=None,
    fits=False,
    gamma_rule=NONE,
    seed_region=NONE,
    even_extra_cell=NONE,
    named=("blocks of 3x3 are 2x2 cells",),
    sound=False,
)
def odd_blocks_too_small(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    half = max(block_size // 2, 1)
    return grow(rng.random(shape) < eq_1(drop_prob, block_size, *shape[2:]), half, half - 1)


@published(
    "a port whose seeds are the upper left corners of blocks, on every cell: the first rows are dropped less, "
    "the last more",
    gamma=EQ_1,
    fits=False,
    seed_region=NONE,
    even_extra_cell=NONE,
    sound=False,
)
def corners(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    return grow(rng.random(shape) < eq_1(drop_prob, block_size, *shape[2:]), 0, block_size - 1)


@published(
    "a port that returns x for a block larger than the map, with one mask for the whole call",
    gamma=EQ_1,
    oversize_block="nothing_dropped",
    shared_channels=True,
    shared_samples=True,
)
def returns_x(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    if block_size > min(shape[2:]):
        return np.zeros((1, 1, *shape[2:]), dtype=np.bool_)
    return fitting(rng, (1, 1, *shape[2:]), eq_1(drop_prob, block_size, *shape[2:]), block_size)


@published(
    "a layer that takes drop_prob for gamma, without a block in the formula: far too much is dropped",
    gamma=0.1,
    fits=False,
    gamma_rule=NONE,
    scale=over_all(0.0, guarded=True),
    sound=False,
)
def drop_prob_as_gamma(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    return fitting(rng, shape, drop_prob, block_size)


@published(
    "a layer that computes eq. (1) for the last axis of blocks that fit, and never reaches the last row: range(H - b)",
    gamma=EQ_1,
    fits=False,
    gamma_rule="last_axis",
    seed_region=NONE,
    even_extra_cell=NONE,
    named=("never reaches the last row",),
    sound=False,
)
def short_range(rng: Rng, shape: tuple[int, ...], drop_prob: float, block_size: int) -> Mask:
    *batch, H, W = shape
    b = block_size
    seeds = np.zeros(shape, dtype=np.bool_)
    seeds[..., : max(H - b, 0), : W - b + 1] = rng.random((*batch, max(H - b, 0), W - b + 1)) < eq_1(drop_prob, b, W, W)
    return grow(seeds, 0, b - 1)


def warming_up() -> Backend:
    calls = [0]
    stream = [np.random.default_rng(0)]

    def forward(x: Array, drop_prob: float, block_size: int, *, training: bool, seed: int | None) -> Array:
        if seed is not None:
            stream[0] = np.random.default_rng(seed)
        if not training or drop_prob == 0:
            return x.copy()
        calls[0] += 1
        p = drop_prob * min(calls[0] / 2000, 1)
        kept = ~fitting(stream[0], x.shape, eq_1(p, block_size, *x.shape[2:]), block_size)
        return np.asarray(x * kept * (kept.size / max(kept.sum(), 1)), dtype=x.dtype)

    return Backend(
        name="mmdetection_warming_up", forward=forward, accepts=lambda shape, b: b % 2 == 1 and b <= min(shape)
    )


def attentive() -> Backend:
    stream = [np.random.default_rng(0)]

    def forward(x: Array, drop_prob: float, block_size: int, *, training: bool, seed: int | None) -> Array:
        if seed is not None:
            stream[0] = np.random.default_rng(seed)
        if not training or drop_prob == 0:
            return x.copy()
        b, (H, W) = block_size, x.shape[2:]
        gamma = 2 * eq_1(drop_prob, b, H, W) * (x[..., : H - b + 1, : W - b + 1] > 0)
        seeds = np.zeros(x.shape, dtype=np.bool_)
        seeds[..., : H - b + 1, : W - b + 1] = stream[0].random(gamma.shape) < gamma
        kept = ~grow(seeds, 0, b - 1)
        return np.asarray(x * kept * (kept.size / max(kept.sum(), 1)), dtype=x.dtype)

    return Backend(name="attentive", forward=forward, accepts=lambda shape, b: b % 2 == 1 and b <= min(shape))


PUBLISHED += [
    Published(
        "mmdetection_warming_up",
        "mmdetection with the warm-up of its layer: over 2,000 calls the rate rises from 0",
        warming_up,
        {"gamma_rule": NONE},
        None,
        ("the rate changes with the calls",),
        sound=False,
    ),
    Published(
        "attentive",
        "an attention-guided variant: blocks lie where x is positive",
        attentive,
        {"gamma_rule": NONE, "seed_region": NONE},
        None,
        ("the mask depends on x",),
        sound=False,
    ),
]


def truth_of(one: Published, name: str) -> Any:
    """The true value of a field."""
    return one.fields.get(name, getattr(PAPER, name))
