"""Gamma and the scale of every convention: exact fractions, printed values, enumeration, counting one by one."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import dropblock_ref
from dropblock_ref import PAPER, Convention
from dropblock_ref.testing.strategies import Case, drop_probs

from . import brute_force
from .examples import CASES, any_masks, examples

CALIBRATED = replace(PAPER, name="own_calibrated", gamma_rule="calibrated")


@given(CASES, drop_probs())
@examples(700)
def test_gamma_is_the_exact_fraction_rounded(case: Case, drop_prob: float) -> None:
    exact = brute_force.gamma(drop_prob, case.block_size, case.spatial_shape, case.rules)
    assume(exact is not None)
    assert exact is not None
    got = dropblock_ref.gamma(drop_prob, case.block_size, case.spatial_shape, convention=case.rules)
    assert type(got) is float
    assert abs(Fraction(got) - exact) <= exact * Fraction(1, 2**51)
    assert 0 <= got <= drop_prob


@given(CASES, drop_probs())
@examples(250)
def test_calibrated_gamma_drops_the_nominal_fraction(case: Case, drop_prob: float) -> None:
    convention = replace(CALIBRATED, seed_region=case.rules.seed_region, oversize_block="clip_each_axis")
    got = dropblock_ref.gamma(drop_prob, case.block_size, case.spatial_shape, convention=convention)
    assert type(got) is float
    assert 0 < got <= 1
    fraction = brute_force.drop_fraction(Fraction(got), case.block_size, case.spatial_shape, convention)
    assert abs(fraction - Fraction(drop_prob)) <= Fraction(drop_prob) / 2**46


@pytest.mark.parametrize("seed_region", ["fitting", "everywhere"])
@pytest.mark.parametrize(
    ("block_size", "spatial_shape"),
    [(1, (2, 2)), (2, (3, 3)), (3, (3, 4)), ((2, 1), (3, 4)), (2, (2, 2, 3)), (5, (5, 1))],
)
@pytest.mark.parametrize("drop_prob", [0.1, 0.5, 0.9])
def test_calibrated_gamma_drops_the_nominal_fraction_by_enumeration(
    seed_region: str, block_size: int | tuple[int, ...], spatial_shape: tuple[int, ...], drop_prob: float
) -> None:
    convention = replace(CALIBRATED, seed_region=seed_region, oversize_block="clip_each_axis")
    gamma = dropblock_ref.gamma(drop_prob, block_size, spatial_shape, convention=convention)
    assert float(enumerated_fraction(gamma, block_size, spatial_shape, convention)) == pytest.approx(
        drop_prob, rel=1e-14
    )


@pytest.mark.parametrize(("block_size", "spatial_shape"), [(2, (3, 3)), (3, (4, 5)), ((1, 2), (2, 4)), (2, (2, 2, 3))])
@pytest.mark.parametrize("drop_prob", [0.1, 0.5, 0.9])
def test_eq_1_drops_at_most_the_nominal_fraction_by_enumeration(
    block_size: int | tuple[int, ...], spatial_shape: tuple[int, ...], drop_prob: float
) -> None:
    gamma = dropblock_ref.gamma(drop_prob, block_size, spatial_shape)
    fraction = enumerated_fraction(gamma, block_size, spatial_shape, PAPER)
    assert 0 < fraction < drop_prob
    assert fraction == brute_force.drop_fraction(Fraction(gamma), block_size, spatial_shape, PAPER)


def enumerated_fraction(
    gamma: float, block_size: int | tuple[int, ...], spatial_shape: tuple[int, ...], convention: Convention
) -> Fraction:
    """The expected dropped fraction, summed over all seed configurations."""
    eligible = brute_force.eligible_cells(block_size, spatial_shape, convention)
    cells = len(brute_force.cells_of(spatial_shape))
    seed, no_seed = Fraction(gamma), 1 - Fraction(gamma)
    by_seeds = [Fraction(0)] * (len(eligible) + 1)
    for seeds in brute_force.subsets(eligible):
        by_seeds[len(seeds)] += Fraction(len(brute_force.mask_of(seeds, block_size, spatial_shape, convention)), cells)
    return sum((seed**k * no_seed ** (len(eligible) - k) * total for k, total in enumerate(by_seeds)), Fraction(0))


@given(
    st.floats(0, 1),
    st.tuples(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(0, 59), st.integers(0, 59), st.integers(0, 59)),
)
@examples(500)
def test_gamma_of_fitting_blocks_is_at_most_drop_prob(
    drop_prob: float, spatial_shape: tuple[int, ...], smaller: tuple[int, ...]
) -> None:
    block_size = tuple(max(S - less, 1) for S, less in zip(spatial_shape, smaller, strict=True))
    assert dropblock_ref.gamma(drop_prob, block_size, spatial_shape) <= drop_prob


@given(st.floats(0, 1), st.tuples(st.integers(1, 60), st.integers(1, 60)), st.booleans(), st.booleans())
@examples(300)
def test_gamma_is_drop_prob_for_blocks_of_one_cell_and_of_the_whole_map(
    drop_prob: float, spatial_shape: tuple[int, int], tall: bool, wide: bool
) -> None:
    block_size = (spatial_shape[0] if tall else 1, spatial_shape[1] if wide else 1)
    assert dropblock_ref.gamma(drop_prob, block_size, spatial_shape) == drop_prob


@pytest.mark.parametrize(
    ("S", "b", "drop_prob", "fraction"),
    [(21, 3, 0.1, 0.0953), (21, 3, 0.3, 0.2599), (21, 3, 0.5, 0.3948), (21, 3, 0.7, 0.5050), (28, 7, 0.1, 0.0939)],
)
def test_printed_fractions_of_the_design(S: int, b: int, drop_prob: float, fraction: float) -> None:
    gamma = dropblock_ref.gamma(drop_prob, b, (S, S))
    assert round(float(brute_force.drop_fraction(Fraction(gamma), b, (S, S), PAPER)), 4) == fraction


def test_printed_corner_and_centre_of_the_design() -> None:
    q = 1 - dropblock_ref.gamma(0.1, 7, (28, 28))
    counts = brute_force.coverage(7, (28, 28), PAPER)
    assert round(1 - q ** counts[0, 0], 4) == 0.0033
    assert round(1 - q ** counts[14, 14], 4) == 0.1498


def test_printed_fraction_where_every_cell_is_eligible() -> None:
    convention = dropblock_ref.CONVENTIONS["timm_uncoupled"]
    gamma = Fraction(dropblock_ref.gamma(0.1, 7, (28, 28), convention=convention))
    assert round(float(brute_force.drop_fraction(gamma, 7, (28, 28), convention)), 4) == 0.1329


def test_gamma_of_the_paper_worked_by_hand() -> None:
    assert dropblock_ref.gamma(0.3, 2, (4, 4)) == pytest.approx(0.3 / 4 * 16 / 9, rel=1e-15)
    assert dropblock_ref.gamma(0.3, (1, 2, 3), (4, 4, 4)) == pytest.approx(0.3 / 6 * 4 / 4 * 4 / 3 * 4 / 2, rel=1e-15)


def test_uncorrected_gamma_looks_at_the_block_only() -> None:
    for spatial_shape in ((3, 3), (28, 14)):
        assert dropblock_ref.gamma(0.1, 7, spatial_shape, convention="dropblock") == 0.1 / 49


def test_last_axis_gamma_looks_at_the_last_axis_only() -> None:
    expected = 0.1 / 3**2 * 14**2 / (14 - 3 + 1) ** 2
    for height in (3, 14, 28):
        assert dropblock_ref.gamma(0.1, 3, (height, 14), convention="tutorial") == pytest.approx(expected, rel=1e-15)


def test_gamma_is_that_of_the_clipped_block() -> None:
    assert dropblock_ref.gamma(0.1, 9, (3, 5), convention="torchvision") == pytest.approx(
        0.1 / 9 * 3 / 1 * 5 / 3, rel=1e-15
    )
    assert dropblock_ref.gamma(0.1, 9, (3, 5), convention="tpu") == 0.1


@pytest.mark.parametrize("convention", [*dropblock_ref.CONVENTIONS, CALIBRATED])
def test_no_drop_prob_no_seeds(convention: Convention | str) -> None:
    assert dropblock_ref.gamma(0, 3, (5, 5), convention=convention) == 0


@pytest.mark.parametrize("seed_region", ["fitting", "everywhere"])
def test_calibrated_gamma_is_1_for_drop_prob_1(seed_region: str) -> None:
    convention = replace(CALIBRATED, seed_region=seed_region)
    assert dropblock_ref.gamma(1, 3, (8, 8), convention=convention) == 1


def test_calibrated_gamma_of_a_huge_map_is_that_of_its_inner_cells() -> None:
    # All but a 1e-6th of the cells are covered 27 times; and the number of cells does not fit into 64 bits.
    got = dropblock_ref.gamma(0.1, 3, (2_200_000,) * 3, convention=CALIBRATED)
    assert got == pytest.approx(1 - 0.9 ** (1 / 27), rel=1e-5)


# the scale


@given(st.data(), CASES, drop_probs())
@examples(700)
def test_scale_is_counted_over_what_the_convention_says(data: st.DataObject, case: Case, drop_prob: float) -> None:
    mask = data.draw(any_masks(case))
    needed = case.rules.scale_over == "keep_prob"
    scale = dropblock_ref.scale(mask, drop_prob=drop_prob if needed else None, **case.options)
    if case.rules.scale_over in ("batch", "keep_prob", "none"):
        assert type(scale) is float
    else:
        assert isinstance(scale, np.ndarray)
        assert scale.dtype == np.float64
        assert scale.ndim == mask.ndim
    factors = brute_force.scale(mask, case.data_format, case.rules, drop_prob)
    everywhere = np.broadcast_to(scale, mask.shape)
    assert all(brute_force.same(float(everywhere[index]), factor) for index, factor in factors.items())


def half_dropped() -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    mask = np.ones((2, 3, 2, 4), dtype=np.bool_)
    mask[0, 0, :, :2] = False
    mask[0, 1] = False
    mask[1, 2, 0, 0] = False
    return mask


def test_scale_worked_by_hand() -> None:
    mask = half_dropped()
    assert dropblock_ref.scale(mask) == 48 / 35
    assert dropblock_ref.scale(mask, convention=replace(PAPER, epsilon=0.5)) == 48 / 35.5
    assert dropblock_ref.scale(mask, convention=replace(PAPER, scale_over="none", epsilon=9.0)) == 1
    sample = dropblock_ref.scale(mask, convention=replace(PAPER, scale_over="sample"))
    channel = dropblock_ref.scale(mask, convention=replace(PAPER, scale_over="channel"))
    assert isinstance(sample, np.ndarray)
    assert isinstance(channel, np.ndarray)
    assert (sample.shape, channel.shape) == ((2, 1, 1, 1), (2, 3, 1, 1))
    assert sample.ravel().tolist() == [24 / 12, 24 / 23]
    assert channel.ravel().tolist() == [2, 0, 1, 1, 1, 8 / 7]


@pytest.mark.parametrize("scale_over", ["batch", "sample", "channel"])
@pytest.mark.parametrize("epsilon", [0.0, 1e-6, 10.0])
def test_nothing_kept_gives_0_or_nan_as_the_convention_says(scale_over: str, epsilon: float) -> None:
    mask = np.zeros((2, 3, 2, 2), dtype=np.bool_)
    zeros = replace(PAPER, scale_over=scale_over, epsilon=epsilon)
    assert np.all(np.asarray(dropblock_ref.scale(mask, convention=zeros)) == 0)
    assert np.all(np.isnan(dropblock_ref.scale(mask, convention=replace(zeros, all_dropped="nan"))))


def test_nothing_kept_in_one_sample_leaves_the_others_alone() -> None:
    mask = np.ones((2, 1, 2, 2), dtype=np.bool_)
    mask[0] = False
    scale = dropblock_ref.scale(mask, convention=replace(PAPER, scale_over="sample", all_dropped="nan"))
    assert isinstance(scale, np.ndarray)
    assert math.isnan(scale[0, 0, 0, 0])
    assert scale[1, 0, 0, 0] == 1


@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (0, 3, 2, 2, 2), (3, 0, 2, 2)])
def test_nothing_to_count_gives_1(shape: tuple[int, ...]) -> None:
    assert dropblock_ref.scale(np.ones(shape, dtype=np.bool_)) == 1
    assert dropblock_ref.scale(np.ones(shape, dtype=np.bool_), convention="keras_cv") == 1


def test_the_count_is_exact_beyond_half_and_single_precision() -> None:
    mask = np.ones((1, 1, 4099, 4099), dtype=np.bool_)
    mask[0, 0, 5, 5] = False
    assert dropblock_ref.scale(mask) == 16801801 / 16801800


def test_a_scale_of_1_over_keep_prob_needs_drop_prob_and_counts_nothing() -> None:
    convention = replace(PAPER, name="own", scale_over="keep_prob")
    assert dropblock_ref.scale(half_dropped(), drop_prob=0.25, convention=convention) == 1 / 0.75
    assert dropblock_ref.scale(half_dropped(), drop_prob=1, convention=convention) == 0
    unguarded = replace(convention, all_dropped="nan")
    assert dropblock_ref.scale(half_dropped(), drop_prob=1, convention=unguarded) == math.inf
    with pytest.raises(ValueError, match=r"drop_prob must be given, because the scale of convention 'own' is 1 / \(1"):
        dropblock_ref.scale(half_dropped(), convention=convention)
    with pytest.raises(ValueError, match="drop_prob must be a real number in"):
        dropblock_ref.scale(half_dropped(), drop_prob=1.5)
