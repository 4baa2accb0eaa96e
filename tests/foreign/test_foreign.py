"""Implementations in C and JavaScript, which know of the package only its test vectors. Needs a C compiler and Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dropblock_ref.vectors import write_vectors

HERE = Path(__file__).parent
DTYPES = ("float32", "float64")


def find_program(name: str, package: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"this test needs {name}, for example the package {package} of Debian"
    return found


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign") / "vectors"
    write_vectors(folder)
    return folder


def command(language: str, folder: Path, *, planted_bug: bool) -> list[str]:
    """What runs the program, but for VECTORS and RESULTS."""
    if language == "JavaScript":
        return [find_program("node", "nodejs"), str(HERE / "dropblock.js")]
    program = str(folder / "dropblock")
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", *(["-DPLANTED_BUG"] if planted_bug else [])]
    subprocess.run([find_program("cc", "gcc"), *flags, str(HERE / "dropblock.c"), "-o", program, "-lm"], check=True)
    return [program]


def results_of(language: str, vectors: Path, folder: Path, *, planted_bug: bool = False) -> Path:
    results = folder / "results"
    last = ["planted-bug"] if planted_bug and language == "JavaScript" else []
    program = command(language, folder, planted_bug=planted_bug)
    subprocess.run([*program, str(vectors), str(results), *last], check=True)
    return results


def wrong_cases(vectors: Path, results: Path) -> dict[str, set[str]]:
    """Case -> which of its arrays are not as they should be, within 4 ulps."""
    wrong: dict[str, set[str]] = {}
    for case in json.loads((vectors / "manifest.json").read_text("utf-8"))["cases"]:
        for name in ("keep_mask", "y", "x_bar") if case["dtype"] in DTYPES else ():
            expected = np.load(vectors / case["name"] / f"{name}.npy")
            got = np.load(results / case["name"] / f"{name}.npy", allow_pickle=False)
            assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
            if name == "keep_mask":
                same = np.array_equal(got, expected)
            else:
                same = np.allclose(got, expected, rtol=4 * np.finfo(got.dtype).eps, atol=0, equal_nan=True)
            if not same:
                wrong.setdefault(case["name"], set()).add(name)
    return wrong


@pytest.mark.parametrize("language", ["C", "JavaScript"])
def test_a_foreign_program_does_what_every_convention_says(language: str, vectors: Path, tmp_path: Path) -> None:
    assert wrong_cases(vectors, results_of(language, vectors, tmp_path)) == {}


def test_even_blocks_on_the_wrong_side_are_found(vectors: Path, tmp_path: Path) -> None:
    wrong = wrong_cases(vectors, results_of("C", vectors, tmp_path, planted_bug=True))
    assert wrong


def test_a_scale_per_sample_is_found(vectors: Path, tmp_path: Path) -> None:
    wrong = wrong_cases(vectors, results_of("JavaScript", vectors, tmp_path, planted_bug=True))
    assert wrong


@pytest.mark.parametrize("name", ["dropblock.c", "dropblock.js"])
def test_a_program_is_short_enough_to_be_an_example(name: str) -> None:
    lines = (HERE / name).read_text("utf-8").splitlines()
    assert len(lines) < 150
    assert max(map(len, lines)) <= 120
