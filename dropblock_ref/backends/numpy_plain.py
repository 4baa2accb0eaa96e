"""A small DropBlock in NumPy, written without the reference: what there is to check where no framework is installed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from importlib.util import find_spec
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..testing.backend import Backend

Array = NDArray[Any]


def make() -> Backend:
    """Wrap the implementation of this file.

    Returns
    -------
    Backend
        Maps and volumes, channels first, by the convention of the paper; all dtypes, bfloat16 where ml_dtypes is
        installed.

    Examples
    --------
    >>> x = np.ones((1, 1, 4, 4), dtype=np.float32)
    >>> make().forward(x, 0.3, 2, training=True, seed=4)[0, 0]
    array([[1.3333334, 1.3333334, 1.3333334, 1.3333334],
           [0.       , 0.       , 1.3333334, 1.3333334],
           [0.       , 0.       , 1.3333334, 1.3333334],
           [1.3333334, 1.3333334, 1.3333334, 1.3333334]], dtype=float32)
    """
    stream = np.random.default_rng(0)

    def draw(shape: tuple[int, ...], drop_prob: float, block_size: Any, rng: np.random.Generator) -> Array:
        maps, b = shape[2:], _sides(block_size, shape)
        inner = [S - n + 1 for S, n in zip(maps, b, strict=True)]
        gamma = drop_prob * math.prod(maps) / math.prod(b) / math.prod(inner)
        seeds = np.zeros(shape, dtype=np.bool_)
        seeds[_box((n // 2 for n in b), inner)] = rng.random((*shape[:2], *inner)) < gamma
        return seeds

    def factor(seeds: Array, block_size: Any) -> Array:
        """The keep mask times the scale."""
        b = _sides(block_size, seeds.shape)
        inner = [S - n + 1 for S, n in zip(seeds.shape[2:], b, strict=True)]
        fitting = seeds[_box((n // 2 for n in b), inner)]
        kept = np.ones(seeds.shape, dtype=np.bool_)
        for offset in product(*map(range, b)):
            kept[_box(offset, inner)] &= ~fitting
        return kept * (kept.size / max(int(np.count_nonzero(kept)), 1))

    def times(x: Array, factors: Array) -> Array:
        with np.errstate(invalid="ignore", over="ignore", under="ignore"):
            return (x.astype(np.float64) * factors).astype(x.dtype)

    def vjp(
        x: Array, cotangent: Array, drop_prob: float, block_size: Any, *, training: bool, seed: int | None
    ) -> tuple[Array, Array]:
        nonlocal stream
        _refuse_bad(x, drop_prob, block_size)
        if not training or drop_prob == 0:
            return x.copy(), cotangent.copy()
        if seed is not None:
            stream = np.random.default_rng(seed)
        factors = factor(draw(x.shape, drop_prob, block_size, stream), block_size)
        return times(x, factors), times(cotangent, factors)

    def forward(x: Array, drop_prob: float, block_size: Any, *, training: bool, seed: int | None) -> Array:
        return vjp(x, x, drop_prob, block_size, training=training, seed=seed)[0]

    return Backend(
        name="numpy",
        forward=forward,
        convention="paper",
        spatial_ndims=(2, 3),
        dtypes=("float16", *(("bfloat16",) if find_spec("ml_dtypes") else ()), "float32", "float64"),
        vjp=vjp,
        draw_seeds=lambda shape, _, p, b, *, seed: draw(shape, p, b, np.random.default_rng(seed)),
        apply=lambda x, seeds, block_size: times(x, factor(seeds, block_size)),
    )


def _box(first: Iterable[int], sizes: Iterable[int]) -> Any:
    return (..., *(slice(start, start + size) for start, size in zip(first, sizes, strict=True)))


def _sides(block_size: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (block_size,) * (len(shape) - 2) if isinstance(block_size, int) else tuple(block_size)


def _refuse_bad(x: Array, drop_prob: float, block_size: Any) -> None:
    if x.ndim not in (4, 5):
        raise ValueError(f"x must have 4 or 5 dimensions, got shape {x.shape}")
    if not 0 <= drop_prob <= 1:
        raise ValueError(f"drop_prob must be from 0 to 1, got {drop_prob!r}")
    b, maps = _sides(block_size, x.shape), x.shape[2:]
    if len(b) != len(maps) or not all(isinstance(n, int) and 1 <= n <= S for n, S in zip(b, maps, strict=True)):
        raise ValueError(f"block_size must be an int, or one per axis, that fits a map of {maps}, got {block_size!r}")
