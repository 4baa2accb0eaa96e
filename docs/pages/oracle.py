"""What oracle.md and scope.md show: sessions with the examples, tables of the checks and of the maps."""

from __future__ import annotations

import contextlib
import io
import math
import re
import sys
from collections.abc import Iterable
from configparser import ConfigParser
from dataclasses import replace
from functools import cache
from typing import Any

from blocks import DOCS, fenced, table, wrapped

import dropblock_ref
from dropblock_ref import backends, cli, theory
from dropblock_ref.testing import Report, check_backend
from dropblock_ref.testing.oracle import CHECKS

_namespace: dict[str, Any] = {}


def _printed(function: Any, *arguments: Any, width: int = 80) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        function(*arguments)
    return wrapped(printed.getvalue(), width)


def session(code: str, width: int = 80) -> None:
    """Write statements and what they print; names live on in later sessions of the page."""
    if str(DOCS / "examples") not in sys.path:
        sys.path.insert(0, str(DOCS / "examples"))
    fenced(code, "python")
    fenced(_printed(exec, code, _namespace, width=width), "text")


def planted(example: str, right: str, wrong: str) -> None:
    """Write the change of a line of an example; `wrong_backend` of later sessions is the changed example's backend."""
    text = (DOCS / "examples" / example).read_text(encoding="utf-8")
    assert text.count(right) == 1, right
    added = "".join(f"\n+{line}" for line in wrong.splitlines())
    fenced(f"-{right}{added}", "diff")
    changed: dict[str, Any] = {"__name__": "wrong"}
    exec(text.replace(right.strip(), wrong.strip()), changed)  # noqa: S102
    _namespace["wrong_backend"] = changed["backend"]


def shell(line: str) -> None:
    """Write a call of the command line and what it prints."""
    fenced(f"python -m dropblock_ref {line}", "sh")
    fenced(_printed(cli.main, line.split()), "text")


@cache
def _report(quick: bool) -> Report:
    return check_backend(backends.load("numpy"), checks="quick" if quick else None)


def checks_table() -> None:
    """All checks, from the registry."""
    rows = [(f"`{one.name}`", one.group, one.summary, "yes" if one.statistical else "") for one in CHECKS.values()]
    table(["check", "level", "what must hold", "chance"], rows)


def _smallest(detects: str) -> str:
    """What a check finds on its maps, from the sharpest to the bluntest."""
    found = [re.fullmatch(r"(\S+) %? ?error of (.*?) \(.*\)", one) for one in detects.split("; ")]
    if not all(found):
        return detects
    sizes = [float(one[1].replace("no", "inf")) for one in found if one]
    (what,) = {one[2] for one in found if one}
    if min(sizes) == float("inf"):
        return f"no error of {what}"
    span = f"{min(sizes):g} %" if min(sizes) == max(sizes) else f"{min(sizes):g} % to {max(sizes):g} %"
    return f"{span} of {what}"


def sensitivity_table() -> None:
    """What each statistical check finds, in full and quick."""
    quick = {result.name: result for result in _report(True).results}
    rows = [
        (
            f"`{full.name}`",
            f"{full.draws:,}",
            _smallest(full.detects),
            f"{quick[full.name].draws:,}",
            _smallest(quick[full.name].detects),
        )
        for full in _report(False).results
        if full.detects
    ]
    table(["check", "masks", "smallest error found", "masks, quick", "smallest error found, quick"], rows)


def run_summary() -> None:
    """How many checks a run has, and its bound."""
    report = _report(False)
    chance = sum(result.false_alarm > 0 for result in report.results)
    masks = sum(result.draws for result in report.results)
    share = max(result.false_alarm for result in report.results)
    rows = [
        ("checks", len(report.results)),
        ("of them statistical", chance),
        ("bound of each, of the default `false_alarm` 1e-9", f"{share:.2g}"),
        ("bound of the whole run", f"{report.false_alarm:.2g}"),
        ("masks looked at", f"{masks:,}"),
    ]
    table(["a whole run over the backend `numpy`", ""], rows)


