"""The backend of pytorch-toolbelt: `pytorch_toolbelt.modules.dropblock.DropBlock2D` and `DropBlock3D` (0.8.0)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from ..testing.backend import Backend
from .dropblock import draw_seeds
from .torch_bridge import equal_sides, from_torch, one_side
from .torchvision_operators import import_torchvision

if TYPE_CHECKING:
    import torch


def make() -> Backend:
    """Wrap pytorch-toolbelt.

    Returns
    -------
    Backend
        Maps and volumes, channels first, int blocks. The stream is torch's global one, replayed as
        ``torch.rand(N, H, W) < gamma``.

    Examples
    --------
    ::

        from dropblock_ref import backends
        from dropblock_ref.testing import check_backend
        print(check_backend(backends.load("pytorch_toolbelt")))
    """
    import_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_toolbelt.modules.dropblock import DropBlock2D, DropBlock3D

    def function(x: torch.Tensor, drop_prob: Any, block_size: Any, training: bool) -> torch.Tensor:
        layer = (DropBlock3D if x.ndim == 5 else DropBlock2D)(drop_prob, one_side(block_size, x.ndim - 2))
        y: torch.Tensor = layer.train(training)(x)
        return y

    return from_torch(
        function,
        name="pytorch_toolbelt",
        convention="pytorch_toolbelt",
        spatial_ndims=(2, 3),
        draw_seeds=draw_seeds,
        accepts=equal_sides,
    )
