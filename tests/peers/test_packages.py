"""The reference against the published packages: same random stream, so the same masks, values and gradients.

What a package does wrongly is left out here by name (SOUND) and is a strict expected failure in test_findings.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import dropblock_ref
from dropblock_ref import backends
from dropblock_ref.testing.backend import Backend

MAX_ULPS = 4.0
MANTISSA_BITS = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}

# (package, rank) -> the dtypes in which it computes what it means to
SOUND = {
    ("torchvision", 2): ("float16", "bfloat16", "float32", "float64"),
    ("torchvision", 3): ("float16", "bfloat16", "float32", "float64"),
    ("timm", 2): ("float16", "bfloat16", "float32"),
    ("timm_uncoupled", 2): ("float16", "bfloat16", "float32"),
    ("dropblock", 2): ("float32", "float64"),
    ("dropblock", 3): ("float32", "float64"),
    ("pytorch_toolbelt", 2): ("float16", "bfloat16", "float32"),
    ("pytorch_toolbelt", 3): ("float16", "bfloat16", "float32", "float64"),
    ("keras_cv", 2): ("float32",),
}
PACKAGES = pytest.mark.parametrize(("name", "spatial_ndim"), list(SOUND))
EXAMPLES = settings(
    max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)

load = cache(backends.load)


@dataclass(frozen=True)
class Case:
    shape: tuple[int, ...]
    dtype: str
    drop_prob: float
    block_size: Any
    seed: int


@st.composite
def cases(draw: st.DrawFn, name: str, spatial_ndim: int) -> Case:
    side = st.integers(1, 8 if spatial_ndim == 2 else 5)
    spatial_shape = tuple(draw(st.lists(side, min_size=spatial_ndim, max_size=spatial_ndim)))
    block_size: Any = draw(st.integers(1, 9))
    if name == "keras_cv":  # square maps, blocks not larger than the map
        spatial_shape = spatial_shape[:1] * 2
        side = st.integers(1, spatial_shape[0])
        block_size = draw(side | st.tuples(side, side))
    backend = load(name)
    assume(backend.supports(spatial_shape, block_size))
    samples, channels = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    first = backend.data_format == "channels_first"
    return Case(
        shape=(samples, channels, *spatial_shape) if first else (samples, *spatial_shape, channels),
        dtype=draw(st.sampled_from(SOUND[name, spatial_ndim])),
        drop_prob=draw(st.sampled_from([0.0, 1e-12, 0.1, 0.5, 1 - 2**-53, 1.0]) | st.floats(0, 1)),
        block_size=block_size,
        seed=draw(st.integers(0, 2**32 - 1)),
    )


def without_zeros(shape: tuple[int, ...], dtype: str, seed: int) -> NDArray[Any]:
    import ml_dtypes

    rng = np.random.default_rng(seed)
    x = rng.uniform(0.5, 2, shape) * rng.choice([-1, 1], shape)
    array: NDArray[Any] = x.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    return array


def ulps_off(values: NDArray[Any], expected: NDArray[np.float64]) -> float:
    """The largest distance in units in the last place of the values' dtype; NaN agrees with NaN."""
    assert np.array_equal(np.isnan(values.astype(np.float64)), np.isnan(expected))
    ulp = np.ldexp(1.0, np.frexp(expected)[1] - 1 - MANTISSA_BITS[values.dtype.name])
    off = np.abs(values.astype(np.float64) - expected) / ulp
    return float(np.nanmax(off, initial=0.0))


def reference(backend: Backend, case: Case, x: NDArray[Any]) -> dropblock_ref.Trace:
    """The reference with the seeds that the package draws."""
    assert backend.draw_seeds is not None
    seeds = backend.draw_seeds(case.shape, case.dtype, case.drop_prob, case.block_size, seed=case.seed)
    trace = dropblock_ref.trace(
        x,
        case.drop_prob,
        case.block_size,
        seeds=seeds,
        data_format=backend.data_format,
        convention=backend.rules,
    )
    # timm and torchvision guard the division by an epsilon, which overflows in float16: see the findings.
    assume(trace.keep_mask.any() or case.dtype != "float16" or backend.rules.all_dropped == "nan")
    return trace


