"""The exact theory agrees with the enumeration of all seed configurations, and with every number printed about it.

Blocks, eligible cells and counts come from tests/brute_force.py, which is written without the package. Nothing here is
left to chance.
"""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import dropblock_ref
from dropblock_ref import CONVENTIONS, theory
from dropblock_ref.theory import (
    all_dropped_probability,
    calibrated_gamma,
    coverage,
    drop_fraction_variance,
    drop_probability,
    expected_drop_fraction,
    expected_output_ratio,
    keep_covariance,
    untouched_probability,
)
from tests import brute_force
from tests.enumeration import (
    ACCEPTED,
    MOST_SEEDS,
    RULES,
    SMALL,
    Case,
    Floats,
    Shape,
    accepted,
    configurations,
    covers,
    weights,
)


def moments(case: Case, gamma: float) -> tuple[Floats, float, float]:
    """P(u dropped), the mean and the variance of the dropped fraction."""
    chances, (_, dropped) = weights(case, gamma), configurations(case)
    fraction = dropped.mean(axis=1)
    mean = float(chances @ fraction)
    return (chances @ dropped).reshape(case.spatial_shape), mean, float(chances @ (fraction - mean) ** 2)


def agree(case: Case, gamma: float, drop_prob: float | None, given_gamma: float | None) -> None:
    cells, fraction, variance = moments(case, gamma)
    how = {**case.where, "gamma": given_gamma}
    np.testing.assert_allclose(drop_probability(drop_prob, **how), cells, rtol=0, atol=1e-12)
    assert expected_drop_fraction(drop_prob, **how) == pytest.approx(fraction, rel=0, abs=1e-12)
    assert drop_fraction_variance(drop_prob, **how) == pytest.approx(variance, rel=0, abs=1e-12)


# Enumeration


def test_every_convention_is_tried_in_both_ranks_with_many_blocks() -> None:
    for rules in RULES:
        mine = [case for case in SMALL if case.rules is rules]
        assert {len(case.spatial_shape) for case in mine} == {2, 3}, rules.name
        assert len(mine) >= 6, rules.name
    assert max(len(covers(case)) for case in SMALL) == MOST_SEEDS


@pytest.mark.parametrize("case", ACCEPTED, ids=str)
def test_coverage_is_the_number_of_eligible_cells_whose_block_covers_a_cell(case: Case) -> None:
    counted = brute_force.coverage(case.block_size, case.spatial_shape, case.rules)
    n = coverage(**case.where)
    assert n.shape == case.spatial_shape
    assert n.dtype == np.int64
    assert {cell: int(n[cell]) for cell in counted} == counted


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_moments_for_a_gamma_are_those_of_all_seed_configurations(case: Case) -> None:
    for gamma in (0.0, 0.2, 1.0):
        assert weights(case, gamma).sum() == pytest.approx(1, abs=1e-13)
        agree(case, gamma, None, gamma)


@pytest.mark.parametrize("case", [case for case in SMALL if case.rules.gamma_rule != "calibrated"], ids=str)
def test_moments_for_a_drop_prob_are_those_of_all_seed_configurations(case: Case) -> None:
    for drop_prob in (0.1, 1.0):
        gamma = brute_force.gamma(drop_prob, case.block_size, case.spatial_shape, case.rules)
        assert gamma is not None
        agree(case, float(gamma), drop_prob, None)


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_calibrated_gamma_drops_drop_prob_over_all_seed_configurations(case: Case) -> None:
    for drop_prob in (1e-6, 0.1, 0.9):
        gamma = calibrated_gamma(drop_prob, **case.where)
        assert 0 <= gamma <= 1
        _, fraction, _ = moments(case, gamma)
        assert fraction == pytest.approx(drop_prob, rel=0, abs=1e-12)


