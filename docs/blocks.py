"""What the pages call to write their generated parts: [[[cog ...]]] in a comment, see build.py."""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import io
import runpy
import textwrap
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dropblock_ref import backends
from dropblock_ref.testing import Identification, Report, check_backend, identify

DOCS = Path(__file__).parent


def fenced(text: str, language: str) -> None:
    """Write a block of code."""
    print(f"\n```{language}\n{text.strip(chr(10))}\n```\n")


def wrapped(text: str, width: int = 80) -> str:
    """The text with its long lines broken, and what follows a break indented."""
    lines = []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        lines += textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False) or [""]
    return "\n".join(lines)


def include(path: str) -> None:
    """Write a whole file of docs/, as code."""
    fenced((DOCS / path).read_text(encoding="utf-8"), "python")


def run(path: str) -> None:
    """Write a program of docs/ and what it prints."""
    include(path)
    fenced(printed_by(path), "text")


def printed_by(path: str) -> str:
    """What a program of docs/ prints."""
    if find_spec("torchvision"):  # torchvision's wheel beside a CPU build of torch lacks compiled operators
        from dropblock_ref.backends.torchvision_operators import import_torchvision

        import_torchvision()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(str(DOCS / path), run_name="__main__")
    return printed.getvalue()


def source(module: str, *names: str) -> None:
    """Write functions and classes of the package, whole."""
    fenced("\n\n".join(inspect.getsource(getattr(importlib.import_module(module), name)) for name in names), "python")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a Markdown table."""
    print("\n| " + " | ".join(header) + " |\n|" + " --- |" * len(header))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print()


# name of the backend -> distribution on PyPI
DISTRIBUTIONS = {
    "torchvision": "torchvision",
    "timm": "timm",
    "timm_uncoupled": "timm",
    "dropblock": "dropblock",
    "pytorch_toolbelt": "pytorch-toolbelt",
    "keras_cv": "keras-cv",
}


def package(name: str) -> str:
    """The installed package and version of a backend."""
    return f"{DISTRIBUTIONS[name]} {metadata.version(DISTRIBUTIONS[name])}"


@cache
def report(name: str) -> Report:
    """What the oracle says of a backend: one run per build."""
    return check_backend(backends.load(name), seed=0)


@cache
def identification(name: str) -> Identification:
    """What identify says of a backend: one run per build."""
    return identify(backends.load(name), seed=0)


def verdicts() -> None:
    """Write a table of the oracle's verdict on every published package."""
    rows = []
    for name in DISTRIBUTIONS:
        said, found = report(name), identification(name)
        nearest = " or ".join(f"`{convention}`" for convention in found.nearest)
        if contradicted := found.contradictions[found.nearest[0]]:
            nearest += ", but for " + ", ".join(f"`{field}`" for field in contradicted)
        options = ", masks per channel" * (name == "timm_uncoupled")
        rows.append(
            (
                package(name) + options,
                f"`{said.convention}`",
                "passed" if said.passed else "FAILED",
                ", ".join(f"`{result.name}`" for result in said.failures) or "none",
                nearest,
                f"{sum(result.draws for result in said.results) / 1e6:.1f}",  # the last ones depend on threads
            )
        )
    table(("package", "held to", "verdict", "failed checks", "nearest by `identify`", "million masks"), rows)


def diff(name: str) -> None:
    """Write a change of docs/contributing."""
    fenced((DOCS / "contributing" / f"{name}.diff").read_text(encoding="utf-8"), "diff")


def command(name: str) -> None:
    """Write one of the commands of README.md."""
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    fenced(readme.split(f"<!-- {name} -->\n```sh\n")[1].split("```")[0], "sh")


def rooms() -> None:
    """Write a table of the package's files and the first sentence of each, in the order of the test of imports."""
    package = DOCS.parent / "dropblock_ref"
    test = ast.parse((DOCS.parent / "tests" / "test_package.py").read_text(encoding="utf-8"))
    (order,) = (
        ast.literal_eval(node.value)
        for node in test.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ROOMS"
    )
    files = [package / name / "__init__.py" if (package / name).is_dir() else package / f"{name}.py" for name in order]
    rows = []
    for file in files:
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        name = file.parent.name + "/" if file.stem == "__init__" else file.name
        rows.append((f"`{name}`", text.splitlines()[0]))
    table(("file", "what it is for"), rows)
