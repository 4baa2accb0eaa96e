"""Figures: what is drawn is read back from the artists and compared with values by hand or by brute force."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

import dropblock_ref
from dropblock_ref import CONVENTIONS, PAPER, Trace
from dropblock_ref.plot import _LOOK, plot_drop_probability, plot_report, plot_trace
from dropblock_ref.testing import CheckResult, Report
from dropblock_ref.testing.report import STATUSES

from .. import brute_force

ROOT = Path(__file__).resolve().parents[2]


def draw(figure: Figure) -> Figure:
    """The figure after it was drawn, as nothing may warn on the way."""
    assert type(figure) is Figure
    figure.savefig(BytesIO(), format="png", dpi="figure")
    return figure


def seeds_at(shape: tuple[int, ...], *cells: tuple[int, ...]) -> NDArray[np.bool_]:
    seeds = np.zeros(shape, dtype=np.bool_)
    for cell in cells:
        seeds[cell] = True
    return seeds


def image(axes: Any) -> Any:
    (only,) = axes.images
    return only.get_array()


def points(axes: Any, marker: str) -> set[tuple[int, int]]:
    """(row, column) of the markers of that kind."""
    return {
        (round(y), round(x))
        for line in axes.lines
        if line.get_marker() == marker
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }


def frames(axes: Any) -> set[tuple[float, float, float, float]]:
    """Top, bottom, left and right of each outline."""
    boxes = [path.get_extents() for collection in axes.collections for path in collection.get_paths()]
    return {(float(box.y0), float(box.y1), float(box.x0), float(box.x1)) for box in boxes}


def legend(figure: Figure) -> set[str]:
    return {text.get_text() for one in figure.legends for text in one.get_texts()}


# plot_trace

X = np.arange(1.0, 13.0).reshape(1, 1, 3, 4)
TINY = dropblock_ref.trace(X, 0.5, 2, seeds=seeds_at(X.shape, (0, 0, 1, 1), (0, 0, 2, 2)))
# by hand: blocks of 2 with the extra cell before the seed
KEPT = np.array([[0, 0, 1, 1], [0, 0, 0, 1], [1, 0, 0, 1]], dtype=np.bool_)


def test_the_four_panels_show_the_four_stages() -> None:
    figure = draw(plot_trace(TINY))
    *panels, bar = figure.axes
    assert [axes.get_title() for axes in panels] == ["seeds", "keep mask", f"scale {12 / 5:.4g}", "output"]
    seeds, mask, factor, output = map(image, panels)
    assert seeds.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    for array in (mask, factor, output):
        assert np.array_equal(np.ma.getmaskarray(array), ~KEPT)
    assert mask.compressed().tolist() == [1.0] * 5
    assert factor.compressed().tolist() == [2.4] * 5
    assert output.compressed().tolist() == pytest.approx([3 * 2.4, 4 * 2.4, 8 * 2.4, 9 * 2.4, 12 * 2.4])
    assert panels[3].images[0].get_clim() == pytest.approx((3 * 2.4, 12 * 2.4))
    assert bar.get_ylabel() == "value of the output"
    (title,) = {figure.get_suptitle()}
    assert title == f"sample 0, channel 0: gamma {0.5 / 4 * 3 / 2 * 4 / 3:.4g}, 58.3 % of these cells dropped"


def test_seeds_blocks_and_eligible_cells_are_marked() -> None:
    figure = draw(plot_trace(TINY))
    seeds, mask, _, output = figure.axes[:4]
    assert points(seeds, "o") == points(mask, "o") == {(1, 1), (2, 2)}
    assert frames(mask) == {(-0.5, 1.5, -0.5, 1.5), (0.5, 2.5, 0.5, 2.5)}
    assert frames(seeds) == {(0.5, 2.5, 0.5, 3.5)}
    assert not output.lines
    assert legend(figure) == {"seed", "where seeds may lie", "block", "dropped"}


def test_axes_are_labelled_and_dropped_cells_are_hatched() -> None:
    panels = plot_trace(TINY).axes[:4]
    assert [axes.get_xlabel() for axes in panels] == ["column (cells)"] * 4
    assert [axes.get_ylabel() for axes in panels] == ["row (cells)", "", "", ""]
    assert [bool(axes.patch.get_hatch()) for axes in panels] == [False, True, True, True]
    for axes in panels:
        assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 3.5), (2.5, -0.5))


@pytest.mark.parametrize("convention", ["paper", "timm", "dropblock"])
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("spatial_shape", [(5, 6), (4, 5, 6)])
def test_every_map_is_found_in_every_layout(convention: str, data_format: str, spatial_shape: tuple[int, ...]) -> None:
    shape = (2, 3, *spatial_shape) if data_format == "channels_first" else (2, *spatial_shape, 3)
    x = np.random.default_rng(0).uniform(1, 2, shape)
    rules = CONVENTIONS[convention]
    one = dropblock_ref.trace(x, 0.4, 3, rng=2, data_format=data_format, convention=convention)
    for sample, channel in ((0, 0), (1, 2)):
        of_mask = 0 if rules.shared_channels else channel
        depths = (None,) if len(spatial_shape) == 2 else range(spatial_shape[0])
        for depth in depths:
            panels = plot_trace(one, sample=sample, channel=channel, depth=depth).axes
            for row in range(spatial_shape[-2]):
                for column in range(spatial_shape[-1]):
                    cell = (row, column) if depth is None else (depth, row, column)
                    at = brute_force.whole(sample, of_mask, cell, data_format)
                    assert image(panels[0])[row, column] == one.seeds[at]
                    dropped = np.ma.is_masked(image(panels[3])[row, column])
                    assert dropped == (not one.keep_mask[at])
                    if not dropped:
                        expected = one.output[brute_force.whole(sample, channel, cell, data_format)]
                        assert image(panels[3])[row, column] == expected


@pytest.mark.parametrize("convention", ["paper", "timm", "dropblock", "torchvision"])
def test_the_outlined_blocks_of_a_slice_are_its_dropped_cells(convention: str) -> None:
    rules = CONVENTIONS[convention]
    one = dropblock_ref.trace(np.ones((1, 1, 5, 7, 8)), 0.3, 3, rng=5, convention=convention)
    for depth in range(5):
        figure = plot_trace(one, depth=depth)
        seeds, mask = figure.axes[:2]
        covered = np.zeros((7, 8), dtype=np.bool_)
        for top, bottom, left, right in frames(mask):
            covered[int(top + 0.5) : int(bottom + 0.5), int(left + 0.5) : int(right + 0.5)] = True
        assert np.array_equal(covered, ~one.keep_mask[0, 0, depth])
        here = {(int(r), int(c)) for r, c in np.argwhere(one.seeds[0, 0, depth])}
        reaching = {
            (r, c)
            for d, r, c in np.argwhere(one.seeds[0, 0]).tolist()
            if any(cell[0] == depth for cell in brute_force.block_cells((d, r, c), (3, 3, 3), rules))
        }
        assert points(seeds, "o") == points(mask, "o") == here
        assert points(mask, "x") == reaching - here
        assert ("seed in another slice" in legend(figure)) == bool(reaching - here)
        eligible = {cell for cell in brute_force.eligible_cells(3, (5, 7, 8), rules) if cell[0] == depth}
        assert bool(frames(seeds)) == bool(eligible)
        assert f"slice {depth} of 5 in depth" in figure.get_suptitle()


def test_of_a_volume_the_slice_with_the_most_dropped_cells_is_drawn() -> None:
    seeds = seeds_at((1, 1, 4, 3, 3), (0, 0, 1, 0, 0), (0, 0, 2, 1, 1), (0, 0, 2, 2, 2), (0, 0, 3, 0, 0))
    figure = plot_trace(dropblock_ref.trace(np.ones((1, 1, 4, 3, 3)), 0.1, 1, seeds=seeds))
    assert "slice 2 of 4 in depth" in figure.get_suptitle()
    assert np.argwhere(image(figure.axes[0])).tolist() == [[1, 1], [2, 2]]


@pytest.mark.parametrize("training", [True, False])
def test_an_identity_has_no_seeds_and_nothing_dropped(training: bool) -> None:
    figure = draw(plot_trace(dropblock_ref.trace(X, 0 if training else 0.5, 2, training=training)))
    assert "gamma 0, 0 % of these cells dropped" in figure.get_suptitle()
    assert legend(figure) == {"where seeds may lie"}
    assert np.array_equal(image(figure.axes[3]), X[0, 0])
    assert figure.axes[2].get_title() == "scale 1"


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -1e308, 1e308])
@pytest.mark.parametrize("convention", ["paper", "tpu"])
def test_any_values_are_drawn_and_those_that_are_not_finite_are_marked(value: float, convention: str) -> None:
    x = np.array([[1.0, value], [2.0, 3.0]])[None, None]
    for drop_prob in (0.0, 1.0):
        one = dropblock_ref.trace(x, drop_prob, 1, rng=0, convention=convention)
        figure = draw(plot_trace(one))
        wrong = {(int(r), int(c)) for r, c in np.argwhere(~np.isfinite(one.output[0, 0]))}
        assert points(figure.axes[3], "+") == wrong
        assert ("not finite" in legend(figure)) == bool(wrong)


def test_a_constant_output_has_a_range_of_colours() -> None:
    for value, limits in ((2.0, (0, 2)), (-2.0, (-2, 0)), (0.0, (0, 1))):
        one = dropblock_ref.trace(np.full((1, 1, 3, 3), value), 0, 1)
        assert plot_trace(one).axes[3].images[0].get_clim() == limits


def test_half_precision_is_drawn() -> None:
    for dtype in (np.float16, ml_dtypes.bfloat16):
        assert image(draw(plot_trace(dropblock_ref.trace(X.astype(dtype), 0, 2))).axes[3]).tolist() == X[0, 0].tolist()


def test_a_scale_per_sample_is_that_of_the_sample() -> None:
    rules = replace(PAPER, name="own", scale_over="sample")
    seeds = seeds_at((2, 1, 2, 2), (1, 0, 0, 0), (1, 0, 1, 1))
    one = dropblock_ref.trace(np.ones((2, 1, 2, 2)), 0.5, 1, seeds=seeds, convention=rules)
    assert [plot_trace(one, sample=sample).axes[2].get_title() for sample in (0, 1)] == ["scale 1", "scale 2"]


@pytest.mark.parametrize(
    "spatial_shape", [(1, 1), (4, 4), (56, 56), (1, 40), (40, 1), (4, 9), (9, 4), (17, 16), (200, 180)]
)
def test_nothing_overlaps_and_everything_lies_in_the_figure(spatial_shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=(1, 1, *spatial_shape))
    trace = dropblock_ref.trace(x, 0.3, 1 if 1 in spatial_shape else 3, rng=1)
    for figure in (plot_trace(trace), plot_drop_probability(0.3, 1, spatial_shape)):
        draw(figure)
        width, height = figure.bbox.width, figure.bbox.height
        assert max(figure.get_size_inches()) <= 14
        texts = [text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label)]
        boxes = [text.get_window_extent() for text in (*texts, *figure.texts) if text.get_text() and text.get_visible()]
        for number, box in enumerate(boxes):
            assert box.x0 >= -1
            assert box.y0 >= -1
            assert box.x1 <= width + 1
            assert box.y1 <= height + 1
            assert not any(box.shrunk(0.98, 0.98).overlaps(other) for other in boxes[number + 1 :])
        maps = [axes.get_window_extent() for axes in figure.axes]
        assert not any(a.shrunk(0.98, 0.98).overlaps(b) for k, a in enumerate(maps) for b in maps[k + 1 :])


def test_a_wide_map_has_its_panels_one_above_the_other() -> None:
    for shape, wide in (((3, 7), True), ((3, 6), False)):
        corners = [axes.get_position() for axes in plot_trace(dropblock_ref.trace(np.ones((1, 1, *shape)), 0, 1)).axes]
        assert bool(corners[0].y0 > corners[1].y1) is wide
        assert bool(corners[0].x1 < corners[1].x0) is not wide


def changed(**changes: Any) -> Trace:
    return replace(TINY, **changes)


def test_a_scale_per_cell_is_shown_from_the_smallest_to_the_largest() -> None:
    assert plot_trace(changed(scale=np.linspace(1, 2, 12).reshape(X.shape))).axes[2].get_title() == "scale 1 to 2"


EMPTY_BATCH = dropblock_ref.trace(np.ones((0, 2, 3, 3)), 0.5, 2, rng=0)
NO_CHANNELS = dropblock_ref.trace(np.ones((2, 0, 3, 3)), 0.5, 2, rng=0)
VOLUME = dropblock_ref.trace(np.ones((1, 1, 2, 3, 3)), 0.5, 2, rng=0)


@pytest.mark.parametrize(
    ("trace", "options", "error", "match"),
    [
        (X, {}, TypeError, r"trace must be a Trace, as dropblock_ref.trace returns it, got an array of shape"),
        (None, {}, TypeError, r"trace must be a Trace.*got None of type NoneType"),
        (EMPTY_BATCH, {}, ValueError, r"trace must have a map to draw.*no sample.*\(0, 2, 3, 3\)"),
        (NO_CHANNELS, {}, ValueError, r"trace must have a map to draw.*no channel.*\(2, 0, 3, 3\)"),
        (TINY, {"sample": 1}, ValueError, r"sample must be an integer from 0 to 0, got 1 of type int"),
        (TINY, {"sample": -1}, ValueError, r"sample must be an integer from 0 to .*got -1"),
        (TINY, {"sample": 0.0}, TypeError, r"sample must be an integer.*got 0.0 of type float"),
        (TINY, {"sample": True}, TypeError, r"sample must be an integer.*got True"),
        (TINY, {"channel": 1}, ValueError, r"channel must be an integer from 0 to 0, got 1"),
        (TINY, {"channel": "0"}, TypeError, r"channel must be an integer.*got '0'"),
        (TINY, {"depth": 0}, ValueError, r"depth must be None for maps of shape \(3, 4\), got 0"),
        (VOLUME, {"depth": 2}, ValueError, r"depth must be an integer from 0 to 1, got 2"),
        (VOLUME, {"depth": 1.0}, TypeError, r"depth must be an integer.*got 1.0"),
        (changed(data_format=None), {}, TypeError, r"data_format must be one of .*got None"),
        (changed(data_format="HW"), {}, ValueError, r"data_format must be one of .*got 'HW'"),
        (changed(block=None), {}, TypeError, r"trace.block must be a Block.*got None"),
        (changed(gamma=2), {}, ValueError, r"trace.gamma must be .* in \[0, 1\], got 2"),
        (changed(gamma=None), {}, TypeError, r"trace.gamma must be .*got None"),
        (changed(seeds=X), {}, TypeError, r"trace.seeds must be a boolean array, got"),
        (changed(keep_mask=None), {}, TypeError, r"trace.keep_mask must be a boolean array"),
        (changed(output=KEPT), {}, TypeError, r"trace.output must have dtype"),
        (
            changed(seeds=KEPT[None, None, :2]),
            {},
            ValueError,
            r"trace.seeds must have the shape of trace.output, \(1, 1, 3, 4\).*\(1, 1, 2, 4\)",
        ),
        (changed(keep_mask=KEPT), {}, ValueError, r"trace.keep_mask must have the shape"),
        (changed(scale="2"), {}, None, ""),
        (changed(scale="two"), {}, ValueError, r"trace.scale must be a number.*got 'two'"),
        (changed(scale=np.ones(3)), {}, ValueError, r"trace.scale must be a number.*\(3,\)"),
    ],
)
def test_bad_traces_and_indices_are_refused(
    trace: Any, options: dict[str, Any], error: type[Exception] | None, match: str
) -> None:
    if error is None:
        plot_trace(trace, **options)
        return
    with pytest.raises(error, match=match) as caught:
        plot_trace(trace, **options)
    assert type(caught.value) is error


def test_a_trace_is_not_modified() -> None:
    before = [array.tobytes() for array in (TINY.seeds, TINY.keep_mask, TINY.output)]
    draw(plot_trace(TINY))
    assert [array.tobytes() for array in (TINY.seeds, TINY.keep_mask, TINY.output)] == before


# plot_drop_probability


def probabilities(
    drop_prob: float, block_size: int | tuple[int, ...], spatial_shape: tuple[int, ...], convention: str
) -> NDArray[np.float64]:
    """The probability of every cell, from the number of blocks that cover it, one by one."""
    rules = CONVENTIONS[convention]
    gamma = brute_force.gamma(drop_prob, block_size, spatial_shape, rules)
    assert gamma is not None
    counts = brute_force.coverage(block_size, spatial_shape, rules)
    rates = np.zeros(spatial_shape)
    for cell, n in counts.items():
        rates[cell] = float(1 - (1 - gamma) ** n)
    return rates


@pytest.mark.parametrize(
    ("drop_prob", "block_size", "spatial_shape", "convention"),
    [
        (0.1, 3, (6, 7), "paper"),
        (0.3, (2, 3), (5, 4), "timm"),
        (0.5, 2, (4, 9), "dropblock"),
        (0.2, 3, (4, 5, 6), "paper"),
        (0.2, (1, 2, 3), (3, 4, 4), "timm"),
        (0.4, 1, (1, 1), "torchvision"),
    ],
)
def test_the_probabilities_are_those_of_the_brute_force(
    drop_prob: float, block_size: Any, spatial_shape: tuple[int, ...], convention: str
) -> None:
    figure = draw(plot_drop_probability(drop_prob, block_size, spatial_shape, convention=convention))
    expected = probabilities(drop_prob, block_size, spatial_shape, convention)
    shown = expected if expected.ndim == 2 else expected[spatial_shape[0] // 2]
    of_map, profile, bar = figure.axes
    np.testing.assert_allclose(image(of_map), shown, rtol=1e-12)
    row, nominal, mean = profile.lines
    np.testing.assert_allclose(row.get_ydata(), shown[spatial_shape[-2] // 2], rtol=1e-12)
    assert np.asarray(row.get_xdata()).tolist() == list(range(spatial_shape[-1]))
    assert list(nominal.get_ydata()) == [drop_prob] * 2
    np.testing.assert_allclose(mean.get_ydata(), [expected.sum() / prod(spatial_shape)] * 2, rtol=1e-12)
    middle = spatial_shape[-2] // 2
    assert frames(of_map) == {(middle - 0.5, middle + 0.5, -0.5, spatial_shape[-1] - 0.5)}
    assert convention in figure.get_suptitle()
    assert ("in depth" in figure.get_suptitle()) == (len(spatial_shape) == 3)
    assert "probability" in bar.get_ylabel()


def test_the_profile_of_the_enumerated_map_is_drawn() -> None:
    # Two eligible cells on a row of three, blocks of 2: every seed set by hand.
    gamma = Fraction(1, 2) / 2 * Fraction(3, 2)
    middle = gamma * gamma + 2 * gamma * (1 - gamma)
    line = plot_drop_probability(0.5, (1, 2), (1, 3)).axes[1].lines[0]
    np.testing.assert_allclose(line.get_ydata(), [float(gamma), float(middle), float(gamma)], rtol=1e-12)


def test_the_lines_are_told_apart_without_colour_and_the_axes_are_labelled() -> None:
    of_map, profile, bar = plot_drop_probability(0.1, 7, (28, 28)).axes
    assert len({line.get_linestyle() for line in profile.lines}) == 3
    assert [line.get_label() for line in profile.lines] == ["row 14", "drop_prob 0.1", "mean of all cells 0.09394"]
    assert (of_map.get_xlabel(), of_map.get_ylabel()) == ("column (cells)", "row (cells)")
    assert profile.get_xlabel() == "column (cells)"
    assert profile.get_ylabel() == bar.get_ylabel() == "probability that a cell is dropped"
    assert profile.get_ylim()[0] == 0
    assert of_map.images[0].get_clim()[0] == 0


def test_drop_prob_zero_and_one_are_drawn() -> None:
    zero = draw(plot_drop_probability(0, 3, (5, 5)))
    assert not image(zero.axes[0]).any()
    assert zero.axes[0].images[0].get_clim() == (0, 1)
    one = draw(plot_drop_probability(1, 1, (3, 3)))
    assert (image(one.axes[0]) == 1).all()


@pytest.mark.parametrize(
    ("arguments", "convention", "error", "match"),
    [
        ((1.5, 3, (5, 5)), PAPER, ValueError, r"drop_prob must be a real number in \[0, 1\], got 1.5"),
        ((None, 3, (5, 5)), PAPER, TypeError, r"drop_prob must be a real number in \[0, 1\], got None"),
        ((0.1, 0, (5, 5)), PAPER, ValueError, "block_size must be an integer from 1"),
        ((0.1, "3", (5, 5)), PAPER, TypeError, "block_size must be an integer of at least 1"),
        ((0.1, 6, (5, 5)), PAPER, ValueError, "block_size must be at most the map's size"),
        ((0.1, 3, (5,)), PAPER, ValueError, "spatial_shape must be a sequence of 2 or 3 integers"),
        ((0.1, 3, 5), PAPER, TypeError, "spatial_shape must be a sequence of 2 or 3 integers"),
        ((0.1, 3, (5, 5)), "nobody", ValueError, "convention must be a Convention or one of the names"),
        ((0.1, 3, (5, 5)), ["paper", "timm"], TypeError, "convention must be a Convention or one of the names"),
    ],
)
def test_bad_arguments_are_refused(arguments: Any, convention: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        plot_drop_probability(*arguments, convention=convention)


# plot_report

RESULTS = (
    CheckResult("scale", "passed", "288 masks", 288),
    CheckResult("map_rate", "failed", "0.09 of the cells\n..x\nand more", 1000, 5e-11, "3 % of a; 4 % of b; 5 % of c"),
    CheckResult("replayed_mask", "not_applicable", "the backend has no seeds"),
    CheckResult("special_values", "reported", "a dropped NaN becomes 0", 3),
    CheckResult("values", "expected_failure", "known since 1.0\nkept cells are wrong", 1),
    CheckResult("my_own_check", "passed", "", 0),
    CheckResult("cell_rates", "failed", "w" * 500, 20, 5e-11, "8 % of $a_$"),
)
REPORT = Report("mine $x^$", "paper", 0, RESULTS)


def written(figure: Figure) -> dict[str, Any]:
    return {text.get_text(): text for text in figure.texts}


def row_of(figure: Figure, name: str) -> list[str]:
    """The texts on the line of a check, from left to right."""
    at = written(figure)[name].get_position()[1]
    line = [text for text in figure.texts if abs(text.get_position()[1] - at) < 1e-9]
    return [text.get_text() for text in sorted(line, key=lambda text: float(text.get_position()[0]))]


def test_each_check_is_a_row_with_symbol_status_name_and_what_it_finds() -> None:
    figure = draw(plot_report(REPORT))
    assert row_of(figure, "scale") == ["✓", "passed", "scale"]
    assert row_of(figure, "map_rate") == ["✗", "failed", "map_rate", "3 % of a, and 2 more"]
    assert row_of(figure, "cell_rates") == ["✗", "failed", "cell_rates", "8 % of $a_$"]
    assert row_of(figure, "replayed_mask")[1:] == ["not applicable", "replayed_mask"]
    assert row_of(figure, "special_values") == ["i", "reported", "special_values"]
    assert row_of(figure, "values") == ["!", "expected failure", "values"]
    assert row_of(figure, "my_own_check") == ["✓", "passed", "my_own_check"]


def test_the_rows_stand_in_their_groups() -> None:
    figure = plot_report(REPORT)
    names = {result.name for result in RESULTS}
    lines = sorted(written(figure).items(), key=lambda item: -float(item[1].get_position()[1]))
    texts = [text for text, _ in lines if text in names or ": " in text or text == "other checks"]
    assert [text.split(":")[0] for text in texts if text in names or not text.startswith(("FAILED", "  "))][:11] == [
        "replay",
        "replayed_mask",
        "recover",
        "scale",
        "special_values",
        "values",
        "distribution",
        "map_rate",
        "cell_rates",
        "other checks",
        "my_own_check",
    ]


def test_the_bars_end_at_the_number_of_masks_beside_the_rows() -> None:
    figure = draw(plot_report(REPORT))
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "masks looked at (logarithmic)"
    height = figure.get_figheight()
    for name, draws in (("scale", 288), ("map_rate", 1000), ("values", 1), ("my_own_check", 0)):
        at = height - written(figure)[name].get_position()[1]
        (bar,) = [patch for patch in axes.patches if abs(patch.get_y() + patch.get_height() / 2 - at) < 1e-9]
        assert bar.get_x() + bar.get_width() == max(draws, 1)
        (number,) = [text for text in axes.texts if abs(text.xy[1] - at) < 1e-9]
        assert number.get_text() == f"{draws:,}"
        middle = axes.transData.transform((1, at))[1] / figure.dpi
        assert middle == pytest.approx(written(figure)[name].get_position()[1])


def test_title_notes_and_footnote_are_those_of_the_text_form() -> None:
    figure = draw(plot_report(REPORT))
    assert figure.get_suptitle() == str(REPORT).splitlines()[0]
    texts = written(figure)
    assert str(REPORT).splitlines()[-1].strip() in texts
    assert {"0.09 of the cells", "a dropped NaN becomes 0", "known since 1.0", "the backend has no seeds"} <= set(texts)
    assert "288 masks" not in texts
    assert max(map(len, texts)) < 200
    assert "the smallest error that it finds" in texts
    sure = plot_report(Report("b", "paper", 0, RESULTS[:1]))
    assert not {"the smallest error that it finds", *str(REPORT).splitlines()[-1:]} & set(written(sure))


def test_no_text_of_a_report_overlaps_another_or_leaves_the_figure() -> None:
    figure = draw(plot_report(REPORT))
    texts = [*figure.texts, *figure.axes[0].texts, figure.axes[0].xaxis.label, *figure.axes[0].get_xticklabels()]
    boxes = [text.get_window_extent() for text in texts]
    for number, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width
        assert 0 <= box.y0 < box.y1 <= figure.bbox.height
        assert not any(box.shrunk(0.95, 0.7).overlaps(other.shrunk(0.95, 0.7)) for other in boxes[number + 1 :])


def test_an_empty_report_is_a_title() -> None:
    figure = draw(plot_report(Report("mine", "paper", 0, ())))
    assert figure.get_suptitle().startswith("INCOMPLETE  mine")
    assert not figure.axes


def luminance(colour: Any) -> float:
    """Relative luminance of a colour of sRGB, as WCAG 2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])


