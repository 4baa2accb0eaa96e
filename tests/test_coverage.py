"""What the exact theory counts: cells by their coverage, and pairs of positions of an axis."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given

from dropblock_ref import CONVENTIONS
from dropblock_ref.call import place_block
from dropblock_ref.coverage import coverage_counts, covering, pairs_along_axis
from dropblock_ref.testing.strategies import Case

from . import brute_force
from .examples import CASES, examples


@given(CASES)
@examples(150)
def test_counted_cells_are_those_of_the_brute_force(case: Case) -> None:
    counts = brute_force.coverage(case.block_size, case.spatial_shape, case.rules)
    values, cells = coverage_counts(place_block(case.block_size, case.spatial_shape, case.rules))
    assert dict(zip(values.tolist(), cells.tolist(), strict=True)) == Counter(counts.values())


@given(CASES)
@examples(150)
def test_pairs_of_positions_and_their_mirror_images_are_those_of_the_brute_force(case: Case) -> None:
    """Multiplied over the axes they are the pairs of cells that a seed covers both."""
    block = place_block(case.block_size, case.spatial_shape, case.rules)
    seeds_of: dict[tuple[int, ...], set[tuple[int, ...]]] = {
        cell: set() for cell in brute_force.cells_of(case.spatial_shape)
    }
    for seed in brute_force.eligible_cells(case.block_size, case.spatial_shape, case.rules):
        for cell in brute_force.mask_of((seed,), case.block_size, case.spatial_shape, case.rules):
            seeds_of[cell].add(seed)
    expected = Counter((len(a), len(b), len(a & b)) for a in seeds_of.values() for b in seeds_of.values() if a & b)
    counted: Counter[tuple[int, ...]] = Counter({(1, 1, 1): 1})
    for axis in range(len(case.spatial_shape)):
        so_far, counted = counted, Counter()
        columns, numbers = pairs_along_axis(block, axis)
        for (of_u, of_v, both), number in zip(columns.T.tolist(), numbers.tolist(), strict=True):
            for n, pairs in so_far.items():
                for column in ((of_u, of_v, both), (of_v, of_u, both)):
                    counted[tuple(a * b for a, b in zip(n, column, strict=True))] += pairs * number
    assert Counter({n: pairs for n, pairs in counted.items() if n[-1]}) == expected  # none where nothing is dropped


@pytest.mark.parametrize("name", ["paper", "dropblock", "timm"])
@pytest.mark.parametrize("b", [1, 2, 3, 6])
@pytest.mark.parametrize("S", [*range(6, 26), 300])
def test_pairs_on_an_axis_much_longer_than_the_block_are_those_of_all_its_positions(name: str, b: int, S: int) -> None:
    block = place_block((1, b), (1, S), CONVENTIONS[name])
    u, v = np.indices((S, S)).reshape(2, -1)
    both = covering(block, 1, u, v)
    triples = zip(covering(block, 1, u, u).tolist(), covering(block, 1, v, v).tolist(), both.tolist(), strict=True)
    expected = Counter(triple for triple in triples if triple[2])
    counted: Counter[tuple[int, ...]] = Counter()
    columns, numbers = pairs_along_axis(block, 1)
    for (of_u, of_v, of_both), number in zip(columns.T.tolist(), numbers.tolist(), strict=True):
        counted[of_u, of_v, of_both] += number
        counted[of_v, of_u, of_both] += number
    assert Counter({n: pairs for n, pairs in counted.items() if n[-1]}) == expected  # none where nothing is dropped
    assert numbers.size <= 3 * b**2
