"""What the article says DropBlock becomes for the smallest and the largest block, made precise."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import dropblock_ref
from dropblock_ref import PAPER

from . import brute_force
from .examples import examples

EVERYWHERE = replace(PAPER, name="everywhere", seed_region="everywhere")


@given(st.data(), st.sampled_from(["paper", "timm_uncoupled", "torchvision", "tutorial", "keras_cv"]))
@examples(200)
def test_block_1_is_dropout_with_a_counted_scale(data: st.DataObject, convention: str) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 4)] * data.draw(st.sampled_from((4, 5)))))
    drop_prob = data.draw(st.floats(0.01, 0.99))
    epsilon = dropblock_ref.CONVENTIONS[convention].epsilon
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x = rng.standard_normal(shape)
    dropped = rng.random(shape) < drop_prob
    if dropped.all():
        dropped[(0,) * len(shape)] = False
    dropout = np.where(dropped, 0.0, x) * (x.size / (x.size - int(dropped.sum()) + epsilon))
    assert np.array_equal(dropblock_ref.drop_block(x, drop_prob, 1, seeds=dropped, convention=convention), dropout)
    assert dropblock_ref.gamma(drop_prob, 1, shape[2:], convention=convention) == drop_prob
    assert dropblock_ref.valid_seeds(1, shape[2:], convention=convention).all()


@pytest.mark.parametrize("spatial_shape", [(3, 3), (2, 2), (2, 3), (4, 1), (2, 2, 3)])
def test_a_block_as_large_as_the_map_is_spatial_dropout_by_enumeration(spatial_shape: tuple[int, ...]) -> None:
    eligible = np.argwhere(dropblock_ref.valid_seeds(spatial_shape, spatial_shape))
    assert len(eligible) == 1
    for drop_prob in (0.1, 0.3, 1.0):
        gamma = dropblock_ref.gamma(drop_prob, spatial_shape, spatial_shape)
        dropped_fraction = Fraction(0)
        for seed in (False, True):
            seeds = np.zeros((1, 1, *spatial_shape), dtype=np.bool_)
            seeds[(0, 0, *eligible[0])] = seed
            mask = dropblock_ref.keep_mask(seeds, spatial_shape)
            assert bool(mask.all()) != seed
            assert bool(mask.any()) != seed
            probability = Fraction(gamma) if seed else 1 - Fraction(gamma)
            dropped_fraction += probability * (not mask.any())
        assert dropped_fraction == Fraction(drop_prob)


@pytest.mark.parametrize(
    ("shape", "data_format", "convention"),
    [
        ((300, 400, 4, 5), "channels_first", "paper"),
        ((300, 3, 3, 400), "channels_last", "torchvision"),
        ((300, 400, 2, 3, 2), "NCDHW", "keras_cv"),
    ],
)
def test_a_block_as_large_as_the_map_drops_whole_channels_with_drop_prob(
    shape: tuple[int, ...], data_format: str, convention: str
) -> None:
    """False alarm 1e-9 over the three cases; finds a probability wrong by 7 % with probability 1 - 1e-6."""
    drop_prob, channels = 0.2, 300 * 400
    block_size = brute_force.spatial_shape_of(shape, data_format)
    y = dropblock_ref.drop_block(
        np.ones(shape, dtype=np.float32), drop_prob, block_size, rng=11, data_format=data_format, convention=convention
    )
    maps = np.moveaxis(y, brute_force.channel_axis(data_format, y.ndim), 1).reshape((channels, -1))
    dropped = (maps == 0).all(axis=1)
    assert np.array_equal(dropped, (maps == 0).any(axis=1))
    false_alarm = 1e-9 / 3
    low = stats.binom.ppf(false_alarm / 2, channels, drop_prob)
    high = stats.binom.isf(false_alarm / 2, channels, drop_prob)
    assert stats.binom.cdf(low - 1, channels, 0.93 * drop_prob) >= 1 - 1e-6
    assert stats.binom.sf(high, channels, 1.07 * drop_prob) >= 1 - 1e-6
    assert low <= np.count_nonzero(dropped) <= high


def test_a_block_as_large_as_the_map_is_not_spatial_dropout_where_every_cell_is_eligible() -> None:
    seeds = np.zeros((1, 1, 3, 3), dtype=np.bool_)
    seeds[0, 0, 0, 0] = True
    assert dropblock_ref.keep_mask(seeds, 3, convention=EVERYWHERE)[0, 0].tolist() == [
        [False, False, True],
        [False, False, True],
        [True, True, True],
    ]
    with pytest.raises(ValueError, match="eligible"):
        dropblock_ref.keep_mask(seeds, 3, convention=PAPER)


def test_where_every_cell_is_eligible_a_channel_is_wholly_dropped_far_more_often_than_drop_prob_by_enumeration() -> (
    None
):
    drop_prob = 0.1
    gamma = Fraction(dropblock_ref.gamma(drop_prob, 3, (3, 3), convention=EVERYWHERE))
    cells = [tuple(map(int, cell)) for cell in np.argwhere(dropblock_ref.valid_seeds(3, (3, 3), convention=EVERYWHERE))]
    assert len(cells) == 9
    configurations = list(brute_force.subsets(cells))
    seeds = np.zeros((len(configurations), 1, 3, 3), dtype=np.bool_)
    for sample, chosen in enumerate(configurations):
        for cell in chosen:
            seeds[(sample, 0, *cell)] = True
    masks = dropblock_ref.keep_mask(seeds, 3, convention=EVERYWHERE)
    wholly = partly = Fraction(0)
    for mask, chosen in zip(masks, configurations, strict=True):
        probability = gamma ** len(chosen) * (1 - gamma) ** (9 - len(chosen))
        wholly += probability * (not mask.any())
        partly += probability * bool(mask.any() and not mask.all())
    # The centre alone drops all with probability 0.1; the eight other cells mostly drop a part.
    assert wholly > Fraction(drop_prob)
    assert partly > Fraction(3, 10)
    assert wholly + partly == 1 - (1 - gamma) ** 9
