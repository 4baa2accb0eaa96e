"""Bad arguments: a TypeError or ValueError that names the argument and what was given, and never anything else."""

from __future__ import annotations

import itertools
import sys
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dropblock_ref
from dropblock_ref import Convention, Trace, theory
from dropblock_ref import arguments as checks

from .examples import examples

TRACE = dropblock_ref.trace(np.ones((2, 3, 5, 6)), 0.3, 3, rng=0)
SEEDS = np.zeros((2, 3, 5, 6), dtype=np.bool_)
# Arguments that every function accepts, with the kind of each; a test replaces one of them.
_COMMON = {"data_format": "channels_first", "convention": "paper"}
_WHOLE = {"x": np.ones((2, 3, 5, 6)), "drop_prob": 0.3, "block_size": 3, "training": True, **_COMMON}
GOOD: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "gamma": {"drop_prob": 0.3, "block_size": 3, "spatial_shape": (5, 6), "convention": "paper"},
        "valid_seeds": {"block_size": 3, "spatial_shape": (5, 6), "convention": "paper"},
        "sample_seeds": {"gamma": 0.3, "block_size": 3, "shape": (2, 3, 5, 6), "rng": 0, **_COMMON},
        "keep_mask": {"seeds": SEEDS, "block_size": 3, **_COMMON},
        "recover_seeds": {"keep_mask": ~SEEDS, "block_size": 3, **_COMMON},
        "scale": {"keep_mask": ~SEEDS, **_COMMON},
        "drop_block": {"rng": 0, **_WHOLE},
        "trace": {"seeds": SEEDS, **_WHOLE},
        "vjp": {"cotangent": np.ones((2, 3, 5, 6)), "trace": TRACE},
        "linear_schedule": {"step": 2, "start": 0.0, "stop": 0.25, "steps": 5},
        "Convention": {
            "name": "own",
            "source": "here",
            "gamma_rule": "border_corrected",
            "seed_region": "fitting",
            "even_extra_cell": "before",
            "oversize_block": "refused",
            "shared_channels": False,
            "scale_over": "batch",
            "epsilon": 0.0,
            "all_dropped": "zeros",
        },
    }
)


