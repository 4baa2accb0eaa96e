"""A DropBlock of JAX arrays, plain and compiled, and its tests."""

import jax
import jax.numpy as jnp

from dropblock_ref.backends import from_jax
from dropblock_ref.testing import parametrize_with_checks

# The checks try many shapes, each of them a few times: compiling quickly counts for more than running quickly.
jax.config.update("jax_disable_most_optimizations", True)


def drop_block(key, x, drop_prob, block_size):
    """DropBlock of x with shape (N, H, W, C), in training."""
    N, H, W, C = x.shape
    b = block_size
    if not (0 <= drop_prob <= 1 and 1 <= b <= min(H, W)):
        raise ValueError(f"drop_prob {drop_prob} or block_size {b} is wrong for maps of {H}x{W}")
    h, w = H - b + 1, W - b + 1  # the number of places for a block
    gamma = drop_prob * H * W / (b * b * h * w)
    corners = jax.random.bernoulli(key, gamma, (N, h, w, C))  # the first cell of each dropped block
    around = ((0, 0), (b - 1, b - 1), (b - 1, b - 1), (0, 0))
    keep = ~jax.lax.reduce_window(corners, False, jnp.logical_or, (1, b, b, 1), (1, 1, 1, 1), around)
    scale = keep.size / jnp.maximum(keep.sum(), 1)  # float32 for every dtype of x
    return x * keep * scale.astype(x.dtype)


def backend(name, function, dtypes):
    def in_training(key, x, drop_prob, block_size, training):
        return function(key, x, drop_prob, block_size) if training else x

    accepts = lambda spatial_shape, block_size: isinstance(block_size, int)
    return from_jax(in_training, name=name, dtypes=dtypes, accepts=accepts)


compiled = jax.jit(drop_block, static_argnames=("drop_prob", "block_size"))


@parametrize_with_checks([backend("compiled", compiled, ("float32",))], checks="quick")
def test_compiled(backend, check):
    check(backend)


@parametrize_with_checks(
    [backend("plain", drop_block, ("bfloat16",))],
    checks=["quick", "bad_arguments", "legal_blocks", "scale", "low_precision", "stream_goes_on", "map_rate"],
)
def test_plain(backend, check):
    check(backend)