def tolerance_table() -> None:
    """A tolerance of 0.05 beside an exact expectation: block 3 on maps of 21x21."""
    from dropblock_ref.testing.statistics import MISS, drop_fraction_deviations

    where: dict[str, Any] = {"block_size": 3, "spatial_shape": (21, 21)}
    rows = []
    for p in (0.1, 0.3, 0.5, 0.7):
        right, wrong = (theory.expected_drop_fraction(p, **where, convention=name) for name in ("paper", "tutorial"))
        of_right, of_wrong = (
            (f, theory.drop_fraction_variance(p, **where, convention=name), 9 / 21**2)
            for f, name in ((right, "paper"), (wrong, "tutorial"))
        )

        def missed(masks: int, of_right: Any = of_right, of_wrong: Any = of_wrong) -> bool:
            alarm = drop_fraction_deviations(masks, *of_right, 1e-9 / 4)[1]
            return alarm + drop_fraction_deviations(masks, *of_wrong, MISS)[0] > of_wrong[0] - of_right[0]

        masks = next(masks for masks in range(1, 10**6) if not missed(masks))
        below, above = drop_fraction_deviations(512, *of_right, 1e-9 / 4)
        found = "yes" if abs(wrong - right) > 0.05 else "never"
        rows.append((p, f"{right:.4f}", f"-{below:.4f}, +{above:.4f}", f"{wrong:.4f}", found, f"{masks:,}"))
    table(
        [
            "drop_prob",
            "expected",
            "`assert_drop_rate` allows, 512 masks",
            "seeds on every cell",
            '"within 0.05" finds it',
            "`assert_drop_rate` finds it with",
        ],
        [(*row[:-1], f"{row[-1]} masks") for row in rows],
    )


def maps_table() -> None:
    """The property that the settings of each check must have, and the maps that it prefers."""
    groups: dict[Any, list[str]] = {}
    for check in CHECKS.values():
        groups.setdefault((check.needs.what, check.needs.preferred), []).append(f"`{check.name}`")
    table(
        ["checks", "need", "prefer"],
        [(", ".join(names), what, "; ".join(map(str, maps))) for (what, maps), names in groups.items()],
    )


def inputs_table() -> None:
    """What a whole run gives to the backend `numpy`, by looking on."""
    plain = backends.load("numpy")
    seen: dict[str, set[Any]] = {name: set() for name in ("shape", "dtype", "drop_prob", "block")}
    calls = 0

    def forward(x: Any, drop_prob: float, block_size: Any, *, training: bool, seed: int | None) -> Any:
        nonlocal calls
        y = plain.forward(x, drop_prob, block_size, training=training, seed=seed)
        calls += 1
        for name, value in zip(seen, (x.shape, x.dtype.name, drop_prob, block_size), strict=True):
            seen[name].add(value)
        return y

    check_backend(replace(plain, forward=forward))

    def span(values: Iterable[float]) -> str:
        ordered = sorted(set(values))
        few = len(ordered) <= 8
        return ", ".join(f"{one:g}" for one in ordered) if few else f"{ordered[0]:g} to {ordered[-1]:,g}"

    maps_seen = [[shape[2:] for shape in seen["shape"] if len(shape) == ndim] for ndim in (4, 5)]
    blocks = [side for block in seen["block"] for side in (block if isinstance(block, tuple) else (block,))]
    inner = sorted(p for p in seen["drop_prob"] if 0 < p < 1)
    rows = [
        ("calls of `forward` that returned an output", f"{calls:,}"),
        ("dtypes", ", ".join(sorted(seen["dtype"]))),
        ("samples in a call", span(shape[0] for shape in seen["shape"])),
        ("channels", span(shape[1] for shape in seen["shape"])),
        ("sides of maps (H, W)", span(side for one in maps_seen[0] for side in one)),
        ("sides of volumes (D, H, W)", span(side for one in maps_seen[1] for side in one)),
        ("cells in one call, at most", f"{max(math.prod(shape) for shape in seen['shape']):,}"),
        ("sides of blocks", span(blocks)),
        ("drop_prob", f"0, {inner[0]:g} to {inner[-1]:g}, 1"),
    ]
    table(["in a whole run over the backend `numpy`", ""], rows)


def versions_table() -> None:
    """What setup.cfg asks for."""
    settings = ConfigParser()
    settings.read(DOCS.parent / "setup.cfg", encoding="utf-8")
    pythons = re.findall(r":: (3\.\d+)$", settings["metadata"]["classifiers"], re.MULTILINE)
    needed = settings["options"]["install_requires"].split()
    modelled = [line for line in settings["options.extras_require"]["peers"].split() if "==" in line]
    rows = [
        ("this version", dropblock_ref.__version__),
        ("Python", f"{pythons[0]} to {pythons[-1]}"),
        ("needed", ", ".join(needed)),
        ("for pytest, hypothesis, bfloat16", ", ".join(settings["options.extras_require"]["testing"].split())),
        ("modelled", ", ".join(one.replace("==", " ") for one in modelled)),
    ]
    table(["", ""], rows)
