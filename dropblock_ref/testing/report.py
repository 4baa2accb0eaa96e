"""What the oracle answers: one CheckResult per check, together a Report; and one Identification of a black box."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

STATUSES = ("passed", "failed", "reported", "not_applicable", "expected_failure")
ERROR = 1e-6  # probability that an answer of identify is wrong by chance


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check.

    Attributes
    ----------
    name : str
        Name of the check.
    status : {"passed", "failed", "reported", "not_applicable", "expected_failure"}
        "reported" is what a correct backend may do in two ways, told but not judged.
    message : str
        What was found; for "not_applicable" why; for "failed" what is wrong, where, and how to reproduce it.
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

    @property
    def passed(self) -> bool:
        """Whether no check failed, and at least one could be tried."""
        return not self.failures and any(result.status != "not_applicable" for result in self.results)

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The checks that failed."""
        return tuple(result for result in self.results if result.status == "failed")

    @property
    def false_alarm(self) -> float:
        """Upper bound of the probability that a correct backend has a failure in this report."""
        return sum(result.false_alarm for result in self.results)

    def to_json(self) -> str:
        """Everything as a JSON object."""
        return json.dumps(asdict(self) | {"passed": self.passed, "false_alarm": self.false_alarm}, indent=2)

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{number} {status.replace('_', ' ')}"
            for status in STATUSES
            if (number := sum(result.status == status for result in self.results))
        )
        verdict = "PASSED" if self.passed else "FAILED" if self.failures else "NOTHING CHECKED"
        lines = [f"{verdict}  {self.backend}, held to convention {self.convention!r}: {counts}"]
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
        return "\n".join(lines)


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


@dataclass(frozen=True, repr=False)
class Identification:
    """What a black box does.

    Attributes
    ----------
    backend : str
        Its name.
    nearest : tuple of str
        The published conventions that contradict the fewest answers; several where they differ in nothing that shows.
    differences : tuple of str
        What it does differently from the paper, and then what checks fail that hold it to the nearest convention.
    gamma : tuple of float
        Estimate, low and high end of an exact confidence interval (error probability 1e-6), on `gamma_setting`.
    gamma_setting : str
        The map, block and drop_prob of that estimate.
    answers : tuple of Answer
        One for each field of a convention.
    contradictions : dict
        For each published convention the fields that contradict what was seen.

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
    gamma: tuple[float, float, float]
    gamma_setting: str
    answers: tuple[Answer, ...]
    contradictions: dict[str, tuple[str, ...]]

    def __repr__(self) -> str:
        lines = [f"{self.backend} does what convention {' or '.join(map(repr, self.nearest))} says"]
        wrong = self.contradictions[self.nearest[0]]
        if wrong:
            lines[0] += f", but for {', '.join(wrong)}"
        if len(self.nearest) > 1:
            lines.append("  (these differ in nothing that was seen)")
        estimate, low, high = self.gamma
        lines.append(f"  gamma is {estimate:.6g}, between {low:.6g} and {high:.6g} ({self.gamma_setting})")
        lines += [f"  {answer.field}: {answer.text}" for answer in self.answers]
        lines.append(f"  (an answer that rests on chance is wrong with probability at most {ERROR:g})")
        lines.append("differences from the paper:" if self.differences else "no difference from the paper was seen")
        lines += [f"  - {difference}" for difference in self.differences]
        return "\n".join(lines)
