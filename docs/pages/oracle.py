"""What oracle.md and scope.md show: sessions with the examples, tables of the checks and of the maps."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from functools import cache
from typing import Any

from blocks import DOCS, fenced, table

from dropblock_ref import backends, cli, theory
from dropblock_ref.testing import Report, check_backend, maps
from dropblock_ref.testing.check import Map
from dropblock_ref.testing.oracle import CHECKS

_namespace: dict[str, Any] = {}


def _printed(function: Any, *arguments: Any) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        function(*arguments)
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines())


def session(code: str) -> None:
    """Write statements and what they print; names live on in later sessions of the page."""
    if str(DOCS / "examples") not in sys.path:
        sys.path.insert(0, str(DOCS / "examples"))
    fenced(code, "python")
    fenced(_printed(exec, code, _namespace), "text")


def planted(example: str, right: str, wrong: str) -> None:
    """Write the change of a line of an example; `wrong_backend` of later sessions is the changed example's backend."""
    text = (DOCS / "examples" / example).read_text(encoding="utf-8")
    assert text.count(right) == 1, right
    fenced(f"-{right}\n+{wrong}", "diff")
    changed: dict[str, Any] = {"__name__": "wrong"}
    exec(text.replace(right.strip(), wrong.strip()), changed)  # noqa: S102
    _namespace["wrong_backend"] = changed["backend"]


def command(line: str) -> None:
    """Write a call of the command line and what it prints."""
    fenced(f"python -m dropblock_ref {line}", "sh")
    fenced(_printed(cli.main, line.split()), "text")


@cache
def _report(quick: bool) -> Report:
    return check_backend(backends.load("numpy"), checks="quick" if quick else None)


def checks_table() -> None:
    """All checks, from the registry."""
    rows = [(f"`{one.name}`", one.group, one.summary, "yes" if one.statistical else "") for one in CHECKS.values()]
    table(["check", "level", "what must hold", "chance"], rows)


def _smallest(detects: str) -> str:
    """What a check finds on its maps, from the sharpest to the bluntest."""
    found = [re.fullmatch(r"(\S+) %? ?error of (.*?) \(.*\)", one) for one in detects.split("; ")]
    if not all(found):
        return detects
    sizes = [float(one[1].replace("no", "inf")) for one in found if one]
    (what,) = {one[2] for one in found if one}
    if min(sizes) == float("inf"):
        return f"no error of {what}"
    span = f"{min(sizes):g} %" if min(sizes) == max(sizes) else f"{min(sizes):g} % to {max(sizes):g} %"
    return f"{span} of {what}"


def sensitivity_table() -> None:
    """What each statistical check finds, in full and quick."""
    quick = {result.name: result for result in _report(True).results}
    rows = [
        (
            f"`{full.name}`",
            f"{full.draws:,}",
            _smallest(full.detects),
            f"{quick[full.name].draws:,}",
            _smallest(quick[full.name].detects),
        )
        for full in _report(False).results
        if full.detects
    ]
    table(["check", "masks", "smallest error found", "masks, quick", "smallest error found, quick"], rows)


def run_summary() -> None:
    """How many checks a run has, and its bound."""
    report = _report(False)
    chance = sum(result.false_alarm > 0 for result in report.results)
    masks = sum(result.draws for result in report.results)
    share = max(result.false_alarm for result in report.results)
    rows = [
        ("checks", len(report.results)),
        ("of them statistical", chance),
        ("bound of each, of the default `false_alarm` 1e-9", f"{share:.2g}"),
        ("bound of the whole run", f"{report.false_alarm:.2g}"),
        ("masks looked at", f"{masks:,}"),
    ]
    table(["a whole run over the backend `numpy`", ""], rows)


def tolerance_table() -> None:
    """A tolerance of 0.05 beside an exact expectation, on a batch of 64x8 maps of 21x21."""
    from dropblock_ref.testing.statistics import bernstein_deviation

    def fraction(p: float, convention: Any = "paper") -> float:
        return theory.expected_drop_fraction(p, 3, (21, 21), convention=convention)

    rows = []
    for p in (0.1, 0.3, 0.5, 0.7):
        right, wrong = fraction(p), fraction(p, "timm_uncoupled")
        alarm = bernstein_deviation(512, theory.drop_fraction_variance(p, 3, (21, 21)), 1e-9, sides=2)
        numbers = f"{right:.4f}", f"{wrong:.4f}", f"± {alarm:.4f}"
        rows.append((p, *numbers, *("yes" if abs(wrong - right) > limit else "no" for limit in (0.05, alarm))))
    header = ["drop_prob", "expected", "seeds on every cell", "`assert_drop_rate` allows"]
    table([*header, "within 0.05 of expected finds it", "`assert_drop_rate` finds it"], rows)


_USES = {
    "ORDINARY": "most checks",
    "NON_SQUARE": "`non_square_maps`, `gradient`, `replayed_*`",
    "EVEN": "`even_blocks`, `gradient`, `replayed_*`",
    "PER_AXIS": "`per_axis_blocks`, `gradient`, `replayed_*`",
    "REALISTIC": "`map_rate`, `dtype_rates` (the first that is supported); `legal_blocks`, `scale`, `values`",
    "LARGE": "`same_seed_same_output`, `stream_goes_on`, `channel_sharing` (the first that is supported)",
    "MANY_CELLS": "`low_precision`, `scale`",
    "DESIGNED": "`cell_rates`, `overlapping_cells`, `distant_cells`; `channel_independence` (the first)",
    "DESIGNED_FURTHER": "`cell_rates`, `overlapping_cells`, `distant_cells`",
    "SMALL": "`sample_independence`, `call_independence` (the first that is supported)",
}


def maps_table() -> None:
    """All maps of maps.py."""
    groups = {name: value for name, value in vars(maps).items() if name.isupper()}
    assert groups.keys() == _USES.keys(), groups.keys() ^ _USES.keys()
    table(["used by", "maps"], [(_USES[name], "; ".join(map(str, group))) for name, group in groups.items()])


def drop_probs() -> tuple[float, float]:
    """The smallest and the largest drop_prob of maps.py."""
    every = [one.drop_prob for group in vars(maps).values() if isinstance(group, tuple) for one in group]
    assert all(isinstance(one, Map) for one in maps.ORDINARY)
    return min(every), max(every)
