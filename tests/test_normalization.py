"""The scale, against counting one by one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dropblock_ref
from dropblock_ref import PAPER
from dropblock_ref.testing.strategies import Case

from . import brute_force
from .examples import CASES, any_masks, examples


@given(st.data(), CASES)
@examples(700)
def test_scale_is_counted_over_what_the_convention_says(data: st.DataObject, case: Case) -> None:
    mask = data.draw(any_masks(case))
    scale = dropblock_ref.scale(mask, **case.options)
    if case.rules.scale_over in ("batch", "none"):
        assert type(scale) is float
    else:
        assert isinstance(scale, np.ndarray)
        assert scale.dtype == np.float64
        assert scale.ndim == mask.ndim
    factors = brute_force.scale(mask, case.data_format, case.rules)
    everywhere = np.broadcast_to(scale, mask.shape)
    assert all(brute_force.same(float(everywhere[index]), factor) for index, factor in factors.items())


def half_dropped() -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    mask = np.ones((2, 3, 2, 4), dtype=np.bool_)
    mask[0, 0, :, :2] = False
    mask[0, 1] = False
    mask[1, 2, 0, 0] = False
    return mask


def test_scale_worked_by_hand() -> None:
    mask = half_dropped()
    assert dropblock_ref.scale(mask) == 48 / 35
    assert dropblock_ref.scale(mask, convention=replace(PAPER, epsilon=0.5)) == 48 / 35.5
    assert dropblock_ref.scale(mask, convention=replace(PAPER, scale_over="none", epsilon=9.0)) == 1
    sample = dropblock_ref.scale(mask, convention=replace(PAPER, scale_over="sample"))
    channel = dropblock_ref.scale(mask, convention=replace(PAPER, scale_over="channel"))
    assert isinstance(sample, np.ndarray)
    assert isinstance(channel, np.ndarray)
    assert (sample.shape, channel.shape) == ((2, 1, 1, 1), (2, 3, 1, 1))
    assert sample.ravel().tolist() == [24 / 12, 24 / 23]
    assert channel.ravel().tolist() == [2, 0, 1, 1, 1, 8 / 7]


@pytest.mark.parametrize("scale_over", ["batch", "sample", "channel"])
@pytest.mark.parametrize("epsilon", [0.0, 1e-6, 10.0])
def test_nothing_kept_gives_0_or_nan_as_the_convention_says(scale_over: str, epsilon: float) -> None:
    mask = np.zeros((2, 3, 2, 2), dtype=np.bool_)
    zeros = replace(PAPER, scale_over=scale_over, epsilon=epsilon)
    assert np.all(np.asarray(dropblock_ref.scale(mask, convention=zeros)) == 0)
    assert np.all(np.isnan(dropblock_ref.scale(mask, convention=replace(zeros, all_dropped="nan"))))


def test_nothing_kept_in_one_sample_leaves_the_others_alone() -> None:
    mask = np.ones((2, 1, 2, 2), dtype=np.bool_)
    mask[0] = False
    scale = dropblock_ref.scale(mask, convention=replace(PAPER, scale_over="sample", all_dropped="nan"))
    assert isinstance(scale, np.ndarray)
    assert math.isnan(scale[0, 0, 0, 0])
    assert scale[1, 0, 0, 0] == 1


@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (0, 3, 2, 2, 2), (3, 0, 2, 2)])
def test_nothing_to_count_gives_1(shape: tuple[int, ...]) -> None:
    assert dropblock_ref.scale(np.ones(shape, dtype=np.bool_)) == 1
    assert dropblock_ref.scale(np.ones(shape, dtype=np.bool_), convention="keras_cv") == 1


def test_the_count_is_exact_beyond_half_and_single_precision() -> None:
    mask = np.ones((1, 1, 4099, 4099), dtype=np.bool_)
    mask[0, 0, 5, 5] = False
    assert dropblock_ref.scale(mask) == 16801801 / 16801800
