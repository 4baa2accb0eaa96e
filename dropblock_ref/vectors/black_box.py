"""Outputs that another program drew with its own random numbers: each of them judged, and how often what is dropped.

What the oracle does with a backend (`dropblock_ref.testing`) is done with given outputs, as far as their number allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import FLOATING_DTYPES, as_array, check_floating, check_probability
from ..call import counted_axes, find_layout, place_block
from ..convention import Convention, find_convention
from ..coverage import calibrated_gamma
from ..testing import rates
from ..testing.assertions import check_false_alarm, check_readable, largest_block_fraction
from ..testing.check import Map
from ..testing.observation import Problem, difference, find_problems, read_dropped, same
from ..testing.rates import Verdict
from ..testing.report import CheckResult, Report
from ..testing.statistics import MISS, SURE, binomial_detectable, binomial_draws, drop_fraction_deviation
from ..theory import drop_fraction_variance, expected_drop_fraction, untouched_probability

_MOST_CELLS_IN_PAIRS = 1024  # whose pairs are a million
_MOST_MASKS = 10**15  # nobody has more
_AXES = ("call", "sample", "channel")


@dataclass(frozen=True)
class _Outputs:
    """The outputs under test, as the checks see them."""

    one: Map
    rules: Convention
    share: float  # the error budget of one check
    problems: tuple[Problem | None, ...]  # the first of each call
    dropped: NDArray[np.bool_]  # (calls, samples, channels, cells), with 1 channel where they share masks

    @property
    def masks(self) -> int:
        """Their number."""
        return math.prod(self.dropped.shape[:3])

    @property
    def rows(self) -> NDArray[np.bool_]:
        """(masks, cells)."""
        return self.dropped.reshape(self.masks, -1)


def verify_black_box(
    x: Any,
    y: Any,
    drop_prob: Any,
    block_size: Any,
    *,
    data_format: str = "channels_first",
    convention: Convention | str = "paper",
    false_alarm: float = 1e-9,
) -> Report:
    """Judge outputs that an implementation drew with its own random numbers.

    Parameters
    ----------
    x : array_like of float16, bfloat16, float32 or float64
        The input, without zeros (a zero of y must mean that the cell is dropped); 4 or 5 dimensions.
    y : array_like
        The output in training, of x's shape; or with one more axis in front, the outputs of successive calls for the
        same x.
    drop_prob : float
        Nominal probability that a unit is dropped, in [0, 1].
    block_size : int or sequence of int
        Side of the block in cells, at least 1; one int per spatial axis, or one for all.
    data_format : {"channels_first", "channels_last", "NCHW", "NHWC", "NCDHW", "NDHWC"}
        Order of the axes of x.
    convention : Convention or str
        The choices to follow, or their name in `CONVENTIONS`.
    false_alarm : float
        Upper bound, from 1e-100 to below 1, of the probability that a correct implementation fails anything. It is
        split in advance over all checks that leave something to chance, whichever can be made.

    Returns
    -------
    Report
        As of `dropblock_ref.testing.check_backend`. A check that leaves something to chance says what it detects, or
        that more masks are needed, and how many. With ``drop_prob=0`` only whether y is x is judged.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or x has a zero, an infinity or a NaN. Whatever is wrong
        with y is a failure in the report.

    Examples
    --------
    >>> import numpy as np
    >>> from dropblock_ref import drop_block
    >>> from dropblock_ref.testing import make_input
    >>> from dropblock_ref.vectors import verify_black_box
    >>> x = make_input((8, 4, 12, 12), "float32", seed=0)
    >>> rng = np.random.default_rng(0)
    >>> y = np.stack([drop_block(x, 0.2, 3, rng=rng) for _ in range(4)])
    >>> verify_black_box(x, y, 0.2, 3).passed
    True
    """
    x, y = check_floating(x, "x"), as_array(y, "y")
    drop_prob = check_probability(drop_prob, "drop_prob")
    false_alarm, rules = check_false_alarm(false_alarm), find_convention(convention)
    layout = find_layout(data_format, x.shape, "x")
    spatial_shape = layout.spatial_shape(x.shape)
    place_block(block_size, spatial_shape, rules)
    if not x.size:
        raise ValueError(f"x must have samples to judge, got shape {x.shape}")
    check_readable(x)
    calls = y[None] if y.shape == x.shape else y
    failure = _shape_or_dtype(x, y, calls)
    results = [CheckResult("shape_and_dtype", "failed" if failure else "passed", failure or f"{y.dtype}, {y.shape}")]
    if calls.shape[1:] == x.shape and len(calls) and y.dtype.name in FLOATING_DTYPES:
        with np.errstate(all="ignore"):  # whatever is in y, it is judged
            if drop_prob == 0:
                results.append(_identity(x, calls))
            else:
                one, share = Map(spatial_shape, block_size, drop_prob), false_alarm / len(_BY_CHANCE)
                outputs = _look(x, calls, one, rules, data_format, share)
                results += [_judge_each(outputs, check, before) for check, before in _EACH.items()]
                results += [_judge(outputs, check, judge) for check, judge in _BY_CHANCE.items()]
    return Report("black box", rules.name, 0, tuple(results))


def _shape_or_dtype(x: NDArray[Any], y: NDArray[Any], calls: NDArray[Any]) -> str:
    if calls.shape[1:] != x.shape or not len(calls):
        return f"y has shape {y.shape}; expected that of x, {x.shape}, or several of them, {('calls', *x.shape)}"
    return "" if y.dtype == x.dtype else f"y has dtype {y.dtype}; expected that of x, {x.dtype}"


def _identity(x: NDArray[Any], calls: NDArray[Any]) -> CheckResult:
    for number, y in enumerate(calls):
        if not same(y, x):
            text = f"y must be x with drop_prob 0, and {difference(x, y)}\nin call {number} of {len(calls)}"
            return CheckResult("zero_drop_prob_identity", "failed", text)
    return CheckResult("zero_drop_prob_identity", "passed", f"{len(calls)} call{'s' * (len(calls) != 1)}")


def _look(
    x: NDArray[Any], calls: NDArray[Any], one: Map, rules: Convention, data_format: str, share: float
) -> _Outputs:
    """Read the masks, and find what is wrong with each call by itself."""
    layout = find_layout(data_format, x.shape, "x")
    problems, dropped = [], []
    for y in calls:
        found = find_problems(x, y, one.block_size, data_format, rules, drop_prob=one.drop_prob)
        problems.append(next((problem for problem in found if problem.check != "shape_and_dtype"), None))
        dropped.append(np.moveaxis(read_dropped(y, counted_axes(layout, rules)), layout.channel_axis, 1))
    masks = np.stack(dropped).reshape(*calls.shape[:2], -1, math.prod(one.spatial_shape))
    return _Outputs(one, rules, share, tuple(problems), masks[:, :, :1] if rules.shared_channels else masks)


# The checks that leave nothing to chance, and those after whose failure they can say nothing.
_EACH = {
    "legal_blocks": ("channel_sharing",),
    "scale": ("channel_sharing", "legal_blocks"),
    "values": ("channel_sharing", "legal_blocks"),
}


def _judge_each(outputs: _Outputs, check: str, before: tuple[str, ...]) -> CheckResult:
    """Whether each call by itself is right."""
    if wrong := _first_problem(outputs, check):
        return CheckResult(check, "failed", wrong, outputs.masks)
    left_out = sum(problem is not None and problem.check in before for problem in outputs.problems)
    calls = len(outputs.problems)
    if left_out == calls:
        return CheckResult(check, "not_applicable", f"no call can be judged, see {' and '.join(before)}")
    seen = f"; {left_out} of {calls} calls cannot be judged, see {' and '.join(before)}" if left_out else ""
    masks = outputs.masks // calls * (calls - left_out)
    return CheckResult(check, "passed", f"{masks} masks{seen}", masks)


def _first_problem(outputs: _Outputs, check: str) -> str:
    found = [(call, one) for call, one in enumerate(outputs.problems) if one is not None and one.check == check]
    if not found:
        return ""
    call, problem = found[0]
    where = f"call {call}; {len(found)} of {len(outputs.problems)} calls are wrong"
    return f"{problem.text}\non {outputs.one}, in {where}"


def _judge(outputs: _Outputs, check: str, judge: Callable[[_Outputs], Verdict]) -> CheckResult:
    """The result of a check that leaves something to chance."""
    verdict = judge(outputs)
    if verdict.idle:
        return CheckResult(check, "not_applicable", verdict.idle)
    status, message = ("failed", verdict.wrong) if verdict.wrong else ("passed", verdict.told)
    return CheckResult(
        check, status, message, outputs.masks, outputs.share if verdict.detects else 0.0, verdict.detects
    )


def _merge(verdicts: Iterable[Verdict]) -> Verdict:
    """Several comparisons of one check; it says nothing only where none of them does."""
    made = list(verdicts)
    idle = "; ".join(verdict.idle for verdict in made if verdict.idle)
    detects = dict.fromkeys(verdict.detects for verdict in made if not verdict.idle)
    wrong = next((verdict.wrong for verdict in made if verdict.wrong), "")
    return Verdict("; ".join(detects), wrong, "" if detects else idle, idle)


def _channel_sharing(outputs: _Outputs) -> Verdict:
    """Samples never share masks, and channels only where the convention says so."""
    if wrong := _first_problem(outputs, "channel_sharing"):
        return Verdict("", wrong)
    if outputs.rules.shared_channels:
        of_samples = _repeated(outputs, "sample", outputs.share)
        return replace(of_samples, idle="", told=f"channels share masks; {of_samples.idle}".removesuffix("; "))
    return _merge(_repeated(outputs, axis, outputs.share / 2) for axis in ("sample", "channel"))


def _stream_goes_on(outputs: _Outputs) -> Verdict:
    """Every call draws anew."""
    return _repeated(outputs, "call", outputs.share)


def _repeated(outputs: _Outputs, axis: str, budget: float) -> Verdict:
    """Whether two calls, samples or channels have all their masks in common, which chance does not explain."""
    groups = np.moveaxis(outputs.dropped, _AXES.index(axis), 0)
    if len(groups) == 1:
        return Verdict("", idle=f"there is one {axis}")
    masks, pairs = outputs.masks // len(groups), len(groups) * (len(groups) - 1) // 2
    chance = pairs * rates.coincidence_bound(outputs.one, outputs.rules, masks)
    if chance > budget:
        of_one = rates.coincidence_bound(outputs.one, outputs.rules, 1)
        needed = math.ceil(math.log(budget / pairs) / math.log(of_one)) if of_one < 1 else math.inf
        text = f"{needed} masks per {axis} are needed to find {axis}s that share their masks, there are {masks}"
        return Verdict("", idle=text)
    wrong = ""
    seen: dict[bytes, int] = {}
    for number, group in enumerate(groups):
        first = seen.setdefault(group.tobytes(), number)
        if first != number:
            nothing = "" if group.any() else ": nothing is dropped"
            wrong = (
                f"every {axis} must draw masks of its own, but {axis}s {first} and {number} have the same {masks} "
                f"masks (by chance with probability at most {chance:.1e}){nothing}\non {outputs.one}"
            )
            break
    return Verdict(f"any two {axis}s that share their masks ({outputs.one})", wrong)


def _map_rate(outputs: _Outputs) -> Verdict:
    """The fraction of dropped cells is the expected one."""
    test, masks, dropped = _RateTest(outputs.one, outputs.rules, outputs.share / 2), outputs.masks, outputs.dropped
    calls, where = len(dropped), f"on {outputs.one}"
    seen, error = float(dropped.mean()), test.detectable(masks)
    nothing = untouched_probability(*_arguments(outputs.one), convention=outputs.rules) ** masks
    everything = calls * rates.all_dropped_bound(outputs.one, outputs.rules, masks // calls)
    detects = [f"{rates.percent(error)} error of the map's rate ({outputs.one})"] if error < math.inf else []
    detects += ["an output that drops nothing"] if nothing <= outputs.share / 4 else []
    detects += ["a call that drops everything"] if everything <= outputs.share / 4 else []
    too_few = f"about {test.needed():.2g} masks are needed to find 100 % error of the map's rate, there are {masks}"
    if not detects:
        return Verdict("", idle=too_few)
    told = f"{seen:.6f} dropped, {test.expected:.6f} expected ({outputs.one})"
    wrong = ""
    if abs(seen - test.expected) > test.alarm(masks):
        wrong = (
            f"{test.expected:.6f} of the cells must be dropped on average, and over {masks} masks {seen:.6f} are; a "
            f"correct implementation stays within {test.alarm(masks):.6f}\n{where}"
        )
    elif not dropped.any() and nothing <= outputs.share / 4:
        wrong = f"no cell is dropped in {masks} masks, by chance with probability {nothing:.1e}\n{where}"
    elif dropped.all(axis=(1, 2, 3)).any() and everything <= outputs.share / 4:
        call = int(np.argmax(dropped.all(axis=(1, 2, 3))))
        wrong = f"all cells are dropped in call {call}, by chance with probability at most {everything:.1e}\n{where}"
    return Verdict("; ".join(detects), wrong, told=told if error < math.inf else f"{told}; {too_few}")


class _RateTest:
    """The fraction of dropped cells against its expectation, and what so many masks detect."""

    def __init__(self, one: Map, rules: Convention, budget: float) -> None:
        self.one, self.rules, self.budget = one, rules, budget
        self.expected = expected_drop_fraction(*_arguments(one), convention=rules)
        self.variance = drop_fraction_variance(*_arguments(one), convention=rules)
        self.part = largest_block_fraction(one.block_size, one.spatial_shape, rules)
        self.spreads: dict[float, float] = {}

    def alarm(self, masks: int) -> float:
        """A larger deviation has a probability of at most the budget."""
        return drop_fraction_deviation(masks, self.expected, self.variance, self.part, self.budget, sides=2)

    def finds(self, masks: int, fraction: float) -> bool:
        """Whether a gamma that drops this fraction is missed with probability MISS at most."""
        if fraction not in self.spreads:
            block = place_block(self.one.block_size, self.one.spatial_shape, self.rules)
            other = calibrated_gamma(fraction, block)
            where = self.one.block_size, self.one.spatial_shape
            self.spreads[fraction] = drop_fraction_variance(None, *where, gamma=other, convention=self.rules)
        missed = drop_fraction_deviation(masks, fraction, self.spreads[fraction], self.part, MISS)
        return abs(fraction - self.expected) > self.alarm(masks) + missed

    def detectable(self, masks: int) -> float:
        """The smallest relative error, too much or too little, found; infinite where even the largest can be missed."""
        errors = []
        for extreme in self._extremes():
            if not self.finds(masks, extreme):
                return math.inf
            missed, found = self.expected, extreme
            for _ in range(30):
                middle = (missed + found) / 2
                missed, found = (missed, middle) if self.finds(masks, middle) else (middle, found)
            errors.append(abs(found - self.expected) / self.expected)
        return max(errors)

    def needed(self) -> int:
        """The number of masks with which dropping nothing, and twice as much or all, is found."""
        masks = 1
        while masks < _MOST_MASKS and not all(
            self.finds(masks, min(extreme, 2 * self.expected)) for extreme in self._extremes()
        ):
            masks += max(1, masks // 16)
        return masks

    def _extremes(self) -> tuple[float, ...]:
        return (0.0, 1.0) if self.expected < SURE else (0.0,)


def _cell_rates(outputs: _Outputs) -> Verdict:
    """Every single cell is dropped with its exact probability."""
    rarest = float(rates.rates_of(outputs.one, outputs.rules).min())
    counts: NDArray[np.int64] = np.count_nonzero(outputs.rows, axis=0)
    if idle := _too_few(outputs.masks, "masks", rarest, outputs.share / counts.size):
        return Verdict("", idle=idle)
    return _on(outputs, rates.judge_cells(outputs.one, outputs.rules, counts, outputs.masks, outputs.share))


def _pairs_of_map(outputs: _Outputs, *, overlapping: bool) -> Verdict:
    if idle := _too_large(outputs):
        return Verdict("", idle=idle)
    probability, both = rates.joint_probability(outputs.one, outputs.rules)
    chosen = probability[np.triu((both > 0) == overlapping, k=1)]
    if not chosen.size:
        return Verdict("", idle=f"there are no two cells that {'one' if overlapping else 'no'} block covers")
    if idle := _too_few(outputs.masks, "masks", float(chosen.min()), outputs.share / chosen.size):
        return Verdict("", idle=idle)
    together = rates.count_together(outputs.rows, outputs.rows)
    how = outputs.one, outputs.rules, together, outputs.masks, outputs.share
    return _on(outputs, rates.judge_pairs_of_map(*how, overlapping=overlapping))


def _independence(outputs: _Outputs, axis: str) -> Verdict:
    """The masks of neighbouring calls, samples or channels are independent."""
    groups = np.moveaxis(outputs.dropped, _AXES.index(axis), 0)
    if axis == "channel" and outputs.rules.shared_channels:
        return Verdict("", idle=f"channels share masks under convention {outputs.rules.name!r}")
    if len(groups) == 1:
        return Verdict("", idle=f"there is one {axis}")
    if idle := _too_large(outputs):
        return Verdict("", idle=idle)
    rows = groups.reshape(len(groups), -1, 1, groups.shape[-1])
    rarest = float(rates.rates_of(outputs.one, outputs.rules).min()) ** 2

    def compare(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Verdict:
        budget, draws = outputs.share / 2, math.prod(first.shape[:2])
        if idle := _too_few(draws, f"pairs of neighbouring {axis}s", rarest, budget / rows.shape[-1] ** 2):
            return Verdict("", idle=idle)
        a, b = first.reshape(draws, 1, -1), second.reshape(draws, 1, -1)
        what = f"neighbouring {axis}s"
        return _on(outputs, rates.judge_independence(outputs.one, outputs.rules, a, b, budget, what))

    # Disjoint pairs, so that they are independent draws; in two alignments, so that every group has been a first one.
    even, odd = len(groups) // 2 * 2, (len(groups) - 1) // 2 * 2
    verdict = compare(rows[0:even:2], rows[1:even:2])
    return verdict if verdict.idle or not odd else _merge([verdict, compare(rows[1:odd:2], rows[2 : odd + 1 : 2])])


def _too_large(outputs: _Outputs) -> str:
    cells = outputs.dropped.shape[-1]
    if cells <= _MOST_CELLS_IN_PAIRS:
        return ""
    return f"pairs of cells are compared on maps of up to {_MOST_CELLS_IN_PAIRS} cells, this has {cells}"


def _too_few(draws: int, what: str, probability: float, each: float) -> str:
    """What is said where even a cell, or a pair, that is dropped never or twice as often can be missed."""
    if probability > 0 and binomial_detectable(draws, min(probability, SURE), each) <= 1:
        return ""
    common = min(max(probability, 1e-6), SURE)  # what is rarer needs more in proportion
    factor = common / probability if probability > 0 else math.inf
    needed = binomial_draws(common, 1.0, each) * max(factor, 1.0)
    return f"about {needed:.2g} {what} are needed to find 100 % error of the rarest rate, there are {draws}"


def _on(outputs: _Outputs, verdict: Verdict) -> Verdict:
    return replace(verdict, wrong=f"{verdict.wrong}\non {outputs.one}") if verdict.wrong else verdict


def _arguments(one: Map) -> tuple[float, Any, tuple[int, ...]]:
    return one.drop_prob, one.block_size, one.spatial_shape


# The checks that leave something to chance: each has an equal share of the error budget, whether it can be made or not.
_BY_CHANCE: dict[str, Callable[[_Outputs], Verdict]] = {
    "channel_sharing": _channel_sharing,
    "stream_goes_on": _stream_goes_on,
    "map_rate": _map_rate,
    "cell_rates": _cell_rates,
    "overlapping_cells": partial(_pairs_of_map, overlapping=True),
    "distant_cells": partial(_pairs_of_map, overlapping=False),
    "channel_independence": partial(_independence, axis="channel"),
    "sample_independence": partial(_independence, axis="sample"),
    "call_independence": partial(_independence, axis="call"),
}
