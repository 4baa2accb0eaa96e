"""Hypothesis strategies for DropBlock: maps, blocks, inputs, seeds and whole cases, which shrink to small ones.

The only file of the oracle that needs hypothesis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ..arguments import FLOATING_DTYPES
from ..call import DATA_FORMATS, accepts_block, find_layout, mask_shape
from ..convention import CONVENTIONS, Convention, find_convention
from ..stages import valid_seeds
from .observation import make_input

__all__ = ["Case", "block_sizes", "cases", "inputs", "seeds", "spatial_shapes"]


@dataclass(frozen=True, eq=False)
class Case:
    """Arguments of one call of `drop_block` with injected seeds, as `cases` draws them.

    Attributes
    ----------
    x : ndarray of float16, bfloat16, float32 or float64
        Feature maps without zeros, 4 or 5 dimensions, from 0 samples on, contiguous or not.
    drop_prob : float
        In (0, 1].
    block_size : int or tuple of int
        Accepted by the convention on these maps.
    seeds : ndarray of bool
        Of x's shape, with 1 on the channel axis where the convention shares masks; True on eligible cells only.
    data_format : str
        Order of the axes.
    convention : Convention

    Examples
    --------
    >>> import numpy as np
    >>> from dropblock_ref import PAPER
    >>> from dropblock_ref.testing.strategies import Case
    >>> x = np.ones((1, 1, 2, 2), dtype=np.float32)
    >>> Case(x, 0.1, 1, np.zeros(x.shape, dtype=bool), "NCHW", PAPER).convention.name
    'paper'
    """

    x: NDArray[Any]
    drop_prob: float
    block_size: int | tuple[int, ...]
    seeds: NDArray[np.bool_]
    data_format: str
    convention: Convention


def spatial_shapes(*, ndims: tuple[int, ...] = (2, 3), max_side: int = 8) -> st.SearchStrategy[tuple[int, ...]]:
    """Maps (H, W) and volumes (D, H, W), with sides from 1 to `max_side`.

    Examples
    --------
    >>> from dropblock_ref.testing.strategies import spatial_shapes
    >>> spatial_shapes(ndims=(2,), max_side=3)
    tuples(integers(min_value=1, max_value=3), integers(min_value=1, max_value=3))
    """
    return st.one_of(*(st.tuples(*[st.integers(1, max_side)] * ndim) for ndim in ndims))


def block_sizes(
    spatial_shape: tuple[int, ...], *, convention: Convention | str = "paper", per_axis: bool = True
) -> st.SearchStrategy[int | tuple[int, ...]]:
    """Blocks that the convention accepts on this map, as an int or (with `per_axis`) a tuple; larger where it clips.

    Examples
    --------
    >>> from hypothesis import given
    >>> from dropblock_ref import valid_seeds
    >>> from dropblock_ref.testing.strategies import block_sizes
    >>> @given(block_sizes((4, 7)))
    ... def test_a_block_fits_somewhere(block_size):
    ...     assert valid_seeds(block_size, (4, 7)).any()
    >>> test_a_block_fits_somewhere()
    """
    rules = find_convention(convention)
    extra = 0 if rules.oversize_block == "refused" else 3
    largest = (min if rules.oversize_block == "refused" else max)(spatial_shape) + extra
    sizes: st.SearchStrategy[int | tuple[int, ...]] = st.integers(1, largest)
    if per_axis:
        sizes = st.one_of(sizes, st.tuples(*(st.integers(1, side + extra) for side in spatial_shape)))

    return sizes.filter(lambda block_size: accepts_block(block_size, spatial_shape, rules))


@st.composite
def inputs(
    draw: st.DrawFn,
    spatial_shape: tuple[int, ...],
    *,
    data_format: str = "channels_first",
    dtypes: tuple[str, ...] = FLOATING_DTYPES,
    max_samples: int = 2,
    max_channels: int = 3,
) -> NDArray[Any]:
    """An x without zeros, from 0 samples on, contiguous or not.

    Examples
    --------
    >>> from hypothesis import given
    >>> from dropblock_ref import drop_block
    >>> from dropblock_ref.testing.strategies import inputs
    >>> @given(inputs((3, 5), dtypes=("float16", "float32")))
    ... def test_keeps_the_dtype(x):
    ...     assert drop_block(x, 0.5, 2, rng=0).dtype == x.dtype
    >>> test_keeps_the_dtype()
    """
    samples, channels = draw(st.integers(0, max_samples)), draw(st.integers(1, max_channels))
    channels_first = find_layout(data_format, (1,) * (2 + len(spatial_shape)), "x").channel_axis == 1
    shape = (samples, channels, *spatial_shape) if channels_first else (samples, *spatial_shape, channels)
    x = make_input(shape, draw(st.sampled_from(dtypes)), draw(st.integers(0, 99)))
    order = draw(st.sampled_from(("C", "F", "every second cell", "reversed")))
    if order == "F":
        return np.asfortranarray(x)
    if order == "every second cell":
        return np.repeat(x, 2, axis=-1)[..., ::2]
    return x[..., ::-1] if order == "reversed" else x


@st.composite
def seeds(
    draw: st.DrawFn,
    shape: tuple[int, ...],
    block_size: int | tuple[int, ...],
    *,
    data_format: str = "channels_first",
    convention: Convention | str = "paper",
) -> NDArray[np.bool_]:
    """Seeds on eligible cells, for an x of this shape; they shrink to none.

    Examples
    --------
    >>> from hypothesis import given
    >>> from dropblock_ref import keep_mask
    >>> from dropblock_ref.testing.strategies import seeds
    >>> @given(seeds((1, 2, 3, 5), 2))
    ... def test_drops_nothing_without_seeds(drawn):
    ...     assert keep_mask(drawn, 2).all() == (not drawn.any())
    >>> test_drops_nothing_without_seeds()
    """
    rules = find_convention(convention)
    layout = find_layout(data_format, shape, "shape")
    allowed = valid_seeds(block_size, layout.spatial_shape(shape), convention=rules)
    on_axes = allowed.reshape(layout.on_spatial_axes(allowed.shape, 1))
    positions = np.argwhere(np.broadcast_to(on_axes, mask_shape(shape, layout, rules)))
    chosen = draw(
        st.lists(st.integers(0, len(positions) - 1), max_size=8, unique=True) if len(positions) else st.just([])
    )
    drawn = np.zeros(mask_shape(shape, layout, rules), dtype=np.bool_)
    drawn[tuple(positions[chosen].T)] = True
    return drawn


@st.composite
def cases(
    draw: st.DrawFn,
    *,
    conventions: tuple[Convention | str, ...] = tuple(CONVENTIONS),
    ndims: tuple[int, ...] = (2, 3),
    data_formats: tuple[str, ...] = tuple(DATA_FORMATS),
    per_axis: bool = True,
) -> Case:
    """A whole call of `drop_block`, under one of the conventions, on maps of one of the ranks in one of the layouts.

    Examples
    --------
    >>> from hypothesis import given
    >>> from dropblock_ref import drop_block
    >>> from dropblock_ref.testing.strategies import cases
    >>> @given(cases(conventions=("paper", "timm")))
    ... def test_keeps_the_shape(case):
    ...     y = drop_block(
    ...         case.x, case.drop_prob, case.block_size, seeds=case.seeds,
    ...         data_format=case.data_format, convention=case.convention,
    ...     )
    ...     assert y.shape == case.x.shape
    >>> test_keeps_the_shape()
    """
    rules = find_convention(draw(st.sampled_from(conventions)))
    shape = draw(spatial_shapes(ndims=ndims))
    data_format = draw(st.sampled_from([f for f in data_formats if DATA_FORMATS[f][1] in (None, len(shape) + 2)]))
    block_size = draw(block_sizes(shape, convention=rules, per_axis=per_axis))
    x = draw(inputs(shape, data_format=data_format))
    drawn = draw(seeds(x.shape, block_size, data_format=data_format, convention=rules))
    drop_prob = draw(st.sampled_from((0.1, 0.5, 1.0)) | st.floats(2.0**-20, 1.0, width=32))
    return Case(x, drop_prob, block_size, drawn, data_format, rules)
