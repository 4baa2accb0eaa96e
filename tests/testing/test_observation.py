"""What the oracle reads from one output: units in the last place, the mask, and what is wrong, by its right name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from dropblock_ref import CONVENTIONS, PAPER, Convention, drop_block, trace
from dropblock_ref.testing import make_input
from dropblock_ref.testing.observation import coarser, find_dtype, find_problems, read_dropped, tell_apart, ulp

Array = NDArray[Any]
DTYPES = ("float16", "bfloat16", "float32", "float64")
PER_SAMPLE = replace(PAPER, name="per_sample", scale_over="sample")
PER_MAP = replace(PAPER, name="per_map", scale_over="channel")
UNSCALED = replace(PAPER, name="unscaled", scale_over="none")


def dtype_of(name: str) -> np.dtype[Any]:
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def spacing(values: Array) -> NDArray[np.float64]:
    """The distance to the neighbour away from zero, in the dtype of the values; their bits differ by 1."""
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    magnitude = np.abs(values)
    neighbour = (magnitude.view(unsigned) + np.asarray(1, unsigned)).view(values.dtype)
    result: NDArray[np.float64] = neighbour.astype(np.float64) - magnitude.astype(np.float64)
    return result


def numbers(name: str) -> Array:
    """Numbers of a dtype by their bits: every exponent with several mantissas; no infinity and no NaN."""
    dtype = dtype_of(name)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    info = ml_dtypes.finfo(dtype)
    mantissas = np.array(
        [0, 1, 2, (1 << info.nmant) // 2, (1 << info.nmant) - 2, (1 << info.nmant) - 1], dtype=np.uint64
    )
    exponents = np.arange((1 << info.iexp) - 1, dtype=np.uint64)
    bits = (exponents[:, None] << np.uint64(info.nmant)) | mantissas
    # The largest number's neighbour is infinite, so its spacing is that of the number below.
    values: Array = bits.ravel()[:-1].astype(unsigned).view(dtype)
    return np.concatenate([values, -values])


# ulp


@pytest.mark.parametrize("name", DTYPES)
def test_ulp_is_the_spacing_of_all_numbers_but_zero(name: str) -> None:
    values = numbers(name)
    values = values[np.not_equal(values, 0)]
    expected = spacing(values)
    assert np.isfinite(expected).all()
    assert np.array_equal(ulp(values.astype(np.float64), dtype_of(name)), expected)


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_ulp_is_numpys_spacing(name: str) -> None:
    values = numbers(name)
    values = values[values > 0]  # of a negative power of two NumPy's float16 spacing is that of the number below
    expected = np.spacing(values).astype(np.float64)
    assert np.array_equal(ulp(values.astype(np.float64), dtype_of(name)), expected)


def test_every_number_of_half_precision_is_tried() -> None:
    for name in ("float16", "bfloat16"):
        values = np.arange(1 << 15, dtype=np.uint16).view(dtype_of(name))
        with np.errstate(invalid="ignore"):  # ml_dtypes warns of NaN
            values = values[np.isfinite(values)][1:-1]
        assert np.array_equal(ulp(values.astype(np.float64), dtype_of(name)), spacing(values))


@pytest.mark.parametrize("name", DTYPES)
def test_ulp_of_zero_is_the_smallest_subnormal_number(name: str) -> None:
    smallest = float(spacing(np.zeros(1, dtype_of(name)))[0])
    assert smallest == float(ml_dtypes.finfo(dtype_of(name)).smallest_subnormal)
    assert float(ulp(np.asarray(0.0), dtype_of(name))) == smallest


def test_ulp_between_two_numbers_is_their_distance() -> None:
    assert float(ulp(np.asarray(1 + 2.0**-30), np.dtype(np.float32))) == 2.0**-23
    assert float(ulp(np.asarray(1 - 2.0**-30), np.dtype(np.float32))) == 2.0**-24
    assert float(ulp(np.asarray(-3.0), np.dtype(np.float16))) == 2.0**-9


def test_the_coarser_dtype_rounds_more() -> None:
    order = [dtype_of(name) for name in ("float64", "float32", "float16", "bfloat16")]
    for i, finer in enumerate(order):
        for rougher in order[i:]:
            assert coarser(finer, rougher) == rougher
            assert coarser(rougher, finer) == rougher


# make_input


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(3, 4, 9, 9), (2, 5, 6, 7, 3), (0, 3, 4, 4), (200, 10, 20, 20)])
def test_make_input_has_no_zeros_and_is_ordinary(name: str, shape: tuple[int, ...]) -> None:
    x = make_input(shape, name, 7)
    assert (x.shape, x.dtype) == (shape, dtype_of(name))
    wide = np.abs(x.astype(np.float64))
    assert np.array_equal(wide.astype(x.dtype).astype(np.float64), wide)
    assert ((wide >= 0.5) & (wide <= 2)).all()
    assert not np.equal(x, 0).any()
    if x.size > 1000:
        assert 0.4 < float(np.mean(x.astype(np.float64) > 0)) < 0.6  # fixed seed: no chance


@pytest.mark.parametrize("name", DTYPES)
def test_make_input_repeats_for_a_seed_and_not_for_another(name: str) -> None:
    shape = (2, 3, 5, 5)
    assert np.array_equal(make_input(shape, name, 1), make_input(shape, name, 1))
    assert not np.array_equal(make_input(shape, name, 1), make_input(shape, name, 2))
    first, second = make_input(shape, name, 1), make_input(shape, name, 1)
    first[...] = 1
    assert not np.array_equal(first, second)


def test_make_input_uses_every_bit_of_the_mantissa() -> None:
    for name, bits in (("float16", 10), ("bfloat16", 7), ("float32", 23), ("float64", 52)):
        x = make_input((40, 5, 8, 8), name, 0)
        unsigned = x.view(np.dtype(f"u{x.dtype.itemsize}"))
        used = np.bitwise_or.reduce(unsigned, axis=None) & ~np.bitwise_and.reduce(unsigned, axis=None)
        assert int(used) & ((1 << bits) - 1) == (1 << bits) - 1, name


def test_make_input_does_not_touch_numpys_global_stream() -> None:
    np.random.seed(3)  # noqa: NPY002  (the hidden state that must stay as it is)
    before = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    make_input((2, 2, 4, 4), "float32", 0)
    assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002


def test_find_dtype_names_what_bfloat16_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_dtype("bfloat16") == np.dtype(ml_dtypes.bfloat16)
    assert find_dtype("float16") == np.float16
    monkeypatch.setitem(__import__("sys").modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match=r"bfloat16.*pip install ml_dtypes"):
        find_dtype("bfloat16")


# read_dropped


@pytest.mark.parametrize("name", DTYPES)
def test_zeros_of_either_sign_are_dropped_cells(name: str) -> None:
    y = np.array([0.0, -0.0, 1.0, -2.0, np.inf, np.nan]).astype(dtype_of(name))
    assert read_dropped(y).tolist() == [True, True, False, False, False, False]
    assert read_dropped(y).dtype == np.bool_


@pytest.mark.parametrize("name", DTYPES)
def test_only_nan_means_that_everything_is_dropped(name: str) -> None:
    assert read_dropped(np.full((1, 1, 2, 2), np.nan).astype(dtype_of(name))).all()
    some = np.array([[np.nan, 1.0]]).astype(dtype_of(name))
    assert not read_dropped(some).any()
    assert read_dropped(np.zeros((0, 3, 2, 2), dtype=dtype_of(name))).shape == (0, 3, 2, 2)


# find_problems


def given(
    shape: tuple[int, ...] = (3, 2, 9, 9), name: str = "float32", convention: Convention = PAPER, seed: int = 1
) -> tuple[Array, Array]:
    """x and its mask times scale as the reference draws it: some cells dropped and some kept in every map."""
    x = make_input(shape, name, 0)
    mask = trace(x, 0.4, 3, rng=seed, convention=convention).keep_mask
    kept = mask.reshape(*mask.shape[:2], -1).sum(axis=-1)
    assert ((kept > 0) & (kept < mask[0, 0].size)).all()
    assert len(set(kept.ravel().tolist())) > 1
    return x, mask


def problems(x: Array, y: Any, convention: Convention = PAPER, **more: Any) -> list[tuple[str, str]]:
    found = find_problems(x, y, 3, "channels_first", convention, **more)
    return [(problem.check, problem.text) for problem in found]


def only_problem(x: Array, y: Any, convention: Convention = PAPER, **more: Any) -> tuple[str, str]:
    (problem,) = problems(x, y, convention, **more)
    return problem


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("convention", [PAPER, PER_SAMPLE, PER_MAP, UNSCALED, CONVENTIONS["timm"], CONVENTIONS["tpu"]])
def test_a_right_output_has_no_problem(convention: Convention, name: str) -> None:
    x = make_input((3, 2, 9, 9), name, 0)
    stages = trace(x, 0.4, 3, rng=1, convention=convention)
    assert problems(x, stages.output, convention) == []
    assert problems(x, stages.output, convention, seeds=stages.seeds, drop_prob=0.4) == []


@pytest.mark.parametrize("y", [None, 1.0, "abc", [[1.0]], (1.0,)])
def test_what_is_no_array_is_said_to_be_none(y: object) -> None:
    x, _ = given()
    check, text = only_problem(x, y)
    assert check == "shape_and_dtype"
    assert f"must be a NumPy array, and is a {type(y).__name__}" in text


def test_a_wrong_shape_is_the_only_problem() -> None:
    x, _ = given()
    check, text = only_problem(x, x[:2])
    assert check == "shape_and_dtype"
    assert "(2, 2, 9, 9)" in text
    assert "(3, 2, 9, 9)" in text


def test_a_wrong_dtype_is_the_only_problem_where_the_values_are_right() -> None:
    x, _ = given()
    y = drop_block(x, 0.4, 3, rng=1)
    for dtype in (np.float16, ml_dtypes.bfloat16, np.float64):
        check, text = only_problem(x, y.astype(dtype))
        assert check == "shape_and_dtype"
        assert str(np.dtype(dtype)) in text
        assert "float32" in text


def test_a_wrong_dtype_hides_no_wrong_mask() -> None:
    x, _ = given()
    y = drop_block(x, 0.4, 3, rng=1).astype(np.float64)
    kept = np.argwhere(y[0, 0] != 0)[0]
    y[0, 0, kept[0], kept[1]] = 0
    assert [check for check, _ in problems(x, y)] == ["shape_and_dtype", "legal_blocks"]


@pytest.mark.parametrize("dtype", ["object", "complex64", "int32", "bool", "U8", "S8", "datetime64[s]", "longdouble"])
def test_an_output_of_any_other_dtype_is_a_problem_and_no_exception(dtype: str) -> None:
    x, _ = given()
    y = drop_block(x, 0.4, 3, rng=1)
    strange = np.zeros(y.shape, dtype) if dtype.startswith("datetime") else y.astype(dtype)
    found = problems(x, strange)
    assert found[0][0] == "shape_and_dtype"
    assert str(strange.dtype) in found[0][1]


def test_an_empty_output_has_only_a_shape_and_a_dtype() -> None:
    x = make_input((0, 3, 5, 5), "float32", 0)
    assert problems(x, x.copy()) == []
    assert [check for check, _ in problems(x, x.astype(np.float64))] == ["shape_and_dtype"]


def test_channels_that_must_share_a_mask_and_do_not_are_located() -> None:
    x = make_input((2, 3, 9, 9), "float32", 0)
    rules = CONVENTIONS["timm"]
    y = drop_block(x, 0.3, 3, rng=1, convention=rules)
    place = tuple(np.argwhere(y[1, 0] != 0)[0])
    y[(1, 2, *place)] = 0
    (check, text), (other, _) = problems(x, y, rules)
    assert (check, other) == ("channel_sharing", "legal_blocks")  # blocks are judged with the masks that there are
    assert f"in sample 1 channel 2 differs from channel 0, first at cell {tuple(map(int, place))}" in text
    assert re.search(r"(\n[.#]{9}){9}$", text)


def test_a_cell_in_no_legal_block_is_located_and_marked() -> None:
    x = make_input((2, 2, 9, 9), "float32", 0)
    mask = np.ones(x.shape, dtype=np.bool_)
    mask[1, 0, 2:5, 3:6] = False
    mask[1, 1, 7, 4] = False
    y = x * mask * np.float32(mask.size / mask.sum())
    check, text = only_problem(x, y)
    assert check == "legal_blocks"
    assert "1 of 324 cells differ, the first in sample 1, channel 1, cell (7, 4)" in text
    rows = [row for row in text.splitlines() if re.fullmatch(r"[.#xo]{9}", row)]
    assert rows == ["." * 9] * 7 + ["....x....", "." * 9]


def test_with_known_seeds_missing_and_surplus_cells_are_marked() -> None:
    x = make_input((1, 1, 9, 9), "float32", 0)
    seeds = np.zeros(x.shape, dtype=np.bool_)
    seeds[0, 0, 2, 2] = True
    mask = np.ones(x.shape, dtype=np.bool_)
    mask[0, 0, 1:4, 2:5] = False  # one column too far to the right
    y = x * mask * np.float32(81 / 72)
    check, text = only_problem(x, y, seeds=seeds)
    assert check == "replayed_mask"
    assert "6 of 81 cells" in text
    rows = [row for row in text.splitlines() if re.fullmatch(r"[.#xoS]{9}", row)]
    assert rows == ["." * 9, ".o##x....", ".oS#x....", ".o##x....", *["." * 9] * 5]
    assert problems(x, y) == []  # legal, if the seeds are not known


def test_seeds_that_are_not_eligible_are_a_problem_of_the_seeds() -> None:
    x, _ = given()
    seeds = np.zeros(x.shape, dtype=np.bool_)
    seeds[0, 0, 0, 0] = True
    check, text = only_problem(x, drop_block(x, 0.4, 3, rng=1), seeds=seeds)
    assert check == "replayed_mask"
    assert "the drawn seeds are not legal" in text
    assert "(0, 0, 0, 0)" in text


Mistake = tuple[str, Convention, Callable[[Array], Any]]
BATCH_RATIO: Callable[[Array], Any] = lambda mask: mask.size / mask.sum()  # noqa: E731
MISTAKES: tuple[Mistake, ...] = (
    ("no scale at all", PAPER, lambda _: 1.0),
    ("1 / keep_prob", PAPER, lambda _: 1 / 0.6),
    ("kept cells counted over the whole batch", PER_SAMPLE, BATCH_RATIO),
    (
        "kept cells counted in this sample only",
        PAPER,
        lambda mask: mask[0].size / mask.sum(axis=(1, 2, 3), keepdims=True),
    ),
    ("kept cells counted in this map only", PAPER, lambda mask: mask[0, 0].size / mask.sum(axis=(2, 3), keepdims=True)),
    ("the scale's inverse", PAPER, lambda mask: mask.sum() / mask.size),
    ("the scale's square", PAPER, lambda mask: BATCH_RATIO(mask) ** 2),
    ("the scale's square root", PAPER, lambda mask: BATCH_RATIO(mask) ** 0.5),
)


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize(("words", "convention", "factor"), MISTAKES, ids=[words for words, _, _ in MISTAKES])
def test_a_common_wrong_scale_is_named(
    words: str, convention: Convention, factor: Callable[[Array], Any], name: str
) -> None:
    x, mask = given(name=name, convention=convention)
    y = (x.astype(np.float64) * mask * factor(mask)).astype(x.dtype)
    check, text = only_problem(x, y, convention, drop_prob=0.4)
    assert check == "scale"
    assert f", which is {words} (" in text, text
    assert "count(M) / count_ones(M) = " in text


def test_counting_the_batch_under_a_convention_of_maps_is_named() -> None:
    x, mask = given(convention=PER_MAP)
    y = x * mask * np.float32(BATCH_RATIO(mask))
    check, text = only_problem(x, y, PER_MAP)
    assert check == "scale"
    assert "counted over the whole batch" in text


def test_a_wrong_scale_of_no_known_kind_is_stated_in_numbers() -> None:
    x, mask = given()
    y = x * mask * np.float32(1.75)
    check, text = only_problem(x, y, drop_prob=0.4)
    assert check == "scale"
    assert "multiplied by 1.75 (" in text
    assert f"= {mask.size / int(mask.sum()):.7g}, but" in text


def test_a_scale_wrong_in_one_sample_only_is_located() -> None:
    x, mask = given()
    y = x * mask * np.float32(BATCH_RATIO(mask))
    y[2] *= np.float32(1.01)
    check, text = only_problem(x, y)
    assert check == "scale"
    assert "in sample 2, channel 0 they are multiplied" in text
    assert f"{int(mask[2].sum())} of {int(mask.sum())} kept cells are wrong" in text


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("units", [20, -20, 40])
def test_one_wrong_value_is_located(name: str, units: int) -> None:
    x, mask = given(name=name)
    exact = x.astype(np.float64) * mask * BATCH_RATIO(mask)
    y = exact.astype(x.dtype)
    place = (1, 1, *map(int, np.argwhere(mask[1, 1])[5]))
    there = y[place].astype(np.float64)
    unit = float(spacing(np.asarray(y[place]).reshape(1))[0])
    y[place] = (there + np.sign(there) * units * unit).astype(x.dtype)
    check, text = only_problem(x, y)
    assert check == "values"
    assert (
        f"1 of {int(mask.sum())} kept cells differ by more, the first in sample 1, channel 1, cell {place[2:]}" in text
    )
    stated = re.search(r"expected (\S+), seen (\S+) \(", text)
    assert stated is not None
    expected, seen = map(float, stated.groups())
    assert expected == pytest.approx(exact[place], rel=1e-6)
    assert seen - expected == pytest.approx(float(y[place]) - exact[place], rel=0.5)
    assert text.count("!") == 2  # in the picture, and in its legend


@pytest.mark.parametrize("units", [6, -6])
def test_one_value_a_little_off_is_not_called_a_wrong_scale(units: int) -> None:
    x, mask = given()
    y = (x.astype(np.float64) * mask * BATCH_RATIO(mask)).astype(x.dtype)
    place = (1, 1, *map(int, np.argwhere(mask[1, 1])[5]))
    y[place] += np.float32(np.sign(y[place]) * units * spacing(np.asarray(y[place]).reshape(1))[0])
    check, text = only_problem(x, y)
    assert check == "values", text


@pytest.mark.parametrize("name", DTYPES)
def test_values_within_four_units_are_right(name: str) -> None:
    x, mask = given(name=name)
    y = (x.astype(np.float64) * mask * BATCH_RATIO(mask)).astype(x.dtype)
    unit = np.where(mask, spacing(y.ravel()).reshape(y.shape), 0.0)
    near = (y.astype(np.float64) + 2 * np.sign(y.astype(np.float64)) * unit).astype(x.dtype)
    assert problems(x, near) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_kept_cell_that_is_not_finite_is_a_wrong_value(value: float) -> None:
    x, mask = given()
    y = x * mask * np.float32(BATCH_RATIO(mask))
    place = (0, 1, *map(int, np.argwhere(mask[0, 1])[3]))
    y[place] = value
    check, text = only_problem(x, y)
    assert check == "values"
    assert f"cell {place[2:]}" in text
    assert f"seen {value:.9g}" in text


@pytest.mark.parametrize("value", [0.0, np.nan])
@pytest.mark.parametrize("convention", [PAPER, CONVENTIONS["tpu"], UNSCALED, PER_SAMPLE], ids=lambda rules: rules.name)
def test_where_all_is_dropped_nan_is_right_only_where_the_convention_divides(
    convention: Convention, value: float
) -> None:
    x = make_input((2, 2, 3, 3), "float32", 0)
    found = problems(x, np.full_like(x, value), convention)
    if value == 0 or convention.all_dropped == "nan":
        assert found == []
    elif convention is not UNSCALED:  # see below
        ((check, text),) = found
        assert check == "values"
        assert "NaN" in text
        assert "expected zeros" in text


def test_where_all_is_dropped_nan_is_wrong_without_a_scale() -> None:
    """Without a scale nothing is divided, and all_dropped has no effect: the product with 0 is 0."""
    rules = replace(UNSCALED, name="unscaled_nan", all_dropped="nan")
    x = make_input((2, 2, 3, 3), "float32", 0)
    assert not drop_block(x, 1.0, 3, rng=0, convention=rules).any()
    for convention in (rules, UNSCALED):
        assert [check for check, _ in problems(x, np.full_like(x, np.nan), convention)] == ["values"]


@pytest.mark.parametrize("scale_over", ["sample", "channel"])
def test_nan_in_the_samples_or_maps_that_drop_everything_is_right_where_the_convention_divides(scale_over: str) -> None:
    """The other samples or maps keep cells, so that not the whole tensor is NaN."""
    rules = replace(PAPER, name="counted_apart", scale_over=scale_over, all_dropped="nan")
    x = make_input((4, 3, 5, 5), "float32", 0)
    seeds = np.zeros(x.shape, dtype=np.bool_)
    seeds[1, :, 2, 2] = True
    y = drop_block(x, 0.3, 5, seeds=seeds, convention=rules)
    assert np.isnan(y[1]).all()
    assert not np.isnan(np.delete(y, 1, axis=0)).any()
    assert find_problems(x, y, 5, "channels_first", rules) == []
    assert find_problems(x, y, 5, "channels_first", rules, seeds=seeds) == []


def test_channels_last_and_volumes_are_located_in_their_own_axes() -> None:
    x = make_input((2, 5, 6, 7, 3), "float32", 0)
    mask = np.ones(x.shape, dtype=np.bool_)
    mask[1, 4, 2, 6, 2] = False
    y = x * mask
    problem = find_problems(x, y, 3, "channels_last", PAPER)[0]
    assert problem.check == "legal_blocks"
    assert "sample 1, channel 2, cell (4, 2, 6)" in problem.text
    assert "slice 4 of 5 in depth" in problem.text


# Where the mask is wrong, the scale and the values are judged all the same


def test_a_wrong_mask_with_either_count_is_wrong_in_nothing_else() -> None:
    """One more cell is dropped than is legal; the backend may have counted it, or not."""
    x, mask = given()
    wrong = mask.copy()
    wrong[(0, 0, *np.argwhere(mask[0, 0])[0])] = False
    for counted in (mask, wrong):
        y = (x * wrong * (counted.size / counted.sum())).astype(x.dtype)
        assert [check for check, _ in problems(x, y)] in ([], ["legal_blocks"])
    assert "scale" in [check for check, _ in problems(x, (x * wrong * 2.5).astype(x.dtype))]


def test_with_masks_that_should_be_shared_and_are_not_any_count_is_right() -> None:
    rules = CONVENTIONS["timm"]
    x, mask = given((3, 4, 9, 9))
    for counted in (mask, mask[:, :1]):
        y = (x * mask * (counted.size / counted.sum())).astype(x.dtype)
        assert [check for check, _ in problems(x, y, rules)] == ["channel_sharing"]
    found = problems(x, (x * mask * 7).astype(x.dtype), rules)
    assert [check for check, _ in found] == ["channel_sharing", "scale"]


def test_a_cell_that_is_minus_one_is_a_wrong_value() -> None:
    x, mask = given()
    y = (x * mask * (mask.size / mask.sum())).astype(x.dtype)
    y[0, 0][~mask[0, 0]] = -x[0, 0][~mask[0, 0]]
    assert "values" in [check for check, _ in problems(x, y)]


@pytest.mark.parametrize(
    ("epsilon", "words"),
    [(1e-6, r"count\(M\) / \(count_ones\(M\) \+ 1e-06\)"), (1.0, r"count\(M\) / \(count_ones\(M\) \+ 1\)")],
)
@pytest.mark.parametrize("convention", [PAPER, PER_SAMPLE, PER_MAP], ids=lambda rules: rules.name)
def test_an_epsilon_is_named(convention: Convention, epsilon: float, words: str) -> None:
    x, mask = given(name="float64", convention=convention)
    axes = {"batch": None, "sample": (1, 2, 3), "channel": (2, 3)}[convention.scale_over]
    ones = mask.sum(axis=axes, keepdims=True)
    y = x * mask * (mask.size // ones.size / (ones + epsilon))
    check, text = only_problem(x, y, convention)
    assert check == "scale"
    assert re.search(f"which is {words}", text), text


def test_a_scale_in_float32_of_a_float64_layer_is_named() -> None:
    x, mask = given(name="float64")
    check, text = only_problem(x, x * mask * float(np.float32(mask.size / mask.sum())))
    assert check == "scale"
    assert "the right scale to the precision of float32" in text


def test_two_numbers_are_told_apart() -> None:
    for a, b in ((1.786765, 1.7867651), (1.0, 1 + 2.0**-52), (2.0, 3.0), (1e-30, 2e-30), (1.5, np.inf)):
        first, second = tell_apart(a, b)
        assert first != second
    assert tell_apart(2.0, 3.0) == ("2", "3")
