"""The backend of the package dropblock on PyPI: `dropblock.DropBlock2D` and `DropBlock3D` (0.3.0)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..testing.backend import Backend
from .torch_bridge import equal_sides, from_torch, one_side

if TYPE_CHECKING:
    import torch


def make() -> Backend:
    """Wrap the package dropblock.

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
        print(check_backend(backends.load("dropblock")))
    """
    from dropblock import DropBlock2D, DropBlock3D

    return from_layers("dropblock", DropBlock2D, DropBlock3D)


def from_layers(name: str, layer_2d: Callable[..., Any], layer_3d: Callable[..., Any]) -> Backend:
    """Wrap layers that are made as the package's are; pytorch-toolbelt has a copy of them."""

    def function(x: torch.Tensor, drop_prob: Any, block_size: Any, training: bool) -> torch.Tensor:
        layer = (layer_3d if x.ndim == 5 else layer_2d)(drop_prob, one_side(block_size, x.ndim - 2))
        y: torch.Tensor = layer.train(training)(x)
        return y

    return from_torch(
        function, name=name, convention=name, spatial_ndims=(2, 3), draw_seeds=_draw_seeds, accepts=equal_sides
    )


def _draw_seeds(shape: tuple[int, ...], dtype: torch.dtype, drop_prob: float, block_size: Any) -> torch.Tensor:  # noqa: ARG001
    """The draws of the layers, in float32 for every dtype."""
    import torch

    batch, _, *spatial_shape = shape
    gamma = drop_prob / one_side(block_size, len(spatial_shape)) ** len(spatial_shape)
    return (torch.rand(batch, *spatial_shape) < gamma)[:, None]
