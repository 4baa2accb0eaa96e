"""What a check is: a named property, when it applies, and how it is tried on a backend."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import FLOATING_DTYPES, describe, describe_error
from ..geometry import accepts_block
from ..layout import Layout, find_layout
from ..normalization import counted_axes
from .backend import Backend
from .observation import find_problems, make_input, read_dropped
from .report import CheckResult

GROUPS = ("replay", "recover", "search", "distribution")
# The error budget of a whole run is split in advance: every check that leaves something to chance has this share.
STATISTICAL_SHARE = 1 / 20


class CheckFailure(AssertionError):  # noqa: N818  (an outcome, not an error)
    """A property does not hold; the message says what, where, expected, seen, and how to reproduce it."""


class RefusedInput(CheckFailure):
    """The backend raised an exception."""


class NotApplicable(Exception):  # noqa: N818  (an outcome, not an error)
    """A check cannot be tried on this backend; the message says why."""


@dataclass(frozen=True)
class Map:
    """A map, a block on it and a drop_prob: one thing to try."""

    spatial_shape: tuple[int, ...]
    block_size: int | tuple[int, ...]
    drop_prob: float = 0.5

    def __str__(self) -> str:
        shape = "x".join(map(str, self.spatial_shape))
        return f"{shape}, block {self.block_size}, drop_prob {self.drop_prob:.6g}"


Needs = tuple[tuple[Map, ...], str]  # the maps of a check, of which one must be supported, and what they are


@dataclass(frozen=True)
class Outcome:
    """A check that found nothing wrong."""

    message: str = ""
    reported: bool = False


@dataclass
class Run:
    """One run of the oracle over one backend, as the checks see it."""

    backend: Backend
    seed: int
    false_alarm: float
    quick: bool = False
    examples: int | None = None  # that the search draws; None = as many as the profile says
    cache: dict[Any, Any] = field(default_factory=dict)
    check: str = ""  # the name of the present check
    needs: Needs = ((), "")  # and its maps
    draws: int = 0  # masks that the present check has looked at
    detects: list[str] = field(default_factory=list)  # what it would find, with probability 1 - 1e-6

    @property
    def share(self) -> float:
        """The error budget of one statistical check."""
        return self.false_alarm * STATISTICAL_SHARE

    @property
    def dtype(self) -> str:
        """The dtype of checks that are not about dtypes."""
        return "float32" if "float32" in self.backend.dtypes else self.backend.dtypes[0]

    def shape(self, samples: int, channels: int, spatial_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of x in the order of the backend's layout."""
        if find_layout(self.backend.data_format, (1,) * (2 + len(spatial_shape)), "x").channel_axis == 1:
            return (samples, channels, *spatial_shape)
        return (samples, *spatial_shape, channels)

    def masks(self, x: NDArray[Any]) -> int:
        """How many masks one call draws for x."""
        if x.ndim not in (4, 5):  # a bad argument, on purpose
            return 0
        return len(x) * (1 if self.backend.rules.shared_channels else x.shape[self.layout(x).channel_axis])

    def dropped(self, x: NDArray[Any], y: Any) -> NDArray[np.bool_]:
        """Where an output for x shows a dropped cell."""
        return read_dropped(np.asarray(y), counted_axes(self.layout(x), self.backend.rules))

    def layout(self, x: NDArray[Any]) -> Layout:
        """The axes of x."""
        return find_layout(self.backend.data_format, x.shape, "x")

    def accepted(self, maps: Iterable[Map]) -> list[Map]:
        """Those maps that the backend is for, by rank and its own word."""
        return [
            one
            for one in maps
            if len(one.spatial_shape) in self.backend.spatial_ndims
            and (
                self.backend.accepts is None
                or self.call(
                    partial(self.backend.accepts, one.spatial_shape, one.block_size),
                    f"backend.accepts({one.spatial_shape}, {one.block_size!r})",
                )
            )
        ]

    def supported(self, maps: Iterable[Map]) -> list[Map]:
        """Those maps that the backend supports, by rank, convention and its own word."""
        rules = self.backend.rules
        return self.accepted(one for one in maps if accepts_block(one.block_size, one.spatial_shape, rules))

    def needed(self) -> list[Map]:
        """The supported ones of the check's maps; where there are none the check does not apply."""
        maps, what = self.needs
        supported = self.supported(maps)
        if not supported:
            raise NotApplicable(f"the backend supports no {what}")
        return supported

    def input(self, shape: tuple[int, ...], dtype: str | None = None) -> NDArray[Any]:
        """An x without zeros."""
        return make_input(shape, dtype or self.dtype, self.seed)

    def forward(
        self,
        x: NDArray[Any],
        one: Map,
        *,
        seed: int | None,
        training: bool = True,
        drop_prob: float | None = None,
        own_copy: bool = True,
    ) -> Any:
        """The backend's output; an exception is a failure."""
        p = one.drop_prob if drop_prob is None else drop_prob
        self.draws += self.masks(x)
        # A backend that writes into x fails one check, input_unmodified, and spoils no other.
        given = x.copy() if own_copy else x
        text = self.forward_call(x, one, seed=seed, training=training, drop_prob=drop_prob)
        y = self.call(partial(self.backend.forward, given, p, one.block_size, training=training, seed=seed), text)
        self.require_array(y, "output", text)
        return y.copy() if own_copy else y  # a backend may fill the same memory in its next call

    def vjp(
        self, x: NDArray[Any], cotangent: NDArray[Any], one: Map, *, training: bool, seed: int
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """The backend's output and derivative."""
        assert self.backend.vjp is not None  # noqa: S101  (for the type checker; a check asks before)
        given = x.copy(), cotangent.copy()
        function = partial(self.backend.vjp, *given, one.drop_prob, one.block_size, training=training, seed=seed)
        self.draws += self.masks(x)
        pair = self.call(function, self.check_call())
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise CheckFailure(
                f"vjp must return (y, x_bar), and returned {describe(pair)}\nreproduce: {self.check_call()}"
            )
        for name, array in zip(("output of vjp", "derivative"), pair, strict=True):
            self.require_array(array, name, self.check_call())
            if array.shape != x.shape:
                raise CheckFailure(
                    f"the {name} has shape {array.shape}; expected that of x, {x.shape}\non {one}\n"
                    f"reproduce: {self.check_call()}"
                )
        return pair

    def require_array(self, array: Any, name: str, text: str) -> None:
        """Fail on anything but a plain array of real floating numbers, of which nothing could be judged."""
        if (
            not isinstance(array, np.ndarray)
            or isinstance(array, np.ma.MaskedArray)
            or array.dtype.name not in FLOATING_DTYPES
        ):
            kind = type(array).__name__ + (f" of dtype {array.dtype}" if isinstance(array, np.ndarray) else "")
            raise CheckFailure(
                f"the {name} must be a NumPy array of {', '.join(FLOATING_DTYPES)}, and is a {kind}\nreproduce: {text}"
            )

    def call(self, function: Callable[[], Any], text: str) -> Any:
        """Call the backend, as `text` says; its warnings are its own affair, an exception is a failure."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return function()
        except Exception as error:
            raise RefusedInput(
                f"an input that the backend must support was refused: {describe_error(error)}\nreproduce: {text}"
            ) from error

    def forward_call(
        self, x: NDArray[Any], one: Map, *, seed: int | None, training: bool = True, drop_prob: float | None = None
    ) -> str:
        """The call that repeats an output, as text."""
        p = one.drop_prob if drop_prob is None else drop_prob
        return (
            f"x = make_input({x.shape}, {x.dtype.name!r}, {self.seed}); "
            f"backend.forward(x, {p!r}, {one.block_size!r}, training={training}, seed={seed})"
        )

    def judge(
        self,
        x: NDArray[Any],
        y: Any,
        one: Map,
        call: str,
        *,
        only: tuple[str, ...] | None = None,
        seeds: NDArray[np.bool_] | None = None,
    ) -> None:
        """Fail on the first problem of the output; with `only`, on the first of those (a wrong shape is always one)."""
        problems = find_problems(
            x, y, one.block_size, self.backend.data_format, self.backend.rules, seeds=seeds, drop_prob=one.drop_prob
        )
        for problem in problems:
            if only is None or problem.check in only or np.shape(y) != x.shape:
                raise CheckFailure(f"{problem.text}\non {one}\nreproduce: {call}")

    def check_call(self) -> str:
        """The call that repeats the present check, as text."""
        return f"check_backend(backend, checks=[{self.check!r}], seed={self.seed}, false_alarm={self.false_alarm})"

    def seeds(self, count: int) -> range:
        """Seeds for the backend's draws."""
        return range(self.seed, self.seed + count)


@dataclass(frozen=True)
class Check:
    """A property that a backend must have."""

    name: str
    group: str
    function: Callable[[Run], Outcome]
    statistical: bool
    needs: Needs
    unless: Callable[[Backend], str | None]

    @property
    def summary(self) -> str:
        """The property in one sentence."""
        return (self.function.__doc__ or "").strip().splitlines()[0]

    def idle(self, run: Run) -> str | None:
        """Why the property cannot be tried on the backend, as far as its own word tells; None where it can."""
        maps, what = self.needs
        reason = self.unless(run.backend)
        if reason is None and not run.accepted(maps):
            reason = f"the backend supports no {what}"
        return reason

    def run(self, run: Run) -> CheckResult:
        """Try the property; expected failures are strict."""
        expected = run.backend.expected_failures.get(self.name)
        run.check, run.needs, run.draws, run.detects = self.name, self.needs, 0, []
        try:
            if (reason := self.idle(run)) is not None:
                return CheckResult(self.name, "not_applicable", reason)
            with np.errstate(all="ignore"):  # whatever a backend returns, it is judged
                outcome = self.function(run)
        except NotApplicable as error:
            return CheckResult(self.name, "not_applicable", str(error))
        except CheckFailure as error:
            status, message = "failed", str(error)
            if expected is not None:
                status, message = "expected_failure", f"{expected}\n{error}"
        else:
            status, message = "reported" if outcome.reported else "passed", outcome.message
            if expected is not None:
                status, message = "failed", f"expected to fail ({expected}), but it passes: no longer expect that"
        # Where a check has ended before it looked at rates, nothing was left to chance.
        false_alarm = run.share if self.statistical and run.detects else 0.0
        return CheckResult(self.name, status, message, run.draws, false_alarm, "; ".join(dict.fromkeys(run.detects)))


_CHECKS: dict[str, Check] = {}


def check(
    group: str, needs: Needs, *, statistical: bool = False, unless: Callable[[Backend], str | None] = lambda _: None
) -> Callable[[Callable[[Run], Outcome]], Callable[[Run], Outcome]]:
    """Register a function as the check of its name: a property that is tried on the maps `needs`."""

    def register(function: Callable[[Run], Outcome]) -> Callable[[Run], Outcome]:
        name = function.__name__
        _CHECKS[name] = Check(name, group, function, statistical, needs, unless)
        return function

    return register


def registered() -> Iterator[Check]:
    """All checks, in the order of their groups."""
    for group in GROUPS:
        yield from (one for one in _CHECKS.values() if one.group == group)
