"""Findings: what the published packages do that neither their documentation nor a convention explains.

Every test asserts the right behaviour and is a strict expected failure: when a package is fixed, the suite says so.
Versions: torchvision 0.28.0, timm 1.0.31, dropblock 0.3.0, pytorch-toolbelt 0.8.0 on torch 2.13.0; keras-cv 0.9.0 on
tensorflow 2.21.0.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dropblock_ref
from dropblock_ref import backends
from dropblock_ref.testing.backend import Backend

load = cache(backends.load)


def finding(reason: str, raises: type[BaseException] = AssertionError) -> pytest.MarkDecorator:
    return pytest.mark.xfail(strict=True, raises=raises, reason=reason)


def values(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Between 0.5 and 2, with every mantissa."""
    import ml_dtypes

    x = np.random.default_rng(0).uniform(0.5, 2, shape)
    return x.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def replay(
    backend: Backend, x: NDArray[Any], drop_prob: float, block_size: Any
) -> tuple[NDArray[np.float64], dropblock_ref.Trace]:
    """The package's output and the reference's trace for the same draws."""
    assert backend.draw_seeds is not None
    seeds = backend.draw_seeds(x.shape, x.dtype.name, drop_prob, block_size, seed=0)
    trace = dropblock_ref.trace(
        x, drop_prob, block_size, seeds=seeds, data_format=backend.data_format, convention=backend.rules
    )
    return backend.forward(x, drop_prob, block_size, training=True, seed=0).astype(np.float64), trace


def scale_error(name: str, shape: tuple[int, ...], dtype: str, drop_prob: float, block_size: int = 7) -> float:
    """The relative error of the scale: of the sum of the output, against that of the reference, which rounds once."""
    x = values(shape, dtype)
    y, trace = replay(load(name), x, drop_prob, block_size)
    return abs(float(y.sum() / trace.output.astype(np.float64).sum()) - 1)


# A scale that is not rounded to the dtype, or only to float32, errs by less than this: see the next test.
SMALL = {"float16": 2.0**-11 / 20, "bfloat16": 2.0**-8 / 20, "float64": 2.0**-53 * 20}


@pytest.mark.parametrize("dtype", list(SMALL))
@pytest.mark.parametrize("size", [64, 83, 256, 512])
@pytest.mark.parametrize("drop_prob", [0.1, 0.9])
def test_scale_error_of_a_correct_implementation_is_small(dtype: str, size: int, drop_prob: float) -> None:
    assert scale_error("numpy", (1, 1, size, size), dtype, drop_prob) < SMALL[dtype]


# torchvision


@finding("the kept cells are counted in float16, where 81477 is infinite: the scale is 0 and everything is dropped")
def test_torchvision_float16_with_more_than_65504_kept_cells() -> None:
    x = values((1, 1, 300, 300), "float16")
    y, trace = replay(load("torchvision"), x, 0.1, 7)
    assert np.count_nonzero(trace.keep_mask) > 65504
    assert np.array_equal(y != 0, trace.keep_mask)


@finding("1 / count is not a normal float16 for more than 16384 kept cells: the scale is 0.10 % off here")
def test_torchvision_float16_scale_of_a_large_map() -> None:
    assert scale_error("torchvision", (1, 1, 256, 256), "float16", 0.1) < SMALL["float16"]


@finding("the count, its inverse and the scale are each rounded to bfloat16: the scale is 0.6 % off here")
def test_torchvision_bfloat16_scale() -> None:
    assert scale_error("torchvision", (1, 1, 83, 83), "bfloat16", 0.1) < SMALL["bfloat16"]


@finding("0 * (numel / epsilon), which overflows to infinity in float16, is NaN")
def test_torchvision_float16_all_dropped() -> None:
    y, _ = replay(load("torchvision"), values((1, 1, 4, 4), "float16"), 1.0, 1)
    assert np.array_equal(y, np.zeros_like(y))


# timm


