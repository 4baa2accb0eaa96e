"""check_backend: what is run, what each result states, and that nothing a backend does makes it raise.

The correct backend here is tests/mutants/correct.py, seeded, so that nothing is left to chance.
"""

from __future__ import annotations

import importlib
import json
import re
import unittest
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import dropblock_ref.testing
from dropblock_ref import CONVENTIONS, PAPER
from dropblock_ref.testing import Backend, Report, Setting, check_backend
from dropblock_ref.testing.check import GROUPS, Run
from dropblock_ref.testing.oracle import CHECKS, run_checks
from dropblock_ref.testing.report import STATUSES
from tests.mutants.correct import ALL_DTYPES, DropBlock, Mask, make_backend
from tests.mutants.mutant import correct, one

Array = NDArray[Any]
STATISTICAL = {name for name, check in CHECKS.items() if check.statistical}


@cache
def quick(convention: str = "paper", ndims: tuple[int, ...] = (2, 3)) -> Report:
    return check_backend(make_backend(convention, "channels_first", ndims, ALL_DTYPES), checks="quick")


# Which checks are run


def test_checks_have_unique_names_sentences_and_groups() -> None:
    assert GROUPS == ("replay", "recover", "search", "distribution")
    assert [check.group for check in CHECKS.values()] == sorted((c.group for c in CHECKS.values()), key=GROUPS.index)
    for name, check in CHECKS.items():
        assert check.name == name
        assert check.summary.endswith("."), name
        assert "\n" not in check.summary


@pytest.mark.parametrize(
    ("checks", "names"),
    [
        ("scale", ["scale"]),
        (["values", "scale"], ["scale", "values"]),
        (("scale", "scale"), ["scale"]),
        (iter(["scale", "quick"]), ["scale"]),
        ({"empty_batch"}, ["empty_batch"]),
        ("replay", ["replayed_mask", "replayed_values"]),
        (["replay", "scale"], ["replayed_mask", "replayed_values", "scale"]),
    ],
)
def test_checks_are_chosen_by_name_and_group_in_their_own_order(checks: Any, names: list[str]) -> None:
    assert [result.name for result in check_backend(correct(), checks=checks).results] == names


def test_quick_is_every_check_with_fewer_draws() -> None:
    assert [result.name for result in quick().results] == list(CHECKS)
    full, fewer = (check_backend(correct(), checks=["block_of_one", *more]).results[0] for more in ((), ("quick",)))
    assert full.draws > 4 * fewer.draws
    assert full.status == fewer.status == "passed"


def test_by_default_all_checks_are_run() -> None:
    idle = correct(accepts=lambda *_: False)
    assert [result.name for result in check_backend(idle).results] == list(CHECKS)


def test_the_stream_of_results_is_the_report() -> None:
    how: dict[str, Any] = {"checks": ["scale", "map_rate", "quick"], "seed": 3}
    stream = list(run_checks(correct(), **how))
    assert [(number, total, name) for number, total, name, _ in stream] == [
        (0, 2, "scale"),
        (0, 2, "scale"),
        (1, 2, "map_rate"),
        (1, 2, "map_rate"),
    ]
    assert [result for *_, result in stream if result is not None] == list(check_backend(correct(), **how).results)


def test_the_same_seed_repeats_a_report_and_another_draws_anew() -> None:
    reports = [check_backend(correct(), checks=["map_rate", "quick"], seed=seed) for seed in (5, 5, 6)]
    assert reports[0] == reports[1]
    assert reports[0].results[0].message != reports[2].results[0].message
    assert [report.seed for report in reports] == [5, 5, 6]


def test_a_report_names_backend_and_convention() -> None:
    own = replace(PAPER, name="own")
    report = check_backend(correct(name="x", convention=own), checks="empty_batch")
    assert (report.backend, report.convention) == ("x", "own")


# What each result states


@pytest.mark.parametrize("convention", ["paper", "timm", "torchvision"])
def test_every_statistical_result_states_draws_false_alarm_and_what_it_detects(convention: str) -> None:
    report = quick(convention)
    assert report.passed, str(report)
    for result in report.results:
        if result.name in STATISTICAL and result.status != "not_applicable" and result.message != "refused":
            assert result.draws > 0, result
            assert 0 < result.false_alarm <= 1e-9, result
            assert result.detects, result
        elif result.name not in STATISTICAL or result.status == "not_applicable":
            assert result.false_alarm == 0, result
            assert result.detects == "", result


