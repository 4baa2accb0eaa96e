"""The questions that `identify` asks of a black box, one function each; an answer says what was seen, and no more.

They are asked in the order of this file, because later ones stand on earlier ones: masks must be legible, and those of
one call independent, before a rate means anything. Every call goes through `calls`, as those of the oracle do.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..arguments import describe_error
from ..call import place_block
from ..convention import CHOICES, CONVENTIONS, PAPER, Convention
from ..coverage import coverage_along_axes
from ..picture import picture
from ..stages import gamma as seed_probability
from ..theory import drop_probability
from .backend import Backend
from .calls import Refused, Unreadable
from .check import Run
from .judge import Tally, find_dependent_draws, find_law
from .observation import coarser, make_input, read_dropped, ulp
from .report import ERROR, Answer
from .settings import Map, Needs
from .statistics import beta_quantile, binomial_p_values, count_law

Array = NDArray[Any]
Mask = NDArray[np.bool_]
FIELDS = tuple(one.name for one in fields(Convention) if one.name not in ("name", "source"))
_ANYTHING = CONVENTIONS["dropblock"]  # which has a place for every block on every map
_SHARE = ERROR / 20  # of the probability that an answer is wrong, for each test that it rests on
_CELLS_PER_CALL, _CALLS = 1_000_000, 1_000
_CELLS_PER_CALL_IN_HALF = 50_000  # a count of more may overflow
_GRID = "blocks lie on a fixed grid"
_MANY = 64  # calls, where what a block is may differ between them
_FEWEST = 20  # separate regions that say what a block is
_LOOKED_AT = 500  # masks in which every dropped cell is held to blocks
_ODD = (3, 5, 7, 1, 2)  # blocks in the order in which they are tried
# Tried after those, for backends that take few maps: side in 2D and in 3D, block, drop_prob.
_OTHERS = ((28, 14, 7, 0.1), (32, 16, 3, 0.1), (64, 16, 7, 0.1))
_SIDES = tuple(side for side in CHOICES["even_extra_cell"] if side != "refused")  # of the seed of an even block


def choices(name: str) -> tuple[Any, ...]:
    """The values of a field: all that it may have, or of a number those that were published."""
    published = sorted({getattr(row, name) for row in CONVENTIONS.values()})
    return CHOICES.get(name, (False, True) if isinstance(published[0], bool) else tuple(published))


class NotFor(Exception):  # noqa: N818  (an outcome, not an error)
    """The backend says by `accepts` or `settings` that it is not for this."""


_Counted = tuple[Map, NDArray[np.int64], int]  # how often each cell was dropped in so many masks
NO_OUTPUT = (NotFor, Refused, Unreadable)


def why(error: BaseException) -> str:
    """Why there is no output to look at: what the backend raised, as it did; or what it returned instead."""
    if isinstance(error, Refused) and error.__cause__ is not None:
        return describe_error(error.__cause__)[:300]
    return str(error).splitlines()[0]


@dataclass
class Box:
    """The black box, how it can be called, and what has been learned."""

    backend: Backend
    seed: int
    samples: int = 0  # the most in one call; 0 = any number
    channels: int = 1  # the fewest in one call
    most_channels: int = 0  # 0 = any number
    answered: list[Map] = field(default_factory=list)  # what is tried where nothing preferred is answered
    answers: dict[str, Answer] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # what no field of a convention can say
    illegible: str = ""  # why nothing is seen of masks
    rateless: str = ""  # why their rates say nothing of gamma and seeds
    run: Run = field(init=False)
    _given: dict[Any, Array] = field(default_factory=dict)  # the last x, which is made again for most calls

    def __post_init__(self) -> None:
        anything = replace(self.backend, convention=_ANYTHING, spatial_ndims=self.backend.spatial_ndims[:1])
        self.run = Run(anything, self.seed, ERROR)

    @property
    def ndim(self) -> int:
        """The first rank of the backend."""
        return self.run.backend.spatial_ndims[0]

    def side(self, in_2d: int, in_3d: int) -> tuple[int, ...]:
        """A square map, or a cube."""
        return (in_2d if self.ndim == 2 else in_3d,) * self.ndim

    def learn(self, name: str, values: Sequence[Any], text: str, partly: Sequence[Any] = ()) -> None:
        """What was seen of a field: the values that agree with it, and the evidence."""
        self.answers[name] = Answer(name, tuple(values), text, partly=tuple(partly))

    def cannot(self, name: str, reason: str, values: Sequence[Any] | None = None) -> None:
        """Nothing is said of a field, or no more than that it has one of these values."""
        self.answers[name] = Answer(
            name, tuple(choices(name) if values is None else values), f"cannot be observed: {reason}", observed=False
        )

    def values(self, name: str) -> tuple[Any, ...]:
        """The values of a field that agree with what has been seen so far."""
        return self.answers[name].values if name in self.answers else choices(name)

    def find(self, preferred: Sequence[Map]) -> list[Map]:
        """Those settings that the backend is for; where it is for none, others with blocks that fit."""
        found = self.run.accepted.find(Needs("", tuple(preferred), _fits))
        return [*found, *(one for one in self.answered if one not in found)]

    def draw(
        self,
        one: Map,
        *,
        samples: int = 1,
        channels: int = 1,
        seed: int | None = None,
        dtype: str | None = None,
        x_seed: int | None = None,
    ) -> tuple[Array, Array]:
        """One call: x and y, as (samples, channels, *map)."""
        if not self.run.backend.is_for(one.spatial_shape, one.block_size, one.drop_prob):
            raise NotFor("the backend says that it is not for it")
        shape = self.run.shape(*self.batch(one, samples, channels), one.spatial_shape)
        key = (shape, dtype or self.run.dtype, self.seed if x_seed is None else x_seed)
        if key not in self._given:
            self._given = {key: make_input(*key)}
        x = self._given[key]
        call = self.run.forward_call(x, one, seed=seed)
        y = self.run.calls.forward(x, one, training=True, seed=seed, call=call, readable=False)
        self.run.calls.take()  # what is wrong with any call is for the checks
        inside = self.run.layout(x).inside
        return inside(x), inside(y)

    def batch(self, one: Map, samples: int, channels: int) -> tuple[int, int]:
        """So many samples and channels, or as near to that as it takes."""
        samples = min(samples, self.samples or samples)
        channels = max(min(channels, self.most_channels or channels), self.channels)
        return self.run.batch(samples, channels, one.spatial_shape)

    def answers_to(self, one: Map) -> bool:
        """Whether anything comes."""
        try:
            self.draw(one, samples=2, seed=self.seed)
        except NO_OUTPUT:
            return False
        return True

    def first(self, preferred: Sequence[Map]) -> Map:
        """The first setting that is answered; where none is, one that was."""
        return next((one for one in self.find(preferred) if self.answers_to(one)), self.answered[0])

    def masks_in_a_call(self) -> int:
        """How many independent masks one call has, if many are asked for."""
        given = self.batch(self.answered[0], 1024, 1024)
        names = ("shared_samples", "shared_channels")
        return math.prod(n for name, n in zip(names, given, strict=True) if self.values(name) == (False,))

    def calls_of_masks(self, one: Map, count: int, calls: int = 16) -> Iterator[Mask]:
        """About so many independent masks, in so many calls or more: what samples or channels share counts once.

        In one call at least, and in so many at most that a backend with one mask in each takes seconds.
        """
        own_samples, own_channels = (self.values(name) == (False,) for name in ("shared_samples", "shared_channels"))
        cells = _CELLS_PER_CALL_IN_HALF if self.run.dtype in ("float16", "bfloat16") else _CELLS_PER_CALL
        most = max(1, min(count // calls, cells // math.prod(one.spatial_shape)))
        given = self.batch(one, most if own_samples else 1, most if own_channels and not own_samples else 1)
        own = (given[0] if own_samples else 1, given[1] if own_channels else 1)
        for number in range(min(-(-count // math.prod(own)), _CALLS)):
            y = self.draw(one, samples=given[0], channels=given[1], seed=self.seed if number == 0 else None)[1]
            yield dropped_cells(y)[: own[0], : own[1]].reshape(-1, *one.spatial_shape)

    def masks(self, one: Map, count: int, calls: int = 16) -> Mask:
        """About so many independent masks, of so many calls at least."""
        return np.concatenate(list(self.calls_of_masks(one, count, calls)))[:count]

    def candidates(self, **given: Sequence[Any]) -> Iterator[Convention]:
        """The conventions that agree with what is known of where seeds lie and how many, and have these values."""
        names = ("gamma_rule", "seed_region", "even_extra_cell", "oversize_block")
        for row in itertools.product(*(given.get(name, self.values(name)) or choices(name) for name in names)):
            try:
                yield replace(PAPER, name="seen", source="outputs", **dict(zip(names, row, strict=True)))
            except ValueError:  # noqa: PERF203  (these contradict each other)
                continue


def _fits(one: Map, _: Convention) -> bool:
    return all(2 * b <= S for b, S in zip(one.sides, one.spatial_shape, strict=True)) and one.drop_prob <= 0.5


def dropped_cells(y: Array) -> Mask:
    """Where outputs, (samples, channels, *map), show a dropped cell; a map of NaN is one that is dropped whole."""
    return read_dropped(y, tuple(range(2, y.ndim)))


def where(one: Map) -> str:
    """The setting, as it stands in answers."""
    return f"{'x'.join(map(str, one.spatial_shape))} with block {one.block_size}"


# How it can be called, and whether its outputs are x with dropped cells


def access(box: Box) -> None:
    """How many samples and channels it takes; raises ValueError where nothing is answered."""
    maps = box.find([Map(box.side(15, 8), b, 0.3) for b in _ODD])
    others = [Map(box.side(*sides), b, p) for *sides, b, p in _OTHERS]
    maps += [one for one in others if one not in maps]
    reasons: dict[str, str] = {}
    for channels, samples in itertools.product((1, 4, 64), (0, 1)):
        box.samples, box.channels = samples, channels
        for one in maps:
            try:
                box.draw(one, samples=4, seed=box.seed)
            except NO_OUTPUT as error:  # noqa: PERF203
                if not isinstance(error, NotFor):
                    reasons.setdefault(why(error), f"{where(one)}, drop_prob {one.drop_prob}")
            else:
                box.answered.append(one)
        if box.answered:
            _most_channels(box)
            return
    told = "; ".join(f"{text} (first on {place})" for text, place in list(reasons.items())[:3])
    raise ValueError(
        f"backend {box.backend.name!r} gives no output that can be looked at: "
        f"{told or 'it says that it is for none of the settings that identify tries'}"
    )


def _most_channels(box: Box) -> None:
    """Whether it takes four channels; and a note of what it does not take."""
    try:
        box.draw(box.answered[0], samples=4, channels=4, seed=box.seed)
    except NO_OUTPUT:
        box.most_channels = box.channels
    box.notes += ["takes one sample at a time only"] * (box.samples == 1)
    box.notes += [f"takes no single channel; {box.channels} are answered"] * (box.channels > 1)
    box.notes += ["takes one channel only"] * (box.most_channels == 1)


def legible(box: Box) -> None:
    """Whether some cells are dropped, some kept, and those that are kept are x times one factor per map."""
    seen: dict[str, list[str]] = {}
    for one in box.find([Map(box.side(15, 8), b, 0.3) for b in _ODD]):
        try:
            what, number = _look(box, one)
        except NO_OUTPUT:
            continue
        seen.setdefault(what, []).append(f"{number} cells on {where(one)}, drop_prob {one.drop_prob}")
    box.notes += [f"{what} ({'; '.join(places)})" for what, places in seen.items() if what]
    if "" not in seen:
        box.illegible = " and ".join(seen)


def _look(box: Box, one: Map) -> tuple[str, str]:
    """What is wrong with the outputs of one setting, empty where they show masks; and in how many cells."""
    dropped = cells = odd = 0
    for number in range(200):  # a rate may rise from 0
        x, y = box.draw(one, samples=4, channels=4, seed=box.seed if number == 0 else None)
        zero = dropped_cells(y)
        dropped, cells = dropped + int(np.count_nonzero(zero)), cells + zero.size
        with np.errstate(all="ignore"):
            ratio = np.where(zero, np.nan, y.astype(np.float64) / x)
            flat = ratio.reshape(*ratio.shape[:2], -1)
            common = np.where(zero.reshape(flat.shape).all(axis=-1), 1.0, _middle(flat))
            off = ~(np.abs(flat / common[..., None] - 1) <= 1e-2) & ~zero.reshape(flat.shape)
        odd += int(np.count_nonzero(off))
        if odd or (number >= 7 and 0 < dropped < cells) or (number >= 7 and dropped == cells):
            break
    if odd:
        return "writes what is neither 0 nor x times one factor of the map", f"{odd} of {cells}"
    if dropped == cells:
        return "drops everything", f"all of {cells}"
    return "" if dropped else "drops nothing", f"{dropped} of {cells}"


def _middle(flat: Array) -> Array:
    """The median of each row without NaN: the lower of two, because it must be one of the row."""
    ordered = np.sort(flat, axis=-1)  # NaN come last
    number = np.count_nonzero(~np.isnan(flat), axis=-1)
    middle: Array = np.take_along_axis(ordered, np.maximum(number - 1, 0)[..., None] // 2, axis=-1)[..., 0]
    return middle


# What masks have in common


def sharing(box: Box) -> None:
    """Whether channels, and samples, always have one mask; and whether calls do."""
    one = box.first([Map(box.side(15, 8), b, 0.3) for b in _ODD])
    given = [*range(box.seed, box.seed + 8), *(None,) * 8]
    masks = np.stack([dropped_cells(box.draw(one, samples=4, channels=4, seed=seed)[1]) for seed in given])
    number = np.count_nonzero(masks, axis=tuple(range(3, masks.ndim)))
    telling = (number > 0) & (number < math.prod(one.spatial_shape))
    for axis, what, name in ((2, "channel", "shared_channels"), (1, "sample", "shared_samples")):
        size = masks.shape[axis]
        if size == 1:
            box.cannot(name, f"there is one {what} in a call")
            continue
        pairs = list(itertools.combinations(range(size), 2))
        alike = [pair for pair in pairs if (np.take(masks, pair[0], axis) == np.take(masks, pair[1], axis)).all()]
        calls = int(np.count_nonzero(np.any(telling, axis=(1, 2))))
        of = f"in {calls} calls of {masks.shape[1]} samples and {masks.shape[2]} channels on {where(one)}"
        if calls < 6:
            box.cannot(name, f"too few masks dropped something and kept something ({of})")
        elif len(alike) == len(pairs):
            box.learn(name, [True], f"True: all {what}s had the same mask, {of}")
        elif not alike:
            box.learn(name, [False], f"False: any two {what}s had different masks, {of}")
        else:
            box.learn(name, [], f"some share, some do not: {what}s {_list(alike)} always had the same mask, {of}")
    if telling.any() and (masks == masks[0]).all():
        box.rateless = "every call has the same masks"
        box.notes.append(f"{box.rateless}: {len(masks)} calls, with 8 random seeds and without, on {where(one)}")
        for name in ("shared_channels", "shared_samples"):
            box.cannot(name, box.rateless)


def _list(pairs: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{i} and {j}" for i, j in pairs[:3]) + (", ..." if len(pairs) > 3 else "")


def dependence_on_x(box: Box) -> None:
    """Whether one random seed gives one mask, whatever x is."""
    if not box.backend.reseeds:
        return
    one = box.first([Map(box.side(15, 8), b, 0.3) for b in _ODD])
    x_seeds = (box.seed, box.seed, box.seed + 1)
    masks = [dropped_cells(box.draw(one, samples=2, channels=2, seed=box.seed, x_seed=k)[1]) for k in x_seeds]
    if (masks[0] == masks[1]).all() and not (masks[0] == masks[2]).all():
        box.rateless = box.rateless or "the mask depends on x"
        box.notes.append(f"the mask depends on x: another x with the same random seed has another one, on {where(one)}")


# What a block is


@dataclass(frozen=True)
class Regions:
    """What separate dropped regions of many masks show that touch no border, and what lies in no block."""

    number: int
    alike: int = 0  # of which so many are the most common one
    extent: tuple[int, ...] = ()  # of that one
    template: Mask = field(default_factory=lambda: np.ones(0, dtype=np.bool_))
    begins: Mask = field(default_factory=lambda: np.ones(0, dtype=np.bool_))  # where regions as large as a block begin
    loose: int = 0  # dropped cells that lie in no whole block, be it cut at the border or not
    dropped: int = 0


def see_regions(masks: Mask, sides: tuple[int, ...]) -> Regions:
    """Cut masks into separate regions."""
    structure = np.ones((3,) * len(sides))
    inside: Counter[tuple[tuple[int, ...], bytes]] = Counter()
    begins = np.zeros(masks.shape[1:], dtype=np.bool_)
    for mask in masks:
        labels, _ = ndimage.label(mask, structure)
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            if any(part.start == 0 or part.stop == S for part, S in zip(box, mask.shape, strict=True)):
                continue
            size = tuple(part.stop - part.start for part in box)
            begins[tuple(part.start for part in box)] |= size == sides
            inside[size, (labels[box] == number).tobytes()] += 1
    if not inside:
        return Regions(0)
    (extent, cells), alike = inside.most_common(1)[0]
    template = np.frombuffer(cells, dtype=np.bool_).reshape(extent)
    some = masks[:_LOOKED_AT]
    beyond = [(0, 0), *((b, b) for b in sides)]
    blocks = ndimage.grey_opening(np.pad(some, beyond, constant_values=True).view(np.uint8), (1, *sides)) > 0
    whole = blocks[(slice(None), *(slice(b, -b) for b in sides))]
    loose = int(np.count_nonzero(some & ~whole))
    return Regions(sum(inside.values()), alike, extent, template, begins, loose, int(np.count_nonzero(some)))


def blocks(box: Box) -> None:
    """Whether a block is the whole box of its size, lies anywhere, and is not the only one."""
    one = box.first([Map(box.side(15, 9), b, 0.04) for b in _ODD])
    seen = see_regions(box.masks(one, 2000, _MANY), one.sides)
    box.rateless = box.rateless or _ill_formed(box, one, seen)
    if seen.number < _FEWEST:
        box.rateless = box.rateless or f"{seen.number} dropped regions lie clear of the borders on {where(one)}"
    b = one.sides
    if seen.extent == b and max(b) > 1 and np.count_nonzero(seen.begins) > 1:
        positions = [np.unique(axis) for axis in np.nonzero(seen.begins)]
        apart = [len(np.unique(axis % n)) == 1 and n > 1 for axis, n in zip(positions, b, strict=True)]
        if any(apart) and seen.number > 100:
            text = f"{_GRID}: of {seen.number} separate ones on {where(one)} all begin at cells "
            text += ", ".join(
                f"{', '.join(map(str, axis[:4]))}{', ...' * (len(axis) > 4)} of axis {k}"
                for k, axis in enumerate(positions)
                if apart[k]
            )
            box.notes.append(text)
            box.rateless = box.rateless or _GRID
    dense = box.first([replace(one, drop_prob=0.3), one])
    masks = box.masks(dense, 4000)
    some = masks[masks.any(axis=tuple(range(1, masks.ndim)))]
    # With seeds of their own a map has one, if it has any, with the probability rate / (e^rate - 1) at most.
    rate = -math.log1p(-min(max(len(some), 1) / len(masks), 1 - 1e-9))
    unlikely = len(some) * math.log(rate / math.expm1(rate)) < math.log(_SHARE)
    if unlikely and all(_spans(some, axis) <= n for axis, n in enumerate(b)):
        box.rateless = box.rateless or "a map has one block at most"
        box.notes.append(
            f"a map has one block at most: {len(some)} of {len(masks)} maps have one, and none has two, at "
            f"drop_prob {dense.drop_prob} on {where(dense)}"
        )


def _ill_formed(box: Box, one: Map, seen: Regions) -> str:
    """What is wrong with a block, which is noted; empty where nothing is."""
    b = one.sides
    size = "x".join(map(str, b))
    if seen.number < _FEWEST:
        return ""
    of = f"{seen.number} separate regions on {where(one)}"
    if seen.extent != b and 3 * seen.alike > 2 * seen.number:  # in whatever call
        text = f"blocks of {size} are {'x'.join(map(str, seen.extent))} cells"
        box.notes.append(f"{text}: the most common of {of}")
    elif seen.loose:
        text = "blocks are not whole"
        shown = "" if seen.template.all() else f"; the most common of {of}:\n{picture(~seen.template)}"
        box.notes.append(
            f"{text}: {seen.loose} of {seen.dropped} dropped cells lie in no box of {size}, on {where(one)}{shown}"
        )
    else:
        return ""
    return text


def _spans(masks: Mask, axis: int) -> int:
    """The longest stretch of an axis from the first dropped position of a mask to the last."""
    others = tuple(k + 1 for k in range(masks.ndim - 1) if k != axis)
    along: Mask = np.any(masks, axis=others)
    size = along.shape[1]
    return int((size - along[:, ::-1].argmax(axis=1) - along.argmax(axis=1)).max(initial=0))


# Where seeds lie, and how many


@dataclass(frozen=True)
class Rates:
    """How often each cell of a setting was dropped in independent masks, and what that says of gamma."""

    one: Map
    counts: NDArray[np.int64]
    masks: int
    gamma: tuple[float, float, float]  # estimate and interval, where blocks are whole
    uneven: str  # why the interval is none: the cells that it is made of differ

    def of(self, n: NDArray[Any]) -> tuple[Array, Array]:
        """The lowest and the highest rate of cells that n eligible seeds cover."""
        low, high = (-np.expm1(n * math.log1p(-min(gamma, 1 - 1e-12))) for gamma in self.gamma[1:])
        return low, high

    def agree(self, counts: NDArray[np.int64], n: NDArray[Any]) -> bool:
        """Whether cells that n seeds cover are dropped as often as these were."""
        nearest = np.clip(counts / self.masks, *self.of(n))
        return bool((binomial_p_values(counts, self.masks, np.minimum(nearest, 1.0)) > _SHARE / counts.size).all())


def measure(one: Map, masks: Sequence[Mask], *, central: bool = False) -> Rates:
    """The rates; and gamma by Clopper and Pearson, from cells in the middle that no block covers together.

    Where blocks do not begin where they should, from the central one alone.
    """
    counts: NDArray[np.int64] = sum(
        (np.count_nonzero(part, axis=0) for part in masks), np.zeros(one.spatial_shape, int)
    )
    number, n = sum(map(len, masks)), math.prod(one.sides)
    middle = tuple(slice(b - 1, S - b + 1, b) for b, S in zip(one.sides, one.spatial_shape, strict=True))
    if central:
        middle = tuple(slice(S // 2, S // 2 + 1) for S in one.spatial_shape)
    chosen = counts[middle]
    dropped, draws = int(chosen.sum()), chosen.size * number
    low = beta_quantile(dropped, draws - dropped + 1, _SHARE / 2) if dropped else 0.0
    high = beta_quantile(dropped + 1, draws - dropped, 1 - _SHARE / 2) if dropped < draws else 1.0

    def as_gamma(rate: float) -> float:
        return -math.expm1(math.log1p(-rate) / n) if rate < 1 else 1.0

    rates = Rates(one, counts, number, (as_gamma(dropped / draws), as_gamma(low), as_gamma(high)), "")
    if rates.agree(chosen, np.full(chosen.shape, n)):
        return rates
    text = f"cells in the middle are dropped {chosen.min()} to {chosen.max()} times in {number} masks on {where(one)}"
    return replace(rates, uneven=text)


def anchors(rates: Rates) -> list[tuple[str, str]]:
    """Which seed regions and anchors of even blocks agree with the rates of all cells."""
    fits = []
    for region, anchor in itertools.product(CHOICES["seed_region"], _SIDES):
        rules = replace(PAPER, seed_region=region, even_extra_cell=anchor)
        along = coverage_along_axes(place_block(rates.one.block_size, rates.one.spatial_shape, rules))
        n = along[0]
        for other in along[1:]:
            n = np.multiply.outer(n, other)
        if rates.agree(rates.counts, n):
            fits.append((region, anchor))
    return fits


def begins(rates: Rates) -> tuple[str, bool]:
    """From where to where blocks begin along each axis, read from the rates along its middle line.

    And whether the rates of all cells agree with that.
    """
    told, found = [], []
    for axis, (b, S) in enumerate(zip(rates.one.sides, rates.one.spatial_shape, strict=True)):
        line = tuple(slice(None) if k == axis else size // 2 for k, size in enumerate(rates.one.spatial_shape))
        u, others = np.arange(S), math.prod(rates.one.sides) // b
        fits = []
        for first, last in itertools.product(range(1 - b, b + 1), range(S - 2 * b, S)):
            n = np.maximum(np.minimum(u, last) - np.maximum(u - b + 1, first) + 1, 0)
            if rates.agree(rates.counts[line], n * others):
                fits.append((first, last))
        if len(fits) == 1:
            first, last = fits[0]
            found.append(np.maximum(np.minimum(u, last) - np.maximum(u - b + 1, first) + 1, 0))
            told.append(f"at {fits[0][0]} to {fits[0][1]} on axis {axis} (blocks fit at 0 to {S - b})")
        elif not fits:
            told.append(f"in no one stretch with one gamma on axis {axis}")
    if not told:
        return "begins blocks where is not clear", False
    whole = len(found) == len(rates.one.sides) and rates.agree(rates.counts, reduce(np.multiply.outer, found))
    along = "" if whole else " along the middle of the map, and the rates of other cells do not agree with that"
    return f"begins blocks {', '.join(told)}{along}", whole


def untouched(rates: Rates) -> list[str]:
    """The borders that no block touched, where by chance some would have."""
    names = ("row", "column") if len(rates.one.sides) == 2 else ("plane", "row", "column")
    found = []
    for axis, (name, b, S) in enumerate(zip(names, rates.one.sides, rates.one.spatial_shape, strict=True)):
        along: Mask = np.any(np.moveaxis(rates.counts, axis, 0).reshape(S, -1), axis=1)
        others = math.prod(rates.one.sides) // b
        chance = (1 - float(rates.of(np.asarray(others))[0])) ** rates.masks  # in the middle of a border
        if chance > _SHARE or not along.any():
            continue
        for end, number in (("first", int(along.argmax())), ("last", int(along[::-1].argmax()))):
            if number:
                found.append(f"the {end} {name if number == 1 else f'{number} {name}s'}")
    return found


def seeds(box: Box) -> tuple[Rates | None, bool, list[float]]:
    """Where seeds lie and how many, by rates on a square map and on oblong ones.

    What was counted on the square one, if it means anything; whether gamma can be read from it; and the fraction that
    each call dropped.
    """
    square = [Map(box.side(28, 14), 7, 0.1), *(Map(box.side(28, 12), b, 0.1) for b in (5, 3, 2, 1))]
    one = box.first(square)
    calls = list(box.calls_of_masks(one, 20_000 if box.ndim == 2 else 10_000))
    rates, dropped = measure(one, calls), [float(masks.mean()) for masks in calls]
    if not box.rateless:
        few = np.concatenate(calls)[:: max(1, rates.masks // 2000)]
        box.rateless = _ill_formed(box, one, see_regions(few, one.sides)) or _dependent(box, one, calls)
    if box.rateless:
        if box.rateless == _GRID:
            box.learn("seed_region", [], f"neither: {_GRID}")
        else:
            box.cannot("seed_region", box.rateless)
        box.cannot("gamma_rule", f"gamma cannot be read, because {box.rateless}")
        return None, False, dropped
    fits = [] if rates.uneven else anchors(rates)
    if not fits and (rates.uneven or not begins(rates)[1]):  # some of those in the middle may be covered less
        rates = measure(one, calls, central=True)
    same = _regions(box, rates, fits, _oblong(box, one) if fits else [])
    if not (fits or begins(rates)[1]):
        box.cannot("gamma_rule", "gamma cannot be read, because it is not clear where seeds lie")
        return rates, False, dropped
    _gamma_rule(box, [rates, *same])
    return rates, True, dropped


def _oblong(box: Box, one: Map) -> list[Rates]:
    """The rates on maps that are shorter along one axis."""
    found: list[Rates] = []
    for axis in (0, -1):
        sides = list(one.spatial_shape)
        sides[axis] -= 8
        shape = tuple(sides)
        b: Any = one.block_size if max(one.sides) * 2 <= min(shape) else 3
        for other in box.find([Map(shape, b, 0.5)])[:1]:
            if other.spatial_shape in (one.spatial_shape, *(known.one.spatial_shape for known in found)):
                continue
            with contextlib.suppress(*NO_OUTPUT):
                found.append(measure(other, list(box.calls_of_masks(other, 10_000))))
    return found


def _regions(box: Box, rates: Rates, fits: Sequence[tuple[str, str]], oblong: Sequence[Rates]) -> list[Rates]:
    """The region of seeds; and those of the oblong maps on which it is the same, so that gamma can be read there.

    `fits` are the regions and anchors that agree with the rates of all cells.
    """
    told = f"{rates.masks} masks on {where(rates.one)}"
    regions = tuple(dict.fromkeys(region for region, _ in fits))
    never = untouched(rates)
    box.notes += [f"never reaches {text}, in {told}" for text in never]
    same, elsewhere = [], []
    for other in oblong:
        if there := untouched(other):
            elsewhere.append(f"never reaches {', '.join(there)} on {where(other.one)}")
        elif other.uneven:
            elsewhere.append(f"has other rates: {other.uneven}")
        elif not any(pair in fits for pair in anchors(other)):
            elsewhere.append(f"{begins(other)[0]} on {where(other.one)}")
        else:
            same.append(other)
    if never:
        box.cannot("seed_region", f"no block ever touched {', '.join(never)}")
    elif not fits:
        box.learn("seed_region", [], f"neither: it {begins(rates)[0]} ({told})")
    elif elsewhere:
        text = f"{' or '.join(regions)} on {where(rates.one)}, but on oblong maps it {'; '.join(elsewhere)}"
        box.learn("seed_region", [], text, partly=regions)
    elif len(regions) > 1:
        box.cannot("seed_region", f"the rates of all cells agree with both ({told})", regions)
    else:
        maps = f" and {len(same)} oblong maps" if same else ""
        text = {"fitting": "no block sticks out of the map", "everywhere": "blocks are cut at every border"}[regions[0]]
        box.learn("seed_region", regions, f"{regions[0]}: {text} ({told}{maps})")
    return same


def _gamma_rule(box: Box, measured: Sequence[Rates]) -> None:
    """Which rules give a gamma within the interval, on every map on which it can be read."""

    def agrees(rule: str, rates: Rates) -> bool:
        if rule == "calibrated" and not box.values("seed_region"):
            return False  # it follows from where seeds lie
        given = box.candidates(gamma_rule=[rule], even_extra_cell=["before"], oversize_block=["refused"])
        one = rates.one
        return any(
            rates.gamma[1]
            <= seed_probability(one.drop_prob, one.block_size, one.spatial_shape, convention=rules)
            <= rates.gamma[2]
            for rules in given
        )

    first = measured[0]
    fits = [rule for rule in CHOICES["gamma_rule"] if all(agrees(rule, rates) for rates in measured)]
    estimate, low, high = first.gamma
    one = first.one
    expected = seed_probability(one.drop_prob, one.block_size, one.spatial_shape)
    told = f"gamma {estimate:.6g}, between {low:.6g} and {high:.6g}; eq. (1) gives {expected:.6g}"
    if fits:
        box.learn("gamma_rule", fits, f"{' or '.join(fits)}: {told}")
        return
    if square := [rule for rule in CHOICES["gamma_rule"] if agrees(rule, first)]:
        others = [
            f"on {where(rates.one)}, drop_prob {rates.one.drop_prob}, "
            f"between {rates.gamma[1]:.6g} and {rates.gamma[2]:.6g}"
            for rates in measured[1:]
        ]
        told = f"{' or '.join(square)} on {where(one)} alone: {told}; {'; '.join(others)}"
    else:
        told = f"{told}, {estimate / expected:.3g} times that"
    box.learn("gamma_rule", [], f"no published rule; {told}", partly=square)


def _dependent(box: Box, one: Map, calls: Sequence[Mask]) -> str:
    """Whether masks repeat, differ in their rates or depend on others; what is so is noted."""
    tally = Tally(find_law(one, PAPER))
    for number, masks in enumerate(calls[:200]):
        tally.add(masks.reshape(-1, 1, masks[0].size), box.seed if number == 0 else None)
    told = _uneven_numbers(one, np.concatenate(calls))
    if (fault := find_dependent_draws(tally, _SHARE)) is not None:
        told = f"masks are not drawn anew and alike: {fault.text.splitlines()[0]} (on {where(one)})"
    box.notes += [told] if told else []
    return told.split(":")[0]


def _uneven_numbers(one: Map, masks: Mask) -> str:
    """Whether the number of dropped cells, of cells that no block covers together, varies as that of independent ones.

    By the rates that were seen, which is why a variance that is off by less than two percent is let pass.
    """
    cells = masks[(slice(None), *(slice(b // 2, None, b) for b in one.sides))].reshape(len(masks), -1)
    law = count_law(cells.mean(axis=0), 1)
    if law.variance == 0:
        return ""
    ratio = float(np.var(cells.sum(axis=1), ddof=1)) / law.variance
    steady, unsteady = law.steady_p_value(ratio * 1.02, len(masks)), law.unsteady_p_value(ratio / 1.02, len(masks))
    if min(steady, unsteady) > _SHARE:
        return ""
    return (
        f"the cells of a map are not independent: in {len(masks)} masks on {where(one)} the number of dropped cells, a "
        f"block apart, has {ratio:.2g} times the variance of independent ones"
        + (", as if the number of seeds were fixed" if ratio < 1 else "")
    )


def even_blocks(box: Box) -> None:
    """On which side of the seed an even block has its extra cell, and whether it has as many cells as it should."""
    name = "even_extra_cell"
    answered, refused, shapes = [], {}, {}
    for b in (2, 4):
        one = Map(box.side(15, 9), b, 0.3)
        try:
            box.draw(one, samples=2, seed=box.seed)
        except NotFor:
            continue
        except Refused as error:
            refused[b] = why(error)
        except Unreadable as error:
            shapes[b] = why(error)
        else:
            answered.append(one)
    if shapes:
        box.learn(name, [], f"neither: {'; '.join(f'with block {b} {text}' for b, text in shapes.items())}")
    elif refused:
        _refused(box, answered, *next(iter(refused.items())))
    elif not answered:
        box.cannot(name, "the backend says that it is not for even blocks")
    elif box.illegible or box.rateless:
        box.cannot(name, box.illegible or box.rateless, _SIDES)
    else:
        _anchor(box, answered)


def _refused(box: Box, answered: Sequence[Map], b: int, raised: str) -> None:
    """Whether it is because they are even that blocks are refused."""
    name = "even_extra_cell"
    if answered:
        box.learn(name, [], f"block {b} is refused, {where(answered[0])} is not: {raised}")
    elif box.answers_to(Map(box.side(15, 9), 3, 0.3)):
        box.learn(name, ["refused"], f"refused: {raised}")
    else:
        box.cannot(name, f"block 3 is refused on the same map, too ({raised})")


def _anchor(box: Box, answered: Sequence[Map]) -> None:
    name = "even_extra_cell"
    for one in answered:
        rare = box.first([replace(one, drop_prob=0.04), one])
        if wrong := _ill_formed(box, rare, see_regions(box.masks(rare, 1500, _MANY), rare.sides)):
            box.learn(name, [], f"neither: {wrong}")
            return
    if not box.values("seed_region"):
        box.cannot(name, "seeds of odd blocks lie where no published rule has them", _SIDES)
        return
    calls = list(box.calls_of_masks(answered[-1], 8000))
    rates = measure(answered[-1], calls)
    told = f"{rates.masks} masks on {where(rates.one)}"
    fits = [pair for pair in anchors(rates) if pair[0] in box.values("seed_region")]
    values = [anchor for anchor in CHOICES[name] if anchor in [pair[1] for pair in fits]]
    if (rates.uneven or not fits) and not box.answers["seed_region"].observed:
        box.cannot(name, "it is told by where seeds lie, which is not clear", _SIDES)
    elif rates.uneven or not fits:
        if rates.uneven:
            rates = measure(rates.one, calls, central=True)
        box.learn(name, [], f"neither before nor after: it {begins(rates)[0]} ({told})")
    elif len(values) == 1:
        box.learn(name, values, f"{values[0]}: it {begins(rates)[0]} ({told})")
    else:
        fitting = {region for region, _ in fits} == {"fitting"}
        same = "where blocks must fit, both anchors give the same masks"
        box.cannot(name, same if fitting else f"the rates of all cells agree with both ({told})", values)


def takes_sides(box: Box) -> bool:
    """Whether a block may have a size per axis."""
    return box.answers_to(Map(box.side(15, 8), (3, 5, 3)[: box.ndim], 0.3))


def oversize(box: Box) -> None:
    """What happens to a block larger than the map: refused, or the rule whose exact rates agree with what is seen."""
    name = "oversize_block"
    seen, refusals, ill_shaped = _larger_blocks(box)
    if ill_shaped:
        box.learn(name, [], f"none of the published rules: {ill_shaped}")
    elif not seen and refusals:
        if _answers_without_excess(box):
            box.learn(name, ["refused"], f"refused: {refusals[0]}")
        else:
            box.cannot(name, f"such blocks, or such maps, are refused in any case ({refusals[0]})")
    elif not seen:
        box.cannot(name, "the backend says that it is not for larger blocks")
    else:
        _rule_for_oversize(box, seen, "; ".join([", ".join(where(one) for one, _, _ in seen), *refusals]))


def _rule_for_oversize(box: Box, seen: Sequence[_Counted], places: str) -> None:
    name = "oversize_block"
    told_by_rates = [rule for rule in CHOICES[name] if rule not in ("refused", "nothing_dropped")]
    some = any(counts.any() for _, counts, _ in seen)
    if box.illegible or box.rateless:
        box.cannot(name, box.illegible or box.rateless, told_by_rates if some else None)
    elif not some:
        box.learn(name, ["nothing_dropped"], f"nothing_dropped: nothing is dropped on {places}")
    elif not box.values("gamma_rule") or not box.values("seed_region"):
        box.cannot(name, "it is told by rates, and those of smaller blocks follow no published rule", told_by_rates)
    else:
        rules = [rule for rule in told_by_rates if _explains(box, rule, seen)]
        what = " or ".join(rules) or "none of the published rules"
        box.learn(name, rules, f"{what}: rates of cells on {places}")


def _answers_without_excess(box: Box) -> bool:
    """Whether the same block on a larger map, and a smaller block on the same map, are answered."""
    side = box.side(5, 3)
    return box.answers_to(Map(box.side(28, 14), side[0] + 2, 0.3)) and any(
        box.answers_to(Map(side, b, 0.3)) for b in (3, 1)
    )


def _larger_blocks(box: Box) -> tuple[list[_Counted], list[str], str]:
    """What was counted, what was refused and how, and what came that is no output."""
    side = 5 if box.ndim == 2 else 3
    square, oblong = (side,) * box.ndim, (side, *(side + 2,) * (box.ndim - 1))
    larger = [(square, side + 2), (oblong, side + 2), (square, side + 4)]
    if box.values("even_extra_cell") not in ((), ("refused",)):  # or it is wrong without being too large
        larger.append((square, side + 1))
    refusals: dict[str, str] = {}
    seen: list[_Counted] = []
    for one in (Map(shape, b, 0.3) for shape, b in larger):
        with contextlib.suppress(NotFor):
            try:
                masks = box.masks(one, 10_000)
                seen.append((one, np.count_nonzero(masks, axis=0), len(masks)))
            except Refused as error:
                refusals.setdefault(why(error), f"{why(error)} ({where(one)})")
            except Unreadable as error:
                return seen, list(refusals.values()), f"{why(error)}, on {where(one)}"
    return seen, list(refusals.values()), ""


def _explains(box: Box, rule: str, seen: Sequence[_Counted]) -> bool:
    """Whether some convention with this rule, and with what is known otherwise, gives all these rates."""
    anchors_ = [value for value in box.values("even_extra_cell") if value in _SIDES] or _SIDES[:1]
    for rules in box.candidates(oversize_block=[rule], even_extra_cell=anchors_):
        right = True
        for one, counts, masks in seen:
            rates = drop_probability(one.drop_prob, one.block_size, one.spatial_shape, convention=rules)
            right = right and bool((binomial_p_values(counts, masks, rates) > _SHARE / counts.size).all())
        if right:
            return True
    return False


def steady(box: Box, rates: Rates, calls: Sequence[float]) -> None:
    """Whether calls that are made after all others drop as much as the first ones did."""
    parts = np.array_split(np.array(calls), 16)
    fractions = [float(masks.mean()) for masks in box.calls_of_masks(rates.one, rates.masks // 2)]
    again = np.array_split(np.array(fractions), 16)
    first, later = ([float(part.mean()) for part in times if part.size] for times in (parts, again))
    # All of one kind are above all of the other by chance with this probability, if the order of calls means nothing.
    if 2 / math.comb(len(first) + len(later), len(first)) > _SHARE:
        return
    if max(first) < min(later) or min(first) > max(later):
        text = "the rate changes with the calls"
        box.notes.append(
            f"{text}: {np.mean(first):.4f} of the cells are dropped at first, {np.mean(later):.4f} later, "
            f"on {where(rates.one)}"
        )
        by_rates = ("gamma_rule", "seed_region", "even_extra_cell", "oversize_block")
        for name in [name for name in by_rates if box.values(name) not in (("refused",), ("nothing_dropped",))]:
            box.cannot(name, text)


# The scale


def scale(box: Box) -> None:
    """Which count of kept cells explains y / x in every draw."""
    one = box.first([Map(box.side(9, 5), b, 0.3) for b in _ODD])
    axes = tuple(range(box.ndim + 2))
    counted = {"batch": axes, "sample": axes[1:], "channel": axes[2:]}
    fits = set(choices("scale_over"))
    first, draws = "", 0
    for seed in range(box.seed, box.seed + 12):
        x, y = box.draw(one, samples=3, channels=3, seed=seed)
        kept = ~dropped_cells(y)
        if not kept.any() or kept.all():
            continue
        draws += 1
        with np.errstate(all="ignore"):
            ratio = y.astype(np.float64) / x.astype(np.float64)
            factors: dict[str, Any] = {
                name: np.mean(kept, axis=over, keepdims=True) ** -1.0 for name, over in counted.items()
            }
        factors |= {"none": 1.0, "keep_prob": 1 / (1 - one.drop_prob)}
        # Counts over other cells differ by more. What is wrong beyond, the check of the scale tells.
        coarse = max(1e-4, 16 * float(ulp(np.asarray(1.0), coarser(x.dtype, y.dtype))))
        fits = {
            name
            for name in fits
            if np.allclose(ratio[kept], np.broadcast_to(factors[name], x.shape)[kept], rtol=coarse, atol=0)
        }
        first = first or f"{np.median(ratio[kept]):.6g} with {np.count_nonzero(kept)} of {kept.size} cells kept"
    if draws < 3:
        box.cannot("scale_over", f"{draws} of 12 draws on {where(one)} dropped something and kept something")
        return
    values = [name for name in CHOICES["scale_over"] if name in fits]
    told = f"in the first of {draws} draws y / x is {first} on {where(one)}, drop_prob {one.drop_prob}"
    box.learn("scale_over", values, f"{' or '.join(values) or 'none of ' + ', '.join(CHOICES['scale_over'])}: {told}")


def all_dropped(box: Box) -> None:
    """What becomes of a batch of which nothing is kept."""
    name, over = "all_dropped", box.values("scale_over")
    if over == ("none",):
        box.cannot(name, "nothing is counted")
        return
    for p, (b, side) in itertools.product((1.0, 0.9), ((1, box.side(4, 3)), (3, box.side(3, 3)), (1, box.side(2, 2)))):
        one = Map(side, b, p)
        if p < 1 and "keep_prob" in over:
            continue  # whose scale is 0 or infinite for drop_prob 1 only
        try:
            for seed in range(box.seed, box.seed + (1 if p == 1 else 40)):
                y = box.draw(one, seed=seed)[1]
                if not y.any() or np.isnan(y).all():
                    value = "zeros" if not y.any() else "nan"
                    box.learn(name, [value], f"{value} (drop_prob {p} on {where(one)})")
                    return
        except NO_OUTPUT:
            continue
    box.cannot(name, "no output with every cell dropped was had")


def epsilon(box: Box) -> None:
    """From a draw with few kept cells, where what is added to their count shows most."""
    over = set(box.values("scale_over"))
    if not over or over - {"batch", "sample", "channel"}:
        box.cannot("epsilon", "the scale is no count of kept cells")
        return
    dtype = "float64" if "float64" in box.backend.dtypes else None
    seen: dict[int, tuple[float, float, int]] = {}  # by the number of kept cells: epsilon, its resolution, all cells
    for seed in range(box.seed, box.seed + 200):
        try:
            x, y = box.draw(Map(box.side(2, 2), 1, 0.6), seed=seed, dtype=dtype)
        except NO_OUTPUT:
            break
        own = slice(1 if over == {"channel"} else None)  # what is counted together
        x, y = x[:, own], y[:, own]
        kept = ~dropped_cells(y)
        number = int(np.count_nonzero(kept))
        if number and number < kept.size:
            ratio = float(np.median(y[kept].astype(np.float64) / x[kept]))
            # A scale that is computed in float32 shows no more, whatever the dtype of x.
            resolution = 4 * number * max(float(ulp(np.asarray(1.0), y.dtype)), 2.0**-23)
            seen.setdefault(number, (kept.size / ratio - number, resolution, kept.size))
    if len(seen) < 2 or min(seen) > 4:
        box.cannot("epsilon", "no draws with few kept cells were had")
        return
    fewest = min(seen)
    best, resolution, cells = seen[fewest]
    told = f"{best:.3g} +- {resolution:.1g}, from {fewest} kept of {cells} cells"
    if any(abs(one - best) > resolution + error for one, error, _ in seen.values()):
        box.cannot("epsilon", f"no one number is added to all counts ({told}, and others from more)")
        return
    box.learn("epsilon", [value for value in choices("epsilon") if abs(value - best) <= resolution], told)
