"""What the oracle answers: one CheckResult per check, together a Report; and one Identification of a black box."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy
import scipy

from ..convention import CONVENTIONS

STATUSES = ("passed", "failed", "reported", "not_applicable", "not_judged", "expected_failure")
JUDGED = ("passed", "failed", "reported", "expected_failure")
FAILING = ("failed", "expected_failure")
# What PASSED stands for: each of these was judged, by one of the checks beside it. Evaluation is the first.
ESSENTIAL: dict[str, tuple[str, ...]] = {
    "identity in evaluation": ("evaluation_identity",),
    "legal blocks": ("legal_blocks",),
    "the scale": ("scale",),
    "the values": ("values",),
    "the drop rate": ("map_rate", "cell_rates"),
}
ERROR = 1e-6  # probability that an answer of identify is wrong by chance
_DECLARE = (
    "declare what the backend is for with settings=(Setting(spatial_shape, block_size, drop_prob), ...) or accepts=, "
    "and what it has not with modes= and reseeds="
)


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check.

    Attributes
    ----------
    name : str
        Name of the check.
    status : {"passed", "failed", "reported", "not_applicable", "not_judged", "expected_failure"}
        "reported" is what a correct backend may do in two ways, told but not judged. "not_applicable" is what the
        backend has not; "not_judged" what it may have, and what could not be seen.
    message : str
        What was found; for "not_applicable" and "not_judged" why; for "failed" what is wrong, where, and how to
        reproduce it.
    draws : int
        Number of masks that the check looked at.
    false_alarm : float
        Upper bound of the probability that a correct backend fails this check; 0 where nothing is left to chance.
    detects : str
        The smallest error that the check finds with probability 1 - 1e-6, in words; empty for checks without chance.

    Examples
    --------
    >>> from dropblock_ref import backends
    >>> from dropblock_ref.testing import check_backend
    >>> check_backend(backends.load("numpy"), checks="legal_blocks").results[0].status
    'passed'
    """

    name: str
    status: str
    message: str
    draws: int = 0
    false_alarm: float = 0.0
    detects: str = ""

    @property
    def finds(self) -> str:
        """The first of what the check detects, and how many more there are; empty for checks without chance."""
        first, *others = self.detects.split("; ")
        return first + (f", and {len(others)} more" if others else "")


def find_versions(*packages: str) -> dict[str, str]:
    """Of this package, of Python and NumPy, and of those of the packages that are imported."""
    from .. import __version__  # which is known only when the package is imported

    versions = {
        "dropblock_ref": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
    }
    for name in packages:
        version = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(version, str):
            versions[name] = version
    return versions