@pytest.mark.parametrize("false_alarm", [1e-9, 0.05, 0.9])
def test_the_false_alarms_of_a_whole_run_add_up_to_at_most_the_asked_one(false_alarm: float) -> None:
    report = check_backend(correct(), checks="quick", false_alarm=false_alarm)
    total = sum(result.false_alarm for result in report.results)
    assert 0 < total <= false_alarm
    assert len(STATISTICAL) * report.results[-1].false_alarm <= false_alarm  # whichever are run
    assert report.false_alarm == total


def test_what_can_be_detected_is_stated_in_numbers_a_person_reads() -> None:
    for convention in ("paper", "timm"):
        for result in quick(convention).results:
            assert "e+" not in result.detects, result.detects
            assert "more than every" not in result.detects, result.detects


def test_a_check_that_refuses_leaves_nothing_to_chance() -> None:
    result = one(correct(), "oversize_block")
    assert (result.status, result.message) == ("passed", "refused")
    assert result.false_alarm == 0


def test_a_report_is_text_and_json() -> None:
    assert str(quick()).startswith("PASSED  ")
    read = json.loads(quick().to_json())
    assert [result["name"] for result in read["results"]] == list(CHECKS)
    assert {result["status"] for result in read["results"]} <= set(STATUSES)


# Expected failures


def twice(x: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None) -> Any:
    y = correct().forward(x, drop_prob, block_size, training=training, seed=seed)
    return 2 * y if training and drop_prob else y


def test_an_expected_failure_that_fails_passes_the_report() -> None:
    backend = Backend(name="twice", forward=twice, expected_failures={"scale": "known since 1.0"})
    report = check_backend(backend, checks=["scale", "legal_blocks"])
    by_name = {result.name: result for result in report.results}
    assert report.passed
    assert by_name["scale"].status == "expected_failure"
    assert by_name["scale"].message.startswith("known since 1.0\nkept cells must be multiplied by the scale")
    assert by_name["legal_blocks"].status == "passed"


def test_an_expected_failure_that_passes_fails_the_report() -> None:
    backend = correct(expected_failures={"scale": "known since 1.0"})
    report = check_backend(backend, checks=["scale"])
    assert not report.passed
    (result,) = report.failures
    assert "known since 1.0" in result.message
    assert "but it passes" in result.message


def test_an_expected_failure_that_does_not_apply_fails_nothing() -> None:
    result = one(correct(vjp=None, expected_failures={"gradient": "known"}), "gradient")
    assert result.status == "not_applicable"


def test_only_the_named_check_is_expected_to_fail() -> None:
    report = check_backend(
        Backend(name="twice", forward=twice, expected_failures={"scale": "known"}), checks=["scale", "even_blocks"]
    )
    assert [(result.name, result.status) for result in report.results] == [
        ("scale", "expected_failure"),
        ("even_blocks", "not_judged"),  # of the same cause
    ]
    assert report.results[1].message == "see scale, which fails first (as expected)"
    assert report.passed is False  # even blocks are known as little as before


@pytest.mark.parametrize(("dtype", "status"), [("float16", "expected_failure"), ("float32", "failed")])
def test_an_expected_failure_may_be_narrowed_to_a_dtype(dtype: str, status: str) -> None:
    good = correct(dtypes=("float16", "float32"))

    def forward(x: Array, *given: Any, **how: Any) -> Any:
        y = good.forward(x, *given, **how)
        return twice(x, *given, **how) if x.dtype == dtype else y

    backend = Backend(
        name="b", forward=forward, dtypes=good.dtypes, expected_failures={"scale[float16]": "half, issue 7"}
    )
    (result,) = check_backend(backend, checks=["scale", "quick"]).results
    assert result.status == status
    assert f"dtype {dtype}" in result.message


def test_a_narrowed_expected_failure_that_passes_says_what_to_delete() -> None:
    backend = correct(dtypes=("float16", "float32"), expected_failures={"scale[float16]": "half"})
    (result,) = check_backend(backend, checks=["scale", "quick"]).failures
    assert "delete 'scale[float16]' from expected_failures" in result.message


def test_any_failure_is_expected_by_a_star_and_none_is_a_failure() -> None:
    report = check_backend(Backend(name="b", forward=twice, expected_failures={"*": "old"}), checks=["scale", "values"])
    assert [result.status for result in report.results] == ["expected_failure", "passed"]
    assert report.passed
    report = check_backend(correct(expected_failures={"*": "old"}), checks=["scale", "values"])
    assert [(result.name, result.status) for result in report.results[2:]] == [("*", "failed")]
    progress = run_checks(correct(expected_failures={"*": "old"}), checks=["scale", "values"])
    assert progress.report().results == ()


