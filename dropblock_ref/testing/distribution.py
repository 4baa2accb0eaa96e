"""Level 4, distribution: many draws, whose counts the judge compares with the exact probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..call import own_masks
from . import judge
from .backend import Backend
from .check import CheckFailure, Map, NotJudged, Outcome, Run, check
from .judge import Law, Tally, Verdict, find_law
from .maps import (
    ANY_MAP,
    DESIGNED,
    DESIGNED_MAP,
    FURTHER_RATES,
    LARGE_MAP,
    ORDINARY,
    RAREST,
    REALISTIC_MAP,
    ROWS,
    SELDOM,
    kinds,
)
from .observation import Fault
from .statistics import SURE, binomial_draws

# Where one of these is wrong, so are rates; and where rates are, so are joint rates.
_SHARING = ("channel_sharing", "legal_blocks", "same_seed_same_output", "stream_goes_on")
_DRAWS = (*_SHARING, "repeated_draws")
_RATES = (*_DRAWS, "map_rate", "cell_rates")
_CELLS_PER_CALL = 1_500_000
_CELLS_PER_CALL_IN_OTHER_DTYPES = 50_000  # a count of more may overflow in float16, which is low_precision's business
# Where the wanted precision takes more cells, a coarser one is judged: of a map's rate, and of the rates of its cells.
_MOST_CELLS_FOR_RATE, _MOST_CELLS_FOR_CELLS = 120_000_000, 30_000_000
# Draws are split into so many calls at least, so that calls can be compared with one another.
_CALLS, _QUICK_CALLS, _FEW_CALLS = 108, 40, 4
_MOST_CALLS = 600  # where each has one mask, or those of its channels
_MANY_CHANNELS = 130
_LARGE = 60_000  # cells, of one map or of several
# After the run's own. Some engines take 31 bits of a seed, which is no fault, but cut to one number they must not be.
_SEEDS = (0, 1, 16, 256, 2**16, 2**31 + 12345, 2**31 + 12346)
_LEAST = 1e-3  # the part of its share that a check needs to say that a call is wrong which drops everything


def draw(
    run: Run, one: Map, samples: int, channels: int, *, calls: int = 1, dtype: str | None = None, pairs: bool = False
) -> Tally:
    """So many samples, at least, in calls of one size, at least so many; or what another check has drawn.

    A backend that is built for some samples and channels gets as many calls with these as give so many masks. A tally
    is a sum over calls, so that batches of them, each with a seed of its own, may be drawn elsewhere and added.
    """
    law = find_law(one, run.backend.rules)
    masks = samples * channels
    built_for, channels = run.batch(0, channels, one.spatial_shape)  # no samples where any number will do
    most = _CELLS_PER_CALL if dtype in {None, run.dtype} else _CELLS_PER_CALL_IN_OTHER_DTYPES
    if law.rules.shared_channels:
        channels = run.batch(0, 1, one.spatial_shape)[1]
    elif law.rules.shared_samples:  # then the masks of a call are those of its channels
        channels = run.batch(0, max(1, min(-(-masks // calls), most // law.cells)), one.spatial_shape)[1]
    of_each = own_masks(1, channels, law.rules)[1]  # masks of one sample
    samples = -(-masks // of_each)
    if law.rules.shared_samples:
        built_for = built_for or 1
        calls = max(2, min(samples, _MOST_CALLS))
    elif built_for:
        calls = max(2, -(-samples // built_for))
    else:
        calls = max(calls, -(-samples * channels * law.cells // most))
    per_call = built_for or -(-samples // calls)
    key = (one, per_call, channels, calls, dtype, pairs)
    if key in run.cache:
        tally: Tally = run.cache[key]
        run.draws += tally.masks
        return tally
    tally = Tally(law, pairs=pairs)
    x = run.input(run.shape(per_call, channels, one.spatial_shape), dtype)
    for call in range(calls):
        seed = run.seed if call == 0 else None
        y = run.forward(x, one, seed=seed)
        if np.isnan(y).all():
            _require_all_dropped(run, law, run.masks(x), run.forward_call(x, one, seed=seed))
        dropped = np.moveaxis(run.dropped(x, y), run.layout(x).channel_axis, 1)
        own, of_own = own_masks(per_call, channels, law.rules)
        tally.add(dropped.reshape(per_call, -1, law.cells)[:own, :of_own], seed if run.backend.reseeds else None)
    run.cache[key] = tally
    return tally


def _require_all_dropped(run: Run, law: Law, masks: int, call: str) -> None:
    """A whole output of NaN is right at most where every cell is dropped."""
    verdict = judge.judge_all_dropped(law, np.ones(1, dtype=np.bool_), masks, _LEAST * run.share)
    if verdict.fault is not None:
        text = f"the whole output is NaN, which is right at most where {verdict.fault.text}"
        raise CheckFailure(f"{text}\non {law}\nreproduce: {call}")


def _reproduce(run: Run) -> str:
    return f"reproduce: {run.check_call()}"


def settle(
    run: Run,
    tallies: Sequence[Tally],
    question: Callable[[Tally, float], Verdict],
    *,
    sound: bool,
    part: float = 1.0,
    dtype: str | None = None,
) -> None:
    """Ask the same of several tallies, with a part of the check's budget, and enter what the judge says.

    With `sound`, only where the masks of all of them are drawn anew, independently and all alike: what else is wrong is
    filed under the check of that, and no rate is judged.
    """
    dtype = dtype or run.dtype
    for tally in tallies if sound else ():
        if (fault := _dependent(run, tally)) is not None:
            run.calls.found.append(Fault(fault.check, f"{fault.text}\non {tally.law}\n{_reproduce(run)}", dtype))
            raise NotJudged(f"masks are not drawn as they must be, see {fault.check} ({tally.law})")
    idle, judged = [], False
    for tally in tallies:
        verdict = question(tally, run.share * part / len(tallies) * (3 / 4 if sound else 1))
        run.detects += [verdict.detects] * bool(verdict.detects)
        if verdict.fault is not None:
            in_dtype = "" if dtype == run.dtype else f", dtype {dtype}"
            raise CheckFailure(f"{verdict.fault.text}\non {tally.law}{in_dtype}\n{_reproduce(run)}", dtype=dtype)
        if verdict.not_judged:
            idle.append(verdict.not_judged)
        else:
            judged = True
    if not judged:
        raise NotJudged("; ".join(dict.fromkeys(idle)))


def _dependent(run: Run, tally: Tally) -> Fault | None:
    """A quarter of the share of a check is enough for sixteen tallies."""
    key = ("dependent", id(tally))
    if key not in run.cache:
        run.cache[key] = judge.find_dependent_draws(tally, run.share / 64)
    fault: Fault | None = run.cache[key]
    return fault


def compare_cell_rates(run: Run, one: Map, samples: int, channels: int, part: float) -> None:
    """Compare the rate of every cell with the exact one, with a part of the check's budget."""
    rates = find_law(one, run.backend.rules).rates
    rarest = min(max(float(rates.min()), 1e-3), SURE)
    masks = binomial_draws(rarest, 0.9, run.share * part * 3 / 4 / rates.size)  # with fewer nothing would be found
    tally = draw(run, one, max(samples, -(-masks // channels)), channels)
    settle(run, [tally], _cells, sound=True, part=part)


def compare_map_rates(run: Run, maps: Sequence[Map]) -> None:
    """Compare the rates of maps with the exact ones, with the check's budget."""
    settle(run, [_draw_for_rate(run, one, 0.3, run.dtype) for one in maps], _rate, sound=True)


def _cells(tally: Tally, budget: float) -> Verdict:
    return judge.judge_cells(tally.law, tally.counts, tally.masks, budget)


def _rate(tally: Tally, budget: float) -> Verdict:
    return judge.judge_rate(tally.law, int(tally.counts.sum()), tally.masks, budget)


def _overlapping(tally: Tally, budget: float) -> Verdict:
    return judge.judge_pairs(tally.law, tally.together, tally.in_pairs, budget, overlapping=True)


def _distant(tally: Tally, budget: float) -> Verdict:
    return judge.judge_pairs(tally.law, tally.together, tally.in_pairs, budget, overlapping=False)


def _cost(run: Run, law: Law) -> float:
    """Of one mask, in cells: where a call has a fixed number of them, its own cost is theirs."""
    samples, channels = run.batch(0, 1, law.shape)
    if law.rules.shared_samples and law.rules.shared_channels:
        samples = channels = 1  # a call has one mask
    return law.cells * (3.0 if run.quick else 1.0) + (5_000 / (samples * channels) if samples else 0.0)


def _masks_for_rate(run: Run, law: Law, wanted: float) -> int:
    """Enough to find this relative error of the map's rate, or the smallest that is not too dear."""
    affordable = max(1, int(_MOST_CELLS_FOR_RATE / _cost(run, law)))
    while (masks := judge.rate_masks(law, wanted, run.share / 8)) > affordable and wanted < 1:
        wanted = min(1.0, 2 * wanted)
    return min(masks, affordable)


def _realistic(run: Run) -> list[Tally]:
    """The draws for the rate of a map of realistic size: many channels, in many calls."""
    maps = run.find(REALISTIC_MAP)[:1]
    calls = _QUICK_CALLS if run.quick else _CALLS
    tallies = []
    for one in maps:
        masks = _masks_for_rate(run, find_law(one, run.backend.rules), 0.1 if run.quick else 0.03)
        samples = max(calls, -(-masks // _MANY_CHANNELS))
        tallies.append(draw(run, one, samples, _MANY_CHANNELS, calls=calls, pairs=True))
    return tallies


@check("distribution", LARGE_MAP, statistical=True, after=_SHARING)
def repeated_draws(run: Run) -> Outcome:
    """No masks come again, in any call of a run, but for those that the same seed draws again."""
    one = run.needed()[0]
    note = ""
    if run.backend.reseeds:
        x = run.input(run.shape(2, 24, one.spatial_shape))  # channels enough for a word
        for number in _SEEDS:
            if number < 2**31:
                run.forward(x, one, seed=run.seed + number)
            elif run.calls.attempt(x, one.drop_prob, one.block_size, seed=run.seed + number) is None:
                note = f"seeds from {number} on are refused"
                break
            else:
                run.forward(x, one, seed=run.seed + number)
    # The stream goes on, whatever is called between: other maps, a larger batch, evaluation.
    for number in range(6):
        x = run.input(run.shape(*((100, 3) if number == 3 else (1, 4)), one.spatial_shape))
        run.forward(x, one, seed=None)
        if "evaluation" in run.backend.modes:
            run.forward(x, one, seed=None, training=False)
        for other in run.find(ANY_MAP)[:1] if number % 2 else ():
            run.forward(run.input(run.shape(1, 4, other.spatial_shape)), other, seed=None)
    verdict = run.repetition.verdict(run.share)
    run.detects += [verdict.detects] * bool(verdict.detects)
    if verdict.fault is not None:
        raise CheckFailure(f"{verdict.fault.text}\n{_reproduce(run)}  # with the calls of the whole run before it")
    if verdict.not_judged:
        raise NotJudged(verdict.not_judged)
    return Outcome(note, reported=bool(note))


@check("distribution", REALISTIC_MAP, statistical=True, after=_DRAWS)
def map_rate(run: Run) -> Outcome:
    """The fraction of dropped cells is the expected one, on maps of realistic size, and with rare seeds."""
    tallies = [*_realistic(run), *(_draw_for_rate(run, one, 0.3, run.dtype) for one in run.supported(FURTHER_RATES))]
    tallies += [_of_one_sample(run, one) for one in run.supported(ORDINARY[:1]) or run.needed()[:1]]
    tallies += [_draw_for_rate(run, one, 3.0, run.dtype) for one in run.supported(RAREST) if not run.quick]
    settle(run, tallies, _rate, sound=True)
    tally = tallies[0]
    law, seen = tally.law, float(tally.counts.sum()) / (tally.masks * tally.law.cells)
    message = f"{seen:.6f} dropped, {law.expected:.6f} expected ({law})"
    if law.expected > law.setting.drop_prob * (1 + 1e-9):
        more = f"{law.expected / law.setting.drop_prob - 1:.0%} more than drop_prob"
        return Outcome(f"{message}: as convention {law.rules.name!r} has it, {more}", reported=True)
    return Outcome(message)


def _draw_for_rate(run: Run, one: Map, wanted: float, dtype: str) -> Tally:
    masks = _masks_for_rate(run, find_law(one, run.backend.rules), 2 * wanted if run.quick else wanted)
    return draw(run, one, -(-masks // 8), 8, calls=_FEW_CALLS, dtype=dtype)


def _of_one_sample(run: Run, one: Map) -> Tally:
    """As many channels as show an error of 15 % in one call."""
    law = find_law(one, run.backend.rules)
    return (
        draw(run, one, 1, judge.rate_masks(law, 0.15, run.share / 8))
        if not law.rules.shared_channels
        else draw(run, one, 8, 8)
    )


def _unless_other_dtypes(backend: Backend) -> str | None:
    return f"the backend supports {backend.dtypes[0]} only" if len(backend.dtypes) == 1 else None


@check("distribution", REALISTIC_MAP, statistical=True, unless=_unless_other_dtypes, after=_RATES)
def dtype_rates(run: Run) -> Outcome:
    """In the other dtypes the fraction of dropped cells is the expected one, too: no draw is too coarse for gamma."""
    others = [dtype for dtype in run.backend.dtypes if dtype != run.dtype]
    maps = (run.needed()[0], *run.supported(SELDOM))
    for dtype in others:
        tallies = [_draw_for_rate(run, one, 0.1 if k == 0 else 0.3, dtype) for k, one in enumerate(maps)]
        settle(run, tallies, _rate, sound=True, part=1 / len(others), dtype=dtype)
    return Outcome(f"{', '.join(others)} on {kinds(maps)}")


def _designed(run: Run) -> list[Tally]:
    """The draws that the checks of cells share: enough for the wanted error of every single cell."""
    maps = run.find(DESIGNED_MAP)
    first = [one for one in maps if one in DESIGNED] or maps[:1]
    tallies = []
    for number, one in enumerate((*first, *(one for one in maps if one not in first))):
        wanted = 0.2 if run.quick else 0.03 if number < len(first) else 0.1
        law = find_law(one, run.backend.rules)
        each = run.share / (1 + len(maps)) * 3 / 4 / law.cells
        while (masks := binomial_draws(float(law.rates.min()), wanted, each)) * _cost(run, law) > _MOST_CELLS_FOR_CELLS:
            wanted *= 2
        # The first map is drawn in many calls, the others with as many channels as there may be, one among them.
        channels, calls = (
            (8, _QUICK_CALLS if run.quick else _CALLS) if number == 0 else (1 + 5 * (number - 1) % 8, _FEW_CALLS)
        )
        tallies.append(draw(run, one, -(-masks // channels), channels, calls=calls, pairs=True))
    return tallies


def _settle(run: Run, question: Callable[[Tally, float], Verdict], tallies: list[Tally], *, sound: bool) -> Outcome:
    settle(run, tallies, question, sound=sound)
    return Outcome(kinds(tallies))


def _of_each_kind(run: Run) -> list[Tally]:
    """Of a small map, and of one of realistic size."""
    return [*_designed(run)[:1], *_realistic(run)]


def _unless_own_samples(backend: Backend) -> str | None:
    if backend.rules.shared_samples:
        return f"samples share masks under convention {backend.rules.name!r}"
    return None


@check("distribution", DESIGNED_MAP, statistical=True, unless=_unless_own_samples, after=_DRAWS)
def sample_independence(run: Run) -> Outcome:
    """The masks of the samples of a batch are independent."""
    return _settle(run, _independence("sample"), _of_each_kind(run), sound=False)


def _unless_own_masks(backend: Backend) -> str | None:
    if backend.rules.shared_channels:
        return f"channels share masks under convention {backend.rules.name!r}"
    return None


@check("distribution", DESIGNED_MAP, statistical=True, unless=_unless_own_masks, after=_DRAWS)
def channel_independence(run: Run) -> Outcome:
    """The masks of the channels of a sample are independent."""
    return _settle(run, _independence("channel"), _of_each_kind(run), sound=False)


@check("distribution", DESIGNED_MAP, statistical=True, after=_DRAWS)
def call_independence(run: Run) -> Outcome:
    """The masks of successive calls are independent."""
    return _settle(run, _independence("call"), _of_each_kind(run), sound=False)


def _independence(axis: str) -> Callable[[Tally, float], Verdict]:
    def question(tally: Tally, budget: float) -> Verdict:
        """Whether something else is wrong: masks that repeat, samples of other rates, or, for calls, dependent ones."""
        faults = [tally.repetition.verdict(budget / 2).fault]
        if faults == [None]:
            faults.append(judge.judge_batch(tally, budget / 2).fault)
            others = ("sample", "channel") if axis == "call" else ()
            faults += [judge.judge_independence(tally, other, budget / 2).fault for other in others]
        for fault in faults:
            if fault is not None:
                return Verdict(not_judged=f"masks are not drawn as they must be, see {fault.check} ({tally.law})")
        return judge.judge_independence(tally, axis, budget / 2)

    return question


@check("distribution", DESIGNED_MAP, statistical=True, after=_DRAWS)
def batch_rates(run: Run) -> Outcome:
    """Every sample of a batch, and every channel, is dropped as often as every other."""
    return _settle(run, _batch, _of_each_kind(run), sound=False)


def _batch(tally: Tally, budget: float) -> Verdict:
    if (fault := tally.repetition.verdict(budget / 2).fault) is not None:
        return Verdict(not_judged=f"masks repeat, see {fault.check} ({tally.law})")
    return judge.judge_batch(tally, budget / 2)


@check("distribution", REALISTIC_MAP, statistical=True, after=_RATES)
def call_spread(run: Run) -> Outcome:
    """The number of dropped cells varies from call to call as much as that of independent masks."""
    return _settle(run, judge.judge_spread, _of_each_kind(run), sound=True)


@check("distribution", DESIGNED_MAP, statistical=True, after=_DRAWS)
def cell_rates(run: Run) -> Outcome:
    """Every single cell is dropped with its exact probability."""
    return _settle(run, _cells, [*_designed(run), *_realistic(run)], sound=True)


@check("distribution", DESIGNED_MAP, statistical=True, after=_RATES)
def overlapping_cells(run: Run) -> Outcome:
    """Two cells that one block can cover are dropped together with their exact probability."""
    return _settle(run, _overlapping, _designed(run), sound=True)


@check("distribution", DESIGNED_MAP, statistical=True, after=_DRAWS)
def distant_cells(run: Run) -> Outcome:
    """Two cells that no block covers both are dropped independently."""
    return _settle(run, _distant, [*_designed(run), *_realistic(run)], sound=True)


@check("distribution", ROWS, statistical=True, after=(*_DRAWS, "map_rate", "batch_of_one"))
def large_maps(run: Run) -> Outcome:
    """On a large map, or many, every row, column and plane is dropped as often as it must be, and no two alike."""
    maps = run.needed()
    for one in maps:
        law = find_law(one, run.backend.rules)
        x = run.input(run.shape(-(-_LARGE // law.cells), 1, one.spatial_shape))
        dropped = np.moveaxis(run.dropped(x, run.forward(x, one, seed=run.seed)), run.layout(x).channel_axis, 1)
        own, of_own = own_masks(len(dropped), dropped.shape[1], law.rules)
        dropped = dropped[:own, :of_own]
        verdict = judge.judge_lines(law, dropped.reshape(-1, law.cells), run.share / len(maps))
        run.detects += [verdict.detects] * bool(verdict.detects)
        if verdict.fault is not None:
            raise CheckFailure(f"{verdict.fault.text}\non {one}\n{_reproduce(run)}")
        if verdict.not_judged:
            raise NotJudged(verdict.not_judged)
    return Outcome(kinds(maps))
