"""The linear schedule: numpy.linspace, clamped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import dropblock_ref

from .examples import examples


def test_the_schedule_of_the_dropblock_packages_readme() -> None:
    expected = [0, 0.0625, 0.125, 0.1875, 0.25, 0.25, 0.25]
    assert [dropblock_ref.linear_schedule(step, 0.0, 0.25, 5) for step in range(7)] == expected
    assert np.asarray(dropblock_ref.linear_schedule(range(7), 0.0, 0.25, 5)).tolist() == expected


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 300))
@examples(600)
def test_every_step_is_linspace_bit_for_bit_and_then_its_end(start: float, stop: float, steps: int) -> None:
    line = np.linspace(start, stop, steps)
    expected = np.concatenate([line[:-1], [stop] * 3])
    got = dropblock_ref.linear_schedule(np.arange(steps + 2), start, stop, steps)
    assert isinstance(got, np.ndarray)
    assert got.dtype == np.float64
    assert got.tobytes() == expected.tobytes()


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 2**31 - 1), st.integers(0, 2**31 - 1))
@examples(200)
def test_one_step_is_a_float_between_start_and_stop(start: float, stop: float, steps: int, step: int) -> None:
    got = dropblock_ref.linear_schedule(step, start, stop, steps)
    assert type(got) is float
    slack = 2.0**-52
    assert min(start, stop) * (1 - slack) <= got <= max(start, stop) * (1 + slack)
    if step >= steps - 1:
        assert got == stop


@given(st.integers(2, 40), st.integers(0, 60))
@examples(100)
def test_one_step_is_linspace_bit_for_bit(steps: int, step: int) -> None:
    assert dropblock_ref.linear_schedule(step, 0.3, 0.1, steps) == np.linspace(0.3, 0.1, steps)[min(step, steps - 1)]


def test_a_warm_up_of_0_steps_is_stop_at_once() -> None:
    assert np.asarray(dropblock_ref.linear_schedule([0, 1, 9], 0.1, 0.3, 1)).tolist() == [0.3, 0.3, 0.3]
    assert dropblock_ref.linear_schedule(0, 0.1, 0.3, 1) == 0.3


def test_the_result_has_the_shape_of_step() -> None:
    got = dropblock_ref.linear_schedule(np.array([[0, 1], [2, 9]], dtype=np.uint8), 0.0, 0.5, 3)
    assert np.asarray(got).tolist() == [[0, 0.25], [0.5, 0.5]]
    assert type(dropblock_ref.linear_schedule(np.array(1), 0.0, 0.5, 3)) is float
    assert np.asarray(dropblock_ref.linear_schedule(np.zeros((2, 0), dtype=np.int64), 0.0, 0.5, 3)).shape == (2, 0)


@pytest.mark.parametrize("step", [2**31, 2**40, 2**63])
def test_a_step_far_beyond_the_end_is_judged_alike_alone_and_in_an_array(step: int) -> None:
    alone: object
    try:
        alone = dropblock_ref.linear_schedule(step, 0.0, 0.25, 5)
    except ValueError:
        alone = ValueError
    try:
        among = float(np.asarray(dropblock_ref.linear_schedule([step], 0.0, 0.25, 5))[0])
    except ValueError:
        assert alone is ValueError
    else:
        assert alone == among


@given(st.floats(0, 1e-318), st.floats(0, 1e-318), st.integers(2, 300))
@example(0.0, 5e-324, 4)
@examples(100)
def test_the_smallest_probabilities_are_linspace_bit_for_bit_too(start: float, stop: float, steps: int) -> None:
    got = dropblock_ref.linear_schedule(np.arange(steps), start, stop, steps)
    assert np.asarray(got).tobytes() == np.linspace(start, stop, steps).tobytes()
