"""Level 4, distribution: many draws, whose counts the judge compares with the exact probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from . import judge
from .backend import Backend
from .check import CheckFailure, Map, NotApplicable, Outcome, Run, check
from .judge import Law, Tally, Verdict
from .maps import DESIGNED, DESIGNED_FURTHER, MANY_CELLS, REALISTIC, kinds
from .observation import Fault
from .statistics import SURE, binomial_draws

_CELLS_PER_CALL = 1_500_000
_CELLS_PER_CALL_IN_OTHER_DTYPES = 50_000  # a count of more may overflow in float16, which is low_precision's business
_REALISTIC = (REALISTIC, "map of realistic size")
_DESIGNED = ((*DESIGNED, *DESIGNED_FURTHER), "small map that is designed for the rates of cells")
_LARGE = (MANY_CELLS, "map of more than 65,536 cells")
# Larger blocks and maps, and seeds so rare that random numbers of 11 bits, or float16's, have none or too many.
_RARE = (
    Map((32, 32), 9, 0.1),
    Map((14, 14), 11, 0.2),
    Map((56, 56), 7, 0.005),
    Map((32, 32), 1, 1.5 * 2.0**-11),
    Map((10, 20, 20), 5, 0.01),
)
# Draws are split into so many calls at least, so that calls can be compared with one another.
_CALLS, _QUICK_CALLS, _FEW_CALLS = 64, 32, 4
_MANY_CHANNELS = 130


def coincidence_bound(run: Run, one: Map, *, samples: int, channels: int) -> float:
    """An upper bound of the probability that two independent draws of so many masks are the same."""
    masks = samples * (1 if run.backend.rules.shared_channels else channels)
    return Law(one, run.backend.rules).coincidence(masks)


def draw(
    run: Run, one: Map, samples: int, channels: int, *, calls: int = 1, dtype: str | None = None, pairs: bool = False
) -> Tally:
    """So many samples, at least, in calls of one size, at least so many; or what another check has drawn.

    A tally is a sum over calls, so that batches of them, each with a seed of its own, may be drawn elsewhere and added.
    """
    law = Law(one, run.backend.rules)
    most = _CELLS_PER_CALL if dtype in {None, run.dtype} else _CELLS_PER_CALL_IN_OTHER_DTYPES
    if law.rules.shared_channels:
        samples, channels = samples * channels, 1
    calls = max(calls, -(-samples * channels * law.cells // most))
    per_call = -(-samples // calls)
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
        if np.shape(y) != x.shape:
            text = f"the output has shape {np.shape(y)}; expected that of x, {x.shape}"
            raise CheckFailure(f"{text}\non {one}\n{_reproduce(run)}")
        dropped = np.moveaxis(run.dropped(x, y), run.layout(x).channel_axis, 1)
        tally.add(dropped.reshape(per_call, channels, law.cells), seed)
    run.cache[key] = tally
    return tally


def _reproduce(run: Run) -> str:
    return f"reproduce: {run.check_call()}"


def settle(run: Run, tallies: Sequence[Tally], question: Callable[[Tally, float], Verdict], *, sound: bool) -> None:
    """Ask the same of several tallies, and enter what the judge says into the present check.

    With `sound`, only where the masks of all of them are drawn anew, independently and all alike: what else is wrong is
    the business of the checks of that.
    """
    for tally in tallies if sound else ():
        if (fault := _dependent(run, tally)) is not None:
            raise NotApplicable(f"masks are not drawn as they must be, see {fault.check} ({tally.law})")
    idle, judged = [], False
    for tally in tallies:
        budget = run.share / len(tallies) * (3 / 4 if sound else 1)
        verdict = question(tally, budget)
        run.detects += [verdict.detects] * bool(verdict.detects)
        if verdict.fault is not None:
            raise CheckFailure(f"{verdict.fault.text}\non {tally.law}\n{_reproduce(run)}")
        if verdict.not_judged:
            idle.append(verdict.not_judged)
        else:
            judged = True
    if not judged:
        raise NotApplicable("; ".join(dict.fromkeys(idle)))


def _dependent(run: Run, tally: Tally) -> Fault | None:
    """A quarter of the share of a check is enough for sixteen tallies."""
    key = ("dependent", id(tally))
    if key not in run.cache:
        run.cache[key] = judge.find_dependent_draws(tally, run.share / 64)
    fault: Fault | None = run.cache[key]
    return fault


def compare_cell_rates(run: Run, one: Map, samples: int, channels: int, budget: float) -> None:
    """Compare the rate of every cell with the exact one."""
    rates = Law(one, run.backend.rules).rates
    rarest = min(max(float(rates.min()), 1e-3), SURE)
    masks = binomial_draws(rarest, 0.9, budget * 3 / 4 / rates.size)  # so many at least, or nothing would be found
    tally = draw(run, one, max(samples, -(-masks // channels)), channels)
    parts = round(run.share / budget)
    settle(run, [tally], lambda tally, share: _cells(tally, share / parts), sound=True)


def _cells(tally: Tally, budget: float) -> Verdict:
    return judge.judge_cells(tally.law, tally.counts, tally.masks, budget)


def _rate(tally: Tally, budget: float) -> Verdict:
    return judge.judge_rate(tally.law, int(tally.counts.sum()), tally.masks, budget)


def _overlapping(tally: Tally, budget: float) -> Verdict:
    return judge.judge_pairs(tally.law, tally.together, tally.in_pairs, budget, overlapping=True)


def _distant(tally: Tally, budget: float) -> Verdict:
    return judge.judge_pairs(tally.law, tally.together, tally.in_pairs, budget, overlapping=False)


def _realistic(run: Run) -> Tally | None:
    """The draws for the rate of a map of realistic size: many channels, in many calls."""
    maps = run.supported(REALISTIC)
    if not maps:
        return None
    law = Law(maps[0], run.backend.rules)
    calls = _QUICK_CALLS if run.quick else _CALLS
    masks = judge.rate_masks(law, 0.1 if run.quick else 0.03, run.share / 8)
    return draw(run, maps[0], max(calls, -(-masks // _MANY_CHANNELS)), _MANY_CHANNELS, calls=calls, pairs=True)


@check("distribution", _REALISTIC, statistical=True)
def map_rate(run: Run) -> Outcome:
    """The fraction of dropped cells is the expected one, on a map of realistic size, and with rare seeds."""
    main = _realistic(run)
    tallies = [] if main is None else [main]
    tallies += [_draw_for_rate(run, one, 0.3, run.dtype) for one in run.supported(_RARE)]
    settle_rates(run, tallies)
    told = []
    for tally in tallies[:1]:
        law, seen = tally.law, float(tally.counts.sum()) / (tally.masks * tally.law.cells)
        told.append(f"{seen:.6f} dropped, {law.expected:.6f} expected ({law})")
        if law.expected > law.setting.drop_prob * (1 + 1e-9):
            more = f"{law.expected / law.setting.drop_prob - 1:.0%} more than drop_prob"
            return Outcome(f"{told[0]}: as convention {law.rules.name!r} has it, {more}", reported=True)
    return Outcome("; ".join(told))


def _draw_for_rate(run: Run, one: Map, wanted: float, dtype: str) -> Tally:
    law = Law(one, run.backend.rules)
    masks = judge.rate_masks(law, 2 * wanted if run.quick else wanted, run.share / 8)
    return draw(run, one, -(-masks // 8), 8, calls=_FEW_CALLS, dtype=dtype)


def settle_rates(run: Run, tallies: Sequence[Tally]) -> None:
    """The rates of several maps."""
    settle(run, tallies, _rate, sound=True)


def _unless_other_dtypes(backend: Backend) -> str | None:
    return f"the backend supports {backend.dtypes[0]} only" if len(backend.dtypes) == 1 else None


@check("distribution", _REALISTIC, statistical=True, unless=_unless_other_dtypes)
def dtype_rates(run: Run) -> Outcome:
    """In the other dtypes the fraction of dropped cells is the expected one, too: no draw is too coarse for gamma."""
    others = [dtype for dtype in run.backend.dtypes if dtype != run.dtype]
    maps = (run.needed()[0], *run.supported(_RARE[3:4]))
    tallies = [
        _draw_for_rate(run, one, 0.1 if k == 0 else 0.3, dtype) for dtype in others for k, one in enumerate(maps)
    ]
    settle_rates(run, tallies)
    return Outcome(f"{', '.join(others)} on {kinds(maps)}")


def _designed(run: Run) -> list[Tally]:
    """The draws that the checks of cells share: enough for the wanted error of every single cell."""
    maps = run.needed()
    first = [one for one in maps if one in DESIGNED] or maps[:1]
    tallies = []
    for number, one in enumerate((*first, *(one for one in maps if one not in first))):
        wanted = 0.2 if run.quick else 0.03 if number < len(first) else 0.1
        rates = Law(one, run.backend.rules).rates
        masks = binomial_draws(float(rates.min()), wanted, run.share / (1 + len(maps)) * 3 / 4 / rates.size)
        # The first map is drawn in many calls, the others with as many channels as there may be, one among them.
        channels, calls = (
            (8, _QUICK_CALLS if run.quick else _CALLS) if number == 0 else (1 + 5 * number % 8, _FEW_CALLS)
        )
        tallies.append(draw(run, one, -(-masks // channels), channels, calls=calls, pairs=True))
    return tallies


def _with_realistic(run: Run, tallies: Iterable[Tally]) -> list[Tally]:
    realistic = _realistic(run)
    return [*tallies, *([] if realistic is None else [realistic])]


def _settle(run: Run, question: Callable[[Tally, float], Verdict], tallies: list[Tally], *, sound: bool) -> Outcome:
    settle(run, tallies, question, sound=sound)
    return Outcome(kinds(tallies))


@check("distribution", _DESIGNED, statistical=True)
def sample_independence(run: Run) -> Outcome:
    """The masks of the samples of a batch are independent."""
    tallies = _with_realistic(run, _designed(run)[:1])
    return _settle(run, _independence("sample"), tallies, sound=False)


def _unless_own_masks(backend: Backend) -> str | None:
    if backend.rules.shared_channels:
        return f"channels share masks under convention {backend.rules.name!r}"
    return None


@check("distribution", _DESIGNED, statistical=True, unless=_unless_own_masks)
def channel_independence(run: Run) -> Outcome:
    """The masks of the channels of a sample are independent."""
    return _settle(run, _independence("channel"), _with_realistic(run, _designed(run)[:1]), sound=False)


@check("distribution", _DESIGNED, statistical=True)
def call_independence(run: Run) -> Outcome:
    """The masks of successive calls are independent, and none is drawn again."""
    return _settle(run, _independence("call"), _with_realistic(run, _designed(run)[:1]), sound=False)


def _independence(axis: str) -> Callable[[Tally, float], Verdict]:
    """What repeats is entered under the axis along which it does."""

    def question(tally: Tally, budget: float) -> Verdict:
        repeats = tally.repetition.verdict(budget / 2)
        others = (
            [repeats.fault, judge.judge_batch(tally, budget / 2).fault] if repeats.fault is None else [repeats.fault]
        )
        if axis == "call":
            others += [judge.judge_independence(tally, other, budget / 2).fault for other in ("sample", "channel")]
        for fault in others:
            if fault is not None and fault.check != f"{axis}_independence":
                return Verdict(not_judged=f"masks are not drawn as they must be, see {fault.check} ({tally.law})")
        return judge.merge([repeats, judge.judge_independence(tally, axis, budget / 2)])

    return question


@check("distribution", _DESIGNED, statistical=True)
def batch_rates(run: Run) -> Outcome:
    """Every sample of a batch, and every channel, is dropped as often as every other."""
    return _settle(run, _batch, _with_realistic(run, _designed(run)[:1]), sound=False)


def _batch(tally: Tally, budget: float) -> Verdict:
    if (fault := tally.repetition.verdict(budget / 2).fault) is not None:
        return Verdict(not_judged=f"masks repeat, see {fault.check} ({tally.law})")
    return judge.judge_batch(tally, budget / 2)


@check("distribution", _REALISTIC, statistical=True)
def call_spread(run: Run) -> Outcome:
    """The number of dropped cells varies from call to call as much as that of independent masks."""
    return _settle(run, judge.judge_spread, _with_realistic(run, []), sound=True)


@check("distribution", _DESIGNED, statistical=True)
def cell_rates(run: Run) -> Outcome:
    """Every single cell is dropped with its exact probability."""
    return _settle(run, _cells, _with_realistic(run, _designed(run)), sound=True)


@check("distribution", _DESIGNED, statistical=True)
def overlapping_cells(run: Run) -> Outcome:
    """Two cells that one block can cover are dropped together with their exact probability."""
    return _settle(run, _overlapping, _designed(run), sound=True)


@check("distribution", _DESIGNED, statistical=True)
def distant_cells(run: Run) -> Outcome:
    """Two cells that no block covers both are dropped independently."""
    return _settle(run, _distant, _with_realistic(run, _designed(run)), sound=True)


@check("distribution", _LARGE, statistical=True)
def distant_rows(run: Run) -> Outcome:
    """On a large map blocks are whole, and no two rows, columns or planes are dropped alike."""
    maps = run.needed()
    for one in maps:
        x = run.input(run.shape(1, 1, one.spatial_shape))
        y = run.forward(x, one, seed=run.seed)
        run.judge(x, y, one, run.forward_call(x, one, seed=run.seed), only=("legal_blocks",))
        law = Law(one, run.backend.rules)
        verdict = judge.judge_rows(law, run.dropped(x, y).reshape(1, -1), run.share / len(maps))
        run.detects += [verdict.detects] * bool(verdict.detects)
        if verdict.fault is not None:
            raise CheckFailure(f"{verdict.fault.text}\non {one}\n{_reproduce(run)}")
        if verdict.not_judged:
            raise NotApplicable(verdict.not_judged)
    return Outcome(kinds(maps))
