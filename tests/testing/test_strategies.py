"""Drawn cases are calls that drop_block accepts; they cover what there is, and shrink to the smallest case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from dropblock_ref import CONVENTIONS, PAPER, drop_block, gamma, keep_mask, valid_seeds
from dropblock_ref.testing import strategies
from dropblock_ref.testing.strategies import Case, block_sizes, cases, inputs, seeds, spatial_shapes
from tests import brute_force

SETTINGS = settings(derandomize=True, deadline=None, database=None, max_examples=60)
SHRINK = settings(derandomize=True, deadline=None, database=None, max_examples=300)
DTYPES = ("float16", "bfloat16", "float32", "float64")


def smallest(strategy: st.SearchStrategy[Any], holds: Callable[[Any], bool]) -> Any:
    return find(strategy, holds, settings=SHRINK)


@cache
def many() -> tuple[Case, ...]:
    """Three hundred cases, always the same ones."""
    drawn: list[Case] = []

    @settings(
        derandomize=True,
        deadline=None,
        database=None,
        max_examples=300,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def collect(case: Case) -> None:
        drawn.append(case)

    collect()
    return tuple(drawn)


def test_what_is_exported_is_what_is_pinned() -> None:
    assert set(strategies.__all__) == {"Case", "block_sizes", "cases", "inputs", "seeds", "spatial_shapes"}


# Cases


@SETTINGS
@given(cases())
def test_a_case_is_accepted_and_drops_its_seeds(case: Case) -> None:
    how: dict[str, Any] = {"data_format": case.data_format, "convention": case.convention}
    y = drop_block(case.x, case.drop_prob, case.block_size, seeds=case.seeds, **how)
    assert (y.shape, y.dtype) == (case.x.shape, case.x.dtype)
    mask = brute_force.keep_mask(case.seeds, case.block_size, case.data_format, case.convention)
    dropped = np.broadcast_to(~mask, y.shape)
    if mask.any():
        assert np.array_equal(np.equal(y, 0), dropped)
    assert np.array_equal(keep_mask(case.seeds, case.block_size, **how), mask)


@SETTINGS
@given(cases())
def test_a_case_is_accepted_with_a_random_stream_too(case: Case) -> None:
    y = drop_block(
        case.x, case.drop_prob, case.block_size, rng=0, data_format=case.data_format, convention=case.convention
    )
    assert y.shape == case.x.shape


@SETTINGS
@given(cases())
def test_a_case_has_a_drop_prob_that_gives_a_gamma(case: Case) -> None:
    spatial_shape = brute_force.spatial_shape_of(case.x.shape, case.data_format)
    assert 0 < case.drop_prob <= 1
    assert 0 < gamma(case.drop_prob, case.block_size, spatial_shape, convention=case.convention) <= 1


def test_cases_cover_all_layouts_ranks_dtypes_and_conventions() -> None:
    assert {case.data_format for case in many()} == {
        "channels_first",
        "channels_last",
        "NCHW",
        "NHWC",
        "NCDHW",
        "NDHWC",
    }
    assert {case.x.dtype.name for case in many()} == set(DTYPES)
    assert {case.convention.name for case in many()} == set(CONVENTIONS)
    assert {case.x.ndim for case in many()} == {4, 5}


def test_cases_cover_kinds_of_blocks_batches_and_seeds() -> None:
    kinds = Counter(
        kind
        for case in many()
        for kind, there in (
            ("int", isinstance(case.block_size, int)),
            ("per axis", isinstance(case.block_size, tuple)),
            ("unequal", isinstance(case.block_size, tuple) and len(set(case.block_size)) > 1),
            ("even", isinstance(case.block_size, int) and case.block_size % 2 == 0),
            (
                "oversize",
                isinstance(case.block_size, int)
                and case.block_size > min(brute_force.spatial_shape_of(case.x.shape, case.data_format)),
            ),
            ("empty batch", len(case.x) == 0),
            ("no seeds", not case.seeds.any()),
            ("several seeds", np.count_nonzero(case.seeds) > 1),
            ("certain", case.drop_prob == 1),
            ("many channels", brute_force.parts(case.x.shape, case.data_format)[1] > 1),
        )
        if there
    )
    assert len(kinds) == 10, kinds
    assert min(kinds.values()) >= 5, kinds


def test_arrays_that_are_not_contiguous_occur_in_every_dtype() -> None:
    strided = [case.x for case in many() if not case.x.flags.c_contiguous]
    assert {x.dtype.name for x in strided} == set(DTYPES)
    assert any(x.flags.f_contiguous for x in strided)
    assert any(min(x.strides) < 0 for x in strided)
    assert any(not x.flags.f_contiguous and min(x.strides) > 0 for x in strided)


@SETTINGS
@given(cases(ndims=(3,), data_formats=("channels_last", "NDHWC"), per_axis=False))
def test_cases_may_be_of_one_rank_and_layout_alone(case: Case) -> None:
    assert case.x.ndim == 5
    assert case.data_format in {"channels_last", "NDHWC"}
    assert isinstance(case.block_size, int)


def test_a_choice_of_conventions_is_kept() -> None:
    mine = cases(conventions=(PAPER, "timm"))

    @SETTINGS
    @given(mine)
    def kept(case: Case) -> None:
        assert case.convention in {PAPER, CONVENTIONS["timm"]}

    kept()
    with pytest.raises(ValueError, match="convention"):
        smallest(cases(conventions=("nope",)), lambda _: True)


# What they shrink to


def test_the_smallest_case_is_one_cell() -> None:
    case = smallest(cases(), lambda _: True)
    assert (case.convention, case.data_format, case.block_size, case.drop_prob) == (PAPER, "channels_first", 1, 0.1)
    assert case.x.shape == (0, 1, 1, 1)
    assert case.x.dtype == np.float16
    assert not case.seeds.any()
    assert case.x.flags.c_contiguous


def test_the_smallest_case_with_a_seed_has_one() -> None:
    case = smallest(cases(), lambda case: bool(case.seeds.any()))
    assert (case.convention, case.block_size) == (PAPER, 1)
    assert case.x.shape == (1, 1, 1, 1)
    assert np.count_nonzero(case.seeds) == 1


def test_the_smallest_case_where_something_is_dropped_and_something_kept_is_of_two_cells() -> None:
    def mixed(case: Case) -> bool:
        mask = keep_mask(case.seeds, case.block_size, data_format=case.data_format, convention=case.convention)
        return bool(mask.any() and not mask.all())

    case = smallest(cases(), mixed)
    assert case.x.size == 2
    assert np.count_nonzero(case.seeds) == 1
    assert case.block_size == 1


def test_the_smallest_volume_is_one_cell() -> None:
    assert smallest(spatial_shapes(), lambda shape: len(shape) == 3) == (1, 1, 1)
    assert smallest(cases(), lambda case: case.x.ndim == 5).x.shape == (0, 1, 1, 1, 1)


def test_an_even_block_shrinks_to_two() -> None:
    case = smallest(
        cases(conventions=("paper",)), lambda case: isinstance(case.block_size, int) and case.block_size % 2 == 0
    )
    assert case.block_size == 2
    assert case.x.shape[2:] == (2, 2)


def test_a_block_per_axis_shrinks_to_the_least_that_will_do() -> None:
    assert smallest(block_sizes((5, 5)), lambda b: isinstance(b, tuple) and b[1] > 2) == (1, 3)
    assert smallest(block_sizes((5, 5, 5)), lambda _: True) == 1


def test_a_convention_other_than_the_first_keeps_all_else_small() -> None:
    case = smallest(cases(), lambda case: case.convention.shared_channels)
    assert case.x.size == 0
    assert case.block_size == 1


def test_seeds_shrink_to_none_and_to_the_first_cell() -> None:
    strategy = seeds((1, 1, 3, 4), 2)
    assert not smallest(strategy, lambda _: True).any()
    one = smallest(strategy, lambda drawn: bool(drawn.any()))
    assert np.argwhere(one).tolist() == [[0, 0, 1, 1]]


def test_inputs_shrink_to_no_samples_and_contiguous() -> None:
    x = smallest(inputs((2, 3)), lambda _: True)
    assert x.shape == (0, 1, 2, 3)
    one = smallest(inputs((2, 3)), lambda x: x.size > 0)
    assert one.shape == (1, 1, 2, 3)
    assert one.flags.c_contiguous


# The parts


@SETTINGS
@given(spatial_shapes(ndims=(3,), max_side=4))
def test_sides_are_within_what_was_asked(shape: tuple[int, ...]) -> None:
    assert len(shape) == 3
    assert all(1 <= side <= 4 for side in shape)


@pytest.mark.parametrize("name", sorted(CONVENTIONS))
def test_block_sizes_are_exactly_those_that_the_convention_accepts(name: str) -> None:
    """Every accepted int up to the map's side can be drawn, and larger ones where they are clipped or stick out."""
    rules, seen = CONVENTIONS[name], set()

    @settings(SETTINGS, max_examples=100)
    @given(block_sizes((5, 4), convention=name, per_axis=False))
    def collect(block_size: int | tuple[int, ...]) -> None:
        valid_seeds(block_size, (5, 4), convention=rules)
        seen.add(block_size)

    collect()
    odd_only = rules.even_extra_cell == "refused"
    if rules.oversize_block == "refused":
        expected = {1, 3} if odd_only else {1, 2, 3, 4}
    elif rules.oversize_block == "clip_to_smallest_axis" and odd_only:
        expected = {1, 3}  # 4 and more are clipped to the smallest axis, which is even
    else:
        expected = set(range(1, 9))
    assert seen == expected


