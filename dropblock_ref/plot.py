"""Figures: the stages of one map, the exact probability that each cell is dropped, and a report of the oracle.

matplotlib is imported only when a figure is asked for. Every figure is a matplotlib.figure.Figure made without pyplot,
so it belongs to the caller alone and no global state of matplotlib is touched. Nothing is said by colour alone.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .algorithm import Block
from .arguments import (
    check_boolean,
    check_choice,
    check_floating,
    check_instance,
    check_integer,
    check_probability,
    describe,
)
from .call import check_fits, find_layout
from .convention import Convention, find_convention
from .dropblock import Trace
from .picture import telling_cell
from .testing.check import GROUPS
from .testing.oracle import CHECKS
from .testing.report import STATUSES, CheckResult, Report
from .theory import drop_probability, expected_drop_fraction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.patches import Patch

__all__ = ["plot_drop_probability", "plot_report", "plot_trace"]

_Span = tuple[int, int, int, int]  # of cells: first row, row after the last, first column, column after the last
_Style = Mapping[str, Any]

_DROPPED: _Style = {"facecolor": "0.88", "edgecolor": "0.5", "hatch": "/////", "linewidth": 0.8}
_SEED: _Style = {"marker": "o", "markerfacecolor": "white", "markeredgecolor": "black", "label": "seed"}
_OTHER_SEED: _Style = {"marker": "x", "markeredgecolor": "black", "label": "seed in another slice"}
_NOT_FINITE: _Style = {"marker": "+", "markeredgecolor": "black", "label": "not finite"}
_ELIGIBLE: _Style = {"edgecolor": "black", "linestyle": "--", "linewidth": 1.0, "label": "where seeds may lie"}
_BLOCK: _Style = {"edgecolor": "black", "linewidth": 1.2, "label": "block"}
_ROW: tuple[_Style, ...] = (  # to be seen on every colour
    {"edgecolor": "white", "linewidth": 1.8},
    {"edgecolor": "black", "linewidth": 1.0, "linestyle": "--"},
)
# status -> symbol, and a colour with at least the contrast to white that small text needs
_LOOK = {
    "passed": ("\N{CHECK MARK}", "#00664b"),
    "failed": ("\N{BALLOT X}", "#a32a00"),
    "reported": ("i", "#005a8c"),
    "not_applicable": ("\N{EN DASH}", "#595959"),
    "not_judged": ("?", "#5b4a8a"),
    "expected_failure": ("!", "#7a4f00"),
}
_HEADINGS = {
    "replay": "replay: the seeds are known",
    "recover": "recover: the mask is read from the output",
    "distribution": "distribution: rates over many draws",
    "other": "other checks",
}
_LARGEST_WITH_GRID = 16  # cells
_SHORTEST = 1.1  # inches, for a side of a map: room for its labels
# of the table, in inches: from line to line, from a line to the note below it, from the upper edge to the first line,
# and the widths of the bars and of the numbers beside them
_LINE, _NOTE, _HEAD, _BARS, _NUMBERS = 0.23, 0.19, 0.62, 2.0, 0.75


def plot_trace(trace: Trace, *, sample: int = 0, channel: int = 0, depth: int | None = None) -> Figure:
    """Draw the stages of one map beside each other: seeds, keep mask, scale, output.

    Parameters
    ----------
    trace : Trace
        What `dropblock_ref.trace` returned. Never modified.
    sample, channel : int
        Which map, from 0 on. Where the convention shares masks over channels, all channels of a sample show the same
        seeds and mask.
    depth : int, optional
        Which slice of a volume (D, H, W), from 0 on; by default the one with the most dropped cells, and of several the
        first.

    Returns
    -------
    matplotlib.figure.Figure
        Four panels, whose images hold the arrays with dropped cells masked (the seeds unmasked). Dropped cells are
        hatched. A seed is a circle, each block has its outline, a dashed frame shows where seeds may lie. In a slice of
        a volume a cross is a seed of another slice whose block reaches into this one. A plus is an output that is
        not finite. A map more than twice as wide as high has its panels one above the other; cells are square but on
        very long maps. Save the figure with ``figure.savefig("trace.png")``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or the trace has no map.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from dropblock_ref import trace
    >>> from dropblock_ref.plot import plot_trace
    >>> figure = plot_trace(trace(np.ones((1, 1, 4, 4)), 0.3, 2, rng=4))
    >>> [axes.get_title() for axes in figure.axes[:4]]
    ['seeds', 'keep mask', 'scale 1.333', 'output']
    """
    trace = check_instance(trace, "trace", Trace, "a Trace, as dropblock_ref.trace returns it")
    gamma = check_probability(trace.gamma, "trace.gamma")
    one = _select(trace, sample, channel, depth)
    dropped = np.count_nonzero(~one.kept) / one.kept.size
    wide = _is_wide(one.kept.shape)
    width, height = _fit(one.kept.shape, 6.0 if wide else 4.0 if _is_wide(one.kept.shape[::-1]) else 2.6)
    size = (width + 1.8, 4 * height + 3.1) if wide else (4 * width + 2.6, height + 1.7)
    figure = _figure(size, f"{one.where}: gamma {gamma:.4g}, {100 * dropped:.3g} % of these cells dropped")
    seeds, mask, scale, output = panels = figure.subplots(*((4, 1) if wide else (1, 4)), sharex=True, sharey=True)
    for axes, title in zip(panels, ("seeds", "keep mask", f"scale {_range(one.factor)}", "output"), strict=True):
        axes.set_title(title, fontsize="medium")
        axes.set(xlabel="column (cells)", ylabel="row (cells)")
        axes.label_outer()
        if axes is not seeds:
            axes.patch.set(**_DROPPED)
    _show(seeds, (width, height), one.seeds.astype(np.float64), "gray_r", (0.0, 1.6))
    _show(mask, (width, height), np.ma.masked_where(~one.kept, one.kept.astype(np.float64)), "gray", (0.0, 1.0))
    # Nearly always one number, which the title says: the middle grey, and lighter where there are smaller ones.
    _show(
        scale,
        (width, height),
        np.ma.masked_where(~one.kept, one.factor),
        "gray_r",
        (0.0, 2 * _limits(one.factor, 0.0)[1]),
    )
    values = _show(
        output, (width, height), np.ma.masked_where(~one.kept, one.output), "cividis", _limits(one.output[one.kept])
    )
    _bar(figure, values, output, "value" if wide else "value of the output")

    rows, columns = one.kept.shape
    size_of_mark = float(np.clip(0.45 * 72 * min(height / rows, width / columns), 3.5, 8.0))
    legend = []
    for axes, where, style in (
        (seeds, one.seeds, _SEED),
        (mask, one.seeds, _SEED),
        (mask, one.other_seeds, _OTHER_SEED),
        (output, ~np.isfinite(one.output), _NOT_FINITE),
    ):
        if where.any():
            y, x = np.nonzero(where)
            legend += axes.plot(x, y, linestyle="none", markersize=size_of_mark, **style)
    for axes, spans, style in ((seeds, one.eligible, _ELIGIBLE), (mask, one.blocks, _BLOCK)):
        if spans:
            legend.append(_outline(axes, spans, style))
    if dropped:
        legend.append(_patch(label="dropped", **_DROPPED))
    unique = list({handle.get_label(): handle for handle in legend}.values())
    figure.legend(handles=unique, loc="outside lower center", ncols=max(1, int(size[0] / 1.8)), frameon=False)
    return figure


def plot_drop_probability(
    drop_prob: Any, block_size: Any, spatial_shape: Any, *, convention: Convention | str = "paper"
) -> Figure:
    """Draw the exact probability that each cell of a map is dropped, and its profile along the middle row.

    Parameters
    ----------
    drop_prob : float
        Nominal probability that a unit is dropped, in [0, 1].
    block_size : int or sequence of int
        Side of the block in cells, at least 1; one int per spatial axis, or one for all.
    spatial_shape : sequence of int
        (H, W) or (D, H, W) of the map, at least 1 each. Of a volume the centre slice, ``D // 2``, is drawn.
    convention : Convention or str
        The choices to follow, or their name in `CONVENTIONS`.

    Returns
    -------
    matplotlib.figure.Figure
        The map with a colour bar and a frame around the middle row, ``H // 2``; and the probabilities along this row
        between two lines, drop_prob and the expected fraction of dropped cells of the whole map or volume.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or the convention refuses the block on this map.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from dropblock_ref.plot import plot_drop_probability
    >>> figure = plot_drop_probability(0.1, 7, (28, 28))
    >>> [round(float(p), 4) for p in figure.axes[1].lines[0].get_ydata()[[0, 14]]]
    [0.0229, 0.1498]
    """
    drop_prob = check_probability(drop_prob, "drop_prob")
    convention = find_convention(convention)
    rates = drop_probability(drop_prob, block_size, spatial_shape, convention=convention)
    mean = expected_drop_fraction(drop_prob, block_size, spatial_shape, convention=convention)
    title = f"{_times(rates.shape)} cells, block {_times(block_size)}, convention {convention.name!r}"
    if rates.ndim == 3:
        title += f", slice {len(rates) // 2} of {len(rates)} in depth"
        rates = rates[len(rates) // 2]
    rows, columns = rates.shape
    highest = max(float(rates.max()), drop_prob) or 1.0
    probability = "probability that a cell is dropped"

    wide = _is_wide(rates.shape)
    width, height = _fit(rates.shape, 6.5 if wide else 3.4)
    if wide:
        figure = _figure((width + 1.7, height + 4.0), title)
        of_map, profile = figure.subplots(2, 1, height_ratios=[height, 2.6])
    else:
        figure = _figure((width + 6.2, max(height, 3.0) + 1.1), title)
        of_map, profile = figure.subplots(1, 2, width_ratios=[width, 3.8])
    image = _show(of_map, (width, height), rates, "cividis", (0.0, highest))
    _bar(figure, image, of_map, "probability" if wide else probability)
    of_map.set(xlabel="column (cells)", ylabel="row (cells)")
    middle = rows // 2
    for style in _ROW:
        _outline(of_map, [(middle, middle + 1, 0, columns)], style)
    marker = "o" if columns <= 2 * _LARGEST_WITH_GRID else ""
    profile.plot(rates[middle], color="black", marker=marker, markersize=3.5, label=f"row {middle}")
    profile.axhline(drop_prob, color="#a32a00", linestyle="--", label=f"drop_prob {drop_prob:.4g}")
    profile.axhline(mean, color="#005a8c", linestyle=":", linewidth=2.0, label=f"mean of all cells {mean:.4g}")
    profile.set(xlabel="column (cells)", ylabel=probability, xlim=(-0.5, columns - 0.5), ylim=(0.0, 1.05 * highest))
    _whole_numbers(profile.xaxis, 7)
    profile.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize="small")
    return figure


def plot_report(report: Report) -> Figure:
    """Draw a report of the oracle: a row per check.

    Parameters
    ----------
    report : Report
        What `dropblock_ref.testing.check_backend` returned.

    Returns
    -------
    matplotlib.figure.Figure
        In the groups of the oracle, one row per check: its status as symbol, word and colour, its name, the number of
        masks that it looked at as a bar on a logarithmic axis, and the smallest error that it finds with probability
        1 - 1e-6, where it states that. Below a check that did not simply pass stands the first line of its message.
        The title is the first line of the report's text form.

    Raises
    ------
    TypeError, ValueError
        If `report` is not a Report, or has a status that does not exist.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from dropblock_ref import backends
    >>> from dropblock_ref.plot import plot_report
    >>> from dropblock_ref.testing import check_backend
    >>> figure = plot_report(check_backend(backends.load("numpy"), checks=["scale", "empty_batch"]))
    >>> figure.get_suptitle()
    "PASSED (only: scale, empty_batch)  numpy, held to convention 'paper': 2 passed"
    """
    report = check_instance(report, "report", Report, "a Report, as dropblock_ref.testing.check_backend returns it")
    for number, result in enumerate(report.results):
        check_choice(result.status, f"report.results[{number}].status", STATUSES)
    return _table(report)


@dataclass(frozen=True)
class _Slice:
    """What one figure of a trace shows: arrays of one map, or of one slice of a volume."""

    where: str
    seeds: NDArray[np.bool_]
    other_seeds: NDArray[np.bool_]  # of other slices, with blocks that reach into this one
    kept: NDArray[np.bool_]
    factor: NDArray[np.float64]
    output: NDArray[np.float64]
    eligible: list[_Span]
    blocks: list[_Span]


def _select(trace: Trace, sample: Any, channel: Any, depth: Any) -> _Slice:
    output, seeds = check_floating(trace.output, "trace.output"), check_boolean(trace.seeds, "trace.seeds")
    kept = check_boolean(trace.keep_mask, "trace.keep_mask")
    block = check_instance(trace.block, "trace.block", Block, "a Block, as dropblock_ref.trace returns it")
    layout = find_layout(trace.data_format, output.shape, "trace.output")
    check_fits(seeds, "trace.seeds", output.shape, "trace.output", (0, layout.channel_axis))
    check_fits(kept, "trace.keep_mask", seeds.shape, "trace.seeds")
    try:
        factor = np.broadcast_to(np.asarray(trace.scale, dtype=np.float64), output.shape)
    except (TypeError, ValueError) as error:
        accepted = f"trace.scale must be a number, or an array that broadcasts over the output of shape {output.shape}"
        raise ValueError(f"{accepted}; got {describe(trace.scale)}") from error
    sample = _check_index(sample, "sample", output.shape, 0)
    channel = _check_index(channel, "channel", output.shape, layout.channel_axis)
    of_x = layout.map_index(sample, channel)
    of_mask = layout.map_index(min(sample, len(seeds) - 1), min(channel, seeds.shape[layout.channel_axis] - 1))
    seeds, kept = seeds[of_mask], kept[of_mask]
    output, factor = output[of_x].astype(np.float64), factor[of_x]
    where, others = f"sample {sample}, channel {channel}", np.zeros_like(seeds)
    eligible = [block.eligible]
    if seeds.ndim == 2:
        if depth is not None:
            raise ValueError(f"depth must be None for maps of shape {seeds.shape}, got {describe(depth)}")
    else:
        depth = telling_cell(kept)[0] if depth is None else _check_index(depth, "depth", kept.shape, 0)
        where += f", slice {depth} of {len(kept)} in depth"
        reach = slice(max(0, depth - block.after[0]), depth + block.before[0] + 1)
        others = seeds[reach].any(axis=0) & ~seeds[depth]
        eligible = [block.eligible[1:]] if block.eligible[0].start <= depth < block.eligible[0].stop else []
        seeds, kept, factor, output = (array[depth] for array in (seeds, kept, factor, output))
    spans = [(rows.start, rows.stop, columns.start, columns.stop) for rows, columns in eligible]
    return _Slice(where, seeds, others, kept, factor, output, spans, _block_spans(seeds | others, block))


def _check_index(value: Any, name: str, shape: tuple[int, ...], axis: int) -> int:
    """An index of that axis."""
    if shape[axis] == 0:
        raise ValueError(f"trace must have a map to draw, and there is no {name}: the output has shape {shape}")
    index = check_integer(value, name, 0)
    if index >= shape[axis]:
        raise ValueError(f"{name} must be an integer from 0 to {shape[axis] - 1}, got {describe(value)}")
    return index


def _block_spans(seeds: NDArray[np.bool_], block: Block) -> list[_Span]:
    """The block of every seed of a slice, as far as it lies in the map."""
    (up, left), (down, right) = block.before[-2:], block.after[-2:]
    rows, columns = seeds.shape
    return [
        (max(0, int(r) - up), min(rows, int(r) + down + 1), max(0, int(c) - left), min(columns, int(c) + right + 1))
        for r, c in np.argwhere(seeds)
    ]


def _table(report: Report) -> Figure:
    """The figure of a report: columns of text, each as wide as its widest text, and bars; all placed in inches."""
    rows, depth = _rows(report)
    height = depth + (0.9 if report.results else 0.0)
    figure = _figure((8.0, height), layout="none")

    def column(left: float, texts: Iterable[tuple[float, str, _Style]]) -> float:
        """Write texts at `left`, at their depths below the upper edge, and say where the widest one ends."""
        end = left
        for below, text, style in texts:
            plain = {"va": "center", "fontsize": 9, "parse_math": False, "transform": figure.dpi_scale_trans}
            written = figure.text(left, height - below, text, **{**plain, **style})
            end = max(end, float(written.get_window_extent().x1 / figure.dpi))
        return end

    lines = str(report).splitlines()
    in_inches = {"x": 0.2, "y": height - 0.25, "transform": figure.dpi_scale_trans}
    heading = figure.suptitle(lines[0], ha="left", va="center", fontsize=11, parse_math=False, **in_inches)
    ends = [float(heading.get_window_extent().x1 / figure.dpi)]
    results = [(below, row) for below, row in rows if isinstance(row, CheckResult)]
    if report.false_alarm:
        ends.append(column(0.2, [(height - 0.2, lines[-1].strip(), {"fontsize": 8})]))
    ends.append(column(0.2, [(below, row, {"fontweight": "bold"}) for below, row in rows if isinstance(row, str)]))
    looks = [(below, row, {"color": _LOOK[row.status][1]}) for below, row in results]
    # The font that comes with matplotlib has the symbols, whatever the user's own font has.
    fonts = {"fontfamily": "DejaVu Sans", "fontweight": "bold"}
    left = column(0.3, [(below, _LOOK[row.status][0], {**look, **fonts}) for below, row, look in looks])
    left = column(0.52, [(below, row.status.replace("_", " "), look) for below, row, look in looks])
    notes = [(below, _first_line(row)) for below, row in results if row.status != "passed" and row.message]
    ends.append(column(left + 0.2, [(below + _NOTE, note, {"style": "italic"}) for below, note in notes]))
    left = column(left + 0.2, [(below, row.name, {}) for below, row in results]) + 0.2
    found = [(_HEAD, "the smallest error that it finds", {"fontweight": "bold"})] if report.false_alarm else []
    found += [(below, row.finds, {}) for below, row in results if row.detects]
    ends += [left + _BARS + _NUMBERS, column(left + _BARS + _NUMBERS, found)]
    figure.set_size_inches(max(ends) + 0.2, height)
    if results:
        box = (
            left / figure.get_figwidth(),
            1.0 - depth / height,
            _BARS / figure.get_figwidth(),
            (depth - _HEAD) / height,
        )
        axes = figure.add_axes(box, ylim=(depth, _HEAD), xscale="log", yticks=[], facecolor="none")
        _draw_bars(axes, results)
    return figure


def _rows(report: Report) -> tuple[list[tuple[float, str | CheckResult]], float]:
    """Headings and results in the groups of the oracle, with their depth in inches; and the depth of all."""
    groups: dict[str, list[CheckResult]] = {group: [] for group in (*GROUPS, "other")}
    for result in report.results:
        groups[CHECKS[result.name].group if result.name in CHECKS else "other"].append(result)
    rows: list[tuple[float, str | CheckResult]] = []
    below = _HEAD
    for group, results in groups.items():
        if results:
            rows.append((below, _HEADINGS[group]))
            below += _LINE
        for result in results:
            rows.append((below, result))
            below += _LINE + (_NOTE if result.status != "passed" and result.message else 0.0)
        below += 0.4 * _LINE if results else 0.0
    return rows, below


def _first_line(result: CheckResult) -> str:
    return textwrap.shorten(result.message.strip().splitlines()[0], 120, placeholder=" ...")


def _draw_bars(axes: Axes, results: list[tuple[float, CheckResult]]) -> None:
    """The number of masks that each check looked at, from 1 on, because the axis is logarithmic."""
    most = max(result.draws for _, result in results)
    axes.set_xlim(1.0, 10.0 ** max(1, len(str(most))))
    axes.minorticks_off()
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.set_xlabel("masks looked at (logarithmic)", fontsize=9)
    for below, result in results:
        axes.barh(below, max(result.draws - 1, 0), left=1.0, height=0.55 * _LINE, color="0.6")
        at = (max(result.draws, 1), below)
        axes.annotate(f"{result.draws:,}", at, (3, 0), textcoords="offset points", va="center", fontsize=8)


def _figure(size: tuple[float, float], title: str = "", layout: Any = "compressed") -> Figure:
    """An empty figure of a size in inches, with a title if there is one."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("dropblock_ref.plot needs matplotlib: pip install 'dropblock_ref[plot]'") from error
    figure = Figure(figsize=size, layout=layout)
    if layout == "compressed":
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08, wspace=0.04)
        figure.suptitle(textwrap.fill(title, int(12 * size[0])), fontsize=11, parse_math=False)
    return figure