@pytest.mark.parametrize("case", [case for case in SMALL if case.rules.gamma_rule == "calibrated"], ids=str)
def test_a_calibrated_convention_drops_drop_prob(case: Case) -> None:
    for drop_prob in (0.0, 0.1, 0.5, 1.0):
        assert expected_drop_fraction(drop_prob, **case.where) == pytest.approx(drop_prob, rel=0, abs=1e-12)
        agree(case, calibrated_gamma(drop_prob, **case.where), drop_prob, None)


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_covariances_are_those_of_all_seed_configurations(case: Case) -> None:
    """Of every pair of cells, as one matrix."""
    cells = brute_force.cells_of(case.spatial_shape)
    chances, (_, dropped) = weights(case, 0.2), configurations(case)
    kept = 1.0 - dropped
    mean = chances @ kept
    expected = (kept - mean).T @ (chances[:, None] * (kept - mean))
    found = [[keep_covariance(None, first=u, second=v, gamma=0.2, **case.where) for u in cells] for v in cells]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_nothing_varies_where_everything_is_dropped_or_kept() -> None:
    for gamma in (0, 1):
        assert keep_covariance(None, 3, (5, 5), (2, 2), (2, 3), gamma=gamma) == 0


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_the_chance_of_an_untouched_mask_is_that_of_the_configuration_without_seeds(case: Case) -> None:
    for gamma in (0.0, 1e-3, 0.2, 1.0):
        untouched = ~configurations(case)[1].any(axis=1)
        expected = float(weights(case, gamma)[untouched].sum())
        assert untouched_probability(None, gamma=gamma, **case.where) == pytest.approx(expected, rel=1e-12)


def test_the_papers_28x28_map_is_untouched_in_a_fifth_of_all_masks() -> None:
    assert untouched_probability(0.1, 7, (28, 28)) == pytest.approx((1 - 0.1 / 49 * (28 / 22) ** 2) ** 484, rel=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "error", "name"),
    [
        ((5, 0), (0, 0), ValueError, "first"),
        ((0, 0), (0, 5), ValueError, "second"),
        ((-1, 0), (0, 0), ValueError, "first"),
        ((0, 0, 0), (0, 0), ValueError, "first"),
        ((0, 0), 3, TypeError, "second"),
        ((0, 0), (0, 1.0), TypeError, "second"),
        ((0, 0), None, TypeError, "second"),
    ],
)
def test_a_cell_that_is_not_on_the_map_is_refused(first: Any, second: Any, error: type[Exception], name: str) -> None:
    with pytest.raises(error, match=rf"{name}.*got"):
        keep_covariance(0.1, 3, (5, 5), first, second)


# Beyond what can be enumerated: sums over all pairs of cells, each from the sets of seeds that cover them.


@pytest.mark.parametrize("name", sorted(CONVENTIONS))
@pytest.mark.parametrize(
    ("spatial_shape", "block_size"), [((6, 7), 3), ((7, 6), (5, 3)), ((3, 4, 3), 3), ((9, 4), (3, 7)), ((6, 6), 4)]
)
def test_variance_is_the_sum_over_all_pairs_of_cells(name: str, spatial_shape: Shape, block_size: int | Shape) -> None:
    case = Case(CONVENTIONS[name], spatial_shape, block_size)
    if not accepted(case):
        with pytest.raises(ValueError, match="block_size"):
            drop_fraction_variance(0.3, **case.where)
        return
    table = covers(case)
    gamma, q = 0.15, 0.85
    of_one = [int(column.sum()) for column in table.T]
    total = 0.0
    for (u, first), (v, second) in product(enumerate(table.T), repeat=2):
        both = int(np.count_nonzero(first & second))
        total += q ** (of_one[u] + of_one[v] - both) - q ** (of_one[u] + of_one[v])
    expected = total / len(of_one) ** 2
    assert drop_fraction_variance(None, gamma=gamma, **case.where) == pytest.approx(expected, rel=1e-12)
    fraction = 1 - sum(q**n for n in of_one) / len(of_one)
    assert expected_drop_fraction(None, gamma=gamma, **case.where) == pytest.approx(fraction, rel=1e-13)


EXTREME = (5e-324, 1e-310, 1e-200, 1e-17, 1e-3, 0.3, 0.5, 0.9, 0.999, 1 - 2**-53)


