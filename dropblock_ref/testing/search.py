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
from .backend import Backend, Setting
from .case import Case
from .check import CheckFailure, Map, NotApplicable, Outcome, Run, check
from .edge_cases import find_special_problem
from .maps import ANY_MAP
from .observation import Fault, difference, find_problems, same

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
MAX_CELLS = 5_000  # of x: so many are judged in every call, and a hundred examples take a second
STRATEGIES = "dropblock_ref.testing.strategies"
SPECIAL = ("0", "-0", "nan", "inf", "-inf", "large", "smallest normal")


def _unless_hypothesis(backend: Backend) -> str | None:  # noqa: ARG001
    if find_spec("hypothesis") is None:
        return "hypothesis is not installed, so nothing was searched: pip install 'dropblock_ref[testing]'"
    return None


@check("search", ANY_MAP, unless=_unless_hypothesis)
def search(run: Run) -> Outcome:
    """No call that hypothesis draws, of all that the backend accepts, has a wrong output or derivative."""
    examples = (QUICK_EXAMPLES if run.quick or run.compiled else EXAMPLES) if run.examples is None else run.examples
    found, notes = find_failure(run, examples)
    if found is not None:
        # A refusal is of this call alone; and a small call is special in many ways, of which its memory order is none.
        if found.bears not in (None, "supported_input") and found.special in (None, "non_contiguous_input"):
            run.file(Fault(found.bears, str(found), found.dtype or run.dtype, found.special))
        raise found
    text = f"{examples} calls that hypothesis drew, with derivatives and known seeds where the backend has them"
    return Outcome("; ".join([text, *sorted(notes)]), reported=bool(notes))


