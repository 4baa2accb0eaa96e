"""The changes that docs/contributing.md shows apply to this repository, and do what the page says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
THEORY = ("--shape", "28,28", "--block-size", "7", "--drop-prob", "0.1")
CHANGES = ROOT / "docs" / "contributing"


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with all three changes."""
    copy = tmp_path_factory.mktemp("changed")
    for name in ("dropblock_ref", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.cfg", "README.md"):
        shutil.copy(ROOT / name, copy)
    for name in ("convention", "backend", "check"):
        apply = ["git", "apply", str(CHANGES / f"{name}.diff")]
        subprocess.run(apply, cwd=copy, check=True)
    shutil.copy(ROOT / "tests" / "peers" / "blockdrop.py", copy)
    return copy


def python(folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_convention_passes_the_tests_of_all_rows(changed: Path) -> None:
    tests = [f"tests/test_{module}.py" for module in ("convention", "call", "rules", "equivalences")]
    printed = python(changed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rN", *tests)
    assert " passed" in printed
    assert "blockdrop" in python(changed, "-m", "dropblock_ref", "theory", "--all", *THEORY)


def test_the_backend_is_checked_and_the_check_is_run(changed: Path) -> None:
    printed = python(changed, "-m", "dropblock_ref", "check", "blockdrop", "--quick")
    assert printed.startswith("PASSED  blockdrop, held to convention 'blockdrop'")
    assert "replayed_mask " in printed
    assert "  passed           read_only_input" in printed


def test_the_backend_replays_the_package(changed: Path) -> None:
    replay = ("tests/peers/test_packages.py", "-k", "blockdrop")
    assert " passed" in python(changed, "-m", "pytest", "-q", "-p", "no:cacheprovider", *replay)


def test_the_planted_bug_is_caught_by_the_check(changed: Path) -> None:
    bug = ("tests/testing/test_mutants.py", "-k", "read_only_input_refused")
    assert "1 passed" in python(changed, "-m", "pytest", "-q", "-p", "no:cacheprovider", *bug)
