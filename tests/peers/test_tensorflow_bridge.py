"""from_tensorflow and the keras-cv backend: conversion, seeding, gradients, and how a tf.function is wrapped."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import dropblock_ref
from dropblock_ref import backends
from dropblock_ref.backends.tensorflow_bridge import import_tensorflow, to_numpy, to_tensor

tf = import_tensorflow()
DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]


def numbers(dtype: Any, shape: tuple[int, ...] = (2, 8, 8, 3)) -> NDArray[Any]:
    return np.random.default_rng(0).uniform(0.5, 2, shape).astype(dtype)


def draw_seeds(shape: tuple[int, ...], _: Any, p: float, b: int) -> Any:
    valid = dropblock_ref.valid_seeds(b, shape[1:3])[None, :, :, None]
    gamma = dropblock_ref.gamma(p, b, shape[1:3])
    return tf.logical_and(valid, tf.random.uniform(shape) < gamma)


def drop_block(x: Any, p: float, b: int) -> Any:
    seeds = tf.cast(draw_seeds(tuple(x.shape), x.dtype, p, b), tf.float32)
    keep = 1 - tf.nn.max_pool2d(seeds, b, 1, "SAME")
    scale = math.prod(x.shape) / tf.reduce_sum(keep)
    return tf.cast(tf.cast(x, tf.float32) * keep * scale, x.dtype)


def drop_block_in_training(x: Any, p: float, b: int, training: bool) -> Any:
    return drop_block(x, p, b) if training else x


@pytest.mark.parametrize("dtype", DTYPES)
def test_conversion_keeps_every_bit_and_shares_nothing(dtype: Any) -> None:
    for x in (numbers(dtype), numbers(dtype).T, numbers(dtype)[..., ::-2], numbers(dtype)[:0]):
        tensor = to_tensor(x)
        back = to_numpy(tensor)
        assert back.dtype == x.dtype
        assert back.tobytes() == x.tobytes()
        back[...] = 0
        assert np.array_equal(to_numpy(tensor), x)


@pytest.mark.parametrize("b", [2, 3])
@pytest.mark.parametrize("dtype", DTYPES[:3])
def test_tutorial_eager(b: int, dtype: Any) -> None:
    backend = backends.from_tensorflow(drop_block_in_training, name="mine", draw_seeds=draw_seeds)
    assert backend.draw_seeds is not None
    assert backend.vjp is not None
    x, cotangent = numbers(dtype), numbers(dtype)[::-1]
    seeds = backend.draw_seeds(x.shape, x.dtype, 0.3, b, seed=5)
    assert np.array_equal(seeds, backend.draw_seeds(x.shape, x.dtype.name, 0.3, b, seed=5))
    trace = dropblock_ref.trace(x, 0.3, b, seeds=seeds, data_format="NHWC")
    y, x_bar = backend.vjp(x, cotangent, 0.3, b, training=True, seed=5)
    assert y.dtype == x_bar.dtype == x.dtype
    assert np.array_equal(y, backend.forward(x, 0.3, b, training=True, seed=5))
    tolerance = 2 * float(ml_dtypes.finfo(dtype).eps)
    for got, wanted in ((y, trace.output), (x_bar, dropblock_ref.vjp(cotangent, trace))):
        np.testing.assert_allclose(got.astype(np.float64), wanted.astype(np.float64), rtol=tolerance)
    assert np.array_equal(backend.forward(x, 0.3, b, training=False, seed=5), x)


def test_tutorial_graph() -> None:
    graph = tf.function(drop_block)
    backend = backends.from_tensorflow(
        lambda x, p, b, training: graph(x, p, b) if training else x, name="mine, tf.function"
    )
    x = numbers(np.float32)
    outputs = [backend.forward(x, 0.3, 3, training=True, seed=seed) for seed in (0, None, None)]
    for y in outputs:
        seeds = dropblock_ref.recover_seeds(y != 0, 3, data_format="NHWC")
        expected = dropblock_ref.drop_block(x, 0.3, 3, seeds=seeds, data_format="NHWC")
        np.testing.assert_allclose(y, expected, rtol=1e-6)
    assert len({y.tobytes() for y in outputs}) == 3


def test_a_mask_frozen_into_the_graph_is_the_same_in_every_call() -> None:
    def frozen(x: Any, p: float, b: int) -> Any:
        keep = dropblock_ref.drop_block(
            np.ones(x.shape, np.float32), p, b, rng=np.random.default_rng(), data_format="NHWC"
        )
        return x * keep

    graph = tf.function(frozen)
    backend = backends.from_tensorflow(lambda x, p, b, training: graph(x, p, b) if training else x, name="frozen")
    x = numbers(np.float32)
    outputs = [backend.forward(x, 0.3, 3, training=True, seed=seed) for seed in (0, 1, None)]
    assert len({y.tobytes() for y in outputs}) == 1


def test_gradient_of_what_does_not_depend_on_x_or_changes_the_dtype() -> None:
    x = numbers(np.float16)
    constant = backends.from_tensorflow(lambda x, *_: tf.zeros_like(x), name="constant").vjp
    wider = backends.from_tensorflow(lambda x, *_: tf.cast(x, tf.float32) * 2, name="wider").vjp
    assert constant is not None
    assert wider is not None
    assert not constant(x, x, 0.3, 3, training=True, seed=0)[1].any()
    y, x_bar = wider(x, x, 0.3, 3, training=True, seed=0)
    assert (y.dtype, x_bar.dtype) == (np.float32, np.float16)
    assert np.array_equal(x_bar, 2 * x)


def test_what_is_not_callable_is_refused() -> None:
    with pytest.raises(TypeError, match="function must be callable"):
        backends.from_tensorflow(3, name="three")  # type: ignore[arg-type]


def test_keras_cv_goes_on_with_the_stream_of_its_layer() -> None:
    backend = backends.load("keras_cv")
    x = numbers(np.float32)
    outputs = [backend.forward(x, 0.3, 3, training=True, seed=seed) for seed in (7, None, 7, None)]
    assert np.array_equal(outputs[0], outputs[2])
    assert np.array_equal(outputs[1], outputs[3])
    assert not np.array_equal(outputs[0], outputs[1])
    # another block makes another layer, whose seed follows from the last one given
    others = []
    for _ in range(2):
        backend.forward(x, 0.3, 3, training=True, seed=7)
        others.append(backend.forward(x, 0.3, 2, training=True, seed=None))
    assert np.array_equal(*others)
