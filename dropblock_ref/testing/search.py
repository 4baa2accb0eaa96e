"""Level 3, search: hypothesis draws calls from all that the backend accepts, and shrinks the first that is wrong.

Each output and derivative is held to what one observation can show: the identity, the mask of known seeds or else legal
blocks, the scale, the values, an x that stays as it is. Nothing here is left to chance but which calls are drawn, and
these follow from the run's seed.
"""

from __future__ import annotations

import itertools
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import describe
from ..dilation import recover_seeds
from .backend import Backend
from .case import Case, special_value
from .check import CheckFailure, Map, NotApplicable, Outcome, Run, check
from .maps import ANY_MAP
from .observation import MAX_ULPS, coarser, difference, same, ulp

if TYPE_CHECKING:
    from hypothesis import strategies as st

EXAMPLES, QUICK_EXAMPLES, BATCH = 100, 25, 9
# That are tried to make a failing case smaller: some hundreds of cases are usual.
CASES_TO_SHRINK, SEEDS_TO_SHRINK = 2000, 8

# What settings are drawn from, by rank: realistic sizes too, and few enough to ask `accepts` about all of them. Failing
# cases shrink to the first of a list.
SIDES = {
    2: (*range(1, 18), 20, 24, 28, 30, 32, 40, 48, 56, 64),
    3: (*range(1, 9), 12, 16),
}
SQUARE_BLOCKS = (*range(1, 10), 11, 13, 15, 17, 21)
BLOCKS_PER_AXIS = {2: (1, 2, 3, 5, 7), 3: (1, 2, 3)}
DROP_PROBS = (0.5, 0.1, 0.25, 1.0, 0.9, 0.05, 0.0, 0.3)
MAX_SAMPLES, MAX_CHANNELS, MAX_SEEDS = 40, 80, 30
MAX_CELLS = 2**13  # of x, so that a hundred examples take a second
STRATEGIES = "dropblock_ref.testing.strategies"
SPECIAL = ("0", "-0", "nan", "inf", "-inf", "large", "smallest normal")


def _unless_hypothesis(backend: Backend) -> str | None:  # noqa: ARG001
    if find_spec("hypothesis") is None:
        return "hypothesis is not installed, so nothing was searched: pip install 'dropblock_ref[testing]'"
    return None


@check("search", ANY_MAP, unless=_unless_hypothesis)
def search(run: Run) -> Outcome:
    """No call that hypothesis draws, of all that the backend accepts, has a wrong output or derivative."""
    examples = (QUICK_EXAMPLES if run.quick else EXAMPLES) if run.examples is None else run.examples
    found, notes = find_failure(run, examples)
    if found is not None:
        raise CheckFailure(found)
    text = f"{examples} calls that hypothesis drew, with derivatives and known seeds where the backend has them"
    return Outcome("; ".join([text, *sorted(notes)]), reported=bool(notes))


def find_failure(run: Run, examples: int) -> tuple[str | None, set[str]]:
    """The smallest failing call that so many drawn ones lead to, in words, or None; and what is told but not judged."""
    with _no_files():
        from hypothesis import HealthCheck, Phase, Verbosity, find
        from hypothesis import settings as hypothesis_settings
        from hypothesis.errors import FailedHealthCheck, NoSuchExample

        how = hypothesis_settings(
            derandomize=False,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
            print_blob=False,
        )

        def smallest(trial: _Trial, drawn: st.SearchStrategy[Case]) -> Case | None:
            # Independent batches: after ten examples hypothesis makes new ones from pieces of those, so that some
            # memory order might occur once among a hundred. The first of each batch is the smallest call, judged once.
            rng = random.Random(run.seed)  # noqa: S311
            for _ in range(0, examples, BATCH - 1):
                wanted = min(BATCH, examples - len(trial.judged) + bool(trial.judged))
                with suppress(NoSuchExample):
                    return find(drawn, trial.fails, settings=hypothesis_settings(how, max_examples=wanted), random=rng)
            return None

        trial = _Trial(run)
        try:
            everything = _drawn(run)
            if everything.is_empty:
                raise NotApplicable("the backend accepts none of the settings that are drawn")
            found = smallest(trial, everything)
            if found is None:
                return None, trial.notes
            text = trial.judged[found]
            # What fails may fail with seeds that are given, or with blocks of one cell, where it is still smaller.
            kinds = dict.fromkeys(("apply", trial.only) if run.backend.apply is not None else (trial.only,))
            for kind, blocks in itertools.product(kinds, ((1,), SQUARE_BLOCKS)):
                if (kind, found.block_size) == (trial.only, 1) or (kind == trial.only and blocks == SQUARE_BLOCKS):
                    break
                again = _Trial(run, kind)
                drawn = _drawn(run, blocks)
                smaller = None if drawn.is_empty else smallest(again, drawn)
                if smaller is not None:
                    text = again.judged[smaller]
                    break
        except FailedHealthCheck as error:
            raise NotApplicable(f"nothing was searched inside a test with @given: {error}") from error
    return f"{text}\n(the smallest call that hypothesis found to fail)", trial.notes


