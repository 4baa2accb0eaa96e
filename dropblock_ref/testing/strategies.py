"""Hypothesis strategies for DropBlock: conventions, settings, inputs, seeds, masks and whole cases.

They compose, so that nobody needs a filter: what a test is about is a parameter. They shrink to a map of one cell, a
block of one, one sample, one channel, no seeds. No other file of the oracle needs hypothesis.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ..arguments import FLOATING_DTYPES, check_choice, describe
from ..call import DATA_FORMATS, Layout, accepts_block, find_layout, place_block
from ..convention import CHOICES, CONVENTIONS, Convention, find_convention
from ..stages import keep_mask
from .case import ORDERS, SPECIAL, Case

__all__ = [
    "Case",
    "ORDERS",
    "SPECIAL",
    "block_sizes",
    "cases",
    "conventions",
    "drop_probs",
    "inputs",
    "masks",
    "seeds",
    "settings",
    "shapes",
    "spatial_shapes",
]

BlockSize: TypeAlias = int | tuple[int, ...]
Setting: TypeAlias = tuple[tuple[int, ...], BlockSize, float]
Accepts: TypeAlias = Callable[[tuple[int, ...], BlockSize, float], bool]

# The first of a tuple is what a case shrinks to.
DTYPES = tuple(sorted(FLOATING_DTYPES, key=lambda name: name != "float32"))
PROBS = (0.1, 0.5, 1.0)
NONE_IN = 11  # one batch in twelve is empty
OVERSIZE = 3  # blocks are drawn up to so many cells larger than the map, where the convention takes such
# Hypothesis mixes constants of whatever modules are loaded into larger integers; what is drawn must not depend on that.
PLAIN = 99


def conventions(*, published: bool = True, own: bool = True) -> st.SearchStrategy[Convention]:
    """Conventions, published ones and any that `Convention` accepts.

    Parameters
    ----------
    published : bool
        Draw from `CONVENTIONS`.
    own : bool
        Draw from all choices that go together.

    Returns
    -------
    SearchStrategy of Convention
        Shrinks to ``"paper"``.

    Examples
    --------
    >>> from hypothesis import given
    >>> from dropblock_ref import gamma
    >>> from dropblock_ref.testing.strategies import conventions
    >>> @given(conventions())
    ... def test_a_block_of_one_is_dropout(convention):
    ...     assert abs(gamma(0.25, 1, (4, 4), convention=convention) - 0.25) < 1e-12
    >>> test_a_block_of_one_is_dropout()
    """
    fields: dict[str, st.SearchStrategy[Any]] = {name: st.sampled_from(values) for name, values in CHOICES.items()}
    fields |= {
        "name": st.just("own"),
        "source": st.just("drawn by hypothesis"),
        "shared_channels": st.booleans(),
        "shared_samples": st.booleans(),
        "epsilon": st.sampled_from((0.0, 1e-7, 1e-6, 0.5, 1.0, 3.0)),
        "oversize_block": st.sampled_from([value for value in CHOICES["oversize_block"] if value != "unclipped"]),
    }
    unclipped = {"gamma_rule": "uncorrected", "seed_region": "everywhere", "oversize_block": "unclipped"}
    sticking_out = fields | {name: st.just(value) for name, value in unclipped.items()}
    drawn: list[st.SearchStrategy[Convention]] = [st.sampled_from(tuple(CONVENTIONS.values()))] if published else []
    if own:
        drawn += [st.builds(Convention, **fields), st.builds(Convention, **sticking_out)]
    return st.one_of(drawn)


def drop_probs() -> st.SearchStrategy[float]:
    """A drop_prob (or a gamma) from 2**-20 to 1; it shrinks to 0.1.

    Returns
    -------
    SearchStrategy of float

    Examples
    --------
    >>> from hypothesis import given
    >>> from dropblock_ref import gamma
    >>> from dropblock_ref.testing.strategies import drop_probs
    >>> @given(drop_probs())
    ... def test_gamma_is_at_most_drop_prob(drop_prob):
    ...     assert 0 < gamma(drop_prob, 3, (5, 5)) <= drop_prob
    >>> test_gamma_is_at_most_drop_prob()
    """
    return st.sampled_from(PROBS) | st.floats(2.0**-20, 1.0, width=32)


def spatial_shapes(
    *, ndims: Sequence[int] = (2, 3), min_side: int = 1, max_side: int = 8
) -> st.SearchStrategy[tuple[int, ...]]:
    """Maps (H, W) and volumes (D, H, W).

    Parameters
    ----------
    ndims : sequence of int
        Ranks to draw from: 2, 3 or both.
    min_side, max_side : int
        Bounds of every side.

    Returns
    -------
    SearchStrategy of tuple of int
        Shrinks to the first rank, with all sides `min_side`.

    Examples
    --------
    >>> from dropblock_ref.testing.strategies import spatial_shapes
    >>> spatial_shapes(ndims=(2,), max_side=3)
    tuples(integers(min_value=1, max_value=3), integers(min_value=1, max_value=3))
    """
    return st.one_of(*(st.tuples(*[st.integers(min_side, max_side)] * ndim) for ndim in ndims))


def block_sizes(
    spatial_shape: tuple[int, ...],
    *,
    convention: Convention | str = "paper",
    sizes: Iterable[int] | None = None,
    odd: bool = False,
    per_axis: bool | Iterable[int] = True,
) -> st.SearchStrategy[BlockSize]:
    """Blocks that the convention accepts on this map; larger than the map where it clips them or lets them stick out.

    Parameters
    ----------
    spatial_shape : tuple of int
        (H, W) or (D, H, W).
    convention : Convention or str
        Who accepts them.
    sizes : iterable of int, optional
        Only these sides. By default all, up to 3 cells more than the map.
    odd : bool
        Only odd sides.
    per_axis : bool or iterable of int
        Draw tuples with a size per axis as well as ints; of these sizes, if any are given.

    Returns
    -------
    SearchStrategy of int or tuple of int
        Shrinks to the smallest int.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, or no such block is accepted on this map.

    Examples
    --------
    >>> from hypothesis import given
    >>> from dropblock_ref import valid_seeds
    >>> from dropblock_ref.testing.strategies import block_sizes
    >>> @given(block_sizes((4, 7), odd=True))
    ... def test_a_block_fits_somewhere(block_size):
    ...     assert valid_seeds(block_size, (4, 7)).any()
    >>> test_a_block_fits_somewhere()
    """
    rules = find_convention(convention)
    sizes = None if sizes is None else tuple(sizes)
    square, axes = _accepted_sides(spatial_shape, rules, sizes, odd)
    if not isinstance(per_axis, bool):
        axes = _accepted_sides(spatial_shape, rules, tuple(per_axis), odd)[1]
    drawn: list[st.SearchStrategy[BlockSize]] = [st.sampled_from(square)] if square else []
    if per_axis and all(axes):
        drawn.append(st.tuples(*map(st.sampled_from, axes)))
    if not drawn:
        raise ValueError(
            f"convention {rules.name!r} accepts no {'odd ' if odd else ''}block_size on a map of {spatial_shape} "
            f"whose sizes are of {sizes}"
        )
    return st.one_of(drawn)


@lru_cache(maxsize=4096)
def _accepted_sides(
    spatial_shape: tuple[int, ...], rules: Convention, sizes: tuple[int, ...] | None, odd: bool
) -> tuple[list[int], list[list[int]]]:
    """The sides of square blocks, and those that may be put together to others, by axis."""
    axes = []
    for axis in range(len(spatial_shape)):
        asked = range(1, max(spatial_shape) + OVERSIZE + 1) if sizes is None else sorted(sizes)
        # A block of one cell is accepted on every axis, whatever the others are.
        blocks = {b: tuple(b if k == axis else 1 for k in range(len(spatial_shape))) for b in asked}
        axes.append([b for b in asked if not (odd and b % 2 == 0) and accepts_block(blocks[b], spatial_shape, rules)])
    square = [b for b in axes[0] if all(b in axis for axis in axes)]
    if sizes is None:  # of the longest axis, `square` may have more
        axes = [[b for b in axis if b <= side + OVERSIZE] for axis, side in zip(axes, spatial_shape, strict=True)]
    return square, axes


def settings(
    *,
    convention: Convention | str = "paper",
    ndims: Sequence[int] = (2, 3),
    min_side: int = 1,
    max_side: int = 8,
    sides: Iterable[int] | None = None,
    block_sizes: Iterable[int] | None = None,
    odd: bool = False,
    per_axis: bool | Iterable[int] = True,
    drop_probs: Iterable[float] | None = None,
    accepts: Accepts | None = None,
) -> st.SearchStrategy[Setting]:
    """A map, a block on it and a drop_prob: what one call is about.

    Parameters
    ----------
    convention : Convention or str
        Who accepts the block on the map.
    ndims : sequence of int
        Ranks of maps: 2, 3 or both.
    min_side, max_side : int
        Bounds of the sides of maps.
    sides : iterable of int, optional
        Only these sides, whatever `min_side` and `max_side` are.
    block_sizes : iterable of int, optional
        Only these sides of blocks; maps are then at least as large as the smallest of them.
    odd : bool
        Only odd blocks.
    per_axis : bool or iterable of int
        Draw blocks with a size per axis as well; of these sizes, if any are given.
    drop_probs : iterable of float, optional
        Only these. By default what the strategy `drop_probs` draws.
    accepts : callable, optional
        ``accepts(spatial_shape, block_size, drop_prob) -> bool``: only such settings. They are looked for, not filtered
        for, among all that `sides`, `block_sizes` and `drop_probs` (by default 0.1, 0.5 and 1.0) give: keep these few.

    Returns
    -------
    SearchStrategy of tuple
        ``(spatial_shape, block_size, drop_prob)``; shrinks to a map of one cell and a block of one. Where there is no
        such setting, ``hypothesis.strategies.nothing()``, which `one_of` leaves out.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

    Examples
    --------
    >>> from hypothesis import given
    >>> from dropblock_ref import theory
    >>> from dropblock_ref.testing.strategies import settings
    >>> @given(settings(odd=True, ndims=(2,), max_side=16))
    ... def test_at_most_drop_prob_is_dropped(setting):
    ...     spatial_shape, block_size, drop_prob = setting
    ...     assert theory.expected_drop_fraction(drop_prob, block_size, spatial_shape) <= drop_prob * (1 + 1e-12)
    >>> test_at_most_drop_prob_is_dropped()
    """
    rules = find_convention(convention)
    blocks = None if block_sizes is None else tuple(sorted(set(block_sizes)))
    tried = tuple(range(min_side, max_side + 1)) if sides is None else tuple(sorted(set(sides)))
    if blocks is not None:
        usable = [b for b in blocks if not (odd and b % 2 == 0) and accepts_block(b, (b, b), rules)]
        tried = tuple(side for side in tried if usable and side >= usable[0])
    if not tried and accepts is None:
        raise ValueError(
            f"no block_size of {blocks} goes with a map of sides {sides or (min_side, max_side)} under convention "
            f"{rules.name!r}"
        )
    probs = None if drop_probs is None else tuple(drop_probs)
    if not isinstance(per_axis, bool):
        per_axis = tuple(sorted(set(per_axis)))
    accepted = _Accepted(rules, tried, blocks, odd, per_axis, probs, accepts)
    return st.one_of([_settings_of_rank(accepted, ndim) for ndim in ndims if accepted.leads_on((), ndim)])


class _Accepted:
    """The settings that somebody accepts, looked for side by side, and no further than needed."""

    def __init__(
        self,
        rules: Convention,
        sides: tuple[int, ...],
        sizes: tuple[int, ...] | None,
        odd: bool,
        per_axis: bool | tuple[int, ...],
        probs: tuple[float, ...] | None,
        accepts: Accepts | None,
    ) -> None:
        self.rules, self.sides, self.sizes, self.odd, self.per_axis = rules, sides, sizes, odd, per_axis
        self.probs, self.accepts = probs, accepts
        self.known: dict[tuple[int, ...], bool] = {}
        self.blocks: dict[tuple[int, ...], tuple[list[BlockSize], list[BlockSize]]] = {}

    def probs_of(self, spatial_shape: tuple[int, ...], block_size: BlockSize) -> Iterator[float]:
        """The accepted drop_probs."""
        accepts = self.accepts
        return (p for p in self.probs or PROBS if accepts is None or accepts(spatial_shape, block_size, p))

    def find_blocks(self, spatial_shape: tuple[int, ...]) -> Iterator[BlockSize]:
        """The accepted blocks: ints first."""
        square, axes = _accepted_sides(spatial_shape, self.rules, self.sizes, self.odd)
        if isinstance(self.per_axis, tuple):
            axes = _accepted_sides(spatial_shape, self.rules, self.per_axis, self.odd)[1]
        blocks: Iterator[BlockSize] = itertools.chain(square, itertools.product(*axes) if self.per_axis else ())
        return (block for block in blocks if any(True for _ in self.probs_of(spatial_shape, block)))

    def blocks_on(self, spatial_shape: tuple[int, ...]) -> tuple[list[BlockSize], list[BlockSize]]:
        """The accepted ints and tuples."""
        if spatial_shape not in self.blocks:
            blocks = list(self.find_blocks(spatial_shape))
            self.blocks[spatial_shape] = (
                [block for block in blocks if isinstance(block, int)],
                [block for block in blocks if isinstance(block, tuple)],
            )
        return self.blocks[spatial_shape]

    def leads_on(self, sides: tuple[int, ...], ndim: int) -> bool:
        """Whether something is accepted on a map whose first sides are these."""
        if sides not in self.known:
            if len(sides) == ndim:
                found = any(True for _ in self.find_blocks(sides))
            else:
                found = any(self.leads_on((*sides, side), ndim) for side in self.sides)
            self.known[sides] = found
        return self.known[sides]


@st.composite
def _settings_of_rank(draw: st.DrawFn, accepted: _Accepted, ndim: int) -> Setting:
    shape: tuple[int, ...] = ()
    while len(shape) < ndim:
        sides = [S for S in accepted.sides if accepted.leads_on((*shape, S), ndim)]
        # Half of the sides are small, and many maps square. One choice each, whatever the others are, shrinks best.
        small, equal = sides[: (len(sides) + 1) // 2], [S for S in sides if shape[:1] == (S,)]
        shape += (draw(st.sampled_from([*small, *sides, *equal * len(small)])),)
    if ndim == 2:
        draw(st.booleans())  # as many choices as for a volume, so that a volume shrinks to a map
    if accepted.accepts is None:
        how: dict[str, Any] = {"sizes": accepted.sizes, "odd": accepted.odd, "per_axis": accepted.per_axis}
        block = draw(block_sizes(shape, convention=accepted.rules, **how))
        return shape, block, draw(drop_probs() if accepted.probs is None else st.sampled_from(accepted.probs))
    square, others = accepted.blocks_on(shape)
    per_axis = draw(st.integers(0, 2)) == 2
    block = draw(st.sampled_from((others if per_axis else square) or square or others))
    return shape, block, draw(st.sampled_from(list(accepted.probs_of(shape, block))))


def shapes(
    spatial_shape: tuple[int, ...],
    *,
    data_format: str = "channels_first",
    min_samples: int = 0,
    max_samples: int = 2,
    min_channels: int = 1,
    max_channels: int = 3,
    max_cells: int | None = None,
) -> st.SearchStrategy[tuple[int, ...]]:
    """The shape of an x with these maps.

    Parameters
    ----------
    spatial_shape : tuple of int
        (H, W) or (D, H, W).
    data_format : {"channels_first", "channels_last", "NCHW", "NHWC", "NCDHW", "NDHWC"}
        Order of the axes.
    min_samples, max_samples, min_channels, max_channels : int
        Bounds of the batch, which is empty now and then where `min_samples` is 0, and of the channels.
    max_cells : int, optional
        Bound of the size of x, where the bounds from below and one map leave room for it.

    Returns
    -------
    SearchStrategy of tuple of int
        Shrinks to one sample (not to none) and one channel, or to the bounds from below. Half of the numbers are small.

    Raises
    ------
    ValueError
        If no shape is within the bounds, or the format is none of maps of this rank.

    Examples
    --------
    >>> from hypothesis import given
    >>> from dropblock_ref.testing.strategies import inputs, shapes
    >>> @given(shapes((3, 5), min_samples=2, data_format="NHWC").flatmap(inputs))
    ... def test_has_several_samples(x):
    ...     assert len(x) >= 2 and x.shape[1:3] == (3, 5)
    >>> test_has_several_samples()
    """
    layout = find_layout(data_format, (1,) * (2 + len(spatial_shape)), "x")
    for least, most, name in ((min_samples, max_samples, "samples"), (min_channels, max_channels, "channels")):
        if not 0 <= least <= most:
            raise ValueError(f"min_{name} must be from 0 to max_{name} = {most}, got {least}")
    room = float("inf") if max_cells is None else max_cells / max(int(np.prod(spatial_shape)), 1)
    return _shapes(spatial_shape, layout, (min_samples, max_samples), (min_channels, max_channels), room)


@st.composite
def _shapes(
    draw: st.DrawFn,
    spatial_shape: tuple[int, ...],
    layout: Layout,
    samples: tuple[int, int],
    channels: tuple[int, int],
    room: float,
) -> tuple[int, ...]:
    n, c = draw(_numbers(*samples)), draw(_numbers(*channels))
    spare = draw(st.sampled_from(("samples", "channels")))
    if n * c > room and spare == "samples":
        c = min(c, max(channels[0], 1, int(room // n)))
    if n * c > room:
        n = min(n, max(samples[0], 1, int(room // c)))
    if n * c > room:
        c = min(c, max(channels[0], 1, int(room // n)))
    shape = list(layout.on_spatial_axes(spatial_shape, n))
    shape[layout.channel_axis] = c
    return tuple(shape)


@lru_cache(maxsize=256)
def _numbers(least: int, most: int) -> st.SearchStrategy[int]:
    """A number of samples or of channels: small, or any; none only now and then."""
    some = max(least, min(1, most))

    def number(more: int, small: bool, none: int) -> int:
        return 0 if least < some and none == NONE_IN else some + (more % 3 if small else more)

    return st.builds(number, _integers(0, most - some), st.booleans(), st.integers(0, NONE_IN))


@lru_cache(maxsize=256)
def _mostly(usual: st.SearchStrategy[Any], seldom: st.SearchStrategy[Any], one_in: int) -> st.SearchStrategy[Any]:
    """Draw from the second strategy once in so many times; `one_of` takes no weights, and drops what is repeated."""
    return st.integers(0, one_in - 1).flatmap(lambda n: seldom if n == one_in - 1 else usual)


@lru_cache(maxsize=4096)
def _integers(least: int, most: int) -> st.SearchStrategy[int]:
    """Integers put together of small ones, see PLAIN."""
    if most <= PLAIN:
        return st.integers(least, most)
    base = PLAIN + 1
    high = _integers(0, (most - least) // base)
    return high.flatmap(
        lambda hundreds: _integers(0, min(PLAIN, most - least - base * hundreds)).map(
            lambda rest: least + base * hundreds + rest
        )
    )


def inputs(
    shape: tuple[int, ...],
    *,
    dtypes: Sequence[str] = DTYPES,
    special: Sequence[str] = (),
    orders: Sequence[str] = ORDERS,
    data_format: str = "channels_first",
) -> st.SearchStrategy[NDArray[Any]]:
    """An x of this shape.

    Parameters
    ----------
    shape : tuple of int
        Batch, channels and spatial axes, 4 or 5 in all; `shapes` draws some.
    dtypes : sequence of str
        Of ``"float16"``, ``"bfloat16"`` (which needs ml_dtypes), ``"float32"`` and ``"float64"``.
    special : sequence of str
        Names in `SPECIAL`: a third of the inputs has some of these on a third of its cells. Without, there are no
        zeros, as `assert_valid_output` needs it.
    orders : sequence of str
        How x may lie in memory: ``"big-endian"``, and the names in `ORDERS`, which `Case` explains; ``("C",)`` for
        contiguous arrays only.
    data_format : {"channels_first", "channels_last", "NCHW", "NHWC", "NCDHW", "NDHWC"}
        Order of the axes; only what "transposed" means depends on it.

    Returns
    -------
    SearchStrategy of ndarray
        Shrinks to the first dtype and order, without special values.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

    Examples
    --------
    >>> from hypothesis import given
    >>> from dropblock_ref import drop_block
    >>> from dropblock_ref.testing.strategies import SPECIAL, inputs
    >>> @given(inputs((2, 3, 4, 5), dtypes=("float16", "float32"), special=SPECIAL))
    ... def test_keeps_the_dtype(x):
    ...     assert drop_block(x, 0.5, 2, rng=0).dtype == x.dtype
    >>> test_keeps_the_dtype()
    """
    contents = _contents(dtypes, special, orders)
    return contents.map(lambda content: Case(shape, data_format=data_format, **content).x)


def _contents(
    dtypes: Sequence[str], special: Sequence[str], orders: Sequence[str]
) -> st.SearchStrategy[dict[str, Any]]:
    """The fields of a case that x is made from."""
    for names, name, accepted in (
        (dtypes, "dtypes", FLOATING_DTYPES),
        (special, "special", SPECIAL),
        (orders, "orders", (*ORDERS, "big-endian")),
    ):
        if isinstance(names, str) or not (names or name == "special"):
            raise ValueError(f"{name} must be a tuple of {', '.join(accepted)}, got {describe(names)}")
        for entry in names:
            check_choice(entry, name, accepted)
    values: st.SearchStrategy[tuple[str, ...]] = st.just(())
    if special:
        some = st.lists(st.sampled_from(tuple(special)), min_size=1, max_size=3, unique=True).map(tuple)
        values = _mostly(values, some, 3)
    return st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(tuple(dtypes)),
            "order": st.sampled_from(tuple(orders)),
            "values": st.integers(0, PLAIN),
            "special": values,
        }
    )


def seeds(
    shape: tuple[int, ...],
    block_size: BlockSize,
    *,
    data_format: str = "channels_first",
    convention: Convention | str = "paper",
) -> st.SearchStrategy[NDArray[np.bool_]]:
    """Seeds on eligible cells, for an x of this shape: a few, half of them or all.

    Parameters
    ----------
    shape : tuple of int
        Of x: batch, channels and spatial axes.
    block_size : int or tuple of int
        That the convention accepts on these maps.
    data_format : {"channels_first", "channels_last", "NCHW", "NHWC", "NCDHW", "NDHWC"}
        Order of the axes.
    convention : Convention or str
        Which says what is eligible, and whether masks are shared.

    Returns
    -------
    SearchStrategy of ndarray of bool
        Of `shape`, with 1 on the channel axis where the convention shares masks. Shrinks to no seeds.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

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
    case = Case(tuple(shape), block_size, data_format=data_format, convention=convention)
    every = replace(case, seeds_at="all").seeds

    def make(how: int, random_seed: int, few: tuple[tuple[int, ...], ...]) -> NDArray[np.bool_]:
        if how == 0 or len(few) < 2:  # so that one seed is less than half of them
            return replace(case, seeds_at=few).seeds
        kept = np.random.default_rng(random_seed).random(every.shape) < 0.5
        return every & kept if how == 1 else every.copy()

    return st.builds(make, st.integers(0, 2), st.integers(0, 2**32 - 1), _positions(case, 8))


