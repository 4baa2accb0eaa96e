"""Timings of the exact theory on large maps: pytest tests/benchmarks/test_theory_speed.py.

The budgets are 0.2 s on 64x64x64 with fitting blocks and drop_prob up to 0.5, and a second on the others.
"""

from __future__ import annotations

from typing import Any

import pytest

from dropblock_ref import theory

CASES: tuple[tuple[float, Any, tuple[int, ...], str], ...] = (
    (0.5, 20, (64, 64, 64), "paper"),
    (0.5, 33, (64, 64, 64), "paper"),
    (0.5, 31, (512, 512, 512), "paper"),
    (0.5, 200, (512, 512), "paper"),
    (0.5, 200, (512, 512), "timm"),
    (0.1, (1, 1000), (1, 1_000_000), "paper"),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_variance(benchmark: Any, case: tuple[float, Any, tuple[int, ...], str]) -> None:
    drop_prob, block_size, spatial_shape, name = case
    benchmark.group = "theory, variance"
    benchmark(theory.drop_fraction_variance, drop_prob, block_size, spatial_shape, convention=name)


@pytest.mark.parametrize(
    ("block_size", "spatial_shape"), [(3, (5, 5)), (11, (14, 14)), (3, (4, 5, 5)), ((1, 7), (1, 2000))]
)
def test_ratio_of_one_mask(benchmark: Any, block_size: Any, spatial_shape: tuple[int, ...]) -> None:
    benchmark.group = "theory, expected ratio of one mask"
    benchmark(theory.expected_output_ratio, 0.1, block_size, spatial_shape, masks=1)


@pytest.mark.parametrize(("block_size", "spatial_shape"), [(7, (28, 28)), (7, (28, 28, 28)), (200, (512, 512))])
def test_bounds_of_all_dropped(benchmark: Any, block_size: int, spatial_shape: tuple[int, ...]) -> None:
    benchmark.group = "theory, probability that all is dropped"
    benchmark(theory.all_dropped_probability, 0.5, block_size, spatial_shape)
