"""Level 2, recover: maps, blocks, arguments, memory orders and values at the edges of what a backend must take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .check import CheckFailure, Map, Outcome, RefusedInput, Run, check
from .distribution import compare_cell_rates
from .maps import (
    ANY_MAP,
    BLOCK_OF_MAP_SIZE,
    BLOCK_OF_ONE,
    DROP_PROB_ONE,
    EVEN,
    NON_SQUARE,
    ONE_CELL,
    OVERSIZE,
    PER_AXIS,
)
from .observation import MAX_ULPS, coarser, find_problems, same, ulp
from .recover import judge_all


@check("recover", (NON_SQUARE, "non-square map"))
def non_square_maps(run: Run) -> Outcome:
    """On maps that are wider than high, or higher than wide, mask, scale and values are right."""
    return judge_all(run, run.needed())


@check("recover", (EVEN, "even block"))
def even_blocks(run: Run) -> Outcome:
    """With blocks of even size, mask, scale and values are right, or they are refused as the convention says."""
    if run.backend.rules.even_extra_cell == "refused":
        return _all_refused(run, EVEN, "a block_size of even size")
    return judge_all(run, run.needed())


@check("recover", (PER_AXIS, "block with a size per axis"))
def per_axis_blocks(run: Run) -> Outcome:
    """With blocks of one size per axis, mask, scale and values are right."""
    return judge_all(run, run.needed())


def _judge_and_count(run: Run, maps: Sequence[Map]) -> Outcome:
    """Judge outputs, and compare the rate of every cell with the exact one, with a few thousand masks."""
    outcome = judge_all(run, maps, ("channel_sharing", "legal_blocks", "scale", "values"))
    samples = 1000 if run.quick else 20_000
    channels = 1 if run.backend.rules.shared_channels else 2
    for one in maps:
        compare_cell_rates(run, one, samples, channels, run.share / len(maps))
    return outcome


@check("recover", (BLOCK_OF_ONE, "block of one cell"), statistical=True)
def block_of_one(run: Run) -> Outcome:
    """A block of one cell drops single cells with probability drop_prob, as Dropout with a counted scale."""
    return _judge_and_count(run, run.needed())


@check("recover", (BLOCK_OF_MAP_SIZE, "block of the map's size"), statistical=True)
def block_of_map_size(run: Run) -> Outcome:
    """A block as large as the map drops as its convention says: where blocks must fit, everything or nothing."""
    return _judge_and_count(run, run.needed())


@check("recover", (ONE_CELL, "map of one cell"), statistical=True)
def one_cell_map(run: Run) -> Outcome:
    """A map of one cell is dropped with probability drop_prob."""
    return _judge_and_count(run, run.needed())


@check("recover", (OVERSIZE, "block larger than the map"), statistical=True)
def oversize_block(run: Run) -> Outcome:
    """A block larger than the map is refused or clipped as the convention says."""
    if run.backend.rules.oversize_block == "refused":
        return _all_refused(run, OVERSIZE, "a block_size larger than the map")
    return _judge_and_count(run, run.needed())


def _all_refused(run: Run, maps: Sequence[Map], what: str) -> Outcome:
    """Where the convention refuses a block, so must a backend that does not say by itself that it is not for it."""
    for one in run.accepted(maps):
        _must_refuse(run, one, run.input(run.shape(2, 2, one.spatial_shape)), one.drop_prob, what)
    return Outcome("refused")


def _must_refuse(run: Run, one: Map, x: NDArray[Any], drop_prob: float, what: str) -> None:
    try:
        run.forward(x, one, seed=run.seed, drop_prob=drop_prob)
    except RefusedInput:
        return
    except CheckFailure:  # no output, but no refusal either
        pass
    raise CheckFailure(
        f"{what} must be refused with an exception, but none is raised\non {one}\n"
        f"reproduce: {run.forward_call(x, one, seed=run.seed, drop_prob=drop_prob)}"
    )


@check("recover", ANY_MAP)
def bad_arguments(run: Run) -> Outcome:
    """A drop_prob outside [0, 1] and a block_size below 1 or of wrong length are refused."""
    for one in run.needed():
        x = run.input(run.shape(2, 2, one.spatial_shape))
        for drop_prob in (-0.1, 1.5, float("nan")):
            _must_refuse(run, one, x, drop_prob, f"drop_prob {drop_prob}")
        for block_size in (0, -1, (3,) * (1 + len(one.spatial_shape))):
            bad = Map(one.spatial_shape, block_size, one.drop_prob)
            _must_refuse(run, bad, x, one.drop_prob, f"block_size {block_size}")
    return Outcome("refused")


@check("recover", (DROP_PROB_ONE, "map for drop_prob 1"), statistical=True)
def drop_prob_one(run: Run) -> Outcome:
    """With drop_prob 1 rates, mask, scale and values are right, also where every cell is dropped."""
    maps = run.needed()
    judge_all(run, maps, ("legal_blocks", "scale", "values"), dtypes=run.backend.dtypes)
    return _judge_and_count(run, maps)


@check("recover", ANY_MAP)
def non_contiguous_input(run: Run) -> Outcome:
    """Whatever the memory order of x, mask, scale and values are right."""
    redrawn = False
    maps = run.needed()
    for one in maps:
        for dtype in run.backend.dtypes:
            contiguous = run.input(run.shape(3, 3, one.spatial_shape), dtype)
            expected = run.forward(contiguous, one, seed=run.seed)
            rules, data_format = run.backend.rules, run.backend.data_format
            known = {found.check for found in find_problems(contiguous, expected, one.block_size, data_format, rules)}
            only = tuple({"channel_sharing", "legal_blocks", "scale", "values"} - known)
            for x in (
                np.repeat(contiguous, 2, axis=-1)[..., ::2],
                np.flip(contiguous).copy()[(slice(None, None, -1),) * contiguous.ndim],
                np.asfortranarray(contiguous),
            ):
                y = run.forward(x, one, seed=run.seed, own_copy=False)
                run.judge(x, y, one, run.check_call(), only=only)
                redrawn |= not same(y, expected)
    note = ": with one seed, the draw depends on the memory order" if redrawn else ""
    return Outcome(f"{3 * len(maps)} arrays for each of dtypes {', '.join(run.backend.dtypes)}{note}", reported=redrawn)


@check("recover", ANY_MAP)
def batch_of_one(run: Run) -> Outcome:
    """A batch of one sample, of one channel, has the right shape, mask, scale and values."""
    for one in run.needed():
        for channels in (1, 3):
            x = run.input(run.shape(1, channels, one.spatial_shape))
            for seed in run.seeds(6):
                run.judge(x, run.forward(x, one, seed=seed), one, run.forward_call(x, one, seed=seed))
    return Outcome(f"{run.draws} masks")


@check("recover", ANY_MAP)
def empty_batch(run: Run) -> Outcome:
    """A batch of no samples gives an empty output of the same shape and dtype."""
    for one in run.needed():
        x = run.input(run.shape(0, 3, one.spatial_shape))
        for training in (True, False):
            y = run.forward(x, one, seed=run.seed, training=training)
            run.judge(x, y, one, run.forward_call(x, one, seed=run.seed, training=training))
    return Outcome()


_SPECIAL = ("0", "-0", "large", "smallest normal", "inf", "-inf", "nan")


@check("recover", ANY_MAP)
def special_values(run: Run) -> Outcome:
    """Zeros, large and tiny values, infinities and NaN change nothing elsewhere and are multiplied like any other."""
    notes: set[str] = set()
    for one in run.needed():
        for dtype in run.backend.dtypes:
            x = run.input(run.shape(3, 3, one.spatial_shape), dtype)
            for seed in run.seeds(3):
                notes |= _special_values(run, one, x, seed)
    return Outcome("; ".join(sorted(notes)), reported=bool(notes))


def _special_values(run: Run, one: Map, x: NDArray[Any], seed: int) -> set[str]:
    """Compare the output of an x with special values with that of an ordinary one of the same mask."""
    plain = np.asarray(run.forward(x, one, seed=seed))
    dropped = run.dropped(x, plain)
    if plain.shape != x.shape or dropped.all():
        return set()
    factor = np.where(dropped, 0.0, np.nan_to_num(plain.astype(np.float64)) / x.astype(np.float64))
    dtype = coarser(x.dtype, plain.dtype)
    largest = {"float16": 65504.0, "bfloat16": 3.3e38, "float32": 3.4e38}.get(dtype.name, 1.7e308)
    smallest = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126}.get(dtype.name, 2.0**-1022)
    special = dict(zip(_SPECIAL, (0.0, -0.0, largest / 8, smallest, np.inf, -np.inf, np.nan), strict=True))
    kind = np.random.default_rng(seed).integers(-len(special), len(special), x.shape)
    given = x.copy()
    for number, value in enumerate(special.values()):
        given[kind == number] = np.array(value).astype(x.dtype)
    y = np.asarray(run.forward(given, one, seed=seed)).astype(np.float64)
    with np.errstate(all="ignore"):
        expected = given.astype(np.float64) * factor
        overflowed = expected.astype(dtype).astype(np.float64)  # a product may leave the range of the dtype
        unit = ulp(np.where(np.isfinite(expected), expected, 1.0), dtype)
        near = np.abs(y - expected) <= 2 * MAX_ULPS * unit
    right = near | (y == expected) | (y == overflowed) | (np.isnan(y) & np.isnan(expected))
    notes: set[str] = set()
    name = np.array(["ordinary", *_SPECIAL])[np.maximum(kind, -1) + 1]
    for text, allowed in (
        ("a dropped infinity or NaN becomes 0", dropped & ~np.isfinite(given.astype(np.float64)) & (y == 0)),
        ("a dropped large value overflows on the way and becomes NaN", dropped & (name == "large") & np.isnan(y)),
        ("the smallest normal number is flushed to 0", (name == "smallest normal") & (y == 0)),
    ):
        if (allowed & ~right).any():
            notes.add(text)
            right |= allowed
    if not right.all():
        index = tuple(int(i) for i in np.argwhere(~right)[0])
        raise CheckFailure(
            f"a {'dropped' if dropped[index] else 'kept'} cell with the value {given[index]} ({name[index]}) must "
            f"become {expected[index]:.9g}, and becomes {y[index]:.9g}, at index {index}; in "
            f"{np.count_nonzero(~right)} cells with values {', '.join(sorted(set(name[~right])))}\n"
            f"on {one}, dtype {x.dtype}\nreproduce: {run.check_call()}"
        )
    return notes
