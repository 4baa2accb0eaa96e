"""from_jax: conversion, keys, gradients, and how a compiled function is wrapped."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import dropblock_ref
from dropblock_ref import backends

DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32]


def numbers(dtype: Any, shape: tuple[int, ...] = (2, 8, 8, 3)) -> NDArray[Any]:
    return np.random.default_rng(0).uniform(0.5, 2, shape).astype(dtype)


def draw_seeds(key: Any, shape: tuple[int, ...], _: Any, p: float, b: int) -> Any:
    valid = dropblock_ref.valid_seeds(b, shape[1:3])[None, :, :, None]
    return valid & (jax.random.uniform(key, shape) < dropblock_ref.gamma(p, b, shape[1:3]))


def drop_block(key: Any, x: Any, p: float, b: int) -> Any:
    seeds = draw_seeds(key, x.shape, x.dtype, p, b).astype(jnp.float32)
    keep = 1 - jax.lax.reduce_window(seeds, np.float32(0), jax.lax.max, (1, b, b, 1), (1, 1, 1, 1), "SAME")
    return (x * keep * (math.prod(x.shape) / keep.sum())).astype(x.dtype)


def in_training(function: Any, key: Any, x: Any, p: float, b: int, training: bool) -> Any:
    return function(key, x, p, b) if training else x


VARIANTS = {
    "mine": partial(in_training, drop_block),
    "mine, jax.jit": partial(in_training, jax.jit(drop_block, static_argnums=(2, 3))),
}


@pytest.mark.parametrize("name", list(VARIANTS))
@pytest.mark.parametrize("b", [2, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_tutorial_eager_and_compiled(name: str, b: int, dtype: Any) -> None:
    backend = backends.from_jax(VARIANTS[name], name=name, draw_seeds=draw_seeds)
    assert backend.draw_seeds is not None
    assert backend.vjp is not None
    x, cotangent = numbers(dtype)[:, ::-1], numbers(dtype).transpose(0, 2, 1, 3)
    seeds = backend.draw_seeds(x.shape, x.dtype.name, 0.3, b, seed=5)
    trace = dropblock_ref.trace(x, 0.3, b, seeds=seeds, data_format="NHWC")
    y, x_bar = backend.vjp(x, cotangent, 0.3, b, training=True, seed=5)
    assert y.dtype == x_bar.dtype == x.dtype
    tolerance = 2 * float(ml_dtypes.finfo(dtype).eps)
    for got, wanted in (
        (y, trace.output),
        (backend.forward(x, 0.3, b, training=True, seed=5), trace.output),
        (x_bar, dropblock_ref.vjp(cotangent, trace)),
    ):
        np.testing.assert_allclose(got.astype(np.float64), wanted.astype(np.float64), rtol=tolerance)
    assert np.array_equal(backend.forward(x, 0.3, b, training=False, seed=5), x)


@pytest.mark.parametrize("name", list(VARIANTS))
def test_a_seed_repeats_the_draw_and_none_goes_on_with_the_stream(name: str) -> None:
    backend = backends.from_jax(VARIANTS[name], name=name)
    x = numbers(np.float32)
    outputs = [backend.forward(x, 0.3, 3, training=True, seed=seed) for seed in (7, None, 7, None)]
    assert np.array_equal(outputs[0], outputs[2])
    assert np.array_equal(outputs[1], outputs[3])
    assert not np.array_equal(outputs[0], outputs[1])


def test_the_input_is_out_of_reach() -> None:
    seen: list[Any] = []
    backend = backends.from_jax(lambda _, x, *__: seen.append(x) or x, name="keeps x")  # type: ignore[func-returns-value]
    x = numbers(np.float32)
    y = backend.forward(x, 0.3, 3, training=True, seed=0)
    y[...] = 0
    x[...] = 1
    assert np.array_equal(seen[0], numbers(np.float32))


def test_gradient_of_what_does_not_depend_on_x() -> None:
    backend = backends.from_jax(lambda _, x, *__: jnp.zeros_like(x), name="constant")
    assert backend.vjp is not None
    x = numbers(np.float32)
    assert not backend.vjp(x, x, 0.3, 3, training=True, seed=0)[1].any()


def test_float64_is_supported_where_jax_is_told_to() -> None:
    assert "float64" not in backends.from_jax(VARIANTS["mine"], name="mine").dtypes
    with jax.enable_x64(True):
        backend = backends.from_jax(VARIANTS["mine"], name="mine")
        assert "float64" in backend.dtypes
        assert backend.forward(numbers(np.float64), 0.3, 3, training=True, seed=0).dtype == np.float64
    assert backends.from_jax(VARIANTS["mine"], name="mine", dtypes=("float32",)).dtypes == ("float32",)


def test_what_is_not_callable_is_refused() -> None:
    with pytest.raises(TypeError, match="function must be callable"):
        backends.from_jax(3, name="three")  # type: ignore[arg-type]