class RequiresGrad:
    """A tensor that requires grad, as torch has it: its conversion raises a RuntimeError."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")


def _raise(*_: Any, **__: Any) -> NoReturn:
    raise ZeroDivisionError("a trap")


class TextlessError(Exception):
    __str__ = _raise
    __repr__ = _raise


class RaisesTextlessError:
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise TextlessError


@dataclass(frozen=True)
class Bad:
    """A value, the error that it deserves, and what the message must show of it."""

    value: Any
    error: type[Exception]
    shows: str


def zeros(*shape: int, dtype: Any = np.float64) -> Any:
    return np.zeros(shape, dtype=dtype)


PROBABILITY = [
    Bad(True, TypeError, "True of type bool"),
    Bad(np.bool_(True), TypeError, "True"),
    Bad("0.1", TypeError, "'0.1' of type str"),
    Bad(b"1", TypeError, "b'1'"),
    Bad(None, TypeError, "None"),
    Bad(1j, TypeError, "1j"),
    Bad([0.1], TypeError, "[0.1]"),
    Bad(zeros(1), TypeError, "shape (1,)"),
    Bad(zeros(1, 1), TypeError, "shape (1, 1)"),
    Bad(zeros(dtype=np.bool_), TypeError, "False, of dtype bool"),
    Bad(zeros(dtype=np.complex64), TypeError, "0j, of dtype complex64"),
    Bad(zeros(dtype="m8[ns]"), TypeError, "timedelta64"),
    Bad(zeros(dtype="M8[ns]"), TypeError, "datetime64"),
    Bad(zeros(dtype=object), TypeError, "0, of dtype object"),
    Bad(np.array("0.1"), TypeError, "0.1, of dtype <U3"),
    Bad(np.array(float("nan")), ValueError, "nan, of dtype float64"),
    Bad(np.ma.masked_array(0.1), TypeError, "masked array"),
    Bad(Decimal("0.1"), TypeError, "Decimal('0.1')"),
    Bad(np.timedelta64(1, "ns"), TypeError, "timedelta64"),
    Bad(float("nan"), ValueError, "nan"),
    Bad(np.float32("nan"), ValueError, "nan"),
    Bad(float("inf"), ValueError, "inf"),
    Bad(-1e-9, ValueError, "-1e-09"),
    Bad(1.0000001, ValueError, "1.0000001"),
    Bad(2, ValueError, "2"),
    Bad(Fraction(3, 2), ValueError, "Fraction(3, 2)"),
    Bad(10**400, ValueError, "10000"),
    Bad(-(10**400), ValueError, "-10000"),
    Bad(Fraction(10**400), ValueError, "Fraction"),
    Bad(10**5000, ValueError, "int"),
]
INTEGER = [
    Bad(True, TypeError, "True"),
    Bad(3.0, TypeError, "3.0"),
    Bad(np.float32(3), TypeError, "3.0"),
    Bad(np.array(3.0), TypeError, "3.0, of dtype float64"),
    Bad(np.array(True), TypeError, "True, of dtype bool"),
    Bad(np.array(3, dtype="m8[ns]"), TypeError, "timedelta64"),
    Bad(np.array(-1), ValueError, "-1, of dtype int64"),
    Bad(np.array(2**63, dtype=np.uint64), ValueError, "9223372036854775808, of dtype uint64"),
    Bad("3", TypeError, "'3'"),
    Bad(None, TypeError, "None"),
    Bad(3j, TypeError, "3j"),
    Bad(float("nan"), TypeError, "nan"),
    Bad(Fraction(3), TypeError, "Fraction(3, 1)"),
    Bad(np.timedelta64(3, "ns"), TypeError, "timedelta64"),
    Bad(np.timedelta64(3, "D"), TypeError, "timedelta64"),
    Bad(-1, ValueError, "-1"),
    Bad(10**400, ValueError, "10000"),
    Bad(10**5000, ValueError, "int"),
]
BLOCK_SIZE = [
    *INTEGER,
    Bad(0, ValueError, "0"),
    Bad((3,), ValueError, "(3,)"),
    Bad((3, 3, 3), ValueError, "(3, 3, 3)"),
    Bad((), ValueError, "()"),
    Bad(np.array([3]), ValueError, "shape (1,)"),
    Bad((3, np.array([3])), TypeError, "shape (1,)"),
    Bad((3, np.array(3.0)), TypeError, "3.0, of dtype float64"),
    Bad((3, 0), ValueError, "0"),
    Bad((3, 3.0), TypeError, "3.0"),
    Bad([3, True], TypeError, "True"),
    Bad([[3, 3], [3, 3]], TypeError, "[3, 3]"),
    Bad(zeros(), TypeError, "0.0, of dtype float64"),
    Bad(zeros(2), TypeError, "0.0"),
    Bad("33", TypeError, "'33'"),
    Bad(b"\3\3", TypeError, "of type bytes"),
    Bad(bytearray(b"\3\3"), TypeError, "of type bytearray"),
    Bad({3, 5}, TypeError, "{3, 5}"),
    Bad({3: 0, 5: 0}, TypeError, "{3: 0, 5: 0}"),
    Bad((side for side in (3, 3)), TypeError, "generator"),
    Bad((7, 3), ValueError, "(7, 3)"),
    Bad(6, ValueError, "6"),
]
SPATIAL_SHAPE = [
    Bad(5, TypeError, "5 of type int"),
    Bad(None, TypeError, "None"),
    Bad("56", TypeError, "'56'"),
    Bad((5,), ValueError, "(5,)"),
    Bad((1, 3, 5, 6), ValueError, "(1, 3, 5, 6)"),
    Bad((5, 0), ValueError, "0"),
    Bad((5, -6), ValueError, "-6"),
    Bad((5, 6.0), TypeError, "6.0"),
    Bad((5, True), TypeError, "True"),
    Bad((5, None), TypeError, "None"),
    Bad((5, 10**400), ValueError, "10000"),
    Bad({5, 6}, TypeError, "{5, 6}"),
    Bad({5: 0, 6: 0}, TypeError, "{5: 0, 6: 0}"),
    Bad((side for side in (5, 6)), TypeError, "generator"),
]
SHAPE = [
    Bad(5, TypeError, "5 of type int"),
    Bad(None, TypeError, "None"),
    Bad("2356", TypeError, "'2356'"),
    Bad((3, 5, 6), ValueError, "(3, 5, 6)"),
    Bad((5, 6), ValueError, "(5, 6)"),
    Bad((2, 3, 5, 6, 7, 8), ValueError, "(2, 3, 5, 6, 7, 8)"),
    Bad((2, 3, 0, 6), ValueError, "(2, 3, 0, 6)"),
    Bad((-2, 3, 5, 6), ValueError, "-2"),
    Bad((2, 3, 5, 6.0), TypeError, "6.0"),
    Bad((2, 3, 5, "6"), TypeError, "'6'"),
    Bad({2, 3, 5, 6}, TypeError, "{2, 3, 5, 6}"),
    Bad((2**31 - 1,) * 4, ValueError, f"cells, got {(2**31 - 1) ** 4}"),
    Bad((0, *[2**31 - 1] * 4), ValueError, f"cells, got {(2**31 - 1) ** 4}"),
    Bad((1, 1, 2**30, 2**30), ValueError, f"cells, got {2**60}"),
]
RNG = [
    Bad(-1, ValueError, "-1"),
    Bad(-(10**5000), ValueError, "int"),
    Bad(1.0, TypeError, "1.0 of type float"),
    Bad(True, TypeError, "True of type bool"),
    Bad("0", TypeError, "'0'"),
    Bad([0], TypeError, "[0]"),
    Bad(np.random, TypeError, "module"),
    Bad(np.random.RandomState(0), TypeError, "RandomState"),
    Bad(np.timedelta64(3, "ns"), TypeError, "timedelta64"),
]
DATA_FORMAT = [
    Bad("channels_middle", ValueError, "'channels_middle'"),
    Bad("nchw", ValueError, "'nchw'"),
    Bad("", ValueError, "''"),
    Bad("NCDHW", ValueError, "'NCDHW' is for 5 dimensions"),
    Bad("NDHWC", ValueError, "'NDHWC' is for 5 dimensions"),
    Bad(None, TypeError, "None"),
    Bad(b"NCHW", TypeError, "b'NCHW'"),
    Bad(1, TypeError, "1 of type int"),
    Bad(["NCHW"], TypeError, "['NCHW']"),
]
CONVENTION = [
    Bad("ghiasi", ValueError, "'ghiasi'"),
    Bad("Paper", ValueError, "'Paper'"),
    Bad(None, TypeError, "None"),
    Bad(0, TypeError, "0 of type int"),
    Bad(["paper"], TypeError, "['paper']"),
    Bad(Convention, TypeError, "type"),
    Bad({"name": "paper"}, TypeError, "{'name': 'paper'}"),
]
TRAINING = [
    *(Bad(value, TypeError, repr(value)) for value in (0, 1, None, "False", 1.0, [True])),
    Bad(np.array(1), TypeError, "1, of dtype int64"),
    Bad(np.array(0.0), TypeError, "0.0, of dtype float64"),
    Bad(np.array([True]), TypeError, "shape (1,)"),
]
UNCONVERTED = [
    Bad(None, TypeError, "None"),
    Bad("x", TypeError, "x"),
    Bad([[1.0], [1.0, 2.0]], TypeError, "[[1.0], [1.0, 2.0]]"),
    Bad({}, TypeError, "{}"),
    Bad(bytearray(2), TypeError, "bytearray"),
    Bad(RequiresGrad(), TypeError, "requires grad"),
    Bad([RequiresGrad()], TypeError, "[0] must be"),
    Bad(np.ma.masked_array(zeros(2, 3, 5, 6), True), TypeError, "masked array"),
    Bad([np.ma.masked_array(zeros(3, 5, 6), True)], TypeError, "masked array"),
    Bad(zeros(2, 3, 5, 6, dtype=np.int64), TypeError, "int64"),
    Bad(zeros(2, 3, 5, 6, dtype=np.complex64), TypeError, "complex64"),
    Bad(zeros(2, 3, 5, 6, dtype=object), TypeError, "object"),
    Bad(zeros(2, 3, 5, 6, dtype="m8[s]"), TypeError, "timedelta64"),
    Bad(zeros(2, 3, 5, 6, dtype=[("a", "f4")]), TypeError, "'a'"),
]
FLOATING = [
    *UNCONVERTED,
    Bad(SEEDS, TypeError, "bool"),
    Bad([[[[0.5, True]]]], TypeError, "True or False among numbers"),
    Bad(zeros(2, 3, 5, 6, dtype=np.longdouble), TypeError, str(np.dtype(np.longdouble))),
]
X = [
    *FLOATING,
    Bad(zeros(3, 5, 6), ValueError, "x[None]"),
    Bad(zeros(5, 6), ValueError, "(5, 6)"),
    Bad(1.0, ValueError, "got 0: shape ()"),
    Bad(zeros(1, 1, 1, 2, 3, 3), ValueError, "(1, 1, 1, 2, 3, 3)"),
    Bad(zeros(2, 3, 0, 6), ValueError, "(2, 3, 0, 6)"),
]
MASK = [
    *UNCONVERTED,
    Bad(zeros(2, 3, 5, 6), TypeError, "float64"),
    Bad(zeros(2, 3, 5, 6, dtype=np.uint8), TypeError, "uint8"),
    Bad(zeros(3, 5, 6, dtype=np.bool_), ValueError, "(3, 5, 6)"),
    Bad(True, ValueError, "()"),
    Bad(zeros(2, 3, 5, 0, dtype=np.bool_), ValueError, "(2, 3, 5, 0)"),
]
COTANGENT = [
    *FLOATING,
    Bad(zeros(3, 5, 6), ValueError, "(3, 5, 6)"),
    Bad(zeros(2, 3, 6, 5), ValueError, "(2, 3, 6, 5)"),
]
TRACES = [Bad(None, TypeError, "None"), Bad((0.1, 2), TypeError, "(0.1, 2)"), Bad(Trace, TypeError, "type")]
STEP = [
    *(bad for bad in INTEGER),
    Bad([0, -1], ValueError, "-1"),
    Bad([0.0, 1.0], TypeError, "float64"),
    Bad([True, False], TypeError, "bool"),
    Bad([True, 3], TypeError, "True or False among numbers"),
    Bad([[0, 1], (np.bool_(False), 3)], TypeError, "True or False among numbers"),
    Bad([np.array(True), 3], TypeError, "True or False among numbers"),
    Bad([np.ma.masked_array(1, True), 3], TypeError, "masked array"),
    Bad(b"12", TypeError, "b'12'"),
    Bad(bytearray(b"12"), TypeError, "bytearray"),
    Bad(["1"], TypeError, "<U1"),
    Bad([[1], [1, 2]], TypeError, "[[1], [1, 2]]"),
    Bad(np.datetime64(1, "ns"), TypeError, "datetime64"),
    Bad(RequiresGrad(), TypeError, "requires grad"),
]
STEPS = [*INTEGER, Bad(0, ValueError, "0"), Bad([5], TypeError, "[5]")]

ROWS: dict[str, list[Bad]] = {
    "drop_prob": PROBABILITY,
    "gamma": PROBABILITY,
    "start": PROBABILITY,
    "stop": PROBABILITY,
    "block_size": BLOCK_SIZE,
    "spatial_shape": SPATIAL_SHAPE,
    "shape": SHAPE,
    "rng": RNG,
    "data_format": DATA_FORMAT,
    "convention": CONVENTION,
    "training": TRAINING,
    "x": X,
    "seeds": MASK,
    "keep_mask": MASK,
    "cotangent": COTANGENT,
    "trace": TRACES,
    "step": STEP,
    "steps": STEPS,
}
TABLE = [
    pytest.param(function, argument, bad, id=f"{function}-{argument}-{number}")
    for function, arguments in GOOD.items()
    if function != "Convention"  # has its own table, in test_convention.py
    for argument in arguments
    for number, bad in enumerate(ROWS[argument])
    if not (function == "trace" and argument == "seeds" and bad.value is None)  # there it means not given
]


def called(function: str, **changes: Any) -> Any:
    return getattr(dropblock_ref, function)(**{**GOOD[function], **changes})


@pytest.mark.parametrize("function", GOOD)
def test_the_good_arguments_are_good(function: str) -> None:
    assert called(function) is not None


@pytest.mark.parametrize(("function", "argument", "bad"), TABLE)
def test_a_bad_argument_is_refused_with_its_name_and_value(function: str, argument: str, bad: Bad) -> None:
    with pytest.raises(bad.error) as caught:
        called(function, **{argument: bad.value})
    message = str(caught.value)
    assert argument in message
    assert bad.shows in message


@pytest.mark.parametrize("function", ["drop_block", "trace"])
def test_both_or_neither_of_rng_and_seeds_is_refused(function: str) -> None:
    with pytest.raises(ValueError, match=r"exactly one of rng and seeds must be given .* got both"):
        called(function, rng=0, seeds=SEEDS)
    with pytest.raises(ValueError, match=r"exactly one of rng and seeds must be given .* got neither"):
        called(function, rng=None, seeds=None)


@pytest.mark.parametrize("function", ["drop_block", "trace"])
@pytest.mark.parametrize("shape", [(2, 1, 5, 6), (2, 3, 6, 5), (1, 3, 5, 6), (3, 5, 6), (2, 3, 5, 6, 1)])
def test_seeds_of_another_shape_than_the_convention_samples_are_refused(function: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"seeds must have shape \(2, 3, 5, 6\)") as caught:
        called(function, rng=None, seeds=np.zeros(shape, dtype=np.bool_))
    assert str(shape) in str(caught.value)
    with pytest.raises(ValueError, match=r"seeds must have shape \(2, 1, 5, 6\), which convention 'timm' samples"):
        called(function, rng=None, seeds=SEEDS, convention="timm")


@pytest.mark.parametrize("function", ["drop_block", "trace", "keep_mask"])
def test_a_seed_on_a_cell_that_is_not_eligible_is_refused_and_located(function: str) -> None:
    seeds = SEEDS.copy()
    seeds[1, 2, 4, 3] = seeds[1, 2, 2, 2] = True
    given_rng = {} if function == "keep_mask" else {"rng": None}
    with pytest.raises(ValueError, match=r"seeds must lie on eligible cells.*1\.\.3 x 1\.\.4") as caught:
        called(function, seeds=seeds, **given_rng)
    assert "(1, 2, 4, 3)" in str(caught.value)
    assert "got 1 elsewhere" in str(caught.value)


@pytest.mark.parametrize("function", ["keep_mask", "recover_seeds", "scale"])
def test_a_mask_per_channel_is_refused_where_channels_share_one(function: str) -> None:
    with pytest.raises(ValueError, match=r"size 1 on channel axis 1, because convention 'timm'.*\(2, 3, 5, 6\)"):
        called(function, convention="timm")


WITH_BLOCKS = [function for function, arguments in GOOD.items() if "block_size" in arguments]


@pytest.mark.parametrize("function", WITH_BLOCKS)
@pytest.mark.parametrize(("convention", "block_size"), [("paper", (6, 3)), ("paper", 6), ("tutorial", 7)])
def test_a_block_larger_than_the_map_is_refused_where_the_convention_refuses(
    function: str, convention: str, block_size: Any
) -> None:
    with pytest.raises(ValueError, match=rf"block_size must be at most.*\(5, 6\).*'{convention}' refuses larger"):
        called(function, convention=convention, block_size=block_size)


@pytest.mark.parametrize("function", WITH_BLOCKS)
@pytest.mark.parametrize("convention", ["torchvision", "tutorial"])
@pytest.mark.parametrize("block_size", [2, (3, 4)])
def test_an_even_block_is_refused_where_the_convention_refuses(function: str, convention: str, block_size: Any) -> None:
    with pytest.raises(ValueError, match=rf"block_size must be odd.*'{convention}' refuses even") as caught:
        called(function, convention=convention, block_size=block_size)
    assert str(block_size) in str(caught.value)


@pytest.mark.parametrize("argument", ["x", "seeds"])
def test_a_layout_that_contradicts_a_volume_is_refused(argument: str) -> None:
    function = "drop_block" if argument == "x" else "keep_mask"
    volume: Any = np.zeros((1, 1, 3, 3, 3), dtype=np.bool_ if argument == "seeds" else np.float64)
    with pytest.raises(ValueError, match=rf"data_format 'NCHW' is for 4 dimensions, but {argument} has 5"):
        called(function, **{argument: volume}, data_format="NCHW")


SCALARS: dict[str, tuple[Any, ...]] = {
    "drop_prob": (0.25, np.float16, np.float32, np.float64, np.longdouble),
    "gamma": (0.25, np.float16, np.float32, np.float64, np.longdouble),
    "start": (0.25, np.float32, np.float64),
    "stop": (1, np.int8, np.uint64, np.float16),
    "block_size": (3, np.int8, np.int64, np.uint64),
    "rng": (3, np.int8, np.int64, np.uint64),
    "step": (3, np.int8, np.int64, np.uint64),
    "steps": (3, np.int8, np.int64, np.uint64),
    "training": (False, np.bool_),
    "epsilon": (0.25, np.float32, np.int8),
    "shared_channels": (True, np.bool_),
}


@pytest.mark.parametrize(
    ("function", "argument"),
    [(function, name) for function, arguments in GOOD.items() for name in arguments if name in SCALARS],
)
def test_a_numpy_scalar_and_a_0d_array_are_taken_as_the_python_number(function: str, argument: str) -> None:
    number, *dtypes = SCALARS[argument]
    number = dtypes[-1](number).item()
    expected = comparable(called(function, **{argument: number}))
    for dtype in dtypes:
        for value in (dtype(number), np.array(number, dtype=dtype)):
            got = comparable(called(function, **{argument: value}))
            assert got == expected
            assert type(got) is type(expected)


def comparable(result: Any) -> Any:
    if isinstance(result, Trace):
        result = result.output
    return result.tobytes() if isinstance(result, np.ndarray) else result


def test_0d_arrays_are_taken_in_sequences_too() -> None:
    three, four = np.array(3), np.array(4, dtype=np.int8)
    assert dropblock_ref.gamma(0.1, (three, 3), [four, 4]) == dropblock_ref.gamma(0.1, 3, (4, 4))
    assert dropblock_ref.gamma(0.1, np.array([3, 3]), np.array([4, 4])) == dropblock_ref.gamma(0.1, 3, (4, 4))


class Lazy(Sequence[int]):
    """A sequence of 3s of any length, none of which may be asked for."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("an entry was asked for")


