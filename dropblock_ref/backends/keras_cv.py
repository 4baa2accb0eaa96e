"""The backend of keras-cv: `keras_cv.layers.DropBlock2D` (0.9.0), eager, on the tensorflow backend of Keras 3."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..testing.backend import Backend
from .tensorflow_bridge import backend_of_calls, import_tensorflow


def make() -> Backend:
    """Wrap keras-cv.

    Returns
    -------
    Backend
        Maps, channels last, int blocks or one side per axis. The layer has its default dtype policy, as in a user's
        model. A seed makes a new layer with that seed; with ``seed=None`` the layer goes on as long as `drop_prob` and
        `block_size` stay the same. The stream is replayed as
        ``keras.random.uniform(shape, seed=SeedGenerator(seed), dtype="float32")``.

    Examples
    --------
    ::

        from dropblock_ref import backends
        from dropblock_ref.testing import check_backend
        print(check_backend(backends.load("keras_cv")))
    """
    import_tensorflow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from keras_cv.layers import DropBlock2D

    current: dict[Any, Any] = {}  # the one layer that seed=None goes on with
    fresh = random.Random(0)  # noqa: S311  seeds of layers that nobody gave a seed

    def stream(seed: int | None) -> Callable[..., Any]:
        def call(x: Any, drop_prob: Any, block_size: Any, training: bool) -> Any:
            key = (drop_prob, block_size)
            if seed is not None:
                fresh.seed(seed)
            if seed is not None or key not in current:
                current.clear()
                current[key] = DropBlock2D(drop_prob, block_size, seed=fresh.getrandbits(31) if seed is None else seed)
            return current[key](x, training=training)

        return call

    return backend_of_calls(
        stream,
        name="keras_cv",
        convention="keras_cv",
        data_format="channels_last",
        dtypes=("float16", "bfloat16", "float32", "float64"),
        draw_seeds=draw_seeds,
    )


def draw_seeds(shape: Any, dtype: Any, drop_prob: float, block_size: Any, *, seed: int) -> NDArray[np.bool_]:  # noqa: ARG001
    """The draws of keras-cv, in float32 for every dtype, with its own idea of gamma and of eligible cells."""
    import keras

    if drop_prob == 0:
        return np.zeros(shape, dtype=np.bool_)
    _, H, W, _ = shape
    h, w = (block_size, block_size) if isinstance(block_size, int) else block_size
    clipped_h, clipped_w = min(h, H), min(w, W)
    # In the layer's order of operations and in float32, because rounding decides whether a cell is a seed.
    one = np.float32(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        gamma = (
            np.float32(drop_prob) * np.float32(H * W) / np.float32(clipped_h * clipped_w)
            / np.float32((W - w + 1) * (H - h + 1))
        )  # fmt: skip
    rows, columns = np.arange(H)[:, None], np.arange(W)
    fitting = (columns >= clipped_w // 2) & (columns < W - (clipped_w - 1) // 2)
    fitting = fitting & (rows >= clipped_h // 2) & (rows < W - (clipped_h - 1) // 2)  # W for H is keras-cv's
    noise = np.asarray(keras.random.uniform(shape, seed=keras.random.SeedGenerator(seed), dtype="float32"))
    seeds: NDArray[np.bool_] = np.logical_not((one - fitting[None, :, :, None]) + (one - gamma) + noise >= one)
    return seeds
