"""Checks of arguments, made once at the border of the public functions; the mathematics behind them is bare.

Every check returns the value in the one form that the mathematics uses, or raises a TypeError or ValueError that names
the argument, what was given and what is accepted. The ordinary case comes first and is one call. Frameworks are never
imported: what belongs to one is recognised by the module of its type.
"""

from __future__ import annotations

import math
import reprlib
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from importlib.util import find_spec
from itertools import islice
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

# Sizes and steps beyond this are mistakes, and their products would leave the range of a float.
LARGEST_INTEGER = 2**31 - 1
# What the largest array of float64 can hold that NumPy can describe. Below it, memory decides, with a MemoryError.
MOST_CELLS = sys.maxsize // 8
FLOATING_DTYPES = ("float16", "bfloat16", "float32", "float64")
# A char is at hand, a name is worked out in Python. bfloat16, of ml_dtypes, which need not be installed, has only that.
_FLOATING_CHARS = "".join(np.dtype(name).char for name in FLOATING_DTYPES if name != "bfloat16")
_TEXT = (str, bytes, bytearray)  # sequences that nobody means as numbers


def describe(value: Any) -> str:
    """What was given, short enough for one line of an error message."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    try:
        # reprlib cuts lists, but other sequences, those derived from list too, only once they are written out in full.
        long = isinstance(value, Sequence) and not isinstance(value, (*_TEXT, memoryview)) and len(value) > 100
        shown = f"{len(value)} entries of" if long else f"{reprlib.repr(value)} of"
        if isinstance(value, np.ndarray):
            shown = f"{str(value)[:50]}, of dtype {value.dtype}, of"
        shown = shown.replace("\n", " ")  # a Trace and a Report are shown as several lines
    except Exception:  # a message must not fail over what it describes
        shown = "an object of"
    return f"{shown} type {type(value).__name__}"


def describe_error(error: BaseException) -> str:
    """Kind and text of an exception, of which either may be somebody else's."""
    try:
        return f"{type(error).__name__}: {str(error)[:500]}"
    except Exception:  # its __str__ may fail, too
        return type(error).__name__


def as_scalar(value: Any, name: str, accepted: str) -> Any:
    """The Python number or bool in a 0-d array of any framework; anything else as it is."""
    try:
        if tuple(value.shape) != ():
            return value
    except Exception:  # no array, or a symbolic one of unknown rank
        return value
    array = as_array(value, name, accepted)
    # Not of NumPy's times, whose item may be an int.
    return array.item() if array.dtype.kind in "biuf" or array.dtype.name == "bfloat16" else value


def _number(value: Any, name: str, abstract: type, concrete: Callable[[Any], T], accepted: str) -> T:
    """A number of an abstract kind as one of a concrete kind."""
    number = as_scalar(value, name, accepted)
    accepted = f"{name} must be {accepted}"
    # bool is a number to Python, and timedelta64 to NumPy; neither is ever meant as one.
    if isinstance(number, (bool, np.timedelta64)) or not isinstance(number, abstract):
        raise TypeError(f"{accepted}, got {describe(value)}")
    try:
        return concrete(number)
    except Exception as error:  # too large a number, or somebody's own
        raise ValueError(f"{accepted}, got {describe(value)}") from error


def check_real(value: Any, name: str, largest: float, accepted: str) -> float:
    """A real number from 0 to `largest`, as a float."""
    number = _number(value, name, Real, float, accepted)
    if not 0 <= number <= largest:
        raise ValueError(f"{name} must be {accepted}, got {describe(value)}")
    return abs(number)  # of -0.0 too


def check_probability(value: Any, name: str) -> float:
    """A real number in [0, 1], as a float."""
    if type(value) is float and 0 <= value <= 1:
        return abs(value)
    return check_real(value, name, 1.0, "a real number in [0, 1]")