class List(list[int]):
    """A list that must not be read."""

    def __iter__(self) -> NoReturn:
        raise AssertionError("an entry was asked for")

    __repr__ = __iter__


@pytest.mark.parametrize(
    "value", [range(2 * 10**7), range(10**30), Lazy(10**12), List([3] * 1000), np.broadcast_to(3, 10**9)]
)
@pytest.mark.parametrize("argument", ["block_size", "spatial_shape"])
def test_a_long_sequence_is_refused_before_it_is_read(argument: str, value: Any) -> None:
    tracemalloc.start()
    with pytest.raises((TypeError, ValueError), match=argument):
        called("gamma", **{argument: value})
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("function", "drop_prob"),
    [(dropblock_ref.valid_seeds, ()), (theory.coverage, ()), (theory.drop_probability, (0.1,))],
)
def test_a_map_of_more_cells_than_an_array_can_have_is_refused_by_name_and_number(
    function: Callable[..., Any], drop_prob: tuple[float, ...]
) -> None:
    with pytest.raises(ValueError, match=rf"spatial_shape must have at most \d+ cells, got {(2**31 - 1) ** 2}"):
        function(*drop_prob, 1, (2**31 - 1,) * 2)


def test_no_array_is_made_for_gamma_of_the_largest_map() -> None:
    assert dropblock_ref.gamma(0.1, 1, (2**31 - 1,) * 3) == 0.1


