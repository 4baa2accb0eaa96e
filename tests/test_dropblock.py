"""The composition: every stage of a trace, every value of the output, the identity, and the derivative."""

from __future__ import annotations

import copy
import math
import pickle
import tracemalloc
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace
from fractions import Fraction
from typing import Any
from unittest import mock

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import dropblock_ref
from dropblock_ref import CONVENTIONS, PAPER, Trace, fast
from dropblock_ref.fast import CHUNK
from dropblock_ref.testing.case import arrange
from dropblock_ref.testing.strategies import Case, drop_probs

from . import brute_force
from .examples import CASES, any_inputs, any_seeds, examples

DTYPES: tuple[Any, ...] = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)
ORDERS = ("C", "F", "strided", "reversed", "big-endian", "read-only")


def check_output(output: NDArray[Any], x: NDArray[Any], mask: NDArray[np.bool_], case: Case, drop_prob: float) -> None:
    """Every value is x * mask * scale."""
    factors = brute_force.scale(mask, case.data_format, case.rules, drop_prob)
    assert (output.shape, output.dtype) == (x.shape, x.dtype)
    for index in brute_force.cells_of(x.shape):
        of_mask = tuple(min(i, size - 1) for i, size in zip(index, mask.shape, strict=True))
        assert brute_force.is_product(output[index], x[index], bool(mask[of_mask]), factors[of_mask])


@given(st.data(), CASES, drop_probs())
@examples(700)
def test_trace_with_seeds_is_the_brute_force(data: st.DataObject, case: Case, drop_prob: float) -> None:
    x, seeds = data.draw(any_inputs(case)), data.draw(any_seeds(case))
    x_before, seeds_before = x.tobytes(), seeds.tobytes()
    trace = dropblock_ref.trace(x, drop_prob, case.block_size, seeds=seeds, **case.options)
    assert (x.tobytes(), seeds.tobytes()) == (x_before, seeds_before)
    exact = brute_force.gamma(drop_prob, case.block_size, case.spatial_shape, case.rules)
    assert exact is None or abs(Fraction(trace.gamma) - exact) <= exact / 2**51
    assert np.array_equal(trace.seeds, seeds)
    mask = brute_force.keep_mask(seeds, case.block_size, case.data_format, case.rules)
    assert np.array_equal(trace.keep_mask, mask)
    factors = brute_force.scale(mask, case.data_format, case.rules, drop_prob)
    scale = np.broadcast_to(trace.scale, mask.shape)
    assert all(brute_force.same(float(scale[index]), factor) for index, factor in factors.items())
    check_output(trace.output, x, mask, case, drop_prob)
    assert not np.shares_memory(trace.output, x)
    assert not np.shares_memory(trace.seeds, seeds)


@given(st.data(), CASES, drop_probs(), st.integers(0, 2**32))
@examples(400)
def test_drop_block_with_rng_drops_legal_blocks_and_gives_the_products(
    data: st.DataObject, case: Case, drop_prob: float, rng: int
) -> None:
    x = data.draw(any_inputs(case))
    trace = dropblock_ref.trace(x, drop_prob, case.block_size, rng=rng, **case.options)
    mask = brute_force.keep_mask(trace.seeds, case.block_size, case.data_format, case.rules)
    eligible = brute_force.eligible_cells(case.block_size, case.spatial_shape, case.rules)
    for index in np.argwhere(trace.seeds):
        assert brute_force.parts(tuple(map(int, index)), case.data_format)[2] in eligible
    check_output(trace.output, x, mask, case, drop_prob)
    output = dropblock_ref.drop_block(x, drop_prob, case.block_size, rng=np.random.default_rng(rng), **case.options)
    assert output.tobytes() == trace.output.tobytes()


