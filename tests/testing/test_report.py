"""A report as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, asdict, replace

import pytest

from dropblock_ref.testing import REPORT_SCHEMA, CheckResult, Report, compare_reports
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
    assert [report.verdict for report in (ALL, fine, EMPTY)] == ["FAILED", "PASSED", "INCOMPLETE"]


LATE = CheckResult("scale", "not_judged", "nothing was dropped in 4 masks")


def test_a_report_without_an_essential_property_is_incomplete_and_says_what_to_declare() -> None:
    report = Report("mine", "paper", 0, (LATE, BY_CHANCE), essential=("the scale", "the values", "the drop rate"))
    assert report.verdict == "INCOMPLETE"
    assert not report.passed
    assert report.missing == ("the scale (scale: nothing was dropped in 4 masks)", "the values (not reached)")
    lines = str(report).splitlines()
    assert lines[0].startswith("INCOMPLETE  mine, held to")
    assert lines[1:3] == [f"  not judged: {what}" for what in report.missing]
    assert lines[3].startswith("  declare what the backend is for with settings=(Setting(")


@pytest.mark.parametrize("status", ["passed", "failed", "reported", "expected_failure"])
def test_an_essential_property_that_was_judged_is_not_missing(status: str) -> None:
    assert Report("mine", "paper", 0, (CheckResult("scale", status, ""),), essential=("the scale",)).missing == ()


def test_a_report_of_named_checks_is_judged_on_those() -> None:
    report = Report("mine", "paper", 0, (PASSED, IDLE), only=("scale", "gradient"))
    assert str(report).startswith("PASSED (only: scale, gradient)  mine")
    assert Report("mine", "paper", 0, (PASSED, LATE), only=("scale",)).verdict == "INCOMPLETE"


def test_an_interrupted_report_is_incomplete_and_tells_what_it_has() -> None:
    report = Report("mine", "paper", 0, (PASSED,), interrupted=True)
    assert report.verdict == "INCOMPLETE"
    assert "the run was interrupted" in str(report)


def test_a_report_tells_limits_and_counts() -> None:
    report = Report(
        "m", "paper", 0, (PASSED,), limits=("no seeds",), counts={"calls": 12, "shapes": 3, "seconds": 0.25}
    )
    assert str(report).startswith("PASSED  m, held to convention 'paper' (no seeds): 1 passed\n")
    assert str(report).endswith("12 calls of the backend, of 3 kinds (shape, dtype, block, mode, drop_prob)")


def test_json_loads_again_and_keeps_to_its_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    full = replace(ALL, only=("scale",), versions={"numpy": "2"}, counts={"calls": 1.0}, dtypes=("float32",))
    for report in (ALL, EMPTY, full):
        jsonschema.validate(json.loads(report.to_json()), REPORT_SCHEMA)
        assert Report.from_json(report.to_json()) == report


@pytest.mark.parametrize("text", ["", "3", "[]", "{}", "null", '{"schema": 0}', '{"schema": 1, "backend": "x"}'])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a report of this package in JSON"):
        Report.from_json(text)


def test_a_comparison_shows_what_differs_only() -> None:
    old = replace(ALL, versions={"numpy": "1", "scipy": "1"})
    new = Report("other", "timm", 7, (PASSED, replace(FAILED, status="passed")), versions={"numpy": "2", "scipy": "1"})
    assert compare_reports([old, new]).splitlines()[:6] == [
        "                1: mine           2: other",
        "verdict         FAILED            PASSED",
        "convention      paper             timm",
        "numpy           1                 2",
        "legal_blocks    failed            passed",
        "map_rate        passed            -",
    ]
    with pytest.raises(ValueError, match="at least two, got 1"):
        compare_reports([old])


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
    assert str(EMPTY).startswith("INCOMPLETE  mine, held to convention 'paper':")
    assert json.loads(EMPTY.to_json())["results"] == []


def test_json_has_everything() -> None:
    read = json.loads(ALL.to_json())
    assert set(read) == set(REPORT_SCHEMA["required"])
    assert (read["backend"], read["convention"], read["seed"], read["passed"]) == ("mine", "paper", 7, False)
    assert read["false_alarm"] == pytest.approx(1e-10)
    assert read["results"] == [asdict(result) for result in ALL.results]
    assert set(read["results"][0]) == {"name", "status", "message", "draws", "false_alarm", "detects"}


def test_the_statuses_are_the_pinned_ones() -> None:
    assert STATUSES == ("passed", "failed", "reported", "not_applicable", "not_judged", "expected_failure")


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
