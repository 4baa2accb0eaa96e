"""The command line: `check` and `drop`, their texts, JSON and exit codes. No framework is needed."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dropblock_ref import CONVENTIONS, backends
from dropblock_ref.cli import main
from dropblock_ref.testing.oracle import CHECKS

ROOT = Path(__file__).resolve().parents[1]
Capture = pytest.CaptureFixture[str]


def run(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    capsys.readouterr()
    try:
        code: object = main(arguments)
    except SystemExit as stop:
        code = stop.code
    assert isinstance(code, int)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def usage_error(capsys: Capture, *arguments: str) -> str:
    """What a command that is used wrongly writes to stderr."""
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    last = err.strip().splitlines()[-1]
    assert re.match(r"(dropblock_ref|python -m dropblock_ref[ \w]*): error: ", last), err
    return last


# check


def test_check_of_the_numpy_backend_passes_and_is_readable(capsys: Capture) -> None:
    code, out, err = run(capsys, "check", "numpy", "--quick", "--checks", "legal_blocks,scale")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "PASSED (only: legal_blocks, scale)  numpy, held to convention 'paper': 2 passed"
    assert [line.split()[:2] for line in lines[1:3]] == [["passed", "legal_blocks"], ["passed", "scale"]]
    assert lines[-1] == "numpy  passed"


def test_check_as_json_parses_and_is_all_of_stdout(capsys: Capture) -> None:
    code, out, _ = run(capsys, "check", "numpy", "--json", "--checks", "replay", "--quick", "--seed", "4")
    (report,) = json.loads(out)
    assert code == 0
    assert (report["backend"], report["convention"], report["seed"], report["passed"]) == ("numpy", "paper", 4, True)
    assert [result["name"] for result in report["results"]] == ["replayed_mask", "replayed_values"]


def test_check_states_the_false_alarm_that_was_asked_for(capsys: Capture) -> None:
    arguments = ("check", "numpy", "--json", "--quick", "--checks", "map_rate", "--false-alarm", "0.001")
    _, out, _ = run(capsys, *arguments)
    (report,) = json.loads(out)
    assert 0 < report["false_alarm"] <= 0.001
    assert report["results"][0]["false_alarm"] > 1e-9


def test_check_without_a_package_takes_the_numpy_backend(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "installed", lambda: ())
    code, out, _ = run(capsys, "check", "--checks", "empty_batch")
    assert code == 0
    assert out.startswith("PASSED (only: empty_batch)  numpy")


def test_check_takes_all_that_is_installed_by_default(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "installed", lambda: ("numpy", "numpy"))
    code, out, _ = run(capsys, "check", "--checks", "empty_batch")
    assert code == 0
    assert out.count("PASSED (only: empty_batch)  numpy") == 2


def test_check_list_lists_every_check_with_its_group_and_sentence(capsys: Capture) -> None:
    code, out, err = run(capsys, "check", "--list")
    assert (code, err) == (0, "")
    rows = [line.split(maxsplit=2) for line in out.splitlines()]
    assert [(group, name) for group, name, _ in rows] == [(check.group, name) for name, check in CHECKS.items()]
    assert all(sentence.endswith(".") for *_, sentence in rows)


MODULE = '''
"""A backend that forgets the scale, in several forms."""
import numpy as np
from dropblock_ref import backends
from dropblock_ref.testing import Backend

good = backends.load("numpy")

def forward(x, drop_prob, block_size, *, training, seed):
    y = good.forward(x, drop_prob, block_size, training=training, seed=seed)
    return np.where(y == 0, y, x)

unscaled = Backend(name="unscaled", forward=forward)

def make():
    return unscaled

class Holder:
    inner = unscaled

number = 5

none = Backend(name="none", forward=forward, accepts=lambda *_: False)
umlaut = Backend(name="\xe4", forward=good.forward)

def loud(x, drop_prob, block_size, *, training, seed):
    import os
    print("by Python")
    os.system("echo by the system")
    return good.forward(x, drop_prob, block_size, training=training, seed=seed)
noisy = Backend(name="noisy", forward=loud)

def stop(x, drop_prob, block_size, *, training, seed):
    if training:
        raise KeyboardInterrupt
    return x
stops = Backend(name="stops", forward=stop)

def wants_an_argument(x):
    return unscaled

def interrupts():
    raise KeyboardInterrupt

def gives_nothing():
    return None

class Shouts:
    name = "x"
    def __repr__(self):
        raise RuntimeError("no text")
    def __call__(self):
        return self
shouts = Shouts()
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable module with backends."""
    name = "backend_of_test_cli"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / "broken_of_test_cli.py").write_text("1 / 0")
    (tmp_path / "exits_of_test_cli.py").write_text("raise SystemExit(7)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_a_backend_on_which_too_little_can_be_judged_is_incomplete_with_an_exit_code_of_its_own(
    capsys: Capture, module: str
) -> None:
    code, out, _ = run(capsys, "check", f"{module}:none", "numpy", "--quick", "--checks", "scale")
    assert code == 3
    assert "none   INCOMPLETE: anything" in out
    assert run(capsys, "check", f"{module}:none", f"{module}:unscaled", "--checks", "scale")[0] == 1