# What does not apply


def test_a_backend_that_accepts_nothing_is_told_so_by_every_check() -> None:
    report = check_backend(correct(accepts=lambda *_: False, dtypes=ALL_DTYPES))
    assert not report.passed
    assert str(report).startswith("INCOMPLETE")
    assert len(report.missing) == 5
    for result in report.results:
        assert result.status == "not_applicable", result
        assert re.search(r"^the backend supports no .*(map|block|cell|setting|drop_prob)", result.message), result
        assert (result.draws, result.false_alarm, result.detects) == (0, 0.0, "")


@pytest.mark.parametrize(
    ("check", "changed", "reason"),
    [
        ("replayed_mask", {"draw_seeds": None, "apply": None}, "the backend has neither draw_seeds nor apply"),
        ("replayed_values", {"draw_seeds": None, "apply": None}, "the backend has neither draw_seeds nor apply"),
        ("gradient", {"vjp": None}, "the backend has no vjp"),
        ("evaluation_gradient", {"vjp": None}, "the backend has no vjp"),
        ("low_precision", {"dtypes": ("float32", "float64")}, "neither float16 nor bfloat16, only float32, float64"),
        ("channel_independence", {"convention": "timm"}, "channels share masks under convention 'timm'"),
        ("even_blocks", {"accepts": lambda _, b: np.all(np.asarray(b) % 2)}, "the backend supports no even block"),
        ("per_axis_blocks", {"accepts": lambda _, b: isinstance(b, int)}, "supports no block with a size per axis"),
        ("non_square_maps", {"accepts": lambda S, _: len(set(S)) == 1}, "supports no non-square map"),
        (
            "even_blocks",
            {"convention": "torchvision", "accepts": lambda _, b: b % 2 == 1},
            "the backend supports no even block",
        ),
        *(
            (
                check,
                {"convention": "torchvision", "accepts": lambda *_: False},
                "supports no",
            )
            for check in ("legal_blocks", "block_of_map_size", "cell_rates", "channel_independence")
        ),
    ],
)
def test_a_check_that_does_not_apply_says_why(check: str, changed: dict[str, Any], reason: str) -> None:
    result = one(correct(**changed), check)
    assert result.status == "not_applicable"
    assert reason in result.message


@pytest.mark.parametrize("check", ["same_seed_same_output", "stream_goes_on", "channel_sharing"])
def test_where_chance_could_repeat_a_draw_too_often_the_check_does_not_apply(check: str) -> None:
    one_cell = correct(settings=(Setting((1, 1), 1, 0.01, 2, 2),))
    result = CHECKS[check].run(Run(one_cell, 0, 1e-9))
    assert result.status == "not_judged"
    assert re.search(r"the same with a probability of up to (1\.0e\+00|\d\.\de-\d+)$", result.message)


def test_of_two_ranks_each_is_tried() -> None:
    two, both = (one(correct(spatial_ndims=ndims), "legal_blocks") for ndims in ((2,), (2, 3)))
    assert both.draws > two.draws


# What a backend may do


def test_a_draw_that_depends_on_the_memory_order_is_reported_and_no_failure() -> None:
    good = correct()

    def forward(x: Array, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None) -> Any:
        given = seed if seed is None or x.flags.c_contiguous else seed + 1
        return good.forward(x, drop_prob, block_size, training=training, seed=given)

    result = one(Backend(name="in memory order", forward=forward), "non_contiguous_input")
    assert result.status == "reported"
    assert result.message == (
        "18 arrays for each of dtypes float32: with one seed, the draw depends on the memory order"
    )
    assert one(good, "non_contiguous_input").status == "passed"


def test_a_backend_that_fills_the_same_memory_in_every_call_is_found_and_judged_all_the_same() -> None:
    good, memory = correct(), np.empty(0, dtype=np.float32)

    def forward(x: Array, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None) -> Any:
        nonlocal memory
        if memory.size < x.size:
            memory = np.empty(x.size, dtype=np.float32)
        y = memory[: x.size].reshape(x.shape)
        y[...] = good.forward(x, drop_prob, block_size, training=training, seed=seed)
        return y

    report = check_backend(Backend(name="one memory", forward=forward), checks="quick")
    assert [result.name for result in report.failures] == ["output_unmodified"], str(report)


