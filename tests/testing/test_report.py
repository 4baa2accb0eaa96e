"""A report as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, asdict

import pytest

from dropblock_ref.testing import CheckResult, Report
from dropblock_ref.testing.report import STATUSES

PASSED = CheckResult("scale", "passed", "288 masks", 288)
FAILED = CheckResult("legal_blocks", "failed", "dropped cells must be legal\n.x.\non 5x5", 12)
BY_CHANCE = CheckResult("map_rate", "passed", "0.09", 1000, 5e-11, "3 % of a (5x5); 4 % of b; 5 % of c")
ONE_LIMIT = CheckResult("cell_rates", "failed", "cell (0, 0)", 500, 5e-11, "3 % of a (5x5)")
IDLE = CheckResult("gradient", "not_applicable", "the backend has no vjp")
TOLD = CheckResult("special_values", "reported", "a dropped NaN becomes 0", 3)
KNOWN = CheckResult("values", "expected_failure", "known since 1.0\nkept cells are wrong", 4)
ALL = Report("mine", "paper", 7, (PASSED, FAILED, BY_CHANCE, ONE_LIMIT, IDLE, TOLD, KNOWN))
EMPTY = Report("mine", "paper", 0, ())


def test_a_report_passes_unless_a_check_failed() -> None:
    assert not ALL.passed
    assert ALL.failures == (FAILED, ONE_LIMIT)
    fine = Report("mine", "paper", 0, (PASSED, BY_CHANCE, IDLE, TOLD, KNOWN))
    assert fine.passed
    assert fine.failures == ()
    assert not EMPTY.passed
    assert not Report("mine", "paper", 0, (IDLE,)).passed


def test_the_false_alarm_of_a_report_is_the_sum() -> None:
    assert ALL.false_alarm == pytest.approx(1e-10, rel=1e-12)
    assert EMPTY.false_alarm == 0


def test_the_text_begins_with_the_verdict_and_counts_every_status() -> None:
    first = str(ALL).splitlines()[0]
    assert first == (
        "FAILED  mine, held to convention 'paper': 2 passed, 2 failed, 1 reported, 1 not applicable, 1 expected failure"
    )
    assert str(Report("b", "timm", 0, (PASSED,))).startswith("PASSED  b, held to convention 'timm': 1 passed\n")


def test_the_text_shows_every_result_and_indents_what_follows() -> None:
    assert str(ALL).splitlines()[1:-1] == [
        "  passed           scale           288 masks",
        "  failed           legal_blocks    dropped cells must be legal",
        "      .x.",
        "      on 5x5",
        "  passed           map_rate        0.09",
        "      1000 masks: finds 3 % of a (5x5), and 2 more",
        "  failed           cell_rates      cell (0, 0)",
        "      500 masks: finds 3 % of a (5x5)",
        "  not applicable   gradient        the backend has no vjp",
        "  reported         special_values  a dropped NaN becomes 0",
        "  expected failure values          known since 1.0",
        "      kept cells are wrong",
    ]


def test_the_text_ends_with_what_the_verdict_is_worth() -> None:
    assert str(ALL).splitlines()[-1] == (
        "  a correct backend fails any of this with probability at most 1e-10; what a check finds, it finds with "
        "probability 1 - 1e-6"
    )


def test_no_line_of_the_text_ends_in_blanks() -> None:
    report = Report("mine", "paper", 0, (CheckResult("empty_batch", "passed", ""), IDLE))
    assert all(line == line.rstrip() for line in str(report).splitlines())


def test_an_empty_report_is_text_too() -> None:
    assert str(EMPTY).startswith("NOTHING CHECKED  mine, held to convention 'paper':")
    assert json.loads(EMPTY.to_json())["results"] == []


def test_json_has_everything() -> None:
    read = json.loads(ALL.to_json())
    assert set(read) == {"backend", "convention", "seed", "results", "passed", "false_alarm"}
    assert (read["backend"], read["convention"], read["seed"], read["passed"]) == ("mine", "paper", 7, False)
    assert read["false_alarm"] == pytest.approx(1e-10)
    assert read["results"] == [asdict(result) for result in ALL.results]
    assert set(read["results"][0]) == {"name", "status", "message", "draws", "false_alarm", "detects"}


def test_the_statuses_are_the_pinned_ones() -> None:
    assert STATUSES == ("passed", "failed", "reported", "not_applicable", "expected_failure")


def test_results_and_reports_cannot_be_changed() -> None:
    for value, field in ((PASSED, "status"), (ALL, "results")):
        with pytest.raises(FrozenInstanceError):
            setattr(value, field, "passed")


def test_defaults_of_a_result_are_those_of_a_check_without_chance() -> None:
    assert (IDLE.draws, IDLE.false_alarm, IDLE.detects) == (0, 0.0, "")


def test_the_text_form_is_shown_wherever_the_report_is() -> None:
    assert repr(ALL) == str(ALL)
    assert f"{ALL}" == str(ALL)
    assert repr([EMPTY]) == f"[{EMPTY}]"


def test_what_a_check_finds_is_the_first_and_how_many_more() -> None:
    assert [one.finds for one in (IDLE, ONE_LIMIT, BY_CHANCE)] == ["", "3 % of a (5x5)", "3 % of a (5x5), and 2 more"]
