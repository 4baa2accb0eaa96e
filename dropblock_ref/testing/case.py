"""Case: one call of DropBlock that prints as one line of Python; the arrays are made from that line.

Hypothesis draws cases (`strategies.cases`), and `search` prints the smallest that fails.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import check_choice, check_integer, check_shape, describe
from ..call import find_layout, mask_shape, place_block
from ..convention import CONVENTIONS, Convention, find_convention
from .observation import make_input, ulp

# How the cells of x lie in memory: see `arrange`. The reference takes big-endian numbers too, frameworks do not.
ORDERS = ("C", "F", "transposed", "strided", "reversed", "read-only", "expanded")
SPECIAL = ("0", "-0", "nan", "inf", "-inf", "large", "largest", "smallest normal", "subnormal")


@dataclass(frozen=True, repr=False)
class Case:
    """One call of `drop_block` with injected seeds; as text one line of Python that makes it again.

    Parameters
    ----------
    shape : tuple of int
        Shape of x: batch, channels and spatial axes, 4 or 5 in all, in the order of `data_format`.
    block_size : int or tuple of int
        Side of the block, at least 1; one int per spatial axis, or one for all.
    drop_prob : float
        In [0, 1].
    seeds_at : tuple of tuple of int, or "all"
        The indices of the seeds in an array of `mask_shape`; ``"all"`` stands for every eligible cell.
    dtype : {"float16", "bfloat16", "float32", "float64"}
        Of x. bfloat16 needs the package ml_dtypes.
    values : int
        Random seed of `make_input`, which makes x; the cotangent is made from ``values + 1``.
    special : tuple of str
        These values stand on every third cell of x, from the first on, in turn: ``"0"``, ``"-0"``, ``"nan"``,
        ``"inf"``, ``"-inf"``, ``"large"`` (an eighth of the largest number), ``"largest"``, ``"smallest normal"``,
        ``"subnormal"`` (half of the smallest normal number).
    order : str
        How x lies in memory: ``"C"``; ``"F"``; ``"transposed"`` (NCHW with the strides of NHWC, and the other way
        round); ``"strided"`` (every second cell of a wider array); ``"reversed"`` (negative strides); ``"read-only"``;
        ``"expanded"`` (stride 0 on the first axis that is longer than 1, which so repeats its first entry; read-only
        too); ``"big-endian"``.
    data_format : {"channels_first", "channels_last", "NCHW", "NHWC", "NCDHW", "NDHWC"}
        Order of the axes.
    convention : Convention or str
        The choices to follow, or their name in `CONVENTIONS`; the field is the name where there is one.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

    Examples
    --------
    >>> from dropblock_ref import drop_block
    >>> from dropblock_ref.testing.strategies import Case
    >>> case = Case((1, 1, 3, 4), 2, seeds_at=((0, 0, 1, 1),))
    >>> case
    Case((1, 1, 3, 4), 2, 0.5, seeds_at=((0, 0, 1, 1),))
    >>> eval(repr(case)) == case
    True
    >>> drop_block(case.x, case.drop_prob, case.block_size, seeds=case.seeds, **case.options)[0, 0] != 0
    array([[False, False,  True,  True],
           [False, False,  True,  True],
           [ True,  True,  True,  True]])
    """

    shape: tuple[int, ...]
    block_size: int | tuple[int, ...] = 1
    drop_prob: float = 0.5
    seeds_at: tuple[tuple[int, ...], ...] | str = ()
    dtype: str = "float32"
    values: int = 0
    special: tuple[str, ...] = ()
    order: str = "C"
    data_format: str = "channels_first"
    convention: Convention | str = "paper"

    def __post_init__(self) -> None:
        shape = check_shape(self.shape)
        place_block(self.block_size, find_layout(self.data_format, shape, "shape").spatial_shape(shape), self.rules)
        check_integer(self.values, "values", 0)
        check_choice(self.order, "order", (*ORDERS, "big-endian"))
        for name in self.special:
            check_choice(name, "special", SPECIAL)
        if isinstance(self.seeds_at, str) and self.seeds_at != "all":
            raise ValueError(f"seeds_at must be indices of seeds, or 'all', got {describe(self.seeds_at)}")
        rules = find_convention(self.convention)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "convention", rules.name if CONVENTIONS.get(rules.name) == rules else rules)

    @property
    def rules(self) -> Convention:
        """The convention itself, also where `convention` is its name."""
        return find_convention(self.convention)

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """(H, W) or (D, H, W)."""
        return find_layout(self.data_format, self.shape, "shape").spatial_shape(self.shape)

    @property
    def mask_shape(self) -> tuple[int, ...]:
        """The shape of the seeds: that of x, with 1 on the channel axis where the convention shares masks."""
        return mask_shape(self.shape, find_layout(self.data_format, self.shape, "shape"), self.rules)

    @property
    def options(self) -> dict[str, Any]:
        """`data_format` and `convention`, which most functions take."""
        return {"data_format": self.data_format, "convention": self.rules}

    @property
    def x(self) -> NDArray[Any]:
        """A new array with each access."""
        x = make_input(self.shape, self.dtype, self.values)
        third = x.reshape(-1)[::3]
        for number, name in enumerate(self.special):
            third[number :: len(self.special)] = special_value(name, x.dtype)
        return arrange(x, self.order, find_layout(self.data_format, self.shape, "shape").channel_axis)

    @property
    def cotangent(self) -> NDArray[Any]:
        """A new array with each access: as x, of other numbers, none of them special."""
        return replace(self, values=self.values + 1, special=()).x

    @property
    def seeds(self) -> NDArray[np.bool_]:
        """A new boolean array of `mask_shape` with each access, True = a block is centred here."""
        layout = find_layout(self.data_format, self.shape, "shape")
        seeds = np.zeros(self.mask_shape, dtype=np.bool_)
        if isinstance(self.seeds_at, str):
            block = place_block(self.block_size, self.spatial_shape, self.rules)
            seeds[layout.on_spatial_axes(block.eligible, slice(None))] = True
        for index in self.seeds_at if not isinstance(self.seeds_at, str) else ():
            seeds[tuple(index)] = True
        return seeds

    def __repr__(self) -> str:
        shown = [repr(self.shape), repr(self.block_size), repr(self.drop_prob)]
        for field in fields(self)[len(shown) :]:
            value = getattr(self, field.name)
            if value != field.default:
                shown.append(f"{field.name}={value!r}")
        return f"Case({', '.join(shown)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002  (hypothesis and IPython ask for it)
        printer.text(repr(self))


def special_value(name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A number of `SPECIAL`."""
    epsilon = float(ulp(np.asarray(1.0), dtype))
    smallest = float(ulp(np.asarray(0.0), dtype)) / epsilon
    largest = (4 - 2 * epsilon) / smallest
    values = {"large": largest / 8, "largest": largest, "smallest normal": smallest, "subnormal": smallest / 2}
    return np.asarray(values.get(name, name), dtype=np.float64).astype(dtype)


def arrange(x: NDArray[Any], order: str, channel_axis: int) -> NDArray[Any]:
    """The same values in another order of memory; only "expanded" repeats some of them."""
    other = 1 if channel_axis == x.ndim - 1 else x.ndim - 1
    long = next((axis for axis, size in enumerate(x.shape) if size > 1), None)
    arranged: NDArray[Any] = x.copy()
    if order == "F":
        arranged = np.asfortranarray(x)
    elif order == "transposed":
        arranged = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, channel_axis, other)), other, channel_axis)
    elif order == "strided":
        arranged = np.repeat(x, 2, axis=-1)[..., ::2]
    elif order == "reversed":
        arranged = np.flip(np.flip(x).copy())
    elif order == "expanded" and long is not None:
        arranged = np.broadcast_to(x.take([0], axis=long), x.shape)
    elif order == "read-only":
        arranged.flags.writeable = False
    elif order == "big-endian" and x.dtype.kind == "f":  # bfloat16 has no other
        arranged = x.astype(x.dtype.newbyteorder(">"))
    return arranged