class RoundedBelowOne(DropBlock):
    """A gamma of 1 that is four units in the last place of float32 too small, and how many cells that leaves."""

    spared = 0

    def bernoulli(self, rng: np.random.Generator, shape: tuple[int, ...], gamma: float, /) -> Mask:
        if gamma < 1:
            return super().bernoulli(rng, shape, gamma)
        seeds = super().bernoulli(rng, shape, float(np.float32(1) - 4 * np.finfo(np.float32).epsneg))
        self.spared += int(np.count_nonzero(~seeds))
        return seeds


def test_a_gamma_that_float32_rounds_to_just_below_one_passes() -> None:
    """The stream is fixed, and spares a cell of 1.5 million: a failure, were gamma taken for exactly 1."""
    box = RoundedBelowOne()
    result = CHECKS["drop_prob_one"].run(Run(Backend(name="rounded", forward=box.forward), 0, 1e-9))
    assert result.status == "passed", result
    assert box.spared >= 1


def test_a_backend_that_takes_an_unbatched_input_too_is_not_failed() -> None:
    good = correct()

    def forward(x: Array, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None) -> Any:
        how = {"training": training, "seed": seed}
        if x.ndim == 3:
            return good.forward(x[None], drop_prob, block_size, **how)[0]
        return good.forward(x, drop_prob, block_size, **how)

    x = np.ones((2, 5, 5), dtype=np.float32)
    assert forward(x, 0.5, 3, training=True, seed=0).shape == x.shape
    report = check_backend(Backend(name="one image too", forward=forward), checks=["quick", "recover"])
    assert report.passed, str(report)


# What a backend does wrong

Change = Callable[[Array, Array], Any]


def changed(change: Change) -> Backend:
    """The correct backend, whose every output is changed: change(y, x)."""
    good = correct()

    def forward(x: Array, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None) -> Any:
        return change(good.forward(x, drop_prob, block_size, training=training, seed=seed), x)

    def vjp(
        x: Array, cotangent: Array, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None
    ) -> tuple[Any, Any]:
        assert good.vjp is not None
        y, x_bar = good.vjp(x, cotangent, drop_prob, block_size, training=training, seed=seed)
        return change(y, x), change(x_bar, cotangent)

    def apply(x: Array, seeds: Array, block_size: Any) -> Any:
        assert good.apply is not None
        return change(good.apply(x, seeds, block_size), x)

    return replace(good, name="changed", forward=forward, vjp=vjp, apply=apply)


class Bomb:
    """Whatever is asked of it fails."""

    @property
    def shape(self) -> Any:
        raise RuntimeError("no shape")

    @property
    def dtype(self) -> Any:
        raise RuntimeError("no dtype")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no array")

    def __repr__(self) -> str:
        raise RuntimeError("no text")


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message")


class Own(np.ndarray[Any, Any]):
    """A subclass of an array that changes nothing."""


def raising(error: BaseException) -> Change:
    def change(_: Array, __: Array) -> Any:
        raise error

    return change


def overwriting(y: Array, x: Array) -> Array:
    x[...] = y
    return x


def reshaping(y: Array, x: Array) -> Array:
    x.shape = (x.size,)
    return y