@pytest.mark.parametrize("gamma", EXTREME)
def test_variance_is_the_sum_over_all_pairs_in_rational_numbers_for_every_gamma(gamma: float) -> None:
    for case in SMALL[EXTREME.index(gamma) % 4 :: 4]:
        together = covers(case).T.astype(np.int64) @ covers(case)
        of_one = np.diagonal(together)
        pairs = Counter(
            (int(of_one[u] + of_one[v]), int(both)) for (u, v), both in np.ndenumerate(together) if both > 0
        )
        q = 1 - Fraction(gamma)
        total = sum((number * (q ** (n - both) - q**n) for (n, both), number in pairs.items()), Fraction())
        expected = total / len(of_one) ** 2
        found = drop_fraction_variance(None, gamma=gamma, **case.where)
        # Between two of the smallest positive numbers there is nothing.
        assert abs(Fraction(found) - expected) <= expected * Fraction(1e-12) + Fraction(5e-324), str(case)


@pytest.mark.parametrize("gamma", [1e-9, 0.003, 0.1, 0.6, 0.99])
@pytest.mark.parametrize("name", ["paper", "timm", "dropblock"])
@pytest.mark.parametrize(("spatial_shape", "block_size"), [((36, 31), (14, 9)), ((1, 200), (1, 37)), ((9, 8, 10), 5)])
def test_variance_of_larger_maps_is_the_sum_over_all_pairs(
    spatial_shape: Shape, block_size: int | Shape, name: str, gamma: float
) -> None:
    together: NDArray[Any] = np.ones((1, 1))
    rules = CONVENTIONS[name]
    for S, b in zip(spatial_shape, brute_force.sides(block_size, spatial_shape, rules), strict=True):
        # A map of one row has the seeds and the blocks of one axis.
        row = covers(Case(rules, (1, S), (1, b))).astype(np.float64)
        together = np.kron(together, row.T @ row)
    n = np.diagonal(together)
    log_q = np.log1p(-gamma)
    pairs = np.exp((n[:, None] + n - together) * log_q) * -np.expm1(together * log_q)
    found = drop_fraction_variance(None, block_size, spatial_shape, gamma=gamma, convention=name)
    assert found == pytest.approx(float(pairs.mean()), rel=1e-12)


@pytest.mark.parametrize("name", sorted(CONVENTIONS))
def test_variance_is_never_negative_and_never_nan(name: str) -> None:
    for spatial_shape, block_size in (((64, 64, 64), 21), ((7, 9), 7), ((200, 200), 51), ((1, 5000), (1, 5))):
        case = Case(CONVENTIONS[name], spatial_shape, block_size)
        if accepted(case):
            for gamma in (*EXTREME, 0.0, 1.0):
                assert 0 <= drop_fraction_variance(None, gamma=gamma, **case.where) <= 0.25


# Printed values: design.md section 5, and what peers.md says of a framework team's own test.


@pytest.mark.parametrize(
    ("S", "block_size", "drop_prob", "convention", "printed"),
    [
        (21, 3, 0.1, "paper", 0.0953),
        (21, 3, 0.3, "paper", 0.2599),
        (21, 3, 0.5, "paper", 0.3948),
        (21, 3, 0.7, "paper", 0.5050),
        (28, 7, 0.1, "paper", 0.0939),
        (28, 7, 0.1, "torchvision", 0.0939),
        (28, 7, 0.1, "timm_uncoupled", 0.1329),
        (28, 7, 0.1, "timm", 0.1329),
    ],
)
def test_printed_fractions(S: int, block_size: int, drop_prob: float, convention: str, printed: float) -> None:
    fraction = expected_drop_fraction(drop_prob, block_size, (S, S), convention=convention)
    assert abs(fraction - printed) <= 0.00005
    exact = brute_force.drop_fraction(
        brute_force.gamma(drop_prob, block_size, (S, S), CONVENTIONS[convention]) or Fraction(0),
        block_size,
        (S, S),
        CONVENTIONS[convention],
    )
    assert fraction == pytest.approx(float(exact), rel=1e-13)


def test_printed_corner_and_centre() -> None:
    cells = drop_probability(0.1, 7, (28, 28))
    assert abs(cells[0, 0] - 0.0033) <= 0.00005
    assert abs(cells[14, 14] - 0.1498) <= 0.00005
    assert cells[0, 0] == cells.min()
    assert cells[14, 14] == cells.max()