@given(st.data(), CASES, st.booleans())
@examples(300)
def test_the_identity_is_a_copy_whatever_rng_and_seeds_are(data: st.DataObject, case: Case, training: bool) -> None:
    x = data.draw(any_inputs(case))
    drop_prob = 0 if training else data.draw(st.floats(0, 1))
    garbage: st.SearchStrategy[Any] = st.sampled_from((None, "garbage", -1, np.zeros(3), object()))
    trace = dropblock_ref.trace(
        x,
        drop_prob,
        case.block_size,
        training=training,
        rng=data.draw(garbage),
        seeds=data.draw(garbage),
        **case.options,
    )
    assert type(trace.gamma) is float
    assert trace.gamma == 0
    assert type(trace.scale) is float
    assert trace.scale == 1
    assert (trace.seeds.shape, trace.keep_mask.shape) == (case.mask_shape, case.mask_shape)
    assert trace.seeds.dtype == trace.keep_mask.dtype == np.bool_
    assert not trace.seeds.any()
    assert trace.keep_mask.all()
    assert trace.output.dtype == x.dtype
    assert trace.output.tobytes() == x.tobytes()
    assert not np.shares_memory(trace.output, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ORDERS)
def test_dtype_is_kept_and_x_is_not_modified_for_every_layout_arrange(dtype: Any, order: str) -> None:
    x = arrange(np.arange(1, 97, dtype=np.float64).reshape((2, 3, 4, 4)).astype(dtype), order, 1)
    before = x.tolist()
    for drop_prob, training in ((0.3, True), (0.3, False), (0, True)):
        output = dropblock_ref.drop_block(x, drop_prob, 2, rng=3, training=training)
        assert output.dtype == x.dtype
        assert type(output) is np.ndarray
        assert output.flags.writeable
        assert not np.shares_memory(output, x)
        assert x.tolist() == before


def test_lists_and_arrays_of_other_libraries_are_taken() -> None:
    class Foreign:
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.float32]:
            return np.ones((1, 1, 3, 3), dtype=np.float32)

    assert dropblock_ref.drop_block([[[[1.0, 2.0], [3.0, 4.0]]]], 0.5, 2, seeds=[[[[False] * 2] * 2]]).tolist() == [
        [[[1, 2], [3, 4]]]
    ]
    output = dropblock_ref.drop_block(Foreign(), 0.5, 3, seeds=np.zeros((1, 1, 3, 3), dtype=np.bool_))
    assert type(output) is np.ndarray
    assert output.dtype == np.float32


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale_over", ["batch", "sample", "channel"])
def test_all_dropped_is_zeros_with_scale_0_or_nan(dtype: Any, scale_over: str) -> None:
    x = np.ones((2, 3, 4, 4), dtype=dtype)
    zeros = dropblock_ref.trace(x, 1, 4, rng=0, convention=replace(PAPER, scale_over=scale_over))
    assert not zeros.keep_mask.any()
    assert np.all(np.asarray(zeros.scale) == 0)
    assert np.all(zeros.output.astype(np.float64) == 0)
    nan = dropblock_ref.trace(x, 1, 4, rng=0, convention=replace(PAPER, scale_over=scale_over, all_dropped="nan"))
    assert np.all(np.isnan(nan.scale))
    assert np.all(np.isnan(nan.output.astype(np.float64)))


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (0, 3, 4, 4, 4), (2, 0, 4, 4)])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_batch_of_0_gives_an_empty_output_and_a_scale(shape: tuple[int, ...], convention: str) -> None:
    x = np.zeros(shape, dtype=np.float32)
    trace = dropblock_ref.trace(x, 0.5, 3, rng=0, convention=convention)
    assert trace.output.shape == shape
    scale = 2 if CONVENTIONS[convention].scale_over == "keep_prob" else 1
    assert 0 not in trace.keep_mask.shape or np.all(trace.scale == scale)


