"""Seeds to keep mask and back, against nested loops and by enumeration of all masks of small maps.

`keep_mask` has two ways, the maximum filter of `algorithm` and the stamps of `fast`: `forced` makes it go either.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Any, cast
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

import dropblock_ref
from dropblock_ref import CONVENTIONS, PAPER, Convention, algorithm, fast
from dropblock_ref.fast import CHUNK
from dropblock_ref.testing.case import arrange
from dropblock_ref.testing.strategies import ORDERS, Case

from . import brute_force
from .brute_force import Bools
from .examples import CASES, any_inputs, any_masks, any_seeds, examples

either_way = pytest.mark.parametrize("way", ["maximum_filter", "stamp"])


@contextmanager
def forced(way: str, chunk: int = CHUNK) -> Iterator[None]:
    """Make `keep_mask` go one way whatever the seeds; the other is not called."""
    stamped = way == "stamp"
    with (
        mock.patch.object(fast, "stamping_pays", return_value=stamped),
        mock.patch.object(fast, "CHUNK", chunk),
        mock.patch.object(*((algorithm, "keep_mask") if stamped else (fast, "stamp")), side_effect=AssertionError),
    ):
        yield


def way_taken(seeds: Bools, block_size: int | tuple[int, ...], convention: Convention = PAPER) -> str:
    """The way that `keep_mask` goes by itself."""
    with mock.patch.object(fast, "stamp", wraps=fast.stamp) as stamp:
        dropblock_ref.keep_mask(seeds, block_size, convention=convention)
    return "stamp" if stamp.called else "maximum_filter"


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
@pytest.mark.parametrize("block_size", [3, 7, 15])
def test_blocks_are_stamped_up_to_as_many_cells_as_the_filter_looks_at(name: str, block_size: int) -> None:
    """From five seeds below the switch to two above it, and the mask is that of the filter on both sides."""
    convention, looks = CONVENTIONS[name], 2 * 256 * 256
    switch = looks // block_size**2
    for number in range(switch - 5, switch + 3):
        seeds = spread_seeds(number)
        assert way_taken(seeds, block_size, convention) == ("stamp" if number <= switch else "maximum_filter")
        got = dropblock_ref.keep_mask(seeds, block_size, convention=convention)
        with forced("maximum_filter"):
            assert np.array_equal(got, dropblock_ref.keep_mask(seeds, block_size, convention=convention))


@pytest.mark.parametrize(
    ("number", "block_size", "spatial_shape", "way"),
    [
        (0, 7, (256, 256), "stamp"),
        (1, 7, (100, 100), "stamp"),
        (9362, (1, 7), (256, 256), "stamp"),
        (9363, (1, 7), (256, 256), "maximum_filter"),  # which goes over the cells once instead of twice
        (9362, (7, 1), (256, 256), "stamp"),
        (1, (1, 7, 1), (40, 40, 40), "stamp"),
        (0, 31, (40, 40, 40), "stamp"),
        (6, 31, (40, 40, 40), "stamp"),
        (7, 31, (40, 40, 40), "maximum_filter"),
    ],
)
def test_the_work_decides_which_way_is_taken(
    number: int, block_size: int | tuple[int, ...], spatial_shape: tuple[int, ...], way: str
) -> None:
    assert way_taken(spread_seeds(number, spatial_shape), block_size) == way


@pytest.mark.parametrize(
    ("number", "length", "cells", "way"),
    [
        (1, CHUNK, 2 * CHUNK, "stamp"),
        (1, CHUNK + 1, 2 * CHUNK, "maximum_filter"),  # a stamp would take 4 bytes for each cell of the map
        (0, CHUNK + 1, 2 * CHUNK, "stamp"),
        (1, CHUNK + 1, 16 * CHUNK, "stamp"),
    ],
)
def test_a_block_of_most_of_a_large_map_is_not_stamped(number: int, length: int, cells: int, way: str) -> None:
    seeds = np.zeros((1, 1, 1, cells), dtype=np.bool_)
    seeds[..., cells // 2] = number
    assert way_taken(seeds, (1, length)) == way
    assert np.count_nonzero(~dropblock_ref.keep_mask(seeds, (1, length))) == number * length


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


# seeds by the gaps between them


class Scripted:
    """A generator of numbers that are given in advance, then the largest below 1: the longest gaps."""

    def __init__(self, numbers: Sequence[float]) -> None:
        self.numbers = list(numbers)

    def random(self, size: int) -> NDArray[np.float64]:
        taken, self.numbers = self.numbers[:size], self.numbers[size:]
        return np.array(taken + [1 - 2**-53] * (size - len(taken)))


def successes(gamma: float, trials: int, numbers: Sequence[float]) -> list[int]:
    places = fast.successes(gamma, trials, cast("np.random.Generator", Scripted(numbers)))
    assert places.dtype == np.int64
    listed: list[int] = places.tolist()
    return listed


GAMMAS = (1e-3, 0.01, 0.03, 0.3, 0.5, 0.9)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_a_gap_of_k_has_the_numbers_from_1_minus_q_to_the_k_minus_1_to_1_minus_q_to_the_k(gamma: float) -> None:
    """So its probability is q^(k - 1) * gamma, to within 2^-53: both ends are tried a few such units away."""
    q, unit = Fraction(1) - Fraction(gamma), Fraction(1, 2**53)
    for k in range(1, 40):
        first, beyond = 1 - q ** (k - 1), 1 - q**k
        low, high = (Fraction(math.floor(end / unit)) * unit for end in (first, beyond))
        if high - low < 16 * unit:
            break
        inside = [low + 4 * unit, (low + high) / 2, high - 4 * unit]
        for number in inside:
            assert successes(gamma, 100, [float(number)])[:1] == [k - 1]


@pytest.mark.parametrize("chunk", [1, 2, 5, CHUNK])
@pytest.mark.parametrize("gamma", [0.01, 0.2, 0.7])
def test_every_subset_of_the_trials_has_its_exact_probability(gamma: float, chunk: int) -> None:
    """Numbers in the middle of what gives each gap; the probabilities of the gaps multiply to that of the subset."""
    trials, q = 6, 1 - gamma
    total = 0.0
    for subset in brute_force.subsets([(k,) for k in range(trials)]):
        places = [cell[0] for cell in subset]
        gaps = [b - a for a, b in itertools.pairwise([-1, *places])]
        numbers = [1 - q ** (gap - 1) * (1 + q) / 2 for gap in gaps]
        rest = trials - 1 - (places[-1] if places else -1)  # at least one more than that many failures
        numbers += [1 - q**rest / 2] * (rest > 0)
        with mock.patch.object(fast, "CHUNK", chunk):
            assert successes(gamma, trials, numbers) == places
        probability = math.prod(q ** (gap - 1) * gamma for gap in gaps) * q**rest
        assert probability == pytest.approx(gamma ** len(places) * q ** (trials - len(places)), rel=1e-13)
        total += probability
    assert total == pytest.approx(1, rel=1e-13)


@pytest.mark.parametrize("gamma", [5e-324, 1e-310, 1e-300, 1e-30, 1e-19, 1e-16])
@pytest.mark.parametrize("trials", [1, 4096, 2**31 + 5, 2**46])
def test_the_smallest_gammas_end_and_give_places_among_the_trials(gamma: float, trials: int) -> None:
    assert successes(gamma, trials, [0.0, 0.0]) == [0, 1][:trials]
    assert successes(gamma, trials, [0.0]) == [0]
    assert successes(gamma, trials, []) == []
    places = fast.successes(gamma, trials, np.random.default_rng(0))
    assert all(0 <= place < trials for place in places)


def test_no_trials_have_no_successes() -> None:
    assert successes(0.01, 0, []) == []


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_cells_beyond_2_to_the_31_are_found_arrange(data_format: str) -> None:
    """A mask of 2^40 cells that has no memory: only the places are computed."""
    spatial_shape = (2**15, 2**15)
    shape, strides = (2**5, 2**5, *spatial_shape), (2**35, 2**30, 2**15, 1)
    if data_format == "channels_last":
        strides = (2**35, 1, 2**20, 2**5)
    mask = np.lib.stride_tricks.as_strided(np.zeros(1, dtype=np.bool_), shape, strides)
    block = algorithm.place((7, 6), spatial_shape)
    gamma = 1e-9
    cells = fast.sample_cells(gamma, block, mask, np.random.default_rng(0))
    places = fast.successes(gamma, 2**10 * (2**15 - 6) * (2**15 - 5), np.random.default_rng(0))
    assert cells.dtype == np.int64
    assert cells.size == places.size > 900
    assert cells.max() > 2**39
    for cell, place in zip(cells.tolist(), places.tolist(), strict=True):
        rest, column = divmod(place, 2**15 - 5)
        rest, row = divmod(rest, 2**15 - 6)
        sample, channel = divmod(rest, 2**5)
        index = (sample, channel, row + 3, column + 3)
        assert cell == sum(i * step for i, step in zip(index, strides, strict=True))


@pytest.mark.parametrize("order", ["C", "F"])
def test_seeds_are_drawn_by_gaps_below_one_in_32_on_at_least_4096_eligible_cells(order: Any) -> None:
    block = algorithm.place((3, 3), (34, 34))
    for samples, gamma, by_gaps in ((4, 0.031, True), (4, 1 / 32, False), (3, 0.031, False), (4, 0.0, False)):
        like = np.zeros((samples, 1, 34, 34), order=order)
        with mock.patch.object(fast, "successes", wraps=fast.successes) as successes:
            seeds = fast.sample_seeds(gamma, block, like, np.random.default_rng(0))
        assert successes.called == by_gaps
        if not by_gaps:
            assert np.array_equal(seeds, algorithm.sample_seeds(gamma, block, like.shape, np.random.default_rng(0)))


@pytest.mark.parametrize("gamma", [0.001, 0.01, 0.031])
@pytest.mark.parametrize("last", [False, True])
def test_cells_drawn_by_gaps_are_seeds_independently_with_probability_gamma(gamma: float, last: bool) -> None:
    """False alarm 1e-9 over all cells, rows and pairs of neighbours; finds 10 % of gamma in the whole draw."""
    block, samples = algorithm.place((2, 3), (6, 7)), 40_000
    like = np.zeros((samples, 6, 7, 2)).transpose(0, 3, 1, 2) if last else np.zeros((samples, 2, 6, 7))
    seeds = fast.sample_seeds(gamma, block, like, np.random.default_rng(5))
    assert seeds.strides == np.empty_like(like, dtype=np.bool_).strides
    box = seeds[block.box].reshape(samples, -1)
    assert np.count_nonzero(seeds) == np.count_nonzero(box)
    pairs = [(i, j) for i in range(box.shape[1]) for j in range(i)]
    each = 1e-9 / 6 / (1 + box.shape[1] + len(pairs))
    tested = [(int(np.count_nonzero(box)), int(box.size), gamma)]
    tested += [(int(count), samples, gamma) for count in np.count_nonzero(box, axis=0)]
    tested += [(int(np.count_nonzero(box[:, i] & box[:, j])), samples, gamma**2) for i, j in pairs]
    for count, draws, probability in tested:
        assert min(stats.binom.cdf(count, draws, probability), stats.binom.sf(count - 1, draws, probability)) > each / 2
    accepted = stats.binom.isf(each / 2, box.size, gamma), stats.binom.ppf(each / 2, box.size, gamma)
    assert stats.binom.cdf(accepted[0], box.size, 1.1 * gamma) < 1e-6 or gamma < 0.005
    assert stats.binom.sf(accepted[1] - 1, box.size, 0.9 * gamma) < 1e-6 or gamma < 0.005


# the product


@given(st.data(), CASES, st.sampled_from(("C", "F", "strided", "reversed", "big-endian", "read-only")))
@examples(300)
def test_the_product_in_parts_is_that_of_the_algorithm(data: st.DataObject, case: Case, order: str) -> None:
    x = arrange(data.draw(any_inputs(case)), order, 1)
    seeds = data.draw(any_seeds(case))
    x, mask = (np.moveaxis(a, brute_force.channel_axis(case.data_format, a.ndim), 1) for a in (x, ~seeds))
    for factor in (1.25, 0.0, math.nan, data.draw(st.floats(1, 100))):
        with np.errstate(all="ignore"):
            expected = algorithm.multiply(x, np.broadcast_to(mask, x.shape), factor)
        whole = fast.multiply(x, mask, factor)
        with mock.patch.object(fast, "CHUNK", 2):
            parts = fast.multiply(x, mask, factor)
        for product in (whole, parts):
            assert product.dtype == x.dtype
            assert product.tobytes() == expected.tobytes()
