"""The pictures of why_blocks.md: what blocks leave of a photograph and of feature maps, and what is restored."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pages.why_blocks import ANGLES, BLOCK_SIZES, COARSE, MAPS, explained, feature_maps, masks, photograph, results
from pages.why_blocks import restored as restore

SHOWN = (1, 3, 7, 15)
DARKEST = 0.3  # gray of the smallest value; black are dropped cells alone
STYLES = {
    "photograph": ("-", "o", "0.0"),
    "coarse features": ("--", "s", "#0072b2"),
    "fine features": ("-.", "^", "#d55e00"),
    "white noise": (":", "x", "0.45"),
}


def named(block_size: int) -> str:
    """A block size as the top of a column."""
    return "Dropout (block 1)" if block_size == 1 else f"DropBlock, block {block_size}"


def show(ax: Axes, image: np.ndarray, largest: float, kept: np.ndarray | None = None) -> None:
    """Draw a map in gray, and dropped cells in black."""
    gray = DARKEST + (1 - DARKEST) * np.clip(image / largest, 0, 1)
    ax.imshow(gray if kept is None else gray * kept, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set(xticks=[], yticks=[])


def on_photograph() -> Figure:
    """The photograph, its kept cells, and what can be restored from them."""
    maps = photograph()
    figure = Figure(figsize=(8, 3.75), layout="constrained")
    axes = figure.subplots(2, 1 + len(SHOWN))
    show(axes[0, 0], maps[0], 1)
    axes[0, 0].set_title("photograph", fontsize=9)
    axes[0, 0].set_xlabel("128x128 cells", fontsize=8)
    axes[1, 0].set_axis_off()
    axes[1, 0].text(0.98, 0.5, "restored from\nthe kept cells:", ha="right", va="center", fontsize=9)
    axes[1, 0].set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    for column, block_size in enumerate(SHOWN, start=1):
        kept = masks(maps.shape, block_size, seed=0)[0]
        above, below = axes[:, column]
        show(above, maps[0], 1, kept)
        above.set_title(named(block_size), fontsize=9)
        above.set_xlabel(f"{100 * (1 - kept.mean()):.1f} % dropped", fontsize=8)
        show(below, restore(maps[0], kept), 1)
        below.set_xlabel(f"$R^2$ = {explained(maps[:1], kept[None]):.2f}", fontsize=8)
    return figure


def on_feature_maps() -> Figure:
    """The coarse feature maps in their four orientations, and their kept cells."""
    maps = feature_maps(COARSE)
    figure = Figure(figsize=(8, 6.6), layout="constrained")
    axes = figure.subplots(len(maps), 1 + len(SHOWN))
    for row, (image, angle) in enumerate(zip(maps, ANGLES, strict=True)):
        largest = np.quantile(image, 0.995)
        show(axes[row, 0], image, largest)
        axes[row, 0].set_ylabel(f"{angle}°", rotation=0, ha="right", va="center", fontsize=9)
        for column, block_size in enumerate(SHOWN, start=1):
            show(axes[row, column], image, largest, masks(maps.shape, block_size, seed=0)[row])
    axes[0, 0].set_title("feature map", fontsize=9)
    for column, block_size in enumerate(SHOWN, start=1):
        axes[0, column].set_title(named(block_size), fontsize=9)
    return figure


def explained_by_block_size() -> Figure:
    """R^2 against the block size, for each kind of map."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    ax = figure.subplots()
    ax.axhline(0, color="0.8", linewidth=1)
    for kind in MAPS:
        line, marker, color = STYLES[kind]
        found = [results(kind, b) for b in BLOCK_SIZES]
        means = [r.mean for r in found]
        spreads = [r.spread for r in found]
        ax.errorbar(BLOCK_SIZES, means, spreads, linestyle=line, marker=marker, color=color, capsize=2, markersize=5)
        ax.annotate(kind, (BLOCK_SIZES[-1], means[-1]), (12, 0), textcoords="offset points", va="center", color=color)
    ax.set(
        xlabel="side of the block (cells); 1 is Dropout",
        ylabel="explained variance of the dropped cells, $R^2$",
        xticks=BLOCK_SIZES,
        xlim=(0.5, 18.2),
        ylim=(-0.35, 1),
    )
    ax.spines[["top", "right"]].set_visible(False)
    return figure


FIGURES = {
    "why_blocks_photograph": on_photograph,
    "why_blocks_feature_maps": on_feature_maps,
    "why_blocks_restored": explained_by_block_size,
}