def test_json_is_json_whatever_the_module_prints(capfd: pytest.CaptureFixture[str], module: str) -> None:
    code = main(["check", f"{module}:noisy", "--json", "--checks", "empty_batch"])
    out, err = capfd.readouterr()
    assert code == 0
    assert [report["backend"] for report in json.loads(out)] == ["noisy"]
    assert "by Python" in err
    assert "by the system" in err


def test_an_interrupted_run_gives_what_it_has(capsys: Capture, module: str) -> None:
    code, out, _ = run(capsys, "check", f"{module}:stops", "numpy", "--checks", "evaluation_identity,scale", "--quick")
    assert code == 130
    assert out.startswith("INCOMPLETE (only: evaluation_identity, scale)  stops")
    assert "passed           evaluation_identity" in out
    assert "the run was interrupted" in out
    assert "numpy" not in out


def test_a_name_that_stdout_cannot_encode_is_shown_by_its_number(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii", write_through=True))
    assert main(["check", f"{module}:umlaut", "--checks", "empty_batch"]) == 0
    assert written.getvalue().decode().startswith(r"PASSED (only: empty_batch)  \xe4")


def test_a_verdict_is_printed_though_stdout_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed, told = io.StringIO(), io.StringIO()
    closed.close()
    for stdout in (closed, None):
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", told)
        assert main(["check", "numpy", "--checks", "empty_batch"]) == 0
        assert main(["check", "numpy", "--checks", "empty_batch", "--json"]) == 0
        monkeypatch.setattr(sys, "stderr", None)
        assert main(["check", "numpy", "--checks", "empty_batch"]) == 0
    assert told.getvalue().count("PASSED (only") == 2


def test_compare_shows_what_changed_between_reports(capsys: Capture, module: str, tmp_path: Path) -> None:
    for name, backend in (("old", f"{module}:unscaled"), ("new", "numpy")):
        _, out, _ = run(capsys, "check", backend, "--json", "--checks", "scale,values", "--quick")
        (tmp_path / f"{name}.json").write_text(out if name == "old" else json.dumps(json.loads(out)[0]))
    code, out, _ = run(capsys, "compare", str(tmp_path / "old.json"), str(tmp_path / "new.json"))
    assert code == 0
    rows = [row.split() for row in out.splitlines()]
    assert ["verdict", "FAILED", "PASSED"] in rows
    assert ["scale", "failed", "passed"] in rows
    assert not any("values" in row for row in rows)
    (tmp_path / "none.json").write_text("{}")
    assert "must have reports as" in usage_error(capsys, "compare", str(tmp_path / "none.json"))
    assert "at least two, got 1" in usage_error(capsys, "compare", str(tmp_path / "new.json"))


def test_optimized_python_checks_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODULE)
    done = subprocess.run(
        [sys.executable, "-OO", "-m", "dropblock_ref", "check", "mine:unscaled", "--checks", "scale", "--quick"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "no scale at all" in done.stdout


@pytest.mark.parametrize("attribute", ["unscaled", "make", "Holder.inner"])
def test_check_of_a_backend_of_ones_own_finds_its_fault(capsys: Capture, module: str, attribute: str) -> None:
    code, out, _ = run(capsys, "check", f"{module}:{attribute}", "--quick", "--checks", "scale,legal_blocks")
    assert code == 1
    assert out.startswith(
        "FAILED (only: scale, legal_blocks)  unscaled, held to convention 'paper': 1 passed, 1 failed\n"
    )
    assert "no scale at all" in out
    assert out.splitlines()[-1] == "unscaled  FAILED: scale"


def test_check_of_a_failing_backend_as_json_says_so(capsys: Capture, module: str) -> None:
    code, out, _ = run(capsys, "check", f"{module}:unscaled", "numpy", "--json", "--checks", "scale")
    reports = json.loads(out)
    assert code == 1
    assert [report["passed"] for report in reports] == [False, True]
    (result,) = reports[0]["results"]
    assert result["status"] == "failed"
    assert "reproduce: " in result["message"]


def test_the_summary_has_a_line_per_backend(capsys: Capture, module: str) -> None:
    _, out, _ = run(capsys, "check", f"{module}:unscaled", "numpy", "--checks", "scale,values")
    assert out.splitlines()[-2:] == ["unscaled  FAILED: scale", "numpy     passed"]


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ("nope", "AttributeError"),
        ("number", "backend"),
        ("wants_an_argument", "TypeError"),
        ("gives_nothing", "must be a Backend or a function that returns one"),
        ("shouts", "must be a Backend or a function that returns one"),
        ("", "backend"),
        ("Holder.", "backend"),
        ("Holder.nope", "AttributeError"),
    ],
)
def test_an_attribute_that_is_no_backend_is_a_usage_error(
    capsys: Capture, module: str, attribute: str, words: str
) -> None:
    message = usage_error(capsys, "check", f"{module}:{attribute}")
    assert words in message


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nope", "name must be one of 'numpy'"),
        ("nope_of_test_cli:x", "ModuleNotFoundError"),
        ("broken_of_test_cli:x", "ZeroDivisionError"),
        ("exits_of_test_cli:x", "SystemExit: 7"),
        (":x", "backend ':x'"),
        ("..:x", "backend '..:x'"),
    ],
)
def test_a_backend_that_cannot_be_had_is_a_usage_error(capsys: Capture, module: str, name: str, words: str) -> None:
    assert module
    assert words in usage_error(capsys, "check", name)