def check_integer(value: Any, name: str, minimum: int) -> int:
    """An integer from `minimum` to LARGEST_INTEGER, as an int."""
    if type(value) is int and minimum <= value <= LARGEST_INTEGER:
        return value
    accepted = f"an integer from {minimum} to {LARGEST_INTEGER}"
    number = _number(value, name, Integral, int, accepted)
    if not minimum <= number <= LARGEST_INTEGER:
        raise ValueError(f"{name} must be {accepted}, got {describe(value)}")
    return number


def check_integers(value: Any, name: str, minimum: int, lengths: tuple[int, ...], accepted: str) -> tuple[int, ...]:
    """A sequence of integers from `minimum` on, of one of the `lengths`, as a tuple of ints."""
    accepted = f"{name} must be {accepted}"
    # Sets and mappings have no order, iterators can be read only once, and text is no sequence of numbers. What is left
    # are Python's sequences, arrays, and the shapes of frameworks.
    if type(value) not in (tuple, list) and (
        isinstance(value, (*_TEXT, memoryview, Set, Mapping)) or not hasattr(type(value), "__getitem__")
    ):
        raise TypeError(f"{accepted}, got {describe(value)}")
    try:
        length = len(value)
        entries = list(islice(value, length)) if length in lengths else []  # a long one is not copied
    except Exception as error:  # a 0-d array and a shape of unknown rank have a length only by name
        raise TypeError(f"{accepted}, got {describe(value)}") from error
    if len(entries) not in lengths:
        raise ValueError(f"{accepted}, got {length} entries: {describe(value)}")
    return tuple([check_integer(entry, f"{name}[{axis}]", minimum) for axis, entry in enumerate(entries)])


