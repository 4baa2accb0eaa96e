"""The generated parts of schedules.md: what the packages set drop_prob to, call by call."""

from __future__ import annotations

import warnings

from blocks import table

from dropblock_ref import linear_schedule
from dropblock_ref.backends.torchvision_operators import import_torchvision
from dropblock_ref.theory import expected_drop_fraction

START, STOP, STEPS, CALLS = 0.0, 0.25, 5, 8


def of_dropblock() -> list[float]:
    """drop_prob of LinearScheduler after each call of step()."""
    from dropblock import DropBlock2D, LinearScheduler

    scheduler = LinearScheduler(DropBlock2D(START, 3), START, STOP, STEPS)
    values = []
    for _ in range(CALLS):
        scheduler.step()
        values.append(float(scheduler.dropblock.drop_prob))
    return values


def of_toolbelt(built_with: float = START) -> list[float]:
    """drop_prob of DropBlockScheduled after each call of step(), as forward() makes it before it drops."""
    import_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_toolbelt.modules.dropblock import DropBlock2D, DropBlockScheduled

    scheduled = DropBlockScheduled(DropBlock2D(built_with, 3), START, STOP, STEPS)
    values = []
    for _ in range(CALLS):
        scheduled.step()
        values.append(float(scheduled.dropblock.drop_prob))
    return values


def of_the_authors(step: int, train_steps: int) -> float:
    """1 - keep_prob as the authors' training program computes it from the step."""
    target = 1 - STOP
    keep_prob = 1 - step / train_steps * (1 - target)
    return 1 - keep_prob


def fractions_table() -> None:
    """Write drop_prob and the exact dropped fractions at some steps of the picture."""
    conventions = ("paper", "calibrated", "timm", "dropblock")
    rows = []
    for step in (0, 250, 500, 750, 1000, 1250):
        p = linear_schedule(step, 0.0, 0.25, 1001)
        fractions = [expected_drop_fraction(p, 7, (28, 28), convention=convention) for convention in conventions]
        rows.append([step, *(f"{number:.4f}" for number in (p, *fractions))])
    table(["step", "drop_prob", *(f"dropped, {convention}" for convention in conventions)], rows)


def packages_table() -> None:
    """Write the values of all schedules from START to STOP in STEPS steps."""
    columns = {
        "linear_schedule": [float(linear_schedule(step, START, STOP, STEPS)) for step in range(CALLS)],
        "dropblock": of_dropblock(),
        "pytorch-toolbelt": of_toolbelt(),
        "pytorch-toolbelt, built with 0.1": of_toolbelt(0.1),
        "authors, train_steps=5": [of_the_authors(step, STEPS) for step in range(STEPS)] + [None] * (CALLS - STEPS),
        "linear_schedule, steps=6": [float(linear_schedule(step, START, STOP, STEPS + 1)) for step in range(CALLS)],
    }
    rows = ([step, *("" if v[step] is None else f"{v[step]:g}" for v in columns.values())] for step in range(CALLS))
    table(["step", *columns], rows)


def groups_table() -> None:
    """Write drop_prob of the authors' four block groups at a few steps."""
    steps = (0, 250, 500, 750, 1000)
    rows = ([step, *(f"{STOP * step / 1000 / 4 ** (4 - group):.4f}" for group in (1, 2, 3, 4))] for step in steps)
    table(["step of 1000", "group 1", "group 2", "group 3", "group 4"], rows)
