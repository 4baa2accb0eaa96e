"""Outputs that another program drew with its own random numbers: each of them judged, and how often what is dropped.

What the oracle does with a backend (`dropblock_ref.testing`) is done with given outputs, as far as their number allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import FLOATING_DTYPES, as_array, check_floating, check_probability
from ..call import counted_axes, find_layout, place_block
from ..convention import Convention, find_convention
from ..testing import judge
from ..testing.assertions import check_false_alarm, check_readable
from ..testing.judge import Law, Tally, Verdict
from ..testing.observation import Fault, find_problems, one_of_each, read_dropped
from ..testing.report import CheckResult, Report
from ..testing.settings import Map


@dataclass(frozen=True)
class _Outputs:
    """The outputs under test, as the checks see them."""

    law: Law
    share: float  # the error budget of one check
    faults: tuple[tuple[Fault, ...], ...]  # of each call
    dropped: NDArray[np.bool_]  # (calls, samples, channels, cells), with 1 channel where they share masks
    tally: Tally
    dependent: Fault | None  # why rates cannot be judged

    @property
    def masks(self) -> int:
        """Their number."""
        return math.prod(self.dropped.shape[:3])


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
                law = Law(Map(spatial_shape, block_size, drop_prob), rules)
                outputs = _look(x, calls, law, data_format, false_alarm / (1 + len(_BY_CHANCE)))
                results += [_judge_each(outputs, check) for check in _EACH]
                results += [_judge(outputs, check, question) for check, question in _BY_CHANCE.items()]
    return Report("black box", rules.name, 0, tuple(results))


def _shape_or_dtype(x: NDArray[Any], y: NDArray[Any], calls: NDArray[Any]) -> str:
    if calls.shape[1:] != x.shape or not len(calls):
        return f"y has shape {y.shape}; expected that of x, {x.shape}, or several of them, {('calls', *x.shape)}"
    return "" if y.dtype == x.dtype else f"y has dtype {y.dtype}; expected that of x, {x.dtype}"


def _identity(x: NDArray[Any], calls: NDArray[Any]) -> CheckResult:
    check = "zero_drop_prob_identity"
    for number, y in enumerate(calls):
        fault = judge.judge_identity(x, y, check, "y must be x with drop_prob 0").fault
        if fault is not None:
            return CheckResult(check, "failed", f"{fault.text}\nin call {number} of {len(calls)}")
    return CheckResult(check, "passed", f"{len(calls)} call{'s' * (len(calls) != 1)}")


def _look(x: NDArray[Any], calls: NDArray[Any], law: Law, data_format: str, share: float) -> _Outputs:
    """Read the masks, find what is wrong with each call by itself, and count."""
    layout = find_layout(data_format, x.shape, "x")
    faults, masks = [], []
    tally = Tally(law, pairs=law.cells <= judge.MOST_CELLS_IN_PAIRS)
    for y in calls:
        setting = law.setting
        found = find_problems(x, y, setting.block_size, data_format, law.rules, drop_prob=setting.drop_prob)
        faults.append(tuple(fault for fault in found if fault.check != "shape_and_dtype"))
        own = one_of_each(read_dropped(y, counted_axes(layout, law.rules)), law.rules, layout)
        dropped = np.moveaxis(own, layout.channel_axis, 1)
        masks.append(dropped.reshape(*dropped.shape[:2], law.cells))
        tally.add(masks[-1])
    dependent = judge.find_dependent_draws(tally, share)
    return _Outputs(law, share, tuple(faults), np.stack(masks), tally, dependent)


# The checks that leave nothing to chance.
_EACH = ("legal_blocks", "scale", "values")


def _judge_each(outputs: _Outputs, check: str) -> CheckResult:
    """Whether each call by itself is right."""
    text = _first_fault(outputs, check)
    return CheckResult(check, "failed" if text else "passed", text or f"{outputs.masks} masks", outputs.masks)


def _first_fault(outputs: _Outputs, check: str) -> str:
    found = [(call, one) for call, faults in enumerate(outputs.faults) for one in faults if one.check == check]
    if not found:
        return ""
    call, fault = found[0]
    wrong = len({call for call, _ in found})
    where = f"call {call}; {wrong} of {len(outputs.faults)} calls {'are' if wrong > 1 else 'is'} wrong"
    return f"{fault.text}\non {outputs.law}, in {where}"


def _judge(outputs: _Outputs, check: str, question: Callable[[_Outputs], Verdict]) -> CheckResult:
    """The result of a check that leaves something to chance."""
    if check in _RATES and outputs.dependent is not None:
        text = f"masks are not drawn as they must be, see {outputs.dependent.check}"
        return CheckResult(check, "not_judged", text)
    verdict = question(outputs)
    if verdict.fault is not None:
        status, text = "failed", f"{verdict.fault.text}\non {outputs.law}"
    else:
        status, text = ("not_judged", verdict.not_judged) if verdict.not_judged else ("passed", verdict.seen)
    return CheckResult(check, status, text, outputs.masks, verdict.false_alarm, verdict.detects)


def _channel_sharing(outputs: _Outputs) -> Verdict:
    """Samples, and channels, share masks only where the convention says so."""
    if text := _first_fault(outputs, "channel_sharing"):
        return Verdict(Fault("channel_sharing", text))
    rules = outputs.law.rules
    shared = {"sample": rules.shared_samples, "channel": rules.shared_channels}
    own = [axis for axis in shared if not shared[axis]]
    told = " and ".join(f"{axis}s" for axis in shared if shared[axis]) + " share masks"
    if not own:
        return Verdict(seen=told)
    verdict = judge.merge([_shared(outputs, axis, outputs.share / len(own)) for axis in own])
    if verdict.not_judged and len(own) == 1:
        return Verdict(seen=f"{told}; {verdict.not_judged}")
    return verdict


def _shared(outputs: _Outputs, axis: str, budget: float) -> Verdict:
    """Whether two calls, samples or channels have all their masks in common."""
    groups = np.moveaxis(outputs.dropped, ("call", "sample", "channel").index(axis), 0)
    groups = groups.reshape(len(groups), -1, outputs.law.cells)
    check = "stream_goes_on" if axis == "call" else "channel_sharing"
    return judge.judge_repeats(outputs.law, groups, budget, axis, check)


def _stream_goes_on(outputs: _Outputs) -> Verdict:
    """Every call draws anew, and no run of masks comes again."""
    repeats = outputs.tally.repetition.verdict(outputs.share / 2)
    return judge.merge([_shared(outputs, "call", outputs.share / 2), repeats])


def _map_rate(outputs: _Outputs) -> Verdict:
    """The fraction of dropped cells is the expected one."""
    law, tally, masks = outputs.law, outputs.tally, outputs.masks
    calls: NDArray[np.bool_] = np.all(outputs.dropped, axis=(1, 2, 3))
    rate = judge.judge_rate(law, int(tally.counts.sum()), masks, outputs.share / 2)
    return judge.merge([rate, judge.judge_all_dropped(law, calls, masks // calls.size, outputs.share / 2)])


def _cell_rates(outputs: _Outputs) -> Verdict:
    """Every single cell is dropped with its exact probability."""
    return judge.judge_cells(outputs.law, outputs.tally.counts, outputs.masks, outputs.share)


def _pairs(outputs: _Outputs, *, overlapping: bool) -> Verdict:
    tally = outputs.tally
    return judge.judge_pairs(outputs.law, tally.together, tally.in_pairs, outputs.share, overlapping=overlapping)


def _independence(axis: str) -> Callable[[_Outputs], Verdict]:
    """The masks of the calls, samples or channels are independent."""
    return lambda outputs: judge.judge_independence(outputs.tally, axis, outputs.share)


# The checks that leave something to chance: each has an equal share of the error budget, whether it can be made or not;
# one more is for whether the masks are drawn so that rates can be judged.
_BY_CHANCE: dict[str, Callable[[_Outputs], Verdict]] = {
    "channel_sharing": _channel_sharing,
    "stream_goes_on": _stream_goes_on,
    "channel_independence": _independence("channel"),
    "sample_independence": _independence("sample"),
    "call_independence": _independence("call"),
    "batch_rates": lambda outputs: judge.judge_batch(outputs.tally, outputs.share),
    "call_spread": lambda outputs: judge.judge_spread(outputs.tally, outputs.share),
    "map_rate": _map_rate,
    "cell_rates": _cell_rates,
    "overlapping_cells": lambda outputs: _pairs(outputs, overlapping=True),
    "distant_cells": lambda outputs: _pairs(outputs, overlapping=False),
}
_RATES = ("map_rate", "cell_rates", "overlapping_cells", "distant_cells")
