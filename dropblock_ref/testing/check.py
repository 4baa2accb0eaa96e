"""What a check is: a named property, the settings that it needs, and how it is tried on a backend."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import describe_error
from ..call import Layout, accepts_block, counted_axes, find_layout, own_masks
from .backend import Backend
from .calls import Calls, Refused, Unreadable, is_plain
from .judge import Repetition, find_law
from .maps import ANY_MAP, ANY_SETTING
from .observation import Fault, make_input, read_dropped
from .report import FAILING, CheckResult
from .settings import Accepted, Map, Needs

__all__ = ["Check", "CheckFailure", "GROUPS", "Map", "Needs", "NotApplicable", "NotJudged", "Outcome", "Run", "check"]

# The checks of what one output shows.
OUTPUT = ("channel_sharing", "legal_blocks", "scale", "values")
GROUPS = ("replay", "recover", "search", "distribution")
# The error budget of a whole run is split in advance: every check that leaves something to chance has this share.
STATISTICAL_SHARE = 1 / 24
# Samples and channels of every x where few shapes are wanted.
_BATCH, _BATCH_OF_LARGE, _LARGE = (32, 4), (1, 2), 2**14
_MOST_CELLS_REMEMBERED = 400_000


class CheckFailure(AssertionError):  # noqa: N818  (an outcome, not an error)
    """A property does not hold; the message says what, where, expected, seen, and how to reproduce it.

    `bears` is the name of the check whose property it is, where that is not the present one.
    """

    def __init__(
        self, message: str, *, bears: str | None = None, dtype: str | None = None, special: str | None = None
    ) -> None:
        super().__init__(message)
        self.bears = bears
        self.dtype = dtype
        self.special = special  # the check of the kind of call, as in Fault


class NotApplicable(Exception):  # noqa: N818  (an outcome, not an error)
    """The backend has nothing that the property is about; the message says why."""


class NotJudged(Exception):  # noqa: N818  (an outcome, not an error)
    """The property could not be judged on this backend; the message says why."""


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
    compiled: bool = False
    selected: Collection[str] | None = None  # the names of the checks of this run; None stands for all
    examples: int | None = None  # that the search draws; None = as many as the profile says
    cache: dict[Any, Any] = field(default_factory=dict)
    check: str = ""  # the name of the present check
    needs: Needs = field(default_factory=lambda: Needs("", ()))  # and its settings
    draws: int = 0  # masks that the present check has looked at
    dropped_cells: int = 0  # and how many dropped cells they had
    detects: list[str] = field(default_factory=list)  # what it would find, with probability 1 - 1e-6
    repetition: Repetition = field(default_factory=Repetition)
    calls: Calls = field(init=False)
    accepted: Accepted = field(init=False)
    filed: dict[str, list[Fault]] = field(default_factory=dict)  # what calls of one check show of another's property
    faults: dict[str, list[Fault]] = field(default_factory=dict)  # what each check has found
    shown: set[str] = field(default_factory=set)  # the checks of what ordinary outputs have shown, in this run or not

    def __post_init__(self) -> None:
        self.calls = Calls(self.backend)
        self.accepted = Accepted(self.backend)

    @property
    def share(self) -> float:
        """The error budget of one statistical check."""
        return self.false_alarm * STATISTICAL_SHARE

    @property
    def dtype(self) -> str:
        """The dtype of checks that are not about dtypes."""
        return "float32" if "float32" in self.backend.dtypes else self.backend.dtypes[0]

    def shape(self, samples: int, channels: int, spatial_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of x in the order of the backend's layout, with the samples and channels that it is built for."""
        samples, channels = self.batch(samples, channels, spatial_shape)
        if find_layout(self.backend.data_format, (1,) * (2 + len(spatial_shape)), "x").channel_axis == 1:
            return (samples, channels, *spatial_shape)
        return (samples, *spatial_shape, channels)

    def batch(self, samples: int, channels: int, spatial_shape: tuple[int, ...]) -> tuple[int, int]:
        """So many samples and channels, or those that the backend is built for."""
        if self.compiled:
            samples, channels = _BATCH if math.prod(spatial_shape) < _LARGE else _BATCH_OF_LARGE
        for one in self.backend.settings or ():
            if one.spatial_shape in (None, spatial_shape):
                return one.samples or samples, one.channels or channels
        return samples, channels

    def masks(self, x: NDArray[Any]) -> int:
        """How many masks one call draws for x."""
        if x.ndim not in (4, 5):  # a bad argument, on purpose
            return 0
        return math.prod(own_masks(len(x), x.shape[self.layout(x).channel_axis], self.backend.rules))

    def dropped(self, x: NDArray[Any], y: Any) -> NDArray[np.bool_]:
        """Where an output for x shows a dropped cell."""
        return read_dropped(np.asarray(y), counted_axes(self.layout(x), self.backend.rules))

    def layout(self, x: NDArray[Any]) -> Layout:
        """The axes of x."""
        return find_layout(self.backend.data_format, x.shape, "x")

    def find(self, needs: Needs) -> list[Map]:
        """The settings with that property that the backend is for; asked once in a run."""
        key = ("settings", needs)
        if key not in self.cache:
            try:
                self.cache[key] = self.accepted.find(needs)
            except Exception as error:
                text = f"backend.accepts failed with {describe_error(error)}"
                raise CheckFailure(text, bears="supported_input") from error
        found: list[Map] = self.cache[key]
        return self._few(found, needs) if self.compiled else found

    def _few(self, found: list[Map], needs: Needs) -> list[Map]:
        """One setting of each rank: the ordinary one where it will do, so that few shapes are compiled."""
        first = {len(one.spatial_shape): one for one in reversed(found)}
        if needs not in (ANY_MAP, ANY_SETTING) and not needs.own:
            ordinary = {len(one.spatial_shape): one for one in self.find(ANY_MAP)}
            first |= {n: one for n, one in ordinary.items() if n in first and needs.holds(one, self.backend.rules)}
        return [first[ndim] for ndim in self.backend.spatial_ndims if ndim in first]

    def first_of(self, *kinds: Needs) -> list[Map]:
        """The first setting of each kind and rank; none where few shapes are wanted."""
        found = ([] if self.compiled else reversed(self.find(needs)) for needs in kinds)
        return [one for some in found for one in {len(one.spatial_shape): one for one in some}.values()]

    def supported(self, maps: Iterable[Map]) -> list[Map]:
        """Those settings that the backend supports, by rank, convention and its own word."""
        rules = self.backend.rules
        return [
            one
            for one in ([] if self.compiled else maps)
            if len(one.spatial_shape) in self.backend.spatial_ndims
            and accepts_block(one.block_size, one.spatial_shape, rules)
            and self.backend.is_for(one.spatial_shape, one.block_size, one.drop_prob)
        ]

    def needed(self) -> list[Map]:
        """The settings of the present check; where there are none it does not apply."""
        found = self.find(self.needs)
        if not found:
            raise NotApplicable(f"the backend supports no {self.needs.what}")
        return found

    def input(self, shape: tuple[int, ...], dtype: str | None = None) -> NDArray[Any]:
        """An x without zeros, a new array."""
        key = ("input", shape, dtype or self.dtype)
        if key not in self.cache:
            self.cache[key] = make_input(shape, dtype or self.dtype, self.seed)
        x: NDArray[Any] = self.cache[key].copy()
        return x

    def cotangent(self, x: NDArray[Any]) -> NDArray[Any]:
        """A cotangent for the output of x, in the output's dtype, which is another array than x."""
        dtype = self.backend.output_dtype or x.dtype.name
        return make_input(x.shape, dtype, self.seed + 1)

    def forward(
        self,
        x: NDArray[Any],
        one: Map,
        *,
        seed: int | None,
        training: bool = True,
        drop_prob: float | None = None,
        call: str | None = None,
        readable: bool = True,
    ) -> NDArray[Any]:
        """The backend's output; an exception is a failure."""
        one = one if drop_prob is None else replace(one, drop_prob=drop_prob)
        call = call or self.forward_call(x, one, seed=seed, training=training)
        self.draws += self.masks(x)
        how: dict[str, Any] = {"training": training, "seed": seed, "call": call}
        y: NDArray[Any] = self._call(self.calls.forward, x, one, readable=readable, **how)
        self._remember(x, y, one, seed, readable=readable and training)
        return y

    def vjp(
        self,
        x: NDArray[Any],
        cotangent: NDArray[Any],
        one: Map,
        *,
        training: bool,
        seed: int,
        call: str | None = None,
        readable: bool = True,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """The backend's output and derivative."""
        self.draws += self.masks(x)
        how: dict[str, Any] = {"training": training, "seed": seed, "call": call or self.check_call()}
        y, x_bar = self._call(self.calls.vjp, x, cotangent, one, readable=readable, **how)
        self._remember(x, y, one, seed, readable=readable and training)
        return y, x_bar

    def _remember(self, x: NDArray[Any], y: NDArray[Any], one: Map, seed: int | None, *, readable: bool) -> None:
        """The masks of a call, which must not come again; those of large calls are looked at where they are counted."""
        seed = seed if self.backend.reseeds else None
        few = 0 < x.size <= _MOST_CELLS_REMEMBERED
        if not (readable and few and is_plain(x) and 0 < one.drop_prob < 1):
            self.repetition.skip(seed)
            return
        masks = np.moveaxis(self.dropped(x, y), self.layout(x).channel_axis, 1)
        law = find_law(one, self.backend.rules)
        samples, channels = own_masks(masks.shape[0], masks.shape[1], law.rules)
        self.repetition.add(masks[:samples, :channels].reshape(samples, channels, -1), law, seed)

    def apply(self, x: NDArray[Any], seeds: NDArray[np.bool_], one: Map, *, call: str) -> NDArray[Any]:
        """The backend's output for injected seeds."""
        self.draws += self.masks(x)
        return self._call(self.calls.apply, x, seeds, one, call=call)  # type: ignore[no-any-return]

    def draw_seeds(self, shape: tuple[int, ...], dtype: str, one: Map, *, seed: int, call: str) -> Any:
        """The seeds that the backend says that forward draws."""
        return self._call(self.calls.draw_seeds, shape, dtype, one, seed=seed, call=call)

    def _call(self, function: Callable[..., Any], *given: Any, **how: Any) -> Any:
        one = next(value for value in given if isinstance(value, Map))
        try:
            return function(*given, **how)
        except Refused as error:
            text, bears = str(error), "supported_input"
            usual = (one.spatial_shape, one.block_size) in self.calls.ordinary or "supported_input" in self.faults
            if isinstance(one.block_size, tuple) and not usual:
                bears = "per_axis_blocks"
            if isinstance(one.block_size, tuple) and "TypeError" in text:
                text += (
                    "\na backend that takes no block with a size per axis says so: declare accepts=lambda "
                    "spatial_shape, block_size: isinstance(block_size, int)"
                )
            raise CheckFailure(text, bears=bears, dtype=self._dtype_of(given)) from error
        except Unreadable as error:
            raise CheckFailure(str(error), bears=error.check, dtype=self._dtype_of(given)) from error

    def _dtype_of(self, given: Sequence[Any]) -> str:
        return next((value.dtype.name for value in given if isinstance(value, np.ndarray)), self.dtype)

    def forward_call(
        self, x: NDArray[Any], one: Map, *, seed: int | None, training: bool = True, drop_prob: float | None = None
    ) -> str:
        """The call that repeats an output, as text; one that goes on with a stream takes the whole check."""
        p = one.drop_prob if drop_prob is None else drop_prob
        if seed is None or not self.backend.reseeds:
            return f"{self.check_call()}  # the calls before it matter"
        return (
            f"x = make_input({x.shape}, {x.dtype.name!r}, {self.seed}); "
            f"backend.forward(x, {p!r}, {one.block_size!r}, training={training}, seed={seed})"
        )

    def check_call(self) -> str:
        """The call that repeats the present check, as text."""
        quick = ", 'quick'" if self.quick else ", 'compiled'" if self.compiled else ""
        return (
            f"check_backend(backend, checks=[{self.check!r}{quick}], seed={self.seed}, false_alarm={self.false_alarm})"
        )

    def seeds(self, count: int) -> range:
        """Seeds for the backend's draws."""
        return range(self.seed, self.seed + count)

    def begin(self, check: Check) -> None:
        """Another check: what is counted for each begins anew."""
        self.check, self.needs = check.name, check.needs
        self.draws, self.dropped_cells, self.detects = 0, 0, []
        with contextlib.suppress(CheckFailure):  # an `accepts` that fails is found by every check
            ordinary = self.find(ANY_MAP)
            self.calls.ordinary = frozenset((one.spatial_shape, one.block_size) for one in ordinary)
            self.calls.one_sample = any(self.batch(2, 2, one.spatial_shape)[0] == 1 for one in ordinary)

    def require_sound(self, names: Sequence[str]) -> None:
        """Where one of these is wrong in the same outputs, and nothing else is, what is left was not judged."""
        shown = self.shown | {fault.check for fault in self.calls.found if fault.special is None}
        for name in names:
            if name in shown:
                raise NotJudged(f"the same outputs are wrong in another way, see {name}")

    def file(self, fault: Fault) -> None:
        """Keep what a call of one check shows of another's property, if that is a check of this run."""
        for name in (fault.special, fault.check):
            if name is not None and (self.selected is None or name in self.selected):
                self.filed.setdefault(name, []).append(fault)
                return


@dataclass(frozen=True)
class Check:
    """A property that a backend must have."""

    name: str
    group: str
    function: Callable[[Run], Outcome]
    statistical: bool
    needs: Needs
    unless: Callable[[Backend], str | None]
    after: tuple[str, ...] = ()  # where one of these has failed, a failure of this one says nothing more
    judges: bool = False  # whether all that its outputs show is its own: it is about settings that others do not try

    @property
    def summary(self) -> str:
        """The property in one sentence."""
        lines = (self.function.__doc__ or "").strip().splitlines()  # python -OO leaves none
        return lines[0] if lines else self.name.replace("_", " ") + "."

    def idle(self, run: Run) -> str | None:
        """Why the property cannot be tried on the backend, as far as its own word tells; None where it can."""
        reason = self.unless(run.backend)
        if reason is None and "training" not in run.backend.modes and not self.name.startswith("evaluation"):
            reason = "the backend has no training"
        if reason is None and not run.find(self.needs):
            reason = f"the backend supports no {self.needs.what}"
        return reason

    def run(self, run: Run) -> CheckResult:
        """Try the property; expected failures are strict."""
        run.begin(self)
        raised: list[Fault] = []
        status, message = "passed", ""
        try:
            if (reason := self.idle(run)) is not None:
                status, message = "not_applicable", reason
            else:
                with np.errstate(all="ignore"):  # whatever a backend returns, it is judged
                    outcome = self.function(run)
                status, message = "reported" if outcome.reported else "passed", outcome.message
        except (NotApplicable, NotJudged) as error:
            status = "not_judged" if isinstance(error, NotJudged) else "not_applicable"
            message = str(error)
        except CheckFailure as error:
            raised = [Fault(error.bears or self.name, str(error), error.dtype or run.dtype)]
        own = []
        for fault in run.calls.take():
            if fault.special is None:
                run.shown.add(fault.check)
            if self.name in (fault.check, fault.special) or self._takes(fault, run):
                own.append(fault)
            else:
                run.file(fault)
        own += [*run.filed.pop(self.name, []), *raised]
        if own:
            run.faults[self.name] = own
        # Where a check has ended before it looked at rates, nothing was left to chance.
        false_alarm = run.share if self.statistical and run.detects else 0.0
        result = CheckResult(self.name, status, message, run.draws, false_alarm, "; ".join(dict.fromkeys(run.detects)))
        return self.conclude(result, own, run)

    def _takes(self, fault: Fault, run: Run) -> bool:
        """Whether what an output shows is this check's, and not that of one which is more to the point."""
        nearer = fault.special is not None and (run.selected is None or fault.special in run.selected)
        return self.judges and fault.check in OUTPUT and not nearer

    def conclude(self, result: CheckResult, faults: Sequence[Fault], run: Run) -> CheckResult:
        """The result with these faults, of which some may be expected."""
        expected = run.backend.expected_failures
        whole = expected.get(self.name)
        narrow = {
            dtype: expected[name] for dtype in run.backend.dtypes if (name := f"{self.name}[{dtype}]") in expected
        }
        unexpected = [fault for fault in faults if whole is None and fault.dtype not in narrow]
        if unexpected:
            return replace(result, status="failed", message=unexpected[0].text)
        seen = {fault.dtype for fault in faults}
        judged = result.status not in {"not_applicable", "not_judged"}
        for name, reason in ((self.name, whole), *((f"{self.name}[{dtype}]", narrow[dtype]) for dtype in narrow)):
            passes = not faults if name == self.name else name[len(self.name) + 1 : -1] not in seen
            if reason is not None and passes and judged:
                text = f"expected to fail ({reason}), but it passes: delete {name!r} from expected_failures"
                return replace(result, status="failed", message=text)
        if faults:
            reason = narrow[faults[0].dtype] if whole is None else whole
            return replace(result, status="expected_failure", message=f"{reason}\n{faults[0].text}")
        return result


_CHECKS: dict[str, Check] = {}


def check(
    group: str,
    needs: Needs | tuple[tuple[Map, ...], str],
    *,
    statistical: bool = False,
    unless: Callable[[Backend], str | None] = lambda _: None,
    after: tuple[str, ...] = (),
    judges: bool = False,
) -> Callable[[Callable[[Run], Outcome]], Callable[[Run], Outcome]]:
    """Register a function as the check of its name: a property that is tried on settings as it needs them."""
    wanted = needs if isinstance(needs, Needs) else Needs(needs[1], needs[0])

    def register(function: Callable[[Run], Outcome]) -> Callable[[Run], Outcome]:
        name = function.__name__
        _CHECKS[name] = Check(name, group, function, statistical, wanted, unless, after, judges)
        return function

    return register


def registered() -> Iterator[Check]:
    """All checks, in the order of their groups."""
    for group in GROUPS:
        yield from (one for one in _CHECKS.values() if one.group == group)


def possible_causes(name: str, fault: Fault) -> tuple[str, ...]:
    """The checks that, where they fail too, are the cause of what this one has found first."""
    if fault.check == name:
        return _CHECKS[name].after
    # What outputs of an edge show is the fault of the check whose name it bears, and of what that stands on.
    return (fault.check, *(_CHECKS[fault.check].after if fault.check in OUTPUT else _CHECKS[name].after))


def settle(run: Run, results: Sequence[CheckResult]) -> tuple[CheckResult, ...]:
    """The results in the light of each other: what calls of other checks have shown, and which failures are causes.

    A failure whose cause is another check's is `not_judged` and names it. A cause is never set aside itself, so that a
    run with a failure goes on to have one.
    """
    by_name = {result.name: result for result in results}
    faults = {name: found for name, found in run.faults.items() if name in by_name}
    for name, filed in run.filed.items():
        if name in by_name and name not in faults:
            faults[name] = filed
            by_name[name] = _CHECKS[name].conclude(by_name[name], filed, run)
    causes: dict[str, str | None] = {}

    def possible(name: str) -> Iterator[str]:
        yield from possible_causes(name, faults[name][0])
        if name == "search":  # it finds again what another check has found
            first = faults[name][0]
            yield from (
                other
                for other, (fault, *_) in faults.items()
                if (fault.check, fault.dtype) == (first.check, first.dtype) and other != name
            )

    def cause(name: str, visiting: tuple[str, ...] = ()) -> str | None:
        if name not in causes:
            for other in possible(name):
                # A check whose failure is blamed on this one is no cause of it.
                if other in faults and other not in (name, *visiting) and faults[other][0].check != name:
                    root = cause(other, (*visiting, name))
                    causes.setdefault(name, root or other)
                    break
            causes.setdefault(name, None)
        return causes[name]

    settled = []
    for name, result in by_name.items():
        root = cause(name) if name in faults and result.status in FAILING else None
        if root is not None and root != name:
            known = " (as expected)" if by_name[root].status == "expected_failure" else ""
            settled.append(
                replace(result, status="not_judged", message=f"see {root}, which fails first{known}", false_alarm=0.0)
            )
        else:
            settled.append(result)
    return tuple(settled)
