"""Backend: an implementation under test, NumPy in and NumPy out; Setting: what a layer is built with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from numbers import Integral
from typing import Any

from ..arguments import (
    FLOATING_DTYPES,
    check_block_size,
    check_callable,
    check_choice,
    check_flag,
    check_instance,
    check_integer,
    check_probability,
    check_spatial_shape,
    describe,
)
from ..call import DATA_FORMATS, accepts_block
from ..convention import Convention, find_convention

MODES = ("training", "evaluation")


@dataclass(frozen=True)
class Setting:
    """What a layer is built with, or for: a map, a block on it, a drop_prob and a size of batch; None is free.

    Parameters
    ----------
    spatial_shape : sequence of int, optional
        (H, W) or (D, H, W).
    block_size : int or sequence of int, optional
        As it is passed to the backend.
    drop_prob : float, optional
        In [0, 1].
    samples, channels : int, optional
        At least 1.

    Raises
    ------
    TypeError, ValueError
        If a field is of the wrong kind or out of range.

    Examples
    --------
    A layer that has its block and its drop_prob built in, for maps of any size:

    >>> from dropblock_ref.testing import Setting
    >>> Setting(block_size=7, drop_prob=0.1)
    Setting(spatial_shape=None, block_size=7, drop_prob=0.1, samples=None, channels=None)
    """

    spatial_shape: tuple[int, ...] | None = None
    block_size: int | tuple[int, ...] | None = None
    drop_prob: float | None = None
    samples: int | None = None
    channels: int | None = None

    def __post_init__(self) -> None:
        if self.spatial_shape is not None:
            object.__setattr__(self, "spatial_shape", check_spatial_shape(self.spatial_shape))
        if self.block_size is not None:
            single = isinstance(self.block_size, Integral)
            ndim = len(self.block_size) if isinstance(self.block_size, (tuple, list)) else 1
            sides = check_block_size(self.block_size, ndim)
            object.__setattr__(self, "block_size", sides[0] if single else sides)
        if self.drop_prob is not None:
            object.__setattr__(self, "drop_prob", check_probability(self.drop_prob, "drop_prob"))
        for name in ("samples", "channels"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_integer(getattr(self, name), name, 1))

    def __str__(self) -> str:
        given = {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) is not None}
        if "spatial_shape" in given:
            given["spatial_shape"] = "x".join(map(str, given["spatial_shape"]))
        return ", ".join(f"{name} {value}" for name, value in given.items()) or "anything"

    def allows(self, spatial_shape: tuple[int, ...], block_size: Any, drop_prob: float | None) -> bool:
        """Whether these are what the layer is built with; drop_prob None stands for any."""
        return (
            self.spatial_shape in (None, spatial_shape)
            and self.block_size in (None, block_size)
            and (self.drop_prob is None or drop_prob in (None, self.drop_prob))
        )


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
        ``apply(x, seeds, block_size) -> y``: forward in training with these seeds. A convention whose scale is
        1 / (1 - drop_prob) has no place for it.
    accepts : callable, optional
        ``accepts(spatial_shape, block_size, drop_prob) -> bool``: what it supports (odd only, square only, int only);
        one that takes two arguments is asked without drop_prob. By default everything that its convention accepts.
        Where it returns False, any behaviour is allowed. A TypeError for a tuple block_size stands for False.
    settings : sequence of Setting, optional
        What a layer is built with: only these are tried. By default everything that `accepts` accepts.
    output_dtype : str, optional
        The dtype of y where it is not x's, as in mixed precision.
    modes : tuple of str
        What it has, of ``"training"`` and ``"evaluation"``.
    reseeds : bool
        Whether `seed` does anything. Where it does not, it is always None.
    thread_safe : bool
        Whether calls may run in several threads at once.
    expected_failures : mapping of str to str
        Name of a check that is known to fail, and the reason. Such a check must fail: one that passes fails the report.
        ``"scale[float16]"`` narrows it to one dtype; ``"*"`` says that at least one check fails.

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
    accepts: Callable[..., bool] | None = None
    settings: tuple[Setting, ...] | None = None
    output_dtype: str | None = None
    modes: tuple[str, ...] = MODES
    reseeds: bool = True
    thread_safe: bool = False
    expected_failures: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_instance(self.name, "name", str, "a string")
        check_callable(self.forward, "forward")
        if self.convention is not None:
            find_convention(self.convention)
        if self.apply is not None and self.rules.scale_over == "keep_prob":
            raise ValueError(
                f"apply must be None under convention {self.rules.name!r}, whose scale is 1 / (1 - drop_prob): it is "
                f"not given drop_prob; got {describe(self.apply)}"
            )
        check_choice(self.data_format, "data_format", tuple(DATA_FORMATS))
        for optional in ("vjp", "draw_seeds", "apply", "accepts"):
            if getattr(self, optional) is not None:
                check_callable(getattr(self, optional), optional)
        for entries, name, accepted in (
            (self.spatial_ndims, "spatial_ndims", (2, 3)),
            (self.dtypes, "dtypes", FLOATING_DTYPES),
            (self.modes, "modes", MODES),
        ):
            if not isinstance(entries, tuple) or not entries or any(entry not in accepted for entry in entries):
                raise ValueError(f"{name} must be a non-empty tuple of {accepted}, got {describe(entries)}")
        required_ndim = DATA_FORMATS[self.data_format][1]
        if required_ndim is not None and any(ndim + 2 != required_ndim for ndim in self.spatial_ndims):
            only = f"({required_ndim - 2},) for data_format {self.data_format!r}"
            raise ValueError(f"spatial_ndims must be {only}, got {self.spatial_ndims}")
        if self.settings is not None:
            wanted = "settings must be a non-empty sequence of Setting"
            if not isinstance(self.settings, (tuple, list)) or not self.settings:
                raise TypeError(f"{wanted}, got {describe(self.settings)}")
            for one in self.settings:
                check_instance(one, "settings", Setting, "a sequence of Setting")
            object.__setattr__(self, "settings", tuple(self.settings))
        if self.output_dtype is not None:
            check_choice(self.output_dtype, "output_dtype", FLOATING_DTYPES)
        check_flag(self.reseeds, "reseeds")
        check_flag(self.thread_safe, "thread_safe")
        failures = self.expected_failures
        if not isinstance(failures, Mapping) or not all(
            isinstance(text, str) for pair in failures.items() for text in pair
        ):
            raise TypeError(f"expected_failures must map names of checks to reasons, got {describe(failures)}")

    @property
    def rules(self) -> Convention:
        """The convention that it is held to."""
        return find_convention("paper" if self.convention is None else self.convention)

    @property
    def limits(self) -> tuple[str, ...]:
        """What it says that it has not, or is built with, in words."""
        limits = [f"no {mode}" for mode in MODES if mode not in self.modes]
        if not self.reseeds:
            limits.append("no seeds")
        if self.settings is not None:
            limits.append(
                "only " + "; ".join(map(str, self.settings[:3])) + ("; ..." if len(self.settings) > 3 else "")
            )
        if self.output_dtype is not None:
            limits.append(f"output in {self.output_dtype}")
        return tuple(limits)

    def is_for(self, spatial_shape: tuple[int, ...], block_size: Any, drop_prob: float | None = None) -> bool:
        """Whether it says that it is for this, by `settings` and `accepts`; nothing divides by a keep_prob of 0."""
        if drop_prob == 1 and self.rules.scale_over == "keep_prob":
            return False
        if self.settings is not None and not any(
            one.allows(spatial_shape, block_size, drop_prob) for one in self.settings
        ):
            return False
        if self.accepts is None:
            return True
        arguments = (spatial_shape, block_size, drop_prob)[: 3 if _takes_three(self.accepts) else 2]
        try:
            if len(arguments) == 3 and drop_prob is None:
                return any(self.accepts(spatial_shape, block_size, p) for p in DROP_PROBS)
            return bool(self.accepts(*arguments))
        except TypeError:
            if isinstance(block_size, int):
                raise
            return False  # an `accepts` that calculates with an int takes no sizes per axis

    def supports(self, spatial_shape: tuple[int, ...], block_size: Any, drop_prob: float | None = None) -> bool:
        """Whether its convention accepts this block on this map, and it says that it does."""
        return accepts_block(block_size, spatial_shape, self.rules) and self.is_for(
            spatial_shape, block_size, drop_prob
        )


# What is tried where a backend does not take the drop_prob that a check prefers.
DROP_PROBS = (0.1, 0.5, 0.2, 0.3, 0.05, 0.25, 0.15, 0.4, 0.8, 0.6, 0.7, 0.9, 0.02, 0.01, 1.0)


@lru_cache(maxsize=64)  # a scan asks a hundred thousand times
def _takes_three(accepts: Callable[..., bool]) -> bool:
    """Whether `accepts` has a place for drop_prob; one with a default is something of its own."""
    try:
        parameters = list(inspect.signature(accepts).parameters.values())
    except (TypeError, ValueError):  # a callable without a signature
        return False
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return True
    places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return len(places) >= 3 and (places[2].default is places[2].empty or places[2].name == "drop_prob")
