"""The pictures of conventions.md: masks of each convention beside those of the paper, from the same numbers."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from pages.conventions import Case, Mask, mask_of

from dropblock_ref import CONVENTIONS, PAPER

DROPPED, KEPT, LINE, DIFFERS = "0.62", "1.0", "0.82", "#b03a00"

ODD = (Case("block 3, channel 0", 3), Case("block 3, channel 1", 3, channel=1))
EVEN = Case("block 4, channel 0", 4)
OVERSIZE = Case("block 7 on 5x9,\ndrop_prob 0.5", 7, (5, 9), 0.5)
COLUMNS = {
    "paper": (*ODD, EVEN, Case("block (5, 2), channel 0", (5, 2))),
    "tpu": (*ODD, EVEN, Case("block 8 on 6x6,\ndrop_prob 0.5", 8, (6, 6), 0.5)),
    "dropblock": (*ODD, EVEN, OVERSIZE),
    "tutorial": (*ODD, EVEN, Case("block 3 on 5x12", 3, (5, 12))),
    "torchvision": (*ODD, EVEN, OVERSIZE),
    "timm": (*ODD, EVEN, OVERSIZE),
    "timm_uncoupled": (*ODD, EVEN, OVERSIZE),
    "calibrated": (*ODD, EVEN, Case("block 3, channel 0,\ndrop_prob 0.7", 3, drop_prob=0.7)),
}


def panel(ax: Axes, case: Case, mask: Mask | None, paper: Mask | None) -> None:
    """Draw one mask, and mark where it differs from that of the paper."""
    H, W = case.spatial_shape
    ax.set(xlim=(-0.6, W - 0.4), ylim=(H - 0.4, -0.6), xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)
    if mask is None:
        ax.add_patch(Rectangle((-0.5, -0.5), W, H, fill=False, edgecolor=LINE))
        ax.text((W - 1) / 2, (H - 1) / 2, "refused", ha="center", va="center", style="italic")
        ax.set_xlabel(" ", fontsize=8)
        return
    for y, x in np.ndindex(H, W):
        fill = KEPT if mask.kept[y, x] else DROPPED
        ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=fill, edgecolor=LINE, linewidth=0.5))
    label = f"{np.count_nonzero(~mask.kept)} of {H * W} dropped"
    if paper is not None:
        differs = mask.kept != paper.kept
        for y, x in np.argwhere(differs):
            ax.add_patch(
                Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, hatch="/////", edgecolor=DIFFERS, linewidth=0.0)
            )
        label += f",\n{np.count_nonzero(differs)} differ"
    rows, columns = mask.eligible
    ax.add_patch(
        Rectangle(
            (columns.start - 0.5, rows.start - 0.5),
            columns.stop - columns.start,
            rows.stop - rows.start,
            fill=False,
            linestyle=(0, (4, 2)),
            linewidth=1.2,
            edgecolor="black",
        )
    )
    y, x = np.nonzero(mask.seeds)
    ax.plot(x, y, "o", color="black", markersize=4, markeredgecolor="white", markeredgewidth=0.6)
    ax.set_xlabel(label, fontsize=8)


def compare(name: str) -> Figure:
    """The paper's masks above those of a convention, on the columns of COLUMNS."""
    cases = COLUMNS[name]
    conventions = [PAPER] if name == "paper" else [PAPER, CONVENTIONS[name]]
    figure = Figure(figsize=(8, 0.8 + 2.2 * len(conventions)), layout="constrained")
    axes = figure.subplots(len(conventions), len(cases), squeeze=False)
    for row, convention in enumerate(conventions):
        for column, case in enumerate(cases):
            ax = axes[row, column]
            panel(ax, case, mask_of(case, convention), mask_of(case, PAPER) if row else None)
            if not row:
                ax.set_title(case.title, fontsize=9)
            if not column:
                ax.set_ylabel(convention.name, fontsize=10, fontweight="bold")
    handles = [
        Patch(facecolor=DROPPED, edgecolor=LINE, label="dropped"),
        Patch(facecolor=KEPT, edgecolor="0.6", label="kept"),
        Line2D([], [], linestyle="", marker="o", color="black", markersize=4, label="seed"),
        Line2D([], [], linestyle=(0, (4, 2)), color="black", label="eligible cells"),
    ]
    if name != "paper":
        handles += [
            Patch(facecolor=DROPPED, hatch="/////", edgecolor=DIFFERS, label="dropped here, not by paper"),
            Patch(facecolor=KEPT, hatch="/////", edgecolor=DIFFERS, label="dropped by paper, not here"),
        ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)
    return figure


FIGURES = {f"convention_{name}": partial(compare, name) for name in COLUMNS}
