"""Backend: an implementation under test, wrapped so that NumPy goes in and NumPy comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..arguments import FLOATING_DTYPES, check_callable, check_choice, check_instance, describe
from ..call import DATA_FORMATS, accepts_block
from ..convention import Convention, find_convention


@dataclass(frozen=True, kw_only=True)
class Backend:
    """An implementation under test: NumPy in, NumPy out.

    Parameters
    ----------
    name : str
        How reports call it.
    forward : callable
        ``forward(x, drop_prob, block_size, *, training, seed) -> y``. `seed` is an int, or None: do not reseed, go on
        with the stream. `block_size` is an int or a tuple with one int per spatial axis.
    convention : Convention or str, optional
        What it is meant to do; None stands for the paper's.
    data_format : str
        Order of the axes of x, for example ``"channels_first"``.
    spatial_ndims : tuple of int
        The ranks it supports: 2 (maps), 3 (volumes) or both.
    dtypes : tuple of str
        The dtypes it supports, of ``"float16"``, ``"bfloat16"``, ``"float32"``, ``"float64"``.
    vjp : callable, optional
        ``vjp(x, cotangent, drop_prob, block_size, *, training, seed) -> (y, x_bar)``: forward and its derivative in one
        call, so with one draw.
    draw_seeds : callable, optional
        ``draw_seeds(shape, dtype, drop_prob, block_size, *, seed) -> bool array``: the seeds that ``forward`` draws for
        an x of that shape and dtype and for that seed, by replaying its random stream. In the coordinates of x, with 1
        on the channel axis where the convention shares masks.
    apply : callable, optional
        ``apply(x, seeds, block_size) -> y``: forward in training with these seeds.
    accepts : callable, optional
        ``accepts(spatial_shape, block_size) -> bool``: what it supports (odd only, square only, int only). By default
        everything that its convention accepts. What it does not accept it may refuse or answer as it likes.
    expected_failures : mapping of str to str
        Name of a check that is known to fail, and the reason. Such a check must fail: one that passes fails the report.

    Raises
    ------
    TypeError, ValueError
        If a field is of the wrong kind.

    Examples
    --------
    >>> import numpy as np
    >>> from dropblock_ref import drop_block
    >>> from dropblock_ref.testing import Backend
    >>> def forward(x, drop_prob, block_size, *, training, seed):
    ...     global rng  # the stream
    ...     rng = rng if seed is None else np.random.default_rng(seed)
    ...     return drop_block(x, drop_prob, block_size, rng=rng, training=training)
    >>> Backend(name="mine", forward=forward).dtypes
    ('float32',)
    """

    name: str
    forward: Callable[..., Any]
    convention: Convention | str | None = None
    data_format: str = "channels_first"
    spatial_ndims: tuple[int, ...] = (2,)
    dtypes: tuple[str, ...] = ("float32",)
    vjp: Callable[..., Any] | None = None
    draw_seeds: Callable[..., Any] | None = None
    apply: Callable[..., Any] | None = None
    accepts: Callable[[tuple[int, ...], Any], bool] | None = None
    expected_failures: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_instance(self.name, "name", str, "a string")
        check_callable(self.forward, "forward")
        if self.convention is not None:
            find_convention(self.convention)
        check_choice(self.data_format, "data_format", tuple(DATA_FORMATS))
        for optional in ("vjp", "draw_seeds", "apply", "accepts"):
            if getattr(self, optional) is not None:
                check_callable(getattr(self, optional), optional)
        for entries, name, accepted in (
            (self.spatial_ndims, "spatial_ndims", (2, 3)),
            (self.dtypes, "dtypes", FLOATING_DTYPES),
        ):
            if not isinstance(entries, tuple) or not entries or any(entry not in accepted for entry in entries):
                raise ValueError(f"{name} must be a non-empty tuple of {accepted}, got {describe(entries)}")
        required_ndim = DATA_FORMATS[self.data_format][1]
        if required_ndim is not None and any(ndim + 2 != required_ndim for ndim in self.spatial_ndims):
            only = f"({required_ndim - 2},) for data_format {self.data_format!r}"
            raise ValueError(f"spatial_ndims must be {only}, got {self.spatial_ndims}")
        failures = self.expected_failures
        if not isinstance(failures, Mapping) or not all(
            isinstance(text, str) for pair in failures.items() for text in pair
        ):
            raise TypeError(f"expected_failures must map names of checks to reasons, got {describe(failures)}")

    @property
    def rules(self) -> Convention:
        """The convention that it is held to."""
        return find_convention("paper" if self.convention is None else self.convention)

    def supports(self, spatial_shape: tuple[int, ...], block_size: Any) -> bool:
        """Whether its convention accepts this block on this map, and it says that it does."""
        if not accepts_block(block_size, spatial_shape, self.rules):
            return False
        return self.accepts is None or bool(self.accepts(spatial_shape, block_size))
