"""Level 2, recover: only x and y are known; the mask is read from y, and must be explained by some seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..normalization import scale as reference_scale
from ..theory import expected_drop_fraction
from .backend import Backend
from .check import CheckFailure, Map, NotApplicable, Outcome, RefusedInput, Run, check
from .distribution import coincidence_bound, compare_cell_rates
from .maps import EVEN, LARGE, MANY_CELLS, NON_SQUARE, ORDINARY, PER_AXIS, REALISTIC
from .observation import MAX_ULPS, coarser, find_problems, map_picture, ulp


def _outputs(
    run: Run, maps: Sequence[Map], *, draws: int = 6, dtypes: Sequence[str] | None = None, samples: int = 20
) -> Iterator[tuple[NDArray[Any], Any, Map, str]]:
    """x, y, the map and the call, over maps, dtypes and seeds."""
    for one in maps:
        for dtype in dtypes or (run.dtype,):
            x = run.input(run.shape(samples, 3, one.spatial_shape), dtype)
            for seed in run.seeds(draws):
                yield x, run.forward(x, one, seed=seed), one, run.forward_call(x, one, seed=seed)


def _judge_all(
    run: Run, maps: Sequence[Map], only: tuple[str, ...] | None = None, *, dtypes: Sequence[str] | None = None
) -> Outcome:
    for x, y, one, call in _outputs(run, maps, dtypes=dtypes):
        run.judge(x, y, one, call, only=only)
    return Outcome(f"{run.draws} masks on {len(maps)} kinds of map")


def _same(a: Any, b: Any) -> bool:
    """Equal shape and values, in the coarser dtype of both; NaN equals NaN."""
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.shape == b.shape):
        return False
    dtype = coarser(a.dtype, b.dtype)
    a, b = a.astype(dtype, copy=False), b.astype(dtype, copy=False)
    return bool(((a == b) | (np.isnan(a) & np.isnan(b))).all())


def _identity(run: Run, **how: Any) -> Outcome:
    maps = run.require(ORDINARY, "ordinary map")
    for one in maps:
        for dtype in run.backend.dtypes:
            for samples, seed in ((1, run.seed), (20, run.seed)):
                x = run.input(run.shape(samples, 3, one.spatial_shape), dtype)
                y = run.forward(x, one, seed=seed, **how)
                if not _same(y, x):
                    raise CheckFailure(
                        f"the output must be x, and {_difference(x, y)}\non {one}\n"
                        f"reproduce: {run.forward_call(x, one, seed=seed, **how)}"
                    )
    return Outcome(f"{len(maps)} maps, dtypes {', '.join(run.backend.dtypes)}")


def _difference(expected: NDArray[Any], y: Any) -> str:
    if not isinstance(y, np.ndarray) or y.shape != expected.shape:
        return f"is {type(y).__name__} of shape {getattr(y, 'shape', None)}, not {expected.shape}"
    wrong = ~((y == expected) | (np.isnan(expected) & np.isnan(y)))
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (
        f"{np.count_nonzero(wrong)} of {expected.size} cells differ, first at index {index}: expected "
        f"{expected[index]}, seen {y[index]}"
    )


@check("recover")
def evaluation_identity(run: Run) -> Outcome:
    """In evaluation the output is x."""
    return _identity(run, training=False)


@check("recover")
def zero_drop_prob_identity(run: Run) -> Outcome:
    """With drop_prob 0 the output is x."""
    return _identity(run, drop_prob=0.0)


@check("recover")
def shape_and_dtype(run: Run) -> Outcome:
    """The output has the shape and the dtype of x, in training and in evaluation; so has the derivative."""
    maps = run.require(ORDINARY, "ordinary map")
    outcome = _judge_all(run, maps, ("shape_and_dtype",), dtypes=run.backend.dtypes)
    for one in maps:
        for dtype in run.backend.dtypes:
            x = run.input(run.shape(2, 2, one.spatial_shape), dtype)
            how: dict[str, Any] = {"seed": run.seed, "training": False}
            outputs = {"output in evaluation": run.forward(x, one, **how), "output": run.forward(x, one, seed=run.seed)}
            if run.backend.vjp is not None:
                _, outputs["derivative"] = run.vjp(x, x, one, training=True, seed=run.seed)
            for name, array in outputs.items():
                if (np.shape(array), getattr(array, "dtype", None)) != (x.shape, x.dtype):
                    raise CheckFailure(
                        f"the {name} must have x's shape {x.shape} and dtype {x.dtype}, and is "
                        f"{getattr(array, 'dtype', type(array).__name__)} of shape {np.shape(array)}\non {one}\n"
                        f"reproduce: {run.check_call()}"
                    )
    return outcome


@check("recover")
def input_unmodified(run: Run) -> Outcome:
    """x is not modified, in training or in evaluation."""
    maps = run.require(ORDINARY, "ordinary map")
    for one in maps:
        for dtype in run.backend.dtypes:
            x = run.input(run.shape(3, 3, one.spatial_shape), dtype)
            for training in (True, False):
                given = x.copy()
                run.forward(given, one, seed=run.seed, training=training, own_copy=False)
                if not _same(given, x):
                    raise CheckFailure(
                        f"x must not be modified, and {_difference(x, given)} afterwards\non {one}\n"
                        f"reproduce: {run.forward_call(x, one, seed=run.seed, training=training)}"
                    )
    return Outcome(f"{len(maps)} maps, dtypes {', '.join(run.backend.dtypes)}")


@check("recover", statistical=True)
def same_seed_same_output(run: Run) -> Outcome:
    """The same seed gives the same output, and another seed another one."""
    one = run.require(LARGE, "large map")[0]
    x = run.input(run.shape(4, 4, one.spatial_shape))
    outputs = []
    for seed in run.seeds(8):
        y, again = run.forward(x, one, seed=seed), run.forward(x, one, seed=seed)
        if not _same(y, again):
            raise CheckFailure(
                f"two calls with the same seed must give the same output\non {one}\nreproduce: {run.check_call()}"
            )
        outputs.append(np.asarray(y))
    return _all_different(run, one, x, outputs, "two calls with different seeds")


@check("recover", statistical=True)
def stream_goes_on(run: Run) -> Outcome:
    """Without a seed every call draws anew."""
    one = run.require(LARGE, "large map")[0]
    x = run.input(run.shape(4, 4, one.spatial_shape))
    outputs = [np.asarray(run.forward(x, one, seed=run.seed))]
    outputs += [np.asarray(run.forward(x, one, seed=None)) for _ in range(63)]
    return _all_different(run, one, x, outputs, "two calls of one stream (the first with a seed, the others with None)")


def _all_different(run: Run, one: Map, x: NDArray[Any], outputs: list[NDArray[Any]], what: str) -> Outcome:
    chance = coincidence_bound(run, one, samples=4, channels=4) * len(outputs) * (len(outputs) - 1) / 2
    if chance > run.share:
        raise NotApplicable(f"two draws on {one} are the same with a probability of up to {chance:.1e}")
    run.detects.append("any repeated draw")
    seen: dict[bytes, int] = {}
    for number, y in enumerate(outputs):
        mask = run.dropped(x, y).tobytes()
        if mask in seen:
            nothing = "" if run.dropped(x, y).any() else ": nothing is dropped"
            raise CheckFailure(
                f"{what} must draw different masks (they are the same with a probability of at most {chance:.1e}), but "
                f"calls {seen[mask]} and {number} draw the same{nothing}\non {one}\nreproduce: {run.check_call()}"
            )
        seen[mask] = number
    return Outcome(f"{len(outputs)} draws, all different")


@check("recover", statistical=True)
def channel_sharing(run: Run) -> Outcome:
    """Samples never share masks, and channels only where the convention says so."""
    one = run.require(LARGE, "large map")[0]
    number = 20
    x = run.input(run.shape(number, number, one.spatial_shape))
    shared = run.backend.rules.shared_channels
    draws = 6
    # Two samples all of whose channels agree in every draw, or two channels that agree in every sample of every draw.
    chance = number * (number - 1) * coincidence_bound(run, one, samples=1, channels=number) ** draws
    if chance > run.share:
        raise NotApplicable(f"two masks on {one} are the same with a probability of up to {chance:.1e}")
    dropped = []
    for seed in run.seeds(draws):
        y = run.forward(x, one, seed=seed)
        run.judge(x, y, one, run.forward_call(x, one, seed=seed), only=("channel_sharing",))
        dropped.append(np.moveaxis(run.dropped(x, y), run.layout(x).channel_axis, 1))
    run.detects.append("any two samples or channels that always share masks")
    for axis, name in ((1, "samples"), (2, "channels"))[: 1 if shared else 2]:
        masks = np.moveaxis(np.stack(dropped), axis, 0)
        for i in range(number):
            for j in range(i):
                if (masks[i] == masks[j]).all():
                    nothing = "" if masks.any() else ": nothing is dropped"
                    raise CheckFailure(
                        f"{name} must draw masks of their own under convention {run.backend.rules.name!r}, but {name} "
                        f"{j} and {i} have the same in each of {draws} draws (by chance with probability at most "
                        f"{chance:.1e}){nothing}\non {one}\nreproduce: {run.forward_call(x, one, seed=run.seed)}"
                    )
    return Outcome(f"{draws} draws of {number} samples and {number} channels")


@check("recover")
def legal_blocks(run: Run) -> Outcome:
    """The dropped cells are a union of legal blocks."""
    maps = (*run.require(ORDINARY, "ordinary map"), *run.supported(REALISTIC))
    return _judge_all(run, maps, ("channel_sharing", "legal_blocks"), dtypes=run.backend.dtypes)


@check("recover")
def scale(run: Run) -> Outcome:
    """Kept cells are multiplied by one factor, count(M) / count_ones(M) over what the convention counts."""
    maps = run.require(ORDINARY, "ordinary map")
    outcome = _judge_all(run, maps, ("scale",), dtypes=run.backend.dtypes)
    _judge_all(run, run.supported(REALISTIC), ("scale",))  # in half precision such counts are low_precision's business
    for one in run.supported(MANY_CELLS):  # where a count may leave the range of a small integer
        x = run.input(run.shape(1, 2, one.spatial_shape))
        run.judge(x, run.forward(x, one, seed=run.seed), one, run.forward_call(x, one, seed=run.seed), only=("scale",))
    return outcome


@check("recover")
def values(run: Run) -> Outcome:
    """Kept cells are x * scale to a few ulps of x's dtype, dropped cells are zero."""
    maps = run.require(ORDINARY, "ordinary map")
    outcome = _judge_all(run, maps, ("values",), dtypes=run.backend.dtypes)
    _judge_all(run, run.supported(REALISTIC), ("values",))
    return outcome