def test_timm_drops_a_third_too_much() -> None:
    assert expected_drop_fraction(0.1, 7, (28, 28), convention="timm") / 0.1 == pytest.approx(1.329, abs=5e-4)


# Bounds and equality


@st.composite
def fitting_cases(draw: st.DrawFn) -> tuple[Shape, Shape]:
    spatial_shape = tuple(draw(st.lists(st.integers(1, 12), min_size=2, max_size=3)))
    return spatial_shape, tuple(draw(st.sampled_from((1, S)) | st.integers(1, S)) for S in spatial_shape)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(fitting_cases(), st.just(0.0) | st.floats(1e-300, 1))
def test_the_papers_gamma_and_fraction_are_at_most_drop_prob(case: tuple[Shape, Shape], drop_prob: float) -> None:
    spatial_shape, block_size = case
    assert dropblock_ref.gamma(drop_prob, block_size, spatial_shape) <= drop_prob
    # Exactly; the floating-point value may lie a few units in the last place beyond.
    assert expected_drop_fraction(drop_prob, block_size, spatial_shape) <= drop_prob * (1 + 1e-14)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(fitting_cases(), st.floats(0.001, 1))
def test_the_papers_fraction_is_drop_prob_exactly_if_no_two_seeds_cover_a_cell(
    case: tuple[Shape, Shape], drop_prob: float
) -> None:
    spatial_shape, block_size = case
    fraction = expected_drop_fraction(drop_prob, block_size, spatial_shape)
    gamma = dropblock_ref.gamma(drop_prob, block_size, spatial_shape)
    if all(b in {1, S} for b, S in zip(block_size, spatial_shape, strict=True)):
        assert fraction == pytest.approx(drop_prob, rel=1e-14)
        assert gamma == drop_prob
    else:
        assert fraction < drop_prob * (1 - 1e-9)
        assert gamma < drop_prob


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=3), st.integers(1, 12), st.floats(0.001, 1))
def test_the_uncorrected_fraction_is_less_than_drop_prob_but_for_blocks_of_one_cell(
    spatial_shape: list[int], block_size: int, drop_prob: float
) -> None:
    fraction = expected_drop_fraction(drop_prob, block_size, spatial_shape, convention="dropblock")
    gamma = dropblock_ref.gamma(drop_prob, block_size, spatial_shape, convention="dropblock")
    if block_size == 1:
        assert fraction == pytest.approx(drop_prob, rel=1e-14)
        assert gamma == drop_prob
    else:
        assert fraction < drop_prob * (1 - 1e-9)
        assert gamma < drop_prob


@settings(derandomize=True, deadline=None, max_examples=100)
@given(fitting_cases(), st.floats(0, 1), st.sampled_from(("paper", "timm", "dropblock", "tutorial")))
def test_calibrated_gamma_makes_the_fraction_drop_prob(
    case: tuple[Shape, Shape], drop_prob: float, convention: str
) -> None:
    spatial_shape, block_size = case
    if convention == "tutorial":  # refuses even blocks
        block_size = tuple(b - 1 + b % 2 for b in block_size)
    gamma = calibrated_gamma(drop_prob, block_size, spatial_shape, convention=convention)
    fraction = expected_drop_fraction(None, block_size, spatial_shape, gamma=gamma, convention=convention)
    assert fraction == pytest.approx(drop_prob, rel=0, abs=1e-12)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(fitting_cases(), st.floats(0, 1), st.floats(0, 1))
def test_the_fraction_rises_with_gamma(case: tuple[Shape, Shape], a: float, b: float) -> None:
    spatial_shape, block_size = case
    low, high = (
        expected_drop_fraction(None, block_size, spatial_shape, gamma=gamma) for gamma in (min(a, b), max(a, b))
    )
    assert low <= high * (1 + 1e-14)