def check_cells(shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """A shape of which NumPy can make an array, if the machine has the memory."""
    cells = math.prod(size for size in shape if size)  # NumPy counts on past a 0
    if cells > MOST_CELLS:
        raise ValueError(f"{name} must have at most {MOST_CELLS} cells, got {cells}: {shape}")
    return shape


def check_shape(value: Any) -> tuple[int, ...]:
    """The shape of x: batch, channels and spatial axes."""
    accepted = "a sequence of 4 or 5 integers, batch and channels included, of which maps of one axis need one more, 1"
    return check_cells(check_integers(value, "shape", 0, (4, 5), accepted), "shape")


def check_spatial_shape(value: Any) -> tuple[int, ...]:
    """(H, W) or (D, H, W); of any size, because gamma and the theory need no array of so many cells."""
    accepted = "a sequence of 2 or 3 integers of at least 1; (L, 1), with block_size (b, 1), for maps of one axis"
    return check_integers(value, "spatial_shape", 1, (2, 3), accepted)


def check_block_size(value: Any, spatial_ndim: int) -> tuple[int, ...]:
    """One block side per spatial axis; an int stands for a square or a cube."""
    if type(value) is int and 1 <= value <= LARGEST_INTEGER:
        return (value,) * spatial_ndim
    accepted = f"an integer of at least 1, or a sequence of {spatial_ndim} of them, one per spatial axis"
    if isinstance(as_scalar(value, "block_size", accepted), Integral):
        return (check_integer(value, "block_size", 1),) * spatial_ndim
    return check_integers(value, "block_size", 1, (spatial_ndim,), accepted)


def check_flag(value: Any, name: str) -> bool:
    """True or False."""
    if value is True or value is False:
        return value
    flag = as_scalar(value, name, "True or False")
    if type(flag) is not bool:
        raise TypeError(f"{name} must be True or False, got {describe(value)}")
    return flag


def check_choice(value: Any, name: str, choices: tuple[str, ...]) -> None:
    """One of the strings `choices`."""
    if type(value) is str and value in choices:
        return
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
    accepted = "a numpy.random.Generator, or a non-negative int for numpy.random.default_rng"
    number = _number(value, "rng", Integral, int, accepted)
    if number < 0:
        raise ValueError(f"rng must be {accepted}, got {describe(value)}")
    return np.random.default_rng(number)


# What to call on a torch tensor before NumPy can have it, and when.
_TORCH_CALLS: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    (".detach()", lambda tensor: tensor.requires_grad),
    (".to_dense()", lambda tensor: str(tensor.layout) != "torch.strided"),
    (".dequantize()", lambda tensor: tensor.is_quantized),
    (".cpu()", lambda tensor: tensor.device.type != "cpu"),
    (".resolve_neg()", lambda tensor: tensor.is_neg()),
    (".float()", lambda tensor: tensor.is_floating_point() and tensor.element_size() == 1),
)
# What NumPy does not convert, or only to an array of objects: the package that it belongs to, which of its kinds it is,
# and what to do about it. The first row that fits counts.
_ADVICE: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    (
        "torch",
        lambda tensor: bool(sys.modules["torch"]._C._functorch.is_functorch_wrapped_tensor(tensor)),
        "under torch.func it has no values of its own; call this outside, trace for a mask, and multiply by that",
    ),
    (
        "torch",
        lambda tensor: tensor.device.type == "meta",
        "on the device 'meta' it has no values; make one that has, as torch.zeros_like({name}, device='cpu') does",
    ),
    ("torch", lambda tensor: tensor.is_nested, "it is nested; pass the tensors of {name}.unbind() one at a time"),
    ("torch", lambda tensor: tensor.is_complex(), "it is complex, and only real numbers are accepted"),
    ("torch", lambda tensor: bool(_torch_calls(tensor)), "pass {name}{calls}"),
    (
        "torch",
        lambda tensor: str(tensor.dtype) == "torch.bfloat16" and find_spec("ml_dtypes") is None,
        "bfloat16 needs the package ml_dtypes: pip install ml_dtypes",
    ),
    (
        "jax",
        lambda array: _is_a(array, "Tracer"),
        (
            "under jax.jit, vmap and grad it has no values yet; call NumPy code through jax.pure_callback(function, "
            "result_shape_dtypes, jax.lax.stop_gradient({name}), vmap_method='sequential')"
        ),
    ),
    ("jax", lambda array: str(array.dtype).startswith("key<"), "a key of jax.random is no number; pass an int"),
    ("jax", lambda array: hasattr(array, "todense"), "pass {name}.todense()"),
    ("tensorflow", lambda tensor: _is_a(tensor, "SparseTensor"), "pass tf.sparse.to_dense({name})"),
    ("tensorflow", lambda tensor: _is_a(tensor, "IndexedSlices"), "pass tf.convert_to_tensor({name})"),
    (
        "tensorflow",
        lambda tensor: _is_a(tensor, "RaggedTensor"),
        "pass {name}.to_tensor(), which fills up what is short",
    ),
    (
        "tensorflow",
        lambda tensor: _is_a(tensor, "Tensor", "Variable") and not _is_a(tensor, "EagerTensor"),
        "under tf.function it has no values yet; call NumPy code through tf.numpy_function(function, [{name}], Tout)",
    ),
    (
        "keras",
        lambda tensor: _is_a(tensor, "KerasTensor"),
        "it has no values yet; call keras.Model(inputs, {name}) on an array, and pass what that returns",
    ),
    ("cupy", lambda _: True, "pass {name}.get()"),
)


def _torch_calls(tensor: Any) -> str:
    return "".join(call for call, needed in _TORCH_CALLS if needed(tensor))


def _is_a(value: object, *names: str) -> bool:
    """Whether its class, or one that this is derived from, has one of the names."""
    return any(kind.__name__ in names for kind in type(value).__mro__)


def _comes_from(value: object, package: str) -> bool:
    """Whether its class, or one that this is derived from, belongs to the package."""
    return any(f"{kind.__module__}.".startswith(f"{package}.") for kind in type(value).__mro__)


