"""Every call of a backend goes through here, whoever makes it, and is held to what any call must keep.

x, the cotangent and the seeds are as they were, an output is as it was when the next call ends, shape and dtype are
right, evaluation and drop_prob 0 give x, and what one output or derivative can show is judged: on small ones always, on
large ones at the first of their kind. This costs no call, and most mistakes break one of these. A fault bears the name
of the check whose property it breaks.
"""

from __future__ import annotations

import time
import unittest
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import FLOATING_DTYPES, describe, describe_error
from ..call import DATA_FORMATS, Layout, accepts_block, counted_axes, find_layout, mask_shape
from ..stages import scale
from .backend import Backend
from .judge import judge_identity
from .observation import (
    MAX_ULPS,
    Fault,
    coarser,
    difference,
    find_dtype,
    find_problems,
    map_picture,
    read_dropped,
    same,
    ulp,
)
from .settings import Map

_ALWAYS_JUDGED = 5_000  # cells of an output that is judged in every call, and not only at the first of its kind
LARGE_MAP = 2**16  # cells beyond which a count leaves the range of float16

Array = NDArray[Any]


class Refused(Exception):  # noqa: N818  (an outcome, not an error)
    """The backend raised something."""


class Unreadable(Exception):  # noqa: N818  (an outcome, not an error)
    """The backend returned something of which nothing can be judged; `check` is the name of what it breaks."""

    def __init__(self, message: str, check: str) -> None:
        super().__init__(message)
        self.check = check


@dataclass(frozen=True)
class _Kept:
    """An array, what it must stay, the call that it is from, and the check of that."""

    array: Array
    copy: Array
    call: str
    check: str = "output_unmodified"


def is_plain(x: Array) -> bool:
    """Whether an array is one of its own, whose copy is as good."""
    return x.flags.c_contiguous and x.flags.writeable and x.base is None