def _range(values: NDArray[np.float64]) -> str:
    """All values in a few characters: the one value, or the lowest and the highest."""
    low, high = f"{np.min(values):.4g}", f"{np.max(values):.4g}"
    return low if low == high else f"{low} to {high}"


def _is_wide(shape: tuple[int, ...]) -> bool:
    """Whether panels are better stacked than set beside each other."""
    return shape[1] > 2 * shape[0]


def _fit(shape: tuple[int, ...], longest: float) -> tuple[float, float]:
    """Width and height in inches of a map whose longer side has the length `longest`; of square cells if it can be."""
    return max(longest * shape[1] / max(shape), _SHORTEST), max(longest * shape[0] / max(shape), _SHORTEST)


def _times(sides: Any) -> str:
    return str(sides) if isinstance(sides, Integral) else " \N{MULTIPLICATION SIGN} ".join(map(str, sides))


def _limits(values: NDArray[np.float64], *more: float) -> tuple[float, float]:
    """The range of colours for these values; never empty."""
    # matplotlib's own arithmetic overflows beyond; such values have the colour of the end.
    finite = np.clip([*values[np.isfinite(values)], *more], -1e300, 1e300).tolist()
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    if low == high:
        low, high = min(low, 0.0), max(high, 0.0)
    return (low, high) if low < high else (0.0, 1.0)