@cache
def _alone() -> bool:
    """Whether nobody else in this process uses hypothesis, asked before we do."""
    return "hypothesis" not in sys.modules


@contextmanager
def _no_files() -> Iterator[None]:
    """Keep hypothesis from leaving a directory .hypothesis where nobody else asked for it."""
    if not _alone():
        yield
        return
    from hypothesis.configuration import set_hypothesis_home_dir

    with tempfile.TemporaryDirectory() as directory:
        set_hypothesis_home_dir(directory)
        try:
            yield
        finally:
            set_hypothesis_home_dir(None)


def _drawn(run: Run, blocks: tuple[int, ...] = SQUARE_BLOCKS) -> st.SearchStrategy[Case]:
    """Cases that the backend accepts; no choice is an integer above 99, see `strategies.PLAIN`."""
    from hypothesis import strategies as st

    from . import strategies

    backend = run.backend

    @cache
    def accepts(spatial_shape: tuple[int, ...], block_size: Any) -> bool:
        try:
            return backend.accepts is None or bool(backend.accepts(spatial_shape, block_size))
        except Exception:  # it is not for a kind of block that it has not thought of
            return False

    settings = st.one_of(
        [
            strategies.settings(
                convention=backend.rules,
                ndims=(ndim,),
                sides=SIDES[ndim],
                block_sizes=blocks,
                per_axis=BLOCKS_PER_AXIS[ndim] if len(blocks) > 1 else False,
                drop_probs=DROP_PROBS,
                accepts=lambda spatial_shape, block_size, _: accepts(spatial_shape, block_size),
            )
            for ndim in backend.spatial_ndims
        ]
    )
    if settings.is_empty:
        return st.nothing()
    return strategies.cases(
        conventions=(backend.rules,),
        settings=settings,
        data_formats=(backend.data_format,),
        max_samples=MAX_SAMPLES,
        max_channels=MAX_CHANNELS,
        max_cells=MAX_CELLS,
        max_seeds=MAX_SEEDS if backend.apply is not None else 0,
        dtypes=sorted(backend.dtypes, key=lambda dtype: dtype != run.dtype),
        special=SPECIAL,
    )


