"""The oracle finds every planted bug, accuses no correct backend, and says what is wrong so that one can see it.

Nothing here is left to chance: the streams of the mutants and of the correct backend are seeded.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dropblock_ref import CONVENTIONS, PAPER, Convention, sample_seeds
from dropblock_ref.testing import Backend, CheckResult, Report, check_backend, make_input
from dropblock_ref.testing.oracle import CHECKS
from tests.mutants.correct import ALL_DTYPES, make_backend
from tests.mutants.mutant import Mutant, complaints, first_failure, in_sample
from tests.mutants.mutants import MUTANTS, NEW, STAGES

pytestmark = pytest.mark.slow

MODELLED = tuple(name for name, rules in CONVENTIONS.items() if rules.gamma_rule != "calibrated")
# Values of fields that no published convention has; the reference supports them, so must the oracle.
OWN = (
    replace(PAPER, name="sample", scale_over="sample"),
    replace(PAPER, name="sample_nan", scale_over="sample", all_dropped="nan"),
    replace(PAPER, name="channel", scale_over="channel"),
    replace(PAPER, name="channel_nan", scale_over="channel", all_dropped="nan"),
    replace(PAPER, name="no_scale", scale_over="none", even_extra_cell="after"),
    replace(PAPER, name="shared_sample", scale_over="sample", shared_channels=True, epsilon=0.5),
    replace(
        PAPER,
        name="last_axis",
        gamma_rule="last_axis",
        seed_region="everywhere",
        oversize_block="clip_to_smallest_axis",
    ),
)


def test_there_are_mutants_of_every_stage() -> None:
    stages = Counter(mutant.stage for mutant in MUTANTS)
    assert len(MUTANTS) >= 60
    assert set(stages) == {stage.stage for stage in STAGES}
    assert min(stages.values()) >= 5
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_mutants_are_caught_by_checks_that_exist() -> None:
    assert all(mutant.caught_by and mutant.caught_by <= set(CHECKS) for mutant in MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_caught(mutant: Mutant) -> None:
    report = first_failure(mutant.make(), sorted(mutant.caught_by))
    if mutant.reported:
        assert any(result.status == "reported" for result in report.results), f"{mutant.bug}\n{report}"
        assert not report.failures
        return
    assert report.failures, f"{mutant.bug}\n{report}"
    assert not report.passed


# A whole run takes five seconds: one of so many in every run of the tests, all of them with DROPBLOCK_REF_LONG set.
ALWAYS = {
    "large_seeds_refused",
    "samples_after_forty_eight_untouched",
    "numpy_drop_prob_is_default",
    "zeros_give_nan",
    "one_map_kept",
    "rows_in_eight_bits",
    "derivative_over_output",
    "last_input_overwritten",
    "vjp_of_another_seed",
}
SOME = [mutant for mutant in NEW if mutant.name in ALWAYS or in_sample(mutant.name, 41)]


@pytest.mark.parametrize("mutant", SOME, ids=lambda mutant: mutant.name)
def test_a_whole_run_names_the_cause_first_and_accuses_nothing_that_is_right(mutant: Mutant) -> None:
    report = check_backend(mutant.make())
    wrong = complaints(mutant, report)
    assert not wrong or (mutant.costly and report.passed), f"{mutant.bug}: {wrong}\n{report}"


@pytest.mark.parametrize(
    ("convention", "data_format", "checks"),
    [
        ("paper", "channels_first", None),
        ("timm", "channels_last", None),
        *((name, "channels_last" if name == "paper" else "channels_first", "quick") for name in sorted(MODELLED)),
    ],
)
def test_correct_backend_passes(convention: str, data_format: str, checks: str | None) -> None:
    backend = make_backend(convention, data_format, (2, 3), ("float32",))
    expect_passed(check_backend(backend, checks=checks), backend, {"low_precision"})


@pytest.mark.parametrize("convention", OWN, ids=lambda convention: convention.name)
def test_correct_backend_passes_under_conventions_of_ones_own(convention: Convention) -> None:
    backend = make_backend(convention, "channels_first", (2, 3), ("float32",))
    expect_passed(check_backend(backend, checks="quick"), backend, {"low_precision"})


@pytest.mark.parametrize("convention", ["paper", "timm"])
def test_correct_backend_passes_in_all_dtypes(convention: str) -> None:
    backend = make_backend(convention, "channels_last", (2,), ALL_DTYPES)
    expect_passed(check_backend(backend), backend, set())


@pytest.mark.parametrize("dtype", ALL_DTYPES)
def test_correct_backend_passes_in_one_dtype(dtype: str) -> None:
    backend = make_backend("paper", "channels_first", (2,), (dtype,))
    expect_passed(
        check_backend(backend, checks="quick"), backend, set() if "16" in dtype.removeprefix("b") else {"low_precision"}
    )


def test_correct_black_box_passes() -> None:
    backend = make_backend("paper", with_vjp=False, with_draw_seeds=False, with_apply=False, dtypes=("float32",))
    report = check_backend(backend, checks="quick")
    expect_passed(
        report, backend, {"low_precision", "gradient", "evaluation_gradient", "replayed_mask", "replayed_values"}
    )


def expect_passed(report: Report, backend: Backend, not_applicable: set[str]) -> None:
    """Nothing fails, and only these checks, and those that the convention makes idle, do not apply."""
    assert report.passed, str(report)
    assert not any(result.status == "expected_failure" for result in report.results)
    if backend.rules.shared_channels:
        not_applicable = not_applicable | {"channel_independence"}
    if backend.rules.shared_samples:
        not_applicable = not_applicable | {"sample_independence"}
    if backend.rules.scale_over == "keep_prob":
        not_applicable = not_applicable | {"drop_prob_one"}
    if len(backend.dtypes) == 1:
        not_applicable = not_applicable | {"dtype_rates"}
    idle = {result.name for result in report.results if result.status == "not_applicable"}
    assert idle == not_applicable, str(report)
    assert [result.name for result in report.results] == list(CHECKS)
    assert report.false_alarm <= 1e-9
    for result in report.results:
        judged = result.status != "not_judged" and result.message != "refused"
        by_chance = CHECKS[result.name].statistical and result.name not in idle and judged
        assert (result.detects != "") == by_chance, result


# What a failure says. Each entry: a mutant, the check, and what its message must contain.

PICTURE = r"\n[.#xoS!]*[xo!][.#xoS!]*\n"
MESSAGES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "extra_row_before",
        "legal_blocks",
        ("union of legal blocks of 3", r"sample \d+, channel \d+, cell \(0, \d+\)", r"\d+ of \d+ cells", PICTURE),
    ),
    (
        "mask_transposed",
        "replayed_mask",
        ("must drop the blocks of 3 around the drawn seeds", r"sample \d+, channel \d+, cell \(", PICTURE),
    ),
    (
        "reciprocal_of_keep_prob",
        "scale",
        (r"count\(M\) / count_ones\(M\) = 1\.\d{6},", "multiplied by 2", "1 / keep_prob", r"sample \d+, channel \d+"),
    ),
    (
        "gamma_in_float16",
        "map_rate",
        ("must be dropped on average", "drop_prob 0.1", r"over \d+ masks 0\.\d+ are", r"[+-]\d+\.\d %", "gamma 0.0033"),
    ),
    (
        "last_cell_never_seed",
        "cell_rates",
        (
            r"cell \(4, 4\) must be dropped with probability 0\.246914",
            r"is dropped in 0 of \d+ masks, 0\.000000",
            "p-value",
            r"rates seen / expected:(\n *\d\.\d\d( +\d\.\d\d){4}){5}\n",
            r"\n( *\d\.\d\d){4} +0\.00\n",
        ),
    ),
    (
        "mirrored_mask",
        "distant_cells",
        (r"cells \(\d, \d\) and \(\d, \d\) of one map must be independent", r"[\d.]+ of \d+ draws", "p-value"),
    ),
    (
        "neighbouring_channels_correlated",
        "channel_independence",
        ("of successive channels", "must be independent: so often as each is seen", r"[\d.]+ of \d+ draws", "p-value"),
    ),
    (
        "samples_mirrored",
        "sample_independence",
        ("of successive samples", "must be independent", r"[\d.]+ of \d+ draws"),
    ),
    ("frozen_mask", "stream_goes_on", ("must draw different masks", "with a probability of at most", "calls 0 and 1 ")),
    ("shared_over_channels", "channel_sharing", ("channels must draw masks of their own", "channels 0 and 1 ")),
    (
        "own_mask_per_channel",
        "channel_sharing",
        ("must share one mask", r"sample \d+ channel \d+ differs from channel 0, first at cell \("),
    ),
    ("gradient_without_scale", "gradient", (r"must be cotangent \* scale, scale = 1\.\d+", r"is cotangent \* 1 ")),
    (
        "gradient_without_mask",
        "gradient",
        (r"zero exactly on the \d+ dropped cells", r"\d+ of \d+ cells are not so", "the mask is missing"),
    ),
)


@pytest.mark.parametrize(
    ("name", "check", "expected"), MESSAGES, ids=[f"{name}-{check}" for name, check, _ in MESSAGES]
)
def test_a_failure_says_what_is_wrong_and_where(name: str, check: str, expected: tuple[str, ...]) -> None:
    _, result = failure(name, check)
    for pattern in expected:
        assert re.search(pattern, result.message), f"{pattern!r} is not in\n{result.message}"
    assert re.search(r"\non \d+x\d+(x\d+)?, block \S+.*, drop_prob ", result.message), result.message
    assert re.search(r"\nreproduce: .+", result.message), result.message


REPLAYED = ("extra_row_before-legal_blocks", "mask_transposed-replayed_mask", "reciprocal_of_keep_prob-scale")
STATISTICAL = (
    "gamma_in_float16-map_rate",
    "last_cell_never_seed-cell_rates",
    "mirrored_mask-distant_cells",
    "neighbouring_channels_correlated-channel_independence",
    "samples_mirrored-sample_independence",
    "every_second_call_repeats-stream_goes_on",
    "drop_prob_as_gamma-drop_prob_one",
    "gamma_of_unclipped_block-oversize_block",
    "every_second_call_repeats-repeated_draws",
)


@pytest.mark.parametrize("case", REPLAYED)
def test_the_call_reproduces_the_output(case: str) -> None:
    """The call of a message gives an output that shows the number of wrong cells that the message states."""
    name, check = case.split("-")
    backend, result = failure(name, check)
    x, y = execute(result.message, mutant_named(name).make())
    assert x.shape == y.shape
    rules, text = backend.rules, result.message
    assert not np.array_equal(x, y)
    if check == "scale":
        used = re.search(r"they are multiplied by (\S+), which is 1 / keep_prob ", text)
        assert used is not None
        assert set((y / x)[y != 0]) == {float(used[1])}
    else:
        rows = [row for row in text.splitlines() if re.fullmatch(r"[.#xoS]+", row)]
        place = re.search(r"sample (\d+), channel (\d+), cell \(", text)
        assert place is not None
        seen = np.equal(y, 0)[int(place[1]), int(place[2])]
        shown = np.array([[mark in "#xS" for mark in row] for row in rows])
        assert np.array_equal(seen, shown), f"{rules.name}\n{text}"


@pytest.mark.parametrize("case", STATISTICAL)
def test_the_call_reproduces_the_failure(case: str) -> None:
    """The call of a message is a run of the oracle that fails again, in the same check and in the same words."""
    name, check = case.split("-")
    _, result = failure(name, check)
    report = execute(result.message, mutant_named(name).make())
    assert isinstance(report, Report)
    assert (check, result.message) in {(again.name, again.message) for again in report.failures}


def test_a_picture_of_a_volume_is_a_slice() -> None:
    _, result = failure("extra_plane_before", "legal_blocks")
    assert re.search(r"\nslice \d of 5 in depth\n([.#xo]{5}\n){5}", result.message), result.message


def mutant_named(name: str) -> Mutant:
    (mutant,) = (mutant for mutant in MUTANTS if mutant.name == name)
    return mutant


def failure(name: str, check: str) -> tuple[Backend, CheckResult]:
    """The failed result of that check for that mutant, and the backend."""
    backend = mutant_named(name).make()
    (result,) = check_backend(backend, checks=[check]).results
    assert result.status == "failed", f"{name}: {result}"
    return backend, result


def execute(message: str, backend: Backend) -> Any:
    """What the call of a message gives: (x, y), or a report."""
    calls = [line.removeprefix("reproduce: ") for line in message.splitlines() if line.startswith("reproduce: ")]
    assert len(calls) == 1, message
    *statements, last = calls[0].split("; ")
    scope: dict[str, Any] = {
        "backend": backend,
        "check_backend": check_backend,
        "make_input": make_input,
        "sample_seeds": sample_seeds,
    }
    for statement in statements:
        exec(statement, scope)  # noqa: S102  (the oracle's own text)
    value = eval(last, scope)  # noqa: S307
    return (scope["x"], value) if "x" in scope else value
