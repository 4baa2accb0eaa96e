"""What a user passed, resolved once: the convention, the layout of the arrays, and the block on the map.

Behind this file arrays are (N, C, *map), and a convention's names have become a placed block.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import rules
from .algorithm import Block
from .arguments import check_block_size, check_boolean, check_choice, check_spatial_shape, describe
from .convention import Convention, find_convention

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])

# data_format -> (channels first, number of dimensions or None for both)
DATA_FORMATS: dict[str, tuple[bool, int | None]] = {
    "channels_first": (True, None),
    "channels_last": (False, None),
    "NCHW": (True, 4),
    "NHWC": (False, 4),
    "NCDHW": (True, 5),
    "NDHWC": (False, 5),
}


@dataclass(frozen=True)
class Layout:
    """The axes of an array of feature maps; the batch is always axis 0."""

    ndim: int
    channel_axis: int
    spatial_axes: tuple[int, ...]

    def spatial_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(H, W) or (D, H, W) of an array of this shape."""
        return shape[2:] if self.channel_axis == 1 else shape[1:-1]

    def on_spatial_axes(self, entries: tuple[Any, ...], elsewhere: Any) -> tuple[Any, ...]:
        """One entry per axis of the array: `entries` on the spatial axes, `elsewhere` on batch and channel."""
        filled = [elsewhere] * self.ndim
        for axis, entry in zip(self.spatial_axes, entries, strict=True):
            filled[axis] = entry
        return tuple(filled)

    def map_index(self, sample: int, channel: int) -> tuple[Any, ...]:
        """The index of one map."""
        entries = self.on_spatial_axes((slice(None),) * len(self.spatial_axes), channel)
        return (sample, *entries[1:])

    def inside(self, array: NDArray[Any]) -> NDArray[Any]:
        """The array as (N, C, *map): a view."""
        return array.transpose(0, self.channel_axis, *self.spatial_axes)

    def outside(self, array: T) -> T:
        """An array (N, C, *map) in this layout: a view. A number is itself."""
        value: Any = array
        if self.channel_axis != 1 and isinstance(array, np.ndarray):
            value = array.transpose(0, *range(2, self.ndim), 1)
        return value  # type: ignore[no-any-return]


LAYOUTS = {(True, ndim): Layout(ndim, 1, tuple(range(2, ndim))) for ndim in (4, 5)} | {
    (False, ndim): Layout(ndim, ndim - 1, tuple(range(1, ndim - 1))) for ndim in (4, 5)
}


def find_layout(data_format: str, shape: tuple[int, ...], name: str) -> Layout:
    """The layout of the array called `name` in messages; refuses a shape that has no such layout."""
    check_choice(data_format, "data_format", tuple(DATA_FORMATS))
    channels_first, required_ndim = DATA_FORMATS[data_format]
    ndim = len(shape)
    if ndim not in (4, 5):
        # The new axis lies beside the only spatial one, so that no block spans channels.
        longer = f"{name}[..., None]" if channels_first else f"{name}[..., None, :]"
        advice = f"; pass {name}[None] for an unbatched image, {longer} and block_size (b, 1) for maps of one axis"
        raise ValueError(
            f"{name} must have 4 dimensions (maps) or 5 (volumes), batch and channels included, "
            f"got {ndim}: shape {shape}{advice if ndim == 3 and required_ndim != 5 else ''}"
        )
    if required_ndim not in (None, ndim):
        raise ValueError(
            f"data_format {data_format!r} is for {required_ndim} dimensions, but {name} has {ndim}: shape {shape}"
        )
    layout = LAYOUTS[channels_first, ndim]
    if 0 in layout.spatial_shape(shape):
        raise ValueError(f"{name} must have at least one cell on every spatial axis, got shape {shape}")
    return layout


def counted_axes(layout: Layout, convention: Convention) -> tuple[int, ...]:
    """The axes of the user's array over which kept cells are counted together."""
    axes = (0, layout.channel_axis, *layout.spatial_axes)
    return tuple(sorted(axes[axis] for axis in rules.counted_axes(layout.ndim, convention)))


