"""identify: what an unknown implementation does, read from outputs alone; its declared convention is not looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from ..arguments import check_instance, check_integer
from ..convention import CONVENTIONS, PAPER, Convention
from ..theory import expected_drop_fraction
from . import questions
from .backend import Backend, Setting
from .oracle import CHECKS, check_backend
from .questions import FIELDS, Box, Rates
from .report import Answer, Identification

# Fields by what they weigh: those that decide which cells are dropped, then what the others become.
_WEIGHTS = {"scale_over": 2, "all_dropped": 2, "epsilon": 3}
# What holds under any convention, and is judged where the answers are none.
_INVARIANTS = (
    "evaluation_identity",
    "zero_drop_prob_identity",
    "shape_and_dtype",
    "input_unmodified",
    "output_unmodified",
)
# Which ask again, with fewer draws, what was asked here.
_ASKED = frozenset({"map_rate", "call_independence", "sample_independence"})
_FEW = 16  # masks of a call, of which checks by chance would take a minute


def identify(backend: Backend, *, seed: int = 0) -> Identification:
    """Tell what an implementation of DropBlock does, from its outputs alone.

    Parameters
    ----------
    backend : Backend
        The black box. Only `forward`, `data_format`, `spatial_ndims`, `dtypes`, `accepts`, `settings` and `reseeds` are
        used to find out what it does; its `convention` is not looked at.
    seed : int
        Of the choices made here, and the first one given to the backend.

    Returns
    -------
    Identification
        ``.nearest``, ``.differences``, ``.gamma``, and a text form. What was not seen "cannot be observed".

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, or the backend gives no output at all; the message quotes what it raised.

    Examples
    --------
    >>> from dropblock_ref import backends
    >>> from dropblock_ref.testing import identify
    >>> identify(backends.load("numpy")).nearest
    ('paper',)
    """
    check_instance(backend, "backend", Backend, "a dropblock_ref.testing.Backend")
    box = Box(backend, check_integer(seed, "seed", 0))
    counted, legible = _ask(box)
    answers = tuple(box.answers[name] for name in FIELDS)
    contradictions = {name: contradicted(row, answers) for name, row in CONVENTIONS.items()}
    heaviest = {name: _weight(CONVENTIONS[name], answers) for name in contradictions}
    nearest = tuple(name for name, weight in heaviest.items() if weight == min(heaviest.values()))
    if not any(answer.observed for answer in answers):
        nearest = ()
    differences = [
        f"{answer.field} {answer.text}; the paper's is {getattr(PAPER, answer.field)!r}"
        if answer.observed
        else f"{answer.field} is not {getattr(PAPER, answer.field)!r}; which it is {answer.text}"
        for answer in answers
        if getattr(PAPER, answer.field) not in answer.values
    ]
    differences += [text for text in (_fraction(counted, answers),) if text]
    unexplained = (*box.notes, *_failed_checks(box, nearest, answers))
    return Identification(
        backend.name,
        nearest,
        (*differences, *unexplained),
        counted.gamma if legible and counted is not None else None,
        "" if counted is None else f"drop_prob {counted.one.drop_prob} on {questions.where(counted.one)}",
        answers,
        contradictions,
        unexplained,
    )


def _ask(box: Box) -> tuple[Rates | None, bool]:
    """All questions, in their order; a field that none of them has answered cannot be observed.

    What was counted, and whether gamma can be read from it.
    """
    counted, legible = None, False
    calls: list[float] = []
    questions.access(box)
    try:
        questions.legible(box)
        if not box.illegible:
            questions.sharing(box)
            questions.dependence_on_x(box)
            questions.blocks(box)
            counted, legible, calls = questions.seeds(box)
            questions.scale(box)
            questions.all_dropped(box)
            questions.epsilon(box)
        questions.even_blocks(box)
        questions.oversize(box)
        if counted is not None:
            questions.steady(box, counted, calls)
    except questions.NO_OUTPUT as error:  # of a call like others that were answered
        box.notes.append(f"gives no output where it did before: {questions.why(error)}")
    for name in FIELDS:
        if name not in box.answers:
            box.cannot(name, f"the backend {box.illegible or 'gives no output where it did before'}")
    return counted, legible and box.answers["gamma_rule"].observed


def contradicted(row: Convention, answers: tuple[Answer, ...]) -> tuple[str, ...]:
    """The fields of a convention that contradict what was seen."""
    return tuple(answer.field for answer in answers if getattr(row, answer.field) not in answer.values)


def _weight(row: Convention, answers: tuple[Answer, ...]) -> tuple[float, ...]:
    """How much of what was seen a convention contradicts, the heaviest first; a half where square maps agree."""
    wrong = [answer for answer in answers if getattr(row, answer.field) not in answer.values]
    return tuple(
        sum(
            0.5 if getattr(row, answer.field) in answer.partly else 1.0
            for answer in wrong
            if _WEIGHTS.get(answer.field, 1) == weight
        )
        for weight in (1, 2, 3)
    )


def _fraction(counted: Rates | None, answers: tuple[Answer, ...]) -> str:
    """How much more or less than the paper it drops, in words."""
    if counted is None:
        return ""
    one, cells = counted.one, counted.counts.size
    seen = float(counted.counts.sum()) / (counted.masks * cells)
    expected = float(expected_drop_fraction(one.drop_prob, one.block_size, one.spatial_shape))
    # Five deviations of a binomial number of whole blocks: what it is for is said in words, not judged.
    blocks = counted.masks * cells / math.prod(one.sides)
    if abs(seen - expected) <= 5 * math.sqrt(seen * (1 - seen) / blocks):
        return ""
    values = {answer.field: answer.values for answer in answers}
    reason = ""
    if values["gamma_rule"][:1] == ("border_corrected",) and values["seed_region"] == ("everywhere",):
        reason = ": every cell is eligible while gamma assumes that blocks fit"
    change = f"{abs(seen / expected - 1):.0%} {'more' if seen > expected else 'less'}"
    return (
        f"drops {seen:.3f} of the cells at drop_prob {one.drop_prob} on {questions.where(one)}, {change} than the "
        f"paper's {expected:.3f}{reason}"
    )


def _failed_checks(box: Box, nearest: tuple[str, ...], answers: tuple[Answer, ...]) -> Iterator[str]:
    """What the oracle finds wrong when the box is held to what was seen; consequences of what is said are left out."""
    near = CONVENTIONS[nearest[0]] if nearest else PAPER
    whole = nearest and not box.notes and all(answer.values for answer in answers)
    given = {
        a.field: getattr(near, a.field) if getattr(near, a.field) in a.values else a.values[0]
        for a in answers
        if a.values
    }
    try:
        seen = replace(near, **given)
    except ValueError:  # answers, each of which was seen for itself, make no convention together
        seen, whole = near, False
    seen = near if seen == near else replace(seen, name="seen")
    held = replace(box.backend, convention=seen, expected_failures={}, draw_seeds=None, apply=None)
    checks = [name for name in CHECKS if name not in _ASKED] if whole else [*_INVARIANTS]
    if box.masks_in_a_call() < _FEW:
        checks = [name for name in checks if not CHECKS[name].statistical]
    if not questions.takes_sides(box):

        def accepts(spatial_shape: tuple[int, ...], block_size: object, drop_prob: float) -> bool:
            return isinstance(block_size, int) and box.backend.is_for(spatial_shape, block_size, drop_prob)

        held = replace(held, accepts=accepts)
        checks = [name for name in checks if name != "per_axis_blocks"]  # which would look for one among all settings
    channels = box.most_channels or (box.channels if box.channels > 1 else 0)
    if held.settings is None and (box.samples or channels):
        held = replace(held, settings=(Setting(samples=box.samples or None, channels=channels or None),))
    report = check_backend(held, checks=[*checks, "quick"], seed=box.seed)
    what = f"convention {near.name!r}" if seen is near else "what was seen"
    for result in report.failures:
        yield f"held to {what}, check {result.name} fails: {result.message.splitlines()[0].rstrip(':')}"