def test_a_package_that_is_not_installed_is_a_usage_error(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda _: None)
    assert "pip install torch" in usage_error(capsys, "check", "torchvision")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--checks", "nope"), "checks must be names of checks or groups"),
        (("--checks", "scale,nope"), "got 'nope'"),
        (("--checks", ""), "got ''"),
        (("--seed", "-1"), "seed must be an integer from 0"),
        (("--seed", "1.5"), "argument --seed"),
        (("--seed", "99999999999"), "seed must be an integer from 0"),
        (("--false-alarm", "2"), "false_alarm must be"),
        (("--false-alarm", "0"), "false_alarm must"),
        (("--false-alarm", "nan"), "false_alarm must be"),
        (("--false-alarm", "small"), "argument --false-alarm"),
        (("--nope",), "unrecognized arguments: --nope"),
    ],
)
def test_a_bad_option_of_check_is_a_usage_error(capsys: Capture, arguments: tuple[str, ...], words: str) -> None:
    assert words in usage_error(capsys, "check", "numpy", *arguments)


@pytest.mark.parametrize("checks", ["legal_blocks, scale", " scale", "scale,"])
def test_blanks_and_a_last_comma_in_checks_are_taken_or_refused_in_words(capsys: Capture, checks: str) -> None:
    code, out, err = run(capsys, "check", "numpy", "--checks", checks)
    assert code in {0, 2}
    assert "scale" in (out if code == 0 else err)


