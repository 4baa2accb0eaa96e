"""One map as text."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dropblock_ref.picture import picture, telling_cell


def test_a_small_map_is_shown_whole() -> None:
    mask = np.array([[1, 0, 1], [1, 1, 0]], dtype=np.bool_)
    assert picture(mask) == ".#.\n..#"


def test_marks_lie_over_the_mask_and_later_ones_over_earlier() -> None:
    mask = np.array([[1, 0, 1], [1, 1, 0]], dtype=np.bool_)
    first = np.array([[0, 1, 1], [0, 0, 0]], dtype=np.bool_)
    second = np.array([[0, 0, 1], [1, 0, 0]], dtype=np.bool_)
    assert picture(mask, {"S": first, "!": second}) == ".S!\n!.#"


def test_of_a_volume_the_slice_of_the_cell_is_shown() -> None:
    mask = np.ones((4, 2, 3), dtype=np.bool_)
    mask[2, 1, 0] = False
    assert picture(mask, cell=(2, 1, 0)) == "slice 2 of 4 in depth\n...\n#.."
    assert picture(mask) == "slice 0 of 4 in depth\n...\n..."


@pytest.mark.parametrize("cell", [(0, 0), (50, 100), (99, 199), (0, 199), (99, 0)])
def test_of_a_large_map_the_part_around_the_cell_is_shown(cell: tuple[int, int]) -> None:
    mask = np.ones((100, 200), dtype=np.bool_)
    marked = np.zeros_like(mask)
    marked[cell] = True
    title, *rows = picture(mask, {"!": marked}, cell).splitlines()
    numbers_ = re.fullmatch(r"rows (\d+)\.\., columns (\d+)\.\. of 100 x 200", title)
    assert numbers_ is not None
    top, left = int(numbers_[1]), int(numbers_[2])
    assert len(rows) == 24
    assert {len(row) for row in rows} == {60}
    assert rows[cell[0] - top][cell[1] - left] == "!"
    assert sum(row.count("!") for row in rows) == 1


def test_a_map_large_in_one_axis_only_is_cropped_there() -> None:
    mask = np.ones((3, 100), dtype=np.bool_)
    title, *rows = picture(mask, cell=(1, 99)).splitlines()
    assert title == "rows 0.., columns 40.. of 3 x 100"
    assert rows == ["." * 60] * 3


def test_a_large_slice_of_a_volume_has_both_titles() -> None:
    mask = np.ones((2, 30, 30), dtype=np.bool_)
    titles = picture(mask, cell=(1, 29, 0)).splitlines()[:2]
    assert titles == ["slice 1 of 2 in depth", "rows 6.., columns 0.. of 30 x 30"]


def test_the_telling_cell_is_the_first_dropped_one() -> None:
    mask = np.array([[1, 1, 1], [1, 1, 0], [0, 1, 1]], dtype=np.bool_)
    assert telling_cell(mask) == (1, 2)
    assert telling_cell(np.ones((2, 3), dtype=np.bool_)) == (0, 0)


def test_the_telling_cell_of_a_volume_lies_in_the_first_slice_with_the_most_dropped_cells() -> None:
    mask = np.ones((4, 2, 3), dtype=np.bool_)
    mask[1, 0, 0] = mask[2, 1, 1] = mask[2, 1, 2] = mask[3, 0, 1] = mask[3, 0, 2] = False
    assert telling_cell(mask) == (2, 1, 1)
