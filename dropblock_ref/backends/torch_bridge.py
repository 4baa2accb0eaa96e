"""Backends from PyTorch: a function of tensors becomes a Backend, NumPy in and NumPy out.

torch is imported only when `from_torch` is called, ml_dtypes only for bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import FLOATING_DTYPES, check_callable
from ..convention import Convention
from ..testing.backend import Backend

if TYPE_CHECKING:
    import torch


def from_torch(
    function: Callable[..., torch.Tensor],
    *,
    name: str,
    convention: Convention | str | None = None,
    data_format: str = "channels_first",
    spatial_ndims: tuple[int, ...] = (2,),
    dtypes: tuple[str, ...] = FLOATING_DTYPES,
    draw_seeds: Callable[..., torch.Tensor] | None = None,
    accepts: Callable[[tuple[int, ...], Any], bool] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> Backend:
    """Wrap a PyTorch implementation.

    Parameters
    ----------
    function : callable
        ``function(x, drop_prob, block_size, training) -> Tensor``, drawing from torch's global generator.
    name, convention, data_format, spatial_ndims, dtypes, accepts, expected_failures
        As for `Backend`.
    draw_seeds : callable, optional
        ``draw_seeds(shape, dtype, drop_prob, block_size) -> Tensor`` of bool: makes the same draws as `function` does,
        dtype being a ``torch.dtype``. Seeding, and putting the stream back afterwards, are done around it.

    Returns
    -------
    Backend
        With `vjp` by autograd. A seed is given to ``torch.manual_seed``; with ``seed=None`` torch's stream goes on.
        The tensor shares memory with the array, so that `function` is caught if it writes into its input (not for
        a read-only array or one with negative strides, which torch cannot share).

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind.
    ImportError
        If torch is not installed.

    Examples
    --------
    Any function of tensors will do; this one is Dropout, which is DropBlock with a block of 1, but for the scale:

    >>> from dropblock_ref.backends import from_torch
    >>> from dropblock_ref.testing import check_backend
    >>> from torch.nn.functional import dropout
    >>> backend = from_torch(lambda x, p, b, training: dropout(x, p, training), name="dropout")
    >>> report = check_backend(backend, checks=["evaluation_identity", "scale"])
    >>> [result.status for result in report.results]
    ['passed', 'failed']

    In place: the oracle then reports that x is modified, unless the function is given a copy::

        from_torch(lambda x, p, b, training: drop_block2d(x.clone(), p, b, inplace=True, training=training),
                   name="torchvision, in place", convention="torchvision")

    Compiled, a Backend of its own, because a compiler may freeze or reorder what is drawn::

        compiled = torch.compile(drop_block2d)
        from_torch(lambda x, p, b, training: compiled(x, p, b, training=training),
                   name="torchvision, compiled", convention="torchvision")

    Under autocast::

        def autocast(x, p, b, training):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return drop_block2d(x, p, b, training=training)
    """
    import torch

    check_callable(function, "function")

    def forward(x: NDArray[Any], drop_prob: Any, block_size: Any, *, training: bool, seed: int | None) -> NDArray[Any]:
        if seed is not None:
            torch.manual_seed(seed)
        return to_numpy(function(to_tensor(x), drop_prob, block_size, training))

    def vjp(
        x: NDArray[Any], cotangent: NDArray[Any], drop_prob: Any, block_size: Any, *, training: bool, seed: int | None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        if seed is not None:
            torch.manual_seed(seed)
        leaf = to_tensor(x).requires_grad_()
        y = function(leaf.clone(), drop_prob, block_size, training)  # a clone may be written into, a leaf may not
        x_bar = None
        if y.requires_grad:
            (x_bar,) = torch.autograd.grad(y, leaf, to_tensor(cotangent).to(y.dtype), allow_unused=True)
        return to_numpy(y), to_numpy(torch.zeros_like(leaf) if x_bar is None else x_bar)

    def replay(shape: Any, dtype: Any, drop_prob: Any, block_size: Any, *, seed: int) -> NDArray[np.bool_]:
        assert draw_seeds is not None  # noqa: S101 (for the type checker)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            kind = getattr(torch, dtype if isinstance(dtype, str) else np.dtype(dtype).name)
            return to_numpy(draw_seeds(tuple(shape), kind, drop_prob, block_size))

    return Backend(
        name=name,
        forward=forward,
        convention=convention,
        data_format=data_format,
        spatial_ndims=spatial_ndims,
        dtypes=dtypes,
        vjp=vjp,
        draw_seeds=None if draw_seeds is None else replay,
        accepts=accepts,
        expected_failures={} if expected_failures is None else expected_failures,
    )


def to_tensor(x: NDArray[Any]) -> torch.Tensor:
    """The tensor of an array; they share memory where torch allows it."""
    import torch

    if not x.flags.writeable or any(stride < 0 for stride in x.strides):
        x = x.copy()
    if x.dtype.name == "bfloat16":  # torch knows no bfloat16 of NumPy's, but the bits are the same
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def to_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    """The array of a tensor; they share memory where the tensor lies on the CPU."""
    import torch

    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        import ml_dtypes

        tensor, dtype = tensor.view(torch.int16), np.dtype(ml_dtypes.bfloat16)
        return np.asarray(tensor).view(dtype)
    return np.asarray(tensor)


def one_side(block_size: Any, spatial_ndim: int) -> Any:
    """The int that stands for a tuple of equal sides, for packages that take only an int; anything else as it is."""
    if isinstance(block_size, tuple) and len(block_size) == spatial_ndim and len(set(block_size)) == 1:
        return block_size[0]
    return block_size


def equal_sides(spatial_shape: tuple[int, ...], block_size: Any) -> bool:
    """`accepts` of packages that take only an int."""
    return isinstance(one_side(block_size, len(spatial_shape)), int)
