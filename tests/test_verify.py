"""verify: right results pass, wrong ones fail by the check that fits, and no file whatever passes or makes a traceback.

The right results are those of `tests.mutants.correct`, which is written from the paper and not from the reference.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from dropblock_ref import CONVENTIONS
from dropblock_ref.testing import CheckResult, Report
from dropblock_ref.vectors import verify_results, write_vectors
from tests.mutants.correct import DropBlock
from tests.test_cli import Capture, run, usage_error

Array = NDArray[Any]
Answers = dict[str, Array]
Document = dict[str, Any]
KEPT = Path(__file__).parent / "vectors"
CASES: dict[str, Document] = {case["name"]: case for case in json.loads((KEPT / "manifest.json").read_text())["cases"]}
OUTPUTS = ("keep_mask", "y", "x_bar")
CHECKS = (
    "files",
    "shape_and_dtype",
    "replayed_mask",
    "scale",
    "replayed_values",
    "gradient",
    "evaluation_identity",
    "zero_drop_prob_identity",
    "evaluation_gradient",
)
PLAIN = "paper/2d_channels_first_float64_odd"
SINGLE = "calibrated/2d_channels_first_float32_odd"
BITS = "timm/3d_channels_first_bfloat16_even"
EVALUATION = "dropblock/2d_channels_first_float32_evaluation"
ZERO = "keras_cv/2d_channels_first_float32_drop_prob_0"
ALL_DROPPED = "dropblock/2d_channels_first_float32_all_dropped"
SPECIAL = "mmdetection/2d_channels_first_float32_special_values"


def load(folder: Path, case: Document, name: str) -> Array:
    array: Array = np.load(folder / case["arrays"][name]["file"])
    return array.view(ml_dtypes.bfloat16) if array.dtype == np.uint16 else array


def answer(folder: Path, case: Document) -> Answers:
    """What a right program writes."""
    x, cotangent, seeds = (load(folder, case, name) for name in ("x", "cotangent", "seeds"))
    if not case["training"] or case["drop_prob"] == 0:
        return {"keep_mask": np.ones_like(seeds), "y": x, "x_bar": cotangent}
    rules = replace(CONVENTIONS[case["convention"]], gamma_rule="uncorrected")  # without effect: the seeds are given
    backend = DropBlock(rules, case["data_format"])
    backend.drop_prob = case["drop_prob"]
    maps = backend.to_maps(seeds)
    side = backend.to_maps(x).shape[2:]
    dropped = backend.dilate(maps, backend.resolve_block(tuple(case["block_size"]), side))
    y, x_bar = (backend.apply(array, seeds, case["block_size"]) for array in (x, cotangent))
    return {"keep_mask": backend.from_maps(~dropped), "y": y, "x_bar": x_bar}


def save(path: Path, array: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array.view("u2") if array.dtype == ml_dtypes.bfloat16 else array)


def write_answers(folder: Path, results: Path) -> None:
    for case in json.loads((folder / "manifest.json").read_text())["cases"]:
        for name, array in answer(folder, case).items():
            save(results / case["name"] / f"{name}.npy", array)


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Right results for the small set; not to be modified."""
    results = tmp_path_factory.mktemp("verify") / "right"
    write_answers(KEPT, results)
    return results


@pytest.fixture
def results(right: Path, tmp_path: Path) -> Path:
    """The same, to be modified."""
    return Path(shutil.copytree(right, tmp_path / "results"))


def result(report: Report, name: str) -> CheckResult:
    (found,) = (one for one in report.results if one.name == name)
    return found


def failed(report: Report) -> list[str]:
    return [one.name for one in report.failures]


def file_of(results: Path, case: str, output: str) -> Path:
    return results / case / f"{output}.npy"


# Right results


def test_right_results_pass_for_the_full_set(tmp_path: Path) -> None:
    write_vectors(tmp_path / "full")
    write_answers(tmp_path / "full", tmp_path / "results")
    report = verify_results(tmp_path / "full", tmp_path / "results")
    assert report.passed, report
    assert report.convention == ", ".join(CONVENTIONS)
    assert {one.status for one in report.results} == {"passed"}
    assert result(report, "files").message == f"{3 * 1332} files"
    assert result(report, "replayed_mask").message == "1332 cases"