@dataclass(frozen=True, repr=False)
class Report:
    """The outcomes of all checks of one backend.

    Attributes
    ----------
    backend, convention : str
        Name of the backend, and of the convention that it was held to.
    seed : int
        Seed of the oracle's own choices; the same seed repeats the run.
    results : tuple of CheckResult
        In the order of ``python -m dropblock_ref check --list``.
    only : tuple of str
        The names of checks and groups that were asked for; empty where all were.
    essential : tuple of str
        The properties that must have been judged, or else the report is incomplete.
    limits : tuple of str
        What the backend says that it has not, or is built with.
    dtypes : tuple of str
        That it was checked in.
    counts : dict
        Calls of the backend, how many different shapes (with block, mode and drop_prob) they had, and their seconds.
    versions : dict
        Of this package, NumPy, SciPy, and the framework if the backend's module is of one.
    interrupted : bool
        Whether the run was ended before its end.

    Examples
    --------
    As text it is a table, which failures explain; `failures`, `passed` and `to_json` are for programs:

    >>> from dropblock_ref.testing import Backend, check_backend
    >>> zeros = Backend(name="zeros", forward=lambda x, drop_prob, block_size, *, training, seed: 0 * x)
    >>> report = check_backend(zeros, checks=["evaluation_identity", "input_unmodified"])
    >>> report.passed, [result.name for result in report.failures]
    (False, ['evaluation_identity'])
    """

    backend: str
    convention: str
    seed: int
    results: tuple[CheckResult, ...]
    only: tuple[str, ...] = ()
    essential: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    counts: Mapping[str, float] = field(default_factory=dict, compare=False)
    versions: Mapping[str, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def verdict(self) -> str:
        """FAILED; or INCOMPLETE, where what must be judged was not; or PASSED."""
        return "FAILED" if self.failures else "INCOMPLETE" if self.missing else "PASSED"

    @property
    def passed(self) -> bool:
        """Whether no check failed, and all that must be judged was."""
        return self.verdict == "PASSED"

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The checks that failed."""
        return tuple(result for result in self.results if result.status == "failed")

    @property
    def missing(self) -> tuple[str, ...]:
        """What must be judged for a verdict and was not, with the reason."""
        by_name = {result.name: result for result in self.results}
        missing = []
        for what in self.essential:
            results = [by_name[name] for name in ESSENTIAL[what] if name in by_name]
            if not any(result.status in JUDGED for result in results):
                why = "; ".join(dict.fromkeys(f"{result.name}: {result.message}" for result in results))
                missing.append(f"{what} ({why or 'not reached'})")
        if not any(result.status in JUDGED for result in self.results) and not missing:
            missing.append("anything")
        if self.only:  # a cause that fails fails the report, and what is expected to fail has been judged
            missing += [f"{r.name} ({r.message})" for r in self.results if r.status == "not_judged"]
        if self.interrupted:
            missing.append("what follows (the run was interrupted)")
        return tuple(missing)

    @property
    def false_alarm(self) -> float:
        """Upper bound of the probability that a correct backend has a failure in this report."""
        return sum(result.false_alarm for result in self.results)

    def to_json(self) -> str:
        """Everything as a JSON object, whose schema is `REPORT_SCHEMA`; `from_json` reads it again."""
        told = {"schema": SCHEMA_VERSION, **asdict(self)}
        told |= {"verdict": self.verdict, "passed": self.passed, "missing": self.missing}
        return json.dumps(told | {"false_alarm": self.false_alarm}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read what `to_json` has written.

        Parameters
        ----------
        text : str
            A JSON object.

        Returns
        -------
        Report

        Raises
        ------
        ValueError
            If the text is no such report.

        Examples
        --------
        >>> from dropblock_ref.testing import Report
        >>> report = Report("mine", "paper", 0, ())
        >>> Report.from_json(report.to_json()) == report
        True
        """
        try:
            return cls._from_object(json.loads(text))
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ValueError(f"the text must be a report of this package in JSON, and is not: {error}") from error

    @classmethod
    def _from_object(cls, told: dict[str, Any]) -> Report:
        if told["schema"] != SCHEMA_VERSION:
            raise ValueError(f"it has schema {told['schema']}; this version reads {SCHEMA_VERSION}")
        given = {one.name: told[one.name] for one in fields(cls)}
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        return cls(**(given | {"results": tuple(CheckResult(**result) for result in told["results"])}))

    def __repr__(self) -> str:
        numbers = ", ".join(
            f"{number} {status.replace('_', ' ')}"
            for status in STATUSES
            if (number := sum(result.status == status for result in self.results))
        )
        limits = f" ({'; '.join(self.limits)})" if self.limits else ""
        others = f", and {len(self.only) - 5} more" if len(self.only) > 5 else ""
        verdict = self.verdict + (f" (only: {', '.join(self.only[:5])}{others})" if self.only else "")
        lines = [f"{verdict}  {self.backend}, held to convention {self.convention!r}{limits}: {numbers}"]
        if self.verdict == "INCOMPLETE":
            lines += [f"  not judged: {what}" for what in self.missing]
            lines.append(f"  {_DECLARE}")
        width = max((len(result.name) for result in self.results), default=0)
        for result in self.results:
            message = result.message.replace("\n", "\n      ")
            lines.append(f"  {result.status.replace('_', ' '):<16} {result.name:<{width}}  {message}".rstrip())
            if result.detects:
                lines.append(f"      {result.draws} masks: finds {result.finds}")
        if self.false_alarm:
            lines.append(
                f"  a correct backend fails any of this with probability at most {self.false_alarm:.1g}; what a check "
                "finds, it finds with probability 1 - 1e-6"
            )
        if self.counts:
            lines.append(
                f"  {self.counts['calls']:.0f} calls of the backend, of {self.counts['shapes']:.0f} kinds (shape, "
                "dtype, block, mode, drop_prob)"
            )
        return "\n".join(lines)


SCHEMA_VERSION = 1
_STRING, _STRINGS = {"type": "string"}, {"type": "array", "items": {"type": "string"}}
_NUMBER, _OBJECT = {"type": "number"}, {"type": "object"}
# The JSON schema of one report.
REPORT_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "schema": {"const": SCHEMA_VERSION},
        "backend": _STRING,
        "convention": _STRING,
        "seed": {"type": "integer"},
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "name": _STRING,
                    "status": {"enum": list(STATUSES)},
                    "message": _STRING,
                    "draws": {"type": "integer", "minimum": 0},
                    "false_alarm": _NUMBER,
                    "detects": _STRING,
                },
                "required": ["name", "status", "message", "draws", "false_alarm", "detects"],
            },
        },
        "only": _STRINGS,
        "essential": _STRINGS,
        "limits": _STRINGS,
        "dtypes": _STRINGS,
        "counts": {**_OBJECT, "additionalProperties": _NUMBER},
        "versions": {**_OBJECT, "additionalProperties": _STRING},
        "interrupted": {"type": "boolean"},
        "verdict": {"enum": ["PASSED", "FAILED", "INCOMPLETE"]},
        "passed": {"type": "boolean"},
        "missing": _STRINGS,
        "false_alarm": _NUMBER,
    },
}
REPORT_SCHEMA["required"] = list(REPORT_SCHEMA["properties"])


