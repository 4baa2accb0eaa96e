"""Timings of the reference beside published packages, in one process: pytest tests/benchmarks.

Not part of the test suite, because a timing must not decide whether it passes. pytest-benchmark prints one table per
case, with every contender of that case.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dropblock_ref
from dropblock_ref import backends

SHAPES = {2: (32, 256, 28, 28), 3: (8, 32, 16, 28, 28)}
BLOCKS = (3, 7, 15)
DROP_PROB = 0.1


def make_x(ndim: int, data_format: str) -> NDArray[np.float32]:
    x = np.random.default_rng(0).random(SHAPES[ndim], dtype=np.float32)
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if data_format == "channels_last" else x


def reference(x: NDArray[Any], block_size: int, **how: Any) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    return lambda: dropblock_ref.drop_block(x, DROP_PROB, block_size, rng=rng, **how)


def torch_function(name: str, x: NDArray[Any], block_size: int) -> Callable[[], Any]:
    import torch

    backends.load(name)  # declares what torchvision needs
    from timm.layers import drop_block_2d
    from torchvision.ops import drop_block2d, drop_block3d

    tensor = torch.from_numpy(x)
    if name == "torchvision":
        function = drop_block2d if x.ndim == 4 else drop_block3d
        return lambda: function(tensor, DROP_PROB, block_size)
    coupled = name == "timm"
    return lambda: drop_block_2d(tensor, DROP_PROB, block_size, couple_channels=coupled)


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
        (2, "channels_last", ("reference", "keras_cv")),
        (3, "channels_first", ("reference", "torchvision")),
        (3, "channels_last", ("reference",)),
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
        mask = np.ones(x.shape, dtype=np.bool_)
        function = lambda: x * mask  # noqa: E731
    elif contender == "keras_cv":
        function = keras_function(x, block_size)
    else:
        function = torch_function(contender, x, block_size)
    benchmark.group = f"{ndim}D {data_format} {x.shape} block {block_size}"
    benchmark.name = contender
    benchmark.pedantic(function, rounds=9, warmup_rounds=2)


@pytest.mark.parametrize("block_size", BLOCKS)
@pytest.mark.parametrize("contender", ["reference", "timm"])
def test_shared_masks(benchmark: Any, block_size: int, contender: str) -> None:
    x = make_x(2, "channels_first")
    benchmark.group = f"2D shared masks {x.shape} block {block_size}"
    benchmark.name = contender
    function = (
        reference(x, block_size, convention="timm")
        if contender == "reference"
        else torch_function("timm", x, block_size)
    )
    benchmark.pedantic(function, rounds=9, warmup_rounds=2)


@pytest.mark.parametrize("stage", ["sample_seeds", "keep_mask", "scale"])
def test_stages(benchmark: Any, stage: str) -> None:
    shape, b, rng = SHAPES[2], 7, np.random.default_rng(0)
    gamma = dropblock_ref.gamma(DROP_PROB, b, shape[2:])
    seeds = dropblock_ref.sample_seeds(gamma, b, shape, rng=rng)
    mask = dropblock_ref.keep_mask(seeds, b)
    function: Callable[[], Any] = {
        "sample_seeds": lambda: dropblock_ref.sample_seeds(gamma, b, shape, rng=rng),
        "keep_mask": lambda: dropblock_ref.keep_mask(seeds, b),
        "scale": lambda: dropblock_ref.scale(mask),
    }[stage]
    benchmark.group = f"stages, 2D channels_first {shape} block {b}"
    benchmark.name = stage
    benchmark.pedantic(function, rounds=9, warmup_rounds=2)


def test_small_call(benchmark: Any) -> None:
    benchmark.group = "one call on (2, 3, 8, 8)"
    benchmark(reference(np.ones((2, 3, 8, 8), dtype=np.float32), 3))


@pytest.mark.parametrize("modules", ["numpy, scipy.ndimage", "dropblock_ref"])
def test_import(benchmark: Any, modules: str) -> None:
    benchmark.group = "import, in a new process"
    benchmark.name = modules
    benchmark.pedantic(
        lambda: subprocess.run([sys.executable, "-c", f"import {modules}"], check=True), rounds=9, warmup_rounds=2
    )