def _show(
    axes: Axes, size: tuple[float, float], array: NDArray[Any], colours: str, limits: tuple[float, float]
) -> AxesImage:
    """A map of a size in inches; small ones with lines between the cells."""
    low, high = limits
    aspect = size[1] / array.shape[0] / (size[0] / array.shape[1])
    image = axes.imshow(
        array, cmap=colours, vmin=low, vmax=high, interpolation="nearest", origin="upper", aspect=aspect
    )
    for axis, number in ((axes.yaxis, array.shape[0]), (axes.xaxis, array.shape[1])):
        _whole_numbers(axis, max(2, 7 * number // max(array.shape)))
        if max(array.shape) <= _LARGEST_WITH_GRID:
            axis.set_ticks(np.arange(1, number) - 0.5, minor=True)
            axis.grid(visible=True, which="minor", color="0.7", linewidth=0.5, linestyle="-")
            axis.set_tick_params(which="minor", length=0)
    return image


def _bar(figure: Figure, image: AxesImage, axes: Axes, label: str) -> None:
    """A colour bar as high as the map."""
    rows, columns = image.get_size()
    figure.colorbar(image, ax=axes, label=label, fraction=0.15 * min(max(1.0, rows / columns), 3.0))


def _whole_numbers(axis: Axis, most: int) -> None:
    """Ticks at cells only, of which there are about so many at most."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=most, integer=True, min_n_ticks=1))


def _patch(**style: Any) -> Patch:
    from matplotlib.patches import Patch

    return Patch(**style)


def _outline(axes: Axes, spans: list[_Span], style: _Style) -> PolyCollection:
    """Frames around boxes of cells; a cell reaches half a unit to each side of its index."""
    from matplotlib.collections import PolyCollection

    corners = [
        [(left, top), (right, top), (right, bottom), (left, bottom)]
        for top, bottom, left, right in np.asarray(spans, dtype=np.float64) - 0.5
    ]
    frames = PolyCollection(corners, facecolors="none", clip_on=False, zorder=1.8, **style)
    axes.add_collection(frames, autolim=False)
    return frames