ODD: dict[str, Change] = {
    "none": lambda _, __: None,
    "text": lambda _, __: "abc",
    "a number": lambda _, __: np.float32(3),
    "0-d": lambda _, __: np.ones(()),
    "0-d text": lambda _, __: np.array("abc"),
    "tuple": lambda y, _: (y,),
    "dict": lambda y, _: {"y": y},
    "ragged": lambda _, __: [[1, 2], [3]],
    "type": lambda _, __: np.ndarray,
    "bomb": lambda _, __: Bomb(),
    "object": lambda y, _: y.astype(object),
    "text array": lambda y, _: y.astype("U8"),
    "bytes array": lambda y, _: y.astype("S8"),
    "records": lambda y, _: np.zeros(y.shape, dtype=[("a", "f4")]),
    "dates": lambda y, _: np.zeros(y.shape, dtype="datetime64[s]"),
    "complex64": lambda y, _: y.astype(np.complex64),
    "longdouble": lambda y, _: y.astype(np.longdouble),
    "int32": lambda y, _: y.astype(np.int32),
    "uint8": lambda y, _: np.abs(y).astype(np.uint8),
    "bool": lambda y, _: y != 0,
    "float8": lambda y, _: y.astype(ml_dtypes.float8_e5m2),
    "masked": lambda y, _: np.ma.masked_array(y, y == 0),
    "subclass": lambda y, _: 2 * y.view(Own),
    "matrix": lambda y, _: np.asmatrix(y.reshape(-1, 1)),
    "nan": lambda y, _: np.full_like(y, np.nan),
    "inf": lambda y, _: np.full_like(y, np.inf),
    "nan where dropped": lambda y, _: np.where(y == 0, np.nan, y).astype(y.dtype),
    "zeros": lambda y, _: np.zeros_like(y),
    "larger": lambda y, _: np.concatenate([y, y]),
    "fewer samples": lambda y, _: y[:1],
    "flat": lambda y, _: y.ravel(),
    "transposed": lambda y, _: y.T,
    "empty": lambda _, __: np.empty((0,)),
    "overwriting": overwriting,
    "reshaping": reshaping,
    "x itself": lambda _, x: x,
    "StopIteration": raising(StopIteration()),
    "MemoryError": raising(MemoryError()),
    "AssertionError": raising(AssertionError()),
    "unspeakable": raising(UnspeakableError()),
}
SLOW_FOR_THESE = {"low_precision", "map_rate"}  # the large maps; a text array of them takes seconds


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ODD)
def test_whatever_a_backend_returns_or_raises_is_a_failure_and_no_exception(name: str) -> None:
    backend = replace(changed(ODD[name]), dtypes=("float32",))
    report = check_backend(backend, checks=["quick", *(set(CHECKS) - SLOW_FOR_THESE)])
    assert not report.passed
    assert {result.status for result in report.results} <= set(STATUSES) - {"expected_failure"}
    assert re.match(r"FAILED \(only: .*, and \d+ more\)  changed", str(report))
    assert json.loads(report.to_json())["passed"] is False
    for result in report.failures:
        assert result.message.strip(), result


@pytest.mark.parametrize("name", ["none", "object", "complex64", "nan", "larger", "StopIteration"])
def test_the_large_maps_take_whatever_a_backend_returns_too(name: str) -> None:
    report = check_backend(replace(changed(ODD[name]), dtypes=("float16",)), checks=["quick", *sorted(SLOW_FOR_THESE)])
    assert not report.passed
    assert {result.status for result in report.results} <= {"failed", "not_judged"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit()], ids=lambda e: type(e).__name__)
def test_what_is_meant_to_stop_the_program_is_not_swallowed(error: BaseException) -> None:
    with pytest.raises(type(error)):
        check_backend(changed(raising(error)), checks=["evaluation_identity"])


def test_an_exception_is_quoted_with_its_kind() -> None:
    result = one(changed(raising(RuntimeError("out of order " + 1000 * "x"))), "values")
    assert result.status == "failed"
    assert re.search("RuntimeError.*out of order xxx", result.message)
    assert len(result.message) < 900
    assert "reproduce: x = make_input((20, 3, 9, 9), 'float32', 0); backend.forward(x, 0.5, 3" in result.message


def test_warnings_of_a_backend_are_its_own_affair() -> None:
    def loud(y: Array, _: Array) -> Array:
        warnings.warn("loud", UserWarning, stacklevel=1)
        return y

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_backend(changed(loud), checks=["quick", "replay", "gradient", "values"]).passed


def test_writing_into_x_is_found_by_the_check_of_that_name() -> None:
    result = one(changed(overwriting), "input_unmodified")
    assert result.status == "failed"
    assert "x must not be modified" in result.message


class Skipped(BaseException):
    """As pytest's, which is no Exception."""


@pytest.mark.parametrize("error", [SystemExit(0), Skipped("no such device"), unittest.SkipTest("no")])
def test_what_ends_a_program_or_skips_a_test_is_no_verdict(error: BaseException) -> None:
    report = check_backend(changed(raising(error)), checks=["quick", "recover"])
    assert report.verdict == "FAILED"
    assert [result.name for result in report.failures] == ["supported_input"], str(report)
    assert type(error).__name__ in report.failures[0].message
    assert not any(result.status == "passed" for result in report.results if "refused" in result.message)


@pytest.mark.parametrize(("accepts", "words"), [(lambda *_: 1 / 0, "ZeroDivisionError"), (lambda _: True, "TypeError")])
def test_an_accepts_that_raises_is_a_failure_and_no_exception(accepts: Any, words: str) -> None:
    report = check_backend(correct(accepts=accepts), checks=["scale", "oversize_block"])
    assert [result.status for result in report.results] == ["failed", "failed"]
    assert all(words in result.message for result in report.results)


