"""Imports torchvision beside a torch that its compiled operators were not built for.

torchvision has no CPU build: `import torchvision` then stops with "operator torchvision::nms does not exist". DropBlock
needs none of these operators, so they are declared, without code behind them, and it is imported again.
"""

from __future__ import annotations

import warnings
from importlib import import_module

OPERATORS = (
    "nms", "qnms", "roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "qroi_align", "deform_conv2d",
    "_roi_align_backward", "_ps_roi_align_backward", "_roi_pool_backward", "_ps_roi_pool_backward",
    "_deform_conv2d_backward",
)  # fmt: skip
_declared: list[object] = []  # the declarations live as long as the Library object


def import_torchvision() -> None:
    """Import torchvision, declaring its operators if that is what it lacks; a second call does nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import_module("torchvision")
        except RuntimeError as error:
            if _declared or "does not exist" not in str(error):
                raise
            import torch

            library = torch.library.Library("torchvision", "DEF")
            for operator in OPERATORS:
                library.define(f"{operator}(Tensor x) -> Tensor")
            _declared.append(library)
            import_module("torchvision")