def _advice(value: Any, name: str) -> str:
    """What to do about a value that NumPy does not convert; empty where nothing is known."""
    for package, fits, advice in _ADVICE:
        with suppress(Exception):  # an attribute of somebody's own class may do anything
            if _comes_from(value, package) and fits(value):
                return advice.format(name=name, calls=_torch_calls(value) if package == "torch" else "")
    return ""


def _convert_otherwise(value: Any, name: str) -> NDArray[Any] | None:
    """What `numpy.asarray` refuses although it can be an array; None for everything else."""
    entries: list[Any] = []
    with suppress(Exception):
        if isinstance(value, (list, tuple)):
            entries = list(value)
        elif _comes_from(value, "torch") and str(value.dtype) == "torch.bfloat16" and not _torch_calls(value):
            from ml_dtypes import bfloat16

            converted: NDArray[Any] = np.asarray(value.view(sys.modules["torch"].int16)).view(bfloat16)
            return converted
        elif _comes_from(value, "tensorflow"):  # whose bfloat16 of rank 0 is no array to NumPy
            return np.asarray(value.numpy())
    # An entry that cannot be converted is refused by its own name.
    arrays = [as_array(entry, f"{name}[{number}]") for number, entry in enumerate(entries)]
    with suppress(ValueError):  # their shapes differ
        return np.asarray(arrays) if arrays else None
    return None


def _impurity(value: Any, dtype: np.dtype[Any]) -> str:
    """What `numpy.asarray` made numbers of, in nested lists, although nobody means it as one."""
    if isinstance(value, (list, tuple)):
        return next(filter(None, (_impurity(entry, dtype) for entry in value)), "")
    if isinstance(value, np.ma.MaskedArray):
        return "a masked array, whose mask would be lost: fill or compress it first"
    of_bool = value is True or value is False or "bool" in str(getattr(value, "dtype", ""))
    return "True or False among numbers" if of_bool and dtype != np.bool_ else ""


def as_array(value: Any, name: str, accepted: str = "an array that numpy.asarray converts") -> NDArray[Any]:
    """Whatever `numpy.asarray` converts, and CPU tensors of torch in bfloat16; it may share memory with `value`."""
    if type(value) is np.ndarray:
        return value
    accepted = f"{name} must be {accepted}"
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{accepted}, got {_impurity(value, value.dtype)}")
    if isinstance(value, _TEXT):
        raise TypeError(f"{accepted}, got {describe(value)}")
    try:
        array: NDArray[Any] = np.asarray(value)
    except MemoryError:
        raise
    except Exception as error:  # each framework raises its own kind
        converted = _convert_otherwise(value, name)
        if converted is None:
            # What the framework itself advises may be in vain: .cpu() of a torch tensor on the device "meta".
            advice = _advice(value, name) or f"which fails with {describe_error(error)}"
            raise TypeError(f"{accepted}, got {describe(value)}: {advice}") from error
        array = converted
    if array.dtype.hasobject:
        if advice := _advice(value, name):
            raise TypeError(f"{accepted}, got {describe(value)}: {advice}")
    elif impurity := _impurity(value, array.dtype) if isinstance(value, (list, tuple)) else "":
        raise TypeError(f"{accepted}, got {impurity}: {describe(value)}")
    return array


def check_floating(value: Any, name: str) -> NDArray[Any]:
    """An array of float16, bfloat16, float32 or float64; the result may share memory with `value`."""
    array = as_array(value, name)
    if array.dtype.char not in _FLOATING_CHARS and array.dtype.name not in FLOATING_DTYPES:
        raise TypeError(f"{name} must have dtype {', '.join(FLOATING_DTYPES)}, got {describe(array)}")
    return array


def check_boolean(value: Any, name: str) -> NDArray[np.bool_]:
    """A boolean array; the result may share memory with `value`."""
    array = as_array(value, name)
    if array.dtype != np.bool_:
        raise TypeError(f"{name} must be a boolean array, got {describe(array)}")
    return array