@pytest.mark.parametrize("value", [RaisesTextlessError(), [RaisesTextlessError()]])
def test_an_exception_without_a_text_is_named_by_its_kind(value: Any) -> None:
    with pytest.raises(TypeError, match="which fails with TextlessError"):
        called("drop_block", x=value)


def test_choices_may_be_strings_of_numpy() -> None:
    assert called("drop_block", data_format=np.str_("NCHW")).tobytes() == called("drop_block").tobytes()


class TooLarge:
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise MemoryError


def test_a_lack_of_memory_is_no_fault_of_the_argument() -> None:
    with pytest.raises(MemoryError):
        called("drop_block", x=TooLarge())
    with pytest.raises(MemoryError):
        called("drop_block", x=[TooLarge()])


ORDINARY: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (checks.check_probability, (0.1, "drop_prob")),
    (checks.check_integer, (3, "seed", 0)),
    (checks.check_block_size, (7, 2)),
    (checks.check_flag, (True, "training")),
    (checks.check_choice, ("NCHW", "data_format", ("NHWC", "NCHW"))),
    (checks.check_floating, (zeros(2, 3, 5, 6, dtype=np.float32), "x")),
    (checks.check_boolean, (SEEDS, "seeds")),
    (checks.check_rng, (np.random.default_rng(0),)),
]


