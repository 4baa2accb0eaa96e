"""A mutant: a backend with exactly one planted bug, and the checks of the oracle that must find it.

A bug is a subclass of the correct DropBlock that replaces one stage; `Bugs` collects those of one kind.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from dropblock_ref.convention import Convention
from dropblock_ref.testing.backend import Backend
from dropblock_ref.testing.oracle import check_backend, run_checks
from dropblock_ref.testing.report import CheckResult, Report

from .case import Case
from .correct import DropBlock, make_backend

# By hand: everything of which an ordinary run of the tests takes a sample.
LONG = bool(os.environ.get("DROPBLOCK_REF_LONG"))

Kind = TypeVar("Kind", bound=type[DropBlock])


@dataclass(frozen=True)
class Mutant:
    """One planted bug."""

    name: str
    stage: str
    bug: str  # one sentence
    make: Callable[[], Backend]
    caught_by: frozenset[str]  # at least one of these checks must fail
    first: frozenset[str] = frozenset()  # the first check that fails is one of these, which name the cause
    at: Case = field(default_factory=Case)  # where the bug shows
    not_passed: frozenset[str] = frozenset()  # checks that must fail or be "not_judged", however much else is wrong
    reported: bool = False  # a correct backend may do so: one of `caught_by` is "reported", and none fails
    costly: str = ""  # why a run of ordinary cost does not find it


# One fault shows in several checks, none of which is untrue: a wrong scale is wrong on maps that are not square, too.
_RATES = frozenset(
    {
        "block_of_map_size",
        "block_of_one",
        "cell_rates",
        "drop_prob_one",
        "dtype_rates",
        "map_rate",
        "one_cell_map",
        "oversize_block",
    }
)
_EDGES = (_RATES - {"cell_rates", "dtype_rates", "map_rate"}) | {
    "batch_of_one",
    "even_blocks",
    "non_square_maps",
    "per_axis_blocks",
    "search",
}


def besides(names: frozenset[str]) -> frozenset[str]:
    """The checks that may fail where these may."""
    more = {"search"}
    if names & {"legal_blocks", "scale", "values", "channel_sharing", "shape_and_dtype"}:
        more |= _EDGES
    if names & {"map_rate", "cell_rates", "legal_blocks"}:
        more |= _RATES
    return names | more


def complaints(mutant: Mutant, report: Report) -> list[str]:
    """What is not as it must be in the oracle's report of a whole run over the mutant.

    The first check that fails names the cause, no check accuses what is right, and what the first fault has made
    impossible to judge is "not_judged". The mutants without `first` must only be caught.
    """
    failed = [result.name for result in report.failures]
    if mutant.reported:
        told = {result.name for result in report.results if result.status == "reported"}
        wrong = [f"fails {name}, which may only report it" for name in failed]
        return wrong if told & mutant.caught_by else [*wrong, f"is not reported by any of {sorted(mutant.caught_by)}"]
    if not failed:
        return ["is PASSED" if report.passed else "is not caught"]
    if not mutant.first:
        return [] if mutant.caught_by & set(failed) else [f"is caught by {failed[0]} only"]
    wrong = [] if failed[0] in mutant.first else [f"fails {failed[0]} first, which is not the cause"]
    wrong += [f"fails {name}, which is right" for name in failed if name not in besides(mutant.caught_by)]
    passed = {result.name for result in report.results if result.status == "passed"}
    return wrong + [f"passes {name}" for name in sorted(passed & mutant.not_passed)]


def in_sample(name: str, one_in: int) -> bool:
    """Whether a name is one of so many, always the same ones; all are, with DROPBLOCK_REF_LONG set."""
    return LONG or zlib.crc32(name.encode()) % one_in == 0


def correct(**changed: Any) -> Backend:
    """The correct backend in 2D and float32, with some of its arguments changed."""
    return replace(make_backend("paper", "channels_first", (2,), ("float32",)), **changed)


def one(backend: Backend, check: str, **how: Any) -> CheckResult:
    """The result of that check alone, in the quick profile."""
    (result,) = check_backend(backend, checks=[check, "quick"], **how).results
    assert result.name == check
    return result


def first_failure(backend: Backend, checks: str | list[str] | None) -> Report:
    """The report of a run that ends with the first failure, or of a whole run without one."""
    progress = run_checks(backend, checks=checks)
    for *_, result in progress:
        if result is not None and result.status == "failed" and progress.report().failures:
            break
    return progress.report()


def correct_twin(backend: Backend) -> Backend:
    """The correct backend of the same convention, layout, ranks and dtypes; as black a box."""
    replay = backend.apply is not None
    return make_backend(
        backend.rules,
        backend.data_format,
        backend.spatial_ndims,
        backend.dtypes,
        with_draw_seeds=replay,
        with_apply=replay,
    )


class Bugs:
    """The mutants of one kind, in the order in which they are written; with `causes` they say what must fail first."""

    def __init__(self, stage: str, *, causes: bool = False) -> None:
        self.stage = stage
        self.causes = causes
        self.mutants: list[Mutant] = []

    def plant(
        self,
        bug: str,
        caught_by: str,
        *,
        first: str = "",
        at: Case = Case(),  # noqa: B008  (frozen)
        convention: Convention | str = "paper",
        data_format: str = "channels_first",
        ndims: tuple[int, ...] = (2,),
        dtypes: tuple[str, ...] = ("float32",),
        replay: bool = False,
        not_passed: str = "",
        reported: bool = False,
        costly: str = "",
    ) -> Callable[[Kind], Kind]:
        """Class decorator: enter the class, named in snake case; a black box unless `replay`.

        What fails first is one of `first`, by default the first name of `caught_by` where the kind says `causes`.
        """

        def enter(kind: Kind) -> Kind:
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
            make = partial(
                make_backend,
                convention,
                data_format,
                ndims,
                dtypes,
                name=name,
                kind=kind,
                with_draw_seeds=replay,
                with_apply=replay,
            )
            names = caught_by.split()
            causes = frozenset(first.split() or names[: int(self.causes)])
            self.mutants.append(
                Mutant(
                    name,
                    self.stage,
                    bug,
                    make,
                    frozenset(names) | causes,
                    causes,
                    at,
                    frozenset(not_passed.split()),
                    reported,
                    costly,
                )
            )
            return kind

        return enter
