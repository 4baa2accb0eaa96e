"""The tables of the page about benchmarks, from what docs/benchmarks.py has measured."""

from __future__ import annotations

import json
from pathlib import Path

from blocks import table

MEASURED = json.loads((Path(__file__).parents[1] / "benchmarks.json").read_text(encoding="utf-8"))
SECONDS: dict[str, dict[str, list[float]]] = MEASURED["seconds"]


def machine() -> None:
    """Write where it was measured."""
    packages = ", ".join(f"{name} {version}" for name, version in MEASURED["packages"].items())
    print(f"\n{MEASURED['cores']} cores of {MEASURED['cpu']}, Python {MEASURED['python']}, {packages}.\n")


def milliseconds(times: list[float]) -> str:
    """Median, and smallest to largest."""
    low, median, high = (f"{1000 * time:.3g}" if time < 1 else f"{1000 * time:.0f}" for time in times)
    return f"{median} ({low} to {high})"


def against_packages() -> None:
    """Write the times of every contender, and the ratio of its median to the reference's."""
    rows = []
    for group, contenders in SECONDS.items():
        if "reference" in contenders and len(contenders) > 1:
            ours = contenders["reference"][1]
            for name, times in contenders.items():
                rows.append((group, name.replace("_", "-"), milliseconds(times), f"{times[1] / ours:.2f}"))
    table(("case", "what", "milliseconds: median (smallest to largest)", "ratio to the reference"), rows)


def alone() -> None:
    """Write the times of what has no contender."""
    rows = [
        (group, name.replace("test_small_call", "reference"), milliseconds(times))
        for group, contenders in SECONDS.items()
        if "reference" not in contenders or len(contenders) == 1
        for name, times in contenders.items()
    ]
    table(("case", "what", "milliseconds: median (smallest to largest)"), rows)
