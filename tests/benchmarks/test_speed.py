"""Timings of the reference beside published packages, in one process: pytest tests/benchmarks.

Not part of the test suite, because a timing must not decide whether it passes. pytest-benchmark prints one table per
case, with every contender of that case; "multiply only" is the floor, a product with a mask that is there already.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

import dropblock_ref
from dropblock_ref import backends, fast
from dropblock_ref.testing.observation import find_dtype

SHAPES = {2: (32, 256, 28, 28), 3: (8, 32, 16, 28, 28)}
BLOCKS = (3, 7, 11, 15)
DROP_PROB = 0.1
MAX_POOLING = ("torchvision", "timm_uncoupled")


def channels_last(x: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def make_x(ndim: int, data_format: str) -> NDArray[np.float32]:
    x = np.random.default_rng(0).random(SHAPES[ndim], dtype=np.float32)
    return channels_last(x) if data_format == "channels_last" else x


def reference(x: NDArray[Any], block_size: int, **how: Any) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    return lambda: dropblock_ref.drop_block(x, DROP_PROB, block_size, rng=rng, **how)


def multiply_only(x: NDArray[Any], mask_shape: tuple[int, ...]) -> Callable[[], Any]:
    mask = np.ones(mask_shape, dtype=np.bool_)
    return lambda: x * mask


def torch_function(name: str, x: NDArray[Any], data_format: str, block_size: int) -> Callable[[], Any]:
    import torch

    backends.load(name)  # declares what torchvision needs
    from timm.layers import drop_block_2d
    from torchvision.ops import drop_block2d, drop_block3d

    tensor = torch.from_numpy(x)
    if data_format == "channels_last":
        tensor = torch.moveaxis(tensor, -1, 1)  # a view, which PyTorch calls channels_last
    if name == "torchvision":
        function = drop_block2d if x.ndim == 4 else drop_block3d
        return lambda: function(tensor, DROP_PROB, block_size)
    coupled = name == "timm"
    return lambda: drop_block_2d(tensor, DROP_PROB, block_size, couple_channels=coupled)


def on_one_thread(function: Callable[[], Any]) -> Callable[[], Any]:
    """As NumPy computes; PyTorch uses all cores by default."""
    import torch

    def call() -> Any:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return function()
        finally:
            torch.set_num_threads(threads)

    return call


def keras_function(x: NDArray[Any], block_size: int) -> Callable[[], Any]:
    import tensorflow as tf

    backends.load("keras_cv")
    from keras_cv.layers import DropBlock2D

    layer, tensor = DropBlock2D(DROP_PROB, block_size, seed=0), tf.convert_to_tensor(x)
    return lambda: layer(tensor, training=True)


CASES = [
    (ndim, data_format, block_size, contender)
    for ndim, data_format, contenders in (
        (2, "channels_first", ("reference", "torchvision", "timm_uncoupled", "multiply only")),
        (2, "channels_last", ("reference", "torchvision", "timm_uncoupled", "keras_cv", "multiply only")),
        (3, "channels_first", ("reference", "torchvision", "multiply only")),
        (3, "channels_last", ("reference", "torchvision", "multiply only")),
    )
    for block_size in BLOCKS
    for contender in contenders
]


@pytest.mark.parametrize(("ndim", "data_format", "block_size", "contender"), CASES)
def test_per_channel_masks(benchmark: Any, ndim: int, data_format: str, block_size: int, contender: str) -> None:
    x = make_x(ndim, data_format)
    if contender == "reference":
        function = reference(x, block_size, data_format=data_format)
    elif contender == "multiply only":
        function = multiply_only(x, x.shape)
    elif contender == "keras_cv":
        function = keras_function(x, block_size)
    else:
        function = torch_function(contender, x, data_format, block_size)
    benchmark.group = f"{ndim}D {data_format} {x.shape} block {block_size}"
    benchmark.name = contender
    # Max-pooling takes up to seconds: as many rounds as show that they are alike.
    rounds = {"rounds": 3, "warmup_rounds": 1} if contender in MAX_POOLING else {"rounds": 9, "warmup_rounds": 2}
    benchmark.pedantic(function, **rounds)


@pytest.mark.parametrize("block_size", BLOCKS)
@pytest.mark.parametrize("contender", ["reference", "timm", "timm, one thread", "multiply only"])
def test_shared_masks(benchmark: Any, block_size: int, contender: str) -> None:
    x = make_x(2, "channels_first")
    function = {
        "reference": lambda: reference(x, block_size, convention="timm"),
        "timm": lambda: torch_function("timm", x, "channels_first", block_size),
        "timm, one thread": lambda: on_one_thread(torch_function("timm", x, "channels_first", block_size)),
        "multiply only": lambda: multiply_only(x, (len(x), 1, *x.shape[2:])),
    }[contender]()
    benchmark.group = f"2D shared masks {x.shape} block {block_size}"
    benchmark.name = contender
    benchmark.pedantic(function, rounds=9, warmup_rounds=2)


@pytest.mark.parametrize("contender", ["reference", "multiply only"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes(benchmark: Any, dtype: str, contender: str) -> None:
    x = make_x(2, "channels_first").astype(find_dtype(dtype))
    benchmark.group = f"dtype {dtype} {x.shape} block 7"
    benchmark.name = contender
    function = reference(x, 7) if contender == "reference" else multiply_only(x, x.shape)
    benchmark.pedantic(function, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("contender", ["reference", "multiply only"])
@pytest.mark.parametrize("block_size", [1, 3, 7])
@pytest.mark.parametrize("drop_prob", [0.01, 0.1, 0.3, 0.5, 0.9])
def test_drop_probs(benchmark: Any, drop_prob: float, block_size: int, contender: str) -> None:
    x, rng = make_x(2, "channels_first"), np.random.default_rng(0)
    benchmark.group = f"drop_prob {drop_prob} block {block_size} {x.shape}"
    benchmark.name = contender
    function: Callable[[], Any] = multiply_only(x, x.shape)
    if contender == "reference":
        function = partial(dropblock_ref.drop_block, x, drop_prob, block_size, rng=rng)
    benchmark.pedantic(function, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("contender", ["reference", "multiply only"])
@pytest.mark.parametrize("batch", [1, 4, 16, 64])
def test_linear_in_cells(benchmark: Any, batch: int, contender: str) -> None:
    x = np.ones((batch, 64, 128, 128), dtype=np.float32)
    benchmark.group = f"cells {x.size} of {x.shape} block 7"
    benchmark.name = contender
    function = reference(x, 7) if contender == "reference" else multiply_only(x, x.shape)
    benchmark.pedantic(function, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("way", ["maximum_filter", "stamp"])
@pytest.mark.parametrize(
    ("ndim", "data_format", "block_size", "drop_prob"),
    [
        *((ndim, "channels_first", block_size, 0.1) for ndim in SHAPES for block_size in BLOCKS),
        *((ndim, "channels_last", 7, 0.1) for ndim in SHAPES),
        *((2, "channels_first", 7, drop_prob) for drop_prob in (0.01, 0.03, 0.3, 0.9)),
    ],
)
def test_ways_of_keep_mask(
    benchmark: Any, ndim: int, data_format: str, block_size: int, drop_prob: float, way: str
) -> None:
    first = SHAPES[ndim]
    gamma = dropblock_ref.gamma(drop_prob, block_size, first[2:])
    seeds = dropblock_ref.sample_seeds(gamma, block_size, first, rng=0)
    seeds = channels_last(seeds) if data_format == "channels_last" else seeds
    benchmark.group = f"keep_mask, {ndim}D {data_format} {seeds.shape} block {block_size} drop_prob {drop_prob}"
    benchmark.name = way
    with mock.patch.object(fast, "stamping_pays", return_value=way == "stamp"):
        benchmark.pedantic(
            lambda: dropblock_ref.keep_mask(seeds, block_size, data_format=data_format), rounds=7, warmup_rounds=1
        )


@pytest.mark.parametrize("stage", ["sample_seeds", "keep_mask", "scale", "product", "multiply only"])
def test_stages(benchmark: Any, stage: str) -> None:
    x, b, rng = make_x(2, "channels_first"), 7, np.random.default_rng(0)
    trace = dropblock_ref.trace(x, DROP_PROB, b, rng=rng)
    function: Callable[[], Any] = {
        "sample_seeds": lambda: dropblock_ref.sample_seeds(trace.gamma, b, x.shape, rng=rng),
        "keep_mask": lambda: dropblock_ref.keep_mask(trace.seeds, b),
        "scale": lambda: dropblock_ref.scale(trace.keep_mask),
        "product": lambda: dropblock_ref.vjp(x, trace),  # the same product
        "multiply only": multiply_only(x, x.shape),
    }[stage]
    benchmark.group = f"stages, 2D channels_first {x.shape} block {b}"
    benchmark.name = stage
    benchmark.pedantic(function, rounds=9, warmup_rounds=2)


@pytest.mark.parametrize("contender", ["reference", "numpy.add of two arrays of 4"])
def test_small_call(benchmark: Any, contender: str) -> None:
    benchmark.group = "one call on (2, 3, 8, 8)"
    benchmark.name = contender
    four = np.ones(4)
    small = reference(np.ones((2, 3, 8, 8), dtype=np.float32), 3)
    benchmark(small if contender == "reference" else partial(np.add, four, four))


@pytest.mark.parametrize("modules", ["numpy, scipy.ndimage", "dropblock_ref"])
def test_import(benchmark: Any, modules: str) -> None:
    benchmark.group = "import, in a new process"
    benchmark.name = modules
    benchmark.pedantic(
        lambda: subprocess.run([sys.executable, "-c", f"import {modules}"], check=True), rounds=5, warmup_rounds=1
    )
