"""A DropBlock of NumPy arrays, and its tests."""

import numpy as np

from dropblock_ref.testing import Backend, parametrize_with_checks


def drop_block(x, drop_prob, block_size, rng):
    """DropBlock of x with shape (N, C, H, W), in training."""
    H, W = x.shape[2:]
    bh, bw = np.broadcast_to(block_size, 2)
    if not (0 <= drop_prob <= 1 and 1 <= bh <= H and 1 <= bw <= W):
        raise ValueError(f"drop_prob {drop_prob} or block_size {block_size} is wrong for maps of {H}x{W}")
    h, w = H - bh + 1, W - bw + 1  # the number of places for a block
    gamma = drop_prob * H * W / (bh * bw * h * w)
    corners = rng.random((*x.shape[:2], h, w)) < gamma  # the first cell of each dropped block
    keep = np.ones(x.shape, dtype=bool)
    for i, j in np.ndindex(bh, bw):
        keep[:, :, i : i + h, j : j + w] &= ~corners
    scale = keep.size / max(np.count_nonzero(keep), 1)
    return (x * (keep * scale)).astype(x.dtype)


stream = np.random.default_rng(0)


def forward(x, drop_prob, block_size, *, training, seed):
    global stream
    if seed is not None:  # None: do not reseed, go on with the stream
        stream = np.random.default_rng(seed)
    return drop_block(x, drop_prob, block_size, stream) if training else x


backend = Backend(name="mine", forward=forward, dtypes=("float16", "float32", "float64"))


@parametrize_with_checks([backend])
def test_drop_block(backend, check):
    check(backend)
