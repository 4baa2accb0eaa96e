"""The generated parts of conventions.md, and the masks that its pictures compare."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from blocks import table

from dropblock_ref import CONVENTIONS, PAPER, Convention, gamma, keep_mask, valid_seeds
from dropblock_ref.call import place_block
from dropblock_ref.convention import CHOICES
from dropblock_ref.theory import drop_probability, expected_drop_fraction

FIELDS = tuple(field.name for field in fields(Convention))[2:]  # without name and source

MEANINGS = {
    "gamma_rule": {
        "border_corrected": "eq. (1): `drop_prob / prod(b) * prod(S / (S - b + 1))`",
        "uncorrected": "`drop_prob / prod(b)`",
        "last_axis": "eq. (1) with the last axis in the place of every axis",
        "first_axis": "eq. (1) with the first axis in the place of every axis",
        "calibrated": "the gamma for which the expected dropped fraction is drop_prob",
    },
    "seed_region": {
        "fitting": "where the whole block lies in the map",
        "everywhere": "every cell; a block at the border is cut off there",
    },
    "even_extra_cell": {
        "before": "above and to the left of the seed",
        "after": "below and to the right of the seed",
        "refused": "even blocks are refused",
    },
    "oversize_block": {
        "refused": "a block larger than the map is refused",
        "clip_each_axis": "each side becomes at most its own axis of the map",
        "clip_to_smallest_axis": "each side becomes at most the smallest axis of the map",
        "unclipped": "the block keeps its size, for gamma too, and sticks out of the map",
        "nothing_dropped": "no cell is eligible, so that nothing is dropped",
    },
    "shared_channels": {
        False: "each channel of a sample has a mask of its own",
        True: "all channels of a sample share one mask",
    },
    "shared_samples": {
        False: "each sample has masks of its own",
        True: "all samples of a call share their masks",
    },
    "scale_over": {
        "batch": "one scale, from all masks of the batch together",
        "sample": "one scale for each sample",
        "channel": "one scale for each mask",
        "keep_prob": "1 / (1 - drop_prob), whatever was dropped",
        "none": "no scale",
    },
    "epsilon": {
        0.0: "nothing is added",
        1e-6: "`count(M) / (count_ones(M) + 1e-6)`",
        1e-7: "`count(M) / (count_ones(M) + 1e-7)`",
    },
    "all_dropped": {
        "zeros": "scale 0, output zeros",
        "nan": "0 / 0, output NaN",
    },
}
assert all(tuple(MEANINGS[field]) == choices for field, choices in CHOICES.items())


def linked(names: list[str]) -> str:
    """Names of conventions, as links to their sections."""
    return ", ".join(f"[{name}](#{name})" for name in names)


def shown(value: Any) -> str:
    """A value of a field as a person writes it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def rows(*columns: str) -> None:
    """Write these fields of all conventions; bold where they differ from the paper."""
    table(
        ["name", *columns],
        (
            [f"[{name}](#{name})", *(_marked(convention, field) for field in columns)]
            for name, convention in CONVENTIONS.items()
        ),
    )


def _marked(convention: Convention, field: str) -> str:
    value = getattr(convention, field)
    return shown(value) if field == "source" or value == getattr(PAPER, field) else f"**{shown(value)}**"


def choices(field: str) -> None:
    """Write what each value of a field means, and who has it."""
    table(
        [field, "meaning", "who"],
        (
            [
                f"`{shown(value)}`",
                meaning,
                linked([n for n, c in CONVENTIONS.items() if getattr(c, field) == value]) or "nobody",
            ]
            for value, meaning in MEANINGS[field].items()
        ),
    )


SHAPE, BLOCK, PROB = (28, 28), 7, 0.1


def numbers(*names: str) -> None:
    """Write gamma and exact probabilities under these conventions."""
    header = ["convention", "gamma", "expected dropped fraction", "a corner cell", "a centre cell"]
    table(header, ([linked([name]), *_numbers(name)] for name in names or CONVENTIONS))


def _numbers(name: str) -> list[str]:
    dropped = drop_probability(PROB, BLOCK, SHAPE, convention=name)
    fraction = expected_drop_fraction(PROB, BLOCK, SHAPE, convention=name)
    return [
        f"{gamma(PROB, BLOCK, SHAPE, convention=name):.6f}",
        *(f"{number:.4f}" for number in (fraction, dropped[0, 0], dropped[14, 14])),
    ]


def differing(first: str, second: str) -> list[str]:
    """The fields in which two rows differ, without name and source."""
    return [field for field in FIELDS if getattr(CONVENTIONS[first], field) != getattr(CONVENTIONS[second], field)]


def section(name: str) -> None:
    """Write the source of a convention, how it differs from the paper and other rows, and its numbers."""
    source = CONVENTIONS[name].source
    print(f"\nSource: {source}.\n")
    twins = [other for other in CONVENTIONS if other != name and not differing(name, other)]
    if twins:
        print(f"Apart from name and source this row is the same as that of {linked(twins)}.\n")
    if name != "paper":
        print("It differs from `paper` in:\n")
        for field in differing("paper", name):
            old, new = (shown(getattr(CONVENTIONS[of], field)) for of in ("paper", name))
            print(f"- `{field}`: `{new}` instead of `{old}`")
        print()
    fraction = dict(zip(("gamma", "f", "corner", "centre"), _numbers(name), strict=True))
    print(
        f"With drop_prob {PROB} and a block of {BLOCK} on {SHAPE[0]}x{SHAPE[1]} cells: gamma {fraction['gamma']}, "
        f"expected dropped\nfraction {fraction['f']}; a corner cell is dropped with probability {fraction['corner']}, "
        f"a centre cell with {fraction['centre']}.\n"
    )


@dataclass(frozen=True)
class Case:
    """One map on which conventions are compared."""

    title: str
    block_size: Any
    spatial_shape: tuple[int, int] = (12, 12)
    drop_prob: float = 0.3
    channel: int = 0


@dataclass(frozen=True)
class Mask:
    """Seeds and keep mask of one channel, and the first and last eligible position on each axis."""

    seeds: np.ndarray
    kept: np.ndarray
    eligible: tuple[slice, ...]


NOISE = 2760


def mask_of(case: Case, convention: Convention) -> Mask | None:
    """The mask that a convention makes of the page's uniform numbers, u < gamma; None where it refuses the block."""
    noise = np.random.default_rng(NOISE).random((1, 2, *case.spatial_shape))
    channel = 0 if convention.shared_channels else case.channel
    try:
        threshold = gamma(case.drop_prob, case.block_size, case.spatial_shape, convention=convention)
    except ValueError:
        return None
    seeds = (noise < threshold) & valid_seeds(case.block_size, case.spatial_shape, convention=convention)
    kept = keep_mask(seeds[:, channel : channel + 1], case.block_size, convention=convention)
    eligible = place_block(case.block_size, case.spatial_shape, convention).eligible
    return Mask(seeds[0, channel], kept[0, 0], eligible)
