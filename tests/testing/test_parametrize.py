"""parametrize_with_checks: one pytest test per backend and check that applies; expected failures are strict.

What it does to a test run is tried in a pytest of its own, in a subprocess.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unittest
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dropblock_ref import backends, drop_block
from dropblock_ref.testing import Backend, Setting, iterate_checks, parametrize_with_checks
from dropblock_ref.testing.check import CheckFailure
from dropblock_ref.testing.oracle import CHECKS

ROOT = Path(__file__).resolve().parents[2]


def numpy_backend(**changed: Any) -> Backend:
    return replace(backends.load("numpy"), **changed)


def parameters(*args: Any, **how: Any) -> list[Any]:
    """The parameter sets of the decorator."""

    def test(backend: Backend, check: Any) -> None:
        check(backend)

    (mark,) = parametrize_with_checks(*args, **how)(test).pytestmark  # type: ignore[attr-defined]
    names, sets = mark.args
    assert tuple(names) == ("backend", "check")
    return list(sets)


# The parameters


def test_there_is_one_test_per_backend_and_check_with_its_name() -> None:
    sets = parameters([numpy_backend(), numpy_backend(name="other")])
    assert [one.id for one in sets] == [f"{name}-{one}" for name in ("numpy", "other") for one in (*CHECKS, "complete")]
    assert {one.values[0].name for one in sets} == {"numpy", "other"}


def test_checks_that_do_not_apply_make_no_test() -> None:
    box = Backend(name="box", forward=backends.load("numpy").forward, convention="timm")
    idle = {check.name for check in CHECKS.values() if check.unless(box) is not None}
    assert idle == {
        "replayed_mask",
        "replayed_values",
        "low_precision",
        "gradient",
        "evaluation_gradient",
        "channel_independence",
        "dtype_rates",
    }
    assert {one.id for one in parameters([box])} == {
        f"box-{name}" for name in (*CHECKS, "complete") if name not in idle
    }


@pytest.mark.parametrize("checks", ["quick", None, ["scale", "values"], "recover", ["quick", "distribution"]])
def test_checks_choose_tests(checks: Any) -> None:
    ids = [one.id.removeprefix("numpy-") for one in parameters([numpy_backend()], checks=checks)]
    names = [checks] if isinstance(checks, str) else list(checks or ())
    chosen = [name for name in names if name != "quick"]
    named = [name for name, check in CHECKS.items() if not chosen or name in chosen or check.group in chosen]
    assert ids == [*named, *([] if chosen else ["complete"])]


def twice(x: Any, drop_prob: float, block_size: Any, *, training: bool, seed: int | None) -> Any:
    return 2 * drop_block(x, drop_prob, block_size, rng=seed or 0, training=training)


def test_an_expected_failure_is_an_xfail_and_strict() -> None:
    known = Backend(name="twice", forward=twice, expected_failures={"scale": "known"})
    (one,) = parameters([known], checks=["scale"])
    with pytest.raises(pytest.xfail.Exception, match=r"known\nkept cells must be multiplied"):
        one.values[1](one.values[0])
    with pytest.raises(CheckFailure, match=r"expected to fail \(known\).*delete 'scale' from expected_failures"):
        one.values[1](numpy_backend(expected_failures={"scale": "known"}))


def test_no_backends_no_tests() -> None:
    assert parameters([]) == []


@pytest.mark.parametrize(
    ("args", "how", "error", "words"),
    [
        ([numpy_backend(expected_failures={"scael": "x"})], {}, ValueError, r"expected_failures.*got scael"),
        ([numpy_backend()], {"checks": ["nope"]}, ValueError, r"checks.*got 'nope'"),
        ([numpy_backend()], {"seed": -1}, ValueError, "seed"),
        ([numpy_backend()], {"seed": "0"}, TypeError, "seed"),
        ([numpy_backend()], {"false_alarm": 0}, ValueError, "false_alarm"),
        ([numpy_backend()], {"false_alarm": 2}, ValueError, "false_alarm"),
        (["numpy"], {}, TypeError, r"backend.*got 'numpy'"),
        ([None], {}, TypeError, "backend"),
    ],
)
def test_a_bad_argument_is_refused(args: Any, how: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        parametrize_with_checks(args, **how)


@pytest.mark.parametrize("given", [numpy_backend(), 5])
def test_one_backend_instead_of_several_is_refused_by_name(given: Any) -> None:
    with pytest.raises(TypeError, match="backends"):
        parametrize_with_checks(given)


def test_a_check_takes_any_backend_and_draws_anew_for_each_call() -> None:
    calls = []
    good = numpy_backend()

    def forward(*given: Any, **how: Any) -> Any:
        calls.append(given)
        return good.forward(*given, **how)

    (one,) = parameters([good], checks=["cell_rates", "quick"])
    _, check = one.values
    check(Backend(name="first", forward=forward))
    first = len(calls)
    assert first > 0
    check(Backend(name="second", forward=forward))
    assert len(calls) == 2 * first


def test_a_backend_may_come_from_a_function_that_is_called_in_the_test() -> None:
    made = []

    def make() -> Backend:
        made.append(1)
        return numpy_backend()

    sets = parameters([make], checks=["scale", "complete"][:1])
    assert [one.id for one in sets] == ["make-scale"]
    assert not made
    backend, check = sets[0].values
    check(backend)
    assert made == [1]


def test_without_backends_only_the_check_is_a_parameter() -> None:
    def test(check: Any) -> None:
        check(numpy_backend())

    (mark,) = parametrize_with_checks(checks=["scale", "values"])(test).pytestmark  # type: ignore[attr-defined]
    assert mark.args[0] == "check"
    assert [one.id for one in mark.args[1]] == ["scale", "values"]
    for one in mark.args[1]:
        test(one.values[0])


def test_a_method_of_a_test_case_is_told_what_to_use() -> None:
    class Case(unittest.TestCase):
        @parametrize_with_checks([numpy_backend()], checks=["scale"])
        def test(self, backend: Any, check: Any) -> None:
            check(backend)

    result = unittest.TestResult()
    Case("test").run(result)
    assert "use: for backend, check in iterate_checks(backends)" in result.errors[0][1]


def test_checks_are_iterated_for_test_cases_of_unittest() -> None:
    known = Backend(name="twice", forward=twice, expected_failures={"scale": "known"})
    outcomes = {}
    for backend, check in iterate_checks(
        [known, lambda: numpy_backend(vjp=None)], checks=["scale", "gradient", "values"]
    ):
        try:
            check(backend)
        except (unittest.SkipTest, AssertionError) as outcome:  # noqa: PERF203
            outcomes[getattr(backend, "name", "numpy"), str(check)] = f"{type(outcome).__name__} {outcome}"[:28]
    assert outcomes == {
        ("twice", "scale"): "SkipTest expected failure: k",
        ("twice", "gradient"): "SkipTest not applicable: the",
        ("numpy", "gradient"): "SkipTest not applicable: the",
    }


def test_a_failure_that_is_not_the_cause_is_skipped_and_names_it() -> None:
    """One broken thing fails one test; every test finds out by itself."""

    def refuses(*_: Any, **__: Any) -> Any:
        raise SystemExit(0)

    found: dict[str, str] = {}
    for one in parameters([Backend(name="refuses", forward=refuses)], checks=["quick", "recover"]):
        backend, check = one.values
        try:
            check(backend)
        except CheckFailure as error:
            found[str(check)] = "failed"
            text = str(error)
        except pytest.skip.Exception as skipped:
            found[str(check)] = str(skipped)
    assert [name for name, outcome in found.items() if outcome == "failed"] == ["supported_input"]
    assert "SystemExit: 0 (which ends the program or the test, and is no verdict)" in text
    assert found["scale"] == "not judged: see supported_input, which fails first"


def test_what_a_call_shows_of_another_check_fails_where_that_check_misses_it() -> None:
    good = numpy_backend()

    def forward(x: Any, drop_prob: float, block_size: Any, *, training: bool, seed: int | None) -> Any:
        y = good.forward(x, drop_prob, block_size, training=training, seed=seed)
        return 2 * y if training and drop_prob and x.shape[-1] == 5 else y

    (one, *_) = parameters([Backend(name="wide", forward=forward)], checks=["cell_rates", "scale", "quick"])[1:]
    backend, check = one.values
    with pytest.raises(CheckFailure, match="a call of this check shows what scale is about: kept cells"):
        check(backend)


def test_completeness_is_a_test_of_its_own_without_a_call() -> None:
    def forward(*_: Any, **__: Any) -> Any:
        raise NotImplementedError

    *_, one = parameters([Backend(name="none", forward=forward, accepts=lambda *_: False)])
    backend, check = one.values
    with pytest.raises(CheckFailure, match=r"INCOMPLETE: the backend accepts no setting.*settings="):
        check(backend)
    check(Backend(name="seven", forward=forward, accepts=lambda _, block_size: block_size == 7))


def test_a_failing_check_raises_its_message() -> None:
    (one,) = parameters([Backend(name="twice", forward=twice)], checks=["scale"])
    backend, check = one.values
    with pytest.raises(CheckFailure, match=r"multiplied by the scale count\(M\)[\s\S]*reproduce: "):
        check(backend)


def test_a_check_without_a_map_makes_no_test() -> None:
    sets = parameters([numpy_backend(accepts=lambda _, block_size: isinstance(block_size, int))])
    assert set(CHECKS) - {one.id.removeprefix("numpy-") for one in sets} == {"per_axis_blocks"}


def test_an_accepts_that_fails_is_a_failure_of_the_test() -> None:
    (one,) = parameters([numpy_backend(accepts=lambda *_: 1 / 0)], checks=["scale"])
    backend, check = one.values
    with pytest.raises(CheckFailure, match="ZeroDivisionError"):
        check(backend)


def test_a_check_that_turns_out_not_to_apply_is_skipped() -> None:
    one_map = numpy_backend(settings=(Setting((1, 1), 1, 0.01, 1, 1),), spatial_ndims=(2,), dtypes=("float32",))
    (one,) = parameters([one_map], checks=["stream_goes_on"])
    backend, check = one.values
    with pytest.raises(pytest.skip.Exception, match=r"not judged: two draws on 1x1.* are the same with a probability"):
        check(backend)


# A pytest run

FILE = """
import numpy as np
from dropblock_ref import backends, drop_block
from dropblock_ref.testing import Backend, parametrize_with_checks