@pytest.mark.parametrize(("check", "given"), ORDINARY, ids=[check.__name__ for check, _ in ORDINARY])
def test_an_ordinary_argument_costs_at_most_two_python_calls(check: Callable[..., Any], given: tuple[Any, ...]) -> None:
    calls = []
    sys.setprofile(lambda frame, event, _: calls.append(frame.f_code.co_name) if event == "call" else None)
    try:
        check(*given)
    finally:
        sys.setprofile(None)
    assert calls[0] == check.__name__
    assert len(calls) <= 2, calls


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last", "NCHW", "NHWC"])
@pytest.mark.parametrize("convention", ["paper", "timm", "dropblock", "calibrated"])
def test_the_advice_for_maps_of_one_axis_drops_runs_of_cells_in_each_channel(data_format: str, convention: str) -> None:
    first = data_format in ("channels_first", "NCHW")
    x = np.ones((40, 3, 30) if first else (40, 30, 3))
    with pytest.raises(ValueError, match="for maps of one axis") as caught:
        dropblock_ref.drop_block(x, 0.3, 4, rng=0, data_format=data_format, convention=convention)
    advice = str(caught.value).rpartition("image, ")[2].partition(" and block_size (b, 1)")[0]
    advised = eval(advice, {"x": x})  # noqa: S307
    y = dropblock_ref.drop_block(advised, 0.3, (4, 1), rng=0, data_format=data_format, convention=convention)
    dropped = y.squeeze() == 0 if first else np.moveaxis(y.squeeze(), 1, 2) == 0
    # Each map is a union of runs of 4 cells, cut short by the border where seeds lie everywhere.
    fitting = dropblock_ref.CONVENTIONS[convention].seed_region == "fitting"
    for line in dropped.reshape(-1, 30):
        edges = np.flatnonzero(np.diff(line, prepend=False, append=False))
        runs = list(zip(edges[::2], edges[1::2], strict=True))
        assert all(end - start >= 4 or (not fitting and (start == 0 or end == 30)) for start, end in runs)
    # The channels share a mask or have their own, as the convention says.
    assert (dropped == dropped[:, :1]).all() == dropblock_ref.CONVENTIONS[convention].shared_channels
    assert np.isclose(dropblock_ref.gamma(0.3, (4, 1), (30, 1), convention=convention), one_axis_gamma(convention))


