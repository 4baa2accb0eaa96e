"""Level 2, recover: the derivative, whose mask and scale are those of the output beside it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backend import Backend
from .check import CheckFailure, Map, Needs, NotJudged, Outcome, Run, check
from .edge_cases import memory_orders
from .maps import (
    ANY_MAP,
    ANY_SETTING,
    DROPS_ALL,
    EVEN_BLOCK,
    MAP_SIZED_BLOCK,
    NON_SQUARE_MAP,
    ONE_CELL_BLOCK,
    PER_AXIS_BLOCK,
    PROBABILITY_ONE,
)
from .observation import MAX_ULPS, coarser, ulp


def _unless_vjp(backend: Backend) -> str | None:
    return "the backend has no vjp" if backend.vjp is None else None


_OBLONG_EVEN_PER_AXIS = (NON_SQUARE_MAP, EVEN_BLOCK, PER_AXIS_BLOCK)


def _edges(run: Run, kinds: tuple[Needs, ...]) -> list[Map]:
    """Settings of these kinds, but for where few shapes are wanted."""
    return [] if run.compiled else list(dict.fromkeys(one for needs in kinds for one in run.find(needs)))


def _derivatives(run: Run, cases: list[tuple[Map, str]], *, training: bool) -> int:
    """Derivatives on maps and in dtypes, each of which is judged as every call is."""
    number = 0
    for (one, dtype), samples in itertools.product(cases, (1, 20)):
        x = run.input(run.shape(samples, 3, one.spatial_shape), dtype)
        cotangent = run.cotangent(x)
        for seed in run.seeds(2 if (one, dtype) in cases[: 2 * len(run.backend.dtypes)] and training else 1):
            run.vjp(x, cotangent, one, training=training, seed=seed, call=_call(run, x, cotangent, one, training, seed))
            number += 1
    return number


def _call(run: Run, x: NDArray[Any], cotangent: NDArray[Any], one: Map, training: bool, seed: int) -> str:
    if not run.backend.reseeds:
        return run.check_call()
    return (
        f"x = make_input({x.shape}, {x.dtype.name!r}, {run.seed}); cotangent = make_input({x.shape}, "
        f"{cotangent.dtype.name!r}, {run.seed + 1}); "
        f"backend.vjp(x, cotangent, {one.drop_prob}, {one.block_size!r}, training={training}, seed={seed})"
    )


@check("recover", ANY_MAP, unless=_unless_vjp, after=("non_contiguous_input",))
def gradient(run: Run) -> Outcome:
    """In training the derivative is cotangent * keep_mask * scale, with the mask and scale of the same forward pass."""
    maps = run.needed()
    cases = [(one, dtype) for one in maps for dtype in run.backend.dtypes]
    further = (*_OBLONG_EVEN_PER_AXIS, ONE_CELL_BLOCK, MAP_SIZED_BLOCK, PROBABILITY_ONE, DROPS_ALL)
    cases += [(one, run.dtype) for one in (*_edges(run, further), *run.supported([Map((14, 14), 7, 0.3)]))]
    number = _derivatives(run, cases, training=True)
    for one in maps:
        x = run.input(run.shape(3, 3, one.spatial_shape))
        cotangent = run.cotangent(x)
        axis = run.layout(x).channel_axis
        for a, b in zip(memory_orders(x, axis), memory_orders(cotangent, axis), strict=True):
            for first, second in ((a, cotangent), (x, b)):
                run.vjp(first, second, one, training=True, seed=run.seed)
                number += 1
        wide = run.input(run.shape(34, 34, one.spatial_shape))
        run.vjp(wide, run.cotangent(wide), one, training=True, seed=run.seed)
        for factor in (2.0**-100, 2.0**20):
            run.vjp(x, _scaled(cotangent, factor), one, training=True, seed=run.seed)
        number += 3
        if run.backend.reseeds:
            number += _of_special_values(run, one, x, cotangent)
    return _unless_unjudged(run, number)


def _scaled(cotangent: NDArray[Any], factor: float) -> NDArray[Any]:
    """Tiny and large derivatives, in a dtype that has them."""
    if cotangent.dtype.name == "float16":
        factor = 2.0**-8 if factor < 1 else 2.0**8
    scaled: NDArray[Any] = (cotangent.astype(np.float64) * factor).astype(cotangent.dtype)
    return scaled


def _unless_unjudged(run: Run, number: int) -> Outcome:
    if run.calls.unjudged:
        raise NotJudged("some derivatives are not those of right outputs, but the outputs beside them are wrong")
    return Outcome(f"{number} derivatives")


def _of_special_values(run: Run, one: Map, x: NDArray[Any], cotangent: NDArray[Any]) -> int:
    """Where x is 0, infinite or NaN the derivative is what it is elsewhere; and a large cotangent is not clipped."""
    y, x_bar = run.vjp(x, cotangent, one, training=True, seed=run.seed)
    dropped = run.dropped(x, y)
    kind = np.random.default_rng(run.seed).integers(0, 8, x.shape)
    special, large = x.copy(), cotangent.copy()
    for number, value in enumerate((0.0, np.inf, -np.inf, np.nan)):
        special[kind == number] = value
    large[kind == 4] *= cotangent.dtype.type(1000)
    large[kind == 5] = np.nan
    y2, seen = run.vjp(special, large, one, training=True, seed=run.seed, readable=False)
    ordinary = kind >= 4
    if ((y2 == 0) != dropped)[ordinary].any():  # another draw, which special_values is about
        return 2
    with np.errstate(all="ignore"):
        expected = large.astype(np.float64) * np.where(dropped, 0.0, x_bar.astype(np.float64) / cotangent)
        off = np.abs(seen.astype(np.float64) - expected) / ulp(expected, coarser(x.dtype, seen.dtype))
    wrong = ~(off <= 2 * MAX_ULPS) & ~np.isnan(large)
    wrong |= np.isnan(large) & ~dropped & ~np.isnan(seen)
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise CheckFailure(
            f"the derivative must be cotangent * keep_mask * scale for any x, but where x is {special[index]} "
            f"and the cotangent {large[index]} it is {seen[index]}, expected {expected[index]:.9g}, at index {index} "
            f"and in {np.count_nonzero(wrong)} of {x.size} cells\non {one}, dtype {x.dtype}\n"
            f"reproduce: {run.check_call()}",
            dtype=x.dtype.name,
        )
    return 2


@check("recover", ANY_SETTING, unless=_unless_vjp, after=("shape_and_dtype",))
def evaluation_gradient(run: Run) -> Outcome:
    """In evaluation, and with drop_prob 0, the derivative is the cotangent."""
    maps = run.needed()
    number = 0
    if "evaluation" in run.backend.modes:
        cases = [(one, dtype) for one in maps for dtype in run.backend.dtypes]
        cases += [(one, run.dtype) for one in _edges(run, _OBLONG_EVEN_PER_AXIS)]
        number += _derivatives(run, cases, training=False)
    zero = [replace(one, drop_prob=0.0) for one in maps]
    cases = [(one, dtype) for one in run.supported(zero) for dtype in run.backend.dtypes]  # none of them if compiled
    number += _derivatives(run, cases, training=True)
    return Outcome(f"{number} derivatives")
