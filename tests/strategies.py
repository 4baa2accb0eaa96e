"""Hypothesis strategies for cases that every function of the package must judge rightly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dropblock_ref import CONVENTIONS, Convention

from . import brute_force
from .brute_force import Bools, Cell

DTYPES: tuple[Any, ...] = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)
SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 0.0, 6e4, -3e38, 1e-40, 5e-8, 1e300)


def examples(count: int, *, shrink: bool = True) -> Callable[[Any], Any]:
    """Settings of a hypothesis test: the same `count` cases in every run."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
        phases=(Phase.explicit, Phase.generate, *((Phase.shrink,) if shrink else ())),
    )


@dataclass(frozen=True)
class Case:
    """A block on feature maps of some shape, that the convention accepts."""

    convention: Convention
    data_format: str
    shape: Cell
    block_size: int | tuple[int, ...]

    @property
    def spatial_shape(self) -> Cell:
        return brute_force.spatial_shape_of(self.shape, self.data_format)

    @property
    def mask_shape(self) -> Cell:
        return brute_force.mask_shape(self.shape, self.data_format, self.convention)

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments that most functions share."""
        return {"data_format": self.data_format, "convention": self.convention}


def own_conventions() -> st.SearchStrategy[Convention]:
    """Conventions over all fields that Convention accepts together."""
    fields = {
        "name": st.just("own"),
        "source": st.just("drawn by hypothesis"),
        "gamma_rule": st.sampled_from(("border_corrected", "uncorrected", "last_axis", "calibrated")),
        "seed_region": st.sampled_from(("fitting", "everywhere")),
        "even_extra_cell": st.sampled_from(("before", "after", "refused")),
        "oversize_block": st.sampled_from(("refused", "clip_each_axis", "clip_to_smallest_axis")),
        "shared_channels": st.booleans(),
        "scale_over": st.sampled_from(("batch", "sample", "channel", "keep_prob", "none")),
        "epsilon": st.sampled_from((0, 0.0, 1e-7, 1e-6, 0.5, 1, 3)),
        "all_dropped": st.sampled_from(("zeros", "nan")),
        "shared_samples": st.booleans(),
    }
    unclipped = {"gamma_rule": "uncorrected", "seed_region": "everywhere", "oversize_block": "unclipped"}
    sticking_out = fields | {key: st.just(value) for key, value in unclipped.items()}
    return st.one_of(st.builds(Convention, **fields), st.builds(Convention, **sticking_out))


def conventions() -> st.SearchStrategy[Convention]:
    return st.one_of(st.sampled_from(sorted(CONVENTIONS.values(), key=lambda c: c.name)), own_conventions())


def _accepts(b: int, axis: int, spatial_shape: Cell, convention: Convention) -> bool:
    clipped = brute_force.sides(b, spatial_shape, convention)[axis]
    if convention.oversize_block == "refused" and b > spatial_shape[axis]:
        return False
    return convention.even_extra_cell != "refused" or clipped % 2 == 1


@st.composite
def cases(
    draw: st.DrawFn,
    convention: Convention | None = None,
    data_formats: tuple[str, ...] = ("channels_first", "channels_last", "NCHW", "NHWC", "NCDHW", "NDHWC"),
) -> Case:
    convention = convention or draw(conventions())
    ndim = draw(st.sampled_from((2, 3)))
    spatial_shape = tuple(draw(st.integers(1, 7 if ndim == 2 else 4)) for _ in range(ndim))
    accepted = [
        [b for b in range(1, S + 4) if _accepts(b, axis, spatial_shape, convention)]
        for axis, S in enumerate(spatial_shape)
    ]
    block_size: int | tuple[int, ...]
    if draw(st.booleans()):
        block_size = draw(st.sampled_from(sorted(set(accepted[0]).intersection(*accepted[1:]))))
    else:
        block_size = tuple(draw(st.sampled_from(choices)) for choices in accepted)
    data_format = draw(st.sampled_from([f for f in data_formats if f.startswith("channels") or len(f) == ndim + 2]))
    batch = draw(st.sampled_from((1, 2, 3, 0)))
    channels = draw(st.integers(1, 3))
    return Case(convention, data_format, brute_force.whole(batch, channels, spatial_shape, data_format), block_size)


@st.composite
def legal_seeds(draw: st.DrawFn, case: Case) -> Bools:
    """No, few, many or all seeds, on eligible cells."""
    eligible = set(brute_force.eligible_cells(case.block_size, case.spatial_shape, case.convention))
    places = [
        index
        for index in brute_force.cells_of(case.mask_shape)
        if brute_force.parts(index, case.data_format)[2] in eligible
    ]
    seeds = np.zeros(case.mask_shape, dtype=np.bool_)
    how = draw(st.sampled_from(("few", "half", "all"))) if places else "none"
    if how == "few":
        for index in draw(st.sets(st.sampled_from(places), max_size=4)):
            seeds[index] = True
    elif how == "half":
        bits = draw(st.integers(0, 2 ** len(places) - 1))
        for k, index in enumerate(places):
            seeds[index] = bits >> k & 1
    elif how == "all":
        for index in places:
            seeds[index] = True
    return seeds


@st.composite
def masks(draw: st.DrawFn, case: Case) -> Bools:
    """Any keep mask, legal or not: that of some seeds with a few cells flipped, or noise."""
    mask = brute_force.keep_mask(draw(legal_seeds(case)), case.block_size, case.data_format, case.convention)
    if mask.size:
        for index in draw(st.sets(st.sampled_from(brute_force.cells_of(mask.shape)), max_size=3)):
            mask[index] = not mask[index]
    return mask


def in_memory(x: NDArray[Any], order: str) -> NDArray[Any]:
    """The same values, laid out otherwise."""
    if order == "F":
        return np.asfortranarray(x)
    if order == "strided":
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), dtype=x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    if order == "reversed":
        return np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    if order == "big-endian" and x.dtype.kind == "f":
        return x.astype(x.dtype.newbyteorder(">"))
    if order == "read-only":
        x.flags.writeable = False
    return x


@st.composite
def inputs(draw: st.DrawFn, shape: Cell) -> NDArray[Any]:
    """Feature maps of all dtypes and memory layouts, half of them with NaN, infinities, zeros and extreme values."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.standard_normal(shape) * 10.0 ** rng.integers(-4, 4, shape)
    if draw(st.booleans()):
        chosen = rng.random(shape) < 0.3
        values[chosen] = rng.choice(SPECIAL, np.count_nonzero(chosen))
    with np.errstate(all="ignore"):
        x = values.astype(draw(st.sampled_from(DTYPES)))
    return in_memory(x, draw(st.sampled_from(("C", "F", "strided", "reversed", "big-endian", "read-only"))))


def probabilities() -> st.SearchStrategy[float]:
    """drop_prob or gamma, above 0."""
    return st.one_of(st.floats(1e-6, 1.0), st.sampled_from((0.1, 0.5, 1.0)))