def one_axis_gamma(convention: str) -> float:
    """Eq. (1) on one axis of 30 cells with blocks of 4 and drop_prob 0.3."""
    if convention == "calibrated":
        low, high = 0.0, 1.0
        n = [min(u, 26) - max(u - 3, 0) + 1 for u in range(30)]
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if np.mean([1 - (1 - middle) ** k for k in n]) < 0.3 else (low, middle)
        return low
    return 0.3 / 4 if convention == "dropblock" else 0.3 / 4 * 30 / 27


@pytest.mark.parametrize("data_format", ["NCDHW", "NDHWC"])
def test_a_volume_is_not_given_the_advice_for_maps(data_format: str) -> None:
    with pytest.raises(ValueError, match=r"got 3: shape \(2, 3, 4\)$"):
        dropblock_ref.drop_block(zeros(2, 3, 4), 0.3, 2, rng=0, data_format=data_format)


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_the_advice_for_an_unbatched_image_works(data_format: str) -> None:
    x = np.ones((5, 6, 7))
    with pytest.raises(ValueError, match=r"pass x\[None\] for an unbatched image"):
        dropblock_ref.drop_block(x, 0.3, 2, rng=0, data_format=data_format)
    assert dropblock_ref.drop_block(x[None], 0.3, 2, rng=0, data_format=data_format).shape == (1, 5, 6, 7)