@pytest.mark.parametrize(
    ("vjp", "words"),
    [
        (lambda *_, **__: None, "None of type NoneType"),
        (lambda *_, **__: np.zeros(2), "an array of shape (2,) and dtype float64"),
        (lambda *_, **__: (0, 1, 2), "(0, 1, 2) of type tuple"),
    ],
)
@pytest.mark.parametrize("check", ["gradient", "evaluation_gradient", "supported_input"])
def test_a_vjp_that_returns_no_pair_is_a_failure_and_no_exception(vjp: Any, words: str, check: str) -> None:
    result = one(correct(vjp=vjp), check)
    assert result.status == "failed"
    first, where, how = result.message.splitlines()
    assert first == f"vjp must return (y, x_bar), and returned {words}"
    assert where == "on 9x9, block 3, drop_prob 0.5, dtype float32"
    assert how.startswith("reproduce: ")


# Replay


def other_seed(shape: Any, dtype: Any, drop_prob: Any, block_size: Any, *, seed: int) -> Any:
    good = correct()
    assert good.draw_seeds is not None
    return good.draw_seeds(shape, dtype, drop_prob, block_size, seed=seed + 1)


def draw(shape: Any, dtype: Any, drop_prob: Any, block_size: Any, *, seed: int) -> Any:
    return other_seed(shape, dtype, drop_prob, block_size, seed=seed - 1)


DRAWS: dict[str, tuple[Callable[..., Any], str]] = {
    "other seed": (other_seed, r"must drop the blocks of 3 around the drawn seeds"),
    "none": (lambda *_, **__: None, r"draw_seeds must return a boolean array of shape \(3, 2, 9, 9\).*NoneType"),
    "list": (
        lambda *a, **k: draw(*a, **k).tolist(),
        r"must return a boolean array of shape \(3, 2, 9, 9\), and returned list\n",
    ),
    "float": (lambda *a, **k: draw(*a, **k).astype(float), r"must return a boolean array.*float64"),
    "shape": (lambda *a, **k: draw(*a, **k)[:1], r"must return a boolean array.*\(1, 2, 9, 9\)"),
    "all cells": (lambda shape, *_, **__: np.ones(shape, dtype=bool), r"the drawn seeds are not legal"),
    "no seeds": (lambda shape, *_, **__: np.zeros(shape, dtype=bool), r"must drop the blocks"),
    "transposed": (lambda *a, **k: np.swapaxes(draw(*a, **k), 2, 3), r"must drop the blocks"),
    "raises": (lambda *_, **__: 1 / 0, r"ZeroDivisionError"),
    "bomb": (lambda *_, **__: Bomb(), r"draw_seeds must return a boolean array"),
}


@pytest.mark.parametrize("name", DRAWS)
def test_wrong_drawn_seeds_fail_the_replay(name: str) -> None:
    draw_seeds, words = DRAWS[name]
    result = one(correct(draw_seeds=draw_seeds, apply=None), "replayed_mask")
    assert result.status == "failed"
    assert re.search(words, result.message, re.DOTALL), result.message


def test_right_drawn_seeds_pass_the_replay() -> None:
    result = one(correct(draw_seeds=draw, apply=None), "replayed_mask")
    assert result.status == "passed"
    assert result.message == f"{result.draws} masks equal bit for bit"


def test_an_apply_that_ignores_the_seeds_fails_the_replay() -> None:
    def apply(x: Any, _: Any, block_size: Any) -> Any:
        return correct().forward(x, 0.5, block_size, training=True, seed=0)

    result = one(correct(draw_seeds=None, apply=apply), "replayed_mask")
    assert result.status == "failed"
    assert "seeds = sample_seeds(" in result.message


def test_an_apply_that_writes_into_what_it_is_given_is_found_and_judged_by_its_output() -> None:
    good = correct()

    def apply(x: Array, seeds: Array, block_size: Any) -> Array:
        assert good.apply is not None
        x[...] = good.apply(x, seeds, block_size)
        seeds[...] = False
        return x

    report = check_backend(correct(draw_seeds=None, apply=apply), checks=["replay", "input_unmodified"])
    assert [result.status for result in report.results] == ["passed", "passed", "failed"], str(report)
    assert report.results[2].message.startswith("x must not be modified")


