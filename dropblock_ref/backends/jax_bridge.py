"""Backends from JAX: a function of a key and an array becomes a Backend, NumPy in and NumPy out.

jax is imported only when `from_jax` is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import check_callable
from ..convention import Convention
from ..testing.backend import Backend


def from_jax(
    function: Callable[..., Any],
    *,
    name: str,
    convention: Convention | str | None = None,
    data_format: str = "channels_last",
    spatial_ndims: tuple[int, ...] = (2,),
    dtypes: tuple[str, ...] | None = None,
    draw_seeds: Callable[..., Any] | None = None,
    accepts: Callable[[tuple[int, ...], Any], bool] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> Backend:
    """Wrap a JAX implementation.

    Parameters
    ----------
    function : callable
        ``function(key, x, drop_prob, block_size, training) -> Array``; all that it draws comes from `key`.
    name, convention, data_format, spatial_ndims, accepts, expected_failures
        As for `Backend`; the layout is channels last unless said otherwise.
    dtypes : tuple of str, optional
        As for `Backend`; by default float16, bfloat16, float32, and float64 if ``jax_enable_x64`` is set.
    draw_seeds : callable, optional
        ``draw_seeds(key, shape, dtype, drop_prob, block_size) -> Array`` of bool: makes the same draws as `function`
        does with that key, dtype being a ``numpy.dtype``.

    Returns
    -------
    Backend
        With `vjp` by ``jax.vjp``. It keeps a key, which a seed sets to ``jax.random.key(seed)``; each call splits it
        and gives the second half to `function`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind.
    ImportError
        If jax is not installed.

    Examples
    --------
    Any function of a key and an array will do; this one is Dropout, which is DropBlock with a block of 1, but for the
    scale:

    >>> from dropblock_ref.backends import from_jax
    >>> from dropblock_ref.testing import check_backend
    >>> def dropout(key, x, drop_prob, block_size, training):
    ...     import jax
    ...     return x * jax.random.bernoulli(key, 1 - drop_prob, x.shape) / (1 - drop_prob) if training else x
    >>> backend = from_jax(dropout, name="dropout")
    >>> report = check_backend(backend, checks=["evaluation_identity", "scale"])
    >>> [result.status for result in report.results]
    ['passed', 'failed']

    Compiled, a Backend of its own, because tracing freezes what is drawn without the key::

        compiled = jax.jit(drop_block, static_argnums=(2, 3))
        from_jax(lambda key, x, p, b, training: compiled(key, x, p, b) if training else x, name="mine, jax.jit")
    """
    import jax

    check_callable(function, "function")
    if dtypes is None:
        dtypes = ("float16", "bfloat16", "float32") + ("float64",) * bool(jax.config.jax_enable_x64)
    stream = jax.random.key(0)

    def next_key(seed: int | None) -> Any:
        nonlocal stream
        stream, key = jax.random.split(stream if seed is None else jax.random.key(seed))
        return key

    def forward(x: NDArray[Any], drop_prob: Any, block_size: Any, *, training: bool, seed: int | None) -> NDArray[Any]:
        return np.array(function(next_key(seed), jax.numpy.array(x), drop_prob, block_size, training))

    def vjp(
        x: NDArray[Any], cotangent: NDArray[Any], drop_prob: Any, block_size: Any, *, training: bool, seed: int | None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        key = next_key(seed)
        y, pull_back = jax.vjp(lambda x: function(key, x, drop_prob, block_size, training), jax.numpy.array(x))
        (x_bar,) = pull_back(jax.numpy.array(cotangent, dtype=y.dtype))
        return np.array(y), np.array(x_bar)

    def replay(shape: Any, dtype: Any, drop_prob: Any, block_size: Any, *, seed: int) -> NDArray[np.bool_]:
        assert draw_seeds is not None  # noqa: S101 (for the type checker)
        _, key = jax.random.split(jax.random.key(seed))
        return np.array(draw_seeds(key, tuple(shape), jax.numpy.dtype(dtype), drop_prob, block_size))

    return Backend(
        name=name,
        forward=forward,
        convention=convention,
        data_format=data_format,
        spatial_ndims=spatial_ndims,
        dtypes=dtypes,
        vjp=vjp,
        draw_seeds=None if draw_seeds is None else replay,
        accepts=accepts,
        expected_failures={} if expected_failures is None else expected_failures,
    )
