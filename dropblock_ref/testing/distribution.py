"""Level 3, distribution: many draws, compared with the exact probabilities by tests whose error rates are bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import check_block_size
from ..geometry import place_block
from ..seed_probability import calibrate, gamma
from ..theory import drop_fraction_variance, drop_probability, expected_drop_fraction
from .backend import Backend
from .check import CheckFailure, Map, NotApplicable, Outcome, Run, check
from .maps import DESIGNED, DESIGNED_FURTHER, REALISTIC, SMALL, kinds
from .statistics import MISS, SURE, bernstein_deviation, binomial_detectable, binomial_draws, binomial_p_values

_CELLS_PER_CALL = 1_000_000
_CELLS_PER_CALL_IN_OTHER_DTYPES = 50_000  # a count of more may overflow in float16, which is low_precision's business
_WRONG_RATE = 1e-6  # cells whose rate is off at this level, over all of a map, are not judged in pairs
_REALISTIC = (REALISTIC, "map of realistic size")
_DESIGNED = ((*DESIGNED, *DESIGNED_FURTHER), "small map that is designed for the rates of cells")
_SMALL = (SMALL, "small map")


def coincidence_bound(run: Run, one: Map, *, samples: int, channels: int) -> float:
    """An upper bound of the probability that two independent draws of so many masks are the same.

    Cells that no seed covers together are independent; two draws agree on one with probability P^2 + (1 - P)^2.
    """
    dropped = _independent_cells(run, one)
    masks = samples * (1 if run.backend.rules.shared_channels else channels)
    return float(np.prod(dropped**2 + (1 - dropped) ** 2) ** masks)


def _all_dropped_bound(run: Run, one: Map, *, samples: int, channels: int) -> float:
    """An upper bound of the probability that so many masks drop everything."""
    masks = samples * (1 if run.backend.rules.shared_channels else channels)
    return float(np.prod(_independent_cells(run, one)) ** masks)


def _independent_cells(run: Run, one: Map) -> NDArray[np.float64]:
    """The drop probabilities of cells a block apart, which no seed covers together."""
    lattice = tuple(slice(None, None, size) for size in check_block_size(one.block_size, len(one.spatial_shape)))
    return drop_probability(one.drop_prob, one.block_size, one.spatial_shape, convention=run.backend.rules)[lattice]


def _masks(
    run: Run, one: Map, samples: int, channels: int, *, calls: int | None = None, dtype: str | None = None
) -> Iterator[NDArray[np.bool_]]:
    """Dropped cells of successive draws, (samples, channels, cells): `samples` in all, or in each of `calls`."""
    cells = int(np.prod(one.spatial_shape))
    most = _CELLS_PER_CALL if dtype in {None, run.dtype} else _CELLS_PER_CALL_IN_OTHER_DTYPES
    per_call = samples if calls is not None else max(1, min(samples, most // (channels * cells)))
    done, seed = 0, run.seed
    total = samples * calls if calls is not None else samples
    x = run.input(run.shape(per_call, channels, one.spatial_shape), dtype)
    next_seed: int | None = seed
    while done < total:
        part = x[: min(per_call, total - done)]
        y = run.forward(part, one, seed=next_seed)
        if np.shape(y) != part.shape:
            raise CheckFailure(
                f"the output has shape {np.shape(y)}; expected that of x, {part.shape}\non {one}\n{_reproduce(run)}"
            )
        if np.isnan(y).all():
            chance = _all_dropped_bound(run, one, samples=len(part), channels=channels)
            if chance < run.share * 1e-3:
                raise CheckFailure(
                    f"the whole output is NaN, which is right at most where every cell is dropped (here with a "
                    f"probability of at most {chance:.1e})\non {one}\n"
                    f"reproduce: {run.forward_call(part, one, seed=next_seed)}"
                )
        dropped = np.moveaxis(run.dropped(part, y), run.layout(part).channel_axis, 1)
        yield dropped.reshape(len(part), channels, cells)
        done += len(part)
        next_seed = None


def _reproduce(run: Run) -> str:
    return f"reproduce: {run.check_call()}"


def _percent(relative: float) -> str:
    if np.isinf(relative):
        return "no"
    return f"{100 * relative:.2g} %" if relative < 1 else f"{100 * relative:.0f} %"


def compare_cell_rates(run: Run, one: Map, samples: int, channels: int, budget: float) -> None:
    """Compare the rate of every cell with the exact one."""
    counts = np.zeros(int(np.prod(one.spatial_shape)), dtype=np.int64)
    for dropped in _masks(run, one, samples, channels):
        counts += dropped.sum(axis=(0, 1))
    _judge_cells(run, one, counts, samples * channels, budget)


def _judge_cells(run: Run, one: Map, counts: NDArray[np.int64], draws: int, budget: float) -> None:
    expected = drop_probability(one.drop_prob, one.block_size, one.spatial_shape, convention=run.backend.rules).ravel()
    expected = np.minimum(expected, SURE)
    p_values = binomial_p_values(counts, draws, expected)
    each = budget / counts.size
    run.detects.append(
        f"{_percent(binomial_detectable(draws, float(expected.min()), each))} error of any cell's rate ({one})"
    )
    if (p_values <= each).any():
        worst = _worst(p_values, counts / draws / expected)
        cell = tuple(int(i) for i in np.unravel_index(worst, one.spatial_shape))
        raise CheckFailure(
            f"cell {cell} must be dropped with probability {expected[worst]:.6f}, and is dropped in {counts[worst]} of "
            f"{draws} masks, {counts[worst] / draws:.6f} (p-value {p_values[worst]:.1e}; "
            f"{np.count_nonzero(p_values <= each)} of {counts.size} cells differ); rates seen / expected:\n"
            + _ratios(counts / draws / expected, one.spatial_shape)
            + f"\non {one}\n{_reproduce(run)}"
        )


def _worst(p_values: NDArray[np.float64], ratios: NDArray[np.float64]) -> int:
    """The smallest p-value, and of those that are 0 the largest deviation."""
    return int(np.lexsort((-np.abs(ratios - 1), p_values))[0])


def _ratios(ratios: NDArray[np.float64], spatial_shape: tuple[int, ...]) -> str:
    table = ratios.reshape(spatial_shape)
    title = ""
    while table.ndim > 2:
        title += f"slice 0 of {table.shape[0]} in depth\n"
        table = table[0]
    return title + "\n".join(" ".join(f"{ratio:5.2f}" for ratio in row[:12]) for row in table[:12])


@check("distribution", _REALISTIC, statistical=True)
def map_rate(run: Run) -> Outcome:
    """The fraction of dropped cells is the expected one, on a map of realistic size."""
    one = run.needed()[0]
    message = _map_rate(run, one, 0.1 if run.quick else 0.03, run.dtype, run.share)
    expected = expected_drop_fraction(one.drop_prob, one.block_size, one.spatial_shape, convention=run.backend.rules)
    if expected > one.drop_prob * (1 + 1e-9):
        more = f"{expected / one.drop_prob - 1:.0%} more than drop_prob"
        return Outcome(f"{message}: as convention {run.backend.rules.name!r} has it, {more}", reported=True)
    return Outcome(message)


def _unless_other_dtypes(backend: Backend) -> str | None:
    return f"the backend supports {backend.dtypes[0]} only" if len(backend.dtypes) == 1 else None


@check("distribution", _REALISTIC, statistical=True, unless=_unless_other_dtypes)
def dtype_rates(run: Run) -> Outcome:
    """In the other dtypes the fraction of dropped cells is the expected one, too: no draw is too coarse for gamma."""
    one = run.needed()[0]
    others = [dtype for dtype in run.backend.dtypes if dtype != run.dtype]
    wanted = 0.3 if run.quick else 0.1
    return Outcome("; ".join(_map_rate(run, one, wanted, dtype, run.share / len(others)) for dtype in others))


def _map_rate(run: Run, one: Map, wanted: float, dtype: str, budget: float) -> str:
    rules = run.backend.rules
    where: dict[str, Any] = {"block_size": one.block_size, "spatial_shape": one.spatial_shape, "convention": rules}
    expected = expected_drop_fraction(one.drop_prob, **where)
    variance = drop_fraction_variance(one.drop_prob, **where)
    block = place_block(one.block_size, one.spatial_shape, rules)

    def missed(draws: int, relative: float) -> bool:
        """Whether a gamma that makes the fraction that much too large can be missed."""
        other = calibrate(min(1.0, expected * (1 + relative)), block, one.spatial_shape)
        spread = drop_fraction_variance(None, gamma=other, **where)
        alarm = bernstein_deviation(draws, variance, budget, sides=2)
        return alarm + bernstein_deviation(draws, spread, MISS) > expected * relative

    in_dtype = "" if dtype == run.dtype else f", {dtype}"
    draws = 1024
    while missed(draws, wanted):
        draws += max(1, draws // 16)
    total = 0
    channels = 1 if rules.shared_channels else 8
    samples = -(-draws // channels)
    for dropped in _masks(run, one, samples, channels, dtype=dtype):
        total += int(np.count_nonzero(dropped))
    draws = samples * channels
    run.detects.append(f"{_percent(wanted)} error of the map's rate ({one}{in_dtype})")
    seen = total / (draws * float(np.prod(one.spatial_shape)))
    alarm = bernstein_deviation(draws, variance, budget, sides=2)
    if abs(seen - expected) >= alarm:
        raise CheckFailure(
            f"{expected:.6f} of the cells must be dropped on average (drop_prob {one.drop_prob} is the paper's "
            f"approximation), and over {draws} masks {seen:.6f} are, {100 * (seen / expected - 1):+.1f} %; a correct "
            f"backend stays within {alarm:.6f}\non {one}{in_dtype}, convention {rules.name!r} with gamma "
            f"{gamma(one.drop_prob, **where):.6g}\n{_reproduce(run)}"
        )
    return f"{seen:.6f} dropped, {expected:.6f} expected ({one}{in_dtype})"


@dataclass(frozen=True)
class _Joint:
    """How often any two cells of one draw were dropped together, over independent samples."""

    one: Map
    samples: int
    channels: int
    together: NDArray[np.int64]  # (channels * cells, channels * cells)

    @property
    def cells(self) -> int:
        return int(np.prod(self.one.spatial_shape))

    def within_maps(self) -> NDArray[np.int64]:
        """(cells, cells), added over channels, each of which is a draw of its own."""
        size, channels = self.cells, np.arange(self.channels)
        blocks = self.together.reshape(self.channels, size, self.channels, size)
        added: NDArray[np.int64] = blocks[channels, :, channels].sum(axis=0)
        return added


def _joint(run: Run, one: Map, samples: int, channels: int) -> _Joint:
    """Draw, or take what another check of this run has drawn."""
    key = (one, samples, channels)
    if key not in run.cache:
        size = channels * int(np.prod(one.spatial_shape))
        together = np.zeros((size, size), dtype=np.int64)
        for dropped in _masks(run, one, samples, channels):
            flat = dropped.reshape(len(dropped), size).astype(np.float32)
            together += (flat.T @ flat).astype(np.int64)  # counts below 2^24 are exact in float32
        run.cache[key] = _Joint(one, samples, channels, together)
    else:
        run.draws += samples * channels
    joint: _Joint = run.cache[key]
    return joint


def _designed(run: Run) -> list[_Joint]:
    """The draws that the checks of cells share: enough for the wanted error of every single cell."""
    maps = run.needed()
    first = [one for one in maps if one in DESIGNED] or maps[:1]
    further = [one for one in maps if one not in first]
    joints = []
    for number, one in enumerate((*first, *further)):
        wanted = 0.1 if number >= len(first) else 0.03
        if run.quick:
            wanted = 0.2
        cells = int(np.prod(one.spatial_shape))
        each = run.share / (len(first) + len(further)) / cells
        rates = drop_probability(one.drop_prob, one.block_size, one.spatial_shape, convention=run.backend.rules)
        draws = binomial_draws(float(rates.min()), wanted, each)
        channels = 1 if run.backend.rules.shared_channels else max(1, min(8, 256 // cells))
        joints.append(_joint(run, one, -(-draws // channels), channels))
    return joints


def _joint_probability(run: Run, one: Map) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """P(u and v dropped), and n(u, v), for all pairs of cells of a small map."""
    rules = run.backend.rules
    block = place_block(one.block_size, one.spatial_shape, rules)
    positions = [np.indices((S, S)) for S in one.spatial_shape]
    both: NDArray[np.int64] = reduce(np.kron, [block.covering(axis, u, v) for axis, (u, v) in enumerate(positions)])
    n = np.diagonal(both)
    q = 1 - gamma(one.drop_prob, one.block_size, one.spatial_shape, convention=rules)
    return 1 - q ** n[:, None] - q**n + q ** (n[:, None] + n - both), both


@check("distribution", _DESIGNED, statistical=True)
def cell_rates(run: Run) -> Outcome:
    """Every single cell is dropped with its exact probability."""
    joints = _designed(run)
    for joint in joints:
        draws = joint.samples * joint.channels
        _judge_cells(run, joint.one, np.diagonal(joint.within_maps()), draws, run.share / len(joints))
    return Outcome(kinds(joints))


def _pairs(run: Run, *, overlapping: bool) -> Outcome:
    joints = _designed(run)
    for joint in joints:
        probability, both = _joint_probability(run, joint.one)
        u, v = np.nonzero(np.triu((both > 0) == overlapping, k=1))
        draws, together = joint.samples * joint.channels, joint.within_maps()
        right = _rates_are_right(run, joint.one, np.diagonal(together), draws)
        names = [f"cells {_cell(a, joint.one)} and {_cell(b, joint.one)} of one map" for a, b in zip(u, v, strict=True)]
        pairs = _Pairs(together[u, v], draws, probability[u, v], right[u] & right[v], names.__getitem__)
        _judge_pairs(run, joint.one, pairs, run.share / len(joints))
    return Outcome(kinds(joints))


def _cell(index: Any, one: Map) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(index), one.spatial_shape))


def _rates_are_right(run: Run, one: Map, counts: NDArray[Any], draws: int) -> NDArray[np.bool_]:
    """Which cells, of one map after another, are dropped as often as they must be: only of these are pairs judged.

    A wrong rate makes every joint rate wrong too, and is the business of the check of rates.
    """
    rates = drop_probability(one.drop_prob, one.block_size, one.spatial_shape, convention=run.backend.rules).ravel()
    p_values = binomial_p_values(counts, draws, np.tile(rates, counts.size // rates.size))
    return p_values > _WRONG_RATE / counts.size


@dataclass(frozen=True)
class _Pairs:
    """How often the cells of many pairs were dropped together."""

    counts: NDArray[np.int64]
    draws: int
    expected: NDArray[np.float64]  # the probability of each pair
    judged: NDArray[np.bool_]
    name: Callable[[int], str]


def _judge_pairs(run: Run, one: Map, pairs: _Pairs, budget: float) -> None:
    p_values = np.where(pairs.judged, binomial_p_values(pairs.counts, pairs.draws, pairs.expected), 1.0)
    each = budget / pairs.counts.size
    error = binomial_detectable(pairs.draws, float(pairs.expected.min()), each)
    run.detects.append(f"{_percent(error)} error of any joint rate ({one})")
    if not pairs.judged.any():
        raise NotApplicable(f"the cells themselves are not dropped as often as they must be, see cell_rates ({one})")
    if (p_values <= each).any():
        worst = _worst(p_values, pairs.counts / pairs.draws / pairs.expected)
        raise CheckFailure(
            f"{pairs.name(worst)} must be dropped together with probability {pairs.expected[worst]:.6f}, and are in "
            f"{pairs.counts[worst]} of {pairs.draws} draws, {pairs.counts[worst] / pairs.draws:.6f} (p-value "
            f"{p_values[worst]:.1e}; {np.count_nonzero(p_values <= each)} of {pairs.counts.size} pairs differ)\n"
            f"on {one}\n{_reproduce(run)}"
        )


@check("distribution", _DESIGNED, statistical=True)
def overlapping_cells(run: Run) -> Outcome:
    """Two cells that one block can cover are dropped together with their exact probability."""
    return _pairs(run, overlapping=True)


@check("distribution", _DESIGNED, statistical=True)
def distant_cells(run: Run) -> Outcome:
    """Two cells that no block covers both are dropped independently."""
    return _pairs(run, overlapping=False)


def _unless_own_masks(backend: Backend) -> str | None:
    if backend.rules.shared_channels:
        return f"channels share masks under convention {backend.rules.name!r}"
    return None


@check("distribution", _DESIGNED, statistical=True, unless=_unless_own_masks)
def channel_independence(run: Run) -> Outcome:
    """The masks of two channels of a sample are independent."""
    joint = _designed(run)[0]
    cells = joint.cells
    rates = drop_probability(
        joint.one.drop_prob, joint.one.block_size, joint.one.spatial_shape, convention=run.backend.rules
    ).ravel()
    expected = np.tile(np.multiply.outer(rates, rates), (joint.channels, joint.channels))
    channel = np.arange(joint.channels * cells) // cells
    a, b = np.nonzero(channel[:, None] < channel)

    def describe_pair(k: int) -> str:
        u, v = _cell(a[k] % cells, joint.one), _cell(b[k] % cells, joint.one)
        return f"cell {u} of channel {channel[a[k]]} and cell {v} of channel {channel[b[k]]}"

    right = _rates_are_right(run, joint.one, np.diagonal(joint.together), joint.samples)
    pairs = _Pairs(joint.together[a, b], joint.samples, expected[a, b], right[a] & right[b], describe_pair)
    _judge_pairs(run, joint.one, pairs, run.share)
    return Outcome(f"{joint.channels} channels ({joint.one})")


def _small_calls(run: Run) -> tuple[Map, NDArray[np.float32]]:
    """Many calls with few samples: (calls, samples, channels, cells)."""
    one = run.needed()[0]
    channels = 1 if run.backend.rules.shared_channels else 2
    key = ("small_calls", one)
    if key not in run.cache:
        calls = 200 if run.quick else 2000
        run.cache[key] = np.stack(list(_masks(run, one, 4, channels, calls=calls))).astype(np.float32)
    else:
        run.draws += run.cache[key][..., 0].size
    dropped: NDArray[np.float32] = run.cache[key]
    return one, dropped


def _independent(
    run: Run, one: Map, first: NDArray[np.float32], second: NDArray[np.float32], budget: float, what: str
) -> None:
    """Each mask of one group is independent of each of the other; both groups are (draws, masks, cells)."""
    draws, masks, cells = first.shape
    a, b = first.reshape(draws, -1), second.reshape(draws, -1)
    rates = drop_probability(one.drop_prob, one.block_size, one.spatial_shape, convention=run.backend.rules).ravel()
    expected = np.tile(np.multiply.outer(rates, rates), (masks, second.shape[1])).ravel()

    def describe_pair(k: int) -> str:
        u, v = divmod(k, second.shape[1] * cells)
        return f"cells {_cell(u % cells, one)} and {_cell(v % cells, one)} of two {what}"

    judged = np.logical_and.outer(*(_rates_are_right(run, one, part.sum(axis=0), draws) for part in (a, b))).ravel()
    counts = (a.T @ b).astype(np.int64).ravel()
    _judge_pairs(run, one, _Pairs(counts, draws, expected, judged, describe_pair), budget)


@check("distribution", _SMALL, statistical=True)
def sample_independence(run: Run) -> Outcome:
    """The masks of two samples of a batch are independent."""
    one, dropped = _small_calls(run)
    pairs = [(i, j) for j in range(dropped.shape[1]) for i in range(j)]
    for i, j in pairs:
        _independent(run, one, dropped[:, i], dropped[:, j], run.share / len(pairs), f"samples, {i} and {j}")
    return Outcome(f"{len(dropped)} calls with {dropped.shape[1]} samples ({one})")


@check("distribution", _SMALL, statistical=True)
def call_independence(run: Run) -> Outcome:
    """The masks of two successive calls are independent."""
    one, dropped = _small_calls(run)
    calls = dropped.reshape(len(dropped), -1, dropped.shape[-1])
    # Disjoint pairs, so that they are independent draws; in two alignments, so that every call has been a first one.
    _independent(run, one, calls[0::2], calls[1::2], run.share / 2, "successive calls")
    _independent(run, one, calls[1:-1:2], calls[2::2], run.share / 2, "successive calls")
    return Outcome(f"{len(dropped)} calls ({one})")