def test_products_not_selections() -> None:
    x = np.array([[[[np.nan, np.inf, -np.inf], [-0.0, -1.0, 1.0], [1.0, 1.0, 1.0]]]])
    seeds = np.zeros(x.shape, dtype=np.bool_)
    seeds[0, 0, 0] = seeds[0, 0, 1] = True
    dropped = dropblock_ref.drop_block(x, 0.5, 1, seeds=seeds)[0, 0]
    assert np.isnan(dropped[0]).all()
    assert dropped[1].tolist() == [0, 0, 0]
    assert np.signbit(dropped[1]).tolist() == [True, True, False]
    kept = dropblock_ref.drop_block(x, 0.5, 1, seeds=np.zeros(x.shape, dtype=np.bool_))[0, 0]
    assert math.isnan(kept[0, 0])
    assert kept[0, 1:].tolist() == [np.inf, -np.inf]
    assert np.signbit(kept[1, 0])


@pytest.mark.parametrize(
    ("dtype", "large"), [(np.float16, 60000.0), (ml_dtypes.bfloat16, 3e38), (np.float32, 3e38), (np.float64, 1.5e308)]
)
def test_a_kept_value_that_leaves_the_range_becomes_infinite_without_a_warning(dtype: Any, large: float) -> None:
    x = np.full((1, 1, 2, 2), large, dtype=dtype)
    seeds = np.array([[[[True, False], [False, True]]]])
    output = dropblock_ref.drop_block(x, 0.5, 1, seeds=seeds).astype(np.float64)
    assert output.tolist() == [[[[0, np.inf], [np.inf, 0]]]]


def test_half_precision_has_no_rounded_or_overflowing_scale() -> None:
    # More cells than float16 can count, and a scale that rounds to 1 in half precision.
    seeds = np.zeros((1, 1, 300, 300), dtype=np.bool_)
    seeds[0, 0, :9, :9] = True
    for dtype in (np.float16, ml_dtypes.bfloat16):
        x = np.full(seeds.shape, 1.0, dtype=dtype)
        trace = dropblock_ref.trace(x, 0.1, 1, seeds=seeds)
        assert trace.scale == 90000 / 89919
        assert np.all(trace.output.astype(np.float64)[~seeds] == float(np.array(90000 / 89919).astype(dtype)))


def test_seeds_are_copied_into_the_trace() -> None:
    seeds = np.zeros((1, 1, 3, 3), dtype=np.bool_)
    trace = dropblock_ref.trace(np.ones((1, 1, 3, 3)), 0.5, 3, seeds=seeds)
    seeds[0, 0, 1, 1] = True
    assert not trace.seeds.any()
    assert trace.keep_mask.all()


def test_a_trace_is_frozen() -> None:
    trace = dropblock_ref.trace(np.ones((1, 1, 3, 3)), 0.5, 3, rng=0)
    with pytest.raises(FrozenInstanceError):
        trace.gamma = 0.5  # type: ignore[misc]


def test_a_generator_advances_and_an_int_repeats() -> None:
    x, rng = np.ones((2, 3, 9, 9)), np.random.default_rng(0)
    first, second = (dropblock_ref.drop_block(x, 0.5, 3, rng=rng) for _ in range(2))
    assert not np.array_equal(first, second)
    assert np.array_equal(dropblock_ref.drop_block(x, 0.5, 3, rng=0), first)


def test_the_identity_draws_nothing_from_a_generator() -> None:
    rng = np.random.default_rng(0)
    dropblock_ref.drop_block(np.ones((1, 1, 3, 3)), 0.5, 3, rng=rng, training=False)
    dropblock_ref.drop_block(np.ones((1, 1, 3, 3)), 0.0, 3, rng=rng)
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize("training", [True, False])
def test_a_block_that_the_convention_refuses_is_refused_in_every_mode(training: bool) -> None:
    for drop_prob in (0.0, 0.5):
        with pytest.raises(ValueError, match="block_size"):
            dropblock_ref.drop_block(np.ones((1, 1, 3, 3)), drop_prob, 4, rng=0, training=training)


