"""Implementations in C and JavaScript, which know of the package only its test vectors.

Needs a C compiler, and Node, which the extra `dev` installs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dropblock_ref import CONVENTIONS
from dropblock_ref.cli import main
from dropblock_ref.vectors import write_vectors

HERE = Path(__file__).parent
COMPILE = "cc -std=c99 -Wall -Wextra -Werror -O2"
# What the programs do: all conventions but one that counted kept cells otherwise, if there were one.
OF_BATCH = [name for name, row in CONVENTIONS.items() if row.scale_over in ("batch", "keep_prob")]
PATTERNS = [f"{name}/*_{dtype}_*" for name in OF_BATCH for dtype in ("float32", "float64")]
VALUES = {"scale", "replayed_values", "gradient"}
IDENTITIES = {"evaluation_identity", "zero_drop_prob_identity", "evaluation_gradient"}
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign") / "vectors"
    write_vectors(folder)
    return folder


def find_program(name: str) -> str:
    """On the path, or beside Python, where pip puts the Node of the extra `dev`."""
    places = os.pathsep.join((os.environ["PATH"], str(Path(sys.executable).parent)))
    found = shutil.which(name, path=places)
    assert found, f"this test needs the program {name}, which is not on the path: {places}"
    return found


def run_c(vectors: Path, results: Path, *flags: str) -> None:
    program = results.parent / "dropblock"
    compiler, *options = COMPILE.split()
    command = [find_program(compiler), *options, *flags, str(HERE / "dropblock.c"), "-o", str(program), "-lm"]
    subprocess.run(command, check=True)
    subprocess.run([program, vectors, results], check=True)


def run_javascript(vectors: Path, results: Path, *arguments: str) -> None:
    subprocess.run([find_program("node"), HERE / "dropblock.js", vectors, results, *arguments], check=True)


def verify(capsys: Capture, vectors: Path, results: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code of the command, and what it says of each check."""
    capsys.readouterr()
    code = main(["verify", str(vectors), str(results), "--cases", ",".join(PATTERNS), "--json"])
    (report,) = json.loads(capsys.readouterr().out)
    return code, {result["name"]: result for result in report["results"]}


def names_of(checks: dict[str, dict[str, Any]], status: str) -> set[str]:
    return {name for name, result in checks.items() if result["status"] == status}


@pytest.mark.parametrize("run", [run_c, run_javascript])
def test_a_foreign_program_does_what_every_convention_says(
    run: Any, vectors: Path, tmp_path: Path, capsys: Capture
) -> None:
    run(vectors, tmp_path / "results")
    code, checks = verify(capsys, vectors, tmp_path / "results")
    assert (code, names_of(checks, "passed")) == (0, set(checks))
    cases = json.loads((vectors / "manifest.json").read_text("utf-8"))["cases"]
    number = sum(
        case["dtype"] in ("float32", "float64") and case["scale_over"] in ("batch", "keep_prob") for case in cases
    )
    assert checks["files"]["message"] == f"{3 * number} files"
    assert checks["replayed_mask"]["message"] == f"{number} cases"


def test_even_blocks_on_the_wrong_side_are_found(vectors: Path, tmp_path: Path, capsys: Capture) -> None:
    run_c(vectors, tmp_path / "results", "-DPLANTED_BUG")
    code, checks = verify(capsys, vectors, tmp_path / "results")
    assert code == 1
    # Cells that are dropped by mistake have no scale: that is judged where the masks are right.
    assert names_of(checks, "failed") == {"replayed_mask", *VALUES} - {"scale"}
    assert names_of(checks, "passed") == {"files", "shape_and_dtype", "scale", *IDENTITIES}
    assert "cannot be judged" in checks["scale"]["message"]
    message = checks["replayed_mask"]["message"]
    assert "the mask must drop the blocks of (2, 2) around the drawn seeds (convention 'paper')" in message
    assert set(re.findall(r"_(\w+?)/keep_mask", re.sub(r"\S+_float\d\d", "", message))) == {"even", "per_axis"}


def test_kept_cells_counted_per_sample_are_found(vectors: Path, tmp_path: Path, capsys: Capture) -> None:
    run_javascript(vectors, tmp_path / "results", "planted-bug")
    code, checks = verify(capsys, vectors, tmp_path / "results")
    assert code == 1
    assert names_of(checks, "failed") == VALUES
    assert names_of(checks, "passed") == {"files", "shape_and_dtype", "replayed_mask", *IDENTITIES}
    assert "which is kept cells counted in this sample only" in checks["scale"]["message"]


@pytest.mark.parametrize("name", ["dropblock.c", "dropblock.js"])
def test_a_program_is_short_enough_to_be_an_example(name: str) -> None:
    lines = (HERE / name).read_text("utf-8").splitlines()
    assert len(lines) < 150
    assert max(map(len, lines)) <= 120


def test_a_missing_program_is_a_failure_in_words() -> None:
    with pytest.raises(AssertionError, match="this test needs the program no-such-compiler, which is not on the path"):
        find_program("no-such-compiler")
