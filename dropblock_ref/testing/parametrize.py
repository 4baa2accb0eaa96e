"""A pytest decorator: one test per backend and check. The only file of the oracle that needs pytest."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import pytest

from .backend import Backend
from .check import CheckFailure, Run
from .oracle import BoundCheck, Completeness, bind_checks, check_backends


def parametrize_with_checks(
    backends: Iterable[Backend | Callable[[], Backend]] | None = None,
    *,
    checks: str | Iterable[str] | None = None,
    seed: int = 0,
    false_alarm: float = 1e-9,
    examples: int | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Parametrize a test over backends and the checks that apply to them, as scikit-learn's decorator of that name.

    Every test draws for itself: nothing is taken over from another one, or from other parameters of the same one. One
    more test, ``complete``, says without a call whether the declarations leave enough to judge.

    Parameters
    ----------
    backends : iterable of Backend, or of functions that return one; optional
        The implementations under test. A function is called in the test. Without any the test has the parameter `check`
        alone, and calls it with a Backend of its own, of a fixture for example.
    checks, seed, false_alarm, examples
        As for `check_backend`; `false_alarm` is the budget of all tests of one backend together.

    Returns
    -------
    decorator
        For a test function with the parameters `backend` and `check`, which calls ``check(backend)``. A check in
        `expected_failures` is an xfail where it fails, and a failure where it passes.

    Raises
    ------
    TypeError, ValueError
        As `check_backend`.

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
    bound = bind_checks(checks, seed, false_alarm, examples)
    tests = [PytestCheck(one) for one in bound]
    if backends is None:
        mark = pytest.mark.parametrize("check", [pytest.param(one, id=str(one)) for one in tests])
        return lambda function: mark(_refuse_test_cases(function))
    parameters = []
    for backend in check_backends(backends):
        name = backend.name if isinstance(backend, Backend) else getattr(backend, "__name__", type(backend).__name__)
        apply = [one for one in tests if not isinstance(backend, Backend) or one.applies(backend)]
        parameters += [pytest.param(backend, one, id=f"{name}-{one}") for one in apply]
    mark = pytest.mark.parametrize(("backend", "check"), parameters)
    return lambda function: mark(_refuse_test_cases(function))


@dataclass(frozen=True)
class PytestCheck:
    """A check as a pytest test calls it."""

    bound: BoundCheck | Completeness

    def __str__(self) -> str:
        return str(self.bound)

    def applies(self, backend: Backend) -> bool:
        """Whether the backend, by its own word, has what the check is about."""
        if isinstance(self.bound, Completeness):
            return True
        try:
            return self.bound.check.idle(Run(backend, 0, 1e-9)) is None
        except CheckFailure:  # the backend's `accepts` fails: a failure of the test, which says so
            return True

    def __call__(self, backend: Backend | Callable[[], Backend]) -> None:
        """Fail, skip or xfail where the check does not pass."""
        __tracebackhide__ = True
        given = backend if isinstance(backend, Backend) else backend()
        if isinstance(self.bound, Completeness):
            self.bound(given)
            return
        result = self.bound.result(given)
        if result.status == "failed":
            raise CheckFailure(result.message)
        if result.status == "expected_failure":
            pytest.xfail(result.message)
        if result.status in {"not_applicable", "not_judged"}:
            pytest.skip(f"{result.status.replace('_', ' ')}: {result.message}")


def _refuse_test_cases(function: Callable[..., Any]) -> Callable[..., Any]:
    """Say what to use where pytest cannot pass parameters: in a method of a unittest.TestCase."""

    @wraps(function)
    def test(*given: Any, **parameters: Any) -> Any:
        __tracebackhide__ = True
        if "check" not in parameters and given and isinstance(given[0], unittest.TestCase):
            raise TypeError(
                "parametrize_with_checks cannot decorate a method of unittest.TestCase, to which pytest passes no "
                "parameters; use: for backend, check in iterate_checks(backends): with self.subTest(check=str(check)): "
                "check(backend)"
            )
        return function(*given, **parameters)

    return test