@given(st.data(), CASES, drop_probs())
@examples(200)
def test_vjp_agrees_with_finite_differences(data: st.DataObject, case: Case, drop_prob: float) -> None:
    seeds = data.draw(any_seeds(case))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x, direction, cotangent = rng.standard_normal((3, *case.shape))
    case = replace(case, convention=replace(case.rules, all_dropped="zeros"))

    def loss(step: float) -> float:
        y = dropblock_ref.drop_block(x + step * direction, drop_prob, case.block_size, seeds=seeds, **case.options)
        return math.fsum((y * cotangent).ravel())

    trace = dropblock_ref.trace(x, drop_prob, case.block_size, seeds=seeds, **case.options)
    exact = math.fsum((dropblock_ref.vjp(cotangent, trace) * direction).ravel())
    size = math.fsum(np.abs(cotangent).ravel()) * (1 + float(np.max(trace.scale, initial=0.0)))
    assert abs((loss(0.5) - loss(-0.5)) - exact) <= 1e-13 * (size + 1)


@given(st.data(), CASES, drop_probs())
@examples(250)
def test_vjp_is_the_product_for_every_dtype(data: st.DataObject, case: Case, drop_prob: float) -> None:
    x, seeds = data.draw(any_inputs(case)), data.draw(any_seeds(case))
    trace = dropblock_ref.trace(x, drop_prob, case.block_size, seeds=seeds, **case.options)
    cotangent = data.draw(any_inputs(case))
    with np.errstate(all="ignore"):
        cotangent = cotangent.astype(x.dtype)
    before = cotangent.tobytes()
    mask = brute_force.keep_mask(seeds, case.block_size, case.data_format, case.rules)
    check_output(dropblock_ref.vjp(cotangent, trace), cotangent, mask, case, drop_prob)
    assert cotangent.tobytes() == before


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cotangent_dtype", DTYPES)
def test_vjp_has_the_dtype_of_the_output(dtype: Any, cotangent_dtype: Any) -> None:
    trace = dropblock_ref.trace(np.ones((1, 1, 4, 4), dtype=dtype), 0.3, 2, rng=4)
    gradient = dropblock_ref.vjp(np.full((1, 1, 4, 4), 0.75, dtype=cotangent_dtype), trace)
    assert gradient.dtype == dtype
    assert gradient.astype(np.float64).tolist() == trace.keep_mask.astype(np.float64).tolist()


def test_vjp_of_the_identity_is_the_cotangent() -> None:
    trace = dropblock_ref.trace(np.ones((2, 1, 4, 4)), 0.3, 2, training=False)
    cotangent = np.arange(32.0).reshape((2, 1, 4, 4))
    gradient = dropblock_ref.vjp(cotangent, trace)
    assert gradient.tolist() == cotangent.tolist()
    assert not np.shares_memory(gradient, cotangent)


@pytest.mark.parametrize("shape", [(1, 1, 4, 5), (1, 4, 4), (1, 2, 4, 4), (1, 1, 4, 4, 1), ()])
def test_vjp_refuses_a_cotangent_of_another_shape(shape: tuple[int, ...]) -> None:
    trace = dropblock_ref.trace(np.ones((1, 1, 4, 4)), 0.3, 2, rng=4)
    with pytest.raises(ValueError, match=r"cotangent must have the output's shape \(1, 1, 4, 4\), got"):
        dropblock_ref.vjp(np.ones(shape), trace)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": None}, "trace.output must"),
        ({"keep_mask": None}, "trace.keep_mask must be a boolean array"),
        ({"keep_mask": np.ones((3, 4, 5, 5), dtype=np.bool_)}, r"trace.keep_mask must have the shape of trace.output"),
        ({"keep_mask": np.ones((2, 4, 5, 1), dtype=np.bool_)}, r"trace.keep_mask must have the shape of trace.output"),
        ({"keep_mask": np.ones((4, 5, 5), dtype=np.bool_)}, r"trace.keep_mask must have the shape of trace.output"),
        ({"scale": "2"}, "trace.scale must be an array that numpy.asarray converts, got '2'"),
        ({"scale": 1j}, "trace.scale must be a real number or a floating array"),
        ({"scale": np.ones((4, 1, 1, 1))}, "trace.scale must have the shape of trace.keep_mask"),
        ({"scale": np.ones(5)}, "trace.scale must have the shape of trace.keep_mask"),
        ({"data_format": "NDHWC"}, "data_format 'NDHWC' is for 5 dimensions, but trace.output has 4"),
    ],
)
def test_vjp_refuses_a_trace_whose_fields_do_not_fit_each_other(changes: dict[str, Any], message: str) -> None:
    trace = dropblock_ref.trace(np.ones((2, 4, 5, 5)), 0.3, 2, rng=4)
    with pytest.raises((TypeError, ValueError), match=message):
        dropblock_ref.vjp(np.ones((2, 4, 5, 5)), replace(trace, **changes))


