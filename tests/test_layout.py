"""Layouts: which axis is what, and that all names of a layout mean the same."""

from __future__ import annotations

import numpy as np
import pytest

import dropblock_ref
from dropblock_ref.layout import find_layout


@pytest.mark.parametrize(
    ("data_format", "shape", "channel_axis", "spatial_axes", "spatial_shape"),
    [
        ("channels_first", (2, 3, 4, 5), 1, (2, 3), (4, 5)),
        ("NCHW", (2, 3, 4, 5), 1, (2, 3), (4, 5)),
        ("channels_last", (2, 3, 4, 5), 3, (1, 2), (3, 4)),
        ("NHWC", (2, 3, 4, 5), 3, (1, 2), (3, 4)),
        ("channels_first", (2, 3, 4, 5, 6), 1, (2, 3, 4), (4, 5, 6)),
        ("NCDHW", (2, 3, 4, 5, 6), 1, (2, 3, 4), (4, 5, 6)),
        ("channels_last", (2, 3, 4, 5, 6), 4, (1, 2, 3), (3, 4, 5)),
        ("NDHWC", (2, 3, 4, 5, 6), 4, (1, 2, 3), (3, 4, 5)),
    ],
)
def test_axes_are_those_of_the_printed_letters(
    data_format: str,
    shape: tuple[int, ...],
    channel_axis: int,
    spatial_axes: tuple[int, ...],
    spatial_shape: tuple[int, ...],
) -> None:
    layout = find_layout(data_format, shape, "x")
    assert (layout.ndim, layout.channel_axis, layout.spatial_axes) == (len(shape), channel_axis, spatial_axes)
    assert layout.spatial_shape(shape) == spatial_shape


def test_entries_go_to_the_spatial_axes_and_the_rest_elsewhere() -> None:
    assert find_layout("NCHW", (1, 1, 1, 1), "x").on_spatial_axes((7, 8), 0) == (0, 0, 7, 8)
    assert find_layout("NDHWC", (1, 1, 1, 1, 1), "x").on_spatial_axes((7, 8, 9), 0) == (0, 7, 8, 9, 0)


def test_the_index_of_a_map_takes_one_sample_and_one_channel() -> None:
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert np.array_equal(x[find_layout("NCHW", x.shape, "x").map_index(1, 2)], x[1, 2])
    assert np.array_equal(x[find_layout("NHWC", x.shape, "x").map_index(1, 4)], x[1, :, :, 4])
    volume = x[:, None]
    assert np.array_equal(volume[find_layout("NDHWC", volume.shape, "x").map_index(0, 4)], x[0, None, :, :, 4])


@pytest.mark.parametrize("ndim", [4, 5])
def test_channels_last_is_channels_first_with_the_axes_moved(ndim: int) -> None:
    x = np.random.default_rng(1).uniform(1, 2, (2, 3, 5, 6, 4)[:ndim])
    seeds = np.zeros(x.shape, dtype=np.bool_)
    seeds[(0, 1, 2, 3, 1)[:ndim]] = True
    seeds[(1, 2, 1, 1, 2)[:ndim]] = True
    first = dropblock_ref.drop_block(x, 0.2, 3, seeds=seeds)
    last = dropblock_ref.drop_block(
        np.moveaxis(x, 1, -1), 0.2, 3, seeds=np.moveaxis(seeds, 1, -1), data_format="channels_last"
    )
    assert np.count_nonzero(first == 0) == 2 * 3 ** (ndim - 2)
    assert np.array_equal(np.moveaxis(last, -1, 1), first)
