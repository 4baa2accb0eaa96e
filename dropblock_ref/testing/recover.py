"""Level 2, recover: only x and y are known; the mask is read from y, and must be explained by some seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..call import own_masks
from ..stages import scale as reference_scale
from ..theory import expected_drop_fraction, untouched_probability
from .backend import Backend
from .check import CheckFailure, Map, NotApplicable, NotJudged, Outcome, Run, check
from .judge import find_law
from .maps import (
    ANY_MAP,
    ANY_SETTING,
    DROPS_ALL,
    HUGE_MAP,
    LARGE_MAP,
    MANY_CELLS,
    MAP_SIZED_BLOCK,
    ONE_CELL_BLOCK,
    REALISTIC,
    REALISTIC_MAP,
    kinds,
)
from .observation import Fault, coarser, one_of_each, same, ulp

MASK = ("channel_sharing", "legal_blocks")
_MOST_MASKS = 4096  # in one draw that is to differ from others


def _outputs(
    run: Run, maps: Sequence[Map], *, dtypes: Sequence[str] | None = None
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """x and y, over maps, dtypes and seeds."""
    for one in maps:
        for dtype in dtypes or (run.dtype,):
            x = run.input(run.shape(20, 3, one.spatial_shape), dtype)
            for seed in run.seeds(3 if run.quick else 6):
                yield x, run.forward(x, one, seed=seed)


def judge_all(run: Run, maps: Sequence[Map], *, dtypes: Sequence[str] | None = None) -> Outcome:
    """Draw on several maps; every call is judged by all that one output shows, and each must drop something."""
    for one in maps:
        masks, cells = run.draws, run.dropped_cells
        _draw_all(run, [one], dtypes=dtypes)
        if run.dropped_cells == cells:
            require_dropped(run, one, run.draws - masks)
    return _unless_nothing(run, Outcome(f"{run.draws} masks on {kinds(maps)}"))


def require_dropped(run: Run, one: Map, masks: int, what: str = "") -> None:
    """Fail where so many masks that drop nothing are no matter of chance."""
    rules = run.backend.rules
    untouched = untouched_probability(one.drop_prob, one.block_size, one.spatial_shape, convention=rules)
    if untouched**masks < 1e-3 * run.share:
        raise CheckFailure(
            f"{what}nothing is dropped in {masks} masks (by chance with a probability of {untouched**masks:.1e})\n"
            f"on {one}\nreproduce: {run.check_call()}"
        )


def _draw_all(run: Run, maps: Sequence[Map], *, dtypes: Sequence[str] | None = None) -> None:
    for x, y in _outputs(run, maps, dtypes=dtypes):
        run.dropped_cells += int(np.count_nonzero(run.dropped(x, y)))


def _unless_nothing(run: Run, outcome: Outcome) -> Outcome:
    if not run.dropped_cells:
        raise NotJudged(f"nothing was dropped in {run.draws} masks")
    return outcome


def _judge_ordinary(run: Run) -> Outcome:
    """The outputs that several checks look at, drawn once in a run."""
    maps = run.needed()
    if "ordinary" not in run.cache:
        _draw_all(run, maps, dtypes=run.backend.dtypes)
        rare = [replace(one, drop_prob=0.004) for one in maps]
        _draw_all(run, run.supported(rare), dtypes=run.backend.dtypes)  # some keep everything
        _draw_all(run, run.supported(REALISTIC))  # in half precision such counts are low_precision's business
        for one in run.supported(MANY_CELLS):  # where a count may leave the range of a small integer
            x = run.input(run.shape(1, 2, one.spatial_shape))
            run.forward(x, one, seed=run.seed)
        run.cache["ordinary"] = run.draws, run.dropped_cells
    run.draws, run.dropped_cells = run.cache["ordinary"]
    return Outcome(f"{run.draws} masks on {kinds(maps)} and larger ones, dtypes {', '.join(run.backend.dtypes)}")


@check("recover", ANY_SETTING)
def supported_input(run: Run) -> Outcome:
    """What the backend says that it supports is answered, and not refused."""
    modes = [mode == "training" for mode in run.backend.modes]
    for one, dtype, training in itertools.product(run.needed(), run.backend.dtypes, modes):
        x = run.input(run.shape(2, 3, one.spatial_shape), dtype)
        run.forward(x, one, seed=run.seed, training=training)
        if run.backend.vjp is not None:
            run.vjp(x, run.cotangent(x), one, training=training, seed=run.seed)
    return Outcome(f"dtypes {', '.join(run.backend.dtypes)}")


def _unless_evaluation(backend: Backend) -> str | None:
    return None if "evaluation" in backend.modes else "the backend has no evaluation"


def _unless_zero(backend: Backend) -> str | None:
    if backend.settings is not None and all(one.drop_prob for one in backend.settings):
        return "the backend is built with a drop_prob above 0"
    return None


@check("recover", ANY_SETTING, unless=_unless_evaluation)
def evaluation_identity(run: Run) -> Outcome:
    """In evaluation the output is x."""
    maps = run.needed()
    # Where a layer might forget that it is in evaluation.
    rare = run.supported(replace(one, drop_prob=0.01) for one in maps)
    rare += run.first_of(ONE_CELL_BLOCK, MAP_SIZED_BLOCK, DROPS_ALL, REALISTIC_MAP)
    for (number, one), dtype in itertools.product(enumerate((*maps, *rare)), run.backend.dtypes):
        for samples, channels in ((1, 3), (20, 3), (40, 1)) if number < len(maps) else ((2, 3),):
            x = run.input(run.shape(samples, channels, one.spatial_shape), dtype)
            run.forward(x, one, seed=run.seed, training=False)
            if samples == 1:
                tiny = float(np.ldexp(1.0, -14 if dtype == "float16" else -126))
                run.forward(_scaled(x, 4 * tiny), one, seed=run.seed, training=False, readable=False)
    return Outcome(f"{len(maps) + len(rare)} maps, dtypes {', '.join(run.backend.dtypes)}")


def _scaled(x: NDArray[Any], factor: float) -> NDArray[Any]:
    scaled: NDArray[Any] = (x.astype(np.float64) * factor).astype(x.dtype)
    return scaled


@check("recover", ANY_SETTING, unless=_unless_zero)
def zero_drop_prob_identity(run: Run) -> Outcome:
    """With drop_prob 0 the output is x."""
    maps = [one for one in run.needed() if run.backend.is_for(one.spatial_shape, one.block_size, 0.0)]
    if not maps:
        raise NotApplicable("the backend accepts no drop_prob of 0")
    large = run.supported(replace(one, drop_prob=0.0) for one in REALISTIC[:1])
    for one, dtype, samples in itertools.product((*maps, *large), run.backend.dtypes, (1, 20)):
        x = run.input(run.shape(samples, 3, one.spatial_shape), dtype)
        run.forward(x, one, seed=run.seed, drop_prob=0.0)
    return Outcome(f"{len(maps) + len(large)} maps, dtypes {', '.join(run.backend.dtypes)}")


@check("recover", ANY_SETTING, unless=_unless_evaluation)
def evaluation_stream(run: Run) -> Outcome:
    """Evaluation draws nothing from the stream; that it does is told, not judged."""
    if not run.backend.reseeds or "training" not in run.backend.modes:
        raise NotApplicable("there is no stream that a seed begins anew")
    one = run.needed()[0]
    x = run.input(run.shape(8, 3, one.spatial_shape))
    outputs = []
    for between in (False, True):
        run.forward(x, one, seed=run.seed)
        if between:
            run.forward(x, one, seed=None, training=False)
        outputs.append(run.forward(x, one, seed=None))
    if same(*outputs):
        return Outcome()
    return Outcome("evaluation draws from the stream, so that it changes what training draws next", reported=True)


@check("recover", ANY_MAP)
def shape_and_dtype(run: Run) -> Outcome:
    """The output has the shape and the dtype of x, in training and in evaluation; so has the derivative."""
    return _judge_ordinary(run)


@check("recover", ANY_MAP)
def input_unmodified(run: Run) -> Outcome:
    """X, the cotangent and injected seeds are not modified, in any call."""
    return _judge_ordinary(run)


@check("recover", ANY_MAP)
def output_unmodified(run: Run) -> Outcome:
    """An output stays as it is when the next one is made: they do not share memory."""
    return _judge_ordinary(run)


def _unless_reseeds(backend: Backend) -> str | None:
    return None if backend.reseeds else "the backend takes no seeds"


@check("recover", LARGE_MAP, statistical=True, unless=_unless_reseeds)
def same_seed_same_output(run: Run) -> Outcome:
    """The same seed gives the same output, and another seed another one."""
    one = run.needed()[0]
    x = run.input(_shape_that_differs(run, one, draws=8))
    outputs = []
    for seed in run.seeds(8):
        y, again = run.forward(x, one, seed=seed), run.forward(x, one, seed=seed)
        if not same(y, again):
            raise CheckFailure(
                f"two calls with the same seed must give the same output\non {one}\nreproduce: {run.check_call()}"
            )
        outputs.append(y)
    return _all_different(run, one, x, outputs, "two calls with different seeds")


@check("recover", LARGE_MAP, statistical=True, after=("same_seed_same_output",))
def stream_goes_on(run: Run) -> Outcome:
    """Without a seed every call draws anew."""
    one = run.needed()[0]
    x = run.input(_shape_that_differs(run, one, draws=64))
    outputs = [run.forward(x, one, seed=run.seed)]
    outputs += [run.forward(x, one, seed=None) for _ in range(63)]
    return _all_different(run, one, x, outputs, "two calls of one stream (the first with a seed, the others with None)")


def _shape_that_differs(run: Run, one: Map, draws: int) -> tuple[int, ...]:
    """The shape of x with so many masks that two of the draws are hardly ever the same."""
    samples, channels = run.batch(4, 4, one.spatial_shape)
    while _repeats_by_chance(run, one, samples, channels, draws) > run.share and samples * channels < _MOST_MASKS:
        more = (samples, 2 * channels) if run.backend.rules.shared_samples else (2 * samples, channels)
        if run.batch(*more, one.spatial_shape) == (samples, channels):
            break
        samples, channels = more
    return run.shape(samples, channels, one.spatial_shape)


def _repeats_by_chance(run: Run, one: Map, samples: int, channels: int, draws: int) -> float:
    rules = run.backend.rules
    masks = math.prod(own_masks(samples, channels, rules))
    return find_law(one, rules).coincidence(masks) * draws * (draws - 1) / 2


def _all_different(run: Run, one: Map, x: NDArray[Any], outputs: list[NDArray[Any]], what: str) -> Outcome:
    chance = _repeats_by_chance(run, one, len(x), x.shape[run.layout(x).channel_axis], len(outputs))
    if chance > run.share:
        raise NotJudged(f"two draws on {one} are the same with a probability of up to {min(chance, 1):.1e}")
    run.detects.append("any repeated draw")
    seen: dict[bytes, int] = {}
    for number, y in enumerate(outputs):
        mask = run.dropped(x, y).tobytes()
        if mask in seen:
            nothing = not run.dropped(x, y).any()
            raise CheckFailure(
                f"{what} must draw different masks (they are the same with a probability of at most {chance:.1e}), but "
                f"calls {seen[mask]} and {number} draw the same{': nothing is dropped' if nothing else ''}\non {one}\n"
                f"reproduce: {run.check_call()}",
                bears="map_rate" if nothing else None,
            )
        seen[mask] = number
    return Outcome(f"{len(outputs)} draws, all different")


@check("recover", ANY_MAP, statistical=True)
def channel_sharing(run: Run) -> Outcome:
    """Samples, and channels, share masks only where the convention says so."""
    one = run.needed()[0]
    # In half precision the count of a large batch is low_precision's business.
    number = 70 if run.dtype in {"float32", "float64"} else 24
    samples, channels = run.batch(number, number, one.spatial_shape)
    own, of_own = own_masks(samples, channels, run.backend.rules)
    compared = [(0, "samples", own, of_own), (1, "channels", of_own, own)]
    compared = [entry for entry in compared if entry[2] > 1]
    agree = find_law(one, run.backend.rules).coincidence()
    pairs = sum(number * (number - 1) / 2 for _, _, number, _ in compared)
    if not compared and samples * channels > 1:  # all of a call share one mask, and every output is judged by that
        return _judge_ordinary(run)
    if not compared:
        raise NotApplicable("the backend is built for one sample and one channel")
    # So many draws that two of them hardly ever agree in all by chance.
    fewest = min(masks for *_, masks in compared)
    draws = 3
    while pairs * agree ** (fewest * draws) > run.share and draws < 300:
        draws += 1
    chance = pairs * agree ** (fewest * draws)
    if chance > run.share:
        raise NotJudged(f"two masks on {one} are the same with a probability of up to {min(chance, 1):.1e}")
    x = run.input(run.shape(samples, channels, one.spatial_shape))
    stack = []
    for seed in run.seeds(draws):
        masks = np.moveaxis(run.dropped(x, run.forward(x, one, seed=seed)), run.layout(x).channel_axis, 1)
        stack.append(np.packbits(masks.reshape(samples, channels, -1), axis=-1))
    dropped = np.stack(stack)
    run.detects.append("any two samples or channels that always share masks")
    for axis, name, _, _ in compared:
        seen: dict[bytes, int] = {}
        for number, masks in enumerate(np.moveaxis(dropped, axis + 1, 0)):
            earlier = seen.setdefault(masks.tobytes(), number)
            if earlier != number:
                nothing = not np.moveaxis(dropped, axis + 1, 0)[number].any()
                if nothing and dropped.any():
                    run.calls.found.append(_untouched(run, one, name, number, draws))
                    raise NotJudged(f"nothing is dropped in {name} {earlier} and {number}, see batch_rates")
                raise CheckFailure(
                    f"{name} must draw masks of their own under convention {run.backend.rules.name!r}, but {name} "
                    f"{earlier} and {number} have the same in each of {draws} draws (by chance with probability at "
                    f"most {chance:.1e}){': nothing is dropped' if nothing else ''}\non {one}\n"
                    f"reproduce: {run.forward_call(x, one, seed=run.seed)}",
                    bears="map_rate" if nothing else None,
                )
    return Outcome(f"{draws} draws of {samples} samples and {channels} channels")


def _untouched(run: Run, one: Map, name: str, number: int, draws: int) -> Fault:
    text = (
        f"all {name} must be dropped equally often, but in {draws} draws nothing is dropped in {name[:-1]} {number}\n"
        f"on {one}\nreproduce: {run.check_call()}"
    )
    return Fault("batch_rates", text, run.dtype)


@check("recover", ANY_MAP)
def legal_blocks(run: Run) -> Outcome:
    """The dropped cells are a union of legal blocks."""
    return _unless_nothing(run, _judge_ordinary(run))


@check("recover", ANY_MAP, after=MASK)
def scale(run: Run) -> Outcome:
    """Kept cells are multiplied by one factor, count(M) / count_ones(M) over what the convention counts."""
    outcome = _unless_nothing(run, _judge_ordinary(run))
    run.require_sound((*MASK, "values"))
    return outcome


@check("recover", ANY_MAP, after=MASK)
def values(run: Run) -> Outcome:
    """Kept cells are x times the scale, or else another factor, to a few ulps of x's dtype; dropped cells are zero."""
    return _unless_nothing(run, _judge_ordinary(run))