def _positions(case: Case, most: int) -> st.SearchStrategy[tuple[tuple[int, ...], ...]]:
    """Indices of at most so many seeds; more of them than by chance are last on an axis, where mistakes are."""
    layout = find_layout(case.data_format, case.shape, "shape")
    eligible = place_block(case.block_size, case.spatial_shape, case.rules).eligible
    bounds = [(0, size - 1) for size in case.mask_shape]
    for axis, cells in zip(layout.spatial_axes, eligible, strict=True):
        bounds[axis] = (cells.start, cells.stop - 1)
    if any(least > last for least, last in bounds):
        return st.booleans().map(lambda _: ())  # a choice, so that no samples are not simpler than one without seeds
    index = st.tuples(*(_index(least, last) for least, last in bounds))
    return st.lists(index, max_size=most).map(lambda drawn: tuple(sorted(set(drawn))))


@lru_cache(maxsize=4096)
def _index(least: int, last: int) -> st.SearchStrategy[int]:
    return _integers(least, last + (last - least) // 3 + 1).map(lambda index: min(index, last))


def masks(
    shape: tuple[int, ...],
    block_size: BlockSize,
    *,
    data_format: str = "channels_first",
    convention: Convention | str = "paper",
) -> st.SearchStrategy[NDArray[np.bool_]]:
    """Keep masks, legal or not: those of some seeds, with up to three cells flipped.

    Parameters
    ----------
    shape, block_size, data_format, convention
        As for `seeds`.

    Returns
    -------
    SearchStrategy of ndarray of bool
        Of the shape of the seeds, True = kept. Shrinks to all kept.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

    Examples
    --------
    >>> from hypothesis import given
    >>> from dropblock_ref import keep_mask, recover_seeds
    >>> from dropblock_ref.testing.strategies import masks
    >>> @given(masks((1, 2, 3, 5), 2))
    ... def test_recovered_seeds_drop_no_kept_cell(mask):
    ...     assert (keep_mask(recover_seeds(mask, 2), 2) >= mask).all()
    >>> test_recovered_seeds_drop_no_kept_cell()
    """
    case = Case(tuple(shape), block_size, data_format=data_format, convention=convention)
    size = int(np.prod(case.mask_shape))
    cells = st.lists(_integers(0, size - 1), max_size=3, unique=True) if size else st.just([])

    def flip(drawn: NDArray[np.bool_], flipped: list[int]) -> NDArray[np.bool_]:
        mask = keep_mask(drawn, block_size, **case.options)
        mask.reshape(-1)[flipped] ^= True
        return mask

    return st.builds(flip, seeds(case.shape, block_size, **case.options), cells)


def cases(
    *,
    conventions: Sequence[Convention | str] | st.SearchStrategy[Convention] = tuple(CONVENTIONS),
    settings: st.SearchStrategy[Setting] | None = None,
    ndims: Sequence[int] = (2, 3),
    data_formats: Sequence[str] = tuple(DATA_FORMATS),
    min_side: int = 1,
    max_side: int = 8,
    block_sizes: Iterable[int] | None = None,
    odd: bool = False,
    per_axis: bool | Iterable[int] = True,
    drop_probs: Iterable[float] | None = None,
    min_samples: int = 0,
    max_samples: int = 2,
    min_channels: int = 1,
    max_channels: int = 3,
    max_cells: int | None = None,
    max_seeds: int = 8,
    dtypes: Sequence[str] = DTYPES,
    special: Sequence[str] = (),
    orders: Sequence[str] = ORDERS,
) -> st.SearchStrategy[Case]:
    """A whole call of `drop_block` with injected seeds, as one line of Python.

    Parameters
    ----------
    conventions : sequence of Convention or str, or SearchStrategy of Convention
        What to draw the convention from. By default the published ones; the strategy `conventions` draws others too.
    settings : SearchStrategy, optional
        Of maps, blocks on them and a drop_prob that all these conventions accept: what the strategy `settings` draws.
        By default it is made of the next parameters.
    ndims, min_side, max_side, block_sizes, odd, per_axis, drop_probs
        As for the strategy `settings`; without effect where `settings` is given.
    data_formats : sequence of str
        Orders of the axes to draw from, as far as they are for maps of the drawn rank.
    min_samples, max_samples, min_channels, max_channels, max_cells
        As for the strategy `shapes`.
    max_seeds : int
        So many seeds at most, or (now and then) all.
    dtypes, special, orders
        As for the strategy `inputs`.

    Returns
    -------
    SearchStrategy of Case
        Shrinks to the first convention, format, dtype and order, a map of one cell, one sample, one channel, no seeds.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or no data format is for maps of any of these ranks.

    Examples
    --------
    >>> from hypothesis import given
    >>> from dropblock_ref import drop_block
    >>> from dropblock_ref.testing.strategies import cases
    >>> @given(cases(conventions=("paper", "timm"), dtypes=("float32",), odd=True, min_samples=1, orders=("C",)))
    ... def test_keeps_the_shape(case):
    ...     y = drop_block(case.x, case.drop_prob, case.block_size, seeds=case.seeds, **case.options)
    ...     assert y.shape == case.x.shape
    >>> test_keeps_the_shape()
    """
    if not isinstance(conventions, st.SearchStrategy):
        conventions = st.sampled_from([find_convention(one) for one in conventions])
    for data_format in data_formats:
        check_choice(data_format, "data_formats", tuple(DATA_FORMATS))
    formats = {n: [f for f in data_formats if DATA_FORMATS[f][1] in (None, n + 2)] for n in (2, 3)}
    ranks = tuple(n for n in ndims if formats[n])
    if not ranks:
        raise ValueError(f"data_formats must have one for maps of ranks {tuple(ndims)}, got {tuple(data_formats)}")
    how = {
        "ndims": ranks,
        "min_side": min_side,
        "max_side": max_side,
        "block_sizes": None if block_sizes is None else tuple(block_sizes),
        "odd": odd,
        "per_axis": per_axis if isinstance(per_axis, bool) else tuple(per_axis),
        "drop_probs": None if drop_probs is None else tuple(drop_probs),
    }
    of_x = {
        "min_samples": min_samples,
        "max_samples": max_samples,
        "min_channels": min_channels,
        "max_channels": max_channels,
        "max_cells": max_cells,
    }
    return _cases(conventions, settings, how, formats, of_x, max_seeds, _contents(dtypes, special, orders))


@st.composite
def _cases(
    draw: st.DrawFn,
    conventions: st.SearchStrategy[Convention],
    settings: st.SearchStrategy[Setting] | None,
    how: dict[str, Any],
    formats: dict[int, list[str]],
    of_x: dict[str, Any],
    max_seeds: int,
    contents: st.SearchStrategy[dict[str, Any]],
) -> Case:
    rules = draw(conventions)
    spatial_shape, block_size, drop_prob = draw(_settings_of(rules, **how) if settings is None else settings)
    data_format = draw(st.sampled_from(formats[len(spatial_shape)]))
    shape = draw(shapes(spatial_shape, data_format=data_format, **of_x))
    every = draw(st.integers(0, 7)) == 7
    # Whatever has no fixed number of choices comes last; and one seed is to be less than all of them.
    empty = Case(shape, block_size, drop_prob, data_format=data_format, convention=rules, **draw(contents))
    few = draw(_positions(empty, max_seeds))
    return replace(empty, seeds_at="all" if every and len(few) > 1 else few)


_settings_of = lru_cache(maxsize=256)(lambda rules, **how: settings(convention=rules, **how))