def test_drop_prob_0_and_1_are_certain() -> None:
    for name in CONVENTIONS:
        assert expected_drop_fraction(0, 3, (5, 5), convention=name) == 0
        assert drop_fraction_variance(0, 3, (5, 5), convention=name) == 0
        assert not drop_probability(0, 3, (5, 5), convention=name).any()
        assert expected_drop_fraction(None, 3, (5, 5), gamma=1, convention=name) == 1
        assert drop_fraction_variance(None, 3, (5, 5), gamma=1.0, convention=name) == 0
        assert calibrated_gamma(1, 3, (5, 5), convention=name) == 1
        assert calibrated_gamma(0, 3, (5, 5), convention=name) == 0


def test_tiny_probabilities_are_not_rounded_away() -> None:
    assert expected_drop_fraction(1e-30, 7, (28, 28)) == pytest.approx(1e-30, rel=1e-12)
    assert float(drop_probability(1e-30, 1, (2, 2))[0, 0]) == pytest.approx(1e-30, rel=1e-12)
    assert drop_fraction_variance(1e-30, 1, (2, 2)) == pytest.approx(2.5e-31, rel=1e-12)
    assert calibrated_gamma(1e-30, 2, (9, 9)) == pytest.approx(1e-30 * 81 / 64 / 4, rel=1e-12)


# Memory


@pytest.mark.parametrize("size", [13, 200_000])
def test_variance_on_a_long_axis_needs_no_table_of_all_pairs(size: int) -> None:
    # A block of 2 on one row: cells 0 and size - 1 have one seed each, all others two; neighbours share one seed.
    drop_prob, q = 0.1, 1 - 0.1 / 2 * size / (size - 1)
    variances = 2 * (q - q**2) + (size - 2) * (q**2 - q**4)
    neighbours = 2 * (q**2 - q**3) + (size - 3) * (q**3 - q**4)
    expected = (variances + 2 * neighbours) / size**2
    tracemalloc.start()
    try:
        seen = drop_fraction_variance(drop_prob, (1, 2), (1, size))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == pytest.approx(expected, rel=1e-9)
    assert peak < 100_000_000