good = backends.load("numpy")
streams = {}

def unscaled(x, drop_prob, block_size, *, training, seed):
    y = good.forward(x, drop_prob, block_size, training=training, seed=seed)
    return np.where(y == 0, y, x)

def make(name, **more):
    return Backend(name=name, forward=unscaled, **more)

CHECKS = ["legal_blocks", "scale", "values", "evaluation_identity", "gradient"]

@parametrize_with_checks(
    [
        good,
        make("broken"),
        make("known", expected_failures={"scale": "not scaled, issue 7"}),
        Backend(name="fixed", forward=good.forward, expected_failures={"scale": "not scaled, issue 7"}),
    ],
    checks=CHECKS,
)
def test_drop_block(backend, check):
    check(backend)

def raises(x, drop_prob, block_size, *, training, seed):
    raise RuntimeError("out of order")

@parametrize_with_checks([Backend(name="raising", forward=raises)], checks=["values"])
def test_raising(backend, check):
    check(backend)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, str], str]:
    """Exit code, what became of every test, and the whole text of a pytest run over FILE."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "test_mine.py").write_text(FILE)
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-rA", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "."],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"^test_mine\.py::\w+\[([\w-]+)\] (\w+)", done.stdout, re.MULTILINE)
    return done.returncode, dict(found), done.stdout + done.stderr


def test_a_run_has_exactly_the_tests_that_apply(outcomes: tuple[int, dict[str, str], str]) -> None:
    code, found, text = outcomes
    assert code == 1, text
    expected = {f"numpy-{name}" for name in ("legal_blocks", "scale", "values", "evaluation_identity", "gradient")}
    for backend in ("broken", "known", "fixed"):
        expected |= {f"{backend}-{name}" for name in ("legal_blocks", "scale", "values", "evaluation_identity")}
    assert set(found) == expected | {"raising-values"}


def test_a_correct_backend_passes_and_a_broken_one_fails_the_right_test_only(
    outcomes: tuple[int, dict[str, str], str],
) -> None:
    _, found, _ = outcomes
    assert {result for test, result in found.items() if test.startswith("numpy-")} == {"PASSED"}
    assert {test for test, result in found.items() if result == "FAILED" and test.startswith("broken-")} == {
        "broken-scale"
    }
    assert found["raising-values"] == "FAILED"


def test_expected_failures_are_strict(outcomes: tuple[int, dict[str, str], str]) -> None:
    _, found, text = outcomes
    assert found["known-scale"] == "XFAIL"
    assert found["fixed-scale"] == "FAILED"
    assert "expected to fail (not scaled, issue 7), but it passes: delete 'scale' from expected_failures" in text
    others = {result for test, result in found.items() if re.match("(known|fixed)-", test) and "scale" not in test}
    assert others == {"PASSED"}


def test_nothing_is_skipped_and_failures_say_what_is_wrong(outcomes: tuple[int, dict[str, str], str]) -> None:
    _, found, text = outcomes
    assert set(found.values()) == {"PASSED", "FAILED", "XFAIL"}
    assert "skipped" not in text.splitlines()[-1]
    assert "which is no scale at all" in text
    assert re.search(r"RuntimeError.*out of order", text)
    assert "reproduce: x = make_input(" in text


def test_unknown_checks_stop_the_collection(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        FILE.replace('expected_failures={"scale": "not', 'expected_failures={"scael": "not')
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "."],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "expected_failures must name checks" in done.stdout
    assert "scael" in done.stdout
