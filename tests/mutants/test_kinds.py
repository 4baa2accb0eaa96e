"""The mutants of every kind that the oracle learns to find are wrong where they say, shown without the oracle."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

from dropblock_ref.testing import CheckResult, Report
from dropblock_ref.testing.oracle import CHECKS

from .case import Case, answers
from .fixed import LIMITS, SHOWS_ON, cases, fixed, shows
from .mutant import LONG, Mutant, complaints, correct_twin
from .mutants import ALL, MUTANTS, NEW, NEW_KINDS


def test_there_are_mutants_of_every_kind() -> None:
    kinds = Counter(mutant.stage for mutant in NEW)
    assert set(kinds) == {kind.stage for kind in NEW_KINDS}
    assert min(kinds.values()) >= 9
    assert len({mutant.name for mutant in ALL}) == len(ALL)


def test_they_name_checks_that_exist_and_the_first_of_them() -> None:
    for mutant in NEW:
        assert mutant.first
        assert mutant.first <= mutant.caught_by <= CHECKS.keys(), mutant.name


# One of them needs 2^24 cells, and half a minute.
LIGHT = tuple(mutant for mutant in NEW if LONG or math.prod(mutant.at.shape) < 2**24)


@pytest.mark.parametrize("mutant", LIGHT, ids=lambda mutant: mutant.name)
def test_a_mutant_differs_from_the_correct_backend_where_it_says(mutant: Mutant) -> None:
    assert answers(mutant.make(), mutant.at) != answers(correct_twin(mutant.make()), mutant.at), mutant.bug


def test_complaints_are_about_misses_wrong_causes_and_false_accusations() -> None:
    (mutant,) = (one for one in NEW if one.name == "output_is_input")

    def report(**statuses: str) -> Report:
        return Report("m", "paper", 0, tuple(CheckResult(name, status, "") for name, status in statuses.items()))

    assert complaints(mutant, report(input_unmodified="failed", values="not_judged")) == []
    assert complaints(mutant, report(input_unmodified="passed")) == ["is PASSED"]
    assert complaints(mutant, report(scale="failed", input_unmodified="failed")) == [
        "fails scale first, which is not the cause",
        "fails scale, which is right",
    ]
    (told,) = (one for one in NEW if one.name == "evaluation_draws")
    assert complaints(told, report(evaluation_stream="reported")) == []
    assert len(complaints(told, report(evaluation_stream="failed"))) == 2


# Most bugs of these kinds show in a corner only.
HIDDEN = tuple(mutant for mutant in NEW if mutant.stage in {"memory", "early returns", "corners of gamma", "counts"})


def test_most_of_them_hide_from_an_ordinary_call() -> None:
    ordinary = Case(derivative=False)
    hidden = [
        mutant
        for mutant in HIDDEN
        if 2 in mutant.make().spatial_ndims
        and answers(mutant.make(), ordinary) == answers(correct_twin(mutant.make()), ordinary)
    ]
    assert len(hidden) > len(HIDDEN) / 2


def test_the_table_of_limits_is_complete() -> None:
    assert list(SHOWS_ON) == [mutant.name for mutant in ALL]
    names = {limit.name for limit in LIMITS}
    assert all(set(shown) <= names for shown in SHOWS_ON.values())


@pytest.mark.parametrize("mutant", ALL if LONG else ALL[::47], ids=lambda mutant: mutant.name)
def test_a_mutant_shows_on_the_limits_of_the_table(mutant: Mutant) -> None:
    assert SHOWS_ON[mutant.name] == [limit.name for limit in LIMITS if shows(mutant, limit)]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_a_limited_backend_answers_as_the_backend_or_refuses(limit: object) -> None:
    (mutant,) = (one for one in MUTANTS if one.name == "no_scale")
    limited = next(one for one in LIMITS if one is limit)
    backend = fixed(mutant.make(), limited)
    accepts: Any = backend.accepts
    tried = list(cases(mutant, limited))
    assert tried
    for case in tried[:8]:
        assert accepts(case.spatial_shape, case.block_size, case.drop_prob)
        assert answers(backend, case) == answers(mutant.make(), case)
    refused = Case((2, 3, 11, 7), (2, 4), 0.0)
    assert not accepts(refused.spatial_shape, refused.block_size, refused.drop_prob)
    assert answers(backend, refused)[0] == "NotImplementedError"