class _Trial:
    """Judges drawn calls of one backend, each by the random seed that its values have."""

    def __init__(self, run: Run, only: str | None = None) -> None:
        self.run, self.backend = run, run.backend
        self.only = only  # the kind of call that is judged: once one has failed, this one
        self.notes: set[str] = set()
        self.judged: dict[Case, str] = {}  # what is wrong; empty where nothing is
        self.left: int | None = None  # cases to shrink with, once one has failed

    def fails(self, case: Case) -> bool:
        """Whether something is wrong with a call: the same answer each time, though a stream may have gone on."""
        if case not in self.judged and self.left != 0:
            # What is wrong may need a mask that drops the one cell: a smaller case has another random seed.
            values = {case.values: None} if self.left is None else dict.fromkeys((case.values, *range(SEEDS_TO_SHRINK)))
            texts = (self.judge(replace(case, values=value)) for value in values)
            self.judged[case] = next(filter(None, texts), "")
            if self.left is not None:
                self.left -= 1
            elif self.judged[case]:
                self.left = CASES_TO_SHRINK
        return bool(self.judged.get(case))

    def judge(self, case: Case) -> str:
        """The first thing that is wrong with an output or a derivative of this case."""
        kinds = {"apply": self.injected, "forward": self.output, "evaluation": self.evaluation, "vjp": self.derivative}
        for kind, judge in kinds.items():
            if self.only in (None, kind):
                try:
                    judge(case)
                except CheckFailure as error:
                    self.only = kind
                    return str(error)
        return ""

    # The calls

    def line(self, case: Case, call: str) -> str:
        """One line of Python that repeats a call."""
        names = "Case" if isinstance(case.convention, str) else "Case, Convention"
        return f"from {STRATEGIES} import {names}; case = {case!r}; {call}"

    def call(self, function: Callable[..., Any], text: str, *given: NDArray[Any], **how: Any) -> Any:
        """What the backend returns, which must leave the arrays that it is given as they are."""
        before = [array.copy() for array in given]
        self.run.draws += self.run.masks(given[0])
        result = self.run.call(partial(function, *given, **how), text)
        for name, array, copy in zip(("x", "the cotangent"), given, before, strict=False):
            if not same(array, copy):
                raise CheckFailure(
                    f"{name} must not be modified, and {difference(copy, array)} afterwards\nreproduce: {text}"
                )
        return result

    def forward(self, case: Case, *, training: bool = True) -> tuple[NDArray[Any], str]:
        """The output, and the line that repeats the call."""
        text = self.line(
            case, f"backend.forward(case.x, case.drop_prob, case.block_size, training={training}, seed={case.values})"
        )

        def forward(x: NDArray[Any], **how: Any) -> Any:
            return self.backend.forward(x, case.drop_prob, case.block_size, **how)

        y = self.call(forward, text, case.x, training=training, seed=case.values)
        self.run.require_array(y, "output", text)
        return y.copy(), text

    def vjp(self, case: Case, *, training: bool = True) -> tuple[NDArray[Any], NDArray[Any], str]:
        """The output, the derivative, and the line that repeats the call."""
        how = f"training={training}, seed={case.values}"
        text = self.line(case, f"backend.vjp(case.x, case.cotangent, case.drop_prob, case.block_size, {how})")

        def vjp(x: NDArray[Any], cotangent: NDArray[Any], **how: Any) -> Any:
            assert self.backend.vjp is not None  # noqa: S101  (for the type checker; `judge` asks before)
            return self.backend.vjp(x, cotangent, case.drop_prob, case.block_size, **how)

        pair = self.call(vjp, text, case.x, case.cotangent, training=training, seed=case.values)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise CheckFailure(f"vjp must return (y, x_bar), and returned {describe(pair)}\nreproduce: {text}")
        for name, array in zip(("output of vjp", "derivative"), pair, strict=True):
            self.run.require_array(array, name, text)
            if array.shape != case.shape:
                raise CheckFailure(
                    f"the {name} has shape {array.shape}; expected that of x, {case.shape}\nreproduce: {text}"
                )
        return pair[0].copy(), pair[1].copy(), text

    def drawn_seeds(self, case: Case) -> NDArray[np.bool_] | None:
        """The seeds of `forward`, where the backend can tell them."""
        if self.backend.draw_seeds is None or not case.drop_prob:
            return None
        text = self.line(
            case, f"backend.draw_seeds(case.shape, case.dtype, case.drop_prob, case.block_size, seed={case.values})"
        )
        draw = partial(
            self.backend.draw_seeds, case.shape, case.dtype, case.drop_prob, case.block_size, seed=case.values
        )
        seeds = self.run.call(draw, text)
        if not isinstance(seeds, np.ndarray) or seeds.dtype != np.bool_ or seeds.shape != case.mask_shape:
            raise CheckFailure(
                f"draw_seeds must return a boolean array of shape {case.mask_shape}, and returned {describe(seeds)}\n"
                f"reproduce: {text}"
            )
        return seeds

    # What must hold

    def injected(self, case: Case) -> None:
        """With given seeds, exactly their blocks are dropped."""
        if self.backend.apply is None:
            return
        plain = replace(case, special=())
        text = self.line(plain, "backend.apply(case.x, case.seeds, case.block_size)")
        seeds, apply = plain.seeds, self.backend.apply
        y = self.call(lambda x: apply(x, seeds.copy(), plain.block_size), text, plain.x)
        self.run.require_array(y, "output of apply", text)
        self.run.judge(plain.x, y, _map(plain), text, seeds=seeds)

    def output(self, case: Case) -> None:
        """In training the output is DropBlock of x; special values change nothing elsewhere."""
        plain = replace(case, special=())
        seeds = self.drawn_seeds(plain)
        y, text = self.forward(plain)
        if not case.drop_prob:
            _require_same(y, plain.x, "output with drop_prob 0", "x", text)
            return
        self.run.judge(plain.x, y, _map(case), text, seeds=seeds)
        dropped = self.run.dropped(plain.x, y)
        if case.special and not dropped.all():
            factor = np.where(dropped & ~np.isnan(y), 0.0, y.astype(np.float64) / plain.x.astype(np.float64))
            y, text = self.forward(case)
            problem, notes = find_special_problem(case.x, y, dropped, factor)
            self.notes |= notes
            if problem:
                raise CheckFailure(f"{problem}\non {_map(case)}\nreproduce: {text}")

    def evaluation(self, case: Case) -> None:
        """In evaluation the output is x, whatever its values are, and the derivative the cotangent."""
        y, text = self.forward(case, training=False)
        _require_same(y, case.x, "output in evaluation", "x", text)
        if self.backend.vjp is not None:
            y, x_bar, text = self.vjp(case, training=False)
            _require_same(y, case.x, "output of vjp in evaluation", "x", text)
            _require_same(x_bar, case.cotangent, "derivative in evaluation", "the cotangent", text)

    def derivative(self, case: Case) -> None:
        """The derivative has the mask and the scale of the output beside it, whatever the values of x are."""
        if self.backend.vjp is None:
            return
        plain = replace(case, special=())
        y, x_bar, text = self.vjp(plain)
        if not case.drop_prob:
            _require_same(y, plain.x, "output of vjp with drop_prob 0", "x", text)
            _require_same(x_bar, case.cotangent, "derivative with drop_prob 0", "the cotangent", text)
            return
        self.run.judge(plain.x, y, _map(case), text)
        self.judge_derivative(plain, x_bar, y, text)
        if case.special:
            _, x_bar, text = self.vjp(case)
            self.judge_derivative(plain, x_bar, y, text)

    def judge_derivative(self, case: Case, x_bar: NDArray[Any], y: NDArray[Any], text: str) -> None:
        """Judge a derivative as DropBlock of the cotangent, with the seeds that explain the output for plain values."""
        mask = ~self.run.dropped(case.x, y)
        if self.backend.rules.shared_channels:
            mask = mask.take([0], axis=self.run.layout(case.x).channel_axis)
        seeds = recover_seeds(mask, case.block_size, **case.options)
        try:
            self.run.judge(case.cotangent, x_bar, _map(case), text, seeds=seeds)
        except CheckFailure as error:
            raise CheckFailure(
                f"the derivative must be cotangent * keep_mask * scale of the output beside it: {error}"
            ) from error