def _unless_half(backend: Backend) -> str | None:
    if {"float16", "bfloat16"} & set(backend.dtypes):
        return None
    return f"the backend supports neither float16 nor bfloat16, only {', '.join(backend.dtypes)}"


@check("recover", HUGE_MAP, unless=_unless_half, after=(*MASK, "map_rate", "cell_rates"), judges=True)
def low_precision(run: Run) -> Outcome:
    """On maps so large that a count overflows or rounds in half precision, mask, scale and values are right."""
    # About 69,000 cells are kept, just beyond 65504 and 2^16, where a bfloat16 count is off by up to 256; and a scale
    # near 2 makes most of that in units of its last place.
    maps = [_map_that_drops(run, one, 0.48) for one in run.needed()]
    dtypes = [dtype for dtype in run.backend.dtypes if dtype in {"float16", "bfloat16"}]
    draws = 4 if run.quick else 12
    failures = []
    for dtype, one in itertools.product(dtypes, maps):
        try:
            _judge_low_precision(run, one, dtype, draws)
        except CheckFailure as error:  # noqa: PERF203  (one dtype or rank must not hide the other)
            failures.append(error)
    if failures:
        raise CheckFailure("\n".join(map(str, failures)), bears=failures[0].bears, dtype=failures[0].dtype)
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
                f"{'some' if seen == 'not finite' else 'all'} cells are {seen}\non {one}\nreproduce: {call}",
                dtype=dtype,
            )
        _check_bias(run, x, y, one, call)


