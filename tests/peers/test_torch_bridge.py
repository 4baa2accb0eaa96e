"""from_torch: conversion, seeding, gradients, and how in-place, compiled and autocast variants are wrapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import dropblock_ref
from dropblock_ref import backends
from dropblock_ref.backends import torchvision_operators
from dropblock_ref.backends.torch_bridge import to_numpy, to_tensor

DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.transpose(0, 3, 1, 2),
    "every second cell": lambda x: x[..., ::2],
    "negative strides": lambda x: x[:, :, ::-1],
    "repeated": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "empty": lambda x: x[:0],
}


def numbers(dtype: Any) -> NDArray[Any]:
    return np.random.default_rng(0).uniform(-2, 2, (2, 3, 4, 6)).astype(dtype)


def torchvision_drop_block(x: torch.Tensor, p: float, b: int, training: bool) -> torch.Tensor:
    torchvision_operators.import_torchvision()
    from torchvision.ops import drop_block2d

    return drop_block2d(x, p, b, training=training)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_conversion_keeps_every_bit(dtype: Any, layout: str) -> None:
    x = LAYOUTS[layout](numbers(dtype))
    back = to_numpy(to_tensor(x))
    assert back.dtype == x.dtype
    assert back.shape == x.shape
    assert back.tobytes() == x.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("layout", "shared"),
    [("contiguous", True), ("transposed", True), ("every second cell", True), ("negative strides", False)],
)
def test_a_write_into_the_input_is_seen_where_torch_can_share_it(dtype: Any, layout: str, shared: bool) -> None:
    backend = backends.from_torch(lambda x, *_: x.zero_(), name="writes into x")
    x = LAYOUTS[layout](numbers(dtype))
    assert not backend.forward(x, 0.5, 3, training=True, seed=0).any()
    assert bool(x.any()) == (not shared)


def test_a_read_only_array_is_never_written_into() -> None:
    backend = backends.from_torch(lambda x, *_: x.zero_(), name="writes into x")
    x = numbers(np.float32)
    x.flags.writeable = False
    backend.forward(x, 0.5, 3, training=True, seed=0)
    assert x.any()


def test_a_seed_repeats_the_draw_and_none_goes_on_with_the_stream() -> None:
    backend = backends.load("torchvision")
    assert backend.draw_seeds is not None
    x = np.ones((2, 3, 16, 16), dtype=np.float32)
    first, second = (backend.forward(x, 0.3, 3, training=True, seed=seed) for seed in (7, None))
    assert not np.array_equal(first, second)
    again = backend.forward(x, 0.3, 3, training=True, seed=7)
    backend.draw_seeds(x.shape, "float32", 0.3, 3, seed=0)  # leaves the stream alone
    assert np.array_equal(again, first)
    assert np.array_equal(backend.forward(x, 0.3, 3, training=True, seed=None), second)


def test_a_dtype_is_named_or_given() -> None:
    backend = backends.load("torchvision")
    assert backend.draw_seeds is not None
    for name, dtype in (("float64", np.float64), ("bfloat16", np.dtype(ml_dtypes.bfloat16))):
        by_name, by_dtype = (backend.draw_seeds((1, 2, 8, 8), kind, 0.3, 3, seed=0) for kind in (name, dtype))
        assert np.array_equal(by_name, by_dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_of_what_writes_does_not_depend_on_x_or_changes_the_dtype(dtype: Any) -> None:
    x, cotangent = numbers(dtype), numbers(dtype)[::-1]

    def vjp(function: Callable[..., torch.Tensor]) -> tuple[NDArray[Any], NDArray[Any]]:
        backend = backends.from_torch(function, name="of this test")
        assert backend.vjp is not None
        y, x_bar = backend.vjp(x, cotangent, 0.5, 3, training=True, seed=0)
        assert x_bar.dtype == x.dtype
        return y, x_bar

    assert np.array_equal(vjp(lambda x, *_: x.mul_(2))[1], cotangent * dtype(2))
    assert np.array_equal(x, numbers(dtype))
    assert np.array_equal(vjp(lambda x, *_: x)[1], cotangent)
    assert not vjp(lambda x, *_: torch.zeros_like(x))[1].any()
    assert not vjp(lambda x, *_: torch.zeros_like(x).requires_grad_() * 1)[1].any()
    y, x_bar = vjp(lambda x, *_: x.double() * 4)
    assert y.dtype == np.float64
    assert np.array_equal(x_bar, cotangent * dtype(4))


def test_gradient_goes_on_with_the_stream() -> None:
    backend = backends.load("torchvision")
    assert backend.vjp is not None
    x = np.ones((2, 3, 16, 16), dtype=np.float32)
    first = backend.vjp(x, x, 0.3, 3, training=True, seed=7)
    second = backend.vjp(x, x, 0.3, 3, training=True, seed=None)
    assert np.array_equal(first[0], first[1])
    assert np.array_equal(second[0], second[1])
    assert not np.array_equal(first[0], second[0])


def test_tutorial_in_place() -> None:
    torchvision_operators.import_torchvision()
    from torchvision.ops import drop_block2d

    in_place = backends.from_torch(
        lambda x, p, b, training: drop_block2d(x, p, b, inplace=True, training=training),
        name="torchvision, in place",
        convention="torchvision",
    )
    on_a_copy = backends.from_torch(
        lambda x, p, b, training: drop_block2d(x.clone(), p, b, inplace=True, training=training),
        name="torchvision, in place on a copy",
        convention="torchvision",
    )
    x, plain = numbers(np.float32), backends.load("torchvision")
    expected = plain.forward(x, 0.5, 3, training=True, seed=0)
    assert np.array_equal(on_a_copy.forward(x, 0.5, 3, training=True, seed=0), expected)
    assert np.array_equal(x, numbers(np.float32))
    assert np.array_equal(in_place.forward(x, 0.5, 3, training=True, seed=0), expected)
    assert np.array_equal(x, expected)  # the oracle sees that the input is modified
    assert in_place.vjp is not None
    assert plain.vjp is not None
    x = numbers(np.float32)
    for got, wanted in zip(
        in_place.vjp(x, x, 0.5, 3, training=True, seed=0), plain.vjp(x, x, 0.5, 3, training=True, seed=0), strict=True
    ):
        assert np.array_equal(got, wanted)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_tutorial_compiled() -> None:
    compiled = torch.compile(torchvision_drop_block, dynamic=False)
    backend = backends.from_torch(compiled, name="torchvision, compiled", convention="torchvision")
    x = numbers(np.float32)[..., :4].repeat(4, axis=2).repeat(4, axis=3)
    assert np.array_equal(backend.forward(x, 0.3, 3, training=False, seed=0), x)
    outputs = [backend.forward(x, 0.3, 3, training=True, seed=seed) for seed in (0, None, 0, None)]
    for y in outputs:  # the compiler draws from a stream of its own, so the mask is read from y
        seeds = dropblock_ref.recover_seeds(y != 0, 3, convention="torchvision")
        expected = dropblock_ref.drop_block(x, 0.3, 3, seeds=seeds, convention="torchvision")
        np.testing.assert_allclose(y, expected, rtol=1e-6)
    assert np.array_equal(outputs[0], outputs[2])
    assert np.array_equal(outputs[1], outputs[3])
    assert not np.array_equal(outputs[0], outputs[1])  # the mask is not frozen into the graph


def test_tutorial_autocast() -> None:
    def autocast(x: torch.Tensor, p: float, b: int, training: bool) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return torchvision_drop_block(x, p, b, training)

    backend = backends.from_torch(autocast, name="torchvision, autocast", convention="torchvision")
    x = numbers(np.float32)
    y = backend.forward(x, 0.5, 3, training=True, seed=0)
    assert y.dtype == np.float32
    assert np.array_equal(y, backends.load("torchvision").forward(x, 0.5, 3, training=True, seed=0))


def test_what_is_not_callable_is_refused() -> None:
    with pytest.raises(TypeError, match="function must be callable"):
        backends.from_torch(3, name="three")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["torchvision", "timm", "timm_uncoupled", "dropblock", "pytorch_toolbelt"])
def test_packages_that_take_an_int_accept_equal_sides_only(name: str) -> None:
    backend = backends.load(name)
    x = numbers(np.float32)
    assert backend.supports((4, 6), 3)
    assert backend.supports((4, 6), (3, 3))
    assert not backend.supports((4, 6), (3, 1))
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        backend.forward(x, 0.5, (3, 3, 3), training=True, seed=0)
    assert np.array_equal(*(backend.forward(x, 0.5, block_size, training=True, seed=0) for block_size in (3, (3, 3))))


def test_importing_torchvision_again_does_nothing_and_other_errors_pass_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torchvision_operators.import_torchvision()
    torchvision_operators.import_torchvision()

    def broken(name: str) -> None:
        raise RuntimeError(f"{name} is broken")

    monkeypatch.setattr(torchvision_operators, "import_module", broken)
    with pytest.raises(RuntimeError, match="torchvision is broken"):
        torchvision_operators.import_torchvision()