def mask_shape(shape: tuple[int, ...], layout: Layout, convention: Convention) -> tuple[int, ...]:
    """Shape of the seeds and keep masks for an x of this shape: 1 where channels, or samples, share masks."""
    if not (convention.shared_channels or convention.shared_samples):
        return shape
    shared = [0] * convention.shared_samples + [layout.channel_axis] * convention.shared_channels
    return tuple(min(size, 1) if axis in shared else size for axis, size in enumerate(shape))


def own_masks(samples: int, channels: int, convention: Convention) -> tuple[int, int]:
    """How many of so many samples, and of so many channels, have masks of their own."""
    return min(samples, 1) if convention.shared_samples else samples, (
        min(channels, 1) if convention.shared_channels else channels
    )


def place_block(block_size: Any, spatial_shape: tuple[int, ...], convention: Convention) -> Block:
    """Judge a block on a map by the convention; parity and eligibility are judged after clipping."""
    return _place(check_block_size(block_size, len(spatial_shape)), spatial_shape, convention)


def accepts_block(block_size: Any, spatial_shape: tuple[int, ...], convention: Convention) -> bool:
    """Whether the convention has a place for this block on this map."""
    asked = check_block_size(block_size, len(spatial_shape))
    try:
        _place(asked, spatial_shape, convention)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)  # a network asks for the same few blocks
def _place(asked: tuple[int, ...], spatial_shape: tuple[int, ...], convention: Convention) -> Block:
    oversize = any(b > S for b, S in zip(asked, spatial_shape, strict=True))
    if oversize and convention.oversize_block == "refused":
        raise ValueError(
            f"block_size must be at most the map's size on every spatial axis, {spatial_shape}, "
            f"because convention {convention.name!r} refuses larger blocks; got {asked}"
        )
    block = rules.place(asked, spatial_shape, convention)
    if convention.even_extra_cell == "refused" and any(b % 2 == 0 for b in block.size):
        clipped = f", which is {block.size} on a map of {spatial_shape}" if block.size != asked else ""
        raise ValueError(
            f"block_size must be odd on every spatial axis, because convention {convention.name!r} refuses even "
            f"blocks; got {asked}{clipped}"
        )
    return block


class Call(NamedTuple):
    """What every stage on arrays needs."""

    convention: Convention
    layout: Layout
    block: Block
    shape: tuple[int, ...]  # of seeds and masks, in the user's layout

    def new_mask(self) -> NDArray[np.bool_]:
        """A boolean array of any values, (N, C, *map), whose memory lies as the user's layout has it."""
        return self.layout.inside(np.empty(self.shape, dtype=np.bool_))

    def like(self, x: NDArray[Any]) -> NDArray[Any]:
        """The part of x, (N, C, *map), that has one map for each mask: its shape and memory order are the masks'."""
        return x[: 1 if self.convention.shared_samples else None, : 1 if self.convention.shared_channels else None]


def resolve(shape: tuple[int, ...], block_size: Any, data_format: str, convention: Any, name: str = "x") -> Call:
    """A call with an array of this shape, called `name` in messages."""
    convention = find_convention(convention)
    layout = find_layout(data_format, shape, name)
    block = place_block(block_size, layout.spatial_shape(shape), convention)
    return Call(convention, layout, block, mask_shape(shape, layout, convention))


def resolve_mask(
    value: Any, name: str, block_size: Any, data_format: str, convention: Any
) -> tuple[Call, NDArray[np.bool_]]:
    """A call with seeds or a keep mask, and that array as (N, C, *map)."""
    mask = check_boolean(value, name)
    call = resolve(mask.shape, block_size, data_format, convention, name)
    check_sharing(mask, name, call.layout, call.convention)
    return call, call.layout.inside(mask)


def resolve_map(block_size: Any, spatial_shape: Any, convention: Any) -> tuple[Convention, Block]:
    """A call without arrays."""
    spatial_shape = check_spatial_shape(spatial_shape)
    convention = find_convention(convention)
    return convention, place_block(block_size, spatial_shape, convention)


