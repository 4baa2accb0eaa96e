"""What one check alone says of a planted bug, in the quick profile: the sentence that an engineer mends it from."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dropblock_ref import PAPER
from dropblock_ref.testing import Backend, Setting, check_backend, search
from dropblock_ref.testing.check import CheckFailure
from dropblock_ref.testing.judge import Repetition
from dropblock_ref.testing.oracle import CHECKS, BoundCheck, select_checks
from tests.mutants.correct import make_backend
from tests.mutants.mutant import correct, one
from tests.mutants.mutants import ALL

MUTANTS = {mutant.name: mutant for mutant in ALL}


def with_vjp(change: Callable[[Any, Any], tuple[Any, Any]]) -> Backend:
    """The correct backend, but for what it makes of its output and derivative."""
    good = correct()
    assert good.vjp is not None
    vjp = good.vjp
    return correct(vjp=lambda *given, **how: change(*vjp(*given, **how)))


@pytest.mark.parametrize(
    ("name", "check", "words"),
    [
        ("oversize_clipped", "oversize_block", "a block_size larger than the map must be refused with an exception"),
        ("even_accepted", "even_blocks", "a block_size of even size must be refused with an exception"),
        ("zeros_give_nan", "special_values", "zeros must become zeros"),
        ("last_input_overwritten", "input_unmodified", "a later call changes what an earlier one was given"),
        ("gradient_without_mask", "gradient", "the mask is missing"),
        ("gradient_of_all_dropped_is_nan", "gradient", "it is NaN in"),
        ("numpy_drop_prob_is_default", "scalar_types", "with the same seed the output is another one"),
    ],
)
def test_a_bug_is_told_in_its_own_words(name: str, check: str, words: str) -> None:
    result = one(MUTANTS[name].make(), check)
    assert result.status == "failed"
    assert words in result.message


def test_a_mask_that_depends_on_x_is_told_from_a_wrong_value() -> None:
    (mutant,) = (bug for bug in ALL if "seeds lie where x is large" in bug.bug)
    result = one(mutant.make(), "special_values")
    assert "the mask must not depend on the values of x" in result.message


def test_a_derivative_in_the_memory_of_the_output_is_found() -> None:
    def share(y: Any, x_bar: Any) -> tuple[Any, Any]:
        both = np.stack([y, x_bar])
        return both[0], both.reshape(2, -1)[0].reshape(y.shape)

    report = check_backend(with_vjp(share), checks=["gradient", "output_unmodified", "quick"])
    (result,) = report.failures
    assert result.name == "output_unmodified"
    assert "the output and the derivative must not share memory" in result.message


def test_the_derivative_beside_a_wrong_output_is_not_judged() -> None:
    result = one(with_vjp(lambda y, x_bar: (3 * y, 2 * x_bar)), "gradient")
    assert result.status == "not_judged"
    assert "the outputs beside them are wrong" in result.message


def test_derivatives_in_half_precision_are_judged() -> None:
    assert one(make_backend("paper", "channels_first", (2,), ("float16",)), "gradient").status == "passed"


def test_a_backend_that_is_for_nothing_is_asked_for_nothing() -> None:
    result = one(correct(accepts=lambda *_: False), "bad_arguments")
    assert result.status == "not_applicable"
    assert "supports no setting that was tried" in result.message


def test_a_check_called_by_hand_fails_skips_or_passes() -> None:
    def bound(name: str) -> BoundCheck:
        return BoundCheck(CHECKS[name], select_checks("quick"), 0, 1e-9)

    with pytest.raises(CheckFailure, match="must be multiplied"):
        bound("scale")(MUTANTS["no_scale"].make())
    with pytest.raises(unittest.SkipTest, match="not applicable"):
        bound("low_precision")(correct())
    bound("scale")(correct)


def test_one_example_is_enough_to_search_with() -> None:
    backend = make_backend("paper", "channels_first", (2,), ("float32", "float64", "float16"))
    result = one(backend, "search", examples=1)
    assert result.status == "passed"
    assert result.message.startswith("1 call")


def test_hypothesis_leaves_no_files_where_nobody_else_uses_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(search, "_alone", lambda: True)
    monkeypatch.chdir(tmp_path)
    assert one(MUTANTS["no_scale"].make(), "search").status == "failed"
    assert not list(tmp_path.iterdir())


def test_an_accepts_that_fails_for_a_rare_kind_of_block_is_not_for_it() -> None:
    def accepts(_: Any, block_size: Any) -> bool:
        if isinstance(block_size, tuple):
            raise KeyError(block_size)
        return True

    assert one(correct(accepts=accepts), "search").status == "passed"


def test_without_a_call_no_repetition_is_judged() -> None:
    assert Repetition().verdict(1e-9).not_judged == "no mask was drawn"


def statuses(backend: Backend, *checks: str) -> dict[str, str]:
    return {result.name: result.status for result in check_backend(backend, checks=[*checks, "quick"]).results}


def test_where_masks_repeat_no_rate_is_judged() -> None:
    backend = MUTANTS["every_second_call_repeats"].make()
    found = statuses(backend, "map_rate", "batch_rates", "call_independence", "repeated_draws")
    assert found["repeated_draws"] == "failed"
    assert {found[name] for name in ("map_rate", "batch_rates", "call_independence")} == {"not_judged"}


def test_samples_that_are_never_dropped_do_not_share_masks() -> None:
    backend = MUTANTS["samples_after_forty_eight_untouched"].make()
    assert statuses(backend, "channel_sharing", "batch_rates") == {
        "channel_sharing": "not_judged",
        "batch_rates": "failed",
    }


def test_seeds_from_2_31_on_may_be_refused() -> None:
    result = one(MUTANTS["large_seeds_refused"].make(), "repeated_draws")
    assert result.status == "reported"
    assert "are refused" in result.message


def test_a_seed_without_effect_is_found() -> None:
    good = correct()

    def forward(*given: Any, seed: int | None, **how: Any) -> Any:
        del seed
        return good.forward(*given, seed=None, **how)

    result = one(Backend(name="mine", forward=forward), "same_seed_same_output")
    assert "two calls with the same seed must give the same output" in result.message


@pytest.mark.parametrize("channels", [False, True])
def test_a_call_of_one_mask_passes_where_its_convention_says_so(channels: bool) -> None:
    rules = replace(PAPER, name="one", shared_samples=True, shared_channels=channels)
    report = check_backend(make_backend(rules, "channels_first", (2,), ("float32",)), checks="quick")
    assert report.passed, str(report)
    wrong = replace(correct(), convention=rules, apply=None, draw_seeds=None)
    assert one(wrong, "channel_sharing").status == "failed"


def test_settings_of_other_ranks_are_left_out() -> None:
    built = (Setting((5, 5, 5)), Setting((9, 9), (3, 3, 3)), Setting((9, 9), 3))
    assert one(correct(settings=built), "legal_blocks").status == "passed"