# Bad arguments


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"backend": None}, TypeError, "backend must be a dropblock_ref.testing.Backend, got None"),
        ({"backend": "numpy"}, TypeError, "backend must be"),
        ({"backend": Backend}, TypeError, "backend must be"),
        ({"checks": "nope"}, ValueError, "checks must be names.*got 'nope'"),
        ({"checks": ["scale", "nope"]}, ValueError, "checks must be names.*got 'nope'"),
        ({"checks": ""}, ValueError, "checks must be names"),
        ({"checks": [3]}, TypeError, "checks must be names"),
        ({"checks": 3}, TypeError, "checks must be"),
        ({"checks": [["scale"]]}, TypeError, r"checks must be names.*got \['scale'\]"),
        ({"checks": b"scale"}, TypeError, "checks must be names.*got 115"),
        ({"checks": []}, ValueError, "checks must be names.*got none"),
        ({"seed": -1}, ValueError, "seed must be"),
        ({"seed": 2**40}, ValueError, "seed must be"),
        ({"seed": 0.0}, TypeError, "seed must be"),
        ({"seed": None}, TypeError, "seed must be"),
        ({"seed": True}, TypeError, "seed must be"),
        ({"false_alarm": 0}, ValueError, "false_alarm must"),
        ({"false_alarm": 1}, ValueError, "false_alarm must"),
        ({"false_alarm": 1.5}, ValueError, "false_alarm must"),
        ({"false_alarm": float("nan")}, ValueError, "false_alarm must"),
        ({"false_alarm": "1e-9"}, TypeError, "false_alarm must"),
        ({"false_alarm": None}, TypeError, "false_alarm must"),
    ],
)
def test_a_bad_argument_is_refused_by_its_name(given: dict[str, Any], error: type[Exception], words: str) -> None:
    good: dict[str, Any] = {"backend": correct(), "checks": "empty_batch"}
    with pytest.raises(error, match=words):
        check_backend(**(good | given))


def test_expected_failures_must_name_checks() -> None:
    with pytest.raises(ValueError, match=r"expected_failures must name checks.*got scael, vlaues"):
        check_backend(correct(expected_failures={"vlaues": "x", "scael": "y"}))


@pytest.mark.parametrize("false_alarm", [1e-100, 1 - 2.0**-53])
def test_the_smallest_and_the_largest_false_alarm_work(false_alarm: float) -> None:
    report = check_backend(correct(), checks=["quick", "map_rate", "block_of_one"], false_alarm=false_alarm)
    assert [result.status for result in report.results] == ["passed", "passed"]  # the stream is fixed


def test_the_largest_seed_works() -> None:
    assert check_backend(correct(), checks=["quick", "scale"], seed=2**31 - 1).passed


@pytest.mark.parametrize("name", sorted(CONVENTIONS))
def test_a_backend_without_anything_optional_can_be_checked(name: str) -> None:
    backend = (
        make_backend(name, "channels_last", (2,), ("float32",), with_vjp=False, with_draw_seeds=False, with_apply=False)
        if CONVENTIONS[name].gamma_rule != "calibrated"
        else Backend(name="none", forward=correct().forward)
    )
    report = check_backend(backend, checks=["quick", "evaluation_identity", "legal_blocks", "scale"])
    assert report.passed, str(report)


def test_an_x_that_is_no_batch_of_maps_draws_no_masks() -> None:
    run = Run(correct(), 0, 1e-9)
    assert [run.masks(np.ones(shape)) for shape in ((4,), (2, 5, 5), (2, 3, 5, 5), (2, 3, 4, 4, 4))] == [0, 0, 6, 6]


def test_what_needs_hypothesis_or_pytest_is_imported_when_it_is_asked_for() -> None:
    module = importlib.import_module("dropblock_ref.testing.strategies")
    assert dropblock_ref.testing.__getattr__("strategies") is module
    decorator = importlib.import_module("dropblock_ref.testing.parametrize").parametrize_with_checks
    assert dropblock_ref.testing.__getattr__("parametrize_with_checks") is decorator


def test_the_oracle_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'check_backends'"):
        dropblock_ref.testing.check_backends  # noqa: B018


# Few shapes


@pytest.mark.parametrize(
    ("convention", "ndims", "dtypes"), [("paper", (2,), ("float32",)), ("timm", (2, 3), ("float16", "float32"))]
)
def test_the_compiled_profile_has_at_most_15_signatures_for_each_dtype_and_rank(
    convention: str, ndims: tuple[int, ...], dtypes: tuple[str, ...]
) -> None:
    progress = run_checks(make_backend(convention, "channels_first", ndims, dtypes), checks="compiled")
    for _ in progress:
        pass
    assert progress.report().passed, str(progress.report())
    kinds = Counter((dtype, len(shape)) for _, shape, dtype, *_ in progress.run.calls.signatures)
    assert len(kinds) == len(ndims) * len(dtypes)
    assert max(kinds.values()) <= 15


# What a backend is built with


def built(**how: Any) -> Report:
    return check_backend(correct(**how), checks="quick")