@pytest.mark.parametrize("shared", [{"shared_channels": True}, {"shared_samples": True}, {}])
@pytest.mark.parametrize("scale_over", ["batch", "sample", "channel"])
def test_vjp_takes_masks_and_scales_that_are_shared(shared: dict[str, Any], scale_over: str) -> None:
    convention = replace(PAPER, name="own", scale_over=scale_over, **shared)
    x = np.arange(1.0, 2 * 5 * 5 * 4 + 1).reshape((2, 5, 5, 4))
    trace = dropblock_ref.trace(x, 0.5, 2, rng=4, convention=convention, data_format="channels_last")
    assert not trace.keep_mask.all()
    assert dropblock_ref.vjp(x, trace).tolist() == trace.output.tolist()


# the text form of a trace


def lines_of(trace: Trace) -> list[str]:
    assert str(trace) == repr(trace)
    return repr(trace).splitlines()


@pytest.mark.parametrize("data_format", ["channels_first", "NHWC"])
def test_the_text_of_a_trace_is_its_facts_and_the_first_map(data_format: str) -> None:
    seeds = np.zeros((2, 3, 4, 5), dtype=np.bool_)
    seeds[0, 0, 1, 1] = seeds[0, 0, 3, 4] = seeds[0, 1, 2, 2] = True  # each drops 2 x 2 cells
    x = np.ones(seeds.shape, dtype=np.float32)
    if data_format == "NHWC":
        x, seeds = np.moveaxis(x, 1, -1), np.moveaxis(seeds, 1, -1)
    facts, legend, *rows = lines_of(dropblock_ref.trace(x, 0.3, 2, seeds=seeds, data_format=data_format))
    assert facts == (
        f"Trace: output {x.shape} float32, gamma {0.3 / 4 * 4 / 3 * 5 / 4:.6g}, 3 seeds, 10 % of cells dropped, "
        f"scale {120 / 108:.6g}"
    )
    assert legend == "sample 0, channel 0 (. kept, # dropped, o seed):"
    assert rows == ["##...", "#o...", "...##", "...#o"]


def test_the_text_of_a_volume_shows_the_slice_with_the_most_dropped_cells() -> None:
    seeds = np.zeros((1, 1, 3, 2, 3), dtype=np.bool_)
    seeds[0, 0, 2, 1, 1] = True
    trace = dropblock_ref.trace(np.ones(seeds.shape), 0.3, 1, seeds=seeds)
    assert lines_of(trace)[2:] == ["slice 2 of 3 in depth", "...", ".o."]


def test_the_text_of_a_large_map_shows_the_part_around_the_first_dropped_cell() -> None:
    seeds = np.zeros((1, 1, 56, 100), dtype=np.bool_)
    seeds[0, 0, 54, 98] = True
    title, *rows = lines_of(dropblock_ref.trace(np.ones(seeds.shape), 0.3, 3, seeds=seeds))[2:]
    assert title == "rows 32.., columns 40.. of 56 x 100"
    assert (len(rows), {len(row) for row in rows}) == (24, {60})
    assert [row[-4:] for row in rows[-4:]] == ["....", ".###", ".#o#", ".###"]