@pytest.mark.parametrize("name", ["paper", "timm", "dropblock", "torchvision"])
def test_blocks_per_axis_are_accepted_too(name: str) -> None:
    @SETTINGS
    @given(st.data(), spatial_shapes())
    def accepted(data: st.DataObject, shape: tuple[int, ...]) -> None:
        block_size = data.draw(block_sizes(shape, convention=name))
        assert isinstance(block_size, int) or len(block_size) == len(shape)
        valid_seeds(block_size, shape, convention=name)

    accepted()


@SETTINGS
@given(st.data(), st.sampled_from(("channels_first", "channels_last", "NCHW", "NHWC")), st.sampled_from(DTYPES))
def test_inputs_have_the_asked_layout_and_dtype_and_no_zeros(data: st.DataObject, layout: str, dtype: str) -> None:
    x = data.draw(inputs((4, 7), data_format=layout, dtypes=(dtype,), max_samples=3, max_channels=2))
    channel_axis = brute_force.channel_axis(layout, 4)
    assert x.dtype.name == dtype
    assert tuple(np.delete(x.shape, (0, channel_axis))) == (4, 7)
    assert 0 <= len(x) <= 3
    assert 1 <= x.shape[channel_axis] <= 2
    assert not np.equal(x, 0).any()


@SETTINGS
@given(st.data(), st.sampled_from(sorted(CONVENTIONS)), st.sampled_from(("channels_first", "channels_last")))
def test_seeds_lie_on_eligible_cells_in_the_shape_of_the_convention(
    data: st.DataObject, name: str, layout: str
) -> None:
    drawn = data.draw(seeds((2, 3, 5, 3), 3, data_format=layout, convention=name))
    rules = CONVENTIONS[name]
    assert drawn.dtype == np.bool_
    assert drawn.shape == brute_force.mask_shape((2, 3, 5, 3), layout, rules)
    spatial_shape = brute_force.spatial_shape_of((2, 3, 5, 3), layout)
    eligible = set(brute_force.eligible_cells(3, spatial_shape, rules))
    assert {brute_force.parts(tuple(map(int, index)), layout)[2] for index in np.argwhere(drawn)} <= eligible
    assert np.count_nonzero(drawn) <= 8


def test_seeds_of_an_empty_batch_are_empty() -> None:
    assert smallest(seeds((0, 2, 4, 4), 3), lambda _: True).shape == (0, 2, 4, 4)


def test_a_bad_argument_is_refused() -> None:
    with pytest.raises(ValueError, match="convention"):
        block_sizes((5, 5), convention="nope")
    with pytest.raises(ValueError, match="block_size"):
        smallest(seeds((1, 1, 4, 4), 5), lambda _: True)
    with pytest.raises(ValueError, match="data_format"):
        smallest(inputs((4, 4), data_format="NCDHW"), lambda _: True)
    with pytest.raises(InvalidArgument):
        smallest(spatial_shapes(max_side=0), lambda _: True)