def find_failure(run: Run, examples: int) -> tuple[CheckFailure | None, set[str]]:
    """The failure of the smallest call that so many drawn ones lead to, or None; and what is told but not judged."""
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

        def smallest(trial: _Trial, drawn: dict[str, st.SearchStrategy[Case]]) -> Case | None:
            # Independent batches, of the dtypes in turn: after ten examples hypothesis makes new ones from pieces of
            # those, so that some memory order might occur once among a hundred. The first of the batches of a dtype is
            # always the smallest call, judged once.
            rng = random.Random(run.seed)  # noqa: S311
            batches = max(-(-examples // (BATCH - 1)), min(len(drawn), examples))
            for number in range(batches):
                wanted = (number + 1) * examples // batches - len(trial.judged) + (number >= len(drawn))
                if wanted < 1:
                    continue
                one = list(drawn.values())[number % len(drawn)]
                with suppress(NoSuchExample):
                    return find(one, trial.fails, settings=hypothesis_settings(how, max_examples=wanted), random=rng)
            return None

        trial = _Trial(run)
        try:
            everything = _drawn(run)
            if not everything:
                raise NotApplicable("the backend accepts none of the settings that are drawn")
            found = smallest(trial, everything)
            if found is None:
                return None, trial.notes
            # What fails in one dtype may fail in the first one, too.
            plain = (replace(found, dtype=dtype) for dtype in everything)
            found = next((case for case in plain if trial.fails(case)), found)
            failure = trial.judged[found]
            # What fails may fail with seeds that are given, or with blocks of one cell, where it is still smaller.
            kinds = dict.fromkeys(("apply", trial.only) if run.backend.apply is not None else (trial.only,))
            for kind, blocks in itertools.product(kinds, ((1,), SQUARE_BLOCKS)):
                if (kind, found.block_size) == (trial.only, 1) or (kind == trial.only and blocks == SQUARE_BLOCKS):
                    break
                again = _Trial(run, kind)
                drawn = _drawn(run, blocks)
                smaller = smallest(again, drawn) if drawn else None
                if smaller is not None:
                    failure = again.judged[smaller]
                    break
        except FailedHealthCheck as error:
            raise NotApplicable(f"nothing was searched inside a test with @given: {error}") from error
    assert failure is not None  # noqa: S101  (for the type checker; the call fails)
    text = f"{failure}\n(the smallest call that hypothesis found to fail)"
    return CheckFailure(text, bears=failure.bears, dtype=failure.dtype, special=failure.special), trial.notes


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


def _drawn(
    run: Run, blocks: tuple[int, ...] = SQUARE_BLOCKS, built: tuple[Setting, ...] = ()
) -> dict[str, st.SearchStrategy[Case]]:
    """Cases that the backend accepts, by dtype; no choice is an integer above 99, see `strategies.PLAIN`."""
    from hypothesis import strategies as st

    from . import strategies

    backend = run.backend

    @cache
    def accepts(spatial_shape: tuple[int, ...], block_size: Any, drop_prob: float) -> bool:
        usual = DROP_PROBS[:2]
        if (
            built == (Setting(),)
            and drop_prob not in usual
            and not any(accepts(spatial_shape, block_size, one) for one in usual)
        ):
            return False  # without asking about each, as there are many maps and blocks
        try:
            return backend.is_for(spatial_shape, block_size, drop_prob)
        except Exception:  # it is not for a kind of block that it has not thought of
            return False

    drawn = []
    ordinary = run.find(ANY_MAP)
    built = built or backend.settings or (Setting(),)
    if run.compiled:  # one shape of each rank, of other checks too: only values and the order of memory change
        built = tuple(
            Setting(one.spatial_shape, one.block_size, one.drop_prob, *run.batch(2, 3, one.spatial_shape))
            for one in ordinary
        )
    for one, ndim in itertools.product(built, backend.spatial_ndims):
        if one.spatial_shape is not None and len(one.spatial_shape) != ndim:
            continue
        square, per_axis = blocks, BLOCKS_PER_AXIS[ndim] if len(blocks) > 1 else ()
        if isinstance(one.block_size, int):
            square, per_axis = (one.block_size,), ()
        elif one.block_size is not None:
            square, per_axis = (min(one.block_size),), one.block_size
        settings = strategies.settings(
            convention=backend.rules,
            ndims=(ndim,),
            sides=one.spatial_shape or SIDES[ndim],
            block_sizes=square,
            per_axis=per_axis or False,
            drop_probs=DROP_PROBS if one.drop_prob is None else (one.drop_prob,),
            accepts=accepts if built == (Setting(),) else lambda *s, one=one: one.allows(*s) and accepts(*s),
        )
        if settings.is_empty:
            continue
        drawn.append(
            partial(
                strategies.cases,
                conventions=(backend.rules,),
                settings=settings,
                ndims=(ndim,),
                data_formats=(backend.data_format,),
                min_samples=one.samples or 0,
                max_samples=one.samples or MAX_SAMPLES,
                min_channels=one.channels or 1,
                max_channels=one.channels or MAX_CHANNELS,
                max_cells=MAX_CELLS,
                max_seeds=MAX_SEEDS if backend.apply is not None else 0,
                special=SPECIAL,
            )
        )
    if not drawn and ordinary and built == (Setting(),) and len(blocks) > 1:  # none of that: take what was found
        return _drawn(run, blocks, tuple(Setting(one.spatial_shape, one.block_size, one.drop_prob) for one in ordinary))
    dtypes = sorted(backend.dtypes, key=lambda dtype: dtype != run.dtype) if drawn else ()
    return {dtype: st.one_of([cases(dtypes=(dtype,)) for cases in drawn]) for dtype in dtypes}


class _Trial:
    """Judges drawn calls of one backend, each by the random seed that its values have."""

    def __init__(self, run: Run, only: str | None = None) -> None:
        self.run, self.backend = run, run.backend
        self.only = only  # the kind of call that is judged: once one has failed, this one
        self.notes: set[str] = set()
        self.judged: dict[Case, CheckFailure | None] = {}  # what is wrong
        self.left: int | None = None  # cases to shrink with, once one has failed

    def fails(self, case: Case) -> bool:
        """Whether something is wrong with a call: the same answer each time, though a stream may have gone on."""
        if case not in self.judged and self.left != 0:
            # What is wrong may need a mask that drops the one cell: a smaller case has another random seed.
            values = {case.values: None} if self.left is None else dict.fromkeys((case.values, *range(SEEDS_TO_SHRINK)))
            failures = (self.judge(replace(case, values=value)) for value in values)
            self.judged[case] = next((failure for failure in failures if failure is not None), None)
            if self.left is not None:
                self.left -= 1
            elif self.judged[case] is not None:
                self.left = CASES_TO_SHRINK
        return self.judged.get(case) is not None

    def judge(self, case: Case) -> CheckFailure | None:
        """The first thing that is wrong with an output or a derivative of this case."""
        kinds = {"apply": self.injected, "forward": self.output, "evaluation": self.evaluation, "vjp": self.derivative}
        for kind, judge in kinds.items():
            if self.only in (None, kind):
                try:
                    judge(case)
                except CheckFailure as error:
                    self.only = kind
                    return error
        return None

    # The calls, which are judged where all calls are

    def line(self, case: Case, call: str) -> str:
        """One line of Python that repeats a call."""
        names = "Case" if isinstance(case.convention, str) else "Case, Convention"
        return f"from {STRATEGIES} import {names}; case = {case!r}; {call}"

    def call(self, function: Callable[..., Any], *given: Any, **how: Any) -> Any:
        """What the backend returns; whatever is wrong with that is a failure."""
        try:
            result = function(*given, **how)
        except CheckFailure:
            self.run.calls.take()
            raise
        for fault in self.run.calls.take():
            raise CheckFailure(fault.text, bears=fault.check, dtype=fault.dtype, special=fault.special)
        return result

    def forward(self, case: Case, *, training: bool = True) -> tuple[NDArray[Any], str]:
        """The output, and the line that repeats the call."""
        how = {"training": training, "seed": case.values}
        x = case.x
        text = self.line(
            case, f"backend.forward(case.x, case.drop_prob, case.block_size, training={training}, seed={case.values})"
        )
        y = self.call(self.run.forward, x, _map(case), call=text, readable=not case.special, **how)
        return y, text

    def vjp(self, case: Case, *, training: bool = True) -> tuple[NDArray[Any], NDArray[Any], str]:
        """The output, the derivative, and the line that repeats the call."""
        how = {"training": training, "seed": case.values}
        x, cotangent, name = case.x, case.cotangent, "case.cotangent"
        if self.backend.output_dtype is not None:
            cotangent = replace(case, dtype=self.backend.output_dtype).cotangent
            name = f"Case(**{{**vars(case), 'dtype': {self.backend.output_dtype!r}}}).cotangent"
        text = self.line(
            case,
            f"backend.vjp(case.x, {name}, case.drop_prob, case.block_size, training={training}, seed={case.values})",
        )
        readable = not case.special
        y, x_bar = self.call(self.run.vjp, x, cotangent, _map(case), call=text, readable=readable, **how)
        return y, x_bar, text

    def drawn_seeds(self, case: Case) -> NDArray[np.bool_] | None:
        """The seeds of `forward`, where the backend can tell them."""
        if self.backend.draw_seeds is None or not self.backend.reseeds or not case.drop_prob:
            return None
        text = self.line(
            case, f"backend.draw_seeds(case.shape, case.dtype, case.drop_prob, case.block_size, seed={case.values})"
        )
        draw = self.run.draw_seeds
        seeds = self.call(draw, case.shape, case.dtype, _map(case), seed=case.values, call=text)
        if not isinstance(seeds, np.ndarray) or seeds.dtype != np.bool_ or seeds.shape != case.mask_shape:
            raise CheckFailure(
                f"draw_seeds must return a boolean array of shape {case.mask_shape}, and returned {describe(seeds)}\n"
                f"reproduce: {text}"
            )
        return seeds

    # What must hold

    def compare(self, case: Case, y: NDArray[Any], text: str, seeds: NDArray[np.bool_] | None) -> None:
        """The output is DropBlock of x, with these seeds where they are known."""
        backend, x = self.backend, case.x
        for problem in find_problems(
            x, y, case.block_size, backend.data_format, backend.rules, seeds=seeds, drop_prob=case.drop_prob
        ):
            raise CheckFailure(f"{problem.text}\non {_map(case)}, dtype {x.dtype}\nreproduce: {text}", dtype=case.dtype)

    def injected(self, case: Case) -> None:
        """With given seeds, exactly their blocks are dropped."""
        if self.backend.apply is None:
            return
        plain = replace(case, special=())
        text = self.line(plain, "backend.apply(case.x, case.seeds, case.block_size)")
        y = self.call(self.run.apply, plain.x, plain.seeds, _map(plain), call=text)
        self.compare(plain, y, text, plain.seeds)

    def output(self, case: Case) -> None:
        """In training the output is DropBlock of x; special values change nothing elsewhere."""
        if "training" not in self.backend.modes:
            return
        plain = replace(case, special=())
        seeds = self.drawn_seeds(plain)
        y, text = self.forward(plain)
        if seeds is not None or plain.x.size > MAX_CELLS:  # which else are judged at the first of their kind alone
            self.compare(plain, y, text, seeds)
        dropped = self.run.dropped(plain.x, y)
        if case.special and case.drop_prob and self.backend.reseeds and not dropped.all():
            factor = np.where(dropped & ~np.isnan(y), 0.0, y.astype(np.float64) / plain.x.astype(np.float64))
            y, text = self.forward(case)
            problem, notes = find_special_problem(case.x, y, dropped, factor)
            self.notes |= notes
            if problem:
                raise CheckFailure(f"{problem}\non {_map(case)}, dtype {case.dtype}\nreproduce: {text}")

    def evaluation(self, case: Case) -> None:
        """In evaluation the output is x, whatever its values are, and the derivative the cotangent."""
        if "evaluation" in self.backend.modes:
            self.forward(case, training=False)
            if self.backend.vjp is not None:
                self.vjp(case, training=False)

    def derivative(self, case: Case) -> None:
        """The derivative has the mask and the scale of the output beside it, whatever the values of x are."""
        if self.backend.vjp is None or "training" not in self.backend.modes:
            return
        _, x_bar, _ = self.vjp(replace(case, special=()))
        if case.special and self.backend.reseeds:
            _, special, text = self.vjp(case)
            if not same(special, x_bar):
                raise CheckFailure(
                    f"the derivative must not depend on the values of x, but where {', '.join(case.special)} are among "
                    f"them {difference(x_bar, special)}\non {_map(case)}, dtype {case.dtype}\nreproduce: {text}"
                )


def _map(case: Case) -> Map:
    return Map(case.spatial_shape, case.block_size, case.drop_prob)
