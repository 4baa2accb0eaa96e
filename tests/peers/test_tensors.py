"""What belongs to a framework as an argument: scalars, shapes and arrays, and advice that works for what is none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dropblock_ref import backends, drop_block, gamma, keep_mask, linear_schedule, sample_seeds, trace, valid_seeds, vjp
from dropblock_ref.testing import assert_drop_rate, check_backend

FRAMEWORKS = ("torch", "tensorflow", "jax")
X = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
Y = drop_block(X, 0.25, 3, rng=0)


def tensor(framework: str, value: Any, dtype: str) -> Any:
    if framework == "torch":
        import torch

        return torch.tensor(value, dtype=getattr(torch, dtype))
    if framework == "tensorflow":
        import tensorflow as tf

        return tf.constant(value, dtype)
    import jax.numpy as jnp

    return jnp.asarray(value, dtype)


def refused(call: Callable[..., Any], *arguments: Any, **named: Any) -> str:
    with pytest.raises(TypeError) as caught:
        call(*arguments, **named)
    return str(caught.value)


# Scalars and shapes


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_0d_tensors_are_probabilities(framework: str, dtype: str) -> None:
    quarter = tensor(framework, 0.25, dtype)
    assert np.array_equal(drop_block(X, quarter, 3, rng=0), Y)
    assert gamma(quarter, 3, (8, 8)) == gamma(0.25, 3, (8, 8))
    assert np.array_equal(sample_seeds(quarter, 3, X.shape, rng=0), sample_seeds(0.25, 3, X.shape, rng=0))
    assert linear_schedule(1, quarter, quarter, 3) == 0.25
    assert_drop_rate(Y, X, quarter, 3, false_alarm=tensor(framework, 2**-10, dtype))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_0d_tensors_are_integers(framework: str, dtype: str) -> None:
    three = tensor(framework, 3, dtype)
    expected = drop_block(X, 0.25, 3, rng=3)
    for block_size in (three, (three, 3), [three, three], tensor(framework, [3, 3], dtype)):
        assert np.array_equal(drop_block(X, 0.25, block_size, rng=three), expected)
    assert linear_schedule(three, 0, 1, three) == 1
    assert np.asarray(linear_schedule([0, three], 0, 1, three)).tolist() == [0, 1]
    assert np.array_equal(drop_block(X, 0.25, 3, training=tensor(framework, False, "bool")), X)
    assert check_backend(backends.load("numpy"), checks=["evaluation_identity"], seed=three).passed


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_is_no_number_is_none_in_a_tensor_either(framework: str) -> None:
    for value, dtype in ((True, "bool"), ([0.25], "float32"), ([[0.25]], "float32"), (0.25, "complex64")):
        assert refused(drop_block, X, tensor(framework, value, dtype), 3, rng=0).startswith("drop_prob must be a real")
    for value, dtype in ((True, "bool"), (3.0, "float32")):
        assert refused(drop_block, X, 0.25, tensor(framework, value, dtype), rng=0).startswith("block_size must be an")
        assert refused(drop_block, X, 0.25, (3, tensor(framework, value, dtype)), rng=0).startswith(
            "block_size[1] must"
        )
        assert refused(drop_block, X, 0.25, 3, rng=tensor(framework, value, dtype)).startswith("rng must be a")
    assert refused(drop_block, X, 0.25, 3, rng=tensor(framework, [3], "int32")).startswith("rng must be a")
    assert refused(drop_block, X, 0.25, 3, rng=0, training=tensor(framework, 1, "int32")).startswith("training must")
    with pytest.raises(ValueError, match=r"drop_prob must be a real number in \[0, 1\], got"):
        drop_block(X, tensor(framework, float("nan"), "float32"), 3, rng=0)
    assert "True or False among numbers" in refused(linear_schedule, [tensor(framework, True, "bool"), 3], 0, 1, 5)


def test_the_shapes_of_frameworks_are_shapes() -> None:
    import jax.numpy as jnp
    import tensorflow as tf
    import torch

    expected = sample_seeds(0.1, 3, X.shape, rng=0)
    for shape in (
        torch.ones(X.shape).shape,
        tf.ones(X.shape).shape,
        tf.shape(tf.ones(X.shape)),
        jnp.ones(X.shape).shape,
    ):
        assert np.array_equal(sample_seeds(0.1, 3, shape, rng=0), expected)
        assert valid_seeds(3, shape[2:]).shape == (8, 8)


def test_a_shape_of_which_a_dimension_is_unknown_is_refused() -> None:
    import tensorflow as tf

    assert refused(sample_seeds, 0.1, 3, tf.TensorShape([None, 3, 8, 8]), rng=0).startswith(
        "shape[0] must be an integer"
    )
    assert refused(sample_seeds, 0.1, 3, tf.TensorShape(None), rng=0).startswith("shape must be a sequence")


# Arrays


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_tensors_are_arrays_and_keep_their_dtype(framework: str, dtype: str) -> None:
    import ml_dtypes

    if framework == "jax" and dtype == "float64":
        dtype = "float32"  # which JAX makes of it unless told otherwise
    x = tensor(framework, X, dtype)
    array = X.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    seeds = sample_seeds(0.1, 3, X.shape, rng=0)
    stages, expected = (
        trace(each, 0.25, 3, seeds=s) for each, s in ((x, tensor(framework, seeds, "bool")), (array, seeds))
    )
    assert type(stages.output) is np.ndarray
    assert stages.output.dtype.name == dtype
    assert stages.output.tobytes() == expected.output.tobytes()
    assert vjp(x, stages).tobytes() == vjp(array, expected).tobytes()
    assert np.array_equal(keep_mask(tensor(framework, seeds, "bool"), 3), expected.keep_mask)
    assert drop_block(list(x), 0.25, 3, seeds=list(seeds)).tobytes() == expected.output.tobytes()
    assert np.array_equal(np.asarray(tensor(framework, X, "float32")), X)  # not modified


def test_a_tensorflow_variable_is_an_array() -> None:
    import tensorflow as tf

    assert np.array_equal(drop_block(tf.Variable(X), 0.25, 3, rng=0), Y)


def test_every_bfloat16_of_torch_arrives_bit_for_bit() -> None:
    import torch

    bits = np.arange(2**16, dtype=np.uint16).view(np.int16).reshape(1, 1, 256, 256)
    x = torch.from_numpy(bits.copy()).view(torch.bfloat16)
    for each in (x, x.transpose(2, 3).transpose(2, 3), x[:, :, ::2, 1::3]):
        given = drop_block(each, 0, 1)
        assert given.dtype.name == "bfloat16"
        assert given.view(np.int16).tolist() == each.contiguous().view(torch.int16).tolist()


def test_bfloat16_of_torch_without_ml_dtypes_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    message = refused(drop_block, torch.from_numpy(X).bfloat16(), 0.25, 3, rng=0)
    assert message.endswith("bfloat16 needs the package ml_dtypes: pip install ml_dtypes")


# Advice, followed to the letter


def follow(x: Any, **names: Any) -> None:
    """What the message tells to pass, evaluated where x and `names` are known, must be accepted and give Y."""
    message = refused(drop_block, x, 0.25, 3, rng=0)
    advice = message.rpartition("pass ")[2].partition(", which")[0]
    assert np.array_equal(drop_block(eval(advice, {"x": x, **names}), 0.25, 3, rng=0), Y)  # noqa: S307
    inside = refused(drop_block, [x], 0.25, 3, rng=0)
    assert (
        advice.replace("x", "x[0]", 1) in inside
        or advice.replace("(x)", "(x[0])") in inside
        or "must have dtype" in inside
    )


TORCH_TENSORS: dict[str, Callable[[Any, Any], Any]] = {
    "requires grad": lambda _, x: x.clone().requires_grad_(),
    "parameter": lambda torch, x: torch.nn.Parameter(x),
    "result": lambda torch, x: torch.nn.Parameter(x) * 1,
    "sparse": lambda _, x: x.to_sparse(),
    "sparse that requires grad": lambda _, x: x.to_sparse().requires_grad_(),
    "negative bit": lambda torch, x: torch._neg_view(-x),
    "imaginary part of a conjugate": lambda torch, x: torch.complex(x, -x).conj().imag,
}


@pytest.mark.parametrize("kind", TORCH_TENSORS)
def test_advice_for_torch_works(kind: str) -> None:
    import torch

    follow(TORCH_TENSORS[kind](torch, torch.from_numpy(X)))


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_advice_for_torch_tensors_that_lose_digits_works() -> None:
    import torch

    ones = torch.ones(X.shape)
    for x in (torch.quantize_per_tensor(ones, 0.5, 0, torch.quint8), ones.to(torch.float8_e4m3fn)):
        advice = refused(drop_block, x, 0.25, 3, rng=0).rpartition("pass ")[2]
        y = drop_block(eval(advice, {"x": x}), 0.25, 3, rng=0)  # noqa: S307
        assert np.array_equal(y, drop_block(np.ones(X.shape, dtype=np.float32), 0.25, 3, rng=0))


def test_a_bfloat16_tensor_that_requires_grad_or_has_its_sign_pending_is_not_converted_in_silence() -> None:
    import torch

    x = torch.from_numpy(X).bfloat16()
    for each, advice in ((x.clone().requires_grad_(), "pass x.detach()"), (torch._neg_view(x), "pass x.resolve_neg()")):
        assert refused(drop_block, each, 0.25, 3, rng=0).endswith(advice)
    assert np.array_equal(drop_block(torch._neg_view(x).resolve_neg(), 0, 1), -drop_block(x, 0, 1))


def test_a_torch_tensor_on_another_device_is_to_be_copied() -> None:
    import torch

    class Elsewhere(torch.Tensor):  # type: ignore[misc]  # no other device is at hand
        device = torch.device("cuda")

        def __array__(self, *_: Any, **__: Any) -> Any:
            raise TypeError("can't convert cuda:0 device type tensor to numpy.")

    x = torch.from_numpy(X).as_subclass(Elsewhere).requires_grad_()
    assert refused(drop_block, x, 0.25, 3, rng=0).endswith("pass x.detach().cpu()")


def test_advice_for_a_meta_tensor_works() -> None:
    import torch

    x = torch.empty(X.shape, device="meta")
    message = refused(drop_block, x, 0.25, 3, rng=0)
    assert message.endswith(
        "on the device 'meta' it has no values; make one that has, as torch.zeros_like(x, device='cpu') does"
    )
    assert not drop_block(torch.zeros_like(x, device="cpu"), 0.25, 3, rng=0).any()


def test_advice_for_a_nested_tensor_works() -> None:
    import torch

    x = torch.nested.nested_tensor([torch.from_numpy(X)] * 2, layout=torch.jagged)
    assert refused(drop_block, x, 0.25, 3, rng=0).endswith("it is nested; pass the tensors of x.unbind() one at a time")
    assert all(np.array_equal(drop_block(each, 0.25, 3, rng=0), Y) for each in x.unbind())


def test_a_complex_torch_tensor_is_told_that_real_numbers_are_wanted() -> None:
    import torch

    x = torch.from_numpy(X).to(torch.complex64)
    assert "complex64" in refused(drop_block, x, 0.25, 3, rng=0)
    assert refused(drop_block, x.conj(), 0.25, 3, rng=0).endswith("it is complex, and only real numbers are accepted")


def test_advice_under_the_transforms_of_torch_works() -> None:
    import torch

    x = torch.from_numpy(X)
    advice = "under torch.func it has no values of its own; call this outside, trace for a mask, and multiply by that"
    for transform in (torch.func.vmap, torch.func.grad):
        assert refused(transform(lambda each: drop_block(each, 0.25, 3, rng=0)), x).endswith(advice)
    stages = trace(np.ones(X.shape, dtype=X.dtype), 0.25, 3, rng=0)
    weights = torch.from_numpy(stages.keep_mask * np.float32(stages.scale))
    assert np.array_equal(torch.func.vmap(torch.mul)(x, weights), Y)
    assert np.array_equal(torch.func.grad(lambda each: (each * weights).sum())(x), weights)


def test_advice_for_a_jax_tracer_works() -> None:
    import jax
    import jax.numpy as jnp

    def direct(x: Any) -> Any:
        return jnp.asarray(drop_block(x, 0.25, 3, rng=0))

    def function(x: Any) -> Any:
        return drop_block(x, 0.25, 3, rng=0)

    def advised(x: Any) -> Any:
        result_shape_dtypes = jax.ShapeDtypeStruct(x.shape, x.dtype)
        call = refused(direct, x).partition("call NumPy code through ")[2]
        names = {"jax": jax, "function": function, "result_shape_dtypes": result_shape_dtypes, "x": x}
        return eval(call, names)  # noqa: S307

    x = jnp.asarray(X)
    assert np.array_equal(jax.jit(advised)(x), Y)
    for batched in (jax.vmap(advised), jax.jit(jax.vmap(advised)), jax.vmap(jax.jit(advised))):
        assert np.array_equal(batched(x[None]), Y[None])
    for derived in (jax.grad(lambda x: advised(x).sum()), jax.jit(jax.grad(lambda x: jax.jit(advised)(x).sum()))):
        assert not derived(x).any()
    assert "jax.lax.stop_gradient(drop_prob)" in refused(jax.jit(lambda p: drop_block(X, p, 3, rng=0)), 0.25)


def test_a_key_of_jax_is_no_seed() -> None:
    import jax

    assert refused(drop_block, X, 0.25, 3, rng=jax.random.key(0)).endswith(
        "a key of jax.random is no number; pass an int"
    )


def test_advice_for_a_sparse_jax_array_works() -> None:
    from jax.experimental import sparse

    follow(sparse.BCOO.fromdense(X))


def test_advice_for_tensorflows_own_kinds_works() -> None:
    import tensorflow as tf

    follow(tf.sparse.from_dense(X), tf=tf)
    follow(tf.RaggedTensor.from_tensor(X), tf=tf)
    follow(tf.IndexedSlices(tf.constant(X), tf.range(2), dense_shape=tf.constant(X.shape)), tf=tf)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_advice_under_tf_function_works(jit_compile: bool) -> None:
    import tensorflow as tf

    def function(x: Any) -> Any:
        return drop_block(x, 0.25, 3, rng=0)

    def advised(x: Any) -> Any:
        call = refused(function, x).partition("call NumPy code through ")[2]
        return eval(call, {"tf": tf, "function": function, "x": x, "Tout": x.dtype})  # noqa: S307

    assert np.array_equal(tf.function(advised, autograph=False)(tf.constant(X)), Y)
    message = refused(tf.function(function, autograph=False, jit_compile=jit_compile), tf.constant(X))
    assert message.endswith("call NumPy code through tf.numpy_function(function, [x], Tout)")
    assert "[drop_prob]" in refused(
        tf.function(lambda p: drop_block(X, p, 3, rng=0), autograph=False), tf.constant(0.25)
    )


def test_advice_for_a_keras_tensor_works() -> None:
    import keras

    inputs = keras.Input(X.shape[1:])
    x = keras.layers.Identity()(inputs)
    message = refused(drop_block, x, 0.25, 3, rng=0)
    assert message.endswith("it has no values yet; call keras.Model(inputs, x) on an array, and pass what that returns")
    assert np.array_equal(drop_block(keras.Model(inputs, x)(X), 0.25, 3, rng=0), Y)


def test_an_array_of_cupy_is_told_its_get() -> None:
    class Array:  # stands for cupy.ndarray, which needs a GPU
        __module__ = "cupy"

        def __array__(self, *_: Any, **__: Any) -> Any:
            raise TypeError("Implicit conversion to a NumPy array is not allowed.")

        def get(self) -> Any:
            return X

    follow(Array())
