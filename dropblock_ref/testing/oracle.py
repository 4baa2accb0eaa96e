"""check_backend: all checks over one backend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..arguments import check_instance, check_integer, describe
from . import distribution, edge_cases, gradients, recover, replay, search  # noqa: F401  (they register their checks)
from .assertions import check_false_alarm
from .backend import Backend
from .check import GROUPS, Check, Run, registered
from .report import CheckResult, Report

CHECKS: dict[str, Check] = {check.name: check for check in registered()}


def check_backend(
    backend: Backend, *, checks: str | Iterable[str] | None = None, seed: int = 0, false_alarm: float = 1e-9
) -> Report:
    """Check whether a backend does what DropBlock must do.

    Parameters
    ----------
    backend : Backend
        The implementation under test.
    checks : str or iterable of str, optional
        Names of checks or of their groups ``"replay"``, ``"recover"``, ``"distribution"``; ``"quick"`` for all of them
        with fewer draws. By default all.
    seed : int
        Of the oracle's own choices, and the first one given to the backend; the same seed repeats the run.
    false_alarm : float
        Upper bound, from 1e-100 to below 1, of the probability that a correct backend fails anything in a whole run. It
        is split in advance over all checks that leave something to chance, whichever are run.

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
    backend, selected, run = _plan(backend, checks, seed, false_alarm)
    results = tuple(one.run(run) for one in selected)
    return Report(backend.name, backend.rules.name, run.seed, results)


def run_checks(
    backend: Backend, *, checks: str | Iterable[str] | None = None, seed: int = 0, false_alarm: float = 1e-9
) -> Iterator[tuple[int, int, str, CheckResult | None]]:
    """The same as a stream for showing progress: (number, of how many, name, None before and the result after)."""
    _, selected, run = _plan(backend, checks, seed, false_alarm)
    for number, one in enumerate(selected):
        yield number, len(selected), one.name, None
        yield number, len(selected), one.name, one.run(run)


def _plan(
    backend: Any, checks: str | Iterable[str] | None, seed: Any, false_alarm: Any
) -> tuple[Backend, list[Check], Run]:
    seed, false_alarm = validate_backend(backend, seed, false_alarm)
    selected, quick = select_checks(checks)
    return backend, selected, Run(backend, seed, false_alarm, quick)


def validate_backend(backend: Any, seed: Any, false_alarm: Any) -> tuple[int, float]:
    """Refuse what is no Backend, or expects failures of unknown checks; the seed and the error budget, judged."""
    check_instance(backend, "backend", Backend, "a dropblock_ref.testing.Backend")
    unknown = sorted(set(backend.expected_failures) - set(CHECKS))
    if unknown:
        raise ValueError(f"expected_failures must name checks, of {', '.join(CHECKS)}; got {', '.join(unknown)}")
    return check_integer(seed, "seed", 0), check_false_alarm(false_alarm)


def select_checks(checks: Any) -> tuple[list[Check], bool]:
    """The checks of these names and groups, in their own order, and whether with fewer draws."""
    if checks is None:
        return list(CHECKS.values()), False
    accepted = f"checks must be names of checks or groups, of {', '.join((*GROUPS, 'quick', *CHECKS))}"
    if not isinstance(checks, Iterable):
        raise TypeError(f"{accepted}; got {describe(checks)}")
    names = [checks] if isinstance(checks, str) else list(checks)
    if not names:
        raise ValueError(f"{accepted}; got none")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{accepted}; got {describe(name)}")
    quick = "quick" in names
    names = [name for name in names if name != "quick"]
    for name in names:
        if name not in CHECKS and name not in GROUPS:
            raise ValueError(f"{accepted}; got {describe(name)}")
    selected = [one for one in CHECKS.values() if not names or one.name in names or one.group in names]
    return selected, quick
