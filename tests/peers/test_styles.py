"""Correct backends of JAX and PyTorch in several styles: compiled, vectorised, by pooling and by convolution.

The reference gives the same for the seeds that they draw, and the oracle passes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional

import dropblock_ref
from dropblock_ref import backends
from dropblock_ref.testing import Backend, check_backend, make_input

# Not all: each shape and each block is compiled anew.
CHECKS = ("quick", "legal_blocks", "scale")


def valid_cells(b: Any, spatial_shape: tuple[int, ...]) -> Any:
    return dropblock_ref.valid_seeds(b, spatial_shape)


def sides(b: Any) -> tuple[int, int]:
    return b if isinstance(b, tuple) else (b, b)


def margins(b: Any) -> tuple[tuple[int, int], ...]:
    """How far windows reach before and after a cell: the extra cell of an even block lies before its seed."""
    return tuple(((side - 1) // 2, side // 2) for side in sides(b))


# JAX, channels last.


def drawn(key: Any, shape: tuple[int, ...], b: Any, gamma: Any) -> Any:
    return valid_cells(b, shape[1:3])[None, :, :, None] & (jax.random.uniform(key, shape) < gamma)


def drawn_per_sample(key: Any, shape: tuple[int, ...], b: Any, gamma: Any) -> Any:
    keys = jax.random.split(key, shape[0])
    inside = valid_cells(b, shape[1:3])[:, :, None]
    return jax.vmap(lambda one: inside & jax.random.bernoulli(one, gamma, shape[1:]))(keys)


def pooled(seeds: Any, b: Any) -> Any:
    window = (1, *sides(b), 1)
    cells = seeds.astype(jnp.float32)
    return jax.lax.reduce_window(cells, 0.0, jax.lax.max, window, (1, 1, 1, 1), ((0, 0), *margins(b), (0, 0))) > 0


def convolved(seeds: Any, b: Any) -> Any:
    """One map after the other, vectorised twice."""
    kernel = jnp.ones((1, 1, *sides(b)), jnp.float32)

    def one(cells: Any) -> Any:
        return jax.lax.conv(cells[None, None], kernel, (1, 1), "VALID")[0, 0]

    padded = jnp.pad(seeds.astype(jnp.float32), ((0, 0), *margins(b), (0, 0)))
    return jax.vmap(jax.vmap(one, in_axes=-1, out_axes=-1))(padded) > 0.5


def dropped_output(draw: Any, dilate: Any, key: Any, x: Any, b: Any, gamma: Any) -> Any:
    keep = jnp.logical_not(dilate(draw(key, x.shape, b, gamma), b))
    kept = jnp.sum(keep, dtype=jnp.int32)
    factor = jnp.where(kept == 0, 0.0, math.prod(x.shape) / jnp.maximum(kept, 1))
    return (x * keep.astype(x.dtype)).astype(jnp.float32) * factor.astype(jnp.float32)


def jax_backend(name: str, draw: Any, dilate: Any, compile_: Callable[..., Any]) -> Backend:
    compiled = compile_(partial(dropped_output, draw, dilate))

    def function(key: Any, x: Any, p: float, b: Any, training: bool) -> Any:
        gamma = dropblock_ref.gamma(p, b, x.shape[1:3])
        return compiled(key, x, b, gamma).astype(x.dtype) if training and p > 0 else x

    def draw_seeds(key: Any, shape: tuple[int, ...], _: Any, p: float, b: Any) -> Any:
        return draw(key, shape, b, dropblock_ref.gamma(p, b, shape[1:3]))

    return backends.from_jax(function, name=name, draw_seeds=draw_seeds, dtypes=("float32",))


JIT = partial(jax.jit, static_argnums=(2,))

# PyTorch, channels first.


def uniform_seeds(shape: tuple[int, ...], _: Any, p: float, b: Any) -> torch.Tensor:
    gamma = dropblock_ref.gamma(p, b, shape[2:])
    return (torch.rand(shape) < gamma) & torch.from_numpy(valid_cells(b, shape[2:]).copy())


def bernoulli_seeds(shape: tuple[int, ...], _: Any, p: float, b: Any) -> torch.Tensor:
    """Drawn where blocks fit, and padded."""
    inner = [S - side + 1 for S, side in zip(shape[2:], sides(b), strict=True)]
    seeds = torch.empty((*shape[:2], *inner)).bernoulli_(dropblock_ref.gamma(p, b, shape[2:])).bool()
    (top, bottom), (left, right) = ((after, before) for before, after in margins(b))
    return functional.pad(seeds, (left, right, top, bottom))


def max_pooled(seeds: torch.Tensor, b: Any) -> torch.Tensor:
    (top, bottom), (left, right) = margins(b)
    return functional.max_pool2d(functional.pad(seeds.float(), (left, right, top, bottom)), sides(b), stride=1) > 0


def transposed_convolved(seeds: torch.Tensor, b: Any) -> torch.Tensor:
    channels = seeds.shape[1]
    kernel = torch.ones((channels, 1, *sides(b)))
    full = functional.conv_transpose2d(seeds.float(), kernel, groups=channels)
    rows, columns = (slice(side // 2, side // 2 + S) for side, S in zip(sides(b), seeds.shape[2:], strict=True))
    return full[:, :, rows, columns] > 0.5


def torch_backend(name: str, draw: Any, dilate: Any, *, channels_last: bool = False) -> Backend:
    def function(x: torch.Tensor, p: float, b: Any, training: bool) -> torch.Tensor:
        dropblock_ref.gamma(p, b, x.shape[2:])
        if not training or p == 0:
            return x
        keep = torch.logical_not(dilate(draw(tuple(x.shape), x.dtype, p, b), b))
        kept = int(keep.sum())
        y = x.to(memory_format=torch.channels_last) if channels_last else x
        return (y.float() * keep * (keep.numel() / kept if kept else 0.0)).to(x.dtype)

    return backends.from_torch(function, name=name, draw_seeds=draw, dtypes=("float16", "float32"))


STYLES: dict[str, Callable[[], Backend]] = {
    "jax, eager, pooling": lambda: jax_backend("eager", drawn, pooled, lambda f: f),
    "jax.jit, pooling": lambda: jax_backend("jit", drawn, pooled, JIT),
    "jax.jit, jax.vmap over samples and maps": lambda: jax_backend("vmap", drawn_per_sample, convolved, JIT),
    "torch, max_pool2d": lambda: torch_backend("max_pool2d", uniform_seeds, max_pooled),
    "torch, channels_last": lambda: torch_backend("channels_last", uniform_seeds, max_pooled, channels_last=True),
    "torch, conv_transpose2d": lambda: torch_backend("conv_transpose2d", bernoulli_seeds, transposed_convolved),
}


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("b", [3, 4, (2, 3), 1])
def test_output_and_derivative_are_those_of_the_reference(name: str, b: Any) -> None:
    backend = STYLES[name]()
    assert backend.draw_seeds is not None
    assert backend.vjp is not None
    shape = (2, 9, 6, 3) if backend.data_format == "channels_last" else (2, 3, 9, 6)
    x, cotangent = (make_input(shape, "float32", seed) for seed in (0, 1))
    for drop_prob in (0.4, 1.0):
        seeds = backend.draw_seeds(shape, "float32", drop_prob, b, seed=5)
        trace = dropblock_ref.trace(x, drop_prob, b, seeds=seeds, data_format=backend.data_format)
        y, x_bar = backend.vjp(x, cotangent, drop_prob, b, training=True, seed=5)
        np.testing.assert_allclose(y, trace.output, rtol=4e-7)
        np.testing.assert_allclose(x_bar, dropblock_ref.vjp(cotangent, trace), rtol=4e-7)


@pytest.mark.parametrize("name", STYLES)
def test_the_oracle_passes_every_style(name: str) -> None:
    report = check_backend(STYLES[name](), checks=CHECKS)
    assert report.passed, str(report)