@dataclass
class Calls:
    """All calls of one backend in one run."""

    backend: Backend
    count: int = 0
    seconds: float = 0.0
    unjudged: int = 0  # derivatives that are not those of a right output, beside a wrong one
    signatures: set[tuple[Any, ...]] = field(default_factory=set)
    found: list[Fault] = field(default_factory=list)
    # The settings that checks of no special kind try, whatever they are, and whether they have one sample only.
    ordinary: frozenset[tuple[tuple[int, ...], Any]] = frozenset()
    one_sample: bool = False
    # The arrays of the last call, which a later one may change: outputs and what was given.
    _kept: list[_Kept] = field(default_factory=list)
    # What each seed has drawn for each x and setting: the hash of a mask, and the call.
    _drawn: dict[tuple[Any, ...], tuple[int, str]] = field(default_factory=dict)

    def take(self) -> list[Fault]:
        """What has been found since the last time."""
        found, self.found = self.found, []
        return found

    def forward(
        self, x: Array, one: Map, *, training: bool, seed: int | None, call: str, readable: bool = True
    ) -> Array:
        """The output; `readable` where x has no zeros, infinities and NaN, so that y shows the mask."""
        given, before = self._give(x)
        how = {"training": training, "seed": seed if self.backend.reseeds else None}
        y = self._call(partial(self.backend.forward, given, one.drop_prob, one.block_size, **how), call)
        note = _Notes(self, before, one, call, training=training, memory=x)
        y = self._keep(self._require(y, "output", before, note), call, (given, before), x.dtype.name)
        self._compare(x, given, before, "x", note)
        first = self._enter("forward", before, one, training)
        if first or x.size <= _ALWAYS_JUDGED:
            self._judge(y, note, readable)
            if training and readable and how["seed"] is not None and is_plain(x):
                self._compare_draw(y, note, how["seed"], f"call {self.count}")
        return y

    def vjp(
        self,
        x: Array,
        cotangent: Array,
        one: Map,
        *,
        training: bool,
        seed: int | None,
        call: str,
        readable: bool = True,
    ) -> tuple[Array, Array]:
        """The output and the derivative."""
        assert self.backend.vjp is not None  # noqa: S101  (for the type checker; a check asks before)
        (given, before), (above, above_before) = self._give(x), self._give(cotangent)
        how = {"training": training, "seed": seed if self.backend.reseeds else None}
        pair = self._call(partial(self.backend.vjp, given, above, one.drop_prob, one.block_size, **how), call)
        note = _Notes(self, before, one, call, training=training, memory=cotangent if is_plain(x) else x)
        if not isinstance(pair, tuple) or len(pair) != 2:
            self._unreadable(f"vjp must return (y, x_bar), and returned {describe(pair)}", note)
        output = self._require(pair[0], "output of vjp", before, note)
        derivative = self._require(pair[1], "derivative", before, note, dtype=x.dtype)
        if np.may_share_memory(output, derivative) and output.size:
            self._unreadable("the output and the derivative must not share memory", note, "output_unmodified")
        y, x_bar = self._keep(output, call, (given, before), x.dtype.name), derivative.copy()
        self._kept.append(_Kept(above, above_before, call, "input_unmodified"))
        if not np.may_share_memory(derivative, given) and not np.may_share_memory(derivative, above):
            self._kept.append(_Kept(derivative, x_bar, call))
        self._compare(x, given, before, "x", note)
        self._compare(cotangent, above, above_before, "the cotangent", note)
        self._enter("vjp", before, one, training)
        earlier = len(self.found)
        self._judge(y, note, readable)
        sound = len(self.found) == earlier
        if sound and training and readable and how["seed"] is not None and is_plain(x) and x.size <= _ALWAYS_JUDGED:
            self._compare_draw(y, note, how["seed"], f"call {self.count}, of vjp,")
        if readable or not training:
            # An output that is wrong does not tell the factor; a derivative that agrees with it is right all the same.
            text = self._judge_derivative(above_before, y, x_bar, note)
            if text and sound:
                note.enter("gradient", text)
            elif text:
                self.unjudged += 1
        return y, x_bar

    def apply(self, x: Array, seeds: NDArray[np.bool_], one: Map, *, call: str) -> Array:
        """The output for injected seeds."""
        assert self.backend.apply is not None  # noqa: S101  (for the type checker; a check asks before)
        (given, before), (injected, seeds_before) = self._give(x), self._give(seeds)
        y = self._call(partial(self.backend.apply, given, injected, one.block_size), call)
        note = _Notes(self, before, one, call, training=True, memory=x)
        y = self._keep(self._require(y, "output of apply", before, note), call, (given, before), x.dtype.name)
        self._compare(x, given, before, "x", note)
        self._compare(seeds, injected, seeds_before, "the array of seeds", note)
        self._enter("apply", before, one, training=True)
        return y

    def draw_seeds(self, shape: tuple[int, ...], dtype: str, one: Map, *, seed: int, call: str) -> Any:
        """What the backend says that forward draws."""
        assert self.backend.draw_seeds is not None  # noqa: S101  (for the type checker; a check asks before)
        return self._call(
            partial(self.backend.draw_seeds, shape, dtype, one.drop_prob, one.block_size, seed=seed), call
        )

    def refuses(self, x: Array, drop_prob: Any, block_size: Any) -> bool:
        """Whether forward raises an exception on an argument; one that skips a test or ends the program is none."""
        return self.attempt(x, drop_prob, block_size) is None

    def attempt(self, x: Array, drop_prob: Any, block_size: Any, *, seed: int = 0) -> Any:
        """What forward returns for arguments that it may refuse, not judged; None where it raises an exception."""
        how = {"training": True, "seed": seed if self.backend.reseeds else None}
        self._kept = []
        try:
            y = self._call(partial(self.backend.forward, x.copy(), drop_prob, block_size, **how), "")
        except Refused as error:
            cause = error.__cause__
            return None if isinstance(cause, Exception) and not isinstance(cause, unittest.SkipTest) else ()
        return () if y is None else y

    def _call(self, function: Callable[[], Any], call: str) -> Any:
        """Its warnings are its own affair; what it raises to end the program or to skip a test is no verdict."""
        begin = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return function()
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # SystemExit, and what test runners skip with, are outcomes like any other
            raise Refused(_refusal(error) + (f"\nreproduce: {call}" if call else "")) from error
        finally:
            self.count += 1
            self.seconds += time.perf_counter() - begin

    def _enter(self, function: str, x: Array, one: Map, training: bool) -> bool:
        """Whether a call is the first of its kind."""
        signature = (function, x.shape, x.dtype.name, one.block_size, training, one.drop_prob)
        first = signature not in self.signatures
        self.signatures.add(signature)
        return first

    def _require(self, y: Any, name: str, x: Array, note: _Notes, *, dtype: np.dtype[Any] | None = None) -> Array:
        """An array of x's shape; where its dtype is wrong it can still be judged."""
        if not isinstance(y, np.ndarray) or isinstance(y, np.ma.MaskedArray) or y.dtype.name not in FLOATING_DTYPES:
            kind = type(y).__name__ + (f" of dtype {y.dtype}" if isinstance(y, np.ndarray) else "")
            advice = ": convert it, as in y.detach().cpu().numpy()" if not isinstance(y, np.ndarray) else ""
            self._unreadable(
                f"the {name} must be a NumPy array of {', '.join(FLOATING_DTYPES)}, and is a {kind}{advice}", note
            )
        if y.shape != x.shape:
            other = "" if sorted(y.shape) != sorted(x.shape) else "; are its axes in the order that data_format says?"
            self._unreadable(f"the {name} has shape {y.shape}; expected that of x, {x.shape}{other}", note)
        declared = self.backend.output_dtype
        expected = x.dtype if dtype is not None or declared is None else find_dtype(declared)
        if y.dtype != expected:
            that = "that of x" if declared is None or dtype is not None else "output_dtype"
            note.enter("shape_and_dtype", f"the {name} has dtype {y.dtype}; expected {that}, {expected}")
        return np.asarray(y)

    def _unreadable(self, text: str, note: _Notes, check: str = "shape_and_dtype") -> None:
        check = check if note.x.size else "empty_batch"
        note.enter(check, text)
        self._kept = []
        raise Unreadable(note.complete(text), check)

    def _give(self, array: Array) -> tuple[Array, Array]:
        """What the backend gets, an array of its own where memory order does not matter; and what it must stay."""
        return array.copy() if is_plain(array) else array.view(), array.copy()

    def _keep(self, y: Array, call: str, given: tuple[Array, Array], dtype: str) -> Array:
        """A copy of the output, after a look at the arrays of the call before, which this one may have changed."""
        copy = y.copy()
        for kept in self._kept:
            if not same(kept.array, kept.copy):
                changed = difference(kept.copy, kept.array)
                if kept.check == "output_unmodified":
                    text = (
                        f"an output must stay as it is, but a later call changes it (they share memory): {changed}\n"
                        f"reproduce: {kept.call.replace('; ', '; first = ')}; copy = first.copy(); {call}; "
                        "(first == copy).all()"
                    )
                else:
                    text = (
                        f"what is given must not be modified, but a later call changes what an earlier one was given: "
                        f"{changed}\nreproduce: {kept.call}; given = x; copy = x.copy(); {call}; (given == copy).all()"
                    )
                self.found.append(Fault(kept.check, text, dtype))
        self._kept = [_Kept(*given, call, "input_unmodified")]
        if not np.may_share_memory(y, given[0]):
            self._kept.append(_Kept(y, copy, call))
        return copy

    def _compare(self, array: Array, given: Array, before: Array, name: str, note: _Notes) -> None:
        """What was given is as it was; if not, it is put right again."""
        if given.shape == before.shape and given.dtype == before.dtype and same(given, before):
            return
        changed = difference(before, given) if given.shape == before.shape else f"has shape {given.shape}"
        note.enter("input_unmodified", f"{name} must not be modified, and {changed} afterwards")
        self._kept = [kept for kept in self._kept if kept.array is not given]
        if array.flags.writeable:
            array[...] = before

    def _compare_draw(self, y: Array, note: _Notes, seed: int, name: str) -> None:
        """One seed draws one mask for one x, in the first call as in any later one, of forward and of vjp."""
        x, one = note.x, note.one
        key = (zlib.crc32(x.tobytes()), x.shape, x.dtype.name, one, seed)
        axes = counted_axes(find_layout(self.backend.data_format, x.shape, "x"), self.backend.rules)
        drawn = zlib.crc32(np.packbits(read_dropped(y, axes)).tobytes())
        earlier, other = self._drawn.setdefault(key, (drawn, name))
        if earlier != drawn:
            note.enter(
                "same_seed_same_output",
                "two calls with the same seed and the same x must draw the same mask, whatever was called between, but "
                f"{name} of the run draws another one than {other}",
            )

    def _judge(self, y: Array, note: _Notes, readable: bool) -> None:
        """What one output shows; of an x with zeros, infinities or NaN only whether it is x."""
        x, one, backend = note.x, note.one, self.backend
        if not note.training or one.drop_prob == 0:
            self._judge_identity(x, y, "output", "x", "evaluation_identity", note)
            return
        if not readable:
            return
        for problem in find_problems(x, y, one.block_size, backend.data_format, backend.rules, drop_prob=one.drop_prob):
            if problem.check != "shape_and_dtype":
                note.enter(problem.check, problem.text + self._other_layout(problem.check, y, note))

    def _judge_identity(self, x: Array, y: Array, name: str, what: str, check: str, note: _Notes) -> None:
        """y is x, exactly, whatever the dtype; or at drop_prob 0 its product with a scale that has an epsilon."""
        mode, one = "in evaluation", 1.0
        if note.training:
            mode, one = "with drop_prob 0", self._scale_of_everything(x)
            check = "zero_drop_prob_identity" if check == "evaluation_identity" else check
        fault = judge_identity(x, y, check, f"the {name} must be {what} {mode}", scale=one).fault
        if fault is not None:
            note.enter(fault.check, fault.text)

    def _scale_of_everything(self, x: Array) -> float:
        """What the convention counts where every cell is kept: 1, or a little less where it has an epsilon."""
        rules, data_format = self.backend.rules, self.backend.data_format
        if not (rules.epsilon and x.size):
            return 1.0
        kept = np.ones(mask_shape(x.shape, find_layout(data_format, x.shape, "x"), rules), dtype=np.bool_)
        return float(np.max(scale(kept, drop_prob=0.0, data_format=data_format, convention=rules)))

    def _judge_derivative(self, cotangent: Array, y: Array, x_bar: Array, note: _Notes) -> str:
        """What is wrong with a derivative in training; in evaluation it is entered here."""
        if not note.training or note.one.drop_prob == 0:
            self._judge_identity(cotangent, x_bar, "derivative", "the cotangent", "evaluation_gradient", note)
            return ""
        layout = find_layout(self.backend.data_format, note.x.shape, "x")
        axes = counted_axes(layout, self.backend.rules)
        dropped = read_dropped(y, axes)
        return find_derivative_problem(note.x, cotangent, y, x_bar, dropped, layout)

    def _other_layout(self, check: str, y: Array, note: _Notes) -> str:
        """Whether the blocks would be right, were the axes in another order."""
        backend, x = self.backend, note.x
        if check not in {"legal_blocks", "channel_sharing"}:
            return ""
        other = "channels_last" if DATA_FORMATS[backend.data_format][0] else "channels_first"
        shape = find_layout(other, x.shape, "x").spatial_shape(x.shape)
        if not accepts_block(note.one.block_size, shape, backend.rules):
            return ""
        if any(found.check == check for found in find_problems(x, y, note.one.block_size, other, backend.rules)):
            return ""
        return f"\nit would be right for data_format {other!r}: is data_format {backend.data_format!r} what x has?"