def test_the_report_names_each_check_and_how_many_cases_it_looked_at(right: Path) -> None:
    report = verify_results(str(KEPT), str(right))
    assert [one.name for one in report.results] == list(CHECKS)
    identity = [not case["training"] or case["drop_prob"] == 0 for case in CASES.values()]
    assert result(report, "shape_and_dtype").message == f"{3 * len(CASES)} files"
    assert result(report, "gradient").message == f"{len(CASES) - sum(identity)} cases"
    assert result(report, "evaluation_gradient").message == f"{sum(identity)} cases"
    assert result(report, "evaluation_identity").message == "1 case"
    assert report.false_alarm == 0


@pytest.mark.parametrize("name", CASES)
def test_a_case_by_itself_passes(right: Path, name: str) -> None:
    report = verify_results(KEPT, right, cases=name)
    assert report.passed
    assert report.convention == name.split("/", maxsplit=1)[0]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_either_byte_order_and_order_of_axes_is_the_same_array(results: Path, byte_order: str, order: Any) -> None:
    for path in results.rglob("*.npy"):
        array = np.load(path)
        np.save(path, np.asarray(array.astype(array.dtype.newbyteorder(byte_order)), order=order))
    assert verify_results(KEPT, results).passed


def test_a_file_of_version_2_and_one_with_a_header_of_python_2_are_read(results: Path) -> None:
    path = file_of(results, SINGLE, "y")
    array = np.load(path)
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, version=(2, 0))
    assert verify_results(KEPT, results, cases=SINGLE).passed
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {tuple(f'{S}L' for S in array.shape)}, }}"
    content = header.replace("'2L'", "2L").replace("'3L'", "3L").replace("'4L'", "4L").replace("'5L'", "5L")
    padded = (content + " " * (117 - len(content)) + "\n").encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + array.tobytes())
    assert verify_results(KEPT, results, cases=SINGLE).passed


def test_the_largest_error_that_is_let_pass_is_four_ulps(results: Path) -> None:
    path = file_of(results, PLAIN, "y")
    y = np.load(path)
    kept = np.argwhere(y != 0)[-1]
    for ulps, passes in ((3, True), (-3, True), (5, False), (-5, False)):
        wrong = y.copy()
        wrong[tuple(kept)] += ulps * np.spacing(np.abs(y[tuple(kept)]))
        np.save(path, wrong)
        assert verify_results(KEPT, results, cases=PLAIN).passed == passes


def test_zeros_of_either_sign_and_zeros_for_nan_are_right_where_everything_is_dropped(results: Path) -> None:
    for output in ("y", "x_bar"):
        path = file_of(results, ALL_DROPPED, output)
        assert np.isnan(np.load(path)).all()
        np.save(path, np.full_like(np.load(path), -0.0))
    assert verify_results(KEPT, results, cases=ALL_DROPPED).passed


# Wrong results

Edit = Callable[[Array], Array]


def with_one(place: int, value: float) -> Edit:
    def edit(array: Array) -> Array:
        array.flat[place] = value
        return array

    return edit


def first_kept(array: Array) -> int:
    return int(np.flatnonzero(array)[0])