@PACKAGES
def test_same_masks_and_values_as_the_package(name: str, spatial_ndim: int) -> None:
    backend = load(name)

    @EXAMPLES
    @given(case=cases(name, spatial_ndim))
    def check(case: Case) -> None:
        x = without_zeros(case.shape, case.dtype, case.seed)
        trace = reference(backend, case, x)
        y = backend.forward(x, case.drop_prob, case.block_size, training=True, seed=case.seed)
        assert y.dtype == x.dtype
        assert y.shape == x.shape
        kept = (y != 0) & ~np.isnan(y)
        assert np.array_equal(kept, np.broadcast_to(trace.keep_mask, x.shape))
        product = x.astype(np.float64) * trace.keep_mask * trace.scale
        assert ulps_off(y, product) <= MAX_ULPS
        assert ulps_off(trace.output, product) <= 1.5

    check()


@PACKAGES
def test_same_gradient_as_autograd_through_the_package(name: str, spatial_ndim: int) -> None:
    backend = load(name)
    assert backend.vjp is not None

    @settings(EXAMPLES, max_examples=100)
    @given(case=cases(name, spatial_ndim))
    def check(case: Case) -> None:
        assert backend.vjp is not None
        x = without_zeros(case.shape, case.dtype, case.seed)
        cotangent = without_zeros(case.shape, case.dtype, case.seed + 1)
        trace = reference(backend, case, x)
        y, x_bar = backend.vjp(x, cotangent, case.drop_prob, case.block_size, training=True, seed=case.seed)
        assert np.array_equal(
            y, backend.forward(x, case.drop_prob, case.block_size, training=True, seed=case.seed), equal_nan=True
        )
        assert x_bar.dtype == x.dtype
        product = cotangent.astype(np.float64) * trace.keep_mask * trace.scale
        assert ulps_off(x_bar, product) <= MAX_ULPS
        assert ulps_off(dropblock_ref.vjp(cotangent, trace), product) <= 1.5

    check()


@PACKAGES
def test_identity_without_training(name: str, spatial_ndim: int) -> None:
    backend = load(name)
    x = without_zeros((2, *(5,) * spatial_ndim, 3), "float32", 0)
    assert np.array_equal(backend.forward(x, 0.5, 3, training=False, seed=0), x)


def gamma_of_package(name: str, case: Case) -> float:
    """The number that the package itself computes, caught on its way to the generator."""
    backend = load(name)
    x = without_zeros(case.shape, "float32", 0)
    if name == "keras_cv":
        from keras_cv.src.layers.regularization import dropblock_2d

        scalars: list[float] = []

        def cast(value: Any, dtype: Any, cast: Any = dropblock_2d.ops.cast) -> Any:
            if getattr(value, "shape", None) == () and str(getattr(value, "dtype", "")).endswith("float32'>"):
                scalars.append(float(value))
            return cast(value, dtype)

        with mock.patch.object(dropblock_2d.ops, "cast", cast):
            backend.forward(x, case.drop_prob, case.block_size, training=True, seed=0)
        return 1 - scalars[0]
    if name in ("dropblock", "pytorch_toolbelt"):
        import torch

        drawn: list[float] = []
        less = torch.Tensor.__lt__

        def spy_less(tensor: torch.Tensor, other: Any) -> Any:
            drawn.append(other)
            return less(tensor, other)

        with mock.patch.object(torch.Tensor, "__lt__", spy_less):
            backend.forward(x, case.drop_prob, case.block_size, training=True, seed=0)
        return drawn[0]
    import torch

    caught: list[float] = []
    bernoulli = torch.Tensor.bernoulli_

    def spy(tensor: torch.Tensor, p: float) -> torch.Tensor:
        caught.append(p)
        return bernoulli(tensor, p)

    with mock.patch.object(torch.Tensor, "bernoulli_", spy):
        backend.forward(x, case.drop_prob, case.block_size, training=True, seed=0)
    return caught[0]


@PACKAGES
def test_same_gamma_as_the_package(name: str, spatial_ndim: int) -> None:
    backend = load(name)

    @settings(EXAMPLES, max_examples=100)
    @given(case=cases(name, spatial_ndim))
    def check(case: Case) -> None:
        assume(case.drop_prob > 0)
        spatial_shape = case.shape[2:] if backend.data_format == "channels_first" else case.shape[1:-1]
        expected = dropblock_ref.gamma(case.drop_prob, case.block_size, spatial_shape, convention=backend.rules)
        # keras-cv computes 1 - gamma in float32
        tolerance = 2**-22 if name == "keras_cv" else 1e-12 * expected
        assert abs(gamma_of_package(name, case) - expected) <= tolerance

    check()
