"""Backends from TensorFlow and Keras: a function of tensors becomes a Backend, NumPy in and NumPy out.

tensorflow is imported only when `from_tensorflow` is called.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import FLOATING_DTYPES, check_callable
from ..convention import Convention
from ..testing.backend import Backend


def from_tensorflow(
    function: Callable[..., Any],
    *,
    name: str,
    convention: Convention | str | None = None,
    data_format: str = "channels_last",
    spatial_ndims: tuple[int, ...] = (2,),
    dtypes: tuple[str, ...] = FLOATING_DTYPES,
    draw_seeds: Callable[..., Any] | None = None,
    accepts: Callable[[tuple[int, ...], Any], bool] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> Backend:
    """Wrap a TensorFlow or Keras implementation.

    Parameters
    ----------
    function : callable
        ``function(x, drop_prob, block_size, training) -> Tensor``, drawing from TensorFlow's global generators.
    name, convention, data_format, spatial_ndims, dtypes, accepts, expected_failures
        As for `Backend`; the layout is channels last unless said otherwise.
    draw_seeds : callable, optional
        ``draw_seeds(shape, dtype, drop_prob, block_size) -> Tensor`` of bool: makes the same draws as `function` does,
        dtype being a ``tf.DType``. It is seeded like `function`, and the stream begins anew behind it.

    Returns
    -------
    Backend
        With `vjp` by GradientTape. A seed is given to ``tf.random.set_seed``; with ``seed=None`` the stream goes on.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind.
    ImportError
        If tensorflow is not installed.

    Examples
    --------
    Any function of tensors will do; this one is Dropout, which is DropBlock with a block of 1, but for the scale:

    >>> from dropblock_ref.backends import from_tensorflow
    >>> from dropblock_ref.testing import check_backend
    >>> def dropout(x, drop_prob, block_size, training):
    ...     import tensorflow as tf
    ...     return tf.nn.dropout(x, drop_prob) if training else x
    >>> backend = from_tensorflow(dropout, name="dropout")
    >>> report = check_backend(backend, checks=["evaluation_identity", "scale"])
    >>> [result.status for result in report.results]
    ['passed', 'failed']

    In a graph, a Backend of its own, because tracing freezes what is drawn outside TensorFlow::

        graph = tf.function(drop_block)
        from_tensorflow(lambda x, p, b, training: graph(x, p, b) if training else x, name="mine, tf.function")
    """
    tf = import_tensorflow()
    check_callable(function, "function")

    def stream(seed: int | None) -> Callable[..., Any]:
        if seed is not None:
            tf.random.set_seed(seed)
        return function

    def replay(shape: Any, dtype: Any, drop_prob: Any, block_size: Any, *, seed: int) -> NDArray[np.bool_]:
        assert draw_seeds is not None  # noqa: S101 (for the type checker)
        tf.random.set_seed(seed)
        kind = tf.as_dtype(dtype if isinstance(dtype, str) else np.dtype(dtype).name)
        seeds = to_numpy(draw_seeds(tuple(shape), kind, drop_prob, block_size))
        tf.random.set_seed(seed)
        return seeds

    return backend_of_calls(
        stream,
        name=name,
        convention=convention,
        data_format=data_format,
        spatial_ndims=spatial_ndims,
        dtypes=dtypes,
        draw_seeds=None if draw_seeds is None else replay,
        accepts=accepts,
        expected_failures={} if expected_failures is None else expected_failures,
    )


def backend_of_calls(stream: Callable[[int | None], Callable[..., Any]], **fields: Any) -> Backend:
    """The Backend whose forward is ``stream(seed)(x, drop_prob, block_size, training)`` on tensors, with a gradient."""
    tf = import_tensorflow()

    def forward(x: NDArray[Any], drop_prob: Any, block_size: Any, *, training: bool, seed: int | None) -> NDArray[Any]:
        return to_numpy(stream(seed)(to_tensor(x), drop_prob, block_size, training))

    def vjp(
        x: NDArray[Any], cotangent: NDArray[Any], drop_prob: Any, block_size: Any, *, training: bool, seed: int | None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        leaf = to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(leaf)
            y = stream(seed)(leaf, drop_prob, block_size, training)
        x_bar = tape.gradient(
            y, leaf, tf.cast(to_tensor(cotangent), y.dtype), unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return to_numpy(y), to_numpy(x_bar)

    return Backend(forward=forward, vjp=vjp, **fields)


def import_tensorflow() -> Any:
    """The module tensorflow, without its messages and warnings while it is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow as tf
    return tf


def to_tensor(x: NDArray[Any]) -> Any:
    """The tensor of a copy of an array: TensorFlow never writes into a tensor, but may share its memory."""
    return import_tensorflow().constant(np.array(x, order="C"))


def to_numpy(tensor: Any) -> NDArray[Any]:
    """A writable copy of a tensor; bfloat16 is that of ml_dtypes."""
    array: NDArray[Any] = tensor.numpy().copy()
    return array
