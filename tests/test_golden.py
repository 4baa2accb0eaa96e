"""The five feature maps printed in the keras-cv documentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dropblock_ref

from .brute_force import Bools, cells_of, ulp32

DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "keras_cv_doc.json").read_text("utf-8"))
CASES: list[dict[str, Any]] = DOCUMENT["cases"]
BLOCK_SIZE = tuple(DOCUMENT["block_size"])
MANY = [case for case in CASES if "channels" in case]
OPTIONS: dict[str, Any] = {"data_format": "channels_last", "convention": "keras_cv"}


def printed_mask(case: dict[str, Any]) -> Bools:
    mask: Bools = np.array(case["y"])[None, :, :, None] != 0
    return mask


def equals_as_printed(got: NDArray[Any], printed: list[list[float]]) -> bool:
    """Equal within 3 ulps of float32: x and y are printed to 8 digits, and keras-cv rounds thrice on the way."""
    expected = np.array(printed)
    return all(
        abs(float(got[cell]) - float(expected[cell])) <= 3 * ulp32(float(expected[cell]))
        for cell in cells_of(expected.shape)
    )


def test_the_document_has_the_five_maps() -> None:
    assert len(CASES) == 5
    assert len(MANY) == 4
    assert BLOCK_SIZE == (2, 2)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_printed_masks_are_legal(case: dict[str, Any]) -> None:
    mask = printed_mask(case)
    seeds = dropblock_ref.recover_seeds(mask, BLOCK_SIZE, **OPTIONS)
    assert np.array_equal(dropblock_ref.keep_mask(seeds, BLOCK_SIZE, **OPTIONS), mask)
    assert bool(seeds.any()) == bool((~mask).any())


def test_the_single_channel_is_reproduced_with_scale_16_over_12() -> None:
    (case,) = (case for case in CASES if "channels" not in case)
    seeds = dropblock_ref.recover_seeds(printed_mask(case), BLOCK_SIZE, **OPTIONS)
    x = np.array(case["x"], dtype=np.float32)[None, :, :, None]
    trace = dropblock_ref.trace(x, DOCUMENT["rate"], BLOCK_SIZE, seeds=seeds, **OPTIONS)
    assert trace.scale == 16 / 12
    assert equals_as_printed(trace.output[0, :, :, 0], case["y"])


def test_the_36_channels_are_reproduced_with_one_scale_of_576_over_518() -> None:
    x = np.full((1, 4, 4, 36), 0.5, dtype=np.float32)
    seeds = np.zeros(x.shape, dtype=np.bool_)
    for case in MANY:
        x[0, :, :, case["channel"]] = np.array(case["x"])
        recovered = dropblock_ref.recover_seeds(printed_mask(case), BLOCK_SIZE, **OPTIONS)
        seeds[0, :, :, case["channel"]] = recovered[0, :, :, 0]
    # The other channels are not printed, only that 58 cells of all are dropped: blocks of 4 cells, and pairs of 6.
    missing = 58 - sum(int((~printed_mask(case)).sum()) for case in MANY)
    others = [channel for channel in range(36) if channel not in {case["channel"] for case in MANY}]
    pairs = next(pairs for pairs in range(3) if (missing - 6 * pairs) % 4 == 0)
    for k in range(pairs + (missing - 6 * pairs) // 4):
        seeds[0, 1, 1 : 3 if k < pairs else 2, others[k]] = True

    trace = dropblock_ref.trace(x, DOCUMENT["rate"], BLOCK_SIZE, seeds=seeds, **OPTIONS)
    assert np.count_nonzero(trace.keep_mask) == 518
    assert trace.scale == 576 / 518
    for case in MANY:
        assert equals_as_printed(trace.output[0, :, :, case["channel"]], case["y"]), case["name"]
