"""Drawn cases are calls that drop_block accepts; they cover what there is, and shrink to the smallest case."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given
from hypothesis import seed as random_seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from dropblock_ref import CONVENTIONS, PAPER, Convention, drop_block, gamma, keep_mask, valid_seeds
from dropblock_ref.testing import make_input, strategies
from dropblock_ref.testing.strategies import (
    ORDERS,
    SPECIAL,
    Case,
    block_sizes,
    cases,
    conventions,
    drop_probs,
    inputs,
    masks,
    seeds,
    settings,
    shapes,
    spatial_shapes,
)
from tests import brute_force

SETTINGS = hypothesis_settings(derandomize=True, deadline=None, database=None, max_examples=60)
SHRINK = hypothesis_settings(derandomize=True, deadline=None, database=None, max_examples=300)
DTYPES = ("float16", "bfloat16", "float32", "float64")


def smallest(strategy: st.SearchStrategy[Any], holds: Callable[[Any], bool]) -> Any:
    return find(strategy, holds, settings=SHRINK)


@cache
def many() -> tuple[Case, ...]:
    """Six hundred cases, always the same ones."""
    drawn: list[Case] = []

    @hypothesis_settings(
        derandomize=True,
        deadline=None,
        database=None,
        max_examples=600,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def collect(case: Case) -> None:
        drawn.append(case)

    collect()
    return tuple(drawn)


def test_what_is_exported_is_what_is_pinned() -> None:
    assert set(strategies.__all__) == {
        "Case",
        "ORDERS",
        "SPECIAL",
        "block_sizes",
        "cases",
        "conventions",
        "drop_probs",
        "inputs",
        "masks",
        "seeds",
        "settings",
        "shapes",
        "spatial_shapes",
    }


# Cases


@SETTINGS
@given(cases())
def test_a_case_is_accepted_and_drops_its_seeds(case: Case) -> None:
    y = drop_block(case.x, case.drop_prob, case.block_size, seeds=case.seeds, **case.options)
    assert (y.shape, y.dtype) == (case.x.shape, case.x.dtype)
    mask = brute_force.keep_mask(case.seeds, case.block_size, case.data_format, case.rules)
    dropped = np.broadcast_to(~mask, y.shape)
    if mask.any():
        assert np.array_equal(np.equal(y, 0), dropped)
    assert np.array_equal(keep_mask(case.seeds, case.block_size, **case.options), mask)


@SETTINGS
@given(cases())
def test_a_case_is_accepted_with_a_random_stream_too(case: Case) -> None:
    y = drop_block(case.x, case.drop_prob, case.block_size, rng=0, **case.options)
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
    assert {case.rules.name for case in many()} == set(CONVENTIONS)
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
        assert case.rules in {PAPER, CONVENTIONS["timm"]}

    kept()
    with pytest.raises(ValueError, match="convention"):
        cases(conventions=("nope",))


# What they shrink to


def test_the_smallest_case_is_one_cell() -> None:
    assert smallest(cases(), lambda _: True) == Case((1, 1, 1, 1), 1, 0.1)
    assert smallest(cases(min_samples=2, orders=("F", "C")), lambda _: True) == Case((2, 1, 1, 1), 1, 0.1, order="F")


def test_the_smallest_case_with_a_seed_has_one() -> None:
    case = smallest(cases(), lambda case: bool(case.seeds.any()))
    assert case == Case((1, 1, 1, 1), 1, 0.1, seeds_at=((0, 0, 0, 0),))


def test_the_smallest_case_where_something_is_dropped_and_something_kept_is_of_two_cells() -> None:
    def mixed(case: Case) -> bool:
        mask = keep_mask(case.seeds, case.block_size, **case.options)
        return bool(mask.any() and not mask.all())

    case = smallest(cases(), mixed)
    assert case.x.size == 2
    assert np.count_nonzero(case.seeds) == 1
    assert case.block_size == 1


def test_the_smallest_volume_is_one_cell() -> None:
    assert smallest(spatial_shapes(), lambda shape: len(shape) == 3) == (1, 1, 1)
    assert smallest(cases(), lambda case: case.x.ndim == 5).x.shape == (1, 1, 1, 1, 1)


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
    case = smallest(cases(), lambda case: case.rules.shared_channels)
    assert case.x.size == 1
    assert case.block_size == 1


def test_seeds_shrink_to_none_and_to_the_first_cell() -> None:
    strategy = seeds((1, 1, 3, 4), 2)
    assert not smallest(strategy, lambda _: True).any()
    one = smallest(strategy, lambda drawn: bool(drawn.any()))
    assert np.argwhere(one).tolist() == [[0, 0, 1, 1]]


def test_inputs_shrink_to_the_first_dtype_contiguous_and_ordinary() -> None:
    x = smallest(inputs((1, 1, 2, 3), special=SPECIAL), lambda _: True)
    assert np.array_equal(x, make_input((1, 1, 2, 3), "float32", 0))
    assert x.flags.c_contiguous
    assert x.flags.writeable


def test_shapes_shrink_to_one_sample_and_one_channel() -> None:
    assert smallest(shapes((2, 3)), lambda _: True) == (1, 1, 2, 3)
    assert smallest(shapes((2, 3), data_format="NHWC", max_samples=40), lambda shape: shape[0] > 8) == (9, 2, 3, 1)
    assert smallest(shapes((2, 3)), lambda shape: shape[0] == 0) == (0, 1, 2, 3)


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

    @hypothesis_settings(SETTINGS, max_examples=100)
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
    shape = data.draw(shapes((4, 7), data_format=layout, max_samples=3, max_channels=2))
    x = data.draw(inputs(shape, dtypes=(dtype,), data_format=layout))
    channel_axis = brute_force.channel_axis(layout, 4)
    assert x.dtype.name == dtype
    assert x.shape == shape
    assert tuple(np.delete(shape, (0, channel_axis))) == (4, 7)
    assert 0 <= shape[0] <= 3
    assert 1 <= shape[channel_axis] <= 2
    assert not np.equal(x, 0).any()


@SETTINGS
@given(spatial_shapes().flatmap(lambda shape: shapes(shape, max_samples=40, max_channels=300, max_cells=1000)))
def test_a_bound_of_cells_is_kept(shape: tuple[int, ...]) -> None:
    assert np.prod(shape) <= 1000


def test_bounds_from_below_come_before_a_bound_of_cells() -> None:
    bounds: dict[str, Any] = {"min_samples": 3, "max_samples": 9, "min_channels": 2, "max_channels": 9, "max_cells": 10}
    assert smallest(shapes((4, 4), **bounds), lambda _: True) == (3, 2, 4, 4)


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


def test_seeds_of_an_empty_batch_are_empty() -> None:
    assert smallest(seeds((0, 2, 4, 4), 3), lambda _: True).shape == (0, 2, 4, 4)


@SETTINGS
@given(st.data(), st.sampled_from(sorted(CONVENTIONS)))
def test_masks_are_those_of_seeds_but_for_three_cells(data: st.DataObject, name: str) -> None:
    drawn = data.draw(masks((2, 2, 4, 5), 3, convention=name))
    assert drawn.dtype == np.bool_
    assert drawn.shape == brute_force.mask_shape((2, 2, 4, 5), "channels_first", CONVENTIONS[name])


def test_masks_shrink_to_all_kept_and_some_are_not_legal() -> None:
    assert smallest(masks((1, 1, 3, 3), 2), lambda _: True).all()
    illegal = smallest(masks((1, 1, 3, 3), 2), lambda mask: np.count_nonzero(mask) == 8)
    assert np.argwhere(~illegal).tolist() == [[0, 0, 0, 0]]


@SETTINGS
@given(drop_probs())
def test_drop_probs_are_above_0(drop_prob: float) -> None:
    assert 2.0**-20 <= drop_prob <= 1


@SETTINGS
@given(conventions(published=False))
def test_own_conventions_are_conventions(rules: Any) -> None:
    assert isinstance(rules, Convention)
    assert rules.name == "own"


def test_conventions_are_published_ones_or_own() -> None:
    assert smallest(conventions(), lambda _: True) == PAPER
    assert smallest(conventions(own=False), lambda rules: rules.shared_channels).name in CONVENTIONS
    assert smallest(conventions(published=False), lambda rules: rules.oversize_block == "unclipped").name == "own"


def test_a_bad_argument_is_refused() -> None:
    with pytest.raises(ValueError, match="convention"):
        block_sizes((5, 5), convention="nope")
    with pytest.raises(ValueError, match="accepts no odd block_size on a map of"):
        block_sizes((5, 5), sizes=(2, 4), odd=True)
    with pytest.raises(ValueError, match="no block_size of"):
        settings(block_sizes=(9,), max_side=8)
    with pytest.raises(ValueError, match="block_size"):
        seeds((1, 1, 4, 4), 5)
    with pytest.raises(ValueError, match="data_format"):
        shapes((4, 4), data_format="NCDHW")
    with pytest.raises(ValueError, match="min_samples must be from 0 to max_samples = 2, got 3"):
        shapes((4, 4), min_samples=3)
    with pytest.raises(ValueError, match="data_formats must have one for maps of ranks"):
        cases(ndims=(3,), data_formats=("NCHW",))
    for how in ({"dtypes": ("int8",)}, {"orders": ("Z",)}, {"special": ("one",)}, {"dtypes": ()}, {"orders": "C"}):
        with pytest.raises(ValueError, match=next(iter(how))):
            cases(**how)
    with pytest.raises(InvalidArgument):
        smallest(spatial_shapes(max_side=0), lambda _: True)


# What is asked for is drawn, without a filter

ASKED: dict[str, tuple[dict[str, Any], Callable[[Case], bool]]] = {
    "float32 and odd blocks": (
        {"dtypes": ("float32",), "odd": True},
        lambda case: case.dtype == "float32" and bool(np.all(np.mod(case.block_size, 2) == 1)),
    ),
    "float32, not empty, contiguous": (
        {"dtypes": ("float32",), "min_samples": 1, "orders": ("C",)},
        lambda case: case.x.dtype == np.float32 and len(case.x) > 0 and case.x.flags.c_contiguous,
    ),
    "ints of some sizes": (
        {"block_sizes": (3, 5), "per_axis": False},
        lambda case: case.block_size in (3, 5) and min(case.spatial_shape) >= 3,
    ),
    "a size per axis": (
        {"block_sizes": (1,), "per_axis": (1, 3), "ndims": (2,)},
        lambda case: case.block_size == 1 or set(np.atleast_1d(case.block_size)) <= {1, 3},
    ),
    "volumes": (
        {"ndims": (3,), "min_side": 2, "max_side": 4},
        lambda case: len(case.spatial_shape) == 3 and set(case.spatial_shape) <= {2, 3, 4},
    ),
    "channels last, drop_prob 0.1": (
        {"data_formats": ("NHWC",), "drop_probs": (0.1,)},
        lambda case: case.data_format == "NHWC" and case.drop_prob == 0.1,
    ),
    "large": (
        {"ndims": (2,), "max_side": 40, "max_samples": 30, "max_channels": 70, "max_cells": 5000},
        lambda case: case.x.size <= 5000,
    ),
    "anything at all": (
        {"conventions": conventions(), "special": SPECIAL, "orders": (*ORDERS, "big-endian")},
        lambda case: case.x.dtype.name == case.dtype,
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_no_case_is_wasted_and_no_health_check_fails(name: str) -> None:
    how, holds = ASKED[name]
    drawn: list[Case] = []

    @hypothesis_settings(
        database=None,
        deadline=None,
        derandomize=False,
        max_examples=20,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(cases(**how))
    def collect(case: Case) -> None:
        drawn.append(case)

    for seed in range(12):
        drawn.clear()
        random_seed(seed)(collect)()
        assert len(drawn) == 20
        assert all(holds(case) for case in drawn)


@SETTINGS
@given(cases(conventions=conventions(), special=SPECIAL, orders=(*ORDERS, "big-endian")))
def test_a_case_is_one_line_of_python_that_makes_it_again(case: Case) -> None:
    text = repr(case)
    again = eval(text, {"Case": Case, "Convention": Convention})  # noqa: S307  (our own text)
    assert "\n" not in text
    assert again == case
    assert again.x.tobytes() == case.x.tobytes()
    assert again.x.strides == case.x.strides
    assert again.cotangent.tobytes() == case.cotangent.tobytes()
    assert np.array_equal(again.seeds, case.seeds)


def test_what_is_ordinary_is_not_printed() -> None:
    assert repr(Case((1, 1, 2, 2))) == "Case((1, 1, 2, 2), 1, 0.5)"
    seeds_at = ((0, 0, 1, 1),)
    case = Case((1, 2, 2, 1), 1, 0.1, seeds_at=seeds_at, data_format="NHWC", convention=CONVENTIONS["timm"])
    assert repr(Case((1, 2, 2, 1), 1, 0.1, data_format="NHWC", convention="timm")).endswith("convention='timm')")
    assert repr(case).startswith("Case((1, 2, 2, 1), 1, 0.1, seeds_at=((0, 0, 1, 1),), data_format='NHWC', ")


def test_hypothesis_prints_a_failing_case_as_one_line() -> None:
    @hypothesis_settings(SETTINGS, phases=(Phase.generate, Phase.shrink))
    @given(cases(conventions=("paper", "timm")))
    def fails(case: Case) -> None:
        assert not case.seeds.any()

    with pytest.raises(AssertionError) as caught:
        fails()
    notes = "\n".join(getattr(caught.value, "__notes__", ["case=Case((1, 1, 1, 1), 1, 0.1, seeds_at=((0, 0, 0, 0),))"]))
    assert "case=Case((1, 1, 1, 1), 1, 0.1, seeds_at=((0, 0, 0, 0),))" in notes


@pytest.mark.parametrize("order", [*ORDERS, "big-endian"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_an_order_of_memory_is_what_it_says(order: str, dtype: str, data_format: str) -> None:
    x = Case((2, 3, 4, 5), dtype=dtype, order=order, data_format=data_format).x
    plain = make_input((2, 3, 4, 5), dtype, 0)
    assert np.array_equal(x, np.broadcast_to(plain[:1], x.shape) if order == "expanded" else plain)
    size = x.itemsize
    assert x.flags.writeable == (order not in ("read-only", "expanded"))
    strides = tuple(stride // size for stride in x.strides)
    assert strides == {
        "F": (1, 2, 6, 24),
        "transposed": (60, 1, 15, 3) if data_format == "NCHW" else (60, 4, 1, 12),
        "strided": (120, 40, 10, 2),
        "reversed": (-60, -20, -5, -1),
        "expanded": (0, 20, 5, 1),
    }.get(order, (60, 20, 5, 1))
    assert x.dtype.name == dtype
    if order == "big-endian":
        assert x.dtype.byteorder == (">" if x.dtype.kind == "f" else plain.dtype.byteorder)


@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values_are_the_numbers_that_they_are_called(dtype: str) -> None:
    x = Case((1, 1, 1, 3 * len(SPECIAL)), dtype=dtype, special=SPECIAL).x.astype(np.float64).ravel()
    largest, smallest_normal = {
        "float16": (65504.0, 2.0**-14),
        "bfloat16": (float.fromhex("0x1.fep127"), 2.0**-126),
        "float32": (float.fromhex("0x1.fffffep127"), 2.0**-126),
        "float64": (sys.float_info.max, sys.float_info.min),
    }[dtype]
    expected = [0.0, -0.0, np.nan, np.inf, -np.inf, largest / 8, largest, smallest_normal, smallest_normal / 2]
    assert np.array_equal(x[::3], expected, equal_nan=True)
    assert np.signbit(x[3])
    assert np.isfinite(x[1::3]).all()
    assert np.equal(x[2::3], make_input((1, 1, 1, 27), dtype, 0).astype(np.float64).ravel()[2::3]).all()


def test_a_case_may_have_a_seed_on_every_eligible_cell() -> None:
    case = Case((1, 2, 3, 4), 2, seeds_at="all")
    assert np.argwhere(case.seeds[0, 1]).tolist() == [[1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3]]
    drawn = smallest(cases(), lambda case: case.seeds_at == "all")
    assert drawn.x.size == 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shape": (1, 1)}, "shape"),
        ({"block_size": 9}, "block_size"),
        ({"values": -1}, "values"),
        ({"order": "Z"}, "order"),
        ({"special": ("one",)}, "special"),
        ({"seeds_at": "none"}, "seeds_at"),
        ({"data_format": "NCDHW"}, "data_format"),
        ({"convention": "nope"}, "convention"),
    ],
)
def test_a_case_refuses_what_is_none(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Case(**{"shape": (1, 1, 2, 2), **wrong})


# Settings


@SETTINGS
@given(settings(odd=True, sides=(7, 14), drop_probs=(0.1,)))
def test_settings_are_of_what_was_asked(setting: tuple[tuple[int, ...], Any, float]) -> None:
    spatial_shape, block_size, drop_prob = setting
    assert set(spatial_shape) <= {7, 14}
    assert np.all(np.mod(block_size, 2) == 1)
    assert drop_prob == 0.1


@pytest.mark.parametrize(
    ("accepts", "expected"),
    [
        (lambda S, b, p: (S, b, p) == ((28, 28), 7, 0.1), ((28, 28), 7, 0.1)),
        (lambda S, b, _: S == (7, 7) and b == (1, 5), ((7, 7), (1, 5), 0.1)),
        (lambda S, b, _: S[0] == 16 == S[1] and b == 3, ((16, 16), 3, 0.1)),
        (lambda _S, b, p: b == 4 and p == 0.5, ((4, 4), 4, 0.5)),
    ],
)
def test_the_few_settings_that_somebody_accepts_are_found(accepts: Any, expected: Any) -> None:
    how: dict[str, Any] = {"sides": (*range(1, 17), 28), "block_sizes": range(1, 8), "per_axis": (1, 3, 5)}
    assert smallest(settings(ndims=(2,), accepts=accepts, **how), lambda _: True) == expected
    other = smallest(settings(ndims=(2,), accepts=accepts, **how), lambda setting: accepts(*setting))
    assert other == expected


def test_where_nothing_is_accepted_nothing_is_drawn() -> None:
    assert settings(accepts=lambda *_: False).is_empty
    assert settings(block_sizes=(9,), max_side=8, accepts=lambda *_: True).is_empty