def test_the_text_of_a_trace_says_every_kind_of_scale() -> None:
    per_sample = replace(PAPER, name="own", scale_over="sample")
    seeds = np.zeros((2, 1, 2, 2), dtype=np.bool_)
    seeds[1, 0, 0, 0] = True
    options: dict[str, Any] = {"seeds": seeds, "convention": per_sample}
    assert lines_of(dropblock_ref.trace(np.ones((2, 1, 2, 2)), 0.3, 1, **options))[0].endswith(
        "1 seed, 12.5 % of cells dropped, scale 1 to 1.33333"
    )
    (empty,) = lines_of(dropblock_ref.trace(np.ones((0, 1, 2, 2)), 0.3, 1, rng=0, convention=per_sample))
    assert empty.endswith("0 seeds, 0 % of cells dropped, scale of no sample")
    assert "gamma 0, 0 seeds, 0 % of cells dropped, scale 1\n" in repr(dropblock_ref.trace(np.ones((1, 1, 2, 2)), 0, 1))
    assert "scale nan\n" in repr(dropblock_ref.trace(np.ones((1, 1, 2, 2)), 1, 1, rng=0, convention="tpu"))


@pytest.mark.parametrize(
    "again",
    [
        replace,
        copy.copy,
        copy.deepcopy,
        lambda trace: pickle.loads(pickle.dumps(trace)),  # noqa: S301  (its own)
        lambda trace: Trace(*(getattr(trace, field.name) for field in fields(trace))),
    ],
)
def test_a_copy_of_a_trace_keeps_all_of_it(again: Callable[[Trace], Trace]) -> None:
    trace = dropblock_ref.trace(np.ones((1, 4, 9, 2)), 0.3, (7, 2), rng=0, data_format="NHWC", convention="timm")
    copied = again(trace)
    assert [field.name for field in fields(Trace)] == [
        *("gamma", "seeds", "keep_mask", "scale", "output", "data_format", "block")
    ]
    for field in fields(Trace):
        assert np.array_equal(getattr(copied, field.name), getattr(trace, field.name)), field.name
    assert repr(copied) == repr(trace)


@pytest.mark.parametrize("drop_prob", [0, 0.3])
def test_a_trace_knows_how_its_maps_and_blocks_lie(drop_prob: float) -> None:
    trace = dropblock_ref.trace(np.ones((1, 4, 9, 2)), drop_prob, (7, 2), rng=0, data_format="NHWC", convention="timm")
    assert trace.data_format == "NHWC"
    assert (trace.block.size, trace.block.before, trace.block.after) == ((4, 2), (2, 1), (1, 0))


def test_an_error_message_shows_a_trace_on_one_line() -> None:
    trace = dropblock_ref.trace(np.ones((1, 1, 2, 2)), 0.3, 1, rng=0)
    with pytest.raises(TypeError) as caught:
        dropblock_ref.gamma(trace, 1, (2, 2))
    assert "Trace" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("convention", [PAPER, "timm", replace(PAPER, name="own", shared_samples=True)])
@pytest.mark.parametrize(("block_size", "drop_prob"), [(1, 0.01), (2, 0.9), (3, 0.1), (7, 0.02), (7, 0.5)])
@pytest.mark.parametrize("shape", [(3, 5, 32, 30), (2, 4, 9, 20, 21)])
def test_a_draw_depends_neither_on_the_layout_nor_on_whether_it_is_traced(
    shape: tuple[int, ...], block_size: int, drop_prob: float, convention: Any
) -> None:
    """Dense seeds and sparse ones, which are drawn by their gaps."""
    x = np.random.default_rng(1).uniform(1, 2, shape).astype(np.float32)
    moved = np.moveaxis(x, 1, -1)
    first = dropblock_ref.trace(x, drop_prob, block_size, rng=0, convention=convention)
    assert first.seeds.any()
    for last in (moved, np.ascontiguousarray(moved), np.asfortranarray(moved), np.repeat(moved, 2, axis=2)[:, :, ::2]):
        for trace in (
            dropblock_ref.trace(last, drop_prob, block_size, rng=0, data_format="channels_last", convention=convention),
            dropblock_ref.trace(
                last,
                drop_prob,
                block_size,
                data_format="channels_last",
                convention=convention,
                seeds=np.moveaxis(first.seeds, 1, -1),
            ),
        ):
            for name in ("seeds", "keep_mask", "output"):
                assert np.array_equal(np.moveaxis(getattr(trace, name), -1, 1), getattr(first, name)), name
            assert trace.scale == first.scale
        generator = np.random.default_rng(0)
        output = dropblock_ref.drop_block(
            last, drop_prob, block_size, rng=generator, data_format="channels_last", convention=convention
        )
        assert np.array_equal(output, trace.output)
    same = np.random.default_rng(0)
    seeds = dropblock_ref.sample_seeds(first.gamma, block_size, shape, rng=same, convention=convention)
    assert np.array_equal(seeds, first.seeds)
    assert generator.bit_generator.state == same.bit_generator.state


