"""What the package exports, imports, and in which order its files stand on each other."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dropblock_ref
from dropblock_ref import backends, plot, testing, theory, vectors
from dropblock_ref.testing import strategies

PACKAGE = Path(dropblock_ref.__file__).parent
EXPORTS = {
    "CONVENTIONS",
    "Convention",
    "PAPER",
    "Trace",
    "drop_block",
    "gamma",
    "keep_mask",
    "linear_schedule",
    "recover_seeds",
    "sample_seeds",
    "scale",
    "trace",
    "valid_seeds",
    "vjp",
}
# As design.md section 3 prints them.
SIGNATURES = {
    "gamma": "drop_prob, block_size, spatial_shape, *, convention='paper'",
    "valid_seeds": "block_size, spatial_shape, *, convention='paper'",
    "sample_seeds": "gamma, block_size, shape, *, rng, data_format='channels_first', convention='paper'",
    "keep_mask": "seeds, block_size, *, data_format='channels_first', convention='paper'",
    "recover_seeds": "keep_mask, block_size, *, data_format='channels_first', convention='paper'",
    "scale": "keep_mask, *, drop_prob=None, data_format='channels_first', convention='paper'",
    "drop_block": "x, drop_prob, block_size, *, rng=None, seeds=None, training=True, "
    "data_format='channels_first', convention='paper'",
    "trace": "x, drop_prob, block_size, *, rng=None, seeds=None, training=True, "
    "data_format='channels_first', convention='paper'",
    "vjp": "cotangent, trace",
    "linear_schedule": "step, start, stop, steps",
    "Trace": "gamma, seeds, keep_mask, scale, output, data_format, block",
    "Convention": "*, name, source, gamma_rule, seed_region, even_extra_cell, oversize_block, shared_channels, "
    "scale_over, epsilon, all_dropped, shared_samples=False",
}
ROOMS = (
    "arguments",
    "picture",
    "convention",
    "algorithm",
    "coverage",
    "rules",
    "fast",
    "call",
    "stages",
    "dropblock",
    "schedule",
    "kept_cells",
    "theory",
    "testing",
    "backends",
    "vectors",
    "plot",
    "cli",
    "__main__",
)
NOT_IMPORTED = (
    "scipy.stats",
    "scipy.optimize",
    "hypothesis",
    "pytest",
    "torch",
    "tensorflow",
    "jax",
    "ml_dtypes",
    "matplotlib",
)


def test_import_needs_numpy_and_scipy_only() -> None:
    program = "import sys, dropblock_ref; print(*sorted(sys.modules), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    loaded = set(done.stdout.split())
    assert "dropblock_ref.dropblock" in loaded
    assert not loaded.intersection(NOT_IMPORTED)


def test_exports_are_the_pinned_ones() -> None:
    assert set(dropblock_ref.__all__) == EXPORTS
    assert len(dropblock_ref.__all__) == len(EXPORTS)
    assert all(hasattr(dropblock_ref, name) for name in EXPORTS)


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_the_pinned_ones(name: str) -> None:
    signature: list[str] = []
    for parameter in inspect.signature(getattr(dropblock_ref, name)).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in signature:
            signature.append("*")
        assert parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        signature.append(parameter.name + shown(parameter.default))
    assert ", ".join(signature) == SIGNATURES[name]


def shown(default: Any) -> str:
    if default is inspect.Parameter.empty:
        return ""
    return f"={default!r}"


def source_files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(module: str) -> str:
    """`dropblock_ref.testing.report` -> `testing`."""
    return module.split(".")[1]


def imported_modules(path: Path) -> Iterator[str]:
    """The package's own modules that a file imports, also inside functions."""
    package = [PACKAGE.name, *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith(f"{PACKAGE.name}."))
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1] if node.level else [])
            module = ".".join(part for part in (base, node.module) if part)
            if module == PACKAGE.name:  # a room by its name, or something that the top of the package exports
                yield from (f"{module}.{alias.name}" for alias in node.names if alias.name in ROOMS)
            elif module.startswith(f"{PACKAGE.name}."):
                yield module


@pytest.mark.parametrize("path", source_files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_file_imports_only_from_files_above_it(path: Path) -> None:
    place = path.relative_to(PACKAGE).parts
    room = ROOMS.index(place[0].removesuffix(".py"))
    for module in imported_modules(path):
        allowed = ROOMS.index(room_of(module)) + (len(place) == 1)
        assert allowed <= room, f"{path.name} imports {module}, which stands below it"


def test_every_public_name_is_on_the_page_about_the_api_and_has_an_example() -> None:
    page = (PACKAGE.parent / "docs" / "api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   (dropblock_ref\.\S+)$", page, re.MULTILINE))
    rooms = (dropblock_ref, theory, testing, strategies, backends, plot, vectors)
    public = {f"{room.__name__}.{name}" for room in rooms for name in room.__all__}
    constants = {name for name in public if name.rpartition(".")[2].isupper()}
    assert public - constants - {strategies.__name__} == listed
    for name in listed:
        room, _, attribute = name.rpartition(".")
        assert ">>> " in str(inspect.getdoc(getattr(sys.modules[room], attribute))), name


def test_no_file_bears_the_name_of_a_public_function() -> None:
    assert not EXPORTS.intersection(path.stem for path in PACKAGE.glob("*.py"))