WRONG: tuple[tuple[str, str, Edit, str, str], ...] = (
    (PLAIN, "keep_mask", np.logical_not, "replayed_mask", "the mask must drop the blocks of (3, 3)"),
    (PLAIN, "keep_mask", np.ones_like, "replayed_mask", "o kept but should be dropped, S seed"),
    (PLAIN, "keep_mask", lambda mask: np.roll(mask, 1, -1), "replayed_mask", "first in sample 0, channel "),
    (BITS, "keep_mask", np.zeros_like, "replayed_mask", "x dropped but should be kept"),
    (EVALUATION, "keep_mask", with_one(7, 0), "replayed_mask", "1 of 40 cells differ, the first in sample 0"),
    (PLAIN, "y", lambda y: y * 1.25, "scale", "kept cells must be multiplied by the scale"),
    (BITS, "y", lambda y: y * y.dtype.type(0.5), "scale", "ulps of bfloat16 off"),
    (PLAIN, "y", np.negative, "scale", "they are multiplied by -"),
    (PLAIN, "y", lambda y: np.where(y == 0, 0.5, y), "replayed_values", "dropped cells must be 0, but"),
    (PLAIN, "y", lambda y: np.where(y == 0, np.nan, y), "replayed_values", "seen nan"),
    (PLAIN, "y", np.zeros_like, "scale", "they are multiplied by 0"),
    (PLAIN, "y", lambda y: with_one(first_kept(y), 0)(y), "replayed_values", "first wrong cell"),
    (PLAIN, "y", lambda y: with_one(first_kept(y), np.nan)(y), "replayed_values", "seen nan"),
    (PLAIN, "y", lambda y: with_one(first_kept(y), np.inf)(y), "replayed_values", "seen inf"),
    (PLAIN, "y", lambda y: y[::-1], "replayed_values", "but"),
    (SPECIAL, "y", np.nan_to_num, "replayed_values", "expected"),
    (SPECIAL, "y", lambda y: np.where(np.isinf(y), -y, y), "replayed_values", "expected inf, seen -inf"),
    (ALL_DROPPED, "y", np.ones_like, "replayed_values", "dropped cells must be 0 or nan, but 120 of 120 are not"),
    (PLAIN, "x_bar", np.ones_like, "gradient", "dropped cells must be 0"),
    (PLAIN, "x_bar", lambda x_bar: x_bar * 2, "gradient", "of x_bar, with the cotangent as x: kept cells must be"),
    (BITS, "x_bar", np.zeros_like, "gradient", "kept cells must be multiplied by the scale"),
    (EVALUATION, "y", lambda y: y * 2, "evaluation_identity", "y must be x in evaluation, and 120 of 120 cells differ"),
    (ZERO, "y", with_one(3, 0), "zero_drop_prob_identity", "y must be x in training with drop_prob 0, and 1 of 120"),
    (EVALUATION, "x_bar", with_one(119, 1e9), "evaluation_gradient", "first at index (1, 2, 3, 4)"),
    (ZERO, "x_bar", with_one(0, np.nan), "evaluation_gradient", "x_bar must be cotangent in training with drop_prob 0"),
)  # fmt: skip


@pytest.mark.parametrize(("case", "output", "edit", "check", "words"), WRONG)
def test_wrong_values_fail_the_check_that_fits(
    results: Path, case: str, output: str, edit: Edit, check: str, words: str
) -> None:
    path = file_of(results, case, output)
    array = np.load(path)
    save(path, edit(array.view(ml_dtypes.bfloat16) if array.dtype == np.uint16 else array))
    report = verify_results(KEPT, results)
    assert failed(report) == [check], report
    message = result(report, check).message
    assert words in message
    assert f": {case}/{output}.npy\n{case}/{output}.npy: " in message
    assert message.startswith("1 of ")


def test_a_picture_shows_where_a_mask_is_wrong(results: Path) -> None:
    path = file_of(results, PLAIN, "keep_mask")
    mask, seeds = np.load(path), load(KEPT, CASES[PLAIN], "seeds")
    sample, channel, row, column = (int(i) for i in np.argwhere(seeds)[0])
    mask[sample, channel, row, column] = True
    np.save(path, mask)
    message = result(verify_results(KEPT, results), "replayed_mask").message
    assert f"in sample {sample}, channel {channel}, cell ({row}, {column})" in message
    rows = message.split(":\n")[-1].splitlines()[:4]
    assert rows[row][column] == "o"
    assert [len(row) for row in rows] == [5] * 4


def test_outputs_that_are_exchanged_or_of_another_case_fail(results: Path) -> None:
    y, x_bar = (file_of(results, PLAIN, output) for output in ("y", "x_bar"))
    kept = y.read_bytes()
    y.write_bytes(x_bar.read_bytes())
    x_bar.write_bytes(kept)
    assert failed(verify_results(KEPT, results, cases=PLAIN)) == ["replayed_values", "gradient"]
    other = file_of(results, "metaoptnet/2d_channels_first_float64_even", "y")  # of the same shape and dtype
    y.write_bytes(other.read_bytes())
    assert failed(verify_results(KEPT, results, cases=PLAIN)) == ["replayed_values", "gradient"]
    y.write_bytes(file_of(results, PLAIN, "keep_mask").read_bytes())
    assert failed(verify_results(KEPT, results, cases=PLAIN)) == ["shape_and_dtype", "gradient"]


