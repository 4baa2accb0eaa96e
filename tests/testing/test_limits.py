"""A verdict is never vacuous: a planted bug is never PASSED by a backend that accepts only settings on which it shows.

A sample runs in every run of the tests; with the environment variable DROPBLOCK_REF_LONG set, all of them do.
"""

from __future__ import annotations

from typing import Any

import pytest

from dropblock_ref.testing import Backend, Setting, check_backend
from tests.mutants.correct import make_backend
from tests.mutants.fixed import LIMITS, SHOWS_ON, Limit, fixed
from tests.mutants.mutant import Mutant, first_failure, in_sample
from tests.mutants.mutants import ALL

pytestmark = pytest.mark.slow

PAIRS = [
    (mutant, limit)
    for mutant in ALL
    for limit in LIMITS
    if limit.name in SHOWS_ON[mutant.name]
    and not (mutant.reported or mutant.costly)
    and in_sample(f"{mutant.name} {limit.name}", 193)
]


@pytest.mark.parametrize(("mutant", "limit"), PAIRS, ids=[f"{mutant.name}-{limit.name}" for mutant, limit in PAIRS])
def test_a_planted_bug_is_not_passed_on_what_is_left_of_it(mutant: Mutant, limit: Limit) -> None:
    for checks in (sorted(mutant.caught_by), "quick", None):  # a small error of a rate takes the draws of a whole run
        report = first_failure(fixed(mutant.make(), limit), checks)
        if report.failures or (not isinstance(checks, list) and not report.passed):
            return
    pytest.fail(f"{mutant.bug}\n{report}")


@pytest.mark.parametrize(
    "limited",
    [
        {"accepts": lambda _, block_size: block_size == 7},
        {"accepts": lambda _, block_size: block_size == (1, 5)},
        {"settings": (Setting((28, 28), 7, 0.1),)},
        {"settings": (Setting(drop_prob=0.3),)},
    ],
)
def test_a_backend_that_drops_in_evaluation_and_scales_wrong_fails_whatever_it_is_built_for(
    limited: dict[str, Any],
) -> None:
    good = make_backend("paper", dtypes=("float32",))

    def forward(x: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None) -> Any:  # noqa: ARG001
        return 1.5 * good.forward(x, drop_prob, block_size, training=True, seed=seed)

    report = check_backend(Backend(name="m", forward=forward, **limited), checks="quick")
    assert {"evaluation_identity", "scale"} <= {result.name for result in report.failures}, str(report)