@dataclass
class _Notes:
    """A call whose faults are entered."""

    calls: Calls
    x: Array  # as it was given
    one: Map
    call: str
    training: bool
    memory: Array  # which may be in another order

    def complete(self, text: str) -> str:
        return f"{text}\non {self.one}, dtype {self.x.dtype}\nreproduce: {self.call}"

    def enter(self, check: str, text: str) -> None:
        special = self.kind() if check in {"channel_sharing", "legal_blocks", "scale", "values"} else None
        if check == "shape_and_dtype" and not self.memory.flags.c_contiguous:
            special = "non_contiguous_input"
        self.calls.found.append(Fault(check, self.complete(text), self.x.dtype.name, special))

    def kind(self) -> str | None:
        """The check of what is special in this call; its fault may show there only."""
        shape, sides = self.one.spatial_shape, self.one.sides
        cells = int(np.prod(shape))
        other = (shape, self.one.block_size) not in self.calls.ordinary and cells < LARGE_MAP
        for special, name in (
            (not is_plain(self.memory), "non_contiguous_input"),
            (self.one.drop_prob == 1, "drop_prob_one"),
            (cells >= LARGE_MAP and self.x.dtype.itemsize == 2, "low_precision"),
            (other and cells == 1, "one_cell_map"),
            (other and any(b > S for b, S in zip(sides, shape, strict=True)), "oversize_block"),
            (other and all(b == 1 for b in sides), "block_of_one"),
            (other and sides == shape, "block_of_map_size"),
            (other and len(set(shape)) > 1, "non_square_maps"),
            (other and len(set(sides)) > 1, "per_axis_blocks"),
            (other and any(b % 2 == 0 for b in sides), "even_blocks"),
            (len(self.x) == 1 and cells < LARGE_MAP and not self.calls.one_sample, "batch_of_one"),
        ):
            if special:
                return name
        return None


