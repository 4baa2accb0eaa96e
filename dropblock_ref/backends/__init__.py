"""Ready wrappers: the published packages as Backends, and bridges for a function of PyTorch, TensorFlow or JAX tensors.

A framework is imported only when its backend is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ..arguments import check_choice
from ..testing.backend import Backend
from .jax_bridge import from_jax
from .tensorflow_bridge import from_tensorflow
from .torch_bridge import from_torch

# name -> (module of this package, arguments of its make(), what must be importable, what to pip install)
_TABLE: dict[str, tuple[str, dict[str, Any], tuple[str, ...], str]] = {
    "numpy": ("numpy_plain", {}, (), ""),
    "torchvision": ("torchvision", {}, ("torch", "torchvision"), "torch torchvision"),
    "timm": ("timm", {}, ("torch", "torchvision", "timm"), "torch torchvision timm"),
    "timm_uncoupled": (
        "timm",
        {"couple_channels": False},
        ("torch", "torchvision", "timm"),
        "torch torchvision timm",
    ),
    "dropblock": ("dropblock", {}, ("torch", "dropblock"), "torch dropblock"),
    "pytorch_toolbelt": (
        "pytorch_toolbelt",
        {},
        ("torch", "torchvision", "timm", "cv2", "pytorch_toolbelt"),
        "torch torchvision timm opencv-python-headless pytorch-toolbelt",
    ),
    "keras_cv": ("keras_cv", {}, ("tensorflow", "keras", "keras_cv"), "tensorflow-cpu keras-cv"),
}
NAMES = tuple(_TABLE)

__all__ = ["NAMES", "from_jax", "from_tensorflow", "from_torch", "installed", "load"]


def installed() -> tuple[str, ...]:
    """Names of the published packages that are installed with all that they need; imports none of them.

    Returns
    -------
    tuple of str
        In the order of `NAMES`, without ``"numpy"``.

    Examples
    --------
    >>> from dropblock_ref import backends
    >>> set(backends.installed()) <= set(backends.NAMES)
    True
    """
    return tuple(name for name, (_, _, needed, _) in _TABLE.items() if needed and not _missing(needed))


def load(name: str) -> Backend:
    """The backend of this name; imports its framework.

    Parameters
    ----------
    name : str
        One of `NAMES`.

    Returns
    -------
    Backend

    Raises
    ------
    TypeError, ValueError
        If there is no such name.
    ImportError
        If the package, or something that it needs, is not installed; the message says what to install.

    Examples
    --------
    >>> from dropblock_ref import backends
    >>> backends.load("numpy").spatial_ndims
    (2, 3)
    """
    check_choice(name, "name", NAMES)
    module, arguments, needed, packages = _TABLE[name]
    if missing := _missing(needed):
        raise ImportError(f"backend {name!r} needs {', '.join(missing)}; pip install {packages}")
    make: Callable[..., Backend] = import_module(f".{module}", __name__).make
    return make(**arguments)


def _missing(needed: tuple[str, ...]) -> list[str]:
    return [module for module in needed if find_spec(module) is None]
