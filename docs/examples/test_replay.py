"""A DropBlock of NumPy arrays whose seeds are known: the strongest of the oracle's levels."""

import numpy as np

from dropblock_ref.testing import Backend, parametrize_with_checks


def draw(shape, drop_prob, b, rng):
    N, C, H, W = shape
    h, w = H - b + 1, W - b + 1
    seeds = np.zeros(shape, dtype=bool)
    inside = seeds[:, :, b // 2 : b // 2 + h, b // 2 : b // 2 + w]
    inside[:] = rng.random((N, C, h, w)) < drop_prob * H * W / (b * b * h * w)
    return seeds


def apply(x, seeds, b):
    keep = np.ones(x.shape, dtype=bool)
    for n, c, i, j in np.argwhere(seeds):
        keep[n, c, i - b // 2 : i - b // 2 + b, j - b // 2 : j - b // 2 + b] = False
    return (x * (keep * (keep.size / max(np.count_nonzero(keep), 1)))).astype(x.dtype)


def forward(x, drop_prob, block_size, *, training, seed):
    return apply(x, draw(x.shape, drop_prob, block_size, np.random.default_rng(seed)), block_size) if training else x


backend = Backend(
    name="mine",
    forward=forward,
    apply=apply,
    draw_seeds=lambda shape, dtype, p, b, *, seed: draw(shape, p, b, np.random.default_rng(seed)),
    dtypes=("float32", "float64"),
    accepts=lambda spatial_shape, block_size: isinstance(block_size, int),
)


@parametrize_with_checks([backend], checks="replay")
def test_known_seeds(backend, check):
    check(backend)
