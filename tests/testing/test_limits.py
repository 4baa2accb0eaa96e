"""A verdict is never vacuous: a planted bug is never PASSED by a backend that accepts only settings on which it shows.

A sample runs in every run of the tests; with the environment variable DROPBLOCK_REF_LONG set, all of them do.
"""

from __future__ import annotations

import os
import zlib
from typing import Any

import pytest

from dropblock_ref.testing import Backend, Setting, check_backend
from tests.mutants.correct import make_backend
from tests.mutants.fixed import LIMITS, Limit, fixed, shows
from tests.mutants.mutant import Mutant
from tests.mutants.mutants import MUTANTS

pytestmark = pytest.mark.slow

LONG = bool(os.environ.get("DROPBLOCK_REF_LONG"))
EVERY = 1 if LONG else 193
PAIRS = [
    (mutant, limit)
    for mutant in MUTANTS
    for limit in LIMITS
    if zlib.crc32(f"{mutant.name} {limit.name}".encode()) % EVERY == 0 and shows(mutant, limit)
]


@pytest.mark.parametrize(("mutant", "limit"), PAIRS, ids=[f"{mutant.name}-{limit.name}" for mutant, limit in PAIRS])
def test_a_planted_bug_is_not_passed_on_what_is_left_of_it(mutant: Mutant, limit: Limit) -> None:
    report = check_backend(fixed(mutant.make(), limit), checks="quick")
    if report.passed:  # a small error of a rate takes the draws of a whole run
        report = check_backend(fixed(mutant.make(), limit))
    assert not report.passed, f"{mutant.bug}\n{report}"


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
