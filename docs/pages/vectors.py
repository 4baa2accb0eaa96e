"""What vectors.md shows: tables of the manifest's fields, commands and what they print, parts of foreign programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from blocks import DOCS, fenced, table, wrapped

from dropblock_ref.vectors import write_vectors

ROOT = DOCS.parent
KEPT = ROOT / "tests" / "vectors"
FOREIGN = ROOT / "tests" / "foreign"
LANGUAGES = {".c": "c", ".js": "js"}
_SCHEMA: dict[str, Any] = json.loads((KEPT / "schema.json").read_text(encoding="utf-8"))


def _values(field: dict[str, Any]) -> str:
    """What a field may be."""
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        return f"{field['minItems']} or {field['maxItems']} integers"
    if "minimum" in field:
        return "number" if "maximum" not in field else f"{field['minimum']} to {field['maximum']}"
    return {"boolean": "`true`, `false`", "object": "object"}.get(field["type"], "text")


def case_fields() -> None:
    """The fields of a case."""
    fields = _SCHEMA["$defs"]["case"]["properties"]
    table(
        ("field", "values", "meaning"),
        [(f"`{name}`", _values(one), one["description"]) for name, one in fields.items()],
    )


def array_fields() -> None:
    """The fields of an array."""
    fields = _SCHEMA["$defs"]["array"]["properties"]
    table(
        ("field", "values", "meaning"),
        [(f"`{name}`", _values(one), one["description"]) for name, one in fields.items()],
    )


def arrays() -> None:
    """The arrays of a case."""
    fields = _SCHEMA["$defs"]["case"]["properties"]["arrays"]["properties"]
    table(("array", "what it is"), [(f"`{name}`", one["description"]) for name, one in fields.items()])


def example() -> None:
    """A case of the small set, on several lines."""
    case = json.loads((KEPT / "manifest.json").read_text(encoding="utf-8"))["cases"][0]
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in case.items() if key != "arrays"]
    entries = [f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in case["arrays"].items()]
    fenced("{\n" + ",\n".join(lines) + ',\n  "arrays": {\n' + ",\n".join(entries) + "\n  }\n}", "json")


def sizes() -> None:
    """How much there is to read."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, small in (("full", False), ("small", True)):
            cases = write_vectors(Path(folder) / name, small=small)
            bytes_ = [path.stat().st_size for path in (Path(folder) / name).rglob("*") if path.is_file()]
            rows.append((name, cases, f"{len(bytes_):,}", f"{sum(bytes_) / 1e6:.1f} MB"))
    table(("set", "cases", "files", "size"), rows)


@cache
def _workplace() -> tempfile.TemporaryDirectory[str]:
    """Where the commands of the page run, one after the other: a copy of the foreign programs."""
    folder = tempfile.TemporaryDirectory()
    for program in _programs():
        (Path(folder.name) / program.name).write_bytes(program.read_bytes())
    return folder


def _programs() -> Iterator[Path]:
    yield from (path for path in sorted(FOREIGN.iterdir()) if path.suffix in LANGUAGES)


def shell(command: str, *, fails: bool = False) -> None:
    """Write a command and what it prints; `fails` says whether its exit code must be another than 0."""
    place = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = os.environ | {"PATH": place, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        check=False,
        capture_output=True,
        text=True,
        cwd=_workplace().name,
        env=environment,
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    fenced(command, "sh")
    if done.stdout:
        fenced(wrapped(done.stdout, 100), "text")


def program(name: str, text: str) -> None:
    """Write a Python program and put it where the commands run."""
    fenced(text, "python")
    (Path(_workplace().name) / name).write_text(text.strip() + "\n", encoding="utf-8")


def part(file: str, first: str, last: str) -> None:
    """Write the lines of a foreign program from one that begins with `first` to the next that is `last`."""
    lines = (FOREIGN / file).read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(first))
    stop = next(number for number, line in enumerate(lines) if number > start and line == last)
    fenced("\n".join(lines[start : stop + 1]), LANGUAGES[Path(file).suffix])