def test_many_failures_are_counted_and_the_first_ones_named(results: Path) -> None:
    for path in results.rglob("y.npy"):
        path.unlink()
    report = verify_results(KEPT, results)
    message = result(report, "files").message
    assert message.startswith(f"{len(CASES)} of {3 * len(CASES)} files wrong: {next(iter(CASES))}/y.npy, ")
    assert f", and {len(CASES) - 5} more\n" in message
    assert message.endswith("y.npy does not exist; expected a .npy file")
    assert failed(report) == ["files"]
    assert result(report, "gradient").status == "passed"
    assert result(report, "scale").status == "not_applicable"
    assert result(report, "scale").message.endswith("cases cannot be judged, see what fails")
    assert result(report, "shape_and_dtype").message == (
        f"{2 * len(CASES)} files; {len(CASES)} files cannot be judged, see files"
    )


# Files that are no answer


def npy(array: Array, **how: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **how)
    return buffer.getvalue()


def with_header(text: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data


Y = np.load(KEPT / SINGLE / "y.npy")
HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s,)}\n"
BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is no .npy file"),
    "text": (b"1.0, 2.0, 3.0\n", "is no .npy file"),
    "raw": (Y.tobytes(), "is no .npy file"),
    "zip": (b"PK\x03\x04" + bytes(100), "is no .npy file"),
    "truncated header": (npy(Y)[:60], "is no .npy file"),
    "truncated": (npy(Y)[:-1], "must have 480 bytes of data for float32 of shape (2, 3, 4, 5), as its header says"),
    "too long": (npy(Y) + b"\0", "it is too long"),
    "twice": (npy(Y) * 2, "it is too long"),
    "version 3": (npy(Y).replace(b"\x01\x00", b"\x03\x00", 1), "is no .npy file of version 1.0 or 2.0"),
    "version 9": (npy(Y).replace(b"\x01\x00", b"\x09\x00", 1), "it is of version (9, 0)"),
    "pickled": (npy(np.array([print, None], object), allow_pickle=True), "must hold plain numbers"),
    "records": (npy(np.zeros(3, [("a", "f4")])), "must hold plain numbers"),
    "text array": (npy(np.array(["a"])), "must hold plain numbers"),
    "dates": (npy(np.zeros(3, "M8[s]")), "must hold plain numbers"),
    "complex": (npy(Y.astype("c8")), "must hold plain numbers"),
    "huge shape": (with_header(HUGE % 10**15), "it is truncated"),
    "shape beyond every integer": (with_header(HUGE % 10**40), "it is truncated"),
    "negative shape": (with_header(HUGE % -1), "must hold plain numbers"),
    "huge header": (with_header(" " * 60000 + HUGE % 1, bytes(4)), "is no .npy file"),
    "no such dtype": (with_header(HUGE.replace("<f4", "<q9") % 1), "is no .npy file"),
    "shape is no tuple": (with_header(HUGE.replace("(%s,)", "%s") % 1), "is no .npy file"),
    "header is code": (with_header("__import__('os').abort()\n"), "is no .npy file"),
    "header is nested": (with_header("(" * 5000 + "\n"), "is no .npy file"),
    "header is not text": (with_header("é\n"), "is no .npy file"),
}  # fmt: skip
BAD_ARRAYS: dict[str, tuple[Array, str]] = {
    "double": (Y.astype("f8"), "must be float32 of shape (2, 3, 4, 5), and is float64 of shape (2, 3, 4, 5)"),
    "half": (Y.astype("f2"), "and is float16"),
    "integers": (Y.astype("i4"), "and is int32"),
    "the bits": (Y.view("u4"), "and is uint32"),
    "flat": (Y.ravel(), "of shape (120,)"),
    "another layout": (np.moveaxis(Y, 1, -1), "of shape (2, 4, 5, 3)"),
    "one sample": (Y[:1], "of shape (1, 3, 4, 5)"),
    "none": (Y[:0], "of shape (0, 3, 4, 5)"),
    "scalar": (Y[0, 0, 0, 0], "of shape ()"),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_file_that_cannot_be_read_fails_in_words(results: Path, what: str) -> None:
    content, words = BAD_FILES[what]
    path = file_of(results, SINGLE, "y")
    path.write_bytes(content)
    report = verify_results(KEPT, results, cases=SINGLE)
    assert failed(report) == ["files"]
    assert words in report.failures[0].message
    assert f"y.npy: {path} " in report.failures[0].message
    assert result(report, "scale").status == "not_applicable"


@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_an_array_of_another_shape_or_dtype_fails_in_words(results: Path, what: str) -> None:
    array, words = BAD_ARRAYS[what]
    np.save(file_of(results, SINGLE, "y"), array)
    report = verify_results(KEPT, results, cases=SINGLE)
    assert failed(report) == ["shape_and_dtype"]
    assert words in report.failures[0].message


def test_a_mask_must_be_boolean_and_bfloat16_be_its_bits(results: Path) -> None:
    mask, y = file_of(results, BITS, "keep_mask"), file_of(results, BITS, "y")
    kept = np.load(mask)
    np.save(mask, kept.astype("u1"))
    np.save(y, np.load(y).view(ml_dtypes.bfloat16).astype("f4"))
    message = result(verify_results(KEPT, results, cases=BITS, outputs=["y"]), "shape_and_dtype").message
    assert "must be uint16, the bits of bfloat16, of shape (2, 3, 3, 4, 5), and is float32" in message
    report = verify_results(KEPT, results, cases=BITS, outputs=["keep_mask"])
    assert "must be bool of shape (2, 1, 3, 4, 5), and is uint8" in result(report, "shape_and_dtype").message
    mask.write_bytes(npy(kept)[: -kept.size] + bytes(np.where(kept, 2, 0).astype("u1")))
    report = verify_results(KEPT, results, cases=BITS)
    assert "must hold booleans, and has bytes other than 0 and 1" in result(report, "files").message


def test_a_folder_a_pipe_or_a_dead_link_is_no_file(results: Path) -> None:
    path = file_of(results, SINGLE, "y")
    makers: tuple[Callable[[], Any], ...] = (path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to("nowhere"))
    for make in makers:
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
        make()
        report = verify_results(KEPT, results, cases=SINGLE)
        assert failed(report) == ["files"]
        text = report.failures[0].message
        assert "is no regular file; expected a .npy file" in text or "does not exist" in text


def test_a_file_that_may_not_be_read_is_a_failure(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so that the refusal is planted."""
    refused = file_of(results, SINGLE, "y")
    opened: Callable[..., Any] = Path.open

    def refuse(path: Path, *how: Any, **more: Any) -> Any:
        if path == refused:
            raise PermissionError(13, "Permission denied")
        return opened(path, *how, **more)

    monkeypatch.setattr(Path, "open", refuse)
    report = verify_results(KEPT, results, cases=SINGLE)
    assert "PermissionError" in report.failures[0].message


# Corruptions by the thousand

FUZZED = (PLAIN, SINGLE, BITS, EVALUATION, ALL_DROPPED, SPECIAL)
ROUNDS = int(os.environ.get("DROPBLOCK_REF_FUZZ", "600"))


def corrupt(rng: random.Random, results: Path, right: Path) -> Path:
    """Spoil one file, in one of many ways."""
    files = [Path(case, f"{output}.npy") for case in FUZZED for output in OUTPUTS]
    chosen, other = rng.choice(files), rng.choice(files)
    content = bytearray((right / chosen).read_bytes())
    kind = rng.randrange(8)
    if kind == 0:
        for _ in range(rng.choice((1, 1, 1, 5, 50))):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        content = content[: rng.randrange(len(content))]
    elif kind == 2:
        content = bytearray((right / other).read_bytes())
    elif kind == 3:
        content[rng.randrange(128)] = rng.randrange(256)
    elif kind == 4:
        content[rng.randrange(128, len(content))] = rng.randrange(256)
    elif kind == 5:
        start = rng.randrange(len(content))
        content[start:start] = rng.randbytes(rng.randrange(1, 40))
    elif kind == 6:
        start, stop = sorted(rng.randrange(len(content)) for _ in range(2))
        del content[start:stop]
    else:
        old, new = rng.choice(((b"<", b">"), (b"False", b"True "), (b"4", b"8"), (b"2, 3", b"3, 2"), (b"f", b"i")))
        content = content.replace(old, new, 1)
    (results / chosen).write_bytes(content)
    return chosen


def same_values(seen: Path, expected: Path) -> bool:
    """Whether a file holds the values of another one, to a few ulps, as NumPy reads it."""
    try:
        a, b = (np.load(path, allow_pickle=False) for path in (seen, expected))
    except Exception:  # whatever makes it unreadable
        return False
    if a.shape != b.shape or a.dtype.newbyteorder("=") != b.dtype:
        return False
    if b.dtype == np.bool_:
        return bool((a.view("u1") == b.view("u1")).all())
    if b.dtype == np.uint16:
        a, b = (array.astype("u2").view(ml_dtypes.bfloat16).astype("f4") for array in (a, b))
        ulp = np.spacing(np.abs(b)) * 2.0**16
    else:
        ulp = np.spacing(np.abs(b))
    with np.errstate(all="ignore"):
        near = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a.astype("f8") - b) <= 5 * ulp.astype("f8"))
    return bool((near | (np.isnan(b) & (a == 0))).all())  # zeros are right for NaN where everything is dropped


@pytest.mark.filterwarnings("ignore::UserWarning")  # of numpy.load, about headers
def test_nothing_that_is_corrupt_passes_and_nothing_makes_a_traceback(right: Path, results: Path) -> None:
    rng = random.Random(1810)  # noqa: S311
    verdicts = {True: 0, False: 0}
    for number in range(ROUNDS):
        spoilt = corrupt(rng, results, right)
        report = verify_results(KEPT, results, cases=",".join(FUZZED))
        same = same_values(results / spoilt, right / spoilt)
        assert not report.passed or same, f"round {number}: {spoilt} passes"
        verdicts[report.passed] += 1
        shutil.copyfile(right / spoilt, results / spoilt)
    assert verdicts[False] > 0.6 * ROUNDS
    assert verdicts[True] > 0
    assert verify_results(KEPT, results).passed


# What is selected


def test_patterns_select_cases(right: Path) -> None:
    report = verify_results(KEPT, right, cases="timm/*, paper/2d*float64*")
    assert report.convention == "paper, timm"
    chosen = [name for name in CASES if name.startswith("timm/") or name == PLAIN]
    assert result(report, "replayed_mask").message == f"{len(chosen)} cases"
    assert result(report, "evaluation_identity").status == "not_applicable"
    assert result(report, "evaluation_identity").message == "no case is in evaluation"
    assert result(report, "evaluation_gradient").message == "no case is in evaluation or in training with drop_prob 0"
    assert verify_results(KEPT, right, cases=f"{EVALUATION},{EVALUATION}").results[0].message == "3 files"


def test_what_a_program_does_not_write_is_left_out_and_said(results: Path) -> None:
    for path in results.rglob("x_bar.npy"):
        path.unlink()
    assert not verify_results(KEPT, results).passed
    report = verify_results(KEPT, results, outputs=("y", "keep_mask", "y"))
    assert report.passed
    assert result(report, "files").message == f"{2 * len(CASES)} files"
    for name in ("gradient", "evaluation_gradient"):
        assert result(report, name).status == "not_applicable"
        assert result(report, name).message == "x_bar is not looked at, only y, keep_mask"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"cases": "nope/*"}, r"cases must be patterns of names, .*'nope/\*' matches none of 44 cases"),
        ({"cases": "paper/*,nope"}, "'nope' matches none"),
        ({"cases": ""}, "'' matches none"),
        ({"cases": PLAIN.upper()}, "matches none"),
        ({"outputs": ()}, "outputs must name at least one of keep_mask, y, x_bar"),
        ({"outputs": ("z",)}, "outputs must be one of 'keep_mask', 'y', 'x_bar', got 'z'"),
        ({"outputs": "y,"}, "outputs must be one of"),
        ({"results": "nowhere"}, "results must be a folder with a folder per case, and 'nowhere' is none"),
        ({"results": __file__}, "results must be a folder"),
        ({"vectors": "nowhere"}, r"nowhere/manifest.json is no manifest of test vectors: FileNotFoundError"),
    ],
)
def test_bad_arguments_are_named(right: Path, how: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        verify_results(**({"vectors": KEPT, "results": right} | how))


# Test vectors that were changed


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    return Path(shutil.copytree(KEPT, tmp_path / "vectors"))


@pytest.mark.parametrize("name", ["x", "seeds", "keep_mask", "scale", "y", "cotangent", "x_bar"])
def test_changed_vectors_are_refused(vectors: Path, right: Path, name: str) -> None:
    path = vectors / SINGLE / f"{name}.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}.npy is not the file that was written: its sha256 is .*anew"):
        verify_results(vectors, right, cases=SINGLE)
    assert verify_results(vectors, right, cases=PLAIN).passed
    path.unlink()
    with pytest.raises(ValueError, match=f"{name}.npy does not exist"):
        verify_results(vectors, right, cases=SINGLE)


def edit_manifest(vectors: Path, edit: Callable[[Document], Any]) -> None:
    path = vectors / "manifest.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def set_field(key: str, value: Any) -> Callable[[Document], Any]:
    return lambda document: document["cases"][0].__setitem__(key, value)


def set_file(key: str, value: Any, array: str = "y") -> Callable[[Document], Any]:
    return lambda document: document["cases"][0]["arrays"][array].__setitem__(key, value)


NO_MANIFEST: tuple[tuple[bytes, str], ...] = (
    (b"", "JSONDecodeError"),
    (b"{", "JSONDecodeError"),
    (b"\xff\xfe\x00", "UnicodeDecodeError"),
    (b"[" * 100_000, "RecursionError"),
    (b"[]", "its format must be 'dropblock_ref vectors'"),
    (b"{}", "its format must be"),
    (b'{"format": "dropblock_ref vectors"}', "must be of version 1, and says None"),
    (b'{"format": "dropblock_ref vectors", "version": 2, "cases": []}', "must be of version 1, and says 2"),
    (b'{"format": "dropblock_ref vectors", "version": 1}', "has no list of cases"),
    (b'{"format": "dropblock_ref vectors", "version": 1, "cases": []}', "has no list of cases"),
    (b'{"format": "dropblock_ref vectors", "version": 1, "cases": [3]}', "case 0: the case must be a JSON object"),
)


@pytest.mark.parametrize(("content", "words"), NO_MANIFEST)
def test_what_is_no_manifest_is_refused(vectors: Path, right: Path, content: bytes, words: str) -> None:
    (vectors / "manifest.json").write_bytes(content)
    with pytest.raises(ValueError, match="manifest.json.*" + words):
        verify_results(vectors, right)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (set_field("name", "../../etc"), "name must be a path inside the folder"),
        (set_field("name", "/etc"), "name must be a path inside the folder"),
        (set_field("name", "paper//y"), "name must be a path inside the folder"),
        (set_field("name", 3), "name must be a string"),
        (set_field("name", SINGLE), "occurs twice"),
        (set_file("file", "../y.npy"), "file must be a path inside the folder, .* and end with .npy; got '../y.npy'"),
        (set_file("file", "/tmp/y.npy"), "file must be a path inside the folder"),  # noqa: S108
        (set_file("file", "a\\..\\y.npy"), "file must be a path inside the folder"),
        (set_file("file", "manifest.json"), "and end with .npy"),
        (set_file("file", "y\n.npy"), "file must be a path inside the folder"),
        (set_file("file", None), "file must be a string"),
        (set_file("file", "calibrated/2d_channels_first_float32_odd/y.npy"), "is not the file that was written"),
        (set_file("sha256", "0"), "is not the file that was written"),
        (set_file("sha256", 0), "sha256 must be a string"),
        (set_field("convention", 3), "convention must be a string"),
        (set_field("scale_over", "everything"), "scale_over must be one of"),
        (set_field("epsilon", "0"), "epsilon must be"),
        (set_field("data_format", "NCHWD"), "data_format must be one of"),
        (set_field("dtype", "int8"), "dtype must be one of"),
        (set_field("shape", [3]), "shape must be a sequence of 4 or 5 integers"),
        (set_field("shape", "3"), "shape must be a list"),
        (set_field("shape", [2, 3, 5, 4]), r"x.npy must be float64 of shape \(2, 3, 5, 4\), as case .* says, and is"),
        (set_field("dtype", "float32"), "x.npy must be float32 of shape"),
        (set_field("block_size", [3]), "block_size must be an integer"),
        (set_field("block_size", 3), "block_size must be a list"),
        (set_field("drop_prob", 2), "drop_prob must be a real number"),
        (set_field("training", 1), "training must be True or False"),
        (set_field("arrays", []), "arrays must be a JSON object"),
        (lambda document: document["cases"][0].pop("shape"), "case 0: the case lacks 'shape'"),
        (lambda document: document["cases"][0]["arrays"].pop("x_bar"), "arrays lacks 'x_bar'"),
        (lambda document: document["cases"][0]["arrays"]["y"].pop("sha256"), "arrays.y lacks 'sha256'"),
        (lambda document: document["cases"][0]["arrays"].__setitem__("y", 3), "arrays.y must be a JSON object"),
        (
            lambda document: document["cases"][0]["arrays"].__setitem__(
                "scale", document["cases"][0]["arrays"]["seeds"]
            ),
            "seeds.npy must be float64 of shape",
        ),
    ],
)
def test_a_manifest_that_is_wrong_in_a_case_is_refused(
    vectors: Path, right: Path, edit: Callable[[Document], Any], words: str
) -> None:
    edit_manifest(vectors, edit)
    with pytest.raises(ValueError, match=words):
        verify_results(vectors, right)


def test_changed_vectors_never_pass_and_make_no_traceback(vectors: Path, right: Path) -> None:
    """Random edits of the manifest's text: refused, or without meaning for the verdict."""
    rng, path = random.Random(1), vectors / "manifest.json"  # noqa: S311
    text = path.read_bytes()
    refused = 0
    for _ in range(ROUNDS // 5):
        content = bytearray(text)
        content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        said = ""
        try:
            verify_results(vectors, right)
        except ValueError as error:
            said = str(error)
            refused += 1
        assert said == "" or "manifest.json" in said or ".npy" in said
    assert refused > ROUNDS // 20


# The command line


def test_the_command_prints_the_report_and_the_exit_code_says_the_verdict(capsys: Capture, results: Path) -> None:
    code, out, err = run(capsys, "verify", str(KEPT), str(results))
    assert (code, err) == (0, "")
    assert out == f"{verify_results(KEPT, results)}\n"
    assert out.startswith(f"PASSED  {results}, held to convention 'paper, tpu, ")
    file_of(results, PLAIN, "y").unlink()
    code, out, err = run(capsys, "verify", str(KEPT), str(results))
    assert (code, err) == (1, "")
    assert "y.npy does not exist" in out
    code, out, _ = run(capsys, "verify", str(KEPT), str(results), "--outputs", "keep_mask, x_bar", "--cases", "paper/*")
    assert code == 0
    assert "y is not looked at, only keep_mask, x_bar" in out


def test_the_command_prints_json(capsys: Capture, right: Path) -> None:
    code, out, _ = run(capsys, "verify", str(KEPT), str(right), "--json", "--cases", f"{PLAIN},{BITS}")
    (report,) = json.loads(out)
    assert code == 0
    assert (report["passed"], report["convention"], report["backend"]) == (True, "paper, timm", str(right))
    assert [one["name"] for one in report["results"]] == list(CHECKS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "the command is verify OUT RESULTS"),
        ((), "; OUT is missing, RESULTS is missing"),
        ((str(KEPT),), "; RESULTS is missing"),
        ((str(KEPT), str(KEPT), "--drop-prob", "0.1"), "; --drop-prob is of the other form"),
        ((str(KEPT), str(KEPT), "--cases", "nope"), "'nope' matches none of 44 cases"),
        ((str(KEPT), str(KEPT), "--outputs", "keep_mask,z"), "outputs must be one of"),
        ((str(KEPT), "nowhere"), "results must be a folder"),
        (("nowhere", str(KEPT)), "nowhere/manifest.json is no manifest"),
    ],
)
def test_a_wrong_use_of_the_command_is_a_usage_error(capsys: Capture, arguments: tuple[str, ...], words: str) -> None:
    assert words in usage_error(capsys, "verify", *arguments)
