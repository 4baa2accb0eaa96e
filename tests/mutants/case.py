"""A case: a few calls of a backend, as data, and everything that they show: where a planted bug is to be seen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from dropblock_ref import sample_seeds
from dropblock_ref.testing.backend import Backend

from .correct import Array, Shape

DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}
EVALUATE = -1  # among the seeds of a case: a call in evaluation, which does not reseed


@dataclass(frozen=True)
class Case:
    """Successive calls."""

    shape: Shape = (4, 3, 9, 9)  # samples, channels and map, whatever the layout
    block_size: Any = 3
    drop_prob: Any = 0.4
    dtype: str | None = None  # None: the backend's first
    training: bool = True
    seeds: tuple[int | None, ...] = (3,)  # one per call
    memory: str = "contiguous"  # of x and of the cotangent
    values: str = "ordinary"
    fresh: bool = False  # whether every call has an x of its own
    derivative: bool = True  # by vjp, where the backend has it, or by forward
    injected: bool = False  # by apply, with seeds of its own

    @property
    def spatial_shape(self) -> Shape:
        return self.shape[2:]


STREAM = (3, *[None] * 5)
VALUES: dict[str, tuple[float, ...]] = {
    "ordinary": (),
    "zeros": (0.0,),
    "special": (0.0, np.nan, np.inf, -np.inf, 6e4, -0.0),
    "large": (3e4, -50.0),
    "all_zeros": (),
    "tiny": (),
}


def make_array(case: Case, backend: Backend, seed: int) -> Array:
    """An array of the case's shape, dtype and values in the backend's layout, contiguous."""
    shape = case.shape
    if backend.data_format not in ("channels_first", "NCHW", "NCDHW"):
        shape = (shape[0], *shape[2:], shape[1])
    rng = np.random.default_rng(seed)
    dtype = np.dtype(DTYPES[case.dtype or backend.dtypes[0]])
    array = rng.uniform(0.5, 2, shape) * rng.choice([-1.0, 1.0], shape)
    for number, value in enumerate(VALUES[case.values]):
        array.flat[number + seed % 2 :: 2 * len(VALUES[case.values])] = value
    if case.values == "tiny":
        array *= float(ml_dtypes.finfo(dtype).smallest_normal) * 2.0**-4
    elif case.values == "all_zeros":
        array *= 0
    with np.errstate(all="ignore"):
        made: Array = array.astype(dtype)
    return made


def lay_out(x: Array, memory: str, *, channels_first: bool) -> Array:
    """An array of the same values, new, that lies otherwise in memory (an expanded one repeats its first sample)."""
    if memory == "expanded":
        return np.broadcast_to(x[:1].copy(), x.shape)
    if memory == "one_value":
        return np.broadcast_to(x.flat[0], x.shape)
    if memory == "other_layout":  # NHWC strides for NCHW, or the other way round
        source, target = (1, -1) if channels_first else (-1, 1)
        return np.moveaxis(np.moveaxis(x, source, target).copy(order="C"), target, source)
    made = x.copy()
    if memory == "read_only":
        made.flags.writeable = False
    elif memory == "fortran":
        made = np.asfortranarray(made)
    elif memory == "flipped":
        made = np.flip(np.flip(made, 2).copy(), 2)
    elif memory == "transposed":
        made = np.swapaxes(np.swapaxes(made, 2, 3).copy(), 2, 3)
    elif memory == "part":
        made = np.concatenate([made[::-1], made, made[::-1]])[len(made) : 2 * len(made)]
    elif memory == "stepped":
        made = np.repeat(made, 2, axis=-1)[..., ::2]
    return made


def answers(backend: Backend, case: Case) -> list[Any]:
    """All that the calls of a case show: outputs, derivatives, refusals, and what becomes of arrays given and returned.

    Two backends with the same answers are the same as far as these calls tell.
    """
    channels_first = backend.data_format in ("channels_first", "NCHW", "NCDHW")
    told: list[Any] = []
    arrays: list[Array] = []
    for number, seed in enumerate(case.seeds):
        first = 2 * number * case.fresh
        x, cotangent = make_array(case, backend, first), make_array(case, backend, first + 1)
        given = [lay_out(array, case.memory, channels_first=channels_first) for array in (x, cotangent)]
        how: dict[str, Any] = {
            "training": case.training and seed != EVALUATE,
            "seed": None if seed == EVALUATE else seed,
        }
        try:
            with np.errstate(all="ignore"):
                answer = call(backend, case, given, how)
        except (ValueError, TypeError, ZeroDivisionError, IndexError, NotImplementedError) as error:
            told.append(type(error).__name__)
            continue
        returned = answer if isinstance(answer, tuple) else (answer,)
        told.append(shown(returned))
        arrays += [*given, *returned]
        told.append(shown(given))
        told.append([np.shares_memory(returned[0], other) for other in returned[1:]])
    return [*told, shown(tuple(arrays))]  # also what a later call does to them


def call(backend: Backend, case: Case, given: list[Array], how: dict[str, Any]) -> Any:
    """One call."""
    if case.injected:
        assert backend.apply is not None
        seeds = sample_seeds(
            0.3, case.block_size, given[0].shape, rng=0, data_format=backend.data_format, convention=backend.rules
        )
        return backend.apply(given[0], seeds, case.block_size), seeds
    if backend.vjp is not None and case.derivative:
        return backend.vjp(*given, case.drop_prob, case.block_size, **how)
    return backend.forward(given[0], case.drop_prob, case.block_size, **how)


def shown(arrays: Iterable[Array]) -> list[tuple[Any, ...]]:
    """Arrays as values: shapes, dtypes and digests of the numbers."""
    return [
        (np.shape(array), str(getattr(array, "dtype", "")), hashlib.blake2b(np.asarray(array).tobytes()).hexdigest())
        for array in arrays
    ]
