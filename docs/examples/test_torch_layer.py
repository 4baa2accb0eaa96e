"""A DropBlock layer of PyTorch, plain, in place and compiled, and its tests."""

import functools

import torch
import torch.nn.functional as F

from dropblock_ref.backends import from_torch
from dropblock_ref.testing import parametrize_with_checks


class DropBlock2d(torch.nn.Module):
    def __init__(self, drop_prob, block_size, inplace=False):
        super().__init__()
        if not 0 <= drop_prob <= 1 or not isinstance(block_size, int) or block_size < 1:
            raise ValueError(f"drop_prob {drop_prob} or block_size {block_size} is wrong")
        self.drop_prob, self.block_size, self.inplace = drop_prob, block_size, inplace

    def draw_seeds(self, shape, device=None):
        """Where blocks are centred: True only where the whole block lies in the map."""
        b, (N, C, H, W) = self.block_size, shape
        if b > min(H, W):
            raise ValueError(f"block_size {b} does not fit a map of {H}x{W}")
        h, w = H - b + 1, W - b + 1  # the number of places for a block
        gamma = self.drop_prob * H * W / (b * b * h * w)
        return F.pad(torch.rand(N, C, h, w, device=device) < gamma, (b // 2, (b - 1) // 2) * 2)

    def forward(self, x):
        if not self.training or self.drop_prob == 0:
            return x
        b = self.block_size
        seeds = self.draw_seeds(x.shape, x.device).float()
        keep = F.max_pool2d(F.pad(seeds, ((b - 1) // 2, b // 2) * 2), b, stride=1) == 0
        kept = keep.sum().clamp(min=1)  # an integer; in half precision a count rounds or overflows
        scale = keep.numel() / kept.to(torch.promote_types(x.dtype, torch.float32))
        return x.mul_(keep).mul_(scale) if self.inplace else x * keep * scale


def plain(x, drop_prob, block_size, training):
    return DropBlock2d(drop_prob, block_size).train(training)(x)


def in_place(x, drop_prob, block_size, training):
    # The layer is given a copy: without it the check input_unmodified would fail, as it must.
    return DropBlock2d(drop_prob, block_size, inplace=True).train(training)(x.clone())


@functools.cache
def compile_layer():  # in the first test that needs it, not while pytest collects
    return torch.compile(plain)


def compiled(*arguments):
    return compile_layer()(*arguments)


def draw_seeds(shape, dtype, drop_prob, block_size):
    return DropBlock2d(drop_prob, block_size).draw_seeds(shape)


def backend(name, function, **more):
    accepts = lambda spatial_shape, block_size: isinstance(block_size, int)
    return from_torch(function, name=name, accepts=accepts, **more)


@parametrize_with_checks(
    [
        backend("plain", plain, draw_seeds=draw_seeds),
        backend("in place", in_place, draw_seeds=draw_seeds),
    ]
)
def test_layer(backend, check):
    check(backend)


# A compiler may freeze what is drawn into the graph, or draw from a stream of its own that no seed reaches.
@parametrize_with_checks(
    [backend("compiled", compiled, dtypes=("float32",))],
    checks=["quick", "same_seed_same_output", "stream_goes_on", "channel_sharing", "map_rate"],
)
def test_compiled_layer(backend, check):
    check(backend)
