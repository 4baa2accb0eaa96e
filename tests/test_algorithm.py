"""Algorithm 1 as the reference states it, against nested loops; and that the file stays what a reader expects."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import dropblock_ref
from dropblock_ref import PAPER, algorithm
from dropblock_ref.testing.strategies import Case, cases, drop_probs

from . import brute_force
from .examples import any_inputs, any_seeds, examples


def paper_cases() -> st.SearchStrategy[Case]:
    return cases(conventions=(PAPER,), data_formats=("channels_first",), max_side=5)


@given(st.data(), paper_cases(), drop_probs(), st.integers(0, 2**32))
@examples(500)
def test_every_stage_is_the_brute_force(data: st.DataObject, case: Case, drop_prob: float, rng: int) -> None:
    size = brute_force.sides(case.block_size, case.spatial_shape, PAPER)
    block = algorithm.place(size, case.spatial_shape)
    exact = brute_force.gamma(drop_prob, size, case.spatial_shape, PAPER)
    assert exact is not None
    gamma = algorithm.gamma(drop_prob, block)
    assert abs(gamma - exact) <= exact / 2**51

    seeds = algorithm.sample_seeds(gamma, block, case.shape, np.random.default_rng(rng))
    uniform = iter(np.random.default_rng(rng).random(seeds.size))
    eligible = brute_force.eligible_cells(size, case.spatial_shape, PAPER)
    for index in brute_force.cells_of(case.shape):
        assert seeds[index] == (index[2:] in eligible and next(uniform) < gamma)

    x: NDArray[Any] = data.draw(any_inputs(case))
    mask = algorithm.keep_mask(seeds, block) if seeds.size else ~seeds
    assert np.array_equal(mask, brute_force.keep_mask(seeds, size, "channels_first", PAPER))
    with np.errstate(all="ignore"):
        output = algorithm.multiply(x, mask, algorithm.scale(mask))
        whole = algorithm.drop_block(x, drop_prob, block, np.random.default_rng(rng)) if seeds.size else output
    assert output.dtype == x.dtype
    factors = brute_force.scale(mask, "channels_first", PAPER, drop_prob)
    for index in brute_force.cells_of(case.shape):
        assert brute_force.is_product(output[index], x[index], bool(mask[index]), factors[index])
    assert whole.tobytes() == output.tobytes()


@given(st.data(), paper_cases(), drop_probs(), st.integers(0, 2**32))
@examples(300)
def test_the_public_drop_block_is_the_algorithm_bit_for_bit(
    data: st.DataObject, case: Case, drop_prob: float, rng: int
) -> None:
    if 0 in case.shape or drop_prob == 0:
        return
    x = data.draw(any_inputs(case))
    block = algorithm.place(brute_force.sides(case.block_size, case.spatial_shape, PAPER), case.spatial_shape)
    with np.errstate(all="ignore"):
        expected = algorithm.drop_block(x, drop_prob, block, np.random.default_rng(rng))
    assert dropblock_ref.drop_block(x, drop_prob, case.block_size, rng=rng).tobytes() == expected.tobytes()


@given(st.data(), paper_cases())
@examples(200)
def test_the_mask_of_injected_seeds_is_the_brute_force(data: st.DataObject, case: Case) -> None:
    seeds = data.draw(any_seeds(case))
    if seeds.size:
        size = brute_force.sides(case.block_size, case.spatial_shape, PAPER)
        mask = algorithm.keep_mask(seeds, algorithm.place(size, case.spatial_shape))
        assert np.array_equal(mask, brute_force.keep_mask(seeds, size, "channels_first", PAPER))


def test_the_file_has_a_page_and_a_half_with_one_call_of_the_maximum_filter_and_no_branch_but_one() -> None:
    text = Path(algorithm.__file__).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130
    assert text.count("maximum_filter(") == 1
    tree = ast.parse(text)
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.If, ast.Raise, ast.Try, ast.While, ast.For))]
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert functions == ["place", "gamma", "sample_seeds", "keep_mask", "scale", "multiply", "drop_block"]
