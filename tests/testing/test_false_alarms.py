"""The oracle accuses a correct backend no more often than it says.

With the environment variable DROPBLOCK_REF_LONG set, every check runs 500 times in full, and 200 whole runs follow; in
CI there are fewer, with fewer draws. All seeds are fixed, so that a test that passes goes on to pass; LUCK is the
probability that one of these tests fails with streams of other seeds although the checks keep their bounds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache

import pytest
from scipy import stats

from dropblock_ref import CONVENTIONS
from dropblock_ref.testing import Backend, check_backend
from dropblock_ref.testing.check import STATISTICAL_SHARE, Run
from dropblock_ref.testing.oracle import CHECKS
from tests.mutants.correct import make_backend
from tests.mutants.mutant import LONG

pytestmark = pytest.mark.slow

LUCK = 1e-9
RUNS = 500 if LONG else 20
WHOLE_RUNS = 200 if LONG else 2
STATISTICAL = tuple(check.name for check in CHECKS.values() if check.statistical)
# What a check may use up of the error budget: 0.0025 at false_alarm 0.05, of which hardly anything is seen, and 0.05 at
# false_alarm 1, which only a Run by hand takes.
SHARES = (0.05, 0.0025)


def most_alarms(runs: int, share: float) -> int:
    """The largest number of alarms that checks with this bound exceed with a probability of at most LUCK.

    LUCK is split over all checks and shares, so that it is the luck of this whole file.
    """
    parts = len(STATISTICAL) * len(SHARES)
    return int(stats.binom.isf(LUCK / parts, runs, share))


@cache
def alarms_of(share: float) -> dict[str, list[str]]:
    """Per statistical check the messages of the alarms, over RUNS runs of the correct backend."""
    backend = make_backend("paper", "channels_first", (2,), ("float32", "float64"))
    alarms: dict[str, list[str]] = {name: [] for name in STATISTICAL}
    for seed in range(RUNS):
        run = Run(backend, seed, share / STATISTICAL_SHARE, quick=not LONG)
        assert run.share == pytest.approx(share)
        for name in STATISTICAL:  # checks of one run share draws, as they do in check_backend
            result = CHECKS[name].run(run)
            assert result.status in {"passed", "failed"}
            if result.status == "failed":
                alarms[name].append(f"seed {seed}: {result.message}")
    return alarms


def test_the_bounds_are_strict_enough_to_show_a_check_that_forgets_to_split_its_budget() -> None:
    """A check that looked at 25 cells with 0.05 each would raise an alarm in most runs, and so fail below."""
    assert most_alarms(RUNS, 0.05) < RUNS * 0.7
    assert stats.binom.sf(most_alarms(500, 0.05), 500, 0.05) <= LUCK
    assert most_alarms(500, 0.05) < 75


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", STATISTICAL)
def test_no_more_alarms_than_the_bound_explains(name: str, share: float) -> None:
    alarms = alarms_of(share)[name]
    assert len(alarms) <= most_alarms(RUNS, share), "\n".join(alarms[:3])


def whole_runs() -> Iterator[tuple[Backend, int]]:
    """The correct backend under one convention after the other, in both layouts, and a seed."""
    modelled = [name for name, rules in CONVENTIONS.items() if rules.gamma_rule != "calibrated"]
    kinds = itertools.cycle(itertools.product(modelled, ("channels_first", "channels_last")))
    for seed, (convention, data_format) in zip(range(1, WHOLE_RUNS + 1), kinds, strict=False):
        yield make_backend(convention, data_format, (2, 3), ("float32",)), 1000 * seed


def test_whole_runs_raise_no_alarm() -> None:
    """A correct backend fails one of 200 runs with a probability of at most 200 * 1e-9."""
    for backend, seed in whole_runs():
        report = check_backend(backend, seed=seed)
        assert report.false_alarm <= 1e-9
        assert report.passed, f"seed {seed}, {backend.data_format}\n{report}"