def test_an_interruption_is_not_a_usage_error(module: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        main(["check", f"{module}:interrupts"])


@pytest.mark.parametrize("arguments", [(), ("nope",), ("drop",), ("check", "--seed")])
def test_a_missing_or_unknown_command_or_value_is_a_usage_error(capsys: Capture, arguments: tuple[str, ...]) -> None:
    usage_error(capsys, *arguments)


def test_help_shows_commands_and_options(capsys: Capture) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "check" in out
    assert "drop" in out
    code, out, _ = run(capsys, "check", "--help")
    assert code == 0
    for option in ("--checks", "--quick", "--seed", "--false-alarm", "--json", "--list"):
        assert option in out


def test_progress_is_shown_on_a_terminal_only_and_not_on_stdout(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("check", "numpy", "--checks", "empty_batch,scale", "--json")
    _, plain, quiet = run(capsys, *arguments)
    assert quiet == ""
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: True, raising=False)
    _, out, err = run(capsys, *arguments)
    seconds = re.compile(r'"seconds": [\d.e-]+')
    assert seconds.sub("", out) == seconds.sub("", plain)
    assert "numpy: 1/2 " in err
    assert "numpy: 2/2 " in err
    assert err.endswith("\r\x1b[K")


# drop

EXAMPLE = """\
x is 1, 2, 3, ...; convention paper; gamma 0.0444444

sample 0, channel 0
seeds
[[0 0 0 0]
 [0 0 0 1]
 [0 1 0 0]
 [0 0 0 0]]
keep_mask
[[1 1 0 0]
 [0 0 0 0]
 [0 0 1 1]
 [1 1 1 1]]
output
[[ 2.  4.  0.  0.]
 [ 0.  0.  0.  0.]
 [ 0.  0. 22. 24.]
 [26. 28. 30. 32.]]

scale
2.0
"""
DROP = ("drop", "--drop-prob", "0.1", "--block-size", "2")


def test_drop_shows_every_stage_of_the_example(capsys: Capture) -> None:
    arguments = ("--shape", "1,4,4,1", "--data-format", "channels_last", "--seed", "0")
    assert run(capsys, *DROP, *arguments) == (0, EXAMPLE, "")
    assert run(capsys, *DROP, "--shape", "1,4,4,1", "--data-format", "NHWC") == (0, EXAMPLE, "")
    assert run(capsys, *DROP, "--shape", "1,1,4,4") == (0, EXAMPLE, "")


def shown(out: str, name: str) -> list[list[list[float]]]:
    """The rows of every map of that name, slice by slice run together."""
    parts = re.split(rf"^{name}\n", out, flags=re.MULTILINE)[1:]
    arrays = [re.split(r"^[a-z]|\n\n[a-z]", part, flags=re.MULTILINE)[0] for part in parts]
    return [[[float(v) for v in re.findall(r"-?\d+\.?\d*", row)] for row in one.splitlines() if row] for one in arrays]


def test_drop_of_a_volume_with_channels_last_and_a_shared_mask(capsys: Capture) -> None:
    code, out, err = run(
        capsys, "drop", "--shape", "1,2,3,4,2", "--drop-prob", "0.3", "--block-size", "1,2,2",
        "--data-format", "channels_last", "--convention", "timm", "--seed", "3",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "convention timm; gamma" in out
    assert re.findall(r"^sample (\d), channel (\d)$", out, re.MULTILINE) == [("0", "0"), ("0", "1")]
    masks, outputs = shown(out, "keep_mask"), shown(out, "output")
    assert masks[0] == masks[1]
    factor = float(out.splitlines()[-1])
    x = np.arange(1, 49).reshape(2, 3, 4, 2)
    for channel in range(2):
        mask = np.array(masks[channel]).reshape(2, 3, 4)
        assert factor == pytest.approx(24 / (mask.sum() + 1e-7))
        expected = x[..., channel] * mask * factor
        np.testing.assert_allclose(np.array(outputs[channel]).reshape(2, 3, 4), expected, rtol=1e-4, atol=1e-3)
    assert 0 < np.array(masks[0]).sum() < 24


def test_drop_of_several_samples_and_channels_shows_all(capsys: Capture) -> None:
    code, out, _ = run(capsys, *DROP, "--shape", "2,3,3,3")
    assert code == 0
    assert re.findall(r"^sample (\d), channel (\d)$", out, re.MULTILINE) == [
        (str(sample), str(channel)) for sample in range(2) for channel in range(3)
    ]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (("--shape", "1,a,4,4"), "argument --shape: expected integers with commas, as in 28,28; got '1,a,4,4'"),
        (("--shape", ""), "argument --shape: expected integers with commas"),
        (("--shape", "1;4;4;1"), "argument --shape: expected integers with commas"),
        (("--shape", "4,4"), "shape must be a sequence of 4 or 5"),
        (("--shape", "1,1,0,4"), "at least one cell"),
        (("--shape=-1,1,4,4",), "shape"),
        (("--shape=-1,-1,4,4",), "shape"),
        (("--shape", "1,1,99999999999,4"), "shape"),
        (("--shape", "99999,99999,99999,99999"), "shape"),
        (("--shape", "1,1,9999999,9999999"), "shape"),
        (("--shape", "1,1,4,99999999999999999999"), "shape"),
        (("--drop-prob", "2"), "drop_prob must be a real number in [0, 1]"),
        (("--drop-prob", "nan"), "drop_prob"),
        (("--drop-prob", "x"), "argument --drop-prob"),
        (("--block-size", "5"), "block_size must be at most the map's size"),
        (("--block-size", "2,2,2"), "block_size"),
        (("--block-size", "0"), "block_size"),
        (("--block-size", "two"), "argument --block-size"),
        (("--convention", "nope"), "argument --convention: invalid choice: 'nope'"),
        (("--convention", "torchvision"), "block_size must be odd"),
        (("--data-format", "NCWH"), "argument --data-format: invalid choice"),
        (("--data-format", "NCDHW"), "data_format 'NCDHW' is for 5 dimensions"),
        (("--seed", "-1"), "-1"),
    ],
)
def test_a_bad_option_of_drop_is_a_usage_error(capsys: Capture, changed: tuple[str, ...], words: str) -> None:
    assert words in usage_error(capsys, *DROP, "--shape", "1,1,4,4", *changed)