def check_sharing(mask: NDArray[np.bool_], name: str, layout: Layout, convention: Convention) -> None:
    """Refuse an array of seeds, or a keep mask, of a shape that the convention never gives."""
    for shared, what, axis in (
        (convention.shared_channels, "channel", layout.channel_axis),
        (convention.shared_samples, "sample", 0),
    ):
        if shared and mask.shape[axis] > 1:
            raise ValueError(
                f"{name} must have size 1 on {what} axis {axis}, because convention {convention.name!r} "
                f"shares masks over {what}s; got shape {mask.shape}"
            )


def check_eligible(seeds: NDArray[np.bool_], call: Call) -> None:
    """Refuse seeds, (N, C, *map), on cells that are not eligible."""
    block = call.block
    if np.count_nonzero(seeds) != np.count_nonzero(seeds[block.box]):
        outside = seeds.copy()
        outside[block.box] = False
        first = tuple(map(int, np.argwhere(call.layout.outside(outside))[0]))
        allowed = " x ".join(f"{e.start}..{e.stop - 1}" for e in block.eligible)
        raise ValueError(
            f"seeds must lie on eligible cells, which are {allowed} on the spatial axes under convention "
            f"{call.convention.name!r} with a block of {block.size}; "
            f"got {np.count_nonzero(outside)} elsewhere, the first at index {first}"
        )


def check_fits(array: NDArray[Any], name: str, shape: tuple[int, ...], of: str, shared: Iterable[int] = ()) -> None:
    """Refuse an array of a shape other than `shape`, but for size 1 on shared axes."""
    alike = array.ndim == len(shape) and all(
        a == b or (a == 1 and axis in shared) for axis, (a, b) in enumerate(zip(array.shape, shape, strict=True))
    )
    if not alike:
        raise ValueError(f"{name} must have the shape of {of}, {shape}, or 1 on axes that share, got {describe(array)}")


# What the docstrings of several functions say of an argument: each has a line `{name}` in its place.
PARAGRAPHS = {
    "drop_prob": """\
drop_prob : float
    Nominal probability that a unit is dropped, in [0, 1]; 1 - keep_prob of the paper.""",
    "block_size": """\
block_size : int or sequence of int
    Side of the block in cells, at least 1; one int per spatial axis, or one for all.""",
    "spatial_shape": """\
spatial_shape : sequence of int
    (H, W) or (D, H, W) of the map, at least 1 each.""",
    "data_format": """\
data_format : {"channels_first", "channels_last", "NCHW", "NHWC", "NCDHW", "NDHWC"}
    Order of the axes.""",
    "convention": """\
convention : Convention or str
    The choices to follow, or their name in `CONVENTIONS`.""",
    "rng": """\
rng : numpy.random.Generator or int
    Source of randomness; an int stands for ``numpy.random.default_rng(int)``.""",
    "stream": """\
The law is exact: each eligible cell is a seed independently with probability gamma, to within 2**-53. The draw does not
depend on the layout: channels_last gets the seeds that channels_first would. Which seeds a Generator gives is promised
within a minor version of dropblock_ref and one version of NumPy: dense seeds are ``rng.random(shape) < gamma`` over the
eligible cells, sparse ones are drawn by the gaps between them.""",
    "seeds": """\
seeds : array_like of bool
    True = a block is centred here; 4 or 5 dimensions, 1 on the channel axis where the convention shares masks.""",
    "keep_mask": """\
keep_mask : array_like of bool
    True = kept; 4 or 5 dimensions, 1 on the channel axis where the convention shares masks.""",
    "raises": """\
TypeError, ValueError
    If an argument is of the wrong kind or out of range, or the convention refuses the block on this map.""",
}


def documented(function: Function) -> Function:
    """Fill the lines `{name}` of a docstring with their paragraphs."""
    if function.__doc__:  # python -OO strips it
        text = inspect.cleandoc(function.__doc__)
        function.__doc__ = re.sub(r"^\{(\w+)\}$", lambda line: PARAGRAPHS[line[1]], text, flags=re.MULTILINE)
    return function
