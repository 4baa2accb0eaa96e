"""Level 2, recover: only x and y are known; the mask is read from y, and must be explained by some seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..stages import scale as reference_scale
from ..theory import expected_drop_fraction
from .backend import Backend
from .check import CheckFailure, Map, NotApplicable, Outcome, Run, check
from .distribution import coincidence_bound
from .maps import ANY_MAP, LARGE, MANY_CELLS, REALISTIC, kinds
from .observation import coarser, difference, same, ulp

_LARGE = (LARGE, "large map")


def _outputs(
    run: Run, maps: Sequence[Map], *, dtypes: Sequence[str] | None = None
) -> Iterator[tuple[NDArray[Any], Any, Map, str]]:
    """x, y, the map and the call, over maps, dtypes and seeds."""
    for one in maps:
        for dtype in dtypes or (run.dtype,):
            x = run.input(run.shape(20, 3, one.spatial_shape), dtype)
            for seed in run.seeds(3 if run.quick else 6):
                yield x, run.forward(x, one, seed=seed), one, run.forward_call(x, one, seed=seed)


def judge_all(
    run: Run, maps: Sequence[Map], only: tuple[str, ...] | None = None, *, dtypes: Sequence[str] | None = None
) -> Outcome:
    """Judge outputs on several maps, by all properties or only some."""
    for x, y, one, call in _outputs(run, maps, dtypes=dtypes):
        run.judge(x, y, one, call, only=only)
    return Outcome(f"{run.draws} masks on {kinds(maps)}")


def _identity(run: Run, **how: Any) -> Outcome:
    maps = run.needed()
    for one in maps:
        for dtype in run.backend.dtypes:
            for samples in (1, 20):
                x = run.input(run.shape(samples, 3, one.spatial_shape), dtype)
                y = run.forward(x, one, seed=run.seed, **how)
                if not same(y, x):
                    raise CheckFailure(
                        f"the output must be x, and {difference(x, y)}\non {one}\n"
                        f"reproduce: {run.forward_call(x, one, seed=run.seed, **how)}"
                    )
    return Outcome(f"{len(maps)} maps, dtypes {', '.join(run.backend.dtypes)}")


@check("recover", ANY_MAP)
def evaluation_identity(run: Run) -> Outcome:
    """In evaluation the output is x."""
    return _identity(run, training=False)


@check("recover", ANY_MAP)
def zero_drop_prob_identity(run: Run) -> Outcome:
    """With drop_prob 0 the output is x."""
    return _identity(run, drop_prob=0.0)


@check("recover", ANY_MAP)
def shape_and_dtype(run: Run) -> Outcome:
    """The output has the shape and the dtype of x, in training and in evaluation; so has the derivative."""
    maps = run.needed()
    outcome = judge_all(run, maps, ("shape_and_dtype",), dtypes=run.backend.dtypes)
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


@check("recover", ANY_MAP)
def input_unmodified(run: Run) -> Outcome:
    """x is not modified, in training or in evaluation."""
    maps = run.needed()
    for one in maps:
        for dtype in run.backend.dtypes:
            x = run.input(run.shape(3, 3, one.spatial_shape), dtype)
            for training in (True, False):
                given = x.copy()
                run.forward(given, one, seed=run.seed, training=training, own_copy=False)
                if not same(given, x):
                    raise CheckFailure(
                        f"x must not be modified, and {difference(x, given)} afterwards\non {one}\n"
                        f"reproduce: {run.forward_call(x, one, seed=run.seed, training=training)}"
                    )
    return Outcome(f"{len(maps)} maps, dtypes {', '.join(run.backend.dtypes)}")


@check("recover", _LARGE, statistical=True)
def same_seed_same_output(run: Run) -> Outcome:
    """The same seed gives the same output, and another seed another one."""
    one = run.needed()[0]
    x = run.input(run.shape(4, 4, one.spatial_shape))
    outputs = []
    for seed in run.seeds(8):
        y, again = run.forward(x, one, seed=seed), run.forward(x, one, seed=seed)
        if not same(y, again):
            raise CheckFailure(
                f"two calls with the same seed must give the same output\non {one}\nreproduce: {run.check_call()}"
            )
        outputs.append(np.asarray(y))
    return _all_different(run, one, x, outputs, "two calls with different seeds")


@check("recover", _LARGE, statistical=True)
def stream_goes_on(run: Run) -> Outcome:
    """Without a seed every call draws anew."""
    one = run.needed()[0]
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


@check("recover", _LARGE, statistical=True)
def channel_sharing(run: Run) -> Outcome:
    """Samples never share masks, and channels only where the convention says so."""
    one = run.needed()[0]
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


@check("recover", ANY_MAP)
def legal_blocks(run: Run) -> Outcome:
    """The dropped cells are a union of legal blocks."""
    maps = (*run.needed(), *run.supported(REALISTIC))
    return judge_all(run, maps, ("channel_sharing", "legal_blocks"), dtypes=run.backend.dtypes)


@check("recover", ANY_MAP)
def scale(run: Run) -> Outcome:
    """Kept cells are multiplied by one factor, count(M) / count_ones(M) over what the convention counts."""
    maps = run.needed()
    outcome = judge_all(run, maps, ("scale",), dtypes=run.backend.dtypes)
    judge_all(run, run.supported(REALISTIC), ("scale",))  # in half precision such counts are low_precision's business
    for one in run.supported(MANY_CELLS):  # where a count may leave the range of a small integer
        x = run.input(run.shape(1, 2, one.spatial_shape))
        run.judge(x, run.forward(x, one, seed=run.seed), one, run.forward_call(x, one, seed=run.seed), only=("scale",))
    return outcome


@check("recover", ANY_MAP)
def values(run: Run) -> Outcome:
    """Kept cells are x * scale to a few ulps of x's dtype, dropped cells are zero."""
    maps = run.needed()
    outcome = judge_all(run, maps, ("values",), dtypes=run.backend.dtypes)
    judge_all(run, run.supported(REALISTIC), ("values",))
    return outcome


def _unless_half(backend: Backend) -> str | None:
    if {"float16", "bfloat16"} & set(backend.dtypes):
        return None
    return f"the backend supports neither float16 nor bfloat16, only {', '.join(backend.dtypes)}"


@check("recover", (MANY_CELLS, "large map"), unless=_unless_half)
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
    from scipy.optimize import brentq  # heavy, and needed here only

    def excess(drop_prob: float) -> float:
        rules = run.backend.rules
        return expected_drop_fraction(drop_prob, one.block_size, one.spatial_shape, convention=rules) - fraction

    return replace(one, drop_prob=round(brentq(excess, 0.0, 1.0), 6))


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