def test_a_bad_seed_of_drop_is_named_as_the_option_is(capsys: Capture) -> None:
    assert "seed must be" in usage_error(capsys, *DROP, "--shape", "1,1,4,4", "--seed", "-1")


def test_drop_with_nothing_or_everything_dropped(capsys: Capture) -> None:
    code, out, _ = run(capsys, "drop", "--shape", "1,1,2,2", "--drop-prob", "0", "--block-size", "1")
    assert code == 0
    assert out.endswith("scale\n1.0\n")
    code, out, _ = run(capsys, "drop", "--shape", "1,1,2,2", "--drop-prob", "1", "--block-size", "1")
    assert code == 0
    assert out.endswith("scale\n0.0\n")


# vectors


def test_vectors_are_written_where_nothing_is(capsys: Capture, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "vectors"
    code, out, err = run(capsys, "vectors", str(folder), "--small")
    cases = json.loads((folder / "manifest.json").read_text("utf-8"))["cases"]
    assert (code, out, err) == (0, f"{len(cases)} cases in {folder}\n", "")
    assert len(list(folder.rglob("*.npy"))) == 7 * len(cases)
    assert usage_error(capsys, "vectors", str(folder)).endswith(
        f"folder must not exist or be an empty folder, got '{folder}'"
    )
    assert str(folder / "schema.json") in usage_error(capsys, "vectors", str(folder / "schema.json" / "below"))
    usage_error(capsys, "vectors")


# The program


def test_the_module_is_a_program_with_exit_codes(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODULE)

    def program(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dropblock_ref", *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )

    passed = program("check", "numpy", "--quick", "--checks", "legal_blocks,scale")
    assert (passed.returncode, passed.stderr) == (0, "")
    assert passed.stdout.startswith("PASSED (only: legal_blocks, scale)  numpy")
    failed = program("check", "mine:unscaled", "--checks", "scale", "--json")  # from the working directory
    assert (failed.returncode, failed.stderr) == (1, "")
    assert json.loads(failed.stdout)[0]["passed"] is False
    wrong = program("check", "nope")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "Traceback" not in wrong.stderr


def test_identify_says_what_a_backend_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["identify", "numpy"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("numpy does what convention 'paper' says\n")
    assert "no difference from the paper was seen" in text


def test_theory_prints_the_exact_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theory", "--shape", "28,28", "--block-size", "7", "--drop-prob", "0.1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    numbers = {line[:46].strip(): float(line[46:]) for line in lines}
    # The printed values of the mathematics: gamma by eq. (1), 0.0939, a corner 0.0033, the centre 0.1498.
    assert numbers["gamma"] == pytest.approx(0.1 / 49 * (28 / 22) ** 2, rel=1e-5)
    assert numbers["nominal dropped fraction"] == 0.1
    assert numbers["exact dropped fraction"] == pytest.approx(0.0939, abs=5e-5)
    assert numbers["probability that a corner cell drops"] == pytest.approx(0.0033, abs=5e-5)
    assert numbers["probability that the centre cell drops"] == pytest.approx(0.1498, abs=5e-5)
    assert 0 < numbers["probability that it drops everything, at most"] < 1e-13
    assert numbers["E[y] / x of a corner cell, many masks"] == pytest.approx((1 - 0.0033) / (1 - 0.0939), abs=1e-4)
    assert numbers["E[y] / x of the centre cell, many masks"] == pytest.approx((1 - 0.1498) / (1 - 0.0939), abs=1e-4)
    assert len(numbers) == 12


def test_theory_compares_all_conventions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theory", "--shape", "28,28", "--block-size", "7", "--drop-prob", "0.1", "--all"]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert set(rows) == {"convention", *CONVENTIONS}
    assert float(rows["timm_uncoupled"][2]) == pytest.approx(0.1329, abs=5e-5)
    assert float(rows["calibrated"][2]) == pytest.approx(0.1, abs=1e-9)
    assert main(["theory", "--shape", "4,4", "--block-size", "2,3", "--drop-prob", "0.1", "--all"]) == 0
    assert "torchvision       refuses this block on this map" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["theory", "--shape", "4,4", "--block-size", "0", "--drop-prob", "0.1", "--all"])


def test_the_module_runs_as_a_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["dropblock_ref", "check", "--list"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("dropblock_ref", run_name="__main__")
    assert capsys.readouterr().out.splitlines()[0].startswith("replay")


def test_a_broken_pipe_ends_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Closed:
        file = (tmp_path / "out").open("w")

        def write(self, _: str) -> int:
            raise BrokenPipeError

        def fileno(self) -> int:
            return self.file.fileno()

    monkeypatch.setattr(sys, "stdout", Closed())
    assert main(["check", "--list"]) == 1
    os.write(Closed.file.fileno(), b"lost")
    assert (tmp_path / "out").read_bytes() == b""  # what is written later goes nowhere
    Closed.file.close()


def test_a_map_too_large_for_the_memory_is_a_usage_error(capsys: Capture) -> None:
    shape = ("--shape", "1000000,1000000", "--block-size", "1", "--drop-prob", "0.5")
    assert "allocate" in usage_error(capsys, "theory", *shape)


def test_the_module_of_the_program_runs_nothing_when_it_is_imported(capsys: pytest.CaptureFixture[str]) -> None:
    imported = runpy.run_module("dropblock_ref.__main__", run_name="imported")
    assert imported["main"] is main
    assert capsys.readouterr().out == ""