@pytest.mark.parametrize(
    "how",
    [
        {"accepts": lambda _, block_size: block_size == 7},
        {"accepts": lambda spatial_shape, _: spatial_shape == (14, 14)},
        {"accepts": lambda spatial_shape, _: spatial_shape in {(16, 16), (32, 32), (64, 64)}},
        {"accepts": lambda _, block_size: isinstance(block_size, tuple) and block_size[0] == 1},
        {"accepts": lambda _, __, drop_prob: drop_prob == 0.1},
        {"accepts": lambda _, __, drop_prob: drop_prob > 0},
        {"settings": (Setting((14, 14), 5, 0.2, samples=8, channels=4),)},
        {"settings": (Setting((12, 12), 3, 0.2, samples=1, channels=1),)},
        {"settings": (Setting(block_size=3),), "modes": ("training",), "reseeds": False},
    ],
)
def test_what_must_be_judged_is_judged_on_whatever_a_backend_is_built_for(how: dict[str, Any]) -> None:
    report = built(**how)
    assert report.verdict == "PASSED", str(report)
    assert report.missing == ()


def test_a_backend_without_seeds_is_never_given_one() -> None:
    good, seen = correct(), set()

    def forward(*given: Any, seed: int | None, **how: Any) -> Any:
        seen.add(seed)
        return good.forward(*given, seed=seed, **how)

    report = check_backend(Backend(name="no seeds", forward=forward, reseeds=False), checks="quick")
    assert report.passed, str(report)
    assert "(no seeds)" in str(report).splitlines()[0]
    assert seen == {None}


def test_a_backend_without_training_is_judged_in_evaluation_alone() -> None:
    report = built(modes=("evaluation",))
    assert report.passed
    assert {result.status for result in report.results if not result.name.startswith("evaluation")} <= {
        "not_applicable",
        "passed",
    }


def test_an_output_in_another_dtype_may_be_meant() -> None:
    good = correct()

    def forward(*given: Any, **how: Any) -> Any:
        return good.forward(*given, **how).astype(np.float16)

    half = Backend(name="mixed", forward=forward, output_dtype="float16")
    assert check_backend(half, checks=["quick", "scale", "values", "shape_and_dtype", "evaluation_identity"]).passed
    assert not check_backend(replace(half, output_dtype=None), checks=["quick", "shape_and_dtype"]).passed


# Messages that name a common mistake


def failures_of(forward: Callable[..., Any], *checks: str, **how: Any) -> dict[str, str]:
    report = check_backend(Backend(name="b", forward=forward, **how), checks=["quick", *checks])
    return {result.name: result.message for result in report.failures}


def test_a_wrong_signature_is_one_failure_and_says_how_forward_is_called() -> None:
    def forward(x: Any, drop_prob: Any, block_size: Any, training: bool = False) -> Any:
        raise NotImplementedError(f"never called: {x} {drop_prob} {block_size} {training}")

    found = failures_of(forward)
    assert list(found) == ["supported_input"]
    assert "it is called as forward(x, drop_prob, block_size, training=..., seed=...)" in found["supported_input"]


def test_a_returned_tensor_is_one_failure_and_says_what_to_do() -> None:
    found = failures_of(lambda x, *_, **__: memoryview(x))
    assert list(found) == ["shape_and_dtype"]
    assert "convert it, as in y.detach().cpu().numpy()" in found["shape_and_dtype"]


def test_a_backend_without_blocks_per_axis_is_told_to_declare_accepts() -> None:
    good = correct()

    def forward(x: Any, drop_prob: Any, block_size: Any, **how: Any) -> Any:
        return good.forward(x, drop_prob, block_size + 0, **how)

    found = failures_of(forward)
    assert list(found) == ["per_axis_blocks"]
    assert "declare accepts=lambda spatial_shape, block_size: isinstance(block_size, int)" in found["per_axis_blocks"]


def test_axes_in_another_order_are_told_by_data_format() -> None:
    good = make_backend("paper", "channels_last", (2,), ("float32",))
    found = failures_of(good.forward, "legal_blocks", accepts=lambda _, block_size: block_size == 3)
    assert "it would be right for data_format 'channels_last'" in found["legal_blocks"]


def test_keep_prob_in_the_place_of_drop_prob_is_told() -> None:
    good = correct()

    def forward(x: Any, drop_prob: Any, block_size: Any, **how: Any) -> Any:
        return good.forward(x, 1 - drop_prob, block_size, **how)

    assert "is keep_prob passed for it?" in failures_of(forward, "map_rate")["map_rate"]
