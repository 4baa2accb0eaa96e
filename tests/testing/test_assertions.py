"""assert_valid_output and assert_drop_rate: right outputs pass, wrong ones fail in words, and chance is bounded."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from dropblock_ref import CONVENTIONS, PAPER, Convention, drop_block, trace
from dropblock_ref.testing import assert_drop_rate, assert_valid_output, make_input
from tests import brute_force

Array = NDArray[Any]
DTYPES = ("float16", "bfloat16", "float32", "float64")
SHAPES = {
    "channels_first": ((3, 2, 9, 8), (2, 2, 5, 6, 5)),
    "NCHW": ((3, 2, 9, 8),),
    "channels_last": ((3, 9, 8, 2), (2, 5, 6, 5, 2)),
    "NDHWC": ((2, 5, 6, 5, 2),),
}
OWN = (
    replace(PAPER, name="sample", scale_over="sample", even_extra_cell="after"),
    replace(PAPER, name="channel", scale_over="channel"),
    replace(PAPER, name="none", scale_over="none", shared_channels=True),
)


# assert_valid_output


@pytest.mark.parametrize("convention", [*CONVENTIONS.values(), *OWN], ids=lambda rules: rules.name)
@pytest.mark.parametrize("data_format", SHAPES)
def test_every_output_of_the_reference_is_valid(data_format: str, convention: Convention) -> None:
    by_keep_prob = convention.scale_over == "keep_prob"  # which cannot be 0, and must be given
    last = 0.9 if by_keep_prob else 1.0
    for number, (shape, dtype, drop_prob) in enumerate(product(SHAPES[data_format], DTYPES, (0.1, 0.5, last))):
        x = make_input(shape, dtype, number)
        how: dict[str, Any] = {"data_format": data_format, "convention": convention}
        y = drop_block(x, drop_prob, 3, rng=number, **how)
        assert_valid_output(y, x, 3, drop_prob=drop_prob if by_keep_prob else None, **how)


def test_even_and_per_axis_blocks_and_other_memory_orders_are_valid() -> None:
    x = make_input((3, 2, 9, 8), "float32", 0)
    for block_size in (2, (2, 3), (1, 4), (9, 8)):
        y = drop_block(x, 0.3, block_size, rng=1)
        assert_valid_output(y, x, block_size)
        assert_valid_output(np.asfortranarray(y), x, block_size)
        assert_valid_output(y, np.repeat(x, 2, axis=3)[..., ::2], block_size)


def test_lists_and_other_arrays_are_taken() -> None:
    x = make_input((2, 2, 5, 5), "float64", 0)
    assert_valid_output(drop_block(x, 0.3, 3, rng=1).tolist(), x.tolist(), 3)


def test_an_empty_batch_is_valid() -> None:
    x = make_input((0, 2, 5, 5), "float32", 0)
    assert_valid_output(x.copy(), x, 3)


@pytest.mark.parametrize("scale_over", ["batch", "sample", "channel"])
@pytest.mark.parametrize("all_dropped", ["zeros", "nan"])
def test_outputs_with_maps_that_drop_everything_are_valid(scale_over: str, all_dropped: str) -> None:
    rules = replace(PAPER, name="mine", scale_over=scale_over, all_dropped=all_dropped)
    x = make_input((4, 2, 5, 5), "float32", 0)
    for seed in range(10):
        assert_valid_output(drop_block(x, 0.5, 5, rng=seed, convention=rules), x, 5, convention=rules)


def right(seed: int = 0) -> tuple[Array, Array]:
    x = make_input((4, 3, 9, 9), "float32", 0)
    return x, drop_block(x, 0.3, 3, rng=seed)


def with_kept_cell(change: Callable[[Array, tuple[int, ...]], None]) -> Callable[[Array, Array], Array]:
    """The right output, with one kept cell changed."""

    def changed(_: Array, y: Array) -> Array:
        y = y.copy()
        change(y, tuple(map(int, np.argwhere(y != 0)[20])))
        return y

    return changed


def put(value: float) -> Callable[[Array, tuple[int, ...]], None]:
    def change(y: Array, place: tuple[int, ...]) -> None:
        y[place] = value

    return change


PLANTED: dict[str, tuple[Callable[[Array, Array], Any], str]] = {
    "no_scale": (lambda x, y: x * (y != 0), r"multiplied by 1, which is no scale at all"),
    "doubled": (lambda _, y: 2 * y, r"must be multiplied by the scale count\(M\) / count_ones\(M\) = 1\.\d+, but"),
    "one_more_cell_dropped": (with_kept_cell(put(0)), r"union of legal blocks of 3 .* \d+ of 972 cells differ"),
    "one_value_wrong": (
        with_kept_cell(put(7)),
        r"1 of \d+ kept cells differ by more, the first in sample 0, channel 0, cell",
    ),
    "one_nan": (with_kept_cell(put(np.nan)), r"seen nan"),
    "float64": (lambda _, y: y.astype(np.float64), r"dtype float64; expected that of x, float32"),
    "transposed_shape": (lambda _, y: y[:, :2], r"shape \(4, 2, 9, 9\); expected that of x, \(4, 3, 9, 9\)"),
    "nothing": (lambda _, __: None, r"expected that of x, \(4, 3, 9, 9\)"),
    "scalar": (lambda _, __: 0.0, r"expected that of x, \(4, 3, 9, 9\)"),
    "transposed_map": (lambda _, y: np.swapaxes(y, 2, 3), r"kept cells must be"),
    "identity": (lambda x, _: 1.5 * x, r"= 1, but .* multiplied by 1\.5"),
    "all_nan": (lambda x, _: np.full_like(x, np.nan), r"dropped and .*NaN; expected zeros"),
    "negated": (lambda _, y: -y, r"multiplied by -1\."),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_error_fails_in_words(name: str) -> None:
    plant, words = PLANTED[name]
    x, y = right()
    assert_valid_output(y, x, 3)
    with pytest.raises(AssertionError, match=re.compile(words, re.DOTALL)):
        assert_valid_output(plant(x, y), x, 3)


def test_masks_per_channel_fail_where_channels_share() -> None:
    x, y = right()
    with pytest.raises(AssertionError, match="must share one mask under convention 'timm'"):
        assert_valid_output(y, x, 3, convention="timm")


def test_another_layout_or_block_fails() -> None:
    x, y = right()
    with pytest.raises(AssertionError, match="legal blocks of 5"):
        assert_valid_output(y, x, 5)
    with pytest.raises(AssertionError, match="legal blocks"):
        assert_valid_output(y, x, 3, data_format="channels_last")


def test_blocks_beyond_the_border_fail_where_they_must_fit() -> None:
    x = make_input((8, 3, 9, 9), "float32", 0)
    y = drop_block(x, 0.3, 3, rng=0, convention="timm_uncoupled")
    assert_valid_output(y, x, 3, convention="timm_uncoupled")
    with pytest.raises(AssertionError, match="legal blocks of 3"):
        assert_valid_output(y, x, 3)


@pytest.mark.parametrize("dtype", ["complex64", "int32", "bool", "object", "U8", "S8", "longdouble"])
def test_an_output_of_a_strange_dtype_fails_in_words(dtype: str) -> None:
    x, y = right()
    with pytest.raises(AssertionError, match=r"dtype .*expected that of x, float32"):
        assert_valid_output(y.astype(dtype), x, 3)


@pytest.mark.parametrize(
    ("dtype", "large"), [("float16", 6e4), ("bfloat16", 3e38), ("float32", 3e38), ("float64", 1.7e308)]
)
def test_a_kept_value_is_infinite_where_its_product_overflows_and_nowhere_else(dtype: str, large: float) -> None:
    x = make_input((1, 1, 4, 4), dtype, 0)
    x[0, 0, 3, :2] = np.array([large, -large]).astype(x.dtype)
    kept = np.ones(x.shape, dtype=np.bool_)
    kept[0, 0, :2, :2] = False
    with np.errstate(over="ignore"):
        y = (x.astype(np.float64) * kept * (16 / 12)).astype(x.dtype)
    assert np.flatnonzero(np.isinf(y)).tolist() == [12, 13]
    assert_valid_output(y, x, 2)
    y[0, 0, 3, 2] = np.inf
    with pytest.raises(
        AssertionError, match=r"but 1 of 12 kept cells differ by more, the first in .* cell \(3, 2\): .* seen inf"
    ):
        assert_valid_output(y, x, 2)


def test_bfloat16_is_judged_in_bfloat16() -> None:
    x = make_input((4, 3, 9, 9), "bfloat16", 0)
    y = drop_block(x, 0.3, 3, rng=0)
    assert y.dtype == ml_dtypes.bfloat16
    assert_valid_output(y, x, 3)
    with pytest.raises(AssertionError, match="bfloat16"):
        assert_valid_output((y.astype(np.float32) * 1.1).astype(y.dtype), x, 3)


# assert_drop_rate


@pytest.mark.parametrize("convention", [*CONVENTIONS.values(), *OWN], ids=lambda rules: rules.name)
@pytest.mark.parametrize("data_format", ["channels_first", "NHWC"])
def test_outputs_of_the_reference_have_the_right_rate(data_format: str, convention: Convention) -> None:
    """Fixed seeds; with others each of the 2 * 2 assertions fails with a probability of at most 1e-9."""
    samples, channels = (2, 200) if convention.shared_samples else (200, 2)
    shape = (samples, channels, 9, 8) if data_format == "channels_first" else (samples, 9, 8, channels)
    how: dict[str, Any] = {"data_format": data_format, "convention": convention}
    for dtype, drop_prob in (("float32", 0.2), ("float16", 0.7)):
        x = make_input(shape, dtype, 0)
        assert_drop_rate(drop_block(x, drop_prob, 3, rng=1, **how), x, drop_prob, 3, **how)


def test_volumes_have_the_right_rate() -> None:
    x = make_input((100, 2, 5, 6, 5), "float64", 0)
    assert_drop_rate(drop_block(x, 0.3, (3, 2, 1), rng=1), x, 0.3, (3, 2, 1))


def with_dropped(count: int, shape: tuple[int, ...]) -> Array:
    y = np.ones(shape, dtype=np.float32)
    y.reshape(-1)[:count] = 0
    return y


def fails(y: Array, x: Array, drop_prob: float, block_size: int, **how: Any) -> bool:
    try:
        assert_drop_rate(y, x, drop_prob, block_size, **how)
    except AssertionError:
        return True
    return False


def distribution_of_dropped_cells(
    gamma: float, block_size: int, spatial_shape: tuple[int, ...], convention: Convention
) -> NDArray[np.float64]:
    """The probability of every number of dropped cells of one mask, over all seed configurations."""
    seeds = brute_force.eligible_cells(block_size, spatial_shape, convention)
    chances = np.zeros(1 + int(np.prod(spatial_shape)))
    for chosen in brute_force.subsets(seeds):
        dropped = len(brute_force.mask_of(chosen, block_size, spatial_shape, convention))
        chances[dropped] += gamma ** len(chosen) * (1 - gamma) ** (len(seeds) - len(chosen))
    return chances


@pytest.mark.parametrize("false_alarm", [0.5, 0.05, 1e-3, 1e-9])
@pytest.mark.parametrize("masks", [1, 8, 62])
@pytest.mark.parametrize(
    ("spatial_shape", "block_size", "drop_prob", "convention"),
    [
        ((4, 4), 3, 0.5, "paper"),
        ((5, 4), 2, 0.1, "paper"),
        ((3, 3), 3, 0.3, "paper"),
        ((3, 3), 2, 0.9, "timm"),
        ((2, 4), 2, 0.4, "dropblock"),
    ],
)
def test_a_correct_output_fails_with_at_most_the_stated_probability(
    spatial_shape: tuple[int, ...], block_size: int, drop_prob: float, convention: str, masks: int, false_alarm: float
) -> None:
    """Exactly: every possible number of dropped cells is tried, and the probabilities of those that fail add up.

    Where an output that drops nothing could not fail, none is judged.
    """
    rules = CONVENTIONS[convention]
    gamma = brute_force.gamma(drop_prob, block_size, spatial_shape, rules)
    assert gamma is not None
    of_one = distribution_of_dropped_cells(float(gamma), block_size, spatial_shape, rules)
    assert of_one.sum() == pytest.approx(1, abs=1e-13)
    of_all = np.ones(1)
    for _ in range(masks):
        of_all = np.convolve(of_all, of_one)
    x = np.ones((masks, 1, *spatial_shape), dtype=np.float32)
    how: dict[str, Any] = {"convention": convention, "false_alarm": false_alarm}
    try:
        failing = [fails(with_dropped(count, x.shape), x, drop_prob, block_size, **how) for count in range(len(of_all))]
    except ValueError:
        assert masks < 62
        return
    assert float(of_all[failing].sum()) <= false_alarm
    assert failing[0]


def test_shared_masks_count_once() -> None:
    """Five channels with one mask are one mask: were they five, twenty masks of 200 cells would be enough evidence."""
    x = make_input((20, 5, 3, 3), "float32", 0)
    few = np.ones((20, 1, 3, 3), dtype=np.float32)
    few.reshape(-1)[:100] = 0
    y = np.broadcast_to(few, x.shape)
    shared = replace(PAPER, name="shared", shared_channels=True)
    assert not fails(y, x, 0.35, 1, convention=shared, false_alarm=1e-6)
    assert fails(y, x, 0.35, 1, convention=replace(shared, shared_channels=False), false_alarm=1e-6)


@pytest.mark.parametrize(("wrong", "held_to"), [("torchvision", "timm_uncoupled"), ("timm_uncoupled", "torchvision")])
def test_timm_and_torchvision_are_told_apart(wrong: str, held_to: str) -> None:
    """0.0939 against 0.1329: more than the error that so many masks find with a probability of 1 - 1e-6."""
    x = make_input((512, 8, 28, 28), "float32", 0)
    y = drop_block(x, 0.1, 7, rng=0, convention=wrong)
    assert_drop_rate(y, x, 0.1, 7, convention=wrong)
    with pytest.raises(AssertionError) as caught:
        assert_drop_rate(y, x, 0.1, 7, convention=held_to)
    text = str(caught.value)
    expected, seen = (0.1329, "0.09") if held_to == "timm_uncoupled" else (0.0939, "0.13")
    assert float(text.split(maxsplit=1)[0]) == pytest.approx(expected, abs=5e-5)
    assert f"under convention {held_to!r} with gamma" in text
    assert "on 28x28, block 7, drop_prob 0.1" in text
    assert re.search(rf"over 4096 masks {re.escape(seen)}\d+ are", text), text
    assert "a correct implementation fails with probability at most 1e-09" in text.lower()
    found = re.search(r"([\d.]+) % error of the map's rate .* is found with probability 0\.999999", text)
    assert found is not None
    assert float(found[1]) / 100 * expected < 0.1329 - 0.0939


def test_a_fraction_on_the_edge_is_judged_by_the_bound() -> None:
    """The stated limits are where the verdict changes, on both sides."""
    x = np.ones((500, 1, 4, 4), dtype=np.float32)
    how = (0.5, 3)
    expected = float(
        brute_force.drop_fraction(brute_force.gamma(0.5, 3, (4, 4), PAPER) or Fraction(0), 3, (4, 4), PAPER)
    )
    with pytest.raises(AssertionError) as caught:
        assert_drop_rate(with_dropped(100, x.shape), x, *how)
    stated = re.search(r"a correct implementation stays between (0\.\d+) and (0\.\d+)", str(caught.value))
    assert stated is not None
    for limit in map(float, stated.groups()):
        within, beyond = (round((expected + (limit - expected) * factor) * x.size) for factor in (0.99, 1.01))
        assert not fails(with_dropped(within, x.shape), x, *how)
        assert fails(with_dropped(beyond, x.shape), x, *how)


def test_too_few_masks_to_fail_an_output_that_drops_nothing_are_refused() -> None:
    """With one mask less than is said; with as many it does fail."""
    for side, drop_prob, block_size in ((28, 0.1, 7), (5, 0.8, 3), (3, 0.5, 1)):
        x = make_input((1, 1, side, side), "float32", 0)
        with pytest.raises(ValueError, match="so that an output that drops nothing fails") as refused:
            assert_drop_rate(x, x, drop_prob, block_size)
        needed = int(str(refused.value).split()[5])
        rate = float(brute_force.gamma(drop_prob, block_size, (side, side), PAPER) or 0)
        nothing = (1 - rate) ** ((side - block_size + 1) ** 2)
        assert nothing**needed <= 1e-9 / 4 < nothing ** (needed - 1)
        x = make_input((needed, 1, side, side), "float32", 0)
        with pytest.raises(AssertionError, match=f"no cell is dropped in {needed} masks"):
            assert_drop_rate(x, x, drop_prob, block_size)
        with pytest.raises(ValueError, match=f"at least {needed} masks"):
            assert_drop_rate(x[1:], x[1:], drop_prob, block_size)


def test_without_drop_prob_nothing_may_be_dropped() -> None:
    x = make_input((1, 1, 5, 5), "float32", 0)
    assert_drop_rate(x, x, 0.0, 3)
    assert fails(with_dropped(1, x.shape), x, 0.0, 3)


# With the seeds


def test_with_its_seeds_only_the_right_mask_is_valid() -> None:
    for convention in ("paper", "timm"):
        x = make_input((3, 2, 9, 8), "float32", 0)
        drawn = trace(x, 0.3, 3, rng=0, convention=convention)
        other = trace(x, 0.3, 3, rng=1, convention=convention)
        assert_valid_output(drawn.output, x, 3, seeds=drawn.seeds, convention=convention)
        assert_valid_output(other.output, x, 3, convention=convention)
        with pytest.raises(AssertionError, match="must drop the blocks of 3 around the drawn seeds"):
            assert_valid_output(other.output, x, 3, seeds=drawn.seeds, convention=convention)


def test_drop_prob_names_a_scale_of_keep_prob() -> None:
    x, y = right()
    wrong = (x * (y != 0) / np.float32(0.7)).astype(np.float32)
    with pytest.raises(AssertionError, match="which is 1 / keep_prob"):
        assert_valid_output(wrong, x, 3, drop_prob=0.3)


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        ({"seeds": np.zeros((4, 3, 9, 9))}, ValueError, "seeds must be a boolean array of shape"),
        ({"seeds": np.zeros((4, 1, 9, 9), dtype=np.bool_)}, ValueError, "seeds must be a boolean array of shape"),
        ({"seeds": np.ones((4, 3, 9, 9), dtype=np.bool_)}, ValueError, "eligible"),
        ({"drop_prob": 1.5}, ValueError, "drop_prob must"),
        ({"drop_prob": "0.1"}, TypeError, "drop_prob must"),
    ],
)
def test_bad_seeds_and_drop_prob_are_refused(bad: dict[str, Any], error: type[Exception], words: str) -> None:
    x, y = right()
    with pytest.raises(error, match=words):
        assert_valid_output(y, x, 3, **bad)


def test_the_nominal_drop_prob_is_not_the_rate() -> None:
    x = np.ones((3000, 1, 21, 21), dtype=np.float32)
    assert fails(with_dropped(x.size // 2, x.shape), x, 0.5, 3)
    assert not fails(with_dropped(round(0.3948 * x.size), x.shape), x, 0.5, 3)


def test_a_wrong_shape_fails_in_words() -> None:
    x, y = right()
    for wrong in (y[:2], None, 0.0):
        with pytest.raises(AssertionError, match=r"expected that of x, \(4, 3, 9, 9\)"):
            assert_drop_rate(wrong, x, 0.3, 3)


@pytest.mark.parametrize("dtype", ["complex64", "object", "U8", "S8"])
def test_the_rate_of_an_output_that_is_not_real_is_not_an_odd_exception(dtype: str) -> None:
    x, y = right()
    wrong = y.astype(dtype)
    with pytest.raises(AssertionError, match=f"^the output has dtype {re.escape(str(wrong.dtype))}"):
        assert_drop_rate(wrong, x, 0.3, 3)


@pytest.mark.parametrize("all_dropped", ["zeros", "nan"])
@pytest.mark.parametrize("scale_over", ["batch", "sample", "channel"])
def test_nan_of_maps_that_drop_everything_counts_as_dropped(scale_over: str, all_dropped: str) -> None:
    rules = replace(PAPER, name="mine", scale_over=scale_over, all_dropped=all_dropped)
    x = make_input((1000, 1, 3, 3), "float32", 0)
    assert_drop_rate(drop_block(x, 0.3, 3, rng=0, convention=rules), x, 0.3, 3, convention=rules)


# Bad arguments

X = make_input((2, 2, 5, 5), "float32", 0)


def spoilt(value: float) -> Array:
    x = X.copy()
    x[1, 1, 2, 2] = value
    return x


@pytest.mark.parametrize("value", [0.0, -0.0, np.nan, np.inf])
def test_an_x_that_hides_dropped_cells_is_refused(value: float) -> None:
    x = spoilt(value)
    with pytest.raises(ValueError, match=r"x must have no zeros.*1 of 100"):
        assert_valid_output(x, x, 3)
    with pytest.raises(ValueError, match=r"x must have no zeros and be finite"):
        assert_drop_rate(x, x, 0.3, 3)


BAD: tuple[tuple[dict[str, Any], type[Exception], str], ...] = (
    ({"x": X.astype(np.int32)}, TypeError, "x must have dtype"),
    ({"x": X[0]}, ValueError, r"x must have 4 dimensions.*x\[None\]"),
    ({"x": None}, TypeError, "x must have dtype"),
    ({"block_size": 0}, ValueError, "block_size"),
    ({"block_size": 6}, ValueError, "block_size"),
    ({"block_size": 2.5}, TypeError, "block_size"),
    ({"data_format": "NCWH"}, ValueError, "data_format"),
    ({"data_format": "NCDHW"}, ValueError, "data_format"),
    ({"data_format": None}, TypeError, "data_format"),
    ({"convention": "nope"}, ValueError, "convention"),
    ({"convention": 3}, TypeError, "convention"),
    ({"y": np.ma.masked_array(X, X > 0)}, TypeError, "y must be an array"),
    ({"y": [[1], [2, 3]]}, TypeError, "y must be an array"),
)
BAD_RATE: tuple[tuple[dict[str, Any], type[Exception], str], ...] = (
    ({"drop_prob": 1.5}, ValueError, "drop_prob"),
    ({"drop_prob": float("nan")}, ValueError, "drop_prob"),
    ({"drop_prob": "0.3"}, TypeError, "drop_prob"),
    ({"drop_prob": None}, TypeError, "drop_prob"),
    ({"false_alarm": 0}, ValueError, "false_alarm"),
    ({"false_alarm": 1}, ValueError, "false_alarm"),
    ({"false_alarm": 2}, ValueError, "false_alarm"),
    ({"false_alarm": float("nan")}, ValueError, "false_alarm"),
    ({"false_alarm": "1e-9"}, TypeError, "false_alarm"),
    ({"false_alarm": True}, TypeError, "false_alarm"),
    ({"x": X[:0], "y": X[:0]}, ValueError, "x must have samples to count"),
)


@pytest.mark.parametrize(("bad", "error", "words"), BAD)
def test_a_bad_argument_of_assert_valid_output_is_named(
    bad: dict[str, Any], error: type[Exception], words: str
) -> None:
    good: dict[str, Any] = {"y": X, "x": X, "block_size": 3}
    with pytest.raises(error, match=words):
        assert_valid_output(**(good | bad))


@pytest.mark.parametrize(("bad", "error", "words"), [*BAD, *BAD_RATE])
def test_a_bad_argument_of_assert_drop_rate_is_named(bad: dict[str, Any], error: type[Exception], words: str) -> None:
    good: dict[str, Any] = {"y": X, "x": X, "drop_prob": 0.3, "block_size": 3}
    with pytest.raises(error, match=words):
        assert_drop_rate(**(good | bad))


def test_the_smallest_false_alarm_works() -> None:
    x = make_input((30, 3, 9, 9), "float32", 0)
    assert not fails(drop_block(x, 0.3, 3, rng=0), x, 0.3, 3, false_alarm=1e-100)


def test_the_largest_false_alarm_works() -> None:
    x, _ = right()
    assert fails(x, x, 0.9, 3, false_alarm=1 - 2.0**-53)
