"""verify_black_box: outputs that another program drew are judged, and how often what is dropped.

All draws have fixed seeds. With others a right output fails a test here with a probability of at most 1e-9 for each
report, and an error that is planted to be of the stated size is missed with at most 1e-6.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from dropblock_ref import CONVENTIONS
from dropblock_ref.testing import CheckResult, Report, make_input
from dropblock_ref.theory import calibrated_gamma, expected_drop_fraction
from dropblock_ref.vectors import verify_black_box
from tests.mutants.correct import Block, DropBlock, Shape
from tests.mutants.mutants import MUTANTS
from tests.test_cli import Capture, run, usage_error

Array = NDArray[Any]
MODELLED = [name for name, rules in CONVENTIONS.items() if rules.gamma_rule != "calibrated"]
EACH_CALL = ("shape_and_dtype", "legal_blocks", "scale", "values")
BY_CHANCE = (
    "channel_sharing",
    "stream_goes_on",
    "channel_independence",
    "sample_independence",
    "call_independence",
    "batch_rates",
    "call_spread",
    "map_rate",
    "cell_rates",
    "overlapping_cells",
    "distant_cells",
)


def draw(
    backend: DropBlock, shape: Shape, calls: int, drop_prob: float, block_size: Any, *, dtype: str = "float32"
) -> tuple[Array, Array]:
    """x and the outputs of successive calls."""
    x = make_input(shape, dtype, 0)
    seeds = (0, *[None] * (calls - 1))
    y = [backend.forward(x.copy(), drop_prob, block_size, training=True, seed=seed) for seed in seeds]
    return x, np.stack(y)


def result(report: Report, name: str) -> CheckResult:
    (found,) = (one for one in report.results if one.name == name)
    return found


def failed(report: Report) -> set[str]:
    return {one.name for one in report.failures}


X, Y = draw(DropBlock(), (4, 8, 5, 5), 100, 0.8, 3)


# Right outputs


@pytest.mark.parametrize("data_format", ["NCHW", "channels_last"])
@pytest.mark.parametrize("convention", MODELLED)
def test_right_outputs_pass_under_every_convention(convention: str, data_format: str) -> None:
    shape = (8, 4, 5, 5) if data_format == "NCHW" else (8, 5, 5, 4)
    x, y = draw(DropBlock(convention, data_format), shape, 150, 0.8, 3)
    report = verify_black_box(x, y, 0.8, 3, data_format=data_format, convention=convention)
    assert report.passed, report
    assert report.convention == convention
    assert {one.status for one in report.results if one.name in EACH_CALL} == {"passed"}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_right_outputs_pass_in_every_dtype(dtype: str) -> None:
    x, y = draw(DropBlock("torchvision"), (4, 2, 6, 6), 3, 0.3, 3, dtype=dtype)
    assert verify_black_box(x, y, 0.3, 3, convention="torchvision").passed


def test_right_volumes_with_a_block_per_axis_pass() -> None:
    x, y = draw(DropBlock("paper", "NDHWC"), (8, 3, 4, 5, 4), 40, 0.6, (2, 3, 1))
    report = verify_black_box(x, y, 0.6, (2, 3, 1), data_format="NDHWC")
    assert report.passed, report


def test_one_call_needs_no_axis_of_its_own() -> None:
    one, several = verify_black_box(X, Y[0], 0.8, 3), verify_black_box(X, Y[:1], 0.8, 3)
    assert one.passed
    assert one.results[1:] == several.results[1:]
    assert "there is one call" in result(one, "stream_goes_on").message


def test_with_enough_draws_every_check_is_made_and_the_error_budget_is_split_over_them() -> None:
    x, y = draw(DropBlock(), (4, 8, 5, 5), 200, 0.8, 3)
    report = verify_black_box(x, y, 0.8, 3, false_alarm=1e-6)
    assert [one.name for one in report.results] == ["shape_and_dtype", *EACH_CALL[1:], *BY_CHANCE]
    assert {one.status for one in report.results} == {"passed"}
    share = 1e-6 / (1 + len(BY_CHANCE))  # one for whether the masks are drawn so that rates can be judged
    assert report.false_alarm == pytest.approx(len(BY_CHANCE) * share)
    for one in report.results:
        assert one.false_alarm == pytest.approx(share if one.name in BY_CHANCE else 0)
        assert bool(one.detects) == (one.name in BY_CHANCE)
        assert one.draws == (0 if one.name == "shape_and_dtype" else 200 * 4 * 8)


RUNS, LUCK = 100, 1e-9


def test_right_outputs_fail_no_check_more_often_than_is_said() -> None:
    """With a share of 0.08 for each check; this test fails by luck with a probability of at most LUCK.

    It finds a comparison of pairs that forgets to split its share over them: that fails more than half of the runs.
    """
    backend, x = DropBlock(), make_input((4, 2, 4, 4), "float32", 0)
    backend.generator(1)
    alarms: Counter[str] = Counter()
    for _ in range(RUNS):
        y = np.stack([backend.forward(x, 0.8, 3, training=True, seed=None) for _ in range(100)])
        alarms.update(failed(verify_black_box(x, y, 0.8, 3, false_alarm=0.08 * (1 + len(BY_CHANCE)))))
    assert set(alarms) <= set(BY_CHANCE)
    assert max(alarms.values(), default=0) <= stats.binom.isf(LUCK / len(BY_CHANCE), RUNS, 0.08)


# Wrong outputs

PLANTED = {
    "no_border_factor": "map_rate cell_rates",
    "drop_prob_as_gamma": "map_rate cell_rates",
    "five_percent_high": "map_rate",
    "first_row_missing": "cell_rates",
    "first_plane_missing": "cell_rates",
    "extra_row_before": "legal_blocks",
    "everywhere_for_fitting_volumes": "legal_blocks",
    "fitting_for_everywhere": "cell_rates",
    "last_cell_never_seed": "cell_rates",
    "mirrored_mask": "distant_cells overlapping_cells",
    "fixed_number_of_seeds": "distant_cells",
    "shared_over_channels": "channel_sharing channel_independence",
    "own_mask_per_channel": "channel_sharing",
    "half_of_channels_copied": "channel_sharing",
    "neighbouring_channels_correlated": "channel_independence",
    "channels_mirrored": "channel_independence",
    "shared_over_samples": "channel_sharing sample_independence",
    "samples_mirrored": "sample_independence",
    "same_mask_every_call": "stream_goes_on",
    "every_second_call_repeats": "stream_goes_on call_independence",
    "cross": "legal_blocks",
    "mask_inverted": "legal_blocks",
    "no_scale": "scale",
    "reciprocal_of_keep_prob": "scale",
    "per_sample": "scale",
    "inverted": "scale",
    "single_computed_in_half": "values",
    "output_transposed": "values",
    "half_becomes_single": "shape_and_dtype",
    "identity_in_training": "map_rate cell_rates",
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_errors_are_found_by_the_checks_that_fit(name: str) -> None:
    (mutant,) = (one for one in MUTANTS if one.name == name)
    backend = mutant.make()
    side = (5, 5) if backend.spatial_ndims == (2,) else (4, 4, 4)
    first = backend.data_format == "channels_first"
    x = make_input((4, 8, *side) if first else (4, *side, 8), backend.dtypes[0], 0)
    seeds = (0, *[None] * 799)
    y = np.stack([np.array(backend.forward(x.copy(), 0.8, 3, training=True, seed=seed)) for seed in seeds])
    report = verify_black_box(x, y, 0.8, 3, data_format=backend.data_format, convention=backend.rules)
    assert not report.passed
    assert failed(report) >= set(PLANTED[name].split()), report


class OffRate(DropBlock):
    """The expected fraction of dropped cells is that of another gamma."""

    fraction = 0.0

    def gamma(self, _: float, block: Block, spatial_shape: Shape, /) -> float:
        return calibrated_gamma(self.fraction, block.size, spatial_shape, convention=self.rules)


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("calls", [1, 30])
@pytest.mark.parametrize(("side", "block_size", "drop_prob"), [(5, 3, 0.8), (28, 7, 0.1)])
def test_the_stated_error_of_the_maps_rate_is_found(
    side: int, block_size: int, drop_prob: float, calls: int, direction: int
) -> None:
    """Missed by luck with a probability of at most 1e-6."""
    x, y = draw(DropBlock(), (16, 16, side, side), calls, drop_prob, block_size)
    right = result(verify_black_box(x, y, drop_prob, block_size), "map_rate")
    stated = re.match(r"([\d.]+) % error of the map's rate", right.detects)
    assert stated is not None, right
    assert f"finds {stated[0]}" in f"finds {right.finds}"
    wrong = OffRate()
    expected = expected_drop_fraction(drop_prob, block_size, (side, side))
    wrong.fraction = min(1.0, expected * (1 + direction * float(stated[1]) * 1.06 / 100))  # it is shown with two digits
    report = verify_black_box(x, draw(wrong, x.shape, calls, drop_prob, block_size)[1], drop_prob, block_size)
    assert "map_rate" in failed(report), report


@pytest.mark.parametrize("what", ["nothing", "everything"])
def test_a_few_masks_are_enough_to_find_that_nothing_or_everything_is_dropped(what: str) -> None:
    x = make_input((4, 4, 28, 28), "float32", 0)
    y = x.copy() if what == "nothing" else np.zeros_like(x)
    report = verify_black_box(x, y, 0.1, 7)
    assert failed(report) == ({"map_rate"} if what == "nothing" else {"map_rate", "cell_rates"})
    text = result(report, "map_rate").message
    assert ("no cell is dropped in 16 masks" in text) == (what == "nothing")
    right = verify_black_box(*draw(DropBlock(), x.shape, 1, 0.1, 7)[:2], 0.1, 7)
    assert result(right, "map_rate").detects.endswith("an output that drops nothing; a call that drops everything")
    assert "masks are needed to find 100 % error of the map's rate, there are 16" in result(right, "map_rate").message


def test_one_call_of_many_that_is_nan_is_found_where_the_convention_divides_zero_by_zero() -> None:
    x, y = draw(DropBlock("keras_cv"), (4, 6, 12, 12), 300, 0.1, 3)
    y[17] = np.nan
    report = verify_black_box(x, y, 0.1, 3, convention="keras_cv")
    assert "all cells are dropped in call 17" in result(report, "map_rate").message
    assert {"legal_blocks", "values"}.isdisjoint(failed(report))
    paper = verify_black_box(x, y, 0.1, 3)
    assert "dropped and NaN" in result(paper, "values").message


def test_one_wrong_call_is_named_and_hides_no_other() -> None:
    y = Y.copy()
    y[3] = np.where(np.arange(5) == 2, 0, y[3])
    y[5] *= 1.1
    report = verify_black_box(X, y, 0.8, 3)
    assert "in call 3; 1 of 100 calls is wrong" in result(report, "legal_blocks").message
    assert "on 5x5, block 3, drop_prob 0.8" in result(report, "legal_blocks").message
    scale = result(report, "scale")
    assert (scale.status, "in call 5; 1 of 100 calls is wrong" in scale.message) == ("failed", True)
    values = result(report, "values")
    assert (values.status, values.message) == ("passed", "3200 masks")


def test_scale_and_values_are_judged_where_no_mask_is_legal() -> None:
    y = np.where(np.arange(5) == 2, 0, Y).astype(Y.dtype)
    assert {"legal_blocks"} <= failed(verify_black_box(X, y, 0.8, 3)) <= {"legal_blocks", "cell_rates", "map_rate"}
    report = verify_black_box(X, 5 * y, 0.8, 3)
    assert "scale" in failed(report)
    assert "in call 0; 100 of 100 calls are wrong" in result(report, "scale").message
    y[:, 2, 3] *= np.linspace(1, 2, 5, dtype=y.dtype)
    assert "values" in failed(verify_black_box(X, y, 0.8, 3))


# Too few draws


def stated_number(text: str) -> float:
    found = re.match(r"(?:about |more than )?([\d.e+]+) (masks|pairs)", text)
    assert found is not None, text
    return float(found[1])


@pytest.mark.parametrize("axis", [0, 1])
def test_the_stated_number_of_masks_finds_what_is_repeated(axis: int) -> None:
    """With one mask less the check is not made."""
    x = make_input((1, 1, 5, 5), "float32", 0)
    text = result(verify_black_box(x, np.stack([x, x]), 0.8, 3), "stream_goes_on").message
    needed = int(stated_number(text))
    assert "masks per call are needed to find calls that share their masks, there are 1" in text
    for masks, made in ((needed, True), (needed - 1, False)):
        shape = (masks, 1, 5, 5) if axis == 0 else (1, masks, 5, 5)
        x, y = draw(DropBlock(), shape, 2, 0.8, 3)
        assert (result(verify_black_box(x, y, 0.8, 3), "stream_goes_on").status == "passed") == made
        same = verify_black_box(x, np.stack([y[0], y[0]]), 0.8, 3)
        assert ("stream_goes_on" in failed(same)) == made


@pytest.mark.parametrize("name", ["map_rate", "cell_rates", "overlapping_cells"])
def test_the_stated_number_of_masks_makes_the_check_of_rates(name: str) -> None:
    """It is stated with two digits, so a tenth more is enough and a tenth less is not."""
    few = result(verify_black_box(*draw(DropBlock(), (1, 1, 5, 5), 1, 0.8, 3), 0.8, 3), name)
    assert few.status == "not_judged"
    assert "there are 1" in few.message
    needed = stated_number(few.message)
    for factor in (1.1, 0.9):
        x, y = draw(DropBlock(), (math.ceil(needed * factor), 1, 5, 5), 1, 0.8, 3)
        found = result(verify_black_box(x, y, 0.8, 3), name)
        assert ("needed to find 100 %" not in found.message) == (factor > 1), found


@pytest.mark.parametrize("name", ["distant_cells", "channel_independence", "sample_independence", "call_independence"])
def test_fewer_than_the_stated_number_of_pairs_are_not_judged(name: str) -> None:
    """Twice as many are enough: half of the masks do not drop more than is expected."""
    axis = {"sample": 1, "channel": 2}.get(name.split("_", maxsplit=1)[0], 0)
    needed = stated_number(result(verify_black_box(X[:1, :1], Y[:1, :1, :1], 0.8, 3), "distant_cells").message)
    if name != "distant_cells":
        few = Y[: 1 + (axis == 0), : 1 + (axis == 1), : 1 + (axis == 2)]
        needed = stated_number(result(verify_black_box(X[: few.shape[1], : few.shape[2]], few, 0.8, 3), name).message)
    for factor in (2, 0.9):
        groups = [1, 1, 1]
        groups[axis] = 2
        groups[0 if axis else 1] = math.ceil(needed * factor)
        x, y = draw(DropBlock(), (groups[1], groups[2], 5, 5), groups[0], 0.8, 3)
        found = result(verify_black_box(x, y, 0.8, 3), name)
        assert found.status == ("passed" if factor > 1 else "not_judged"), found


def test_what_cannot_be_compared_says_why() -> None:
    large = verify_black_box(*draw(DropBlock(), (2, 2, 33, 33), 2, 0.1, 3), 0.1, 3)
    assert (
        result(large, "distant_cells").message
        == "pairs of cells are compared on maps of up to 1024 cells, this has 1089"
    )
    assert result(large, "sample_independence").status == "not_judged"
    one = verify_black_box(*draw(DropBlock(), (40, 2, 3, 3), 2, 0.5, 1), 0.5, 1)
    assert result(one, "overlapping_cells").message == "there are no two cells that one block covers"
    whole = verify_black_box(*draw(DropBlock(), (40, 2, 3, 3), 2, 0.5, 3), 0.5, 3)
    assert result(whole, "distant_cells").message == "there are no two cells that no block covers"
    shared = verify_black_box(*draw(DropBlock("timm"), (1, 4, 5, 5), 2, 0.5, 3), 0.5, 3, convention="timm")
    assert result(shared, "channel_independence").message == "channels share masks under convention 'timm'"
    assert result(shared, "channel_sharing").message == "channels share masks; there is one sample"


@pytest.mark.parametrize("drop_prob", [1e-300, 1e-12])
def test_a_drop_prob_that_never_shows_is_no_odd_exception(drop_prob: float) -> None:
    report = verify_black_box(X, np.stack([X] * 3), drop_prob, 3)
    assert report.passed
    assert result(report, "map_rate").status == "passed"
    assert "a call that drops everything" in result(report, "map_rate").detects
    assert result(report, "cell_rates").status == "not_judged"


def test_everything_dropped_is_right_where_it_must_be() -> None:
    x, y = draw(DropBlock("keras_cv"), (8, 8, 3, 3), 4, 1.0, 1)
    assert np.isnan(y).all()
    report = verify_black_box(x, y, 1.0, 1, convention="keras_cv")
    assert report.passed, report
    assert result(report, "cell_rates").status == "passed"
    assert result(report, "map_rate").status == "passed"


# drop_prob 0


def test_with_drop_prob_0_y_is_x() -> None:
    report = verify_black_box(X, np.stack([X, X]), 0, 3)
    assert [(one.name, one.status) for one in report.results] == [
        ("shape_and_dtype", "passed"),
        ("zero_drop_prob_identity", "passed"),
    ]
    wrong = np.stack([X, X])
    wrong[1, 2, 3, 4, 4] = 0
    report = verify_black_box(X, wrong, 0.0, 3)
    assert failed(report) == {"zero_drop_prob_identity"}
    assert "1 of 800 cells differ, first at index (2, 3, 4, 4)" in report.failures[0].message
    assert "in call 1 of 2" in report.failures[0].message


# What y may be, and arguments


@pytest.mark.parametrize(
    "wrong", [Y[0, :2], Y[:, 0], Y.swapaxes(0, 1), np.empty((0, *X.shape), np.float32), np.float32(1), Y[None]]
)
def test_a_wrong_shape_fails_and_nothing_else_is_judged(wrong: Array) -> None:
    report = verify_black_box(X, wrong, 0.8, 3)
    assert [(one.name, one.status) for one in report.results] == [("shape_and_dtype", "failed")]
    assert "expected that of x, (4, 8, 5, 5), or several of them, ('calls', 4, 8, 5, 5)" in report.results[0].message


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32", "bool", "complex64", "O", "U3", "bfloat16"])
def test_a_wrong_dtype_fails(dtype: str) -> None:
    report = verify_black_box(X, Y[:2].astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype), 0.8, 3)
    assert "shape_and_dtype" in failed(report)
    assert result(report, "shape_and_dtype").message.endswith("expected that of x, float32")
    assert (len(report.results) > 1) == ("float" in dtype)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_whatever_stands_in_y_is_judged(value: float) -> None:
    y = Y[:5].copy()
    y[2, 1, 1][y[2, 1, 1] != 0] = value
    assert not verify_black_box(X, y, 0.8, 3).passed
    assert not verify_black_box(X, np.full_like(y, value), 0.8, 3).passed


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        ({"x": np.where(X > 0, X, 0)}, ValueError, "x must have no zeros and be finite"),
        ({"x": X[0]}, ValueError, r"x must have 4 dimensions .*x\[None\]"),
        ({"x": X[:0]}, ValueError, "x must have samples"),
        ({"x": X.astype(int)}, TypeError, "x must have dtype"),
        ({"y": [[1], [1, 2]]}, TypeError, "y must be an array"),
        ({"drop_prob": 1.5}, ValueError, "drop_prob"),
        ({"drop_prob": None}, TypeError, "drop_prob"),
        ({"block_size": 6}, ValueError, "block_size"),
        ({"data_format": "NCDHW"}, ValueError, "data_format"),
        ({"convention": "nope"}, ValueError, "convention"),
        ({"false_alarm": 0}, ValueError, "false_alarm"),
    ],
)
def test_bad_arguments_are_named(bad: dict[str, Any], error: type[Exception], words: str) -> None:
    good: dict[str, Any] = {"x": X, "y": Y, "drop_prob": 0.8, "block_size": 3}
    with pytest.raises(error, match=words):
        verify_black_box(**(good | bad))


def test_inputs_are_not_modified() -> None:
    x, y = X.copy(), Y.copy()
    x.flags.writeable = y.flags.writeable = False
    verify_black_box(x, y, 0.8, 3)
    assert (x == X).all()
    assert (y == Y).all()


# The command line

OPTIONS = ("--drop-prob", "0.8", "--block-size", "3")


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    return str(tmp_path / "x.npy"), str(tmp_path / "y.npy")


def test_the_command_prints_the_report(capsys: Capture, files: tuple[str, str]) -> None:
    code, out, err = run(capsys, "verify", "--black-box", *files, *OPTIONS, "--data-format", "NCHW")
    assert (code, err) == (0, "")
    assert out.startswith(f"PASSED  {files[1]}, held to convention 'paper': ")
    assert out.splitlines()[1:] == str(verify_black_box(X, Y, 0.8, 3)).splitlines()[1:]


def test_the_command_prints_json_and_fails(capsys: Capture, files: tuple[str, str]) -> None:
    arguments = ("--block-size", "3,3", "--convention", "timm_uncoupled", "--false-alarm", "1e-3", "--json")
    code, out, _ = run(capsys, "verify", "--black-box", *files, *OPTIONS, *arguments)
    (report,) = json.loads(out)
    assert code == 1
    assert (report["passed"], report["convention"]) == (False, "timm_uncoupled")
    assert 1e-9 < report["false_alarm"] <= 1e-3


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_the_command_reads_bits_of_bfloat16_in_either_order(
    capsys: Capture, tmp_path: Path, byte_order: str, order: Any
) -> None:
    x, y = draw(DropBlock(), (4, 2, 6, 5), 3, 0.3, 3, dtype="bfloat16")
    paths = [str(tmp_path / name) for name in ("x.npy", "y.npy")]
    for path, array in zip(paths, (x, y), strict=True):
        np.save(path, np.asarray(array.view("u2").astype(f"{byte_order}u2"), order=order))
    arguments = ("verify", "--black-box", *paths, "--drop-prob", "0.3", "--block-size", "3")
    code, out, _ = run(capsys, *arguments, "--dtype", "bfloat16")
    assert code == 0, out
    assert "bfloat16, (3, 4, 2, 6, 5)" in out
    assert "is of uint16; if these are the bits of bfloat16, add --dtype bfloat16" in usage_error(capsys, *arguments)
    np.save(paths[1], y.astype(np.float32))
    code, out, _ = run(capsys, *arguments, "--dtype", "bfloat16")
    assert code == 1
    assert "y has dtype float32; expected that of x, bfloat16" in out


def test_a_wrong_use_of_the_command_is_a_usage_error(capsys: Capture, files: tuple[str, str], tmp_path: Path) -> None:
    form = "the command is verify OUT RESULTS"
    box = ("verify", "--black-box", *files)
    assert form in usage_error(capsys, *box)
    assert "; --block-size is missing" in usage_error(capsys, *box, "--drop-prob", "0.8")
    assert "; --cases is of the other form" in usage_error(capsys, *box, *OPTIONS, "--cases", "*")
    both = usage_error(capsys, "verify", *files, *box[1:], *OPTIONS)
    assert "; OUT is of the other form, RESULTS is of the other form" in both
    assert "--black-box" in usage_error(capsys, "verify", "--black-box", files[0], *OPTIONS)
    assert "must be of dtype float64, and is of float32" in usage_error(capsys, *box, *OPTIONS, "--dtype", "float64")
    assert "--convention" in usage_error(capsys, *box, *OPTIONS, "--convention", "nope")
    assert "false_alarm" in usage_error(capsys, *box, *OPTIONS, "--false-alarm", "2")
    missing = str(tmp_path / "nope.npy")
    assert "nope.npy does not exist" in usage_error(capsys, "verify", "--black-box", files[0], missing, *OPTIONS)
    Path(files[1]).write_bytes(Path(files[1]).read_bytes()[:-7])
    assert "it is truncated" in usage_error(capsys, *box, *OPTIONS)
