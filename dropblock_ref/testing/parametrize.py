"""A pytest decorator: one test per backend and check. The only file of the oracle that needs pytest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from ..arguments import describe
from .backend import Backend
from .check import Check, CheckFailure, Run
from .oracle import select_checks, validate_backend


def parametrize_with_checks(
    backends: Iterable[Backend],
    *,
    checks: str | Iterable[str] | None = None,
    seed: int = 0,
    false_alarm: float = 1e-9,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Parametrize a test over backends and the checks that apply to them, as scikit-learn's decorator of that name.

    Parameters
    ----------
    backends : iterable of Backend
        The implementations under test. A check in `expected_failures` becomes a strict xfail.
    checks, seed, false_alarm
        As for `check_backend`; `false_alarm` is the budget of all tests of one backend together.

    Returns
    -------
    decorator
        For a test function with the parameters `backend` and `check`, which calls ``check(backend)``.

    Raises
    ------
    TypeError, ValueError
        As `check_backend`, or if no check applies to a backend.

    Examples
    --------
    In a test file, with a backend of yours:

    >>> from dropblock_ref import backends
    >>> from dropblock_ref.testing import parametrize_with_checks
    >>> @parametrize_with_checks([backends.load("numpy")])
    ... def test_drop_block(backend, check):
    ...     check(backend)

    The tests bear the names of backend and check:

    >>> [case.id for case in test_drop_block.pytestmark[0].args[1]][:2]
    ['numpy-replayed_mask', 'numpy-replayed_values']
    """
    parameters = []
    selected, quick = select_checks(checks)
    if not isinstance(backends, Iterable):
        raise TypeError(f"backends must be an iterable of Backend, got {describe(backends)}")
    for backend in backends:
        seed, false_alarm = validate_backend(backend, seed, false_alarm)
        # One run for all tests of a backend, so that checks that look at the same draws share them. A failure is a
        # failure here: pytest's own strict xfail stands for an expected one.
        run = Run(replace(backend, expected_failures={}), seed, false_alarm, quick)
        for one in selected:
            if _applies(one, run):
                reason = backend.expected_failures.get(one.name)
                marks = () if reason is None else pytest.mark.xfail(reason=reason, strict=True, raises=CheckFailure)
                name = f"{backend.name}-{one.name}"
                parameters.append(pytest.param(run.backend, partial(_run_check, run, one), id=name, marks=marks))
        if not any(_applies(one, run) for one in selected):
            raise ValueError(f"no check applies to backend {backend.name!r}: {selected[0].idle(run)}")
    return pytest.mark.parametrize(("backend", "check"), parameters)


def _applies(one: Check, run: Run) -> bool:
    try:
        return one.idle(run) is None
    except CheckFailure:  # the backend's `accepts` fails: a failure of the test, which says so
        return True


def _run_check(run: Run, one: Check, backend: Backend) -> None:
    if backend is not run.backend:
        raise ValueError(f"check must be called with the backend of its own test, {run.backend.name!r}")
    result = one.run(run)
    if result.status == "failed":
        raise CheckFailure(result.message)
    if result.status == "not_applicable":  # which only the draws could tell
        pytest.skip(result.message)