# Fuzzing: any object in the place of any argument.


# What a class of each base may refuse to do; that subclasses of int, float and str compare and hash is granted.
TRAPS: dict[type, tuple[str, ...]] = {
    object: (
        *("__array__", "__array_interface__", "__repr__", "__str__", "__len__", "__iter__", "__float__", "__int__"),
        *("__index__", "__getitem__", "__bool__", "__eq__", "__hash__", "__getattr__"),
    ),
    int: ("__array__", "__repr__", "__str__", "__float__", "__int__", "__index__"),
    float: ("__array__", "__repr__", "__str__", "__float__", "__int__"),
    str: ("__array__", "__repr__", "__str__", "__len__", "__iter__"),
    list: ("__array__", "__repr__", "__len__", "__iter__", "__getitem__", "__eq__", "__bool__"),
    dict: ("__array__", "__repr__", "__len__", "__iter__", "__getitem__", "__eq__", "__bool__"),
    tuple: ("__array__", "__repr__", "__len__", "__iter__", "__getitem__", "__hash__", "__bool__"),
}


def trapped(base: type, names: set[str], name: str) -> Any:
    """An object of a class called `name` that raises where any of the methods `names` is used."""
    methods = {trap: property(_raise) if trap == "__array_interface__" else _raise for trap in names}
    return type(name, (base,), methods)()


def traps() -> st.SearchStrategy[Any]:
    names = st.sampled_from(("Trap", "array", "list", "dict", "set", "int", "tuple"))
    return st.one_of(
        *(
            st.builds(trapped, st.just(base), st.sets(st.sampled_from(methods), min_size=1, max_size=4), names)
            for base, methods in TRAPS.items()
        )
    )


