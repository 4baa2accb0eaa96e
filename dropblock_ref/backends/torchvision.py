"""The backend of torchvision: `torchvision.ops.drop_block2d` and `drop_block3d` (0.28.0)."""

from __future__ import annotations

import math
from functools import reduce
from operator import mul
from typing import TYPE_CHECKING, Any

from ..testing.backend import Backend
from .torch_bridge import equal_sides, from_torch, one_side
from .torchvision_operators import import_torchvision

if TYPE_CHECKING:
    import torch


def make() -> Backend:
    """Wrap torchvision.

    Returns
    -------
    Backend
        Maps and volumes, channels first, odd int blocks. The stream is torch's global one, replayed as
        ``torch.empty((N, C, H - b + 1, W - b + 1), dtype).bernoulli_(gamma)``.

    Examples
    --------
    ::

        from dropblock_ref import backends
        from dropblock_ref.testing import check_backend
        print(check_backend(backends.load("torchvision")))
    """
    import_torchvision()
    from torchvision.ops import drop_block2d, drop_block3d

    def function(x: torch.Tensor, drop_prob: Any, block_size: Any, training: bool) -> torch.Tensor:
        drop_block = drop_block3d if x.ndim == 5 else drop_block2d
        return drop_block(x, drop_prob, one_side(block_size, x.ndim - 2), training=training)

    return from_torch(
        function,
        name="torchvision",
        convention="torchvision",
        spatial_ndims=(2, 3),
        draw_seeds=draw_seeds,
        accepts=equal_sides,
    )


def draw_seeds(shape: tuple[int, ...], dtype: torch.dtype, drop_prob: float, block_size: Any) -> torch.Tensor:
    """The draws of torchvision, which are made where blocks fit, on the whole map."""
    import torch

    batch, channels, *spatial_shape = shape
    b = min(one_side(block_size, len(spatial_shape)), *spatial_shape)
    fitting = [S - b + 1 for S in spatial_shape]
    # In torchvision's order of operations, so that rounding is the same.
    gamma = reduce(mul, spatial_shape, drop_prob) / (b ** len(spatial_shape) * math.prod(fitting))
    seeds = torch.zeros(shape, dtype=torch.bool)
    box = (..., *(slice(b // 2, b // 2 + n) for n in fitting))
    seeds[box] = torch.empty((batch, channels, *fitting), dtype=dtype).bernoulli_(gamma) == 1
    return seeds
