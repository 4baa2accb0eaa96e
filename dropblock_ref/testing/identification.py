"""identify: what an unknown implementation does, read from outputs alone; its declared convention is not looked at."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from ..arguments import check_instance, check_integer, describe_error
from ..call import find_layout
from ..convention import CHOICES, CONVENTIONS, PAPER, Convention
from ..picture import picture
from ..stages import gamma as seed_probability
from ..theory import drop_probability, expected_drop_fraction
from .backend import Backend
from .observation import coarser, make_input, read_dropped, ulp
from .oracle import check_backend
from .report import ERROR, Answer, Identification
from .statistics import binomial_p_values

_CELLS_PER_CALL = 1_000_000


class _Refused(Exception):  # noqa: N818  (an outcome, not an error)
    """The black box raised an exception."""


@dataclass
class _Box:
    """The black box, its first rank, and what has been learned."""

    backend: Backend
    seed: int
    answers: dict[str, Answer] = field(default_factory=dict)

    @property
    def ndim(self) -> int:
        return self.backend.spatial_ndims[0]

    def side(self, in_2d: int, in_3d: int) -> tuple[int, ...]:
        return (in_2d if self.ndim == 2 else in_3d,) * self.ndim

    def accepts(self, spatial_shape: tuple[int, ...], block_size: Any) -> bool:
        return self.backend.is_for(spatial_shape, block_size)

    def learn(self, name: str, values: Sequence[Any], text: str) -> None:
        self.answers[name] = Answer(name, tuple(values), text)

    def draw(
        self,
        spatial_shape: tuple[int, ...],
        block_size: Any,
        drop_prob: float,
        *,
        samples: int = 1,
        channels: int = 1,
        seed: int | None = None,
        dtype: str | None = None,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """One call: x and y, as (samples, channels, *spatial)."""
        shape = (samples, channels, *spatial_shape)
        dtypes = self.backend.dtypes
        x = make_input(shape, dtype or ("float32" if "float32" in dtypes else dtypes[0]), self.seed)
        channel_axis = find_layout(self.backend.data_format, shape, "x").channel_axis
        given = np.ascontiguousarray(np.moveaxis(x, 1, channel_axis))
        if not self.accepts(spatial_shape, block_size):
            raise _Refused("the backend says that it is not for it")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                y = self.backend.forward(given.copy(), drop_prob, block_size, training=True, seed=seed)
        except Exception as error:
            raise _Refused(describe_error(error)[:120]) from error
        if not isinstance(y, np.ndarray) or y.shape != given.shape:
            raise _Refused(f"an output of shape {np.shape(y)} for x of shape {given.shape}")
        return x, np.moveaxis(y, channel_axis, 1)

    def masks(self, spatial_shape: tuple[int, ...], block_size: Any, drop_prob: float, count: int) -> NDArray[np.bool_]:
        """Dropped cells of `count` independent masks: one channel of every sample."""
        per_call = max(1, min(count, _CELLS_PER_CALL // math.prod(spatial_shape)))
        parts = []
        for number in range(-(-count // per_call)):
            seed = self.seed if number == 0 else None
            _, y = self.draw(spatial_shape, block_size, drop_prob, samples=per_call, seed=seed)
            parts.append(read_dropped(y)[:, 0])
        return np.concatenate(parts)[:count]

    def first_accepted(self, maps: Sequence[tuple[tuple[int, ...], int, float]]) -> tuple[tuple[int, ...], int, float]:
        """The first map, block and drop_prob that gives an output."""
        for one in maps:
            try:
                self.draw(*one, samples=2, seed=self.seed)
            except _Refused:
                continue
            return one
        raise ValueError(f"backend {self.backend.name!r} refuses every map that identify tries, of {list(maps)}")

    def candidate(self, **choices: Any) -> Convention:
        """The convention learned so far (the first value that agrees, or the paper's), with other choices."""
        known = {name: answer.values[0] for name, answer in self.answers.items() if answer.values}
        known.pop("oversize_block", None)
        fields = {**known, **choices}
        if fields.get("oversize_block") == "unclipped":
            fields["gamma_rule"], fields["seed_region"] = "uncorrected", "everywhere"
        return replace(PAPER, name="seen", source="what was seen", **fields)


def identify(backend: Backend, *, seed: int = 0) -> Identification:
    """Tell what an implementation of DropBlock does, from its outputs alone.

    Parameters
    ----------
    backend : Backend
        The black box. Only `forward`, `data_format`, `spatial_ndims`, `dtypes` and `accepts` are used to find out what
        it does; its `convention` is not looked at.
    seed : int
        Of the choices made here, and the first one given to the backend.

    Returns
    -------
    Identification
        ``.nearest``, ``.differences``, ``.gamma``, and a text form.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, or the backend refuses everything that is tried.

    Examples
    --------
    >>> from dropblock_ref import backends
    >>> from dropblock_ref.testing import identify
    >>> identify(backends.load("numpy")).nearest
    ('paper',)
    """
    check_instance(backend, "backend", Backend, "a dropblock_ref.testing.Backend")
    box = _Box(backend, check_integer(seed, "seed", 0))
    notes = _sharing(box)
    notes += _shape_of_blocks(box)
    _even_blocks(box)
    interval, setting, measured = _gamma(box)
    _scale(box)
    _all_dropped(box)
    _epsilon(box)
    _oversize(box)
    answers = tuple(box.answers[name] for name in _FIELDS)
    contradictions = {
        name: tuple(answer.field for answer in answers if getattr(row, answer.field) not in answer.values)
        for name, row in CONVENTIONS.items()
    }
    fewest = min(map(len, contradictions.values()))
    nearest = tuple(name for name, wrong in contradictions.items() if len(wrong) == fewest)
    differences = [
        f"{answer.field} {answer.text}; the paper's is {getattr(PAPER, answer.field)!r}"
        for answer in answers
        if getattr(PAPER, answer.field) not in answer.values
    ]
    differences += _fraction(box, *measured)
    differences += notes + _failed_checks(box, nearest[0])
    return Identification(backend.name, nearest, tuple(differences), interval, setting, answers, contradictions)


_FIELDS = (
    "gamma_rule",
    "seed_region",
    "even_extra_cell",
    "oversize_block",
    "shared_channels",
    "scale_over",
    "epsilon",
    "all_dropped",
)


def _fraction(
    box: _Box, spatial_shape: tuple[int, ...], block_size: int, drop_prob: float, seen: float, error: float
) -> list[str]:
    """How much more or less than the paper it drops, in words."""
    expected = expected_drop_fraction(drop_prob, block_size, spatial_shape)
    if abs(seen - expected) <= error:
        return []
    reason = ""
    if (
        box.answers["gamma_rule"].values[:1] == ("border_corrected",)
        and "everywhere" in box.answers["seed_region"].values
    ):
        reason = ": every cell is eligible while gamma assumes that blocks fit"
    where = f"{'x'.join(map(str, spatial_shape))} with block {block_size}"
    change = f"{abs(seen / expected - 1):.0%} {'more' if seen > expected else 'less'}"
    text = (
        f"drops {seen:.3f} of the cells at drop_prob {drop_prob} on {where}, {change} than the paper's {expected:.3f}"
    )
    return [text + reason]


def _failed_checks(box: _Box, nearest: str) -> list[str]:
    """What the oracle finds wrong when the box is held to the nearest convention."""
    held = replace(box.backend, convention=nearest, expected_failures={})
    report = check_backend(held, checks="quick", seed=box.seed)
    return [
        f"held to convention {nearest!r}, check {result.name} fails: {result.message.splitlines()[0].rstrip(':')}"
        for result in report.failures
    ]


def _sharing(box: _Box) -> list[str]:
    """Whether channels share masks; and samples, which no convention has."""
    one = box.first_accepted([(box.side(15, 8), block_size, 0.3) for block_size in (3, 5, 2, 1)])
    same = drawn = same_samples = 0
    for seed in range(box.seed, box.seed + 6):
        _, y = box.draw(*one, samples=4, channels=4, seed=seed)
        dropped = read_dropped(y)
        same += sum(int((dropped[n, c] == dropped[n, 0]).all()) for n in range(4) for c in range(1, 4))
        same_samples += sum(int((dropped[n, 0] == dropped[0, 0]).all()) for n in range(1, 4))
        drawn += 12
    if same == drawn:
        box.learn("shared_channels", [True], f"True: the channels of each of {drawn // 3} samples had the same mask")
    else:
        box.learn("shared_channels", [False], f"False: {drawn - same} of {drawn} pairs of channels had different masks")
    if same_samples < drawn // 4:
        return []
    return [f"all samples of a batch share one mask: all {same_samples} pairs of samples that were looked at did"]


@dataclass(frozen=True)
class _Blocks:
    """What the separate dropped regions of many masks show, per axis."""

    extent: tuple[int, ...]
    at_low_border: tuple[int, ...]  # the narrowest region that touches the low border of the axis
    at_high_border: tuple[int, ...]
    template: NDArray[np.bool_]  # the most common region that touches no border
    regions: int


def _see_blocks(masks: NDArray[np.bool_]) -> _Blocks | None:
    """Cut masks into separate regions; None where no region is clear of the borders."""
    ndim = masks.ndim - 1
    structure = np.ones((3,) * ndim)
    inside: Counter[tuple[tuple[int, ...], bytes]] = Counter()
    low, high = [math.inf] * ndim, [math.inf] * ndim
    for mask in masks:
        labels, _ = ndimage.label(mask, structure)
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            size = tuple(part.stop - part.start for part in box)
            at_low = [part.start == 0 for part in box]
            at_high = [part.stop == S for part, S in zip(box, mask.shape, strict=True)]
            if not any(at_low) and not any(at_high):
                inside[size, (labels[box] == number).tobytes()] += 1
            for axis in range(ndim):
                low[axis] = min(low[axis], size[axis]) if at_low[axis] else low[axis]
                high[axis] = min(high[axis], size[axis]) if at_high[axis] else high[axis]
    if not inside:
        return None
    (extent, cells), _ = inside.most_common(1)[0]
    template = np.frombuffer(cells, dtype=np.bool_).reshape(extent)
    as_ints = [tuple(0 if math.isinf(n) else int(n) for n in narrowest) for narrowest in (low, high)]
    return _Blocks(extent, as_ints[0], as_ints[1], template, sum(inside.values()))


def _shape_of_blocks(box: _Box) -> list[str]:
    """Extent, shape and where blocks may lie."""
    spatial_shape, block_size, drop_prob = box.first_accepted(
        [(box.side(15, 9), block_size, 0.04) for block_size in (3, 5, 2, 1)]
    )
    notes = []
    seen = _see_blocks(box.masks(spatial_shape, block_size, drop_prob, 3000))
    if seen is None:
        box.learn("seed_region", CHOICES["seed_region"], "cannot be observed: no block lies clear of the borders")
        return [f"no dropped region lies clear of the borders on {spatial_shape} with block {block_size}"]
    b = (block_size,) * box.ndim
    extent = "x".join(map(str, seen.extent))
    what = f"{seen.regions} separate regions, most of {extent} cells, on {spatial_shape} with block {block_size}"
    if seen.extent != b:
        notes.append(f"the most common dropped region is {seen.extent} cells for a block of {b} ({what})")
    elif not seen.template.all():
        notes.append(f"a block is not a full box of {b} ({what}):\n{picture(~seen.template)}")
    narrow = min(*seen.at_low_border, *seen.at_high_border)
    if narrow < min(seen.extent):
        box.learn("seed_region", ["everywhere"], f"everywhere: at a border, blocks are cut to {narrow} cells ({what})")
    else:
        box.learn("seed_region", ["fitting"], f"fitting: no block sticks out of the map ({what})")
    return notes


def _even_blocks(box: _Box) -> None:
    try:
        for block_size in (2, 4):
            box.draw(box.side(12, 8), block_size, 0.3, seed=box.seed)
    except _Refused as error:
        accepted = "is not for it" not in str(error)
        text = (
            f"refused: {error}" if accepted else "cannot be observed: the backend says that it is not for even blocks"
        )
        box.learn("even_extra_cell", ["refused"] if accepted else CHOICES["even_extra_cell"], text)
        return
    if box.answers["seed_region"].values != ("everywhere",):
        text = "cannot be observed: where blocks must fit, both anchors give the same masks"
        box.learn("even_extra_cell", ["before", "after"], text)
        return
    seen = _see_blocks(box.masks(box.side(15, 9), 4, 0.04, 3000))
    if seen is None or len(set(zip(seen.at_low_border, seen.at_high_border, strict=True))) != 1:
        box.learn("even_extra_cell", [], "neither before nor after: the axes differ")
        return
    low, high = seen.at_low_border[0], seen.at_high_border[0]
    text = f"a block of 4 is cut to {low} cells at the low border and to {high} at the high border"
    value = {(2, 3): "before", (3, 2): "after"}.get((low, high))
    box.learn("even_extra_cell", [value] if value else [], f"{value or 'neither before nor after'}: {text}")


def _gamma(box: _Box) -> tuple[tuple[float, float, float], str, tuple[tuple[int, ...], int, float, float, float]]:
    """An exact interval for gamma, and which rules give a gamma within it, on a square map and on oblong ones."""
    settings: list[tuple[tuple[int, ...], int, float]] = [
        (box.side(28, 14), 7, 0.1),
        (box.side(28, 12), 5, 0.1),
        (box.side(28, 12), 2, 0.1),
        (box.side(28, 12), 1, 0.1),
    ]
    first = box.first_accepted(settings)
    shape, block_size, drop_prob = first
    masks = box.masks(*first, 40_000 if box.ndim == 2 else 20_000)
    fractions = masks.reshape(len(masks), -1).mean(axis=1)
    # A normal interval of one in a million; what it is for is said in words, not judged.
    measured = (*first, float(fractions.mean()), 5 * float(fractions.std()) / math.sqrt(len(masks)))
    intervals = [(first, _interval(masks, block_size))]
    for oblong in ((shape[0] - 8, *shape[1:]), (*shape[:-1], shape[0] - 8)):
        one = (oblong, block_size if max(oblong) > 14 else 3, 0.5)
        try:
            intervals.append((one, _interval(box.masks(*one, 10_000), one[1])))
        except _Refused:
            continue

    def agrees(rule: str, with_settings: Sequence[Any]) -> bool:
        rules = box.candidate(gamma_rule=rule)
        return all(
            low <= seed_probability(p, b, spatial_shape, convention=rules) <= high
            for (spatial_shape, b, p), (_, low, high) in with_settings
        )

    interval = intervals[0][1]
    fits = [rule for rule in CHOICES["gamma_rule"] if agrees(rule, intervals)]
    names = ", ".join(fits)
    if not fits:
        fits = [rule for rule in CHOICES["gamma_rule"] if agrees(rule, intervals[:1])]
        names = (
            f"{', '.join(fits)} on a square map, and no published rule on oblong ones" if fits else "no published rule"
        )
    expected = seed_probability(drop_prob, block_size, shape, convention=box.candidate(gamma_rule="border_corrected"))
    seen = f"gamma {interval[0]:.6g}, between {interval[1]:.6g} and {interval[2]:.6g}"
    text = f"{names}: {seen}; eq. (1) gives {expected:.6g}"
    box.learn("gamma_rule", fits, text)
    return interval, f"drop_prob {drop_prob} on {'x'.join(map(str, shape))} with block {block_size}", measured


def _interval(masks: NDArray[np.bool_], block_size: int) -> tuple[float, float, float]:
    """Clopper and Pearson's interval for the rate of cells a block apart, which are independent; as one for gamma."""
    cells = tuple(slice(block_size - 1, S - block_size + 1, block_size) for S in masks.shape[1:])
    chosen = masks[(slice(None), *cells)]
    dropped, draws, n = int(np.count_nonzero(chosen)), chosen.size, block_size ** (masks.ndim - 1)
    low = float(special.betaincinv(dropped, draws - dropped + 1, ERROR / 2)) if dropped else 0.0
    high = float(special.betaincinv(dropped + 1, draws - dropped, 1 - ERROR / 2)) if dropped < draws else 1.0

    def as_gamma(rate: float) -> float:
        return -math.expm1(math.log1p(-rate) / n) if rate < 1 else 1.0

    return as_gamma(dropped / draws), as_gamma(low), as_gamma(high)


def _scale(box: _Box) -> None:
    """Which count of kept cells explains y / x in every draw."""
    spatial_shape, block_size, drop_prob = box.first_accepted([(box.side(9, 5), b, 0.3) for b in (3, 5, 2, 1)])
    counted: dict[str, tuple[int, ...]] = {
        "batch": tuple(range(box.ndim + 2)),
        "sample": tuple(range(1, box.ndim + 2)),
        "channel": tuple(range(2, box.ndim + 2)),
    }
    fits = {"batch", "sample", "channel", "none", "1 / keep_prob"}
    first = ""
    for seed in range(box.seed, box.seed + 8):
        x, y = box.draw(spatial_shape, block_size, drop_prob, samples=3, channels=3, seed=seed)
        kept = ~read_dropped(y)
        if not kept.any():
            continue
        with np.errstate(all="ignore"):
            ratio = y.astype(np.float64) / x.astype(np.float64)
            factors: dict[str, Any] = {
                name: np.mean(kept, axis=axes, keepdims=True) ** -1.0 for name, axes in counted.items()
            }
        factors |= {"none": 1.0, "1 / keep_prob": 1 / (1 - drop_prob)}
        coarse = 16 * float(ulp(np.asarray(1.0), coarser(x.dtype, y.dtype)))
        for name in sorted(fits):
            if not np.allclose(ratio[kept], np.broadcast_to(factors[name], x.shape)[kept], rtol=coarse, atol=0):
                fits.discard(name)
        first = first or f"{np.median(ratio[kept]):.6g} with {np.count_nonzero(kept)} of {kept.size} cells kept"
    values = [name for name in CHOICES["scale_over"] if name in fits]
    what = ", ".join(sorted(fits)) or "none of batch, sample, channel, none, 1 / keep_prob"
    box.learn("scale_over", values, f"{what}: in the first of 8 draws y / x is {first} on {spatial_shape}")


def _all_dropped(box: _Box) -> None:
    for block_size, spatial_shape in ((1, box.side(4, 3)), (3, box.side(3, 3))):
        try:
            _, y = box.draw(spatial_shape, block_size, 1.0, seed=box.seed)
        except _Refused:
            continue
        text = f"(drop_prob 1 on {spatial_shape} with block {block_size})"
        if not np.isfinite(y).all():
            box.learn("all_dropped", ["nan"], f"nan {text}")
            return
        if not y.any():
            box.learn("all_dropped", ["zeros"], f"zeros {text}")
            return
    box.learn("all_dropped", CHOICES["all_dropped"], "cannot be observed: no output with every cell dropped was had")


def _epsilon(box: _Box) -> None:
    """From a draw with few kept cells, where adding to the count shows most."""
    dtype = "float64" if "float64" in box.backend.dtypes else None
    if box.answers["scale_over"].values == ("none",):
        box.learn(
            "epsilon", sorted({row.epsilon for row in CONVENTIONS.values()}), "cannot be observed: nothing is counted"
        )
        return
    published = sorted({row.epsilon for row in CONVENTIONS.values()})
    for seed in range(box.seed, box.seed + 200):
        try:
            x, y = box.draw(box.side(2, 2), 1, 0.6, seed=seed, dtype=dtype)
        except _Refused:
            break
        kept = ~read_dropped(y)
        number = int(np.count_nonzero(kept))
        if number != 1:
            continue
        ratio = float(y[kept][0]) / float(x[kept][0])
        if ratio == 0 or not math.isfinite(ratio):
            continue
        seen = kept.size / ratio - 1
        # A scale that is computed in float32 shows no more, whatever the dtype of x.
        resolution = 4 * max(float(ulp(np.asarray(1.0), y.dtype)), 2.0**-23)
        values = [value for value in published if abs(value - seen) <= resolution]
        box.learn("epsilon", values, f"{seen:.3g} +- {resolution:.1g}, from one kept cell of {kept.size}")
        return
    box.learn("epsilon", published, "cannot be observed: no draw with one kept cell was had")


def _oversize(box: _Box) -> None:
    """Refused, or the rule whose exact rates of cells agree with what is seen."""
    side = 5 if box.ndim == 2 else 3
    square = (side,) * box.ndim
    oblong = (side, *(side + 2,) * (box.ndim - 1))
    candidates = [rule for rule in CHOICES["oversize_block"] if rule != "refused"]
    fits, refusals, answered = set(candidates), [], 0
    for spatial_shape, block_size in ((square, side + 2), (oblong, side + 2), (square, side + 4), (square, side + 1)):
        try:
            masks = box.masks(spatial_shape, block_size, 0.3, 20_000)
        except _Refused as error:
            refusals.append(str(error))
            continue
        answered += 1
        counts = masks.reshape(len(masks), -1).sum(axis=0)
        for rule in sorted(fits):
            rules = box.candidate(oversize_block=rule)
            if (
                rules.even_extra_cell == "refused"
            ):  # it was not refused here; where blocks fit, both anchors are the same
                rules = replace(rules, even_extra_cell="before")
            rates = drop_probability(0.3, block_size, spatial_shape, convention=rules).ravel()
            if (binomial_p_values(counts, len(masks), rates) <= ERROR / counts.size).any():
                fits.discard(rule)
    if not answered:
        if all("is not for it" in text for text in refusals):
            text = "cannot be observed: the backend says that it is not for larger blocks"
            box.learn("oversize_block", CHOICES["oversize_block"], text)
        else:
            box.learn("oversize_block", ["refused"], f"refused: {refusals[0]}")
        return
    values = [rule for rule in candidates if rule in fits]
    box.learn(
        "oversize_block", values, f"{', '.join(values) or 'none of the published rules'}: blocks larger than the map"
    )
