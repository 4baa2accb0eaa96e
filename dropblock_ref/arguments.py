"""Checks of arguments, made once at the border of the public functions; the mathematics behind them is bare.

Every check returns the value in the one form that the mathematics uses, or raises a TypeError or ValueError that names
the argument, what was given and what is accepted.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

# Sizes and steps beyond this are mistakes, and their products would leave the range of a float.
LARGEST_INTEGER = 2**31 - 1
FLOATING_DTYPES = ("float16", "bfloat16", "float32", "float64")


def describe(value: object) -> str:
    """What was given, short enough for one line of an error message."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    try:
        shown = f"{reprlib.repr(value)} of".replace("\n", " ")  # a Trace and a Report are shown as several lines
    except Exception:  # a message must not fail over what it describes
        shown = "an object of"
    return f"{shown} type {type(value).__name__}"


def describe_error(error: BaseException) -> str:
    """Kind and text of an exception, of which either may be somebody else's."""
    try:
        return f"{type(error).__name__}: {str(error)[:500]}"
    except Exception:  # its __str__ may fail, too
        return type(error).__name__


def _convert(value: Any, abstract: type, concrete: Callable[[Any], T], accepted: str) -> T:
    """A number of an abstract kind as one of a concrete kind."""
    # bool is a number to Python, and timedelta64 to NumPy; neither is ever meant as one.
    if isinstance(value, (bool, np.timedelta64)) or not isinstance(value, abstract):
        raise TypeError(f"{accepted}, got {describe(value)}")
    try:
        return concrete(value)
    except Exception as error:  # too large a number, or somebody's own
        raise ValueError(f"{accepted}, got {describe(value)}") from error


def check_real(value: Any, name: str, largest: float, accepted: str) -> float:
    """A real number from 0 to `largest`, as a float."""
    accepted = f"{name} must be {accepted}"
    number = _convert(value, Real, float, accepted)
    if not 0 <= number <= largest:
        raise ValueError(f"{accepted}, got {describe(value)}")
    return abs(number)  # of -0.0 too


def check_probability(value: Any, name: str) -> float:
    """A real number in [0, 1], as a float."""
    return check_real(value, name, 1.0, "a real number in [0, 1]")


def check_integer(value: Any, name: str, minimum: int) -> int:
    """An integer from `minimum` to LARGEST_INTEGER, as an int."""
    accepted = f"{name} must be an integer from {minimum} to {LARGEST_INTEGER}"
    number = _convert(value, Integral, int, accepted)
    if not minimum <= number <= LARGEST_INTEGER:
        raise ValueError(f"{accepted}, got {describe(value)}")
    return number


def check_integers(value: Any, name: str, minimum: int, lengths: tuple[int, ...], accepted: str) -> tuple[int, ...]:
    """A sequence of integers from `minimum` on, of one of the `lengths`, as a tuple of ints."""
    accepted = f"{name} must be {accepted}"
    # Sets and mappings have no order, iterators can be read only once, and text is no sequence of numbers.
    if not isinstance(value, (Sequence, np.ndarray)) or isinstance(value, (str, bytes, bytearray, memoryview)):
        raise TypeError(f"{accepted}, got {describe(value)}")
    try:
        entries = list(value)
    except Exception as error:  # a 0-d array calls itself iterable and then is not
        raise TypeError(f"{accepted}, got {describe(value)}") from error
    if len(entries) not in lengths:
        raise ValueError(f"{accepted}, got {len(entries)} entries: {describe(value)}")
    return tuple(check_integer(entry, f"{name}[{axis}]", minimum) for axis, entry in enumerate(entries))


def check_shape(value: Any) -> tuple[int, ...]:
    """The shape of x: batch, channels and spatial axes."""
    return check_integers(value, "shape", 0, (4, 5), "a sequence of 4 or 5 integers, batch and channels included")


def check_spatial_shape(value: Any) -> tuple[int, ...]:
    """(H, W) or (D, H, W)."""
    return check_integers(value, "spatial_shape", 1, (2, 3), "a sequence of 2 or 3 integers of at least 1")


def check_block_size(value: Any, spatial_ndim: int) -> tuple[int, ...]:
    """One block side per spatial axis; an int stands for a square or a cube."""
    if isinstance(value, Integral):
        return (check_integer(value, "block_size", 1),) * spatial_ndim
    accepted = f"an integer of at least 1, or a sequence of {spatial_ndim} of them, one per spatial axis"
    return check_integers(value, "block_size", 1, (spatial_ndim,), accepted)


def check_flag(value: Any, name: str) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {describe(value)}")
    return bool(value)


def check_choice(value: Any, name: str, choices: tuple[str, ...]) -> None:
    """One of the strings `choices`."""
    accepted = f"{name} must be one of {', '.join(map(repr, choices))}"
    if not isinstance(value, str):
        raise TypeError(f"{accepted}, got {describe(value)}")
    if value not in choices:
        raise ValueError(f"{accepted}, got {describe(value)}")


def check_instance(value: Any, name: str, kind: type[T], accepted: str) -> T:
    """An instance of `kind`."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {accepted}, got {describe(value)}")
    return value


def check_callable(value: Any, name: str) -> Callable[..., Any]:
    """Something that can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {describe(value)}")
    return value  # type: ignore[no-any-return]


def check_rng(value: Any) -> np.random.Generator:
    """A Generator, or an int that seeds one."""
    if isinstance(value, np.random.Generator):
        return value
    accepted = "rng must be a numpy.random.Generator, or a non-negative int for numpy.random.default_rng"
    number = _convert(value, Integral, int, accepted)
    if number < 0:
        raise ValueError(f"{accepted}, got {describe(value)}")
    return np.random.default_rng(number)


def as_array(value: Any, name: str) -> NDArray[Any]:
    """Whatever `numpy.asarray` converts; the result may share memory with `value`."""
    accepted = f"{name} must be an array that numpy.asarray converts"
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{accepted}, got a masked array, whose mask would be lost: fill or compress it first")
    try:
        return np.asarray(value)
    except Exception as error:  # each framework raises its own kind
        raise TypeError(
            f"{accepted}, got {describe(value)}, which fails with {describe_error(error)}. Convert it first; a torch "
            f"tensor that requires grad, or lies on another device, with {name}.detach().cpu().numpy()"
        ) from error


def check_floating(value: Any, name: str) -> NDArray[Any]:
    """An array of float16, bfloat16, float32 or float64; the result may share memory with `value`."""
    array = as_array(value, name)
    # By name, because bfloat16 is a dtype of ml_dtypes, which need not be installed.
    if array.dtype.name not in FLOATING_DTYPES:
        raise TypeError(f"{name} must have dtype {', '.join(FLOATING_DTYPES)}, got {describe(array)}")
    return array


def check_boolean(value: Any, name: str) -> NDArray[np.bool_]:
    """A boolean array; the result may share memory with `value`."""
    array = as_array(value, name)
    if array.dtype != np.bool_:
        raise TypeError(f"{name} must be a boolean array, got {describe(array)}")
    return array
