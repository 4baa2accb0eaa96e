"""Which axes of a feature map are batch, channel and spatial.

Algorithm 1 of the paper works on one map; this file says where the maps lie in an array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .arguments import check_choice

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
        return tuple(shape[axis] for axis in self.spatial_axes)

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
    channel_axis = 1 if channels_first else ndim - 1
    spatial_axes = tuple(axis for axis in range(1, ndim) if axis != channel_axis)
    if any(shape[axis] == 0 for axis in spatial_axes):
        raise ValueError(f"{name} must have at least one cell on every spatial axis, got shape {shape}")
    return Layout(ndim, channel_axis, spatial_axes)
