"""Level 1, replay: the seeds are known, so the mask must be equal bit for bit and the values to a few ulps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..call import mask_shape
from ..stages import gamma, sample_seeds
from .backend import Backend
from .check import CheckFailure, Map, Outcome, Run, check
from .maps import REPLAYED
from .observation import MAX_ULPS, Fault, find_problems


def _unless_seeds_known(backend: Backend) -> str | None:
    if backend.draw_seeds is None and backend.apply is None:
        return "the backend has neither draw_seeds nor apply"
    if backend.apply is None and not backend.reseeds:
        return "the backend takes no seeds, and has no apply"
    return None


def _replays(run: Run) -> Iterator[tuple[NDArray[Any], Any, Map, NDArray[np.bool_], str]]:
    """x, y, the map, the known seeds and the call, over maps, dtypes and seeds."""
    backend, rules = run.backend, run.backend.rules
    for one in run.needed():
        for dtype in backend.dtypes:
            x = run.input(run.shape(3, 2, one.spatial_shape), dtype)
            expected_shape = mask_shape(x.shape, run.layout(x), rules)
            for seed in run.seeds(3):
                if backend.draw_seeds is not None and backend.reseeds:
                    call = (
                        f"backend.draw_seeds({x.shape}, {dtype!r}, {one.drop_prob}, {one.block_size!r}, seed={seed}); "
                        + run.forward_call(x, one, seed=seed)
                    )
                    seeds = run.draw_seeds(x.shape, dtype, one, seed=seed, call=call)
                    if not isinstance(seeds, np.ndarray) or seeds.dtype != np.bool_ or seeds.shape != expected_shape:
                        kind = type(seeds).__name__
                        if isinstance(seeds, np.ndarray):
                            kind = f"{seeds.dtype} of shape {seeds.shape}"
                        raise CheckFailure(
                            f"draw_seeds must return a boolean array of shape {expected_shape}, and returned {kind}\n"
                            f"reproduce: {call}"
                        )
                    yield x, run.forward(x, one, seed=seed), one, seeds, call
                if backend.apply is not None:
                    seed_prob = gamma(one.drop_prob, one.block_size, one.spatial_shape, convention=rules)
                    injected = sample_seeds(
                        seed_prob, one.block_size, x.shape, rng=seed, data_format=backend.data_format, convention=rules
                    )
                    call = (
                        f"x = make_input({x.shape}, {dtype!r}, {run.seed}); seeds = sample_seeds({seed_prob!r}, "
                        f"{one.block_size!r}, {x.shape}, rng={seed}, data_format={backend.data_format!r}, "
                        f"convention={rules.name!r}); backend.apply(x, seeds, {one.block_size!r})"
                    )
                    yield x, run.apply(x, injected, one, call=call), one, injected, call


def _replay(run: Run) -> None:
    """Judge mask and values of all replays, drawn once in a run; what is wrong is filed under the two checks' names."""
    if "replayed" not in run.cache:
        backend = run.backend
        for x, y, one, seeds, call in _replays(run):
            problems = find_problems(
                x, y, one.block_size, backend.data_format, backend.rules, seeds=seeds, drop_prob=one.drop_prob
            )
            for problem in problems:
                name = "replayed_values" if problem.check in {"scale", "values"} else "replayed_mask"
                if problem.check != "shape_and_dtype":
                    text = f"{problem.text}\non {one}, dtype {x.dtype}\nreproduce: {call}"
                    run.calls.found.append(Fault(name, text, x.dtype.name))
        run.cache["replayed"] = run.draws
    run.draws = run.cache["replayed"]


@check("replay", REPLAYED, unless=_unless_seeds_known, after=("same_seed_same_output",))
def replayed_mask(run: Run) -> Outcome:
    """With known seeds, the mask drops exactly their blocks."""
    _replay(run)
    return Outcome(f"{run.draws} masks equal bit for bit")


@check("replay", REPLAYED, unless=_unless_seeds_known, after=("replayed_mask",))
def replayed_values(run: Run) -> Outcome:
    """With known seeds, the values are x * scale."""
    _replay(run)
    run.require_sound(["replayed_mask"])
    return Outcome(f"values of {run.draws} masks within {MAX_ULPS:g} ulps")
