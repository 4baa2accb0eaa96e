"""The tables of the page about benchmarks, from what docs/benchmarks.py has measured, and what memory a call takes."""

from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path

import numpy as np
from blocks import table

import dropblock_ref
from dropblock_ref.call import find_layout, place_block
from dropblock_ref.fast import sparse, stamping_pays

MEASURED = json.loads((Path(__file__).parents[1] / "benchmarks.json").read_text(encoding="utf-8"))
# Smallest, median and largest time of a contender.
Times = list[float]
SECONDS: dict[str, dict[str, Times]] = MEASURED["seconds"]
FLOOR = "multiply only"


def machine() -> None:
    """Write where it was measured."""
    packages = ", ".join(f"{name} {version}" for name, version in MEASURED["packages"].items())
    print(f"\n{MEASURED['cores']} cores of {MEASURED['cpu']}, Python {MEASURED['python']}, {packages}.\n")


def groups(start: str) -> dict[str, dict[str, Times]]:
    """The groups whose name starts so, without the start."""
    return {group.removeprefix(start): times for group, times in SECONDS.items() if group.startswith(start)}


def milliseconds(times: Times) -> str:
    """Median, and smallest to largest."""
    low, median, high = (f"{1000 * time:.3g}" if time < 1 else f"{1000 * time:.0f}" for time in times)
    return f"{median} ({low} to {high})"


def ratio(times: Times, to: Times) -> str:
    """Ratio of the medians, and what it is at least and at most for any two rounds."""
    values = times[0] / to[2], times[1] / to[1], times[2] / to[0]
    low, median, high = (f"{value:.2g}" if value < 10 else f"{value:.0f}" for value in values)
    return f"{median} ({low} to {high})"


def against_packages(*starts: str) -> None:
    """Write the reference's time, and the ratio to it of all others."""
    cases = {start + group: times for start in starts for group, times in groups(start).items()}
    others = list(dict.fromkeys(name for times in cases.values() for name in times if name not in ("reference", FLOOR)))
    table(
        ("case", "reference: milliseconds", *(name.replace("_", "-") for name in others), FLOOR),
        (
            (
                case,
                milliseconds(times["reference"]),
                *(ratio(times[name], times["reference"]) if name in times else "" for name in [*others, FLOOR]),
            )
            for case, times in cases.items()
        ),
    )


def linearity() -> None:
    """Write the time per cell of small and large calls."""
    rows = []
    for group, times in groups("cells ").items():
        cells = int(group.split()[0])
        per_cell = (f"{1e9 * times[name][1] / cells:.2f}" for name in ("reference", FLOOR))
        rows.append((cells, milliseconds(times["reference"]), *per_cell))
    table(("cells", "reference: milliseconds", "nanoseconds per cell", f"{FLOOR}: nanoseconds per cell"), rows)


def two_ways() -> None:
    """Write the times of both ways of `keep_mask`."""
    table(
        ("case", "maximum_filter: milliseconds", "stamped: milliseconds", "ratio", "taken"),
        (
            (group, *map(milliseconds, (plain, stamped)), ratio(plain, stamped), way_taken(group))
            for group, (plain, stamped) in (
                (group, (times["maximum_filter"], times["stamp"])) for group, times in groups("keep_mask, ").items()
            )
        ),
    )


def way_taken(case: str) -> str:
    """Which of the two ways `keep_mask` takes for seeds that are drawn in this case."""
    *shape, block_size = (int(number) for number in re.findall(r"\b\d+\b(?!\.)", case.partition(" drop_prob ")[0]))
    data_format, drop_prob = case.split()[1], float(case.rpartition(" ")[2])
    layout = find_layout(data_format, tuple(shape), "shape")
    spatial_shape = layout.spatial_shape(tuple(shape))
    gamma = dropblock_ref.gamma(drop_prob, block_size, spatial_shape)
    seeds = dropblock_ref.sample_seeds(gamma, block_size, shape, rng=0, data_format=data_format)
    stamped = stamping_pays(seeds.sum(), place_block(block_size, spatial_shape, dropblock_ref.PAPER), seeds.size)
    return "stamped" if stamped else "maximum_filter"


def stages() -> None:
    """Write the time of each stage."""
    ((case, times),) = groups("stages, ").items()
    of_floor = {name: f"{time[1] / times[FLOOR][1]:.1f}" for name, time in times.items()}
    table(
        (f"stage of {case}", "milliseconds", "times the floor"),
        ((name, milliseconds(time), of_floor[name]) for name, time in times.items()),
    )


def against_floor(start: str) -> None:
    """Write the reference's time beside the floor's."""
    table(
        ("case", "reference: milliseconds", f"{FLOOR}: milliseconds", "ratio"),
        (
            (
                case,
                milliseconds(times["reference"]),
                milliseconds(times[FLOOR]),
                ratio(times["reference"], times[FLOOR]),
            )
            for case, times in groups(start).items()
        ),
    )


def drop_probs() -> None:
    """Write the reference's time over drop_prob, and how its seeds are drawn."""
    rows = []
    for case, times in groups("drop_prob ").items():
        drop_prob, block_size = (float(number) for number in re.findall(r"[\d.]+", case)[:2])
        gamma = dropblock_ref.gamma(drop_prob, int(block_size), (28, 28))
        how = "gaps" if sparse(gamma, 32 * 256 * (29 - int(block_size)) ** 2) else "number by number"
        rows.append((case, milliseconds(times["reference"]), ratio(times["reference"], times[FLOOR]), how))
    table(("drop_prob", "reference: milliseconds", "times the floor", "seeds drawn by"), rows)


def rest() -> None:
    """Write the times of what has no contender."""
    rows = [
        (group, name.replace("test_small_call", "reference"), milliseconds(times))
        for start in ("one call", "import")
        for group, contenders in SECONDS.items()
        if group.startswith(start)
        for name, times in contenders.items()
    ]
    table(("case", "what", "milliseconds"), rows)


def memory() -> None:
    """Write what a call allocates at most beside its output, in bytes per cell."""
    rows = []
    for shape, data_format in (
        ((16, 64, 56, 56), "channels_first"),
        ((16, 56, 56, 64), "channels_last"),
        ((4, 16, 16, 56, 56), "channels_first"),
        ((4, 16, 56, 56, 16), "channels_last"),
    ):
        x = np.ones(shape, dtype=np.float32)
        peaks = []
        for drop_prob in (0.1, 0.9):  # stamped, and not
            tracemalloc.start()
            dropblock_ref.drop_block(x, drop_prob, 7, rng=0, data_format=data_format)
            peaks.append((tracemalloc.get_traced_memory()[1] - x.nbytes) / x.size)
            tracemalloc.stop()
        rows.append((f"{data_format} {shape}", *(f"{peak:.1f}" for peak in peaks)))
    table(("block 7, float32", "drop_prob 0.1: bytes per cell", "drop_prob 0.9: bytes per cell"), rows)
