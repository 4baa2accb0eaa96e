"""The search finds calls that are wrong in one corner, shrinks them to a line to paste, and draws the same each time.

Nothing is left to chance: what hypothesis draws follows from the seed. How often each kind of call is drawn is tested
too, because a corner that is drawn once in a hundred examples is one that is missed.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dropblock_ref import CONVENTIONS, PAPER, Convention, drop_block, gamma, keep_mask, sample_seeds
from dropblock_ref.testing import Backend, CheckResult, Setting, check_backend, run_checks, search
from dropblock_ref.testing.check import NotApplicable, Run
from dropblock_ref.testing.edge_cases import find_special_problem
from dropblock_ref.testing.search import find_failure
from dropblock_ref.testing.strategies import Case
from tests.mutants.correct import ALL_DTYPES, make_backend

Array = NDArray[Any]
CORRECT = make_backend("paper", dtypes=("float32", "float64"))


def run_search(backend: Backend, seed: int = 0, *, quick: bool = False) -> CheckResult:
    (result,) = check_backend(backend, checks=["search", "quick"] if quick else "search", seed=seed).results
    return result


def pasted(result: CheckResult) -> tuple[Case, str]:
    """The case and the call of the line to paste."""
    assert result.status == "failed", result.message
    (line,) = [line for line in result.message.splitlines() if line.startswith("reproduce: ")]
    names: dict[str, Any] = {}
    imported, made, call = line.removeprefix("reproduce: ").split("; ")
    exec(f"{imported}; {made}", names)  # noqa: S102  (our own line)
    return names["case"], call


# A correct backend passes


@pytest.mark.parametrize("convention", ["paper", "timm", "dropblock", "torchvision"])
def test_correct_backends_pass(convention: str) -> None:
    data_format = "channels_last" if convention == "timm" else "channels_first"
    quick = convention != "paper"
    result = run_search(make_backend(convention, data_format, (2, 3), ALL_DTYPES), quick=quick)
    assert result.status == "passed"
    assert result.message.startswith(f"{25 if quick else 100} calls that hypothesis drew, with derivatives and ")
    assert result.draws > 1000
    assert result.false_alarm == 0


@pytest.mark.parametrize(
    "rules",
    [
        replace(PAPER, name="sample_nan", scale_over="sample", all_dropped="nan"),
        replace(PAPER, name="shared", scale_over="channel", shared_channels=True, epsilon=0.5),
    ],
    ids=lambda rules: rules.name,
)
def test_correct_backends_pass_under_conventions_of_ones_own(rules: Convention) -> None:
    assert run_search(make_backend(rules, dtypes=ALL_DTYPES), quick=True).status == "passed"


def test_a_black_box_passes() -> None:
    backend = make_backend("paper", with_vjp=False, with_draw_seeds=False, with_apply=False, dtypes=("float32",))
    assert run_search(backend, quick=True).status == "passed"


# Bugs in one corner

When = Callable[[Array, float, Any, bool], bool]


def wrong(
    when: When, change: Callable[[Array], Any] = lambda y: y * np.asarray(1.01, y.dtype), *, of: str = "forward"
) -> Backend:
    """A backend whose output or derivative is changed in one kind of call; `of` "black box" has neither of the rest."""

    def forward(x: Array, drop_prob: float, block_size: Any, *, training: bool, seed: int | None) -> Any:
        y = CORRECT.forward(x, drop_prob, block_size, training=training, seed=seed)
        return change(y) if when(x, drop_prob, block_size, training) else y

    def apply(x: Array, seeds: Array, block_size: Any) -> Any:
        assert CORRECT.apply is not None
        y = CORRECT.apply(x, seeds, block_size)
        return change(y) if when(x, 0.5, block_size, True) else y

    def vjp(x: Array, cotangent: Array, drop_prob: float, block_size: Any, *, training: bool, seed: int | None) -> Any:
        assert CORRECT.vjp is not None
        y, x_bar = CORRECT.vjp(x, cotangent, drop_prob, block_size, training=training, seed=seed)
        return y, change(x_bar) if when(x, drop_prob, block_size, training) else x_bar

    if of == "vjp":
        return replace(CORRECT, name="wrong", vjp=vjp)
    if of == "apply":
        return replace(CORRECT, name="wrong", apply=apply)
    return replace(CORRECT, name="wrong", forward=forward, apply=None, draw_seeds=None, vjp=None)


def overwrites(x: Array, drop_prob: float, block_size: Any, training: bool) -> bool:  # noqa: ARG001
    if training and x.flags.writeable and drop_prob == 1:
        x *= 2
    return False


CORNERS: dict[str, tuple[When, Case]] = {
    "F order": (
        lambda x, _p, _b, training: training and x.flags.f_contiguous and not x.flags.c_contiguous,
        Case((2, 2, 1, 1), order="F"),
    ),
    "read-only": (
        lambda x, _p, _b, training: training and not x.flags.writeable,
        Case((1, 1, 1, 1), order="read-only"),
    ),
    "stride 0": (lambda x, _p, _b, training: training and 0 in x.strides, Case((1, 2, 1, 1), order="expanded")),
    "negative strides": (
        lambda x, _p, _b, training: training and min(x.strides) < 0,
        Case((1, 1, 1, 1), order="reversed"),
    ),
    "more than 8 samples": (lambda x, _p, _b, training: training and len(x) > 8, Case((9, 1, 1, 1))),
    "more than 20 channels": (lambda x, _p, _b, training: training and x.shape[1] > 20, Case((1, 21, 1, 1))),
    "more than 64 channels": (lambda x, _p, _b, training: training and x.shape[1] > 64, Case((1, 65, 1, 1))),
    "wider than 14": (lambda x, _p, _b, training: training and x.shape[3] > 14, Case((1, 1, 1, 15))),
    "float64 at drop_prob 0": (
        lambda x, p, _b, training: training and p == 0 and x.dtype == np.float64,
        Case((1, 1, 1, 1), 1, 0.0, dtype="float64"),
    ),
    "evaluation with block 1": (lambda _x, _p, b, training: not training and b == 1, Case((1, 1, 1, 1))),
    "x overwritten at drop_prob 1": (overwrites, Case((1, 1, 1, 1), 1, 1.0)),
}


@pytest.mark.parametrize("corner", CORNERS)
def test_a_bug_in_one_corner_is_found_and_shrinks_to_the_smallest_call_there(corner: str) -> None:
    when, smallest = CORNERS[corner]
    case, call = pasted(run_search(wrong(when)))
    assert case == smallest
    training = corner != "evaluation with block 1"
    assert call == f"backend.forward(case.x, case.drop_prob, case.block_size, training={training}, seed=0)"


def test_the_derivative_in_one_corner_is_found() -> None:
    case, call = pasted(run_search(wrong(lambda x, _p, _b, training: training and bool((x == 0).any()), of="vjp")))
    assert case == Case((1, 1, 1, 1), special=("0",))
    assert call.startswith("backend.vjp(case.x, case.cotangent, case.drop_prob, case.block_size, training=True, ")
    result = run_search(wrong(lambda _x, _p, _b, training: not training, of="vjp"))
    assert result.message.startswith("the derivative must be the cotangent in evaluation, and 1 of 1 cells differ")
    result = run_search(wrong(lambda _x, p, _b, training: training and p == 0, of="vjp"))
    assert result.message.startswith("the derivative must be the cotangent with drop_prob 0, and 1 of 1 cells differ")


def test_injected_seeds_in_one_corner_are_found() -> None:
    case, call = pasted(run_search(wrong(lambda x, _p, _b, _t: len(x) > 8, of="apply")))
    assert case == Case((9, 1, 1, 1))
    assert call == "backend.apply(case.x, case.seeds, case.block_size)"


def test_an_empty_batch_that_is_refused_is_found() -> None:
    result = run_search(wrong(lambda x, _p, _b, _t: len(x) == 0, lambda _: 1 / 0))
    assert "ZeroDivisionError" in result.message
    assert pasted(result)[0] == Case((0, 1, 1, 1))


def test_special_values_that_spread_are_found() -> None:
    result = run_search(wrong(lambda x, _p, _b, training: training and bool(np.isnan(x).any()), lambda y: y * np.nan))
    assert "beside special values a" in result.message
    case, _ = pasted(result)
    assert "nan" in case.special
    assert case.x.size <= 4


# The planted bug of rows that are never dropped


def never_drop_from_row_5_on(x: Array, seeds: Array, block_size: Any) -> Array:
    mask = keep_mask(seeds, block_size)
    mask[:, :, 5:] = True
    y: Array = x.astype(np.float64) * mask * (mask.size / max(int(np.count_nonzero(mask)), 1))
    return y.astype(x.dtype)


def draw(shape: tuple[int, ...], _dtype: str, drop_prob: float, block_size: Any, *, seed: int) -> Array:
    return sample_seeds(gamma(drop_prob, block_size, shape[2:]), block_size, shape, rng=seed)


def forward(x: Array, drop_prob: float, block_size: Any, *, training: bool, seed: int) -> Array:
    if not training or drop_prob == 0:
        return x.copy()
    return never_drop_from_row_5_on(x, draw(x.shape, "", drop_prob, block_size, seed=seed), block_size)


@pytest.mark.parametrize("seed", range(4))
def test_rows_that_are_never_dropped_shrink_to_one_seed_in_a_column_of_six(seed: int) -> None:
    backend = Backend(name="rows", forward=forward, apply=never_drop_from_row_5_on, spatial_ndims=(2, 3))
    result = run_search(backend, seed)
    assert pasted(result) == (
        Case((1, 1, 6, 1), 1, 0.5, seeds_at=((0, 0, 5, 0),)),
        "backend.apply(case.x, case.seeds, case.block_size)",
    )
    assert max(map(len, result.message.splitlines())) < 250


def test_rows_that_are_never_dropped_show_by_replayed_seeds_too() -> None:
    case, call = pasted(run_search(Backend(name="rows", forward=forward, draw_seeds=draw)))
    assert (case.spatial_shape, case.block_size, case.drop_prob, case.shape[0]) == ((6, 1), 1, 0.5, 1)
    assert "backend.forward(" in call


def test_rows_that_are_never_dropped_show_by_cut_blocks_where_no_seeds_are_known() -> None:
    result = run_search(Backend(name="rows", forward=forward))
    case, _ = pasted(result)
    assert "dropped cells must be a union of legal blocks" in result.message
    assert (case.shape[:3], case.block_size) == ((1, 1, 6), 2)


# What is drawn


def drawn_cases(backend: Backend, seed: int, examples: int = 100) -> list[Case]:
    """The cases that a run judges where nothing fails."""
    seen: list[Case] = []

    class Watch(search._Trial):
        def judge(self, case: Case) -> None:
            seen.append(case)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_Trial", Watch)
        assert find_failure(Run(backend, seed, 1e-9), examples) == (None, set())
    return seen


def test_the_same_seed_draws_the_same_calls_and_another_one_others() -> None:
    first = drawn_cases(CORRECT, 3)
    assert len(first) == len(set(first)) == 100
    assert drawn_cases(CORRECT, 3) == first
    assert len(set(drawn_cases(CORRECT, 4)) & set(first)) < 10


def test_the_same_calls_are_drawn_in_a_program_of_its_own_which_keeps_its_folder_clean(tmp_path: Path) -> None:
    """Whatever modules are loaded, and whatever profile of hypothesis is."""
    (tmp_path / "constants.py").write_text("NUMBERS = [101, 102, 103, 0.25, 'abc', b'abc']\n", encoding="utf-8")
    code = (
        "import constants\n"
        "from dropblock_ref.testing import check_backend, search\n"
        "from tests.mutants.correct import make_backend\n"
        "class Watch(search._Trial):\n"
        "    def judge(self, case):\n"
        "        print(case)\n"
        "search._Trial = Watch\n"
        "check_backend(make_backend('paper', dtypes=('float32', 'float64')), checks='search', seed=3)\n"
    )
    root = str(Path(search.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {root!r}]\n{code}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.splitlines() == [repr(case) for case in drawn_cases(CORRECT, 3)]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["constants.py"]


def test_a_test_with_given_may_search_if_it_allows_it() -> None:
    results = []

    def check(_: bool) -> None:
        results.append(run_search(CORRECT, quick=True))

    allowed = hypothesis_settings(max_examples=1, suppress_health_check=list(HealthCheck))
    allowed(given(st.booleans())(check))()
    assert {result.status for result in results} == {"passed"}
    results.clear()
    hypothesis_settings(max_examples=1, suppress_health_check=[HealthCheck.too_slow])(given(st.booleans())(check))()
    assert {result.status for result in results} <= {"not_applicable", "passed"}  # older versions say nothing


FEATURES: dict[str, Callable[[Case], bool]] = {
    "F order only": lambda case: case.x.flags.f_contiguous and not case.x.flags.c_contiguous,
    "transposed": lambda case: case.order == "transposed",
    "read-only": lambda case: not case.x.flags.writeable,
    "stride 0": lambda case: 0 in case.x.strides,
    "negative strides": lambda case: min(case.x.strides) < 0,
    "more than 8 samples": lambda case: case.shape[0] > 8,
    "more than 20 samples": lambda case: case.shape[0] > 20,
    "one sample": lambda case: case.shape[0] == 1,
    "no samples": lambda case: case.shape[0] == 0,
    "more than 20 channels": lambda case: case.shape[1] > 20,
    "more than 32 channels": lambda case: case.shape[1] > 32,
    "one channel of several samples": lambda case: case.shape[1] == 1 < case.shape[0],
    "a side over 14": lambda case: max(case.spatial_shape) > 14,
    "a side of 28 or more": lambda case: max(case.spatial_shape) >= 28,
    "not square": lambda case: len(set(case.spatial_shape)) > 1,
    "1 x W": lambda case: min(case.spatial_shape) == 1 < max(case.spatial_shape),
    "blocks of 8 and more": lambda case: bool(np.max(case.block_size) >= 8),
    "even blocks": lambda case: isinstance(case.block_size, int) and case.block_size % 2 == 0,
    "per axis": lambda case: isinstance(case.block_size, tuple),
    "block 1": lambda case: case.block_size == 1,
    "special values": lambda case: bool(case.special),
    "several seeds": lambda case: len(case.seeds_at) > 4,
    "the last of many samples has a seed": lambda case: case.shape[0] > 8 and bool(case.seeds[-1].any()),
    "drop_prob 0": lambda case: case.drop_prob == 0,
    "drop_prob 1": lambda case: case.drop_prob == 1,
    "drop_prob below 0.1": lambda case: 0 < case.drop_prob < 0.1,
    "float64": lambda case: case.dtype == "float64",
}


def test_each_kind_of_call_is_frequent() -> None:
    """At least 4 in 100, so that a hundred calls miss a kind with probability at most 0.96^100 = 1.7 %; most are 10."""
    runs = [drawn_cases(replace(CORRECT, spatial_ndims=(2,)), seed) for seed in range(4)]
    counts = Counter(name for run in runs for case in run for name, has in FEATURES.items() if has(case))
    assert set(counts) == set(FEATURES)
    assert min(counts.values()) >= 4 * len(runs), counts
    assert all(any(has(case) for case in run) for run in runs for has in FEATURES.values())
    assert max(int(np.prod(case.shape)) for run in runs for case in run) <= search.MAX_CELLS


@pytest.mark.parametrize(
    "accepts",
    [
        lambda S, b: S == (28, 28) and b == 7,
        lambda _S, b: isinstance(b, int) and b % 2 == 1,
        lambda _S, b: isinstance(b, tuple) and b[0] == 1,
        lambda S, _b: set(S) <= {16, 32, 64},
    ],
)
def test_only_what_the_backend_accepts_is_drawn(accepts: Any) -> None:
    cases = drawn_cases(replace(CORRECT, accepts=accepts), 0, 20)
    assert len(cases) == 20
    assert all(accepts(case.spatial_shape, case.block_size) for case in cases)


def test_a_backend_that_accepts_nothing_that_is_drawn_is_not_searched() -> None:
    run = Run(replace(CORRECT, accepts=lambda S, _b: S == (999, 999)), 0, 1e-9)
    with pytest.raises(NotApplicable, match="the backend accepts none of the settings that are drawn"):
        find_failure(run, 10)


def test_what_is_drawn_by_no_list_is_found_by_its_own_word() -> None:
    backend = replace(CORRECT, spatial_ndims=(2,), accepts=lambda S, b, p: (S, b, p) == ((96, 96), 31, 0.3))
    cases = drawn_cases(backend, 0, 5)
    assert {(case.spatial_shape, case.block_size, case.drop_prob) for case in cases} == {((96, 96), 31, 0.3)}


def test_what_a_layer_is_built_with_is_all_that_is_drawn() -> None:
    built = (Setting((30, 37), (1, 7), 0.07, 3, 5), Setting(block_size=7, drop_prob=0.2, channels=4))
    cases = drawn_cases(replace(CORRECT, spatial_ndims=(2,), settings=built), 0, 40)
    assert {case.block_size for case in cases} == {7, (1, 7)}
    for case in cases:
        if case.block_size == 7:
            assert (case.drop_prob, case.shape[1]) == (0.2, 4)
        else:
            assert (case.shape, case.drop_prob) == ((3, 5, 30, 37), 0.07)


def test_for_a_compiler_only_one_shape_of_each_rank_is_drawn() -> None:
    progress = run_checks(CORRECT, checks=["search", "compiled"])
    (result,) = (result for *_, result in progress if result is not None)
    assert result.status == "passed"
    assert result.message.startswith("25 calls")
    signatures = progress.run.calls.signatures
    assert len({(shape, block_size) for _, shape, _, block_size, *_ in signatures}) == 2
    kinds = Counter((dtype, len(shape)) for _, shape, dtype, *_ in signatures)
    # forward and vjp in training and in evaluation, and apply
    assert max(kinds.values()) <= 5


def test_for_a_compiler_every_order_of_memory_is_judged_all_the_same() -> None:
    backend = wrong(lambda x, _p, _b, training: training and x.flags.f_contiguous and not x.flags.c_contiguous)
    result = check_backend(backend, checks=["search", "compiled"]).results[0]
    case, _ = pasted(result)
    assert case.order == "F"
    assert case.x.size > search.MAX_CELLS


def test_what_a_backend_has_not_is_not_tried() -> None:
    def only(x: Array, drop_prob: float, block_size: Any, *, training: bool, seed: int | None) -> Array:
        assert not training
        assert seed is None
        assert drop_prob >= 0
        assert block_size
        return x.copy()

    black_box = Backend(name="evaluation", forward=only, modes=("evaluation",), reseeds=False)
    assert find_failure(Run(black_box, 0, 1e-9), 20) == (None, set())
    mixed = replace(CORRECT, dtypes=("float32",), modes=("training",), output_dtype="float32")
    assert find_failure(Run(mixed, 0, 1e-9), 20) == (None, set())


def test_drawn_seeds_say_nothing_of_the_outputs_of_a_backend_that_takes_no_seed() -> None:
    stream = np.random.default_rng(0)

    def forward(x: Array, drop_prob: float, block_size: Any, *, training: bool, seed: int | None) -> Array:  # noqa: ARG001
        return drop_block(x, drop_prob, block_size, rng=stream, training=training)

    assert run_search(replace(CORRECT, forward=forward, vjp=None, reseeds=False)).status == "passed"


def test_a_block_per_axis_that_is_refused_is_that_checks_fault() -> None:
    def forward(x: Array, drop_prob: float, block_size: Any, **how: Any) -> Any:
        return CORRECT.forward(x, drop_prob, block_size + 0, **how)

    report = check_backend(Backend(name="ints", forward=forward), checks=["per_axis_blocks", "search"])
    assert [result.status for result in report.results] == ["failed", "not_judged"]


def test_the_number_of_examples_is_a_parameter() -> None:
    for examples in (1, 9, 30):
        assert len(drawn_cases(CORRECT, 0, examples)) == examples
    assert run_search(CORRECT, quick=True).message.startswith("25 calls")


# What is said


def test_without_hypothesis_it_says_that_nothing_was_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "find_spec", lambda _: None)
    result = run_search(CORRECT)
    assert result.status == "not_applicable"
    assert (
        result.message == "hypothesis is not installed, so nothing was searched: pip install 'dropblock_ref[testing]'"
    )


def test_a_convention_of_ones_own_is_in_the_line_to_paste() -> None:
    rules = replace(PAPER, name="mine", scale_over="sample")
    assert rules not in CONVENTIONS.values()
    backend = Backend(name="wrong", forward=lambda x, *_, **__: x * 2, convention=rules)
    result = run_search(backend)
    assert "import Case, Convention; case = Case(" in result.message
    assert pasted(result)[0].rules == rules


def test_a_backend_whose_stream_goes_on_is_no_riddle_to_hypothesis() -> None:
    stream = np.random.default_rng(0)

    def sometimes(x: Array, drop_prob: float, block_size: Any, *, training: bool, seed: int | None) -> Array:  # noqa: ARG001
        y = drop_block(x, drop_prob, block_size, rng=stream, training=training)
        return y * np.asarray(2, x.dtype) if stream.random() < 0.1 else y

    result = run_search(Backend(name="sometimes", forward=sometimes))
    assert result.status == "failed"
    assert "(the smallest call that hypothesis found to fail)" in result.message


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("vjp", lambda x, *_, **__: x, "vjp must return (y, x_bar), and returned an array"),
        ("vjp", lambda x, *_, **__: (x, x[:0]), "the derivative has shape (0, 1, 1, 1); expected that of x"),
        (
            "draw_seeds",
            lambda *_, **__: [],
            "draw_seeds must return a boolean array of shape (1, 1, 1, 1), and returned",
        ),
        ("apply", lambda *_: None, "the output of apply must be a NumPy array"),
    ],
)
def test_what_is_no_array_of_the_right_shape_is_a_failure(field: str, value: Any, message: str) -> None:
    result = run_search(replace(CORRECT, **{field: value}), quick=True)
    assert result.status == "failed"
    assert message in result.message


def test_a_wrong_dtype_in_evaluation_is_a_failure() -> None:
    result = run_search(wrong(lambda _x, _p, _b, training: not training, lambda y: y.astype(np.float64)), quick=True)
    assert result.message.startswith("the output has dtype float64; expected that of x, float32")


def test_what_a_backend_may_do_with_special_values_is_told() -> None:
    def selects(x: Array, drop_prob: float, block_size: Any, *, training: bool, seed: int | None) -> Array:
        if not training:
            return x.copy()
        y = CORRECT.forward(np.ones_like(x), drop_prob, block_size, training=True, seed=seed)
        with np.errstate(all="ignore"):
            return np.asarray(np.where(y == 0, 0, x * y))

    result = run_search(Backend(name="selects", forward=selects))
    assert result.status == "reported", result.message
    assert "a dropped infinity or NaN becomes 0" in result.message


def test_special_values_are_multiplied_like_any_other() -> None:
    x = np.array([1.0, np.nan, np.inf, 0.0, 3e38, 2.0**-126, 2.0], dtype=np.float32)
    factor = np.array([2.0, 0.0, 0.0, 2.0, 0.0, 0.5, 2.0])
    dropped = factor == 0
    with np.errstate(all="ignore"):
        y = (x * factor).astype(np.float32)
    assert find_special_problem(x, y, dropped, factor) == ("", set())
    flushed = np.array([2.0, 0.0, 0.0, 0.0, np.nan, 0.0, 4.0], dtype=np.float32)
    assert find_special_problem(x, flushed, dropped, factor) == (
        "",
        {
            "a dropped infinity or NaN becomes 0",
            "a dropped large value overflows on the way and becomes NaN",
            "the smallest normal number is flushed to 0",
        },
    )
    y[-1] = 5
    text, _ = find_special_problem(x, y, dropped, factor)
    assert text == (
        "beside special values a kept cell with the value 2.0 must become 4, and becomes 5, at index (6,); 1 of 7 "
        "cells are wrong"
    )
