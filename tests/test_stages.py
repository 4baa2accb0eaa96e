"""Seeds: on eligible cells only, with exactly the probability asked for, and reproducible."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import dropblock_ref
from dropblock_ref.testing.strategies import Case, drop_probs

from . import brute_force
from .examples import CASES, examples

FALSE_ALARM = 1e-9
MISS = 1e-6


def accepted_counts(draws: int, probability: float, false_alarm: float) -> tuple[int, int]:
    """The counts that a two-sided test with this false-alarm rate accepts, both ends included."""
    low = int(stats.binom.ppf(false_alarm / 2, draws, probability))
    high = int(stats.binom.isf(false_alarm / 2, draws, probability))
    return low, high


def detects(draws: int, probability: float, false_alarm: float, error: float) -> bool:
    """Whether a probability wrong by the factor 1 - error or 1 + error is found with probability 1 - MISS."""
    low, high = accepted_counts(draws, probability, false_alarm)
    found_below = stats.binom.cdf(low - 1, draws, probability * (1 - error))
    found_above = stats.binom.sf(high, draws, min(probability * (1 + error), 1.0))
    return bool(min(found_below, found_above) >= 1 - MISS)


@given(CASES, drop_probs(), st.integers(0, 2**64))
@examples(500)
def test_seeds_lie_on_eligible_cells_of_masks_of_the_conventions_shape(case: Case, gamma: float, seed: int) -> None:
    seeds = dropblock_ref.sample_seeds(gamma, case.block_size, case.shape, rng=seed, **case.options)
    assert seeds.dtype == np.bool_
    assert seeds.shape == case.mask_shape
    eligible = brute_force.eligible_cells(case.block_size, case.spatial_shape, case.rules)
    found = [brute_force.parts(tuple(map(int, index)), case.data_format)[2] for index in np.argwhere(seeds)]
    assert set(found) <= set(eligible)
    if gamma == 1:
        assert (
            len(found) == len(eligible) * case.mask_shape[0] * brute_force.parts(case.mask_shape, case.data_format)[1]
        )


@given(CASES, st.integers(0, 2**64))
@examples(200)
def test_gamma_0_gives_no_seeds_and_gamma_1_all_eligible_cells(case: Case, seed: int) -> None:
    none = dropblock_ref.sample_seeds(0, case.block_size, case.shape, rng=seed, **case.options)
    every = dropblock_ref.sample_seeds(1, case.block_size, case.shape, rng=seed, **case.options)
    assert not none.any()
    eligible = brute_force.eligible_cells(case.block_size, case.spatial_shape, case.rules)
    for index in brute_force.cells_of(every.shape):
        assert every[index] == (brute_force.parts(index, case.data_format)[2] in eligible)


CONFIGURATIONS = [
    (0.5, 3, (6, 4, 25, 25), "channels_first", "paper"),
    (0.1, (2, 3), (7, 30, 30, 5), "channels_last", "keras_cv"),
    (0.003306, 7, (20, 8, 28, 28), "channels_first", "paper"),
    (0.9, 3, (10, 3, 8, 8, 8), "channels_first", "torchvision"),
    (0.25, 4, (20, 9, 9, 9, 7), "NDHWC", "dropblock"),
]


@pytest.mark.parametrize(("gamma", "block_size", "shape", "data_format", "convention"), CONFIGURATIONS)
def test_an_eligible_cell_is_a_seed_with_probability_gamma(
    gamma: float, block_size: int | tuple[int, ...], shape: tuple[int, ...], data_format: str, convention: str
) -> None:
    """False alarm 1e-9 over all configurations; finds errors of 3 % of gamma with probability 1 - 1e-6."""
    row = dropblock_ref.CONVENTIONS[convention]
    eligible = len(brute_force.eligible_cells(block_size, brute_force.spatial_shape_of(shape, data_format), row))
    masks, channels, _ = brute_force.parts(brute_force.mask_shape(shape, data_format, row), data_format)
    calls = -(-1_600_000 // (eligible * masks * channels)) if gamma > 0.05 else 600
    rng = np.random.default_rng(20181030)
    count = sum(
        np.count_nonzero(
            dropblock_ref.sample_seeds(
                gamma, block_size, shape, rng=rng, data_format=data_format, convention=convention
            )
        )
        for _ in range(calls)
    )
    draws = eligible * masks * channels * calls
    false_alarm = FALSE_ALARM / len(CONFIGURATIONS)
    assert detects(draws, gamma, false_alarm, 0.03)
    low, high = accepted_counts(draws, gamma, false_alarm)
    assert low <= count <= high


def test_every_eligible_cell_is_a_seed_with_the_same_probability_and_independently_of_its_neighbours() -> None:
    """False alarm 1e-9 over all cells and pairs; finds 5 % of a cell's gamma and 10 % of a pair's square of it."""
    draws, gamma = 200_000, 0.3
    seeds = dropblock_ref.sample_seeds(gamma, 2, (draws, 2, 3, 3), rng=5)
    columns = np.moveaxis(seeds, 0, -1)[:, 1:, 1:].reshape(-1, draws)
    pairs = [(i, j) for i in range(len(columns)) for j in range(i)]
    false_alarm = FALSE_ALARM / (len(columns) + len(pairs))
    assert detects(draws, gamma, false_alarm, 0.05)
    low, high = accepted_counts(draws, gamma, false_alarm)
    assert all(low <= np.count_nonzero(column) <= high for column in columns)
    assert detects(draws, gamma**2, false_alarm, 0.1)
    low, high = accepted_counts(draws, gamma**2, false_alarm)
    assert all(low <= np.count_nonzero(columns[i] & columns[j]) <= high for i, j in pairs)


def test_the_same_int_gives_the_same_seeds_and_another_int_others() -> None:
    def draw(rng: int) -> list[int]:
        seeds: list[int] = dropblock_ref.sample_seeds(0.5, 3, (2, 3, 9, 9), rng=rng).tolist()
        return seeds

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


def test_an_int_stands_for_a_generator_seeded_with_it() -> None:
    from_int = dropblock_ref.sample_seeds(0.5, 3, (2, 3, 9, 9), rng=7)
    from_generator = dropblock_ref.sample_seeds(0.5, 3, (2, 3, 9, 9), rng=np.random.default_rng(7))
    assert np.array_equal(from_int, from_generator)


@pytest.mark.parametrize("bit_generator", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
@pytest.mark.parametrize(
    ("shape", "data_format", "eligible"),
    [
        ((3, 40, 30, 30), "channels_first", np.s_[:, :, 2:28, 1:29]),
        ((3, 30, 30, 40), "channels_last", np.s_[:, :, 2:28, 1:29]),
        ((1, 2, 60, 40, 30), "NCDHW", np.s_[:, :, 2:59, 2:38, 1:29]),
        ((1, 1, 5, 3), "NCHW", np.s_[:, :, 2:3, 1:2]),
        ((0, 1, 5, 3), "NCHW", np.s_[:, :, 2:3, 1:2]),
    ],
)
def test_of_dense_seeds_one_random_number_is_drawn_per_eligible_cell_in_the_order_of_channels_first(
    bit_generator: type[np.random.BitGenerator], shape: tuple[int, ...], data_format: str, eligible: Any
) -> None:
    """More numbers than are drawn at a time, or one, or none: the stream is that of one call."""
    expected = np.zeros(shape, dtype=np.bool_)
    first = np.moveaxis(expected, -1, 1) if data_format == "channels_last" else expected
    block_size = (4, 5, 3) if len(shape) == 5 else (5, 3)
    rng, same = (np.random.Generator(bit_generator(3)) for _ in range(2))
    first[eligible] = rng.random(first[eligible].shape) < 0.4
    seeds = dropblock_ref.sample_seeds(0.4, block_size, shape, rng=same, data_format=data_format)
    assert np.array_equal(seeds, expected)
    assert rng.random() == same.random()


def test_a_generator_advances() -> None:
    rng = np.random.default_rng(7)
    first, second = (dropblock_ref.sample_seeds(0.5, 3, (2, 3, 9, 9), rng=rng) for _ in range(2))
    assert not np.array_equal(first, second)


def test_no_hidden_state_is_used() -> None:
    before = np.random.get_state(legacy=False)  # noqa: NPY002
    dropblock_ref.sample_seeds(0.5, 3, (2, 3, 9, 9), rng=7)
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    assert str(before) == str(after)


@pytest.mark.parametrize(
    ("convention", "channels"), [("timm", 1), ("dropblock", 1), ("timm_uncoupled", 3), ("paper", 3)]
)
def test_shared_masks_have_one_channel(convention: str, channels: int) -> None:
    first = dropblock_ref.sample_seeds(0.5, 3, (2, 3, 9, 8), rng=0, convention=convention)
    last = dropblock_ref.sample_seeds(0.5, 3, (2, 9, 8, 3), rng=0, convention=convention, data_format="NHWC")
    assert (first.shape, last.shape) == ((2, channels, 9, 8), (2, 9, 8, channels))