def test_a_status_is_told_without_colour_and_its_text_has_contrast() -> None:
    assert set(_LOOK) == set(STATUSES)
    assert len({symbol for symbol, _ in _LOOK.values()}) == len(STATUSES)
    assert len({colour for _, colour in _LOOK.values()}) == len(STATUSES)
    assert all(1.05 / (luminance(colour) + 0.05) >= 4.5 for _, colour in _LOOK.values())


def test_what_is_not_a_report_is_refused() -> None:
    for value, shows in ((None, "None"), ("PASSED", "'PASSED'"), (RESULTS, r"\(CheckResult")):
        with pytest.raises(TypeError, match=rf"report must be a Report, as .*check_backend returns it, got {shows}"):
            plot_report(value)  # type: ignore[arg-type]
    wrong = Report("mine", "paper", 0, (RESULTS[0], CheckResult("a", "skipped", "")))
    with pytest.raises(ValueError, match=r"report.results\[1\].status must be one of 'passed'.*got 'skipped'"):
        plot_report(wrong)


# no global state


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip()


def test_matplotlib_is_imported_only_for_a_figure_and_pyplot_never() -> None:
    program = """
import sys, io
import numpy as np
import dropblock_ref, dropblock_ref.testing, dropblock_ref.plot as plot
print("matplotlib" in sys.modules)
import matplotlib
settings = lambda: [dict.__getitem__(matplotlib.rcParams, key) for key in sorted(dict.keys(matplotlib.rcParams))]
before = settings()  # read so, because the usual way chooses a backend and imports pyplot
report = dropblock_ref.testing.Report("b", "paper", 0, (dropblock_ref.testing.CheckResult("a", "passed", ""),))
for figure in (
    plot.plot_trace(dropblock_ref.trace(np.ones((1, 1, 4, 4)), 0.3, 2, rng=4)),
    plot.plot_drop_probability(0.1, 3, (5, 5)),
    plot.plot_report(report),
):
    figure.savefig(io.BytesIO(), format="png")
print(settings() == before, "matplotlib.pyplot" in sys.modules)
"""
    assert run(program).split() == ["False", "True", "False"]


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    report = Report("mine", "paper", 0, RESULTS)
    plots: tuple[Callable[[], Figure], ...] = (
        lambda: plot_trace(TINY),
        lambda: plot_drop_probability(0.1, 3, (5, 5)),
        lambda: plot_report(report),
    )
    for plot in plots:
        with pytest.raises(ImportError, match=r"needs matplotlib: pip install 'dropblock_ref\[plot\]'"):
            plot()