@pytest.mark.parametrize(
    ("drop_prob", "block_size", "how"),
    [
        (0.1, 7, {}),  # sparse seeds, which are stamped
        (0.9, 7, {}),
        (0.1, 1, {}),
        (0.1, 15, {"convention": "timm_uncoupled"}),
        (0.1, 7, {"convention": "timm"}),
        (0.3, 5, {"convention": replace(PAPER, name="by channel", scale_over="channel")}),
    ],
)
@pytest.mark.parametrize(
    ("shape", "data_format"),
    [
        ((4, 64, 64, 64), "channels_first"),
        ((1, 64, 64, 256), "channels_last"),
        ((1, 8, 32, 64, 64), "channels_first"),
        ((2, 32, 64, 64, 4), "channels_last"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_call_takes_at_most_the_output_and_two_and_a_half_bytes_per_cell(
    drop_prob: float, block_size: int, how: dict[str, Any], shape: tuple[int, ...], data_format: str, dtype: Any
) -> None:
    x = np.ones(shape, dtype=dtype)
    tracemalloc.start()  # which NumPy reports its arrays to
    try:
        dropblock_ref.drop_block(x, drop_prob, block_size, rng=0, data_format=data_format, **how)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    parts = 3 * 4 * CHUNK * 4 if dtype == np.float16 else 0  # x, factors and product of a part in float32
    assert x.nbytes <= peak <= x.nbytes + 2.5 * x.size + parts


@pytest.mark.parametrize(
    ("shape", "block_size", "how"),
    [
        ((1, 1, 1024, 1024), 1024, {}),  # one block is the map
        ((2, 2, 512, 512), 500, {}),
        ((8, 2, 256, 256), 7, {"convention": "timm"}),  # few channels share a mask
        ((2, 8, 256, 256), 7, {"convention": replace(PAPER, name="shared", shared_samples=True)}),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@mock.patch.object(fast, "CHUNK", 2**12)  # so that the parts of the product are small beside x
def test_large_blocks_and_masks_that_few_share_take_no_more(
    shape: tuple[int, ...], block_size: int, how: dict[str, Any], dtype: Any
) -> None:
    x = np.ones(shape, dtype=dtype)
    for drop_prob in (0.1, 0.5, 1.0):
        tracemalloc.start()
        try:
            dropblock_ref.drop_block(x, drop_prob, block_size, rng=0, **how)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak <= x.nbytes + 2.5 * x.size + 2**19


@mock.patch.object(fast, "CHUNK", 2**12)
def test_a_trace_takes_little_more_than_what_it_holds() -> None:
    x = np.ones((4, 64, 64, 64), dtype=np.float32)
    for drop_prob in (0.1, 0.9):
        tracemalloc.start()
        try:
            t = dropblock_ref.trace(x, drop_prob, 7, rng=0)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak <= t.output.nbytes + t.seeds.nbytes + t.keep_mask.nbytes + x.size + 2**19


@pytest.mark.parametrize("epsilon", [1e300, 5e-324])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_scale_too_small_for_the_dtype_is_0_even_where_numpy_raises(epsilon: float, dtype: Any) -> None:
    convention = replace(PAPER, name="mine", epsilon=epsilon)
    with np.errstate(all="raise"):
        y = dropblock_ref.drop_block(np.ones((1, 1, 4, 4), dtype=dtype), 0.3, 2, rng=4, convention=convention)
    assert y.max() == dtype(16 / (12 + epsilon))