def test_variance_on_a_row_of_a_million_cells_needs_less_than_a_gibibyte() -> None:
    def of_row(size: int) -> float:
        """Sum over all pairs: on a long row every further cell adds the same."""
        return drop_fraction_variance(None, (1, 1000), (1, size), gamma=1e-4) * size**2

    tracemalloc.start()
    try:
        seen = of_row(1_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    each = (of_row(6000) - of_row(3000)) / 3000
    assert seen == pytest.approx(of_row(3000) + each * 997_000, rel=1e-9)
    assert peak < 2**30


@pytest.mark.parametrize("convention", ["paper", "timm", "dropblock"])
@pytest.mark.parametrize("spatial_shape", [(56, 56), (32, 64, 64)])
@pytest.mark.parametrize(
    "function",
    [
        coverage,
        drop_probability,
        expected_drop_fraction,
        drop_fraction_variance,
        untouched_probability,
        expected_output_ratio,
        all_dropped_probability,
        calibrated_gamma,
    ],
)
def test_no_array_of_cells_by_cells_is_made(
    function: Callable[..., Any], spatial_shape: Shape, convention: str
) -> None:
    """Cells x cells would take 10 MB as bytes for the map, and 17 GB for the volume."""
    arguments = (7, spatial_shape) if function is coverage else (0.1, 7, spatial_shape)
    tracemalloc.start()
    try:
        function(*arguments, convention=convention)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    cells = int(np.prod(spatial_shape))
    assert peak < 256 * cells + 4_000_000


# Bad arguments

FUNCTIONS: tuple[Callable[..., Any], ...] = (
    drop_probability,
    expected_drop_fraction,
    drop_fraction_variance,
    untouched_probability,
    expected_output_ratio,
    all_dropped_probability,
    calibrated_gamma,
)
OVERRIDDEN = FUNCTIONS[:-1]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_drop_prob_out_of_range_is_refused(function: Callable[..., Any], bad: float) -> None:
    with pytest.raises(ValueError, match=r"drop_prob.*\[0, 1\].*got"):
        function(bad, 3, (5, 5))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("bad", ["0.1", True, 0.1j, [0.1], np.array([0.1, 0.2])])
def test_a_drop_prob_of_the_wrong_type_is_refused(function: Callable[..., Any], bad: object) -> None:
    with pytest.raises(TypeError, match=r"drop_prob.*got"):
        function(bad, 3, (5, 5))


@pytest.mark.parametrize("function", OVERRIDDEN)
@pytest.mark.parametrize(
    ("bad", "error"),
    [(-0.1, ValueError), (1.5, ValueError), (float("nan"), ValueError), ("0.1", TypeError), (True, TypeError)],
)
def test_a_bad_gamma_is_refused(function: Callable[..., Any], bad: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"gamma.*got"):
        function(None, 3, (5, 5), gamma=bad)


@pytest.mark.parametrize("function", OVERRIDDEN)
@pytest.mark.parametrize(("drop_prob", "gamma", "given"), [(None, None, "neither"), (0.1, 0.1, "both"), (0, 0, "both")])
def test_both_or_neither_of_drop_prob_and_gamma_is_refused(
    function: Callable[..., Any], drop_prob: object, gamma: object, given: str
) -> None:
    with pytest.raises(ValueError, match=rf"exactly one of drop_prob and gamma.*got {given}"):
        function(drop_prob, 3, (5, 5), gamma=gamma)


def test_calibrated_gamma_needs_a_drop_prob() -> None:
    with pytest.raises(TypeError, match=r"drop_prob.*got None"):
        calibrated_gamma(None, 3, (5, 5))


def of_block(function: Callable[..., Any], block_size: Any, spatial_shape: Any, convention: Any = "paper") -> Any:
    first = () if function is coverage else (0.1,)
    return function(*first, block_size, spatial_shape, convention=convention)


@pytest.mark.parametrize("function", [coverage, *FUNCTIONS])
@pytest.mark.parametrize(
    ("block_size", "spatial_shape", "convention", "error", "name"),
    [
        (0, (5, 5), "paper", ValueError, "block_size"),
        (6, (5, 5), "paper", ValueError, "block_size"),
        (2, (5, 5), "torchvision", ValueError, "block_size"),
        ((3, 3, 3), (5, 5), "paper", ValueError, "block_size"),
        (2.0, (5, 5), "paper", TypeError, "block_size"),
        (True, (5, 5), "paper", TypeError, "block_size"),
        (3, (5,), "paper", ValueError, "spatial_shape"),
        (3, (0, 5), "paper", ValueError, "spatial_shape"),
        (3, 5, "paper", TypeError, "spatial_shape"),
        (3, "55", "paper", TypeError, "spatial_shape"),
        (3, (5, 5.0), "paper", TypeError, "spatial_shape"),
        (3, (5, 5), "Paper", ValueError, "convention"),
        (3, (5, 5), None, TypeError, "convention"),
    ],
)
def test_a_bad_map_block_or_convention_is_refused(
    function: Callable[..., Any],
    block_size: object,
    spatial_shape: object,
    convention: object,
    error: type[Exception],
    name: str,
) -> None:
    with pytest.raises(error, match=rf"{name}.*got"):
        of_block(function, block_size, spatial_shape, convention)


@pytest.mark.parametrize("gamma", [0.0, 5e-324, 1e-300, 0.5, 1 - 2.0**-53])
@pytest.mark.parametrize(("block_size", "spatial_shape"), [(3, (5, 5)), ((1, 3), (1, 30)), (7, (64, 64))])
def test_what_a_float_cannot_hold_is_0_even_where_numpy_raises(
    gamma: float, block_size: Any, spatial_shape: tuple[int, ...]
) -> None:
    with np.errstate(all="raise"):
        theory.drop_probability(None, block_size, spatial_shape, gamma=gamma)
        theory.expected_drop_fraction(None, block_size, spatial_shape, gamma=gamma)
        theory.drop_fraction_variance(None, block_size, spatial_shape, gamma=gamma)
        theory.all_dropped_probability(None, block_size, spatial_shape, gamma=gamma)
        theory.expected_output_ratio(None, block_size, spatial_shape, gamma=gamma)
        if max(spatial_shape) < 64:
            theory.expected_output_ratio(None, block_size, spatial_shape, gamma=gamma, masks=1)
