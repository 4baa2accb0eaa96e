"""Level 2, recover: maps, blocks, arguments, memory orders and values at the edges of what a backend must take."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import judge
from .case import special_value
from .check import OUTPUT, CheckFailure, Map, NotApplicable, NotJudged, Outcome, Run, check
from .distribution import compare_cell_rates, compare_map_rates
from .judge import find_law
from .maps import (
    ANY_MAP,
    ANY_SETTING,
    DROPS_ALL,
    EVEN_BLOCK,
    EVEN_BLOCK_REFUSED,
    MAP_SIZED_BLOCK,
    NON_SQUARE_MAP,
    NON_SQUARE_RATE,
    ONE_CELL_BLOCK,
    ONE_CELL_MAP,
    OVERSIZE_BLOCK,
    PER_AXIS_BLOCK,
    PROBABILITY_ONE,
)
from .observation import MAX_ULPS, coarser, find_dtype, same, ulp
from .recover import MASK, judge_all, require_dropped

_RATES = ("map_rate", "cell_rates", "batch_rates")


@check(
    "recover",
    NON_SQUARE_MAP,
    statistical=True,
    after=(*_RATES, "even_blocks", "per_axis_blocks", "batch_of_one"),
    judges=True,
)
def non_square_maps(run: Run) -> Outcome:
    """On maps that are wider than high, or higher than wide, mask, scale, values and rate are right."""
    outcome = judge_all(run, run.needed())
    if not run.compiled:
        compare_map_rates(run, run.supported(NON_SQUARE_RATE) or run.needed()[:2])
    return outcome


@check("recover", EVEN_BLOCK_REFUSED, after=(*_RATES, "batch_of_one"), judges=True)
def even_blocks(run: Run) -> Outcome:
    """With blocks of even size, mask, scale and values are right, or they are refused as the convention says."""
    if run.backend.rules.even_extra_cell == "refused":
        return _all_refused(run, run.needed(), "a block_size of even size")
    run.needs = EVEN_BLOCK
    return judge_all(run, run.needed())


@check("recover", PER_AXIS_BLOCK, after=(*_RATES, "batch_of_one"), judges=True)
def per_axis_blocks(run: Run) -> Outcome:
    """With blocks of one size per axis, mask, scale and values are right."""
    return judge_all(run, run.needed())


def _unless_compiled(run: Run) -> None:
    if run.compiled:
        raise NotApplicable("left out by the profile 'compiled', which has few shapes and arguments")


def _judge_and_count(run: Run, maps: Sequence[Map]) -> Outcome:
    """Judge outputs in every dtype, and compare the rate of every cell with the exact one, over a few thousand."""
    outcome = judge_all(run, maps)
    for one, dtype in itertools.product(maps, run.backend.dtypes):
        if dtype != run.dtype:
            run.forward(run.input(run.shape(2, 3, one.spatial_shape), dtype), one, seed=run.seed)
    samples, channels = (250, 8) if run.quick else (20_000, 2)
    channels = 1 if run.backend.rules.shared_channels else channels
    for one in maps:
        compare_cell_rates(run, one, samples, channels, 1 / len(maps))
    return outcome


@check("recover", ONE_CELL_BLOCK, statistical=True, after=(*MASK, *_RATES), judges=True)
def block_of_one(run: Run) -> Outcome:
    """A block of one cell drops single cells with probability drop_prob, as Dropout with a counted scale."""
    return _judge_and_count(run, run.needed())


@check("recover", MAP_SIZED_BLOCK, statistical=True, after=(*MASK, *_RATES), judges=True)
def block_of_map_size(run: Run) -> Outcome:
    """A block as large as the map drops as its convention says: where blocks must fit, everything or nothing."""
    return _judge_and_count(run, run.needed())


@check("recover", ONE_CELL_MAP, statistical=True, after=(*MASK, *_RATES), judges=True)
def one_cell_map(run: Run) -> Outcome:
    """A map of one cell is dropped with probability drop_prob."""
    _unless_compiled(run)
    return _judge_and_count(run, run.needed())


@check("recover", OVERSIZE_BLOCK, statistical=True, after=(*MASK, *_RATES), judges=True)
def oversize_block(run: Run) -> Outcome:
    """A block larger than the map is refused or clipped as the convention says."""
    if run.backend.rules.oversize_block == "refused":
        return _all_refused(run, run.needed(), "a block_size larger than the map")
    maps = run.supported(run.needed()) or run.needed()
    return _judge_and_count(run, maps)


def _all_refused(run: Run, maps: Sequence[Map], what: str) -> Outcome:
    """Where the convention refuses a block, so must a backend that does not say by itself that it is not for it.

    One that refuses everything has refused nothing of this.
    """
    _must_accept(run)
    for one in maps:
        x = run.input(run.shape(2, 2, one.spatial_shape))
        if not run.calls.refuses(x, one.drop_prob, one.block_size):
            raise CheckFailure(
                f"{what} must be refused with an exception, but none is raised\non {one}\n"
                f"reproduce: {run.forward_call(x, one, seed=run.seed)}"
            )
    return Outcome("refused")


def _must_accept(run: Run) -> Map:
    """Something ordinary, which the backend takes, so that a refusal says something."""
    ordinary = run.find(ANY_SETTING)
    if not ordinary:
        raise NotApplicable(f"the backend supports no {ANY_SETTING.what}")
    try:
        run.forward(run.input(run.shape(2, 2, ordinary[0].spatial_shape)), ordinary[0], seed=run.seed)
    except CheckFailure as error:
        raise NotJudged(f"what is right is refused too: {error.args[0].splitlines()[0]}") from error
    return ordinary[0]


@check("recover", ANY_SETTING)
def bad_arguments(run: Run) -> Outcome:
    """A drop_prob outside [0, 1] and a block_size below 1 or of wrong length are refused; what is not is told."""
    _unless_compiled(run)
    one = _must_accept(run)
    x = run.input(run.shape(2, 2, one.spatial_shape))
    p, b = one.drop_prob, one.block_size
    wrong: list[tuple[str, Any, Any]] = [(f"drop_prob {bad}", bad, b) for bad in (-0.1, 1.5, 10.0, float("nan"))]
    wrong += [(f"block_size {bad}", p, bad) for bad in (0, -1, 2.5, (3,) * (1 + len(one.spatial_shape)))]
    taken = [what for what, drop_prob, block in wrong if not run.calls.refuses(x, drop_prob, block)]
    return Outcome("not refused: " + ", ".join(taken) if taken else "refused", reported=bool(taken))


@check("recover", ANY_SETTING, after=("same_seed_same_output",))
def scalar_types(run: Run) -> Outcome:
    """Numbers of NumPy, ints as drop_prob and lists as block_size mean what other numbers mean, or are refused."""
    _unless_compiled(run)
    usual = _must_accept(run)
    one = next((other for other in run.find(ANY_SETTING) if other.drop_prob not in (0.5, 1.0)), usual)
    p, b = one.drop_prob, one.block_size
    # What is given, in words; drop_prob and block_size, and what they mean.
    given: list[tuple[str, Map, Any, Any, Map]] = [
        (f"drop_prob {kind.__name__}({p!r})", one, kind(p), b, replace(one, drop_prob=float(kind(p))))
        for kind in (np.float32, np.float64)
    ]
    if isinstance(b, int):
        given.append((f"block_size int64({b})", one, p, np.int64(b), one))
    for number in (0, 1):
        if run.backend.is_for(one.spatial_shape, b, float(number)):
            meant = replace(one, drop_prob=float(number))
            given.append((f"drop_prob {number} as an int", one, number, b, meant))
    for other in run.find(PER_AXIS_BLOCK)[:1]:
        if isinstance(other.block_size, tuple):
            block = list(other.block_size)
            given.append((f"block_size {block} as a list", other, other.drop_prob, block, other))
    refused = []
    for what, setting, drop_prob, block_size, meant in given:
        x = run.input(run.shape(2, 2, setting.spatial_shape))
        y = run.calls.attempt(x, drop_prob, block_size)
        expected = run.calls.attempt(x, meant.drop_prob, meant.block_size)
        if y is None:
            refused.append(what)
        elif (run.backend.reseeds or not meant.drop_prob) and not _alike(y, expected):
            raise CheckFailure(
                f"{what} must mean what drop_prob {meant.drop_prob!r} and block_size {meant.block_size!r} mean, but "
                f"with the same seed the output is another one\non {setting}\nreproduce: {run.check_call()}"
            )
    return Outcome("refused: " + ", ".join(refused) if refused else "taken", reported=bool(refused))


def _alike(y: Any, expected: Any) -> bool:
    return not isinstance(expected, np.ndarray) or (isinstance(y, np.ndarray) and same(y, expected))


@check("recover", PROBABILITY_ONE, statistical=True, after=(*MASK, *_RATES), judges=True)
def drop_prob_one(run: Run) -> Outcome:
    """With drop_prob 1 rates, mask, scale and values are right, also where every cell is dropped."""
    return _judge_and_count(run, list(dict.fromkeys((*run.needed(), *run.first_of(DROPS_ALL)))))


@check("recover", ANY_MAP, after=("input_unmodified", "same_seed_same_output", *_RATES), judges=True)
def non_contiguous_input(run: Run) -> Outcome:
    """Whatever the memory order of x, mask, scale and values are right."""
    redrawn = False
    maps = run.needed()
    number = 0
    for one, dtype in itertools.product(maps, run.backend.dtypes):
        contiguous = run.input(run.shape(8, 3, one.spatial_shape), dtype)
        expected = run.forward(contiguous, one, seed=run.seed)
        number = 0
        for x in memory_orders(contiguous, run.layout(contiguous).channel_axis):
            y = run.forward(x, one, seed=run.seed)
            if "evaluation" in run.backend.modes:
                run.forward(x, one, seed=run.seed, training=False)
            if not run.dropped(x, y).any():
                require_dropped(run, one, run.masks(x), f"of an x with strides {x.strides} ")
            # An x with other values has other y, and the same mask.
            redrawn |= bool((run.dropped(x, y) != run.dropped(contiguous, expected)).any())
            number += 1
    if not run.backend.reseeds:
        redrawn = False
    note = ": with one seed, the draw depends on the memory order" if redrawn else ""
    return Outcome(
        f"{number * len(maps)} arrays for each of dtypes {', '.join(run.backend.dtypes)}{note}", reported=redrawn
    )


def memory_orders(x: NDArray[Any], channel_axis: int) -> list[NDArray[Any]]:
    """The same x, and one whose samples are all the first, in other orders of memory."""
    axis = 2 if channel_axis == 1 else 1  # of the height, in maps
    read_only = x.copy()
    read_only.flags.writeable = False
    other = np.moveaxis(
        np.ascontiguousarray(np.moveaxis(x, channel_axis, 1 if channel_axis != 1 else -1)), 1, channel_axis
    )
    if channel_axis == 1:
        other = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    return [
        np.repeat(x, 2, axis=-1)[..., ::2],
        np.flip(x).copy()[(slice(None, None, -1),) * x.ndim],
        np.asfortranarray(x),
        other,  # as NHWC memory seen as NCHW
        np.swapaxes(np.ascontiguousarray(np.swapaxes(x, axis, axis + 1)), axis, axis + 1),  # height and width exchanged
        np.broadcast_to(x[:1], x.shape),  # a stride of 0, and read-only
        np.broadcast_to(x.ravel()[:1].reshape((1,) * x.ndim), x.shape) if x.size else x,
        read_only,
        np.concatenate([x[::-1], x, x[::-1]])[len(x) : 2 * len(x)],  # a part of a larger batch
    ]


@check("recover", ANY_MAP, statistical=True, after=("same_seed_same_output", *_RATES), judges=True)
def batch_of_one(run: Run) -> Outcome:
    """A batch of one sample, of one channel, has the right shape, mask, scale and values."""
    maps = run.needed()
    if all(run.batch(1, 1, one.spatial_shape)[0] != 1 for one in maps):
        raise NotApplicable("the backend is built for more than one sample")
    rare = run.supported(replace(one, drop_prob=0.001) for one in maps)  # hardly anything is dropped
    for one, dtype, channels in itertools.product((*maps, *rare), run.backend.dtypes, (1, 3)):
        x = run.input(run.shape(1, channels, one.spatial_shape), dtype)
        if one in rare or dtype != run.dtype:
            run.forward(x, one, seed=run.seed)
    _count_first_masks(run, maps)
    return Outcome(f"{run.draws} masks")


def _count_first_masks(run: Run, maps: Sequence[Map]) -> None:
    """The first masks of batches of one, each with a seed of its own, must drop as often as any others."""
    for one in maps:
        law = find_law(one, run.backend.rules)
        counts = np.zeros((2, law.cells), dtype=np.int64)  # of three channels, and of one
        for number, seed in enumerate(run.seeds(16)):
            x = run.input(run.shape(1, 1 if number % 2 else 3, one.spatial_shape))
            dropped = np.moveaxis(run.dropped(x, run.forward(x, one, seed=seed)), run.layout(x).channel_axis, 1)
            counts[number % 2] += dropped[0, 0].ravel()
        budget = run.share / len(maps) / 3
        for verdict in (
            *(judge.judge_rate(law, int(half.sum()), 8, budget) for half in counts),
            judge.judge_cells(law, counts.sum(axis=0), 16, budget),
        ):
            if verdict.fault is not None:
                raise CheckFailure(
                    f"of the first masks of 16 batches of one sample, each with a seed of its own: {verdict.fault.text}"
                    f"\non {one}\nreproduce: {run.check_call()}"
                )
            run.detects += [verdict.detects] * bool(verdict.detects)


@check("recover", ANY_MAP, after=("shape_and_dtype",))
def empty_batch(run: Run) -> Outcome:
    """A batch of no samples gives an empty output of the same shape and dtype."""
    for one in run.needed():
        if run.batch(0, 3, one.spatial_shape)[0]:
            raise NotApplicable("the backend is built for batches of one size")
        for dtype, mode in itertools.product(run.backend.dtypes, run.backend.modes):
            x = run.input(run.shape(0, 3, one.spatial_shape), dtype)
            run.forward(x, one, seed=run.seed, training=mode == "training")
    return Outcome()


_SPECIAL = ("0", "-0", "large", "smallest normal", "inf", "-inf", "nan")


@check("recover", ANY_MAP, after=(*OUTPUT, "same_seed_same_output"))
def special_values(run: Run) -> Outcome:
    """Zeros, large and tiny values, infinities and NaN change nothing elsewhere and are multiplied like any other."""
    notes: set[str] = set()
    if not run.backend.reseeds:
        raise NotApplicable("the backend takes no seeds, and such an x does not show its mask")
    for one in run.needed():
        for dtype in run.backend.dtypes:
            x = run.input(run.shape(3, 3, one.spatial_shape), dtype)
            for seed in run.seeds(3):
                notes |= _special_values(run, one, x, seed)
            y = run.forward(np.zeros_like(x), one, seed=run.seed, readable=False)
            if (y != 0).any() and not (run.dropped(x, run.forward(x, one, seed=run.seed)).all()):
                raise CheckFailure(
                    f"zeros must become zeros, and {np.count_nonzero(y != 0)} of {y.size} do not\non {one}, dtype "
                    f"{x.dtype}\nreproduce: {run.check_call()}",
                    dtype=x.dtype.name,
                )
            given, _ = _with_special_values(run, x, run.seed)
            if "evaluation" in run.backend.modes:
                run.forward(given, one, seed=run.seed, training=False, readable=False)
            if run.backend.is_for(one.spatial_shape, one.block_size, 0.0):
                run.forward(given, one, seed=run.seed, drop_prob=0.0, readable=False)
    return Outcome("; ".join(sorted(notes)), reported=bool(notes))


def _with_special_values(run: Run, x: NDArray[Any], seed: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """X with special values in half of its cells, and where it has none."""
    output = x.dtype if run.backend.output_dtype is None else find_dtype(run.backend.output_dtype)
    kind = np.random.default_rng(seed).integers(-len(_SPECIAL), len(_SPECIAL), x.shape)
    given = x.copy()
    for number, name in enumerate(_SPECIAL):
        given[kind == number] = special_value(name, coarser(x.dtype, output)).astype(x.dtype)
    return given, kind < 0


def _special_values(run: Run, one: Map, x: NDArray[Any], seed: int) -> set[str]:
    """Compare the output of an x with special values with that of an ordinary one of the same mask."""
    plain = run.forward(x, one, seed=seed)
    dropped = run.dropped(x, plain)
    if dropped.all():
        return set()
    factor = np.where(dropped, 0.0, np.nan_to_num(plain.astype(np.float64)) / x.astype(np.float64))
    given, ordinary = _with_special_values(run, x, seed)
    y = run.forward(given, one, seed=seed, readable=False)
    if ((y == 0) != dropped)[ordinary].any():
        changed = np.count_nonzero(((y == 0) != dropped)[ordinary])
        raise CheckFailure(
            "with one seed, the mask must not depend on the values of x, but with zeros, infinities and NaN in some "
            f"cells {changed} of the {np.count_nonzero(ordinary)} others change\n"
            f"on {one}, dtype {x.dtype}\nreproduce: {run.check_call()}",
            dtype=x.dtype.name,
        )
    problem, notes = find_special_problem(given, y, dropped, factor)
    if problem:
        raise CheckFailure(f"{problem}\non {one}, dtype {x.dtype}\nreproduce: {run.check_call()}", dtype=x.dtype.name)
    return notes


def find_special_problem(
    x: NDArray[Any], y: NDArray[Any], dropped: NDArray[np.bool_], factor: NDArray[np.float64]
) -> tuple[str, set[str]]:
    """What is wrong with y as x * factor for an x of any values, and what is told but not judged."""
    dtype = coarser(x.dtype, y.dtype)
    wide_x, wide_y = x.astype(np.float64), y.astype(np.float64)
    largest, smallest = (abs(float(special_value(name, dtype))) for name in ("largest", "smallest normal"))
    with np.errstate(all="ignore"):
        expected = wide_x * factor
        unit = ulp(np.where(np.isfinite(expected), expected, 1.0), dtype)
        # A product may leave the range of the dtype.
        overflowed = (np.abs(expected) > largest * (1 - 2**-6)) & (wide_y == np.copysign(np.inf, expected))
        right = (np.abs(wide_y - expected) <= 2 * MAX_ULPS * unit) | (wide_y == expected) | overflowed
    right |= np.isnan(wide_y) & np.isnan(expected)
    notes = set()
    for text, allowed in (
        ("a dropped infinity or NaN becomes 0", dropped & ~np.isfinite(wide_x) & (wide_y == 0)),
        (
            "a dropped large value overflows on the way and becomes NaN",
            dropped & (np.abs(wide_x) > largest / 16) & np.isnan(wide_y),
        ),
        ("the smallest normal number is flushed to 0", (np.abs(wide_x) <= smallest) & (wide_y == 0)),
    ):
        if (allowed & ~right).any():
            notes.add(text)
            right |= allowed
    if right.all():
        return "", notes
    index = tuple(int(i) for i in np.argwhere(~right)[0])
    return (
        f"beside special values a {'dropped' if dropped[index] else 'kept'} cell with the value {x[index]} must become "
        f"{expected[index]:.9g}, and becomes {wide_y[index]:.9g}, at index {index}; {np.count_nonzero(~right)} of "
        f"{x.size} cells are wrong"
    ), notes
