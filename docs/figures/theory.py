"""Figures of theory.md: exact curves, and simulation with sample_seeds and keep_mask."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

import dropblock_ref
from dropblock_ref import theory

MAP = (28, 28)
BLACK = "#1b1b1b"
STYLES = ["-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1))]
MARKERS = ["o", "s", "^", "D", "v"]


def colors(number: int) -> NDArray[np.float64]:
    """Colours from dark to middling, told apart in grey as well."""
    return matplotlib.colormaps["cividis"](np.linspace(0, 0.68, number))


def simulate(
    gamma: float, block_size: int, masks: int, rng: np.random.Generator, name: str = "paper"
) -> NDArray[np.bool_]:
    """Dropped cells, (masks, height, width); a mask per sample of one channel."""
    seeds = dropblock_ref.sample_seeds(gamma, block_size, (masks, 1, *MAP), rng=rng, convention=name)
    dropped: NDArray[np.bool_] = ~dropblock_ref.keep_mask(seeds, block_size, convention=name)[:, 0]
    return dropped


def label(axes: Axes, x: float, y: float, text: str, color: object = BLACK, **how: object) -> None:
    """A direct label."""
    axes.text(x, y, text, color=color, fontsize=8, va=how.pop("va", "center"), **how)


def fraction() -> Figure:
    """f against drop_prob for several blocks, with what simulation deviates in standard errors."""
    figure = Figure(figsize=(8, 6.2), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    rng = np.random.default_rng(1)
    masks = 2000
    fine, coarse = np.linspace(0, 1, 101), np.linspace(0.1, 1, 10)
    above.plot([0, 1], [0, 1], color="#8a8a8a", linewidth=1)
    label(above, 0.69, 0.75, "f = drop_prob: block 1, or 28", "#6a6a6a", ha="right")
    blocks = [27, 3, 7, 14]
    for block_size, color, style, marker in zip(blocks, colors(4), STYLES, MARKERS, strict=False):
        exact = [theory.expected_drop_fraction(p, block_size, MAP) for p in fine]
        above.plot(fine, exact, color=color, linestyle=style)
        label(above, 1.015, exact[-1], f"block {block_size}", color)
        for p in coarse:
            gamma = dropblock_ref.gamma(p, block_size, MAP)
            rate = simulate(gamma, block_size, masks, rng).mean()
            error = np.sqrt(theory.drop_fraction_variance(p, block_size, MAP) / masks)
            above.errorbar(p, rate, 2 * error, color=color, marker=marker, markersize=4, capsize=3, linewidth=1)
            deviation = (rate - theory.expected_drop_fraction(p, block_size, MAP)) / error
            shift = 0.008 * (blocks.index(block_size) - 1.5)
            below.plot(p + shift, deviation, color=color, marker=marker, markersize=4)
    above.set(ylabel="f, expected dropped fraction", ylim=(0, 1), xlim=(0, 1.1))
    below.axhspan(-2, 2, color="#e8e8e8", zorder=0)
    below.axhline(0, color=BLACK, linewidth=0.8)
    below.set(xlabel="drop_prob", ylabel="simulated - exact\n(standard errors)", ylim=(-4, 4))
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def edge() -> Figure:
    """P(u dropped) along the middle row, and over the map, for fitting blocks and for seeds everywhere."""
    figure = Figure(figsize=(8, 6.4), layout="constrained")
    row, lower = figure.subfigures(2, 1, height_ratios=[1.15, 1])
    axes = row.subplots()
    rng = np.random.default_rng(2)
    masks = 20000
    columns = np.arange(MAP[1])
    cases = [
        ("paper", "eq. (1), blocks fit (paper)", 0.138),
        ("timm_uncoupled", "eq. (1), every cell eligible (timm)", 0.16),
        ("dropblock", "p / 49, every cell eligible (dropblock)", 0.083),
    ]
    for (name, text, height), color, style, marker in zip(cases, colors(3), STYLES, MARKERS, strict=False):
        exact = theory.drop_probability(0.1, 7, MAP, convention=name)[MAP[0] // 2]
        rate = simulate(dropblock_ref.gamma(0.1, 7, MAP, convention=name), 7, masks, rng, name)[:, MAP[0] // 2].mean(0)
        error = np.sqrt(exact * (1 - exact) / masks)
        axes.plot(columns, exact, color=color, linestyle=style, linewidth=1.2)
        axes.errorbar(columns, rate, 2 * error, color=color, marker=marker, markersize=3.5, linestyle="", linewidth=1)
        label(axes, 13.5, height, text, color, ha="center")
    axes.axhline(0.1, color="#8a8a8a", linewidth=1)
    label(axes, 13.5, 0.104, "drop_prob", "#6a6a6a", ha="center")
    axes.set(xlabel="column of row 14 (cells)", ylabel="P(u dropped)", ylim=(0, 0.168), xlim=(-0.5, 27.5))
    axes.spines[["top", "right"]].set_visible(False)
    maps = lower.subplots(1, 3)
    for axes, (name, *_) in zip(maps, cases, strict=True):
        image = axes.imshow(
            theory.drop_probability(0.1, 7, MAP, convention=name),
            vmin=0,
            vmax=0.15,
            cmap="cividis",
            interpolation="none",
        )
        axes.set_title({"timm_uncoupled": "timm"}.get(name, name), fontsize=9)
        axes.set(xticks=[0, 27], yticks=[0, 27], xlabel="column (cells)", ylabel="row (cells)")
        axes.label_outer()
    lower.colorbar(image, ax=maps, label="P(u dropped)", shrink=0.9)
    return figure


def spread() -> Figure:
    """Standard deviation of the dropped fraction of one mask against the block, and the fraction's distribution."""
    figure = Figure(figsize=(8, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    rng = np.random.default_rng(3)
    masks = 10000
    blocks = np.arange(1, MAP[0] + 1)
    exact = np.array([theory.drop_fraction_variance(0.1, int(b), MAP) for b in blocks]) ** 0.5
    left.plot(blocks, exact, color=BLACK)
    shown = {1: 0, 7: 1, 14: 2, 28: 3}
    shades = colors(4)
    for b in (1, 3, 5, 7, 10, 14, 18, 22, 25, 28):
        dropped = simulate(dropblock_ref.gamma(0.1, b, MAP), b, masks, rng).mean((1, 2))
        squares = (dropped - dropped.mean()) ** 2
        deviation = np.sqrt(squares.mean())
        error = squares.std() / np.sqrt(masks) / (2 * deviation)  # of the deviation, from that of the variance
        left.errorbar(b, deviation, 2 * error, color=BLACK, marker="o", markersize=4, capsize=3, linewidth=1)
        if b in shown:
            values = np.sort(np.concatenate([dropped, [0, 1]]))
            exceeding = [(dropped > value).mean() for value in values]
            index = shown[b]
            touched = 1 - theory.untouched_probability(0.1, b, MAP)
            right.plot(0, touched, color=shades[index], marker=MARKERS[index], markersize=5, clip_on=False, zorder=3)
            right.step(values, exceeding, where="post", color=shades[index], linestyle=STYLES[index])
    left.set(xlabel="block size (cells)", ylabel="standard deviation of\none mask's dropped fraction")
    left.set(xlim=(0, 29), ylim=(0, None))
    label(right, 0.115, 0.7, "block 1", shades[0])
    label(right, 0.14, 0.44, "block 7", shades[1])
    label(right, 0.265, 0.28, "block 14", shades[2])
    label(right, 0.8, 0.125, "block 28", shades[3])
    right.set(xlabel="t, a fraction of the map", ylabel="P(one mask drops more than t)", xlim=(0, 1), ylim=(0, 1.02))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def calibrated() -> Figure:
    """How much larger the calibrated gamma is than eq. (1), and the rates that both give."""
    figure = Figure(figsize=(8, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    fine = np.linspace(0.005, 0.95, 80)
    blocks = [7, 3, 14, 21, 27]
    ends = []
    for block_size, color, style in zip(blocks, colors(5), STYLES, strict=True):
        ratio = [theory.calibrated_gamma(p, block_size, MAP) / dropblock_ref.gamma(p, block_size, MAP) for p in fine]
        left.plot(fine, ratio, color=color, linestyle=style)
        ends.append((ratio[-1], block_size, color))
    for value, block_size, color in ends:
        label(left, 0.965, value, f"block {block_size}", color)
    left.set(xlabel="drop_prob", ylabel="calibrated gamma / gamma of eq. (1)", xlim=(0, 1.17), ylim=(1, None))
    left.set_xticks(np.linspace(0, 1, 6))

    rng = np.random.default_rng(4)
    masks = 4000
    fine = np.linspace(0, 0.95, 60)
    rules = [(theory.calibrated_gamma, "calibrated"), (dropblock_ref.gamma, "eq. (1)")]
    for (rule, text), color, style, marker in zip(rules, colors(2), STYLES, MARKERS, strict=False):
        exact = [theory.expected_drop_fraction(None, 7, MAP, gamma=rule(p, 7, MAP)) - p for p in fine]
        right.plot(fine, exact, color=color, linestyle=style, linewidth=1.2)
        label(right, 0.62, exact[39] + 0.03, text, color)
        for p in np.linspace(0.1, 0.9, 9):
            gamma = rule(p, 7, MAP)
            rate = simulate(gamma, 7, masks, rng).mean()
            error = np.sqrt(theory.drop_fraction_variance(None, 7, MAP, gamma=gamma) / masks)
            right.errorbar(p, rate - p, 2 * error, color=color, marker=marker, markersize=4, capsize=3, linewidth=1)
    right.set(xlabel="drop_prob", ylabel="realised f - drop_prob, block 7", xlim=(0, 1), ylim=(-0.4, 0.06))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


FIGURES = {
    "theory_fraction": fraction,
    "theory_edge": edge,
    "theory_spread": spread,
    "theory_calibrated": calibrated,
}