def find_derivative_problem(
    x: Array, cotangent: Array, y: Array, x_bar: Array, dropped: NDArray[np.bool_], layout: Layout
) -> str:
    """Where x_bar is not the cotangent times y / x of the output beside it; empty where it is."""
    with np.errstate(all="ignore"):
        # 0 / 0: the derivative may be NaN as the output is, or 0; and a cotangent that is no number stays none.
        may_be_nan = np.isnan(y) | ~np.isfinite(cotangent)
        zero = np.equal(x_bar, 0) | (may_be_nan & np.isnan(x_bar))
        lost = ~dropped & np.equal(x_bar, 0) & (np.abs(cotangent.astype(np.float64)) > 1e-37)
    wrong = (dropped & ~zero) | lost
    if wrong.any():
        how = (
            f"it is NaN in {np.count_nonzero(np.isnan(x_bar))} cells"
            if np.isnan(x_bar).any()
            else "it is zero everywhere"
            if zero.all()
            else "it is zero nowhere: the mask is missing"
            if not zero.any()
            else "it has another mask than the output: another draw"
        )
        return (
            f"the derivative must be zero exactly on the {np.count_nonzero(dropped)} dropped cells of the output "
            f"beside it, but {np.count_nonzero(wrong)} of {x.size} cells are not so; {how}\n"
            f"{map_picture(~dropped, wrong, layout)}"
        )
    kept = ~dropped
    with np.errstate(all="ignore"):
        factor = y[kept].astype(np.float64) / x[kept].astype(np.float64)
        given = cotangent[kept].astype(np.float64)
        expected = given * factor
        unit = ulp(expected, coarser(x.dtype, y.dtype))
        off = np.abs(x_bar[kept].astype(np.float64) - expected) / unit
    right = (off <= 2 * MAX_ULPS) | ~np.isfinite(given)  # both y and the derivative are rounded
    if right.all():
        return ""
    worst = int(np.argmax(np.where(right, 0, np.nan_to_num(off, nan=np.inf))))
    wrong = np.zeros(x.shape, dtype=np.bool_)
    wrong[kept] = ~right
    with np.errstate(all="ignore"):
        seen = float(x_bar[kept][worst]) / given[worst]
    return (
        f"the derivative on kept cells must be cotangent * scale, scale = {factor[worst]:.17g}, but it is cotangent * "
        f"{seen:.17g} on a cell, {off[worst]:.3g} ulps off; {np.count_nonzero(wrong)} of {np.count_nonzero(kept)} kept "
        f"cells are wrong (mask and scale are constants of the derivative)\n{map_picture(kept, wrong, layout)}"
    )


def _refusal(error: BaseException) -> str:
    """What was raised, in words, with advice where the reason is a common one."""
    text = describe_error(error)
    if not isinstance(error, Exception):
        text += " (which ends the program or the test, and is no verdict)"
    if isinstance(error, TypeError) and "argument" in text:
        text += " (it is called as forward(x, drop_prob, block_size, training=..., seed=...))"
    return f"an input that the backend must support was refused: {text}"
