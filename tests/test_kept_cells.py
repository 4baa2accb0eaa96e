"""E[y] / x, and the chance that all is dropped: compared with the enumeration of all seeds of small batches."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dropblock_ref
from dropblock_ref import CONVENTIONS, PAPER, Convention, kept_cells
from dropblock_ref.theory import all_dropped_probability, drop_probability, expected_output_ratio, keep_covariance
from tests.enumeration import SMALL, Case, Shape, accepted, configurations, covers, weights

GAMMAS = (5e-324, 1e-9, 0.2, 0.7, 1 - 1e-9, 1 - 2**-53)
ROWS: tuple[tuple[Shape, int | Shape], ...] = (
    ((1, 10), (1, 2)),
    ((1, 12), (1, 3)),
    ((1, 12), (1, 4)),
    ((11, 1), (8, 1)),
    ((2, 5), (1, 3)),
    ((3, 8), (3, 3)),
    ((2, 7), (5, 3)),
    ((2, 2, 4), (2, 1, 2)),
)
OVERLAPPING_ALONG_A_ROW = [
    case
    for name in ("paper", "tpu", "dropblock", "timm_uncoupled", "torchvision")
    for case in (Case(CONVENTIONS[name], *one) for one in ROWS)
    if accepted(case) and len(covers(case)) <= 12
]
CASES = [*(case for case in SMALL if case.rules.scale_over == "batch"), *OVERLAPPING_ALONG_A_ROW]


def with_scale(rules: Convention, scale_over: str, **how: Any) -> Convention:
    return replace(rules, name=f"{rules.name}_{scale_over}", scale_over=scale_over, **how)


def enumerated_ratio(case: Case, gamma: float, masks: int) -> NDArray[np.float64]:
    """E[K_u * count / (kept + epsilon)] over the seeds of all masks, u being a cell of the first."""
    kept = ~configurations(case)[1]
    chances = weights(case, gamma)
    sizes = np.arange(kept.shape[1] + 1)
    of_one = np.bincount(kept.sum(axis=1), chances, sizes.size)
    others = np.ones(1)
    for _ in range(masks - 1):
        others = np.convolve(others, of_one)
    total = np.add.outer(kept.sum(axis=1), np.arange(others.size))
    scale = masks * kept.shape[1] / np.where(total, total + case.rules.epsilon, math.inf)
    ratio: NDArray[np.float64] = (chances * (scale @ others)) @ kept
    if case.rules.all_dropped == "nan":
        ratio = ratio / (np.multiply.outer(chances, others)[total > 0].sum())
    return ratio.reshape(case.spatial_shape)


# The ratio


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_ratio_is_that_of_all_seeds_of_so_many_masks(case: Case) -> None:
    for gamma, masks in product((1e-9, 0.2, 0.7), (1, 2, 5)):
        found = expected_output_ratio(None, gamma=gamma, masks=masks, **case.where)
        np.testing.assert_allclose(found, enumerated_ratio(case, gamma, masks), rtol=1e-12)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_ratio_is_right_for_every_gamma(gamma: float) -> None:
    for case in CASES:
        if len(covers(case)) <= 9:
            found = expected_output_ratio(None, gamma=gamma, masks=2, **case.where)
            np.testing.assert_allclose(found, enumerated_ratio(case, gamma, 2), rtol=1e-12, err_msg=str(case))


@pytest.mark.parametrize("drop_prob", [0.1, 0.5])
def test_where_nothing_is_counted_the_ratio_is_the_chance_to_be_kept_over_keep_prob(drop_prob: float) -> None:
    cases = [case for case in SMALL if case.rules.scale_over == "keep_prob"]
    assert cases
    for case in cases:
        gamma = dropblock_ref.gamma(drop_prob, case.block_size, case.spatial_shape, convention=case.rules)
        kept = weights(case, gamma) @ ~configurations(case)[1]
        found = expected_output_ratio(drop_prob, **case.where)
        np.testing.assert_allclose(found, kept.reshape(case.spatial_shape) / (1 - drop_prob), rtol=1e-12)


@pytest.mark.parametrize("epsilon", [1e-6, 0.5, 1e3, 1e300])
def test_epsilon_is_added_to_the_kept_cells(epsilon: float) -> None:
    for spatial_shape, block_size in (((3, 3), 2), ((1, 8), (1, 3)), ((2, 3), 1), ((3, 3), 3)):
        case = Case(replace(PAPER, epsilon=epsilon), spatial_shape, block_size)
        for gamma, masks in product((0.0, 0.3), (1, 3)):
            found = expected_output_ratio(None, gamma=gamma, masks=masks, **case.where)
            np.testing.assert_allclose(found, enumerated_ratio(case, gamma, masks), rtol=1e-12)


@pytest.mark.parametrize("all_dropped", ["zeros", "nan"])
@pytest.mark.parametrize("shared_channels", [False, True])
@pytest.mark.parametrize(("scale_over", "masks"), [("batch", 4), ("sample", 2), ("channel", 1), ("none", None)])
def test_outputs_over_all_seeds_of_a_batch_have_the_ratio(
    scale_over: str, masks: int | None, shared_channels: bool, all_dropped: str
) -> None:
    """Two samples of two channels on 2x3, where a block of 2 has two places: through drop_block, which counts."""
    rules = with_scale(PAPER, scale_over, shared_channels=shared_channels, all_dropped=all_dropped, epsilon=0.25)
    channels = 1 if shared_channels else 2
    x, gamma = np.full((2, 2, 2, 3), 3.0), 0.3
    places = np.flatnonzero(
        np.broadcast_to(dropblock_ref.valid_seeds(2, (2, 3), convention=rules), (2, channels, 2, 3))
    )
    means, chance_of_numbers = np.zeros((2, 2, 2, 3)), np.zeros((2, 2, 2, 3))
    for drawn in product([False, True], repeat=places.size):
        seeds = np.zeros((2, channels, 2, 3), dtype=np.bool_)
        seeds.flat[places] = drawn
        y = dropblock_ref.drop_block(x, 0.5, 2, seeds=seeds, convention=rules)
        chance = gamma ** sum(drawn) * (1 - gamma) ** (places.size - sum(drawn))
        means += chance * np.nan_to_num(y / x)
        chance_of_numbers += chance * ~np.isnan(y)
    if shared_channels and masks:
        masks = max(masks // 2, 1)
    found = expected_output_ratio(None, 2, (2, 3), gamma=gamma, masks=masks, convention=rules)
    np.testing.assert_allclose(means / chance_of_numbers, np.broadcast_to(found, x.shape), rtol=1e-12)


def test_one_map_counted_alone_is_far_from_the_limit() -> None:
    """Printed in design.md section 5."""
    alone, limit = (expected_output_ratio(0.5, 3, (5, 5), masks=masks)[0, 0] for masks in (1, None))
    assert alone == pytest.approx(1.571, abs=5e-4)
    assert limit == pytest.approx(1.386, abs=5e-4)


@pytest.mark.parametrize(
    ("convention", "corner", "centre"), [("paper", 1.10, 0.81), ("calibrated", 1.10, 0.80), ("timm", 1.14, 0.93)]
)
def test_printed_limits(convention: str, corner: float, centre: float) -> None:
    ratio = expected_output_ratio(0.1, 7, (14, 14), convention=convention)
    assert ratio[0, 0] == pytest.approx(corner, abs=5e-3)
    assert ratio[7, 7] == pytest.approx(centre, abs=5e-3)
    assert ratio.mean() == pytest.approx(1, rel=1e-14)


@pytest.mark.parametrize("p", [1e-12, 0.1, 0.5, 0.999, 1 - 1e-12])
def test_blocks_of_one_cell_are_short_of_x_by_the_chance_that_all_is_dropped(p: float) -> None:
    for spatial_shape, masks in (((1, 1), 1), ((2, 3), 1), ((2, 3), 7), ((2, 2, 2), 3), ((100, 100), 1000)):
        n = math.prod(spatial_shape) * masks
        found = expected_output_ratio(p, 1, spatial_shape, masks=masks)
        np.testing.assert_allclose(found, -math.expm1(n * math.log(p)), rtol=1e-12)
        lower, upper = all_dropped_probability(p, 1, spatial_shape, masks=masks)
        assert lower == upper == pytest.approx(p**n, rel=1e-12)


@pytest.mark.parametrize("case", [Case(PAPER, (5, 5), 3), Case(PAPER, (1, 9), (1, 3)), Case(PAPER, (3, 4), 1)], ids=str)
def test_many_masks_approach_the_limit_as_the_second_moments_say(case: Case) -> None:
    """E[K_u / mean] to first order in 1 / masks; the next order is 1e-8 of it."""
    kept = 1 - drop_probability(None, gamma=0.2, **case.where)
    cells = list(np.ndindex(kept.shape))
    covariance = np.array(
        [[keep_covariance(None, first=u, second=v, gamma=0.2, **case.where) for u in cells] for v in cells]
    )
    first_order = (
        covariance.mean() / kept.mean() ** 2 - covariance.mean(axis=0).reshape(kept.shape) / kept / kept.mean()
    )
    limit = expected_output_ratio(None, gamma=0.2, **case.where)
    for masks in (10**6, 2**31 - 1):
        found = masks * (expected_output_ratio(None, gamma=0.2, masks=masks, **case.where) / limit - 1)
        np.testing.assert_allclose(found, first_order, rtol=1e-5, atol=3e-15 * masks)


@pytest.mark.parametrize(
    "case", [Case(PAPER, (1, 40), (1, 6)), Case(CONVENTIONS["timm_uncoupled"], (4, 4), 3)], ids=str
)
def test_the_ratio_of_simulated_maps_counted_alone(case: Case) -> None:
    """By the empirical Bernstein bound of Maurer and Pontil; false alarms have probability 1e-9 at most per case."""
    draws, gamma = 100_000, 0.1
    seeds = dropblock_ref.sample_seeds(
        gamma, case.block_size, (draws, 1, *case.spatial_shape), rng=0, convention=case.rules
    )
    kept = dropblock_ref.keep_mask(seeds, case.block_size, convention=case.rules)[:, 0]
    count = kept.sum(axis=(1, 2), keepdims=True)
    ratios = kept * (kept[0].size / np.maximum(count, 1))
    log = math.log(4 * kept[0].size / 1e-9)
    allowed = np.sqrt(2 * ratios.var(axis=0, ddof=1) * log / draws) + 7 * kept[0].size * log / (3 * (draws - 1))
    expected = expected_output_ratio(None, gamma=gamma, masks=1, **case.where)
    assert (np.abs(ratios.mean(axis=0) - expected) <= allowed).all()
    assert (allowed < 0.1).all()  # the differences between the cells are larger
    assert np.ptp(expected) > 0.2


def test_certain_drops_leave_zeros_or_nothing_to_say() -> None:
    for name, rules in CONVENTIONS.items():
        if rules.scale_over == "keep_prob":  # with drop_prob 1 there is no scale
            assert np.isnan(expected_output_ratio(1, 3, (5, 5), convention=rules)).all()
            continue
        for masks in (None, 3):
            ratio = expected_output_ratio(None, 3, (5, 5), gamma=1, masks=masks, convention=rules)
            assert ratio.shape == (5, 5)
            assert (np.isnan(ratio) if rules.all_dropped == "nan" else ratio == 0).all(), name
        assert (expected_output_ratio(None, 3, (5, 5), gamma=1, convention=with_scale(rules, "none")) == 0).all()
        assert (expected_output_ratio(0, 3, (5, 5), convention=rules) == 1).all()


def test_the_limit_is_known_where_all_chances_to_be_kept_are_rounded_to_nothing() -> None:
    ratio = expected_output_ratio(None, 3, (5, 5), gamma=1 - 2**-53, convention="timm")
    assert ratio[0, 0] == pytest.approx(25 / 4, rel=1e-12)  # only the four corners, which four seeds cover
    assert ratio[2, 2] < 1e-70
    # Every cell has at least 30 seeds: the chance that anything is kept is less than the smallest float.
    nothing = expected_output_ratio(None, (1, 60), (1, 70), gamma=1 - 2**-53, masks=2, convention="dropblock")
    assert np.isnan(nothing).all()
    far = expected_output_ratio(None, 41, (81, 81), gamma=1 - 2**-53, convention="timm")
    assert far[0, 0] == far.max() == pytest.approx(81 * 81 / 4, rel=1e-12)


def test_a_scale_of_each_channel_counts_one_mask() -> None:
    rules = with_scale(PAPER, "channel")
    alone = expected_output_ratio(0.5, 3, (5, 5), masks=1)
    for masks in (None, 1):
        assert np.array_equal(expected_output_ratio(0.5, 3, (5, 5), masks=masks, convention=rules), alone)
    with pytest.raises(ValueError, match=r"masks must be 1 or None .* got 2"):
        expected_output_ratio(0.5, 3, (5, 5), masks=2, convention=rules)


def test_a_ratio_that_is_not_known_exactly_is_refused() -> None:
    for spatial_shape, block_size in (((14, 14), 7), ((1, 20_000), (1, 3))):
        with pytest.raises(ValueError, match=r"masks must be None, .* got a map of \(.* eligible cells"):
            expected_output_ratio(0.1, block_size, spatial_shape, masks=1)
    # A long row with few places for a block is known.
    few = expected_output_ratio(None, (1, 19_990), (1, 20_000), gamma=0.1, masks=1)
    assert few[0, 0] > few[0, 10_000] > 0


@pytest.mark.parametrize("function", [expected_output_ratio, all_dropped_probability])
@pytest.mark.parametrize(
    ("masks", "error"), [(0, ValueError), (-1, ValueError), (2**31, ValueError), (1.0, TypeError), (True, TypeError)]
)
def test_a_bad_number_of_masks_is_refused(function: Any, masks: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"masks.*got"):
        function(0.1, 3, (5, 5), masks=masks)


# All dropped


def enumerated_all_dropped(case: Case, gamma: float) -> float:
    return float(weights(case, gamma)[configurations(case)[1].all(axis=1)].sum())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_chance_that_all_is_dropped_is_that_of_all_seed_configurations(case: Case) -> None:
    for gamma, masks in product((1e-9, 0.2, 0.7, 1 - 1e-9), (1, 3)):
        lower, upper = all_dropped_probability(None, gamma=gamma, masks=masks, **case.where)
        assert lower == upper == pytest.approx(enumerated_all_dropped(case, gamma) ** masks, rel=1e-12)


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_the_bounds_hold_where_the_chance_is_known(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_cells, "MOST_BLOCKS", 0)
    for gamma in (1e-9, 0.2, 0.7, 1 - 1e-9, 1 - 2**-53):
        lower, upper = all_dropped_probability(None, gamma=gamma, **case.where)
        exact = enumerated_all_dropped(case, gamma)
        assert lower <= upper
        assert lower * (1 - 1e-12) <= exact <= upper * (1 + 1e-12)


def test_the_bounds_are_close_where_blocks_are_large_or_drops_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_cells, "MOST_BLOCKS", 0)
    # Four blocks tile 14x14 and nothing else can fill its corners; on 7x7 nearly every seed of timm's drops the centre.
    assert all_dropped_probability(0.1, 7, (14, 14)) == pytest.approx((0.00625**4, 0.00625**4), rel=1e-12)
    lower, upper = all_dropped_probability(0.5, 7, (7, 7), convention="timm")
    assert 0.9999 < lower < upper < 1


def test_gamma_0_drops_nothing_and_1_everything() -> None:
    for name in CONVENTIONS:
        assert all_dropped_probability(None, 3, (5, 5), gamma=0, convention=name) == (0, 0)
        assert all_dropped_probability(None, 3, (5, 5), gamma=1, masks=5, convention=name) == (1, 1)


def test_a_hopeless_row_ends_early_and_is_not_rounded_up() -> None:
    # The smallest positive number times 0.999 is itself.
    assert all_dropped_probability(None, (1, 2), (1, 5000), gamma=1e-3) == (0, 0)
    assert (
        kept_cells.nothing_kept(kept_cells.ReducedMap((kept_cells.Axis(1, 0, 0, 0, 1),), (), -5e-324, 1, 1))[0]
        == 5e-324
    )
