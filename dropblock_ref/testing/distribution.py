"""Level 3, distribution: many draws, compared with the exact probabilities by tests whose error rates are bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..call import place_block
from ..coverage import calibrated_gamma
from ..stages import gamma
from ..theory import drop_fraction_variance, expected_drop_fraction
from . import rates
from .backend import Backend
from .check import CheckFailure, Map, NotApplicable, NotJudged, Outcome, Run, check
from .maps import DESIGNED, DESIGNED_MAP, FURTHER_RATES, REALISTIC_MAP, SMALL_MAP, kinds
from .statistics import MISS, bernstein_deviation, binomial_draws

# Where one of these is wrong, so are rates; and where rates are, so are joint rates.
_DRAWS = ("channel_sharing", "legal_blocks", "same_seed_same_output", "stream_goes_on")
_RATES = (*_DRAWS, "map_rate", "cell_rates")
_CELLS_PER_CALL = 1_000_000
_CELLS_PER_CALL_IN_OTHER_DTYPES = 50_000  # a count of more may overflow in float16, which is low_precision's business
_MOST_CELLS_IN_PAIRS = 150
_MOST_CELLS_DRAWN = 30_000_000  # for one rate; where the wanted precision takes more, a coarser one is judged


def coincidence_bound(run: Run, one: Map, *, samples: int, channels: int) -> float:
    """An upper bound of the probability that two independent draws of so many masks are the same."""
    return rates.coincidence_bound(one, run.backend.rules, _number_of_masks(run, samples, channels))


def _all_dropped_bound(run: Run, one: Map, *, samples: int, channels: int) -> float:
    """An upper bound of the probability that so many masks drop everything."""
    return rates.all_dropped_bound(one, run.backend.rules, _number_of_masks(run, samples, channels))


def _number_of_masks(run: Run, samples: int, channels: int) -> int:
    return samples * (1 if run.backend.rules.shared_channels else channels)


def _masks(
    run: Run, one: Map, samples: int, channels: int, *, calls: int | None = None, dtype: str | None = None
) -> Iterator[NDArray[np.bool_]]:
    """Dropped cells of successive draws, (samples, channels, cells): `samples` in all, or in each of `calls`."""
    cells = int(np.prod(one.spatial_shape))
    most = _CELLS_PER_CALL if dtype in {None, run.dtype} else _CELLS_PER_CALL_IN_OTHER_DTYPES
    per_call = samples if calls is not None else max(1, min(samples, most // (channels * cells)))
    built_for = run.batch(0, channels, one.spatial_shape)[0]  # so many samples, of which the last are not used
    per_call = built_for or per_call
    done, seed = 0, run.seed
    total = per_call * calls if calls is not None else samples
    x = run.input(run.shape(per_call, channels, one.spatial_shape), dtype)
    next_seed: int | None = seed
    while done < total:
        part = x if built_for else x[: min(per_call, total - done)]
        y = run.forward(part, one, seed=next_seed)
        if np.isnan(y).all():
            chance = _all_dropped_bound(run, one, samples=len(part), channels=channels)
            if chance < run.share * 1e-3:
                raise CheckFailure(
                    f"the whole output is NaN, which is right at most where every cell is dropped (here with a "
                    f"probability of at most {chance:.1e})\non {one}\n"
                    f"reproduce: {run.forward_call(part, one, seed=next_seed)}"
                )
        dropped = np.moveaxis(run.dropped(part, y), run.layout(part).channel_axis, 1)
        yield dropped.reshape(len(part), -1, cells)[: total - done, :channels]
        done += len(part)
        next_seed = None


def _reproduce(run: Run) -> str:
    return f"reproduce: {run.check_call()}"


def _cost(run: Run, one: Map) -> float:
    """Of one mask, in cells: where a call has a fixed number of them, its own cost is theirs."""
    cells = float(np.prod(one.spatial_shape))
    samples, channels = run.batch(0, 1, one.spatial_shape)
    return cells + (5_000 / (samples * channels) if samples else 0.0) + (2 * cells if run.quick else 0.0)


def compare_cell_rates(run: Run, one: Map, samples: int, channels: int, budget: float) -> None:
    """Compare the rate of every cell with the exact one."""
    channels = min(channels, run.batch(samples, channels, one.spatial_shape)[1])
    counts = np.zeros(int(np.prod(one.spatial_shape)), dtype=np.int64)
    for dropped in _masks(run, one, samples, channels):
        counts += dropped.sum(axis=(0, 1))
    _settle(run, one, rates.judge_cells(one, run.backend.rules, counts, samples * channels, budget))


def _settle(run: Run, one: Map, verdict: rates.Verdict) -> None:
    """Enter what a comparison says into the present check."""
    run.detects.append(verdict.detects)
    if verdict.idle:
        raise NotJudged(verdict.idle)
    if verdict.wrong:
        raise CheckFailure(f"{verdict.wrong}\non {one}\n{_reproduce(run)}")


@check("distribution", REALISTIC_MAP, statistical=True, after=_DRAWS)
def map_rate(run: Run) -> Outcome:
    """The fraction of dropped cells is the expected one, on maps of realistic size."""
    one = run.needed()[0]
    further = run.supported(FURTHER_RATES)
    message = _map_rate(run, one, 0.1 if run.quick else 0.03, run.dtype, run.share / 2)
    for other in further:
        _map_rate(run, other, 0.3, run.dtype, run.share / 2 / len(further))
    expected = expected_drop_fraction(one.drop_prob, one.block_size, one.spatial_shape, convention=run.backend.rules)
    if expected > one.drop_prob * (1 + 1e-9):
        more = f"{expected / one.drop_prob - 1:.0%} more than drop_prob"
        return Outcome(f"{message}: as convention {run.backend.rules.name!r} has it, {more}", reported=True)
    return Outcome(message)


def _unless_other_dtypes(backend: Backend) -> str | None:
    return f"the backend supports {backend.dtypes[0]} only" if len(backend.dtypes) == 1 else None


@check("distribution", REALISTIC_MAP, statistical=True, unless=_unless_other_dtypes, after=_RATES)
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
        other = calibrated_gamma(min(1.0, expected * (1 + relative)), block)
        spread = drop_fraction_variance(None, gamma=other, **where)
        alarm = bernstein_deviation(draws, variance, budget, sides=2)
        return alarm + bernstein_deviation(draws, spread, MISS) > expected * relative

    in_dtype = "" if dtype == run.dtype else f", {dtype}"
    draws = 1024
    while missed(draws, wanted):
        draws += max(1, draws // 16)
        if draws * _cost(run, one) > 4 * _MOST_CELLS_DRAWN:
            draws, wanted = 1024, 2 * wanted
    total = 0
    channels = 1 if rules.shared_channels else min(8, run.batch(1, 8, one.spatial_shape)[1])
    samples = -(-draws // channels)
    for dropped in _masks(run, one, samples, channels, dtype=dtype):
        total += int(np.count_nonzero(dropped))
    draws = samples * channels
    run.detects.append(f"{rates.percent(wanted)} error of the map's rate ({one}{in_dtype})")
    seen = total / (draws * float(np.prod(one.spatial_shape)))
    alarm = bernstein_deviation(draws, variance, budget, sides=2)
    if abs(seen - expected) >= alarm:
        of_keep_prob = expected_drop_fraction(1 - one.drop_prob, **where)
        advice = ""
        if abs(seen - of_keep_prob) < alarm + bernstein_deviation(draws, 0.25, MISS):
            advice = f"; that is the rate of drop_prob {1 - one.drop_prob:g}: is keep_prob passed for it?"
        raise CheckFailure(
            f"{expected:.6f} of the cells must be dropped on average (drop_prob {one.drop_prob} is the paper's "
            f"approximation), and over {draws} masks {seen:.6f} are, {100 * (seen / expected - 1):+.1f} %; a correct "
            f"backend stays within {alarm:.6f}{advice}\non {one}{in_dtype}, convention {rules.name!r} with gamma "
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
            flat = dropped.reshape(len(dropped), size)
            together += rates.count_together(flat, flat)
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
        rarest = float(rates.rates_of(one, run.backend.rules).min())
        while (draws := binomial_draws(rarest, wanted, each)) * _cost(run, one) > _MOST_CELLS_DRAWN:
            wanted *= 2
        channels = 1 if run.backend.rules.shared_channels else max(1, min(8, 256 // cells))
        channels = min(channels, run.batch(1, channels, one.spatial_shape)[1])
        joints.append(_joint(run, one, -(-draws // channels), channels))
    return joints


@check("distribution", DESIGNED_MAP, statistical=True, after=_DRAWS)
def cell_rates(run: Run) -> Outcome:
    """Every single cell is dropped with its exact probability."""
    joints = _designed(run)
    for joint in joints:
        draws = joint.samples * joint.channels
        counts = np.diagonal(joint.within_maps())
        _settle(run, joint.one, rates.judge_cells(joint.one, run.backend.rules, counts, draws, run.share / len(joints)))
    return Outcome(kinds(joints))


def _pairs(run: Run, *, overlapping: bool) -> Outcome:
    joints = _designed(run)
    for joint in joints:
        draws, together = joint.samples * joint.channels, joint.within_maps()
        verdict = rates.judge_pairs_of_map(
            joint.one, run.backend.rules, together, draws, run.share / len(joints), overlapping=overlapping
        )
        _settle(run, joint.one, verdict)
    return Outcome(kinds(joints))


@check("distribution", DESIGNED_MAP, statistical=True, after=_RATES)
def overlapping_cells(run: Run) -> Outcome:
    """Two cells that one block can cover are dropped together with their exact probability."""
    return _pairs(run, overlapping=True)


@check("distribution", DESIGNED_MAP, statistical=True, after=_RATES)
def distant_cells(run: Run) -> Outcome:
    """Two cells that no block covers both are dropped independently."""
    return _pairs(run, overlapping=False)


def _unless_own_masks(backend: Backend) -> str | None:
    if backend.rules.shared_channels:
        return f"channels share masks under convention {backend.rules.name!r}"
    return None


@check("distribution", DESIGNED_MAP, statistical=True, unless=_unless_own_masks, after=_RATES)
def channel_independence(run: Run) -> Outcome:
    """The masks of two channels of a sample are independent."""
    joint, rules = _designed(run)[0], run.backend.rules
    if joint.channels == 1:
        raise NotJudged(f"one channel is drawn of {joint.one}, or the backend is built for one")
    cells = joint.cells
    rate = rates.rates_of(joint.one, rules)
    expected = np.tile(np.multiply.outer(rate, rate), (joint.channels, joint.channels))
    channel = np.arange(joint.channels * cells) // cells
    a, b = np.nonzero(channel[:, None] < channel)

    def describe_pair(k: int) -> str:
        u, v = rates.cell_of(a[k] % cells, joint.one), rates.cell_of(b[k] % cells, joint.one)
        return f"cell {u} of channel {channel[a[k]]} and cell {v} of channel {channel[b[k]]}"

    right = rates.rates_are_right(joint.one, rules, np.diagonal(joint.together), joint.samples)
    pairs = rates.Pairs(joint.together[a, b], joint.samples, expected[a, b], right[a] & right[b], describe_pair)
    _settle(run, joint.one, rates.judge_pairs(joint.one, pairs, run.share))
    return Outcome(f"{joint.channels} channels ({joint.one})")


def _small_calls(run: Run) -> tuple[Map, NDArray[np.float32]]:
    """Many calls with few samples: (calls, samples, channels, cells)."""
    one = run.needed()[0]
    if np.prod(one.spatial_shape) > _MOST_CELLS_IN_PAIRS:
        raise NotJudged(f"pairs of cells are compared on maps of up to {_MOST_CELLS_IN_PAIRS} cells ({one})")
    channels = 1 if run.backend.rules.shared_channels else min(2, run.batch(1, 2, one.spatial_shape)[1])
    key = ("small_calls", one)
    if key not in run.cache:
        calls = 200 if run.quick else 2000
        run.cache[key] = np.stack([masks[:4] for masks in _masks(run, one, 4, channels, calls=calls)]).astype(
            np.float32
        )
    else:
        run.draws += run.cache[key][..., 0].size
    dropped: NDArray[np.float32] = run.cache[key]
    return one, dropped


def _independent(
    run: Run, one: Map, first: NDArray[np.float32], second: NDArray[np.float32], budget: float, what: str
) -> None:
    """Each mask of one group is independent of each of the other; both groups are (draws, masks, cells)."""
    _settle(run, one, rates.judge_independence(one, run.backend.rules, first, second, budget, what))


@check("distribution", SMALL_MAP, statistical=True, after=_RATES)
def sample_independence(run: Run) -> Outcome:
    """The masks of two samples of a batch are independent."""
    one, dropped = _small_calls(run)
    pairs = [(i, j) for j in range(min(dropped.shape[1], 8)) for i in range(j)]
    if not pairs:
        raise NotApplicable("the backend is built for one sample")
    for i, j in pairs:
        _independent(run, one, dropped[:, i], dropped[:, j], run.share / len(pairs), f"samples, {i} and {j}")
    return Outcome(f"{len(dropped)} calls with {dropped.shape[1]} samples ({one})")


@check("distribution", SMALL_MAP, statistical=True, after=_RATES)
def call_independence(run: Run) -> Outcome:
    """The masks of two successive calls are independent."""
    one, dropped = _small_calls(run)
    calls = dropped.reshape(len(dropped), -1, dropped.shape[-1])
    # Disjoint pairs, so that they are independent draws; in two alignments, so that every call has been a first one.
    _independent(run, one, calls[0::2], calls[1::2], run.share / 2, "successive calls")
    _independent(run, one, calls[1:-1:2], calls[2::2], run.share / 2, "successive calls")
    return Outcome(f"{len(dropped)} calls ({one})")
