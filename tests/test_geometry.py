"""Blocks on a map: size after clipping, anchor, eligible cells."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dropblock_ref
from dropblock_ref import CONVENTIONS
from dropblock_ref.geometry import coverage_counts, pairs_along_axes, place_block
from dropblock_ref.testing.strategies import Case

from . import brute_force
from .examples import CASES, examples


@given(CASES)
@examples(700)
def test_eligible_cells_are_those_of_the_brute_force(case: Case) -> None:
    valid = dropblock_ref.valid_seeds(case.block_size, case.spatial_shape, convention=case.rules)
    assert valid.dtype == np.bool_
    assert valid.shape == case.spatial_shape
    expected = brute_force.eligible_cells(case.block_size, case.spatial_shape, case.rules)
    assert [tuple(map(int, cell)) for cell in np.argwhere(valid)] == expected
    assert expected


@given(st.data(), CASES)
@examples(500)
def test_the_block_of_a_seed_covers_the_cells_of_the_brute_force(data: st.DataObject, case: Case) -> None:
    block = place_block(case.block_size, case.spatial_shape, case.rules)
    sides = brute_force.sides(case.block_size, case.spatial_shape, case.rules)
    assert block.size == sides
    eligible = brute_force.eligible_cells(case.block_size, case.spatial_shape, case.rules)
    seed = data.draw(st.sampled_from(eligible))
    covered = {
        cell
        for cell in brute_force.cells_of(case.spatial_shape)
        if all(s - i <= u <= s + j for u, s, i, j in zip(cell, seed, block.before, block.after, strict=True))
    }
    assert covered == brute_force.mask_of((seed,), case.block_size, case.spatial_shape, case.rules)


@pytest.mark.parametrize("name", ["paper", "tpu", "keras_cv"])
@pytest.mark.parametrize(("S", "b"), [(8, 1), (8, 2), (8, 3), (8, 4), (8, 7), (8, 8), (5, 5), (1, 1)])
def test_eligible_centres_of_the_authors_code_run_from_half_to_half(name: str, S: int, b: int) -> None:
    valid = dropblock_ref.valid_seeds(b, (S, S), convention=name)
    row = np.array([b // 2 <= u <= S - (b - 1) // 2 - 1 for u in range(S)])
    assert np.array_equal(valid, row[:, None] & row)
    assert np.count_nonzero(valid) == (S - b + 1) ** 2


def test_parity_is_judged_after_clipping() -> None:
    torchvision = CONVENTIONS["torchvision"]
    assert np.argwhere(dropblock_ref.valid_seeds(4, (3, 5), convention=torchvision)).tolist() == [
        [1, 1],
        [1, 2],
        [1, 3],
    ]
    with pytest.raises(
        ValueError, match=r"block_size must be odd .* got \(5, 5\), which is \(4, 4\) on a map of \(4, 6\)"
    ):
        dropblock_ref.valid_seeds(5, (4, 6), convention=torchvision)


def test_clipping_to_the_smallest_axis_and_to_each_axis_differ() -> None:
    assert place_block(9, (3, 5), CONVENTIONS["torchvision"]).size == (3, 3)
    assert place_block(9, (3, 5), CONVENTIONS["tpu"]).size == (3, 5)
    assert place_block(9, (3, 5), CONVENTIONS["dropblock"]).size == (9, 9)


def test_every_call_gives_an_array_of_its_own() -> None:
    first = dropblock_ref.valid_seeds(3, (5, 5))
    first[:] = True
    assert np.count_nonzero(dropblock_ref.valid_seeds(3, (5, 5))) == 9


@given(CASES)
@examples(150)
def test_counted_cells_and_pairs_of_cells_are_those_of_the_brute_force(case: Case) -> None:
    block = place_block(case.block_size, case.spatial_shape, case.rules)
    counts = brute_force.coverage(case.block_size, case.spatial_shape, case.rules)
    values, cells = coverage_counts(block, case.spatial_shape)
    assert dict(zip(values.tolist(), cells.tolist(), strict=True)) == Counter(counts.values())

    seeds_of: dict[tuple[int, ...], set[tuple[int, ...]]] = {cell: set() for cell in counts}
    for seed in brute_force.eligible_cells(case.block_size, case.spatial_shape, case.rules):
        for cell in brute_force.mask_of((seed,), case.block_size, case.spatial_shape, case.rules):
            seeds_of[cell].add(seed)
    expected = Counter((len(a), len(b), len(a & b)) for a in seeds_of.values() for b in seeds_of.values() if a & b)
    counted: Counter[tuple[int, ...]] = Counter({(1, 1, 1): 1})
    for columns, numbers in pairs_along_axes(block, case.spatial_shape):
        so_far, counted = counted, Counter()
        for column, number in zip(columns.T.tolist(), numbers.tolist(), strict=True):
            for n, pairs in so_far.items():
                counted[tuple(a * b for a, b in zip(n, column, strict=True))] += pairs * number
    assert counted == expected