class Given:
    """Holds what was drawn, because hypothesis prints what it draws and some of it cannot be printed."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        try:
            return f"{self.value!r:.200} of {type(self.value)}"
        except (ZeroDivisionError, ValueError):
            return f"something unprintable of {type(self.value)}, {sorted(vars(type(self.value)))}"


def junk() -> st.SearchStrategy[Given]:
    # Integers are small or refused, so that no array of a drawn shape fills the memory.
    integers = st.one_of(
        st.integers(-3, 8),
        st.sampled_from((2**31, -(2**31), 2**63, 2**64, 10**400, -(10**400))),
        st.builds(pow, st.just(10), st.just(5000)),  # hypothesis cannot print it either
    )
    scalars = st.one_of(
        st.none(),
        st.booleans(),
        integers,
        st.floats(),
        st.complex_numbers(),
        st.text(max_size=5),
        st.binary(max_size=5),
        st.fractions(),
        st.decimals(),
        st.sampled_from(
            (
                Fraction(10**400),
                Fraction(1, 10**400),
                Ellipsis,
                NotImplemented,
                slice(None),
                int,
                len,
                np,
                object(),
                np.bool_(True),
                np.int8(3),
                np.uint64(2**64 - 1),
                np.float16(0.5),
                np.longdouble(0.5),
                np.array(3),
                np.array(0.5),
                np.ma.masked,
                np.complex64(1),
                np.datetime64("NaT", "ns"),
                np.datetime64(1, "ns"),
                np.timedelta64("NaT", "ns"),
                np.timedelta64(3, "ns"),
                np.timedelta64(3, "D"),
                np.str_("NCHW"),
                np.void(b"abc"),
                "channels_last",
                "NDHWC",
                "timm",
                "torchvision",
                TRACE,
                dropblock_ref.PAPER,
                RequiresGrad(),
                RaisesTextlessError(),
            )
        ),
        traps(),
    )
    dtypes = st.sampled_from(("?", "i1", "u8", "f2", "f4", "f8", "g", "c8", "O", "U3", "S2", "m8[s]", "M8[D]", "V3"))
    arrays = st.builds(np.zeros, st.lists(st.integers(0, 3), max_size=6).map(tuple), dtypes)
    own = st.one_of(
        arrays,
        arrays.map(np.ma.masked_array),
        st.builds(range, st.integers(0, 5)),
        st.builds(lambda n: (n for _ in range(n)), st.integers(0, 5)),
        st.builds(lambda n: memoryview(bytes(n)), st.integers(0, 5)),
    )
    anything = st.one_of(
        scalars,
        own,
        st.recursive(
            scalars,
            lambda inner: st.one_of(
                st.lists(inner, max_size=5),
                st.lists(inner, max_size=5).map(tuple),
                st.dictionaries(st.text(max_size=2), inner, max_size=3),
            ),
            max_leaves=8,
        ),
        st.sets(st.integers(-1, 8), max_size=5),
    )
    return anything.map(Given)


JUNK = junk()


def is_float(value: Any) -> bool:
    return type(value) is float and 0 <= value <= 1


def is_bools(value: Any) -> bool:
    return type(value) is np.ndarray and value.dtype == np.bool_


def is_scale(value: Any) -> bool:
    return type(value) is float or (type(value) is np.ndarray and value.dtype == np.float64)


def is_floating(value: Any) -> bool:
    return type(value) is np.ndarray and value.dtype.name in ("float16", "bfloat16", "float32", "float64")


def is_trace(value: Any) -> bool:
    stages = type(value) is Trace and is_float(value.gamma) and is_scale(value.scale) and is_floating(value.output)
    return stages and is_bools(value.seeds) and is_bools(value.keep_mask)


RIGHT_TYPED: dict[str, Callable[[Any], bool]] = {
    "gamma": is_float,
    "valid_seeds": is_bools,
    "sample_seeds": is_bools,
    "keep_mask": is_bools,
    "recover_seeds": is_bools,
    "scale": is_scale,
    "drop_block": is_floating,
    "trace": is_trace,
    "vjp": is_floating,
    "linear_schedule": is_scale,
    "Convention": lambda value: type(value) is Convention,
}
PLACES = [(function, argument) for function, arguments in GOOD.items() for argument in arguments]


def judge(function: str, changes: dict[str, Any]) -> None:
    try:
        result = called(function, **changes)
    except (TypeError, ValueError) as error:
        message = str(error)
        assert any(argument in message for argument in GOOD[function]), message
        assert "got" in message or "is for" in message or "has" in message, message
    else:
        assert RIGHT_TYPED[function](result), f"{function} returned {result!r:.200}"


@pytest.mark.parametrize(("function", "argument"), PLACES)
@given(st.data())
@examples(60, shrink=False)  # to shrink a failure takes long, and shows little
def test_any_object_as_any_argument_is_refused_well_or_gives_a_right_typed_result(
    function: str, argument: str, data: st.DataObject
) -> None:
    judge(function, {argument: data.draw(JUNK).value})


@pytest.mark.parametrize("function", GOOD)
@given(st.data())
@examples(100, shrink=False)  # to shrink a failure takes long, and shows little
def test_any_objects_as_several_arguments_are_refused_well(function: str, data: st.DataObject) -> None:
    arguments = data.draw(st.sets(st.sampled_from(sorted(GOOD[function])), min_size=2))
    judge(function, {argument: data.draw(JUNK).value for argument in sorted(arguments)})


@pytest.mark.parametrize("function", WITH_BLOCKS)
def test_an_endless_iterator_is_refused_and_not_awaited(function: str) -> None:
    with pytest.raises(TypeError, match="block_size"):
        called(function, block_size=itertools.repeat(3, 10**6))