def _map(case: Case) -> Map:
    return Map(case.spatial_shape, case.block_size, case.drop_prob)


def _require_same(array: NDArray[Any], expected: NDArray[Any], name: str, what: str, text: str) -> None:
    if array.dtype != expected.dtype:
        raise CheckFailure(
            f"the {name} has dtype {array.dtype}; expected that of x, {expected.dtype}\nreproduce: {text}"
        )
    if not same(array, expected):
        raise CheckFailure(f"the {name} must be {what}, and {difference(expected, array)}\nreproduce: {text}")


def find_special_problem(
    x: NDArray[Any], y: NDArray[Any], dropped: NDArray[np.bool_], factor: NDArray[np.float64]
) -> tuple[str, set[str]]:
    """What is wrong with y as x * factor for an x of any values, and what is told but not judged."""
    dtype = coarser(x.dtype, y.dtype)
    wide_x, wide_y = x.astype(np.float64), y.astype(np.float64)
    largest, smallest = (abs(float(special_value(name, dtype))) for name in ("largest", "smallest normal"))
    with np.errstate(all="ignore"):
        expected = wide_x * factor
        unit = ulp(np.where(np.isfinite(expected), expected, 1.0), dtype)
        # A product may leave the range of the dtype.
        overflowed = (np.abs(expected) > largest * (1 - 2**-6)) & (wide_y == np.copysign(np.inf, expected))
        right = (np.abs(wide_y - expected) <= 2 * MAX_ULPS * unit) | (wide_y == expected) | overflowed
    right |= np.isnan(wide_y) & np.isnan(expected)
    notes = set()
    for text, allowed in (
        ("a dropped infinity or NaN becomes 0", dropped & ~np.isfinite(wide_x) & (wide_y == 0)),
        (
            "a dropped large value overflows on the way and becomes NaN",
            dropped & (np.abs(wide_x) > largest / 16) & np.isnan(wide_y),
        ),
        ("the smallest normal number is flushed to 0", (np.abs(wide_x) <= smallest) & (wide_y == 0)),
    ):
        if (allowed & ~right).any():
            notes.add(text)
            right |= allowed
    if right.all():
        return "", notes
    index = tuple(int(i) for i in np.argwhere(~right)[0])
    return (
        f"beside special values a {'dropped' if dropped[index] else 'kept'} cell with the value {x[index]} must become "
        f"{expected[index]:.9g}, and becomes {wide_y[index]:.9g}, at index {index}; {np.count_nonzero(~right)} of "
        f"{x.size} cells are wrong"
    ), notes
