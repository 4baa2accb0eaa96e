"""Every style is correct, shown without the oracle: masks by nested loops, values and rates by arithmetic."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import dropblock_ref
from dropblock_ref.testing import check_backend

from .case import Case, make_array
from .mutant import LONG
from .styles import STYLES, Style
from .test_correct import BLOCKS, accepted, dropped_by_loops, ulps_between

SHORT = (
    "quick",
    "replayed_mask",
    "scale",
    "values",
    "special_values",
    "evaluation_gradient",
    "batch_of_one",
    "empty_batch",
    "non_contiguous_input",
    "map_rate",
)
CASES = [(style, convention) for style in STYLES for convention in style.conventions]
EACH = pytest.mark.parametrize(
    ("style", "convention"), CASES, ids=[f"{style.name}-{convention}" for style, convention in CASES]
)


def test_styles_have_names_of_their_own() -> None:
    assert len({style.name for style in STYLES}) == len(STYLES)


@EACH
def test_output_and_derivative_are_those_of_nested_loops(style: Style, convention: str) -> None:
    rules = dropblock_ref.CONVENTIONS[convention]
    backend = style.make(convention)
    assert backend.draw_seeds is not None
    assert backend.apply is not None
    assert backend.vjp is not None
    checked = 0
    for (block_size, spatial_shape), dtype in itertools.product(BLOCKS, backend.dtypes):
        sides = block_size if isinstance(block_size, tuple) else (block_size,) * len(spatial_shape)
        oversize = any(b > S for b, S in zip(sides, spatial_shape, strict=True)) and rules.oversize_block != "unclipped"
        if (
            len(spatial_shape) not in backend.spatial_ndims
            or oversize
            or not accepted(block_size, spatial_shape, rules)
        ):
            continue
        for drop_prob in (0.5,) if block_size != 1 else (0.5, 1.0):
            case = Case((2, 3, *spatial_shape), block_size, drop_prob, dtype)
            x, cotangent = (make_array(case, backend, seed) for seed in (0, 1))
            drawn = backend.draw_seeds(x.shape, dtype, drop_prob, block_size, seed=5)
            injected = dropblock_ref.sample_seeds(
                0.2, block_size, x.shape, rng=1, data_format=backend.data_format, convention=convention
            )
            y, x_bar = backend.vjp(x, cotangent, drop_prob, block_size, training=True, seed=5)
            outputs = (
                (y, x, drawn),
                (x_bar, cotangent, drawn),
                (backend.apply(x, injected, block_size), x, injected),
            )
            assert backend.forward(x, drop_prob, block_size, training=True, seed=5).tobytes() == y.tobytes()
            for output, of, seeds in outputs:
                assert output.dtype == x.dtype
                assert (
                    ulps_between(output, expected_output(of, seeds, block_size, backend.data_format, convention)) <= 4
                )
                checked += 1
    assert checked >= 8


def expected_output(
    x: np.ndarray, seeds: np.ndarray, block_size: object, data_format: str, convention: str
) -> np.ndarray:
    """x * M * count(M) / count_ones(M), by nested loops and in float64."""
    rules = dropblock_ref.CONVENTIONS[convention]
    if data_format == "channels_last":
        x, seeds = np.moveaxis(x, -1, 1), np.moveaxis(seeds, -1, 1)
    dropped = dropped_by_loops(seeds, block_size, rules)
    kept = dropped.size - np.count_nonzero(dropped)
    scale = dropped.size / (kept + rules.epsilon) if kept else 0.0 if rules.all_dropped == "zeros" else math.nan
    y = (x.astype(np.float64) * ~dropped * scale).astype(x.dtype)
    return np.moveaxis(y, 1, -1) if data_format == "channels_last" else y


@EACH
def test_every_eligible_cell_is_a_seed_with_probability_gamma(style: Style, convention: str) -> None:
    # So are two cells, two channels and two samples together. The seed is fixed: nothing here is left to chance.
    backend = style.make(convention)
    assert backend.draw_seeds is not None
    number = 20_000
    shape = (number, 2, 5, 6) if backend.data_format == "channels_first" else (number, 5, 6, 2)
    seeds = backend.draw_seeds(shape, backend.dtypes[0], 0.6, 3, seed=0)
    if backend.data_format == "channels_last":
        seeds = np.moveaxis(seeds, -1, 1)
    gamma = dropblock_ref.gamma(0.6, 3, (5, 6), convention=convention)
    eligible = dropblock_ref.valid_seeds(3, (5, 6), convention=convention)
    rates = seeds.mean(axis=0)
    bound = 6 * math.sqrt(gamma * (1 - gamma) / number)
    assert not rates[:, ~eligible].any()
    assert np.all(np.abs(rates[:, eligible] - gamma) < bound)
    pairs = [seeds[:, 0, 2, 2] & seeds[:, 0, 2, 3], seeds[:-1, 0, 2, 2] & seeds[1:, 0, 2, 2]]
    if seeds.shape[1] == 2:
        pairs.append(seeds[:, 0, 2, 2] & seeds[:, 1, 2, 2])
    assert all(abs(pair.mean() - gamma**2) < 6 * gamma / math.sqrt(number) for pair in pairs)


@EACH
def test_evaluation_and_drop_prob_zero_are_the_identity(style: Style, convention: str) -> None:
    backend = style.make(convention)
    assert backend.vjp is not None
    for dtype, (drop_prob, training) in itertools.product(backend.dtypes, ((0.5, False), (0.0, True))):
        x = make_array(Case((2, 3, 5, 6), dtype=dtype), backend, 0)
        # With an epsilon the scale of a mask that keeps everything is not quite 1.
        rules = dropblock_ref.CONVENTIONS[convention]
        epsilon, count = rules.epsilon, x.size // 3 if rules.shared_channels else x.size
        scaled = (x.astype(np.float64) * (count / (count + epsilon))).astype(x.dtype)
        for y in backend.vjp(x, x, drop_prob, 3, training=training, seed=0):
            assert np.array_equal(y, x) or (training and epsilon and ulps_between(y, scaled) <= 2)


@EACH
def test_the_stream_goes_on_and_a_seed_repeats(style: Style, convention: str) -> None:
    backend = style.make(convention)
    x = make_array(Case((2, 2, 20, 20)), backend, 0)
    first, again, *others = (
        backend.forward(x, 0.3, 3, training=True, seed=seed).tobytes() for seed in (1, 1, None, None, None, 2)
    )
    assert first == again
    assert len({first, *others}) == 5


@pytest.mark.parametrize("style", STYLES if LONG else STYLES[::4], ids=lambda style: style.name)
def test_the_oracle_passes_every_style(style: Style) -> None:
    """A sample; all of them, in full and under every convention, where DROPBLOCK_REF_LONG is set."""
    for convention in style.conventions if LONG else style.conventions[:1]:
        report = check_backend(style.make(convention), checks=None if LONG else SHORT)
        assert report.passed, str(report)
        told = {result.name for result in report.results if result.status == "reported"}
        assert told <= style.reported | {"map_rate"}
