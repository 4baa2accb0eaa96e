"""The cases of the test vectors, as data: every convention on tiny maps, in every layout, parity, dtype and edge case.

A map is given for three spatial axes, as is a block; in 2D its first axis is left out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from ..arguments import FLOATING_DTYPES
from ..call import accepts_block
from ..convention import CONVENTIONS

Triple = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a case is about.

    Attributes
    ----------
    blocks : tuple of triples
        The block, or several: the first that the convention accepts. Where it accepts none there is no case.
    spatial_shape : triple
        The map.
    batch : int
        Number of samples.
    drop_prob : float
        Nominal probability that a unit is dropped.
    training : bool
        False is the identity, whatever the seeds.
    seeds : {"some", "none", "all"}
        Which eligible cells are seeds.
    special_values : bool
        Whether x has infinities, NaN and zeros.
    """

    blocks: tuple[Triple, ...] = ((3, 3, 3),)
    spatial_shape: Triple = (3, 4, 5)
    batch: int = 2
    drop_prob: float = 0.25
    training: bool = True
    seeds: str = "some"
    special_values: bool = False


@dataclass(frozen=True, kw_only=True)
class Case:
    """One call of DropBlock with given seeds.

    Attributes
    ----------
    name : str
        ``convention/rank_layout_dtype_kind``, as in ``paper/2d_channels_first_float32_odd``.
    convention, data_format, dtype, shape, block_size, drop_prob, training
        As for `dropblock_ref.trace`; `shape` is that of x, and `block_size` has one entry per spatial axis.
    seeds, special_values
        As for `Kind`.
    """

    name: str
    convention: str
    data_format: str
    dtype: str
    shape: tuple[int, ...]
    block_size: tuple[int, ...]
    drop_prob: float
    training: bool
    seeds: str
    special_values: bool


CHANNELS = 3
PARITIES = {
    "odd": Kind(),
    "even": Kind(blocks=((2, 2, 2),)),
    "per_axis": Kind(blocks=((1, 2, 3), (3, 1, 3))),
}
EDGES_OF_VALUES = {
    "all_dropped": Kind(seeds="all"),
    "special_values": Kind(special_values=True),
}
EDGES = {
    "block_1": Kind(blocks=((1, 1, 1),)),
    "block_map": Kind(blocks=((3, 5, 3),), spatial_shape=(3, 5, 3)),
    "larger_block": Kind(blocks=((5, 5, 5),), spatial_shape=(3, 7, 3)),
    "drop_prob_0": Kind(drop_prob=0.0),
    "drop_prob_1": Kind(drop_prob=1.0),
    "no_seeds": Kind(seeds="none"),
    "evaluation": Kind(training=False),
    "one_cell": Kind(blocks=((1, 1, 1),), spatial_shape=(1, 1, 1)),
    "batch_1": Kind(batch=1),
    "batch_0": Kind(batch=0),
}


def _cases() -> Iterator[Case]:
    ranks, layouts = (2, 3), ("channels_first", "channels_last")
    for name in CONVENTIONS:
        for rank, layout, dtype, kind in product(ranks, layouts, FLOATING_DTYPES, PARITIES):
            yield from _case(name, rank, layout, dtype, kind, PARITIES[kind])
        for (rank, layout), dtype, kind in product(zip(ranks, layouts, strict=True), FLOATING_DTYPES, EDGES_OF_VALUES):
            yield from _case(name, rank, layout, dtype, kind, EDGES_OF_VALUES[kind])
        for (rank, layout), kind in product(zip(ranks, layouts, strict=True), EDGES):
            yield from _case(name, rank, layout, "float32", kind, EDGES[kind])


def _case(convention: str, rank: int, layout: str, dtype: str, kind: str, what: Kind) -> Iterator[Case]:
    """The case, if the convention accepts one of its blocks."""
    spatial_shape = what.spatial_shape[-rank:]
    for block in what.blocks:
        if accepts_block(block[-rank:], spatial_shape, CONVENTIONS[convention]):
            first = layout == "channels_first"
            yield Case(
                name=f"{convention}/{rank}d_{layout}_{dtype}_{kind}",
                convention=convention,
                data_format=layout,
                dtype=dtype,
                shape=(what.batch, CHANNELS, *spatial_shape) if first else (what.batch, *spatial_shape, CHANNELS),
                block_size=block[-rank:],
                drop_prob=what.drop_prob,
                training=what.training,
                seeds=what.seeds,
                special_values=what.special_values,
            )
            return


def _small(cases: tuple[Case, ...]) -> Iterator[Case]:
    """In the order of a hash of their names, maps first, the cases that show something that none before them shows."""
    shown: set[tuple[str, ...]] = set()
    chosen: set[str] = set()
    for case in sorted(cases, key=lambda case: (len(case.shape), zlib.crc32(case.name.encode()))):
        rank = case.name.split("/")[1][:2]
        kind = case.name.split(f"_{case.dtype}_")[1]
        shows = {
            (case.convention, rank),
            (case.dtype, rank),
            (case.data_format, rank),
            (kind,),
        }
        if not shows <= shown:
            shown |= shows
            chosen.add(case.name)
    return (case for case in cases if case.name in chosen)


CASES = tuple(_cases())
SMALL_CASES = tuple(_small(CASES))