def _map_that_drops(run: Run, one: Map, fraction: float) -> Map:
    """The map with the drop_prob at which that fraction is dropped on average."""
    from scipy.optimize import brentq  # heavy

    def excess(drop_prob: float) -> float:
        rules = run.backend.rules
        return expected_drop_fraction(drop_prob, one.block_size, one.spatial_shape, convention=rules) - fraction

    other = replace(one, drop_prob=round(brentq(excess, 0.0, 1.0), 6))
    return other if run.backend.is_for(other.spatial_shape, other.block_size, other.drop_prob) else one


def _check_bias(run: Run, x: NDArray[Any], y: NDArray[Any], one: Map, call: str) -> None:
    """Rounding errors of single values average out over many cells; what is left is the error of the scale itself."""
    rules, layout = run.backend.rules, run.layout(x)
    kept = np.logical_not(run.dropped(x, y))
    counted = one_of_each(kept, rules, layout)
    factor = reference_scale(counted, drop_prob=one.drop_prob, data_format=run.backend.data_format, convention=rules)
    expected = float(np.mean(np.broadcast_to(factor, x.shape)[kept]))
    seen = float(np.mean(y[kept].astype(np.float64) / x[kept].astype(np.float64)))
    off = (seen - expected) / float(ulp(np.asarray(expected), coarser(x.dtype, y.dtype)))
    # A right scale, rounded once to x's dtype, is off by at most half a unit; 0.1 is left for the mean's own noise.
    if abs(off) > 0.6:
        raise CheckFailure(
            f"{x.dtype}: the scale must be the counted one, {expected:.7f}, at worst rounded once to {x.dtype}; "
            f"over {np.count_nonzero(kept)} kept cells y / x is {seen:.7f} on average, {off:+.2f} units in the last "
            f"place of {x.dtype}: the count or the sum is rounded too\non {one}\nreproduce: {call}",
            dtype=x.dtype.name,
        )