def _unless_half(backend: Backend) -> str | None:
    if {"float16", "bfloat16"} & set(backend.dtypes):
        return None
    return f"the backend supports neither float16 nor bfloat16, only {', '.join(backend.dtypes)}"


@check("recover", unless=_unless_half)
def low_precision(run: Run) -> Outcome:
    """On maps so large that a count overflows or rounds in half precision, mask, scale and values are right."""
    # About 69,000 cells are kept, just beyond 65504 and 2^16, where a bfloat16 count is off by up to 256; and a scale
    # near 2 makes most of that in units of its last place.
    maps = [_map_that_drops(run, one, 0.48) for one in run.require(MANY_CELLS, "large map")]
    dtypes = [dtype for dtype in run.backend.dtypes if dtype in {"float16", "bfloat16"}]
    draws = 4 if run.quick else 12
    failures = []
    for dtype, one in itertools.product(dtypes, maps):
        try:
            _judge_low_precision(run, one, dtype, draws)
        except CheckFailure as error:  # noqa: PERF203  (one dtype or rank must not hide the other)
            failures.append(str(error))
    if failures:
        raise CheckFailure("\n".join(failures))
    return Outcome(f"{', '.join(dtypes)} with about 70,000 kept cells")


def _judge_low_precision(run: Run, one: Map, dtype: str, draws: int) -> None:
    channels = 1 if run.backend.rules.shared_channels else 2
    x = run.input(run.shape(2 // channels, channels, one.spatial_shape), dtype)
    for seed in run.seeds(draws):
        y = run.forward(x, one, seed=seed)
        call = run.forward_call(x, one, seed=seed)
        zero = np.equal(y, 0)
        if zero.all() or not zero.any() or not np.isfinite(y).all():
            seen = "not finite" if not np.isfinite(y).all() else "dropped" if zero.all() else "kept"
            raise CheckFailure(
                f"{dtype}: about 0.48 of the cells must be dropped and the others finite, but "
                f"{'some' if seen == 'not finite' else 'all'} cells are {seen}\non {one}\nreproduce: {call}"
            )
        run.judge(x, y, one, call, only=("channel_sharing", "legal_blocks", "scale", "values"))
        _check_bias(run, x, y, one, call)


def _map_that_drops(run: Run, one: Map, fraction: float) -> Map:
    """The map with the drop_prob at which that fraction is dropped on average."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if expected_drop_fraction(middle, one.block_size, one.spatial_shape, convention=run.backend.rules) < fraction:
            low = middle
        else:
            high = middle
    return Map(one.spatial_shape, one.block_size, round(high, 6))


def _check_bias(run: Run, x: NDArray[Any], y: NDArray[Any], one: Map, call: str) -> None:
    """Rounding errors of single values average out over many cells; what is left is the error of the scale itself."""
    rules, layout = run.backend.rules, run.layout(x)
    kept = np.logical_not(run.dropped(x, y))
    counted = np.take(kept, [0], axis=layout.channel_axis) if rules.shared_channels else kept
    factor = reference_scale(counted, data_format=run.backend.data_format, convention=rules)
    expected = float(np.mean(np.broadcast_to(factor, x.shape)[kept]))
    seen = float(np.mean(y[kept].astype(np.float64) / x[kept].astype(np.float64)))
    off = (seen - expected) / float(ulp(np.asarray(expected), coarser(x.dtype, y.dtype)))
    # A right scale, rounded once to x's dtype, is off by at most half a unit; 0.1 is left for the mean's own noise.
    if abs(off) > 0.6:
        raise CheckFailure(
            f"{x.dtype}: the scale must be the counted one, {expected:.7f}, at worst rounded once to {x.dtype}; "
            f"over {np.count_nonzero(kept)} kept cells y / x is {seen:.7f} on average, {off:+.2f} units in the last "
            f"place of {x.dtype}: the count or the sum is rounded too\non {one}\nreproduce: {call}"
        )


def _unless_vjp(backend: Backend) -> str | None:
    return "the backend has no vjp" if backend.vjp is None else None


def _derivatives(
    run: Run, *, training: bool, drop_prob: float | None = None
) -> Iterator[tuple[NDArray[Any], NDArray[Any], Any, Any, Map, str]]:
    """x, cotangent, y, x_bar, the map and the call."""
    maps = run.require(ORDINARY, "ordinary map")
    cases = [(one, dtype) for one in maps for dtype in run.backend.dtypes]
    cases += [(one, run.dtype) for one in run.supported((*NON_SQUARE, *EVEN, *PER_AXIS))]
    for asked, dtype in cases:
        one = asked if drop_prob is None else replace(asked, drop_prob=drop_prob)
        for samples in (1, 20):
            x = run.input(run.shape(samples, 3, one.spatial_shape), dtype)
            cotangent = np.ascontiguousarray(x[::-1])
            for seed in run.seeds(2):
                call = (
                    f"x = make_input({x.shape}, {dtype!r}, {run.seed}); "
                    f"backend.vjp(x, x[::-1], {one.drop_prob}, {one.block_size!r}, training={training}, seed={seed})"
                )
                y, x_bar = run.vjp(x, cotangent, one, training=training, seed=seed)
                yield x, cotangent, y, x_bar, one, call


@check("recover", unless=_unless_vjp)
def gradient(run: Run) -> Outcome:
    """In training the derivative is cotangent * keep_mask * scale, with the mask and scale of the same forward pass."""
    draws = 0
    _gradient_of_all_dropped(run)
    for x, cotangent, y, x_bar, one, call in _derivatives(run, training=True):
        dropped, flat = run.dropped(x, y), run.dropped(x, x_bar)
        where = f"\non {one}\nreproduce: {call}"
        if (dropped != flat).any():
            what = (
                "it is zero everywhere"
                if flat.all()
                else "it is zero nowhere: the mask is missing"
                if not flat.any()
                else "it has another mask than the output: another draw"
            )
            raise CheckFailure(
                f"the derivative must be zero exactly on the {np.count_nonzero(dropped)} dropped cells, but "
                f"{np.count_nonzero(dropped != flat)} of {x.size} cells are not so; {what}\n"
                f"{map_picture(~dropped, dropped != flat, run.layout(x))}{where}"
            )
        kept = ~dropped
        factor = y[kept].astype(np.float64) / x[kept].astype(np.float64)
        expected = cotangent[kept].astype(np.float64) * factor
        off = np.abs(x_bar[kept].astype(np.float64) - expected) / ulp(expected, coarser(x.dtype, y.dtype))
        if not (off <= 2 * MAX_ULPS).all():  # both y and the derivative are rounded
            worst = int(np.argmax(np.nan_to_num(off, nan=np.inf)))
            wrong = np.zeros(x.shape, dtype=np.bool_)
            wrong[kept] = ~(off <= 2 * MAX_ULPS)
            seen = float(x_bar[kept][worst]) / float(cotangent[kept][worst])
            raise CheckFailure(
                f"the derivative on kept cells must be cotangent * scale, scale = {factor[worst]:.7g}, but it is "
                f"cotangent * {seen:.7g} on a cell (mask and scale are constants of the derivative)\n"
                f"{map_picture(kept, wrong, run.layout(x))}{where}"
            )
        draws += 1
    return Outcome(f"{draws} derivatives")


def _gradient_of_all_dropped(run: Run) -> None:
    """Where nothing is kept the derivative is 0, or NaN as the output is."""
    for one in run.supported([Map((6, 6), 1, 1.0), Map((3, 3, 3), 1, 1.0)]):
        x = run.input(run.shape(2, 2, one.spatial_shape))
        y, x_bar = run.vjp(x, x, one, training=True, seed=run.seed)
        if x_bar.any() and not (np.isnan(y).all() and np.isnan(x_bar).all()):
            wrong = (
                f"{np.count_nonzero(x_bar)} of {x.size} cells are not, {np.count_nonzero(np.isnan(x_bar))} of them NaN"
            )
            raise CheckFailure(
                f"where every cell is dropped the derivative must be zero, and {wrong}\non {one}\n"
                f"reproduce: {run.check_call()}"
            )


@check("recover", unless=_unless_vjp)
def evaluation_gradient(run: Run) -> Outcome:
    """In evaluation, and with drop_prob 0, the derivative is the cotangent."""
    draws = 0
    for x, cotangent, y, x_bar, one, call in itertools.chain(
        _derivatives(run, training=False), _derivatives(run, training=True, drop_prob=0.0)
    ):
        for name, array, expected in (("output", y, x), ("derivative", x_bar, cotangent)):
            dtype = coarser(x.dtype, np.asarray(y).dtype)  # a wrong dtype is another check's business
            if not _same(array.astype(dtype), expected.astype(dtype)):
                raise CheckFailure(
                    f"the {name} must be the {'input' if name == 'output' else 'cotangent'} in evaluation, and "
                    f"{_difference(expected, array)}\non {one}\nreproduce: {call}"
                )
        draws += 1
    return Outcome(f"{draws} derivatives")


@check("recover")
def non_square_maps(run: Run) -> Outcome:
    """On maps that are wider than high, or higher than wide, mask, scale and values are right."""
    return _judge_all(run, run.require(NON_SQUARE, "non-square map"))


@check("recover")
def even_blocks(run: Run) -> Outcome:
    """With blocks of even size, mask, scale and values are right, or they are refused as the convention says."""
    if run.backend.rules.even_extra_cell == "refused":
        return _all_refused(run, EVEN, "a block_size of even size")
    return _judge_all(run, run.require(EVEN, "even block"))


@check("recover")
def per_axis_blocks(run: Run) -> Outcome:
    """With blocks of one size per axis, mask, scale and values are right."""
    return _judge_all(run, run.require(PER_AXIS, "block with a size per axis"))


def _judge_and_count(run: Run, maps: Sequence[Map]) -> Outcome:
    """Judge outputs, and compare the rate of every cell with the exact one, with a few thousand masks."""
    outcome = _judge_all(run, maps, ("channel_sharing", "legal_blocks", "scale", "values"))
    samples = 1000 if run.quick else 20_000
    channels = 1 if run.backend.rules.shared_channels else 2
    for one in maps:
        compare_cell_rates(run, one, samples, channels, run.share / len(maps))
    return outcome


@check("recover", statistical=True)
def block_of_one(run: Run) -> Outcome:
    """A block of one cell drops single cells with probability drop_prob, as Dropout with a counted scale."""
    maps = [Map(shape, 1, drop_prob) for shape in ((6, 6), (3, 3, 3)) for drop_prob in (0.3, 0.02, 0.98)]
    return _judge_and_count(run, run.require(maps, "block of one cell"))


@check("recover", statistical=True)
def block_of_map_size(run: Run) -> Outcome:
    """A block as large as the map drops as its convention says: where blocks must fit, everything or nothing."""
    return _judge_and_count(
        run,
        run.require(
            (Map((5, 5), 5, 0.3), Map((4, 4), 4, 0.3), Map((3, 3, 3), 3, 0.3), Map((2, 2, 2), 2, 0.3)),
            "block of the map's size",
        ),
    )


@check("recover", statistical=True)
def one_cell_map(run: Run) -> Outcome:
    """A map of one cell is dropped with probability drop_prob."""
    return _judge_and_count(run, run.require((Map((1, 1), 1, 0.3), Map((1, 1, 1), 1, 0.3)), "map of one cell"))


@check("recover", statistical=True)
def oversize_block(run: Run) -> Outcome:
    """A block larger than the map is refused or clipped as the convention says."""
    maps = [Map((5, 5), block_size, 0.3) for block_size in (6, 7, 8)]
    maps += [Map((4, 7), 6, 0.3), Map((7, 5), 6, 0.3), Map((3, 3, 3), 5, 0.3), Map((3, 4, 5), 4, 0.3)]
    if run.backend.rules.oversize_block == "refused":
        return _all_refused(run, maps, "a block_size larger than the map")
    return _judge_and_count(run, run.require(maps, "block larger than the map"))


def _all_refused(run: Run, maps: Sequence[Map], what: str) -> Outcome:
    """Where the convention refuses a block, so must a backend that does not say by itself that it is not for it."""
    accepts = run.backend.accepts
    asked = [one for one in maps if len(one.spatial_shape) in run.backend.spatial_ndims]
    if accepts is not None:
        asked = [
            one
            for one in asked
            if run.call(partial(accepts, one.spatial_shape, one.block_size), f"backend.accepts of {one}")
        ]
    if not asked:
        raise NotApplicable(f"the convention refuses {what}, and the backend says that it is not for it")
    for one in asked:
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
        f"{what} must be refused with an exception, but an output is returned\non {one}\n"
        f"reproduce: {run.forward_call(x, one, seed=run.seed, drop_prob=drop_prob)}"
    )


@check("recover")
def bad_arguments(run: Run) -> Outcome:
    """A drop_prob outside [0, 1] and a block_size below 1 or of wrong length are refused."""
    for one in run.require(ORDINARY, "ordinary map"):
        x = run.input(run.shape(2, 2, one.spatial_shape))
        for drop_prob in (-0.1, 1.5, float("nan")):
            _must_refuse(run, one, x, drop_prob, f"drop_prob {drop_prob}")
        for block_size in (0, -1, (3,) * (1 + len(one.spatial_shape))):
            bad = Map(one.spatial_shape, block_size, one.drop_prob)
            _must_refuse(run, bad, x, one.drop_prob, f"block_size {block_size}")
    return Outcome("refused")


@check("recover", statistical=True)
def drop_prob_one(run: Run) -> Outcome:
    """With drop_prob 1 rates, mask, scale and values are right, also where every cell is dropped."""
    maps = [Map(shape, b, 1.0) for shape, b in (((6, 6), 1), ((5, 5), 5), ((7, 7), 3), ((3, 3, 3), 3), ((5, 5, 5), 3))]
    supported = run.require(maps, "of these maps")
    _judge_all(run, supported, ("legal_blocks", "scale", "values"), dtypes=run.backend.dtypes)
    return _judge_and_count(run, supported)


@check("recover")
def non_contiguous_input(run: Run) -> Outcome:
    """Whatever the memory order of x, mask, scale and values are right."""
    redrawn = False
    maps = run.require(ORDINARY, "ordinary map")
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
                redrawn |= not _same(y, expected)
    note = ": with one seed, the draw depends on the memory order" if redrawn else ""
    return Outcome(f"{3 * len(maps)} arrays for each of dtypes {', '.join(run.backend.dtypes)}{note}", reported=redrawn)


@check("recover")
def batch_of_one(run: Run) -> Outcome:
    """A batch of one sample, of one channel, has the right shape, mask, scale and values."""
    for one in run.require(ORDINARY, "ordinary map"):
        for channels in (1, 3):
            x = run.input(run.shape(1, channels, one.spatial_shape))
            for seed in run.seeds(6):
                run.judge(x, run.forward(x, one, seed=seed), one, run.forward_call(x, one, seed=seed))
    return Outcome(f"{run.draws} masks")


@check("recover")
def empty_batch(run: Run) -> Outcome:
    """A batch of no samples gives an empty output of the same shape and dtype."""
    for one in run.require(ORDINARY, "ordinary map"):
        x = run.input(run.shape(0, 3, one.spatial_shape))
        for training in (True, False):
            y = run.forward(x, one, seed=run.seed, training=training)
            run.judge(x, y, one, run.forward_call(x, one, seed=run.seed, training=training))
    return Outcome()


_SPECIAL = ("0", "-0", "large", "smallest normal", "inf", "-inf", "nan")


@check("recover")
def special_values(run: Run) -> Outcome:
    """Zeros, large and tiny values, infinities and NaN change nothing elsewhere and are multiplied like any other."""
    notes: set[str] = set()
    for one in run.require(ORDINARY, "ordinary map"):
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
