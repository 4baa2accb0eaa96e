"""The picture of README.md."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

import dropblock_ref
from dropblock_ref.plot import plot_trace


def trace() -> Figure:
    """The stages on one map of random features."""
    x = np.random.default_rng(0).standard_normal((1, 1, 14, 14))
    return plot_trace(dropblock_ref.trace(x, drop_prob=0.3, block_size=5, rng=0))


FIGURES = {"trace": trace}
