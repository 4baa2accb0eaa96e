"""Figures of algorithm.md: Algorithm 1 on one map, where the extra cell of an even block lies, a closing of seeds."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

import dropblock_ref

SEED, DROPPED, ELIGIBLE, KEPT = "#1b1b1b", "#7a7a7a", "#e6dfb8", "#ffffff"
OUTLINES = (("#00204d", "-"), ("#9a5b00", "--"), ("#006d5b", ":"))


def example() -> tuple[NDArray[np.float32], dropblock_ref.Trace]:
    """The map of the page and every stage of Algorithm 1 on it; the text shows the same calls."""
    i, j = np.indices((8, 8))
    x = ((3 * i + 5 * j) % 9 + 1).astype(np.float32)[None, None]
    return x, dropblock_ref.trace(x, drop_prob=0.3, block_size=3, rng=993)


def draw_cells(axes: Axes, colors: NDArray[np.str_], texts: NDArray[np.str_] | None = None, size: float = 8) -> None:
    """A map as squares of the given colours, with a text in each."""
    height, width = colors.shape
    for (i, j), color in np.ndenumerate(colors):
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=color, edgecolor="#b0b0b0", linewidth=0.6))
        if texts is not None:
            dark = color in {SEED, DROPPED}
            axes.text(j, i, texts[i, j], ha="center", va="center", fontsize=size, color="white" if dark else "black")
    axes.set(xlim=(-0.55, width - 0.45), ylim=(height - 0.45, -0.55), aspect="equal")
    axes.set_xticks(range(width))
    axes.set_yticks(range(height))
    axes.tick_params(length=0, labelsize=7)
    axes.set_xlabel("column (cells)", fontsize=8)
    axes.set_ylabel("row (cells)", fontsize=8)
    axes.label_outer()
    axes.spines[:].set_visible(False)


def outline(axes: Axes, rows: tuple[int, int], columns: tuple[int, int], color: str, style: str) -> None:
    """A frame around the cells from the first to the last row and column."""
    axes.add_patch(
        Rectangle(
            (columns[0] - 0.5, rows[0] - 0.5),
            columns[1] - columns[0] + 1,
            rows[1] - rows[0] + 1,
            fill=False,
            edgecolor=color,
            linestyle=style,
            linewidth=2.2,
            zorder=3,
        )
    )


def where(condition: NDArray[np.bool_], yes: str, no: str) -> NDArray[np.str_]:
    """A colour per cell."""
    return np.where(condition, yes, no)


def stages() -> Figure:
    """Input, eligible cells and seeds, blocks, keep mask, product, output."""
    x, trace = example()
    seeds, keep = trace.seeds[0, 0], trace.keep_mask[0, 0]
    eligible = dropblock_ref.valid_seeds(3, seeds.shape)
    places = np.argwhere(seeds).tolist()
    kept_or_not = where(keep, KEPT, DROPPED)
    figure = Figure(figsize=(8, 6.0), layout="constrained")
    axes = figure.subplots(2, 3)

    draw_cells(axes[0, 0], where(keep | True, KEPT, KEPT), x[0, 0].astype(int).astype(str))
    axes[0, 0].set_title("A, the input", fontsize=10)

    colors = where(eligible, ELIGIBLE, KEPT)
    colors[seeds] = SEED
    draw_cells(axes[0, 1], colors)
    axes[0, 1].set_title("eligible cells and seeds (line 5)", fontsize=10)

    number = np.zeros(seeds.shape, dtype=int)
    for i, j in places:
        number[i - 1 : i + 2, j - 1 : j + 2] += 1
    draw_cells(axes[0, 2], kept_or_not, np.where(number > 0, number.astype(str), ""))
    for (i, j), (color, style) in zip(places, OUTLINES, strict=True):
        outline(axes[0, 2], (i - 1, i + 1), (j - 1, j + 1), color, style)
    axes[0, 2].set_title("blocks over each cell (line 6)", fontsize=10)

    draw_cells(axes[1, 0], kept_or_not, keep.astype(int).astype(str))
    axes[1, 0].set_title("M, the keep mask (line 6)", fontsize=10)

    draw_cells(axes[1, 1], kept_or_not, (x[0, 0] * keep).astype(int).astype(str))
    axes[1, 1].set_title(r"A $\times$ M (line 7)", fontsize=10)

    draw_cells(axes[1, 2], kept_or_not, np.char.mod("%.3g", trace.output[0, 0]), size=6.8)
    axes[1, 2].set_title(
        rf"A $\times$ M $\times$ {keep.size}/{np.count_nonzero(keep)}, the output (line 8)", fontsize=10
    )
    return figure


def even_blocks() -> Figure:
    """One seed and its block of 3 and of 4, with the extra cell before and after the seed, and the eligible cells."""
    figure = Figure(figsize=(8, 3.3), layout="constrained")
    cases = [(3, "paper", "odd: 3"), (4, "paper", '4, "before" (paper)'), (4, "dropblock", '4, "after" (dropblock)')]
    for axes, (block_size, name, title) in zip(figure.subplots(1, 3), cases, strict=True):
        convention = dropblock_ref.CONVENTIONS[name]
        seeds = np.zeros((1, 1, 8, 8), dtype=bool)
        seeds[0, 0, 3, 4] = True
        keep = dropblock_ref.keep_mask(seeds, block_size, convention=convention)[0, 0]
        colors = where(keep, KEPT, DROPPED)
        colors[3, 4] = SEED
        rows, columns = np.nonzero(~keep)
        extra = np.zeros(keep.shape, dtype=bool)
        if block_size % 2 == 0:
            side = max if convention.even_extra_cell == "after" else min
            extra[side(rows)] = extra[:, side(columns)] = True
        draw_cells(axes, colors, np.where(extra & ~keep, "+", ""), size=10)
        before = (block_size - 1) // 2 if convention.even_extra_cell == "after" else block_size // 2
        fits = (before, 8 - block_size + before)
        outline(axes, fits, fits, OUTLINES[1][0], "--")
        axes.set_title(title, fontsize=10)
    return figure


def recovered() -> Figure:
    """Seeds, the dropped cells that they give, and the largest seed set that explains these."""
    seeds = np.zeros((1, 1, 6, 8), dtype=bool)
    seeds[0, 0, [1, 2, 4], [1, 3, 2]] = True
    keep = dropblock_ref.keep_mask(seeds, 3)
    largest = dropblock_ref.recover_seeds(keep, 3)
    torn = keep.copy()
    torn[0, 0, 1, 4] = True
    figure = Figure(figsize=(8, 2.75), layout="constrained")
    panels = [
        (seeds, keep, "drawn seeds and their blocks"),
        (largest, keep, "recovered seeds"),
        (dropblock_ref.recover_seeds(torn, 3), torn, "not legal: one cell too many kept"),
    ]
    for axes, (shown, mask, title) in zip(figure.subplots(1, 3), panels, strict=True):
        colors = where(mask[0, 0], KEPT, DROPPED)
        colors[shown[0, 0]] = SEED
        draw_cells(axes, colors)
        axes.set_title(title, fontsize=10)
    opened = dropblock_ref.keep_mask(dropblock_ref.recover_seeds(torn, 3), 3)
    for i, j in np.argwhere((opened != torn)[0, 0]):
        axes.text(j, i, "?", ha="center", va="center", color="white", fontsize=10)
    return figure


FIGURES = {
    "algorithm_stages": stages,
    "algorithm_even_blocks": even_blocks,
    "algorithm_recovered_seeds": recovered,
}
