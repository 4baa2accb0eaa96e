"""backends.load and backends.installed, and the small NumPy backend."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec as true_find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dropblock_ref
from dropblock_ref import backends


def test_all_published_packages_are_installed_and_load() -> None:
    assert backends.installed() == backends.NAMES[1:]
    for name in backends.NAMES:
        backend = backends.load(name)
        assert backend.name == name
        assert backend.rules.name == ("paper" if name == "numpy" else name)
        assert not backend.expected_failures


def test_a_framework_is_imported_only_when_its_backend_is_asked_for() -> None:
    program = (
        "import sys; from dropblock_ref import backends; backends.installed(); backends.load('numpy'); "
        "print(sorted({'torch', 'torchvision', 'timm', 'tensorflow', 'keras', 'jax', 'ml_dtypes'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"name must be one of 'numpy', 'torchvision'.*got 'tensorflow'"):
        backends.load("tensorflow")
    with pytest.raises(TypeError, match="name must be one of"):
        backends.load(3)  # type: ignore[arg-type]


def test_a_package_that_is_not_installed_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name == "timm" else true_find_spec(name))
    assert "timm" not in backends.installed()
    assert "torchvision" in backends.installed()
    with pytest.raises(ImportError, match="backend 'timm' needs timm; pip install torch torchvision timm"):
        backends.load("timm")


@settings(max_examples=300, derandomize=True, deadline=None)
@given(data=st.data())
def test_the_numpy_backend_agrees_with_the_reference(data: st.DataObject) -> None:
    import ml_dtypes

    backend = backends.load("numpy")
    assert backend.draw_seeds is not None
    assert backend.vjp is not None
    assert backend.apply is not None
    spatial_shape = data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=3))
    block_size: Any = tuple(data.draw(st.integers(1, size)) for size in spatial_shape)
    if data.draw(st.booleans()):
        block_size = min(block_size)
    drop_prob, seed = data.draw(st.floats(0, 1)), data.draw(st.integers(0, 2**32 - 1))
    dtype = data.draw(st.sampled_from([np.float16, ml_dtypes.bfloat16, np.float32, np.float64]))
    x = np.random.default_rng(seed).uniform(0.5, 2, (data.draw(st.integers(0, 2)), 3, *spatial_shape)).astype(dtype)

    seeds = backend.draw_seeds(x.shape, dtype, drop_prob, block_size, seed=seed)
    trace = dropblock_ref.trace(x, drop_prob, block_size, seeds=seeds)
    y, x_bar = backend.vjp(x, -x, drop_prob, block_size, training=True, seed=seed)
    assert y.dtype == x_bar.dtype == x.dtype
    assert np.array_equal(y != 0, trace.keep_mask)
    for got, wanted in (
        (y, trace.output),
        (backend.forward(x, drop_prob, block_size, training=True, seed=seed), trace.output),
        (x_bar, dropblock_ref.vjp(-x, trace)),
        (backend.apply(x, trace.seeds, block_size), trace.output),
    ):
        np.testing.assert_allclose(
            got.astype(np.float64), wanted.astype(np.float64), rtol=2 * float(ml_dtypes.finfo(dtype).eps)
        )


@pytest.mark.parametrize(
    ("drop_prob", "block_size"),
    [(-0.1, 3), (1.1, 3), (float("nan"), 3), (0.5, 0), (0.5, 9), (0.5, (3, 3, 3)), (0.5, 2.5)],
)
def test_the_numpy_backend_refuses_bad_arguments(drop_prob: float, block_size: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"must be|not iterable"):
        backends.load("numpy").forward(np.ones((1, 1, 8, 8)), drop_prob, block_size, training=True, seed=0)
    with pytest.raises(ValueError, match="x must have 4 or 5 dimensions"):
        backends.load("numpy").forward(np.ones((1, 8, 8)), 0.5, 3, training=True, seed=0)


def test_the_numpy_backend_goes_on_with_its_stream_and_is_the_identity_without_training() -> None:
    backend = backends.load("numpy")
    x = np.ones((2, 3, 16, 16), dtype=np.float32)
    outputs = [backend.forward(x, 0.3, 3, training=True, seed=seed) for seed in (7, None, 7, None)]
    assert np.array_equal(outputs[0], outputs[2])
    assert np.array_equal(outputs[1], outputs[3])
    assert not np.array_equal(outputs[0], outputs[1])
    y = backend.forward(x, 0.3, 3, training=False, seed=0)
    assert np.array_equal(y, x)
    assert not np.shares_memory(y, x)