def compare_reports(reports: Sequence[Report]) -> str:
    """A table of what differs between reports: a row per check whose status is not the same in all, a column each.

    Parameters
    ----------
    reports : sequence of Report
        At least two, for example of two versions of a package.

    Returns
    -------
    str
        The verdicts, the versions that differ, and the checks that differ.

    Raises
    ------
    ValueError
        If there are fewer than two.

    Examples
    --------
    >>> from dropblock_ref.testing import CheckResult, Report, compare_reports
    >>> old, new = (Report("mine", "paper", 0, (CheckResult("scale", s, ""),)) for s in ("failed", "passed"))
    >>> print(compare_reports([old, new]))
                 1: mine  2: mine
    verdict      FAILED   PASSED
    scale        failed   passed
    """
    if len(reports) < 2:
        raise ValueError(f"reports must be at least two, got {len(reports)}")
    rows = [["", *(f"{number}: {report.backend}" for number, report in enumerate(reports, start=1))]]
    rows.append(["verdict", *(report.verdict for report in reports)])
    for what, values in (
        ("convention", [report.convention for report in reports]),
        ("dtypes", [" ".join(report.dtypes) for report in reports]),
        ("seed", [str(report.seed) for report in reports]),
    ):
        if len(set(values)) > 1:
            rows.append([what, *values])
    for name in dict.fromkeys(name for report in reports for name in report.versions):
        versions = [report.versions.get(name, "-") for report in reports]
        if len(set(versions)) > 1:
            rows.append([name, *versions])
    by_name = [{result.name: result.status.replace("_", " ") for result in report.results} for report in reports]
    for name in dict.fromkeys(name for statuses in by_name for name in statuses):
        statuses = [one.get(name, "-") for one in by_name]
        if len(set(statuses)) > 1:
            rows.append([name, *statuses])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[0] = max(widths[0], 11)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