@pytest.mark.parametrize("name", ["timm", "timm_uncoupled"])
@finding("gamma is that of blocks that fit, but seeds lie everywhere: 13.3 % are dropped at 10 %, block 7 on 28x28")
def test_timm_drop_rate(name: str) -> None:
    maps, fractions = 4000, []
    for seed in range(10):
        x = np.ones((maps // 10, 1, 28, 28), dtype=np.float32)
        y = load(name).forward(x, 0.1, 7, training=True, seed=seed)
        fractions.append((y == 0).mean(axis=(1, 2, 3)))
    deviation = float(np.std(fractions)) / math.sqrt(maps)
    assert np.mean(fractions) < 0.1 + 6 * deviation


@pytest.mark.parametrize("name", ["timm", "timm_uncoupled"])
@finding("0 * (numel / epsilon), which overflows to infinity in float16, is NaN")
def test_timm_float16_all_dropped(name: str) -> None:
    y, _ = replay(load(name), values((1, 1, 4, 4), "float16"), 1.0, 1)
    assert np.array_equal(y, np.zeros_like(y))


@pytest.mark.parametrize("name", ["timm", "timm_uncoupled"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@finding("the scale is rounded to the dtype of x: 0.04 % off in float16, 0.4 % in bfloat16")
def test_timm_half_precision_scale(name: str, dtype: str) -> None:
    errors = [scale_error(name, (1, 1, size, size), dtype, p) for size, p in ((111, 0.1), (48, 0.5))]
    assert max(errors) < SMALL[dtype]


@pytest.mark.parametrize("name", ["timm", "timm_uncoupled"])
@finding("the scale is computed in float32, so float64 has 24 bits: 3e-8 off here")
def test_timm_float64_scale(name: str) -> None:
    assert scale_error(name, (1, 1, 64, 64), "float64", 0.1) < SMALL["float64"]


@pytest.mark.parametrize("name", ["timm", "timm_uncoupled"])
@finding("only gamma is refused outside 0 to 1: 10, meant as 10 %, drops everything", pytest.fail.Exception)
def test_timm_refuses_a_percentage(name: str) -> None:
    x = np.ones((1, 1, 28, 28), dtype=np.float32)
    with pytest.raises(ValueError, match="0"):
        load(name).forward(x, 10, 7, training=True, seed=0)


# dropblock


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@finding("the mask is float32 whatever x is, and so is the output")
def test_dropblock_keeps_half_precision(dtype: str) -> None:
    x = values((1, 1, 8, 8), dtype)
    assert load("dropblock").forward(x, 0.1, 3, training=True, seed=0).dtype == x.dtype


@pytest.mark.parametrize("name", ["dropblock", "pytorch_toolbelt"])
@finding("x is multiplied by numel before it is divided by the count: kept values above 3.4e38 / numel become infinite")
def test_dropblock_and_toolbelt_3d_large_values(name: str) -> None:
    x = np.full((1, 1, 8, 8, 8), 1e37, dtype=np.float32)
    y, trace = replay(load(name), x, 0.1, 3)
    assert np.isfinite(trace.output).all()
    assert np.isfinite(y).all()


@pytest.mark.parametrize("name", ["dropblock", "pytorch_toolbelt"])
@pytest.mark.parametrize("drop_prob", [-0.1, 10])
@finding("-0.1 drops nothing; 10, meant as 10 %, drops everything", pytest.fail.Exception)
def test_dropblock_and_toolbelt_refuse_what_is_no_probability(name: str, drop_prob: float) -> None:
    x = np.ones((1, 1, 28, 28), dtype=np.float32)
    with pytest.raises(ValueError, match="0"):
        load(name).forward(x, drop_prob, 7, training=True, seed=0)


# pytorch-toolbelt


@finding("the dropped cells of a map are counted in float16: more than 65504 of them make the scale 0")
def test_toolbelt_float16_with_more_than_65504_dropped_cells() -> None:
    x = values((1, 1, 512, 512), "float16")
    y, trace = replay(load("pytorch_toolbelt"), x, 0.9, 7)
    assert np.count_nonzero(~trace.keep_mask) > 65504
    assert np.array_equal(y != 0, trace.keep_mask)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@finding(
    "dropped cells are counted, and the scale rounded, in the dtype of x: 0.08 % off in float16, 0.4 % in bfloat16"
)
def test_toolbelt_half_precision_scale(dtype: str) -> None:
    size = {"float16": 83, "bfloat16": 512}[dtype]
    assert scale_error("pytorch_toolbelt", (1, 1, size, size), dtype, 0.9) < SMALL[dtype]


@finding("the scale of maps is computed in float32, so float64 has 24 bits: 5e-8 off here")
def test_toolbelt_float64_scale_of_maps() -> None:
    assert scale_error("pytorch_toolbelt", (1, 1, 64, 64), "float64", 0.1) < SMALL["float64"]


@finding("x * numel and the count overflow in float16: infinity / infinity is NaN for all kept cells")
def test_toolbelt_3d_float16_of_a_large_volume() -> None:
    y, _ = replay(load("pytorch_toolbelt"), values((1, 1, 48, 48, 48), "float16"), 0.1, 5)
    assert not np.isnan(y).any()


@finding("x * numel overflows in float16: kept values above 65504 / numel become infinite, here those above 64")
def test_toolbelt_3d_float16_large_values() -> None:
    y, _ = replay(load("pytorch_toolbelt"), np.full((1, 1, 8, 8, 16), 100, dtype=np.float16), 0.1, 3)
    assert np.isfinite(y).all()


@finding("DropBlockScheduled ignores start_value and makes one step too few: 0.2 instead of 0.25")
def test_toolbelt_schedule_reaches_its_stop_value() -> None:
    load("pytorch_toolbelt")
    import torch
    from pytorch_toolbelt.modules.dropblock import DropBlock2D, DropBlockScheduled

    layer = DropBlockScheduled(DropBlock2D(0.0, 3), start_value=0.0, stop_value=0.25, nr_steps=5)
    for _ in range(20):
        layer(torch.ones(1, 1, 4, 4))
    assert layer.dropblock.drop_prob == pytest.approx(0.25)


@finding("the step of DropBlockScheduled is saved, drop_prob is not: 0 instead of 0.2 after a checkpoint")
def test_toolbelt_schedule_goes_on_from_a_checkpoint() -> None:
    load("pytorch_toolbelt")
    import torch
    from pytorch_toolbelt.modules.dropblock import DropBlock2D, DropBlockScheduled

    def scheduled() -> Any:
        return DropBlockScheduled(DropBlock2D(0.0, 3), start_value=0.0, stop_value=0.25, nr_steps=5)

    layer, resumed = scheduled(), scheduled()
    for _ in range(20):
        layer(torch.ones(1, 1, 4, 4))
    resumed.load_state_dict(layer.state_dict())
    resumed(torch.ones(1, 1, 4, 4))
    assert resumed.dropblock.drop_prob == layer.dropblock.drop_prob


# keras-cv


@finding("the height of the eligible region is bounded by the width: rows 14 to 27 of 28x14 are never dropped")
def test_keras_cv_map_higher_than_wide() -> None:
    y = load("keras_cv").forward(np.ones((1, 28, 14, 500), dtype=np.float32), 0.1, 7, training=True, seed=0)
    dropped = (y == 0).mean(axis=(0, 2, 3))
    assert (dropped > 0).all()


@finding("the height of the eligible region is bounded by the width: blocks on 14x28 stick out of the map below")
def test_keras_cv_map_wider_than_high() -> None:
    x = np.ones((1, 14, 28, 500), dtype=np.float32)
    kept = load("keras_cv").forward(x, 0.1, 7, training=True, seed=0) != 0
    seeds = dropblock_ref.recover_seeds(kept, 7, data_format="NHWC", convention="keras_cv")
    explained = dropblock_ref.keep_mask(seeds, 7, data_format="NHWC", convention="keras_cv")
    assert np.array_equal(explained, kept)


@finding("gamma divides by size - block + 1, which is 0: everything is dropped and divided by 0, whatever the rate")
def test_keras_cv_block_one_larger_than_the_map() -> None:
    y = load("keras_cv").forward(np.ones((1, 5, 5, 100), dtype=np.float32), 0.1, 6, training=True, seed=0)
    assert np.isfinite(y).all()


@finding("gamma uses the block before it is clipped: 8 on 5x5 drops 2.5 % of the channels at 10 %")
def test_keras_cv_block_larger_than_the_map_drops_too_little() -> None:
    y = load("keras_cv").forward(np.ones((1, 5, 5, 10000), dtype=np.float32), 0.1, 8, training=True, seed=0)
    assert (y == 0).mean() == pytest.approx(0.1, abs=6 * math.sqrt(0.09 / 10000))


@finding("gamma uses the block before it is clipped: it is negative for (7, 3) on 5x5, which never drops")
def test_keras_cv_block_larger_than_the_map_on_one_axis_never_drops() -> None:
    y = load("keras_cv").forward(np.ones((1, 5, 5, 10000), dtype=np.float32), 0.5, (7, 3), training=True, seed=0)
    assert (y == 0).any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@finding("a layer computes in the global dtype policy, float32, unless it is given a dtype")
def test_keras_cv_keeps_the_dtype_by_default(dtype: str) -> None:
    x = values((1, 8, 8, 1), dtype)
    assert load("keras_cv").forward(x, 0.1, 3, training=True, seed=0).dtype == x.dtype


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@finding("mean(M) is computed in float32 and rounded to the layer's dtype before x is divided by it")
def test_keras_cv_scale_of_a_layer_with_that_dtype(dtype: str) -> None:
    load("keras_cv")
    from keras_cv.layers import DropBlock2D

    x = values((1, 60, 60, 8), dtype)
    y = np.asarray(DropBlock2D(0.1, 7, seed=0, dtype=dtype)(x, training=True))
    assert y.dtype == x.dtype
    seeds = dropblock_ref.recover_seeds(y != 0, 7, data_format="NHWC", convention="keras_cv")
    expected = dropblock_ref.drop_block(x, 0.1, 7, seeds=seeds, data_format="NHWC", convention="keras_cv")
    assert abs(float(y.astype(np.float64).sum() / expected.astype(np.float64).sum()) - 1) < SMALL[dtype]


@finding("Python's int() of a symbolic tensor: the layer works only eagerly, not in tf.function nor in fit", TypeError)
def test_keras_cv_in_a_graph() -> None:
    load("keras_cv")
    import tensorflow as tf
    from keras_cv.layers import DropBlock2D

    layer = DropBlock2D(0.1, 3, seed=0)
    tf.function(lambda x: layer(x, training=True))(tf.ones((1, 8, 8, 1)))
