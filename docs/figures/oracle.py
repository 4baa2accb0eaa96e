"""The figure of docs/oracle.md: the two numbers of a statistical check, exactly."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from scipy import stats

from dropblock_ref import theory
from dropblock_ref.testing.statistics import MISS, binomial_draws, binomial_p_values

SHARE = 1e-9 / 20 / 10 / 25  # of a run's 1e-9: that of one check, one of its ten maps, one of 25 cells


def two_numbers() -> Figure:
    """The probability that cell_rates fails for its rarest cell, over the error of that cell's rate."""
    right = float(theory.drop_probability(0.8, 3, (5, 5)).min())
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    errors = np.linspace(-0.12, 0.12, 601)
    for wanted, style in ((0.03, "-"), (0.1, "--")):
        draws = binomial_draws(right, wanted, SHARE)
        counts = np.arange(draws + 1)
        allowed = counts[binomial_p_values(counts, draws, right) > SHARE]
        rates = right * (1 + errors)
        fails = stats.binom.cdf(allowed[0] - 1, draws, rates) + stats.binom.sf(allowed[-1], draws, rates)
        shown = (fails > 1e-14) & (fails < 1 - 1e-9)
        axes.plot(100 * errors[shown], fails[shown], style, color="black", linewidth=1.6)
        axes.plot(100 * wanted, 1 - MISS, "o", color="black", markersize=5)
        place = (3.5, 0.997) if wanted < 0.05 else (8.3, 0.03)
        axes.text(*place, f"{draws:,} masks:\nfind {100 * wanted:g} %", va="center")
    axes.plot(0, SHARE, "s", color="black", markersize=5)
    axes.set_yscale("logit")
    axes.set_ylim(3e-15, 1 - 3e-9)
    ticks = [1e-13, 1e-9, 1e-6, 1e-3, 0.5, 1 - 1e-3, 1 - 1e-6]
    axes.set_yticks(ticks, [r"$10^{-13}$", r"$10^{-9}$", r"$10^{-6}$", "0.001", "0.5", "0.999", r"$1 - 10^{-6}$"])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.axhline(1 - MISS, color="0.6", linewidth=0.8)
    axes.axhline(SHARE, color="0.6", linewidth=0.8)
    axes.text(-11.8, SHARE * 1.6, "bound of a false alarm, of one cell", va="bottom", color="0.3")
    axes.text(-1.15, 1 - MISS * 0.6, "detected", va="bottom", color="0.3")
    axes.set_xlim(-12, 12)
    axes.set_xlabel("error of the rate of cell (0, 0), in percent of the right one")
    axes.set_ylabel("probability that the check fails")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


FIGURES = {"oracle_two_numbers": two_numbers}
