"""parametrize_with_checks: one pytest test per backend and check that applies; expected failures are strict.

What it does to a test run is tried in a pytest of its own, in a subprocess.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dropblock_ref import backends, drop_block
from dropblock_ref.testing import Backend, parametrize_with_checks
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
    assert [one.id for one in sets] == [f"{name}-{check}" for name in ("numpy", "other") for check in CHECKS]
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
    assert {one.id for one in parameters([box])} == {f"box-{name}" for name in CHECKS if name not in idle}


@pytest.mark.parametrize("checks", ["quick", None, ["scale", "values"], "recover", ["quick", "distribution"]])
def test_checks_choose_tests(checks: Any) -> None:
    ids = [one.id.removeprefix("numpy-") for one in parameters([numpy_backend()], checks=checks)]
    names = [checks] if isinstance(checks, str) else list(checks or ())
    chosen = [name for name in names if name != "quick"]
    assert ids == [name for name, check in CHECKS.items() if not chosen or name in chosen or check.group in chosen]


def test_an_expected_failure_is_a_strict_xfail_of_that_check_only() -> None:
    sets = parameters([numpy_backend(expected_failures={"scale": "known"})], checks=["scale", "values"])
    by_name = {one.id: one.marks for one in sets}
    assert by_name["numpy-values"] == ()
    (mark,) = by_name["numpy-scale"]
    assert mark.name == "xfail"
    assert mark.kwargs == {"reason": "known", "strict": True, "raises": CheckFailure}


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


@pytest.mark.parametrize("given", [numpy_backend(), 5, None])
def test_one_backend_instead_of_several_is_refused_by_name(given: Any) -> None:
    with pytest.raises(TypeError, match="backends"):
        parametrize_with_checks(given)


def test_a_check_is_for_the_backend_of_its_test() -> None:
    (one,) = parameters([numpy_backend()], checks=["evaluation_identity"])
    backend, check = one.values
    check(backend)
    with pytest.raises(ValueError, match="backend of its own test, 'numpy'"):
        check(numpy_backend())


def test_a_failing_check_raises_its_message() -> None:
    def forward(x: Any, drop_prob: float, block_size: Any, *, training: bool, seed: int | None) -> Any:
        return 2 * drop_block(x, drop_prob, block_size, rng=seed, training=training)

    (one,) = parameters([Backend(name="twice", forward=forward)], checks=["scale"])
    backend, check = one.values
    with pytest.raises(CheckFailure, match=r"multiplied by the scale count\(M\)[\s\S]*reproduce: "):
        check(backend)


def test_a_check_without_a_map_makes_no_test() -> None:
    sets = parameters([numpy_backend(accepts=lambda _, block_size: isinstance(block_size, int))])
    assert set(CHECKS) - {one.id.removeprefix("numpy-") for one in sets} == {"per_axis_blocks"}


def test_a_backend_to_which_nothing_applies_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no check applies to backend 'numpy': the backend supports no ordinary map"):
        parametrize_with_checks([numpy_backend(accepts=lambda *_: False)], checks=["scale"])


def test_an_accepts_that_fails_is_a_failure_of_the_test() -> None:
    (one,) = parameters([numpy_backend(accepts=lambda *_: 1 / 0)], checks=["scale"])
    backend, check = one.values
    with pytest.raises(CheckFailure, match="ZeroDivisionError"):
        check(backend)


def test_a_check_that_turns_out_not_to_apply_is_skipped() -> None:
    """Two cells of a map without draws that differ: nothing is known, so nothing passes."""
    box = numpy_backend(accepts=lambda spatial_shape, _: spatial_shape == (18, 18), convention="timm")
    sets = parameters([replace(box, draw_seeds=None, apply=None)], checks=["channel_sharing"], false_alarm=1e-100)
    (one,) = sets
    backend, check = one.values
    with pytest.raises(pytest.skip.Exception, match="two masks on 18x18"):
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
    assert "XPASS(strict)" in text
    assert "not scaled, issue 7" in text
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
