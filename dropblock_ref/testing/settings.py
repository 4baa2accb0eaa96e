"""Settings: a map, a block on it and a drop_prob; and how those with a property are found in what a backend accepts."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache

from ..call import accepts_block
from ..convention import Convention
from .backend import DROP_PROBS, Backend

Block = int | tuple[int, ...]
# A map, a block, each drop_prob with which the backend is for them, and whether its convention is.
_Pair = tuple[tuple[int, ...], Block, tuple[float, ...], bool]


@dataclass(frozen=True)
class Map:
    """A map, a block on it and a drop_prob: one thing to try."""

    spatial_shape: tuple[int, ...]
    block_size: Block
    drop_prob: float = 0.5

    def __str__(self) -> str:
        shape = "x".join(map(str, self.spatial_shape))
        return f"{shape}, block {self.block_size}, drop_prob {self.drop_prob:.6g}"

    @property
    def sides(self) -> tuple[int, ...]:
        """One side of the block per axis, before it is clipped."""
        ndim = len(self.spatial_shape)
        return self.block_size if isinstance(self.block_size, tuple) else (self.block_size,) * ndim


def _anything(_: Map, __: Convention) -> bool:
    return True


@dataclass(frozen=True)
class Needs:
    """What the settings of a check must be like: the preferred ones, and the property that any other must have."""

    what: str
    preferred: tuple[Map, ...]
    holds: Callable[[Map, Convention], bool] = _anything
    most: int = 2  # how many are taken of each rank where none of the preferred ones is accepted
    refused: bool = False  # whether the convention may refuse them
    own: bool = False  # whether it keeps its own setting where few shapes are wanted and an ordinary one would do
    largest: bool = False  # whether, where none of the preferred ones is accepted, the largest maps are taken


@dataclass
class Accepted:
    """What a backend accepts, by its own word alone, `settings` and `accepts`; asked once, whatever is looked for."""

    backend: Backend
    _seen: dict[int, list[_Pair]] = field(default_factory=dict)  # by rank, as far as anything has looked
    _rest: dict[int, Iterator[_Pair]] = field(default_factory=dict)

    def find(self, needs: Needs) -> list[Map]:
        """The preferred settings that the backend is for; of a rank for which there is none, the first of a scan."""
        backend, found = self.backend, []
        for ndim in backend.spatial_ndims:
            of_rank = [one for one in needs.preferred if len(one.spatial_shape) == ndim]
            accepted = [one for one in of_rank if _is_tried(backend, one, needs)]
            if not accepted and backend.accepts is None and backend.settings is None and of_rank:
                continue  # the convention refuses them all, and will refuse others of the kind
            if backend.rules.scale_over == "keep_prob" and of_rank and all(one.drop_prob == 1 for one in of_rank):
                continue  # a keep_prob of 0 divides nothing
            if not accepted:
                # The same maps with another drop_prob, or then with another block, come before other maps.
                others = (replace(one, drop_prob=p) for one, p in itertools.product(of_rank, _drop_probs(backend)))
                blocks = (self._other_block(one, needs) for one in of_rank)
                likely = itertools.chain(others, filter(None, blocks), _declared(backend, ndim))
                tried = (one for one in likely if _is_tried(backend, one, needs, sure=False))
                every: Iterable[Map] = itertools.chain(tried, self._scan(ndim, refused=needs.refused))
                if needs.largest:
                    every = sorted(every, key=lambda one: math.prod(one.spatial_shape), reverse=True)
                fit = (one for one in every if needs.holds(one, backend.rules))
                accepted = list(itertools.islice(dict.fromkeys(itertools.islice(fit, 4 * needs.most)), needs.most))
            found += accepted
        return found

    def _other_block(self, one: Map, needs: Needs) -> Map | None:
        """The first block, with the first drop_prob, that will do on a map."""
        for block, p in itertools.product(_blocks(one.spatial_shape), _drop_probs(self.backend)):
            other = replace(one, block_size=block, drop_prob=p)
            if _is_tried(self.backend, other, needs, sure=False) and needs.holds(other, self.backend.rules):
                return other
        return None

    def _scan(self, ndim: int, *, refused: bool) -> Iterator[Map]:
        """Maps, blocks and probabilities in a fixed order: square maps and common blocks first."""
        if self.backend.settings is not None:
            return
        seen = self._seen.setdefault(ndim, [])
        rest = self._rest.setdefault(ndim, self._ask(ndim))
        for place in itertools.count():
            if place == len(seen) and (one := next(rest, None)) is not None:
                seen.append(one)
            if place == len(seen):
                return
            shape, block, probabilities, legal = seen[place]
            if legal or refused:
                yield from (Map(shape, block, p) for p in probabilities)

    def _ask(self, ndim: int) -> Iterator[_Pair]:
        rules = self.backend.rules
        for shape in _shapes(ndim):
            for block in _blocks(shape):
                with contextlib.suppress(Exception):  # an `accepts` that fails on a rare kind of block is not for it
                    probabilities = tuple(p for p in DROP_PROBS if self.backend.is_for(shape, block, p))
                    if probabilities:
                        yield shape, block, probabilities, accepts_block(block, shape, rules)


def _is_tried(backend: Backend, one: Map, needs: Needs, *, sure: bool = True) -> bool:
    """Whether the convention and the backend take it; where that is not sure, an `accepts` that fails is not for it."""
    if not (needs.refused or accepts_block(one.block_size, one.spatial_shape, backend.rules)):
        return False
    try:
        return backend.is_for(one.spatial_shape, one.block_size, one.drop_prob)
    except Exception:
        if sure:
            raise
        return False


def _drop_probs(backend: Backend) -> tuple[float, ...]:
    declared = [one.drop_prob for one in backend.settings or () if one.drop_prob is not None]
    return tuple(dict.fromkeys((*declared, *DROP_PROBS)))


def _declared(backend: Backend, ndim: int) -> Iterator[Map]:
    """The declared settings of a rank, with what they leave free filled in."""
    for setting in backend.settings or ():
        if setting.spatial_shape is not None and len(setting.spatial_shape) != ndim:
            continue
        shapes: Iterable[tuple[int, ...]] = _shapes(ndim) if setting.spatial_shape is None else (setting.spatial_shape,)
        for shape in shapes:
            blocks: Iterable[Block] = _blocks(shape) if setting.block_size is None else (setting.block_size,)
            for block in blocks:
                if isinstance(block, tuple) and len(block) != ndim:
                    continue
                probabilities = DROP_PROBS if setting.drop_prob is None else (setting.drop_prob,)
                yield from (Map(shape, block, p) for p in probabilities)


@cache
def _shapes(ndim: int) -> tuple[tuple[int, ...], ...]:
    """Square maps of common sizes and of all small ones, then oblong ones."""
    square: tuple[int, ...]
    sides: tuple[int, ...]
    if ndim == 2:
        square = (9, 12, 14, 28, 16, 7, 8, 5, 6, 10, 32, 56, *range(1, 65), 96, 112, 128, 224, 256)
        sides = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 20, 28, 32, 56, 64, 100, 128)
    else:
        square = (5, 7, 8, 6, 4, 10, *range(1, 17), 20, 24, 28, 32, 40)
        sides = (1, 2, 3, 4, 5, 8, 14, 16)
    squares = ((side,) * ndim for side in square)
    return tuple(dict.fromkeys((*squares, *itertools.product(sides, repeat=ndim))))


@cache
def _blocks(shape: tuple[int, ...]) -> tuple[Block, ...]:
    ndim = len(shape)
    ints = (3, 5, 7, 1, 2, 4, 6, *range(8, 16), 17, 21, 31, min(shape), max(shape))
    sides = (1, 2, 3, 5, 7)
    per_axis = tuple(block for block in itertools.product(sides, repeat=ndim) if ndim == 2 or len(set(block)) > 1)
    return tuple(dict.fromkeys((*ints, *per_axis, shape)))
