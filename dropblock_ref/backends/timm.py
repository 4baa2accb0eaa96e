"""The backends of timm: `timm.layers.DropBlock2d` (1.0.31), with masks shared over channels or one per channel."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from ..testing.backend import Backend
from .torch_bridge import equal_sides, from_torch, one_side
from .torchvision_operators import import_torchvision

if TYPE_CHECKING:
    import torch


def make(*, couple_channels: bool = True) -> Backend:
    """Wrap timm.

    Parameters
    ----------
    couple_channels : bool
        As in timm: whether the channels of a sample share one mask.

    Returns
    -------
    Backend
        Maps, channels first, int blocks. The stream is torch's global one, replayed as
        ``torch.empty((N, 1 or C, H, W), dtype).bernoulli_(gamma)``.

    Examples
    --------
    ::

        from dropblock_ref import backends
        from dropblock_ref.testing import check_backend
        print(check_backend(backends.load("timm_uncoupled")))
    """
    import_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from timm.layers import DropBlock2d

    def function(x: torch.Tensor, drop_prob: Any, block_size: Any, training: bool) -> torch.Tensor:
        layer = DropBlock2d(drop_prob, one_side(block_size, 2), couple_channels=couple_channels)
        y: torch.Tensor = layer.train(training)(x)
        return y

    def draw_seeds(shape: tuple[int, ...], dtype: torch.dtype, drop_prob: float, block_size: Any) -> torch.Tensor:
        import torch

        batch, channels, H, W = shape
        b = one_side(block_size, 2)
        h, w = min(b, H), min(b, W)
        # In timm's order of operations, so that rounding is the same.
        gamma = float(drop_prob * H * W) / float(h * w) / float((H - h + 1) * (W - w + 1))
        return torch.empty((batch, 1 if couple_channels else channels, H, W), dtype=dtype).bernoulli_(gamma) == 1

    name = "timm" if couple_channels else "timm_uncoupled"
    return from_torch(function, name=name, convention=name, draw_seeds=draw_seeds, accepts=equal_sides)
