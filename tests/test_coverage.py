"""How many seeds cover a cell, and two cells, against counting one by one."""

from __future__ import annotations

from collections import Counter

from hypothesis import given

from dropblock_ref.call import place_block
from dropblock_ref.coverage import coverage_counts, pairs_along_axes
from dropblock_ref.testing.strategies import Case

from . import brute_force
from .examples import CASES, examples


@given(CASES)
@examples(150)
def test_counted_cells_and_pairs_of_cells_are_those_of_the_brute_force(case: Case) -> None:
    block = place_block(case.block_size, case.spatial_shape, case.rules)
    counts = brute_force.coverage(case.block_size, case.spatial_shape, case.rules)
    values, cells = coverage_counts(block)
    assert dict(zip(values.tolist(), cells.tolist(), strict=True)) == Counter(counts.values())

    seeds_of: dict[tuple[int, ...], set[tuple[int, ...]]] = {cell: set() for cell in counts}
    for seed in brute_force.eligible_cells(case.block_size, case.spatial_shape, case.rules):
        for cell in brute_force.mask_of((seed,), case.block_size, case.spatial_shape, case.rules):
            seeds_of[cell].add(seed)
    expected = Counter((len(a), len(b), len(a & b)) for a in seeds_of.values() for b in seeds_of.values() if a & b)
    counted: Counter[tuple[int, ...]] = Counter({(1, 1, 1): 1})
    for columns, numbers in pairs_along_axes(block):
        so_far, counted = counted, Counter()
        for column, number in zip(columns.T.tolist(), numbers.tolist(), strict=True):
            for n, pairs in so_far.items():
                counted[tuple(a * b for a, b in zip(n, column, strict=True))] += pairs * number
    assert counted == expected
