"""linear_schedule beside the schedules that packages publish, and how long a warm-up is."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropblock_ref import linear_schedule
from dropblock_ref.backends.torchvision_operators import import_torchvision

from ..examples import examples

PROBABILITIES = st.floats(0, 1)


def of_dropblock(start: float, stop: float, steps: int, calls: int) -> list[float]:
    """drop_prob after each call of step()."""
    from dropblock import DropBlock2D, LinearScheduler

    scheduler = LinearScheduler(DropBlock2D(0.0, 3), start, stop, steps)
    seen = []
    for _ in range(calls):
        scheduler.step()
        seen.append(float(scheduler.dropblock.drop_prob))
    return seen


def ours(start: float, stop: float, steps: int, calls: int) -> list[float]:
    return [float(linear_schedule(step, start, stop, steps)) for step in range(calls)]


@given(PROBABILITIES, PROBABILITIES, st.integers(2, 20))
@examples(300)
def test_same_schedule_as_the_package_dropblock(start: float, stop: float, steps: int) -> None:
    assert ours(start, stop, steps, steps + 3) == of_dropblock(start, stop, steps, steps + 3)


def test_schedule_of_the_readme_of_the_package_dropblock() -> None:
    seen = of_dropblock(0.0, 0.25, 5, 7)
    assert seen == [0, 0.0625, 0.125, 0.1875, 0.25, 0.25, 0.25]
    assert np.asarray(linear_schedule(range(7), 0.0, 0.25, 5)).tolist() == seen


def test_the_package_dropblock_stays_at_start_where_there_is_one_value_and_we_do_not() -> None:
    assert of_dropblock(0.1, 0.3, 1, 3) == [0.1] * 3
    assert ours(0.1, 0.3, 1, 3) == [0.3] * 3


@given(PROBABILITIES, PROBABILITIES, st.integers(0, 20))
@examples(200)
def test_a_warm_up_of_timm_of_n_steps_has_n_plus_1_values(start: float, stop: float, n: int) -> None:
    import_torchvision()
    import torch
    from timm.scheduler.step_lr import StepLRScheduler

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=stop)
    scheduler = StepLRScheduler(optimizer, decay_t=10**9, warmup_t=n, warmup_lr_init=start)
    seen = [optimizer.param_groups[0]["lr"]]
    for step in range(1, n + 3):
        scheduler.step(step)
        seen.append(optimizer.param_groups[0]["lr"])
    # It adds up n increments; a warm-up of 0 steps is at its end at once.
    assert np.allclose(seen, ours(start, stop, n + 1, n + 3), rtol=2**-50, atol=2**-50)
    assert seen[n:] == [stop] * 3


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_a_warm_up_of_mmdetection_of_n_calls_has_n_plus_1_values(n: int) -> None:
    # Its layer counts calls from 1, and multiplies gamma by call / n, by 1 after n calls.
    for call in range(1, n + 3):
        factor = min(call / n, 1.0) if n else 1.0
        assert linear_schedule(call, 0, 0.3, n + 1) == pytest.approx(0.3 * factor, rel=1e-15)


@pytest.mark.parametrize("train_steps", [1, 2, 5])
def test_the_authors_schedule_over_n_steps_has_n_plus_1_values(train_steps: int) -> None:
    for step in range(train_steps):
        keep_prob = 1 - step / train_steps * (1 - 0.75)
        assert linear_schedule(step, 0, 0.25, train_steps + 1) == pytest.approx(1 - keep_prob, abs=1e-15)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_pytorch_toolbelt_ends_one_increment_before_the_end_of_n_plus_1_values(steps: int) -> None:
    import_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_toolbelt.modules.dropblock import DropBlock2D, DropBlockScheduled

    scheduled = DropBlockScheduled(DropBlock2D(0.1, 3), 0.1, 0.3, steps)
    for step in range(steps + 3):
        scheduled.step()
        expected = linear_schedule(min(step, steps - 1), 0.1, 0.3, steps + 1)
        assert scheduled.dropblock.drop_prob == pytest.approx(expected, rel=1e-15)
