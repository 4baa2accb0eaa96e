"""Level 2, recover: the derivative, whose mask and scale are those of the output beside it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backend import Backend
from .check import CheckFailure, Map, Outcome, Run, check
from .maps import ANY_MAP, EVEN, NON_SQUARE, PER_AXIS
from .observation import MAX_ULPS, coarser, difference, map_picture, same, ulp


def _unless_vjp(backend: Backend) -> str | None:
    return "the backend has no vjp" if backend.vjp is None else None


def _derivatives(
    run: Run, *, training: bool, drop_prob: float | None = None
) -> Iterator[tuple[NDArray[Any], NDArray[Any], Any, Any, Map, str]]:
    """x, cotangent, y, x_bar, the map and the call."""
    maps = run.needed()
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


@check("recover", ANY_MAP, unless=_unless_vjp)
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


@check("recover", ANY_MAP, unless=_unless_vjp)
def evaluation_gradient(run: Run) -> Outcome:
    """In evaluation, and with drop_prob 0, the derivative is the cotangent."""
    draws = 0
    for x, cotangent, y, x_bar, one, call in itertools.chain(
        _derivatives(run, training=False), _derivatives(run, training=True, drop_prob=0.0)
    ):
        for name, array, expected in (("output", y, x), ("derivative", x_bar, cotangent)):
            dtype = coarser(x.dtype, np.asarray(y).dtype)  # a wrong dtype is another check's business
            if not same(array.astype(dtype), expected.astype(dtype)):
                raise CheckFailure(
                    f"the {name} must be the {'input' if name == 'output' else 'cotangent'} in evaluation and with "
                    f"drop_prob 0, and "
                    f"{difference(expected, array)}\non {one}\nreproduce: {call}"
                )
        draws += 1
    return Outcome(f"{draws} derivatives")
