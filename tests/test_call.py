"""What a user passed, resolved: which axis is what, and the block on the map."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import dropblock_ref
from dropblock_ref import CONVENTIONS, call
from dropblock_ref.call import find_layout, place_block
from dropblock_ref.convention import find_convention
from dropblock_ref.testing.strategies import Case

from . import brute_force
from .examples import CASES, examples


@pytest.mark.parametrize(
    ("data_format", "shape", "channel_axis", "spatial_axes", "spatial_shape"),
    [
        ("channels_first", (2, 3, 4, 5), 1, (2, 3), (4, 5)),
        ("NCHW", (2, 3, 4, 5), 1, (2, 3), (4, 5)),
        ("channels_last", (2, 3, 4, 5), 3, (1, 2), (3, 4)),
        ("NHWC", (2, 3, 4, 5), 3, (1, 2), (3, 4)),
        ("channels_first", (2, 3, 4, 5, 6), 1, (2, 3, 4), (4, 5, 6)),
        ("NCDHW", (2, 3, 4, 5, 6), 1, (2, 3, 4), (4, 5, 6)),
        ("channels_last", (2, 3, 4, 5, 6), 4, (1, 2, 3), (3, 4, 5)),
        ("NDHWC", (2, 3, 4, 5, 6), 4, (1, 2, 3), (3, 4, 5)),
    ],
)
def test_axes_are_those_of_the_printed_letters(
    data_format: str,
    shape: tuple[int, ...],
    channel_axis: int,
    spatial_axes: tuple[int, ...],
    spatial_shape: tuple[int, ...],
) -> None:
    layout = find_layout(data_format, shape, "x")
    assert (layout.ndim, layout.channel_axis, layout.spatial_axes) == (len(shape), channel_axis, spatial_axes)
    assert layout.spatial_shape(shape) == spatial_shape


def test_entries_go_to_the_spatial_axes_and_the_rest_elsewhere() -> None:
    assert find_layout("NCHW", (1, 1, 1, 1), "x").on_spatial_axes((7, 8), 0) == (0, 0, 7, 8)
    assert find_layout("NDHWC", (1, 1, 1, 1, 1), "x").on_spatial_axes((7, 8, 9), 0) == (0, 7, 8, 9, 0)


def test_the_index_of_a_map_takes_one_sample_and_one_channel() -> None:
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert np.array_equal(x[find_layout("NCHW", x.shape, "x").map_index(1, 2)], x[1, 2])
    assert np.array_equal(x[find_layout("NHWC", x.shape, "x").map_index(1, 4)], x[1, :, :, 4])
    volume = x[:, None]
    assert np.array_equal(volume[find_layout("NDHWC", volume.shape, "x").map_index(0, 4)], x[0, None, :, :, 4])


@pytest.mark.parametrize("ndim", [4, 5])
def test_channels_last_is_channels_first_with_the_axes_moved(ndim: int) -> None:
    x = np.random.default_rng(1).uniform(1, 2, (2, 3, 5, 6, 4)[:ndim])
    seeds = np.zeros(x.shape, dtype=np.bool_)
    seeds[(0, 1, 2, 3, 1)[:ndim]] = True
    seeds[(1, 2, 1, 1, 2)[:ndim]] = True
    first = dropblock_ref.drop_block(x, 0.2, 3, seeds=seeds)
    last = dropblock_ref.drop_block(
        np.moveaxis(x, 1, -1), 0.2, 3, seeds=np.moveaxis(seeds, 1, -1), data_format="channels_last"
    )
    assert np.count_nonzero(first == 0) == 2 * 3 ** (ndim - 2)
    assert np.array_equal(np.moveaxis(last, -1, 1), first)


@given(CASES)
@examples(700)
def test_eligible_cells_are_those_of_the_brute_force(case: Case) -> None:
    valid = dropblock_ref.valid_seeds(case.block_size, case.spatial_shape, convention=case.rules)
    assert valid.dtype == np.bool_
    assert valid.shape == case.spatial_shape
    expected = brute_force.eligible_cells(case.block_size, case.spatial_shape, case.rules)
    assert [tuple(map(int, cell)) for cell in np.argwhere(valid)] == expected
    assert expected or case.rules.oversize_block == "nothing_dropped"


@given(st.data(), CASES)
@examples(500)
def test_the_block_of_a_seed_covers_the_cells_of_the_brute_force(data: st.DataObject, case: Case) -> None:
    block = place_block(case.block_size, case.spatial_shape, case.rules)
    sides = brute_force.sides(case.block_size, case.spatial_shape, case.rules)
    assert block.size == sides
    eligible = brute_force.eligible_cells(case.block_size, case.spatial_shape, case.rules)
    assume(eligible)
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


SMALL = np.ones((2, 3, 8, 8), dtype=np.float32)


@pytest.mark.parametrize("function", [dropblock_ref.drop_block, dropblock_ref.trace])
@pytest.mark.parametrize("convention", ["paper", "timm"])
def test_one_call_resolves_its_convention_its_layout_and_its_block_once(
    function: Callable[..., Any], convention: str
) -> None:
    with (
        mock.patch.object(call, "find_convention", wraps=find_convention) as conventions,
        mock.patch.object(call, "find_layout", wraps=call.find_layout) as layouts,
        mock.patch.object(call, "_place", wraps=call._place) as blocks,
    ):
        function(SMALL, 0.1, 3, rng=0, convention=convention)
    assert (conventions.call_count, layouts.call_count, blocks.call_count) == (1, 1, 1)


@pytest.mark.parametrize("block_size", [1, 3, 8])
def test_a_small_call_makes_at_most_60_calls_of_python_functions(block_size: int) -> None:
    rng, calls = np.random.default_rng(0), 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and not frame.f_code.co_flags & inspect.CO_GENERATOR

    dropblock_ref.drop_block(SMALL, 0.1, block_size, rng=rng)
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        dropblock_ref.drop_block(SMALL, 0.1, block_size, rng=rng)
    finally:
        sys.setprofile(before)
    assert 10 < calls <= 60
