"""The picture of schedules.md: a linear schedule, and what is really dropped."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from dropblock_ref import linear_schedule
from dropblock_ref.theory import expected_drop_fraction

START, STOP, STEPS, SHOWN = 0.0, 0.25, 1001, 1251
STYLES = {
    "timm": ("-.", "^", "#d55e00", "dropped, timm"),
    "paper": ("--", "s", "#0072b2", "dropped, paper"),
    "dropblock": (":", "v", "0.45", "dropped, dropblock"),
}


def linear() -> Figure:
    """drop_prob and exact dropped fractions over training steps."""
    steps = np.linspace(0, SHOWN - 1, 51).astype(int)
    nominal = linear_schedule(steps, START, STOP, STEPS)
    figure = Figure(figsize=(8, 3.8), layout="constrained")
    ax = figure.subplots()
    ax.plot(steps, nominal, color="black", linewidth=2)
    label = {"va": "center", "textcoords": "offset points", "xytext": (8, 0)}
    ax.annotate("drop_prob (dropped, calibrated)", (steps[-1], nominal[-1]), color="black", **label)
    for convention, (line, marker, color, text) in STYLES.items():
        dropped = [expected_drop_fraction(p, 7, (28, 28), convention=convention) for p in nominal]
        ax.plot(steps, dropped, linestyle=line, marker=marker, markevery=10, color=color)
        ax.annotate(text, (steps[-1], dropped[-1]), color=color, **label)
    ax.set(xlabel="training step", ylabel="probability, fraction of cells", xlim=(0, 1720), ylim=(0, None))
    ax.set_xticks(range(0, SHOWN, 250))
    ax.spines[["top", "right"]].set_visible(False)
    return figure


FIGURES = {"schedule_linear": linear}