@dataclass(frozen=True)
class Answer:
    """One question about the implementation.

    Attributes
    ----------
    field : str
        Field of `Convention` that it is about.
    values : tuple
        The values of that field that agree with what was seen; all of them where it cannot be observed, none where
        none agrees.
    text : str
        What was seen, with its evidence.
    observed : bool
        Whether anything was seen; if not, the text says why it cannot be observed.
    partly : tuple
        Where no value agrees with all that was seen, those that agree with square maps.

    Examples
    --------
    >>> from dropblock_ref import backends
    >>> from dropblock_ref.testing import identify
    >>> {answer.field: answer.values for answer in identify(backends.load("numpy")).answers}["seed_region"]
    ('fitting',)
    """

    field: str
    values: tuple[Any, ...]
    text: str
    observed: bool = True
    partly: tuple[Any, ...] = ()


@dataclass(frozen=True, repr=False)
class Identification:
    """What a black box does.

    Attributes
    ----------
    backend : str
        Its name.
    nearest : tuple of str
        The published conventions that contradict the fewest answers, those about which cells are dropped first; none
        where nothing was seen.
    differences : tuple of str
        What it does differently from the paper: answers, then what no field can say, then the checks that fail when it
        is held to what was seen.
    gamma : tuple of float, or None
        Estimate, low and high end of an exact confidence interval (error probability 1e-6), on `gamma_setting`; None
        where gamma cannot be read.
    gamma_setting : str
        The map, block and drop_prob of that estimate.
    answers : tuple of Answer
        One for each field of a convention.
    contradictions : dict
        For each published convention the fields that contradict what was seen.
    unexplained : tuple of str
        Those of the differences that no field of a convention explains.

    Examples
    --------
    As text it tells all of this, with the evidence for each answer:

    >>> from dropblock_ref import backends
    >>> from dropblock_ref.testing import identify
    >>> black_box = identify(backends.load("numpy"))
    >>> black_box.nearest, black_box.contradictions["timm_uncoupled"][0]
    (('paper',), 'seed_region')
    """

    backend: str
    nearest: tuple[str, ...]
    differences: tuple[str, ...]
    gamma: tuple[float, float, float] | None
    gamma_setting: str
    answers: tuple[Answer, ...]
    contradictions: dict[str, tuple[str, ...]]
    unexplained: tuple[str, ...] = ()

    def __repr__(self) -> str:
        lines = self._headline()
        if self.gamma is not None:
            estimate, low, high = self.gamma
            lines.append(f"  gamma is {estimate:.6g}, between {low:.6g} and {high:.6g} ({self.gamma_setting})")
        lines += [f"  {answer.field}: {answer.text}" for answer in self.answers]
        lines.append(f"  (an answer that rests on chance is wrong with probability at most {ERROR:g})")
        lines.append("differences from the paper:" if self.differences else "no difference from the paper was seen")
        lines += [f"  - {difference}" for difference in self.differences]
        return "\n".join(lines)

    def _headline(self) -> list[str]:
        """The nearest conventions, those together that contradict the same answers in the same way."""
        if not self.nearest:
            return [f"{self.backend}: no convention can be told, because nothing was seen of its masks"]
        groups: dict[tuple[Any, ...], list[str]] = {}
        for name in self.nearest:
            wrong = self.contradictions[name]
            values = tuple(getattr(CONVENTIONS[name], answer.field) for answer in self.answers if answer.field in wrong)
            groups.setdefault((wrong, values), []).append(name)
        told = [
            " or ".join(map(repr, names)) + (f" but for {', '.join(wrong)}" if wrong else "")
            for (wrong, _), names in groups.items()
        ]
        if self.unexplained or any(wrong for wrong, _ in groups):
            also = ", and differs in what is said at the end" if self.unexplained else ""
            lines = [f"{self.backend} is nearest to convention {'; to '.join(told)}{also}"]
        else:
            lines = [f"{self.backend} does what convention {told[0]} says"]
        if any(len(names) > 1 for names in groups.values()):
            lines.append("  (those joined by 'or' differ in nothing that was seen)")
        return lines
