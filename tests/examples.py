"""How the tests of this project use hypothesis: the same cases in every run, of the public strategies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from dropblock_ref.testing.strategies import ORDERS, SPECIAL, Case, cases, conventions, inputs, masks, seeds

from .brute_force import Bools

# Conventions of all kinds, on maps so small that nested loops are no trouble.
CASES: st.SearchStrategy[Case] = st.one_of(
    *(cases(conventions=conventions(), ndims=(n,), max_side=side, max_samples=3) for n, side in ((2, 7), (3, 4)))
)


def any_inputs(case: Case) -> st.SearchStrategy[Any]:
    """An x for a case: of all dtypes, values and orders of memory that the reference takes."""
    return inputs(case.shape, special=SPECIAL, orders=(*ORDERS, "big-endian"), data_format=case.data_format)


def any_seeds(case: Case) -> st.SearchStrategy[Bools]:
    """Few, half or all seeds of a case."""
    return seeds(case.shape, case.block_size, **case.options)


def any_masks(case: Case) -> st.SearchStrategy[Bools]:
    """Any keep mask for a case, legal or not."""
    return masks(case.shape, case.block_size, **case.options)


def examples(count: int, *, shrink: bool = True) -> Callable[[Any], Any]:
    """Settings of a hypothesis test: the same `count` cases in every run."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
        phases=(Phase.explicit, Phase.generate, *((Phase.shrink,) if shrink else ())),
    )
