"""Seeds to keep mask and back, against nested loops and by enumeration of all masks of small maps.

`keep_mask` has two ways, the maximum filter and stamping, and small maps go the first: `forced` makes them go either.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dropblock_ref
from dropblock_ref import CONVENTIONS, PAPER, Convention, dilation
from dropblock_ref.seeds import CHUNK
from dropblock_ref.testing.case import arrange
from dropblock_ref.testing.strategies import ORDERS, Case

from . import brute_force
from .brute_force import Bools
from .examples import CASES, any_masks, any_seeds, examples

either_way = pytest.mark.parametrize("way", ["maximum_filter", "_stamp"])


@contextmanager
def forced(way: str, chunk: int = CHUNK) -> Iterator[None]:
    """Make `keep_mask` go one way whatever the seeds; the other is not called."""
    stamped = way == "_stamp"
    with (
        mock.patch.object(dilation, "_stamping_is_faster", return_value=stamped),
        mock.patch.object(dilation, "CHUNK", chunk),
        mock.patch.object(dilation, "maximum_filter" if stamped else "_stamp", side_effect=AssertionError),
    ):
        yield


def way_taken(seeds: Bools, block_size: int | tuple[int, ...], convention: Convention = PAPER) -> str:
    """The way that `keep_mask` goes by itself."""
    with mock.patch.object(dilation, "_stamp", wraps=dilation._stamp) as stamp:
        dropblock_ref.keep_mask(seeds, block_size, convention=convention)
    return "_stamp" if stamp.called else "maximum_filter"


@either_way
@given(st.data(), CASES)
@examples(900)
def test_keep_mask_is_that_of_the_brute_force(way: str, data: st.DataObject, case: Case) -> None:
    seeds = arrange(data.draw(any_seeds(case)), data.draw(st.sampled_from(ORDERS[:-1])), 1)
    before = seeds.copy()
    with forced(way, data.draw(st.sampled_from((1, 20, CHUNK)))):
        mask = dropblock_ref.keep_mask(seeds, case.block_size, **case.options)
    assert mask.dtype == np.bool_
    assert np.array_equal(mask, brute_force.keep_mask(seeds, case.block_size, case.data_format, case.rules))
    assert np.array_equal(seeds, before)
    assert not np.shares_memory(mask, seeds)


@given(st.data(), CASES)
@examples(700)
def test_recovered_seeds_explain_a_mask_exactly_if_it_is_legal(data: st.DataObject, case: Case) -> None:
    mask = data.draw(any_masks(case))
    seeds = dropblock_ref.recover_seeds(mask, case.block_size, **case.options)
    expected = brute_force.largest_seeds(mask, case.block_size, case.data_format, case.rules)
    assert seeds.dtype == np.bool_
    assert np.array_equal(seeds, expected)
    explained = brute_force.keep_mask(expected, case.block_size, case.data_format, case.rules)
    got = dropblock_ref.keep_mask(seeds, case.block_size, **case.options)
    assert np.array_equal(got == mask, explained == mask)


@given(st.data(), CASES)
@examples(500)
def test_recovered_seeds_of_a_legal_mask_contain_the_seeds_and_give_the_mask(data: st.DataObject, case: Case) -> None:
    seeds = data.draw(any_seeds(case))
    mask = brute_force.keep_mask(seeds, case.block_size, case.data_format, case.rules)
    recovered = dropblock_ref.recover_seeds(mask, case.block_size, **case.options)
    assert np.all(recovered >= seeds)
    assert np.array_equal(dropblock_ref.keep_mask(recovered, case.block_size, **case.options), mask)


EVERYWHERE = replace(PAPER, name="everywhere", seed_region="everywhere", oversize_block="clip_each_axis")
AFTER = replace(PAPER, name="after", even_extra_cell="after")
SMALL_MAPS: list[tuple[tuple[int, ...], int | tuple[int, ...], Convention]] = [
    ((3, 3), 1, PAPER),
    ((3, 3), 2, PAPER),
    ((3, 3), 2, AFTER),
    ((3, 3), 3, PAPER),
    ((3, 3), (1, 2), PAPER),
    ((3, 3), 2, EVERYWHERE),
    ((3, 3), 3, EVERYWHERE),
    ((3, 3), 2, CONVENTIONS["dropblock"]),
    ((3, 3), 5, CONVENTIONS["dropblock"]),
    ((3, 3), 4, CONVENTIONS["pytorch_toolbelt"]),
    ((3, 3), 3, CONVENTIONS["tutorial"]),
    ((3, 3), 5, CONVENTIONS["torchvision"]),
    ((3, 4), 2, PAPER),
    ((3, 4), (2, 3), AFTER),
    ((3, 4), 3, CONVENTIONS["torchvision"]),
    ((3, 4), (3, 2), CONVENTIONS["timm"]),
    ((3, 4), 2, CONVENTIONS["dropblock"]),
    ((2, 2, 2), 1, PAPER),
    ((2, 2, 2), 2, CONVENTIONS["keras_cv"]),
    ((2, 2, 2), (1, 2, 1), AFTER),
    ((2, 2, 2), 2, EVERYWHERE),
    ((2, 2, 2), (3, 2, 1), CONVENTIONS["dropblock"]),
]


def every_mask(spatial_shape: tuple[int, ...]) -> Bools:
    """All masks of a map, one per sample."""
    cells = int(np.prod(spatial_shape))
    bits = [[bool(number >> k & 1) for k in range(cells)] for number in range(2**cells)]
    return np.array(bits).reshape((2**cells, 1, *spatial_shape))


def identity(case: tuple[tuple[int, ...], int | tuple[int, ...], Convention]) -> str:
    return f"{case[2].name}-{case[1]}-{case[0]}".replace(" ", "")


@pytest.mark.parametrize("small_map", SMALL_MAPS, ids=identity)
def test_of_all_masks_exactly_the_legal_ones_are_explained_and_by_the_largest_seed_set(
    small_map: tuple[tuple[int, ...], int | tuple[int, ...], Convention],
) -> None:
    spatial_shape, block_size, convention = small_map
    explained: dict[frozenset[tuple[int, ...]], set[tuple[int, ...]]] = {}
    for seeds in brute_force.subsets(brute_force.eligible_cells(block_size, spatial_shape, convention)):
        dropped = brute_force.mask_of(seeds, block_size, spatial_shape, convention)
        explained.setdefault(dropped, set()).update(seeds)

    candidates = every_mask(spatial_shape)
    recovered = dropblock_ref.recover_seeds(candidates, block_size, convention=convention)
    again = dropblock_ref.keep_mask(recovered, block_size, convention=convention)
    found = 0
    for mask, seeds_found, mask_again in zip(candidates[:, 0], recovered[:, 0], again[:, 0], strict=True):
        dropped = frozenset(cell for cell in brute_force.cells_of(spatial_shape) if not mask[cell])
        legal = dropped in explained
        found += legal
        assert np.array_equal(mask_again, mask) == legal
        if legal:
            # The union of all explaining seed sets, and still an explanation: the largest.
            assert {cell for cell in brute_force.cells_of(spatial_shape) if seeds_found[cell]} == explained[dropped]
    assert found == len(explained)


@either_way
@pytest.mark.parametrize("small_map", SMALL_MAPS, ids=identity)
def test_all_seeds_of_a_small_map_drop_their_blocks(
    way: str, small_map: tuple[tuple[int, ...], int | tuple[int, ...], Convention]
) -> None:
    spatial_shape, block_size, convention = small_map
    every = list(brute_force.subsets(brute_force.eligible_cells(block_size, spatial_shape, convention)))
    seeds = np.zeros((len(every), 1, *spatial_shape), dtype=np.bool_)
    expected = np.ones_like(seeds)
    for sample, of_sample in enumerate(every):
        for cell in of_sample:
            seeds[(sample, 0, *cell)] = True
        for cell in brute_force.mask_of(of_sample, block_size, spatial_shape, convention):
            expected[(sample, 0, *cell)] = False
    with forced(way):
        for data_format, channel_axis in (("channels_first", 1), ("channels_last", -1)):
            mask = dropblock_ref.keep_mask(
                np.moveaxis(seeds, 1, channel_axis), block_size, data_format=data_format, convention=convention
            )
            assert np.array_equal(mask, np.moveaxis(expected, 1, channel_axis))


LARGE = (2, 3, 96, 96), (2, 1, 24, 32, 40)


@either_way
@pytest.mark.parametrize("density", [0, 0.001, 0.01, 0.3])
@pytest.mark.parametrize("shape", LARGE, ids=str)
@pytest.mark.parametrize("convention", ["paper", "dropblock"])
def test_many_blocks_of_a_large_map_are_dropped(
    way: str, density: float, shape: tuple[int, ...], convention: str
) -> None:
    shape = brute_force.mask_shape(shape, "channels_first", CONVENTIONS[convention])
    block_size = (5, 4, 3)[: len(shape) - 2]
    seeds = dropblock_ref.sample_seeds(density, block_size, shape, rng=0, convention=convention)
    expected = brute_force.keep_mask(seeds, block_size, "channels_first", CONVENTIONS[convention])
    with forced(way):
        assert np.array_equal(dropblock_ref.keep_mask(seeds, block_size, convention=convention), expected)


def spread_seeds(number: int, spatial_shape: tuple[int, ...] = (256, 256)) -> Bools:
    """So many seeds on the inner cells of one map, where every block up to 31 fits."""
    seeds = np.zeros((1, 1, *spatial_shape), dtype=np.bool_)
    inner = seeds[(0, 0) + (slice(15, -15),) * len(spatial_shape)]
    inner[np.unravel_index(np.linspace(0, inner.size - 1, number, dtype=np.intp), inner.shape)] = True
    return seeds


@pytest.mark.parametrize("name", sorted(CONVENTIONS))
def test_sparse_seeds_are_stamped_and_others_not_whatever_the_convention(name: str) -> None:
    cells = 256 * 256
    for block_size in (3, 7, 15):
        fewest, most = cells // 16, cells // 4
        assert way_taken(spread_seeds(fewest // block_size**2), block_size, CONVENTIONS[name]) == "_stamp"
        assert way_taken(spread_seeds(most // block_size**2), block_size, CONVENTIONS[name]) == "maximum_filter"


@pytest.mark.parametrize(
    ("number", "block_size", "spatial_shape", "way"),
    [
        (0, 7, (256, 256), "_stamp"),
        (1, 7, (256, 256), "_stamp"),
        (1, 7, (100, 100), "maximum_filter"),  # too few cells to be worth it
        (1, 1, (256, 256), "maximum_filter"),  # which has nothing to do
        (1, (1, 7), (256, 256), "maximum_filter"),  # which goes over the cells once instead of twice
        (1, (7, 1), (256, 256), "maximum_filter"),
        (1, (1, 7, 1), (40, 40, 40), "maximum_filter"),
        (300, (2, 4), (256, 256), "_stamp"),
        (0, 31, (40, 40, 40), "_stamp"),
        (1, 31, (40, 40, 40), "maximum_filter"),
        (1, 23, (40, 40, 40), "_stamp"),
    ],
)
def test_the_work_decides_which_way_is_taken(
    number: int, block_size: int | tuple[int, ...], spatial_shape: tuple[int, ...], way: str
) -> None:
    assert way_taken(spread_seeds(number, spatial_shape), block_size) == way


def test_one_even_block_has_its_extra_cell_on_the_side_that_the_convention_names() -> None:
    seeds = np.zeros((1, 1, 5, 5), dtype=np.bool_)
    seeds[0, 0, 2, 2] = True
    for convention, dropped in ((PAPER, [1, 2]), (AFTER, [2, 3]), ("dropblock", [2, 3]), ("timm", [1, 2])):
        mask = dropblock_ref.keep_mask(seeds, 2, convention=convention)
        assert sorted({int(row) for row in np.argwhere(~mask)[:, 2]}) == dropped
        assert np.count_nonzero(~mask) == 4


def test_blocks_do_not_leak_into_other_samples_or_channels() -> None:
    seeds = np.zeros((3, 3, 5, 5), dtype=np.bool_)
    seeds[1, 1, 2, 2] = True
    mask = dropblock_ref.keep_mask(seeds, 5)
    assert not mask[1, 1].any()
    assert np.count_nonzero(mask) == 8 * 25


@either_way
def test_unclipped_blocks_stick_out_and_drop_all_from_any_cell(way: str) -> None:
    for cell in brute_force.cells_of((3, 4)):
        seeds = np.zeros((1, 1, 3, 4), dtype=np.bool_)
        seeds[(0, 0, *cell)] = True
        with forced(way):
            assert not dropblock_ref.keep_mask(seeds, 2_000_000_000, convention="dropblock").any()


@pytest.mark.parametrize("function", [dropblock_ref.keep_mask, dropblock_ref.recover_seeds])
def test_a_batch_of_0_stays_empty(function: object) -> None:
    assert callable(function)
    for shape in ((0, 2, 3, 3), (2, 0, 3, 3), (0, 2, 3, 3, 3)):
        result = function(np.zeros(shape, dtype=np.bool_), 3)
        assert (result.shape, result.dtype) == (shape, np.bool_)


def test_lists_and_read_only_arrays_are_taken() -> None:
    seeds = np.zeros((1, 1, 3, 3), dtype=np.bool_)
    seeds[0, 0, 1, 1] = True
    assert not dropblock_ref.keep_mask(seeds.tolist(), 3).any()
    for order in ("read-only", "F", "strided", "reversed"):
        mask = dropblock_ref.keep_mask(arrange(seeds, order, 1), 3)
        assert not mask.any()
        assert dropblock_ref.recover_seeds(arrange(mask, order, 1), 3).sum() == 1
