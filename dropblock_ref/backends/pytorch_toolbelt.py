"""The backend of pytorch-toolbelt: `pytorch_toolbelt.modules.dropblock.DropBlock2D` and `DropBlock3D` (0.8.0)."""

from __future__ import annotations

import warnings

from ..testing.backend import Backend
from .dropblock import from_layers
from .torchvision_operators import import_torchvision


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

    return from_layers("pytorch_toolbelt", DropBlock2D, DropBlock3D)
