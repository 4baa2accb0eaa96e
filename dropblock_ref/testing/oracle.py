"""check_backend: all checks over one backend."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..arguments import check_instance, check_integer, describe
from . import distribution, edge_cases, gradients, recover, replay, search  # noqa: F401  (they register their checks)
from .assertions import check_false_alarm
from .backend import Backend
from .check import GROUPS, Check, CheckFailure, Run, possible_causes, registered, settle
from .maps import ANY_MAP, ANY_SETTING
from .report import ESSENTIAL, FAILING, CheckResult, Report, find_versions
from .settings import Accepted

CHECKS: dict[str, Check] = {check.name: check for check in registered()}
PROFILES = ("quick", "compiled")


def check_backend(
    backend: Backend,
    *,
    checks: str | Iterable[str] | None = None,
    seed: int = 0,
    false_alarm: float = 1e-9,
    examples: int | None = None,
) -> Report:
    """Check whether a backend does what DropBlock must do.

    Parameters
    ----------
    backend : Backend
        The implementation under test.
    checks : str or iterable of str, optional
        Names of checks or of their groups ``"replay"``, ``"recover"``, ``"search"``, ``"distribution"``; ``"quick"``
        for all of them with fewer draws, ``"compiled"`` with few different shapes too, for backends that compile for
        each. By default all.
    seed : int
        Of the oracle's own choices, and the first one given to the backend; the same seed repeats the run.
    false_alarm : float
        Upper bound, from 1e-100 to below 1, of the probability that a correct backend fails anything in a whole run. It
        is split in advance over all checks that leave something to chance, whichever are run.
    examples : int, optional
        Calls that the check ``search`` draws, at least 1. By default 100, and 25 with ``"quick"`` or ``"compiled"``.

    Returns
    -------
    Report
        ``report.passed`` and ``report.results``; as text a table.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or `checks` or the backend's expected failures name a check
        that does not exist. What the backend raises is a failure in the report.

    Examples
    --------
    >>> from dropblock_ref import backends
    >>> from dropblock_ref.testing import check_backend
    >>> report = check_backend(backends.load("numpy"), checks=["evaluation_identity", "legal_blocks"])
    >>> report.passed
    True
    """
    progress = run_checks(backend, checks=checks, seed=seed, false_alarm=false_alarm, examples=examples)
    for _ in progress:
        pass
    return progress.report()


class Progress(Iterator[tuple[int, int, str, CheckResult | None]]):
    """A run of checks, step by step; `report` gives what there is, at any time."""

    def __init__(self, backend: Backend, selected: Selection, run: Run) -> None:
        self.backend = backend
        self.selected = selected
        self.run = run
        self.results: list[CheckResult] = []
        self._steps = self._walk()

    def __next__(self) -> tuple[int, int, str, CheckResult | None]:
        return next(self._steps)

    def _walk(self) -> Iterator[tuple[int, int, str, CheckResult | None]]:
        checks = self.selected.checks
        try:
            for number, one in enumerate(checks):
                yield number, len(checks), one.name, None
                result = one.run(self.run)
                self.results.append(result)
                yield number, len(checks), one.name, result
        finally:
            self.run.cache.clear()  # a run is in reference cycles, with its exceptions, and what it has drawn is large

    def report(self) -> Report:
        """What has been found so far, in the light of each other."""
        backend, calls = self.backend, self.run.calls
        results = settle(self.run, self.results)
        interrupted = len(results) < len(self.selected.checks)
        if "*" in backend.expected_failures:
            results = _expect_some(results, backend.expected_failures["*"], interrupted)
        module = getattr(backend.forward, "__module__", None) or ""
        frameworks = ("torch", "jax", "tensorflow", "keras", backend.name, module.partition(".")[0])
        return Report(
            backend.name,
            backend.rules.name,
            self.run.seed,
            results,
            only=self.selected.only,
            essential=() if self.selected.only else essential(backend),
            limits=backend.limits,
            dtypes=backend.dtypes,
            counts={"calls": calls.count, "shapes": len(calls.signatures), "seconds": calls.seconds},
            versions=find_versions(*(name for name in frameworks if name)),
            interrupted=interrupted,
        )


def _expect_some(results: tuple[CheckResult, ...], reason: str, interrupted: bool) -> tuple[CheckResult, ...]:
    """Any failure is expected; none is a failure."""
    failed = [result for result in results if result.status == "failed"]
    if failed:
        return tuple(
            replace(result, status="expected_failure", message=f"{reason}\n{result.message}")
            if result in failed
            else result
            for result in results
        )
    if interrupted:
        return results
    text = f"expected to fail somewhere ({reason}), but everything passes: delete '*' from expected_failures"
    return (*results, CheckResult("*", "failed", text))


def run_checks(
    backend: Backend,
    *,
    checks: str | Iterable[str] | None = None,
    seed: int = 0,
    false_alarm: float = 1e-9,
    examples: int | None = None,
) -> Progress:
    """Run checks step by step, to show progress or to stop.

    Parameters
    ----------
    backend, checks, seed, false_alarm, examples
        As for `check_backend`.

    Returns
    -------
    iterator
        Of (number, of how many, name, None before a check and its result after it). Its ``report()`` gives a `Report`
        of what there is, at any time; only there are results seen in the light of each other.

    Raises
    ------
    TypeError, ValueError
        As `check_backend`.

    Examples
    --------
    >>> from dropblock_ref import backends
    >>> from dropblock_ref.testing import run_checks
    >>> progress = run_checks(backends.load("numpy"), checks=["scale", "values"])
    >>> [name for _, _, name, result in progress if result is not None]
    ['scale', 'values']
    >>> progress.report().passed
    True
    """
    seed, false_alarm = validate_backend(backend, seed, false_alarm)
    selected = select_checks(checks, examples)
    return Progress(backend, selected, selected.begin(backend, seed, false_alarm))


def essential(backend: Backend) -> tuple[str, ...]:
    """The properties that must be judged on a backend: all, but for what it says that it has not."""
    evaluation, *training = ESSENTIAL
    return (
        *((evaluation,) if "evaluation" in backend.modes else ()),
        *(training if "training" in backend.modes else ()),
    )


def missing_settings(backend: Backend) -> str:
    """What the declarations of a backend leave without a setting to be judged on; empty where nothing. No call."""
    wanted = [ANY_SETTING, *([ANY_MAP] if "training" in backend.modes else [])]
    accepted = Accepted(backend)
    lacking = [needs.what for needs in wanted if not accepted.find(needs)]
    return f"the backend accepts no {lacking[0]}, of all that were asked for" if lacking else ""


def validate_backend(backend: Any, seed: Any, false_alarm: Any) -> tuple[int, float]:
    """Refuse what is no Backend, or expects failures of unknown checks; the seed and the error budget, judged."""
    check_instance(backend, "backend", Backend, "a dropblock_ref.testing.Backend")
    known = {*CHECKS, "*", *(f"{name}[{dtype}]" for name in CHECKS for dtype in backend.dtypes)}
    unknown = sorted(set(backend.expected_failures) - known)
    if unknown:
        raise ValueError(
            f"expected_failures must name checks, of {', '.join(CHECKS)}, as they are or with a dtype of the backend "
            f"in brackets, or '*'; got {', '.join(unknown)}"
        )
    return check_integer(seed, "seed", 0), check_false_alarm(false_alarm)


@dataclass(frozen=True)
class Selection:
    """Which checks are run, and how."""

    checks: tuple[Check, ...]
    profile: str | None
    only: tuple[str, ...]  # names and groups, where not all are run
    examples: int | None = None

    def begin(self, backend: Backend, seed: int, false_alarm: float) -> Run:
        """A run of these checks."""
        return Run(
            backend,
            seed,
            false_alarm,
            quick=self.profile is not None,
            compiled=self.profile == "compiled",
            selected=frozenset(one.name for one in self.checks),
            examples=self.examples,
        )


def select_checks(checks: Any, examples: Any = None) -> Selection:
    """The checks of these names and groups, in their own order, and whether with fewer draws."""
    if examples is not None:
        examples = check_integer(examples, "examples", 1)
    if checks is None:
        return Selection(tuple(CHECKS.values()), None, (), examples)
    accepted = f"checks must be names of checks or groups, of {', '.join((*GROUPS, *PROFILES, *CHECKS))}"
    if not isinstance(checks, Iterable):
        raise TypeError(f"{accepted}; got {describe(checks)}")
    names = [checks] if isinstance(checks, str) else list(checks)
    if not names:
        raise ValueError(f"{accepted}; got none")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{accepted}; got {describe(name)}")
        if name not in CHECKS and name not in GROUPS and name not in PROFILES:
            raise ValueError(f"{accepted}; got {describe(name)}")
    profile = "compiled" if "compiled" in names else "quick" if "quick" in names else None
    only = tuple(dict.fromkeys(name for name in names if name not in PROFILES))
    selected = tuple(one for one in CHECKS.values() if not only or one.name in only or one.group in only)
    return Selection(selected, profile, only if len(selected) < len(CHECKS) else (), examples)


@dataclass(frozen=True)
class BoundCheck:
    """One check, to be called with a backend: it returns where that passes, and raises where it does not.

    Nothing is kept between two calls: every call draws anew, whatever has been tested before.
    """

    check: Check
    selection: Selection
    seed: int
    false_alarm: float

    def __str__(self) -> str:
        return self.check.name

    def __call__(self, backend: Backend | Callable[[], Backend]) -> None:
        """Raise where the check does not pass."""
        __tracebackhide__ = True
        result = self.result(backend if isinstance(backend, Backend) else backend())
        if result.status == "failed":
            raise CheckFailure(result.message)
        if result.status in {"not_applicable", "not_judged", "expected_failure"}:
            raise unittest.SkipTest(f"{result.status.replace('_', ' ')}: {result.message}")

    def result(self, backend: Backend) -> CheckResult:
        """The result of this check on a backend, on its own."""
        validate_backend(backend, self.seed, self.false_alarm)
        run = self.selection.begin(backend, self.seed, self.false_alarm)
        result = self.check.run(run)
        if self.check.name in run.faults and result.status in FAILING:
            # Which of the checks that might be the cause fails by itself? That one's test says more.
            for name in possible_causes(self.check.name, run.faults[self.check.name][0]):
                if name != self.check.name and self._fails(name, backend):
                    return replace(result, status="not_judged", message=f"see {name}, which fails first")
        elif result.status in {"passed", "reported"}:
            for name, faults in run.filed.items():
                if faults and name not in backend.expected_failures and not self._fails(name, backend):
                    message = f"a call of this check shows what {name} is about: {faults[0].text}"
                    return replace(result, status="failed", message=message)
        return result

    def _fails(self, name: str, backend: Backend) -> bool:
        chosen = [one for one in self.selection.checks if one.name == name]
        run = self.selection.begin(backend, self.seed, self.false_alarm)
        return bool(chosen) and chosen[0].run(run).status in FAILING


@dataclass(frozen=True)
class Completeness:
    """Whether the declarations of a backend leave something to judge each essential property on; without a call."""

    def __str__(self) -> str:
        return "complete"

    def __call__(self, backend: Backend | Callable[[], Backend]) -> None:
        """Raise where they do not."""
        __tracebackhide__ = True
        text = missing_settings(backend if isinstance(backend, Backend) else backend())
        if text:
            raise CheckFailure(
                f"INCOMPLETE: {text}; what passes says little. Declare what the backend is for: "
                "settings=(Setting(spatial_shape, block_size, drop_prob), ...) or accepts="
            )


def bind_checks(
    checks: str | Iterable[str] | None, seed: int, false_alarm: float, examples: int | None
) -> tuple[BoundCheck | Completeness, ...]:
    """What is called with a backend, one for each check, and one for whether they say enough."""
    selection = select_checks(checks, examples)
    seed, false_alarm = check_integer(seed, "seed", 0), check_false_alarm(false_alarm)
    bound = tuple(BoundCheck(one, selection, seed, false_alarm) for one in selection.checks)
    return bound if selection.only else (*bound, Completeness())


def iterate_checks(
    backends: Iterable[Backend | Callable[[], Backend]],
    *,
    checks: str | Iterable[str] | None = None,
    seed: int = 0,
    false_alarm: float = 1e-9,
    examples: int | None = None,
) -> Iterator[tuple[Any, BoundCheck | Completeness]]:
    """Backends and checks, for unittest and absl, whose methods take no parameters.

    Parameters
    ----------
    backends : iterable of Backend, or of functions that return one
        The implementations under test.
    checks, seed, false_alarm, examples
        As for `check_backend`.

    Yields
    ------
    backend, check
        ``check(backend)`` returns where it passes, and raises an AssertionError where it fails, unittest.SkipTest where
        it does not apply, is not judged, or fails as expected; ``str(check)`` is its name.

    Raises
    ------
    TypeError, ValueError
        As `check_backend`.

    Examples
    --------
    >>> import io, unittest
    >>> from dropblock_ref import backends
    >>> from dropblock_ref.testing import iterate_checks
    >>> class TestDropBlock(unittest.TestCase):
    ...     def test_drop_block(self):
    ...         for backend, check in iterate_checks([backends.load("numpy")], checks=["scale", "values"]):
    ...             with self.subTest(backend=backend.name, check=str(check)):
    ...                 check(backend)
    >>> unittest.TextTestRunner(stream=io.StringIO()).run(TestDropBlock("test_drop_block")).wasSuccessful()
    True
    """
    bound = bind_checks(checks, seed, false_alarm, examples)
    for backend in check_backends(backends):
        for one in bound:
            yield backend, one


def check_backends(backends: Any) -> list[Any]:
    """Backends, and functions that return one."""
    accepted = "backends must be an iterable of Backend, or of functions that return one"
    if not isinstance(backends, Iterable):
        raise TypeError(f"{accepted}, got {describe(backends)}")
    listed = list(backends)
    for backend in listed:
        if isinstance(backend, Backend) or not callable(backend):
            validate_backend(backend, 0, 1e-9)
    return listed
