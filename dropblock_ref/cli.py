"""The command line: check, compare, identify, vectors, verify for implementations; drop, theory for the algorithm.

Exit codes: 0 all passed, 1 something failed, 2 a usage error, 3 nothing failed but something was not judged, 130
interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import backends, theory
from .arguments import FLOATING_DTYPES, check_integer, check_shape, check_spatial_shape, describe, describe_error
from .call import DATA_FORMATS, accepts_block, find_layout
from .convention import CONVENTIONS
from .dropblock import trace
from .stages import gamma
from .testing.backend import Backend
from .testing.identification import identify
from .testing.oracle import CHECKS, run_checks, select_checks
from .testing.report import Report, compare_reports
from .vectors import verify_black_box, verify_results, write_vectors
from .vectors.npy import read_array
from .vectors.verify import OUTPUTS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except BrokenPipeError:  # as in `check --list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at the end
        return 1
    except (ValueError, TypeError, ImportError, MemoryError, OSError) as error:
        parser.exit(2, f"dropblock_ref: error: {error}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dropblock_ref", description="The reference for DropBlock.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    _add_check(commands)
    drop = commands.add_parser(
        "drop",
        help="show the stages of Algorithm 1",
        description="Apply DropBlock to 1, 2, 3, ... and show each stage.",
    )
    drop.add_argument("--shape", type=_integers, required=True, help="shape of x, for example 1,4,4,1")
    drop.add_argument("--drop-prob", type=float, required=True)
    drop.add_argument("--block-size", type=_integers, required=True, help="one integer, or one per spatial axis")
    drop.add_argument("--data-format", choices=tuple(DATA_FORMATS), default="channels_first")
    drop.add_argument("--seed", type=int, default=0)
    drop.add_argument("--convention", choices=tuple(CONVENTIONS), default="paper")
    drop.set_defaults(command=_drop)

    told = commands.add_parser(
        "identify",
        help="tell what an implementation does",
        description="Tell what an implementation does, from its outputs alone.",
    )
    told.add_argument("backend", metavar="BACKEND", help="as for check")
    told.add_argument("--seed", type=int, default=0)
    told.set_defaults(command=_identify)

    exact = commands.add_parser(
        "theory", help="exact probabilities", description="Print how often DropBlock really drops, exactly."
    )
    exact.add_argument("--shape", type=_integers, required=True, help="spatial shape, for example 28,28")
    exact.add_argument("--block-size", type=_integers, required=True, help="one integer, or one per spatial axis")
    exact.add_argument("--drop-prob", type=float, required=True)
    which = exact.add_mutually_exclusive_group()
    which.add_argument("--convention", choices=tuple(CONVENTIONS), default="paper")
    which.add_argument("--all", action="store_true", help="compare all conventions")
    exact.set_defaults(command=_theory)

    vectors = commands.add_parser(
        "vectors",
        help="write test vectors for programs in other languages",
        description="Write test vectors: .npy files, a manifest in JSON and its schema.",
    )
    vectors.add_argument("folder", metavar="OUT", help="a folder that does not exist yet, or an empty one")
    vectors.add_argument("--small", action="store_true", help="only a few dozen cases")
    vectors.set_defaults(command=_vectors)

    verify = commands.add_parser(
        "verify",
        help="judge what a program in another language wrote",
        description="Judge what another program wrote: for the test vectors in OUT its keep_mask.npy, y.npy and "
        "x_bar.npy in RESULTS/<name of the case>; or with --black-box an output that it drew with its own random "
        "numbers.",
    )
    verify.add_argument(
        "vectors", nargs="?", metavar="OUT", help="the test vectors, as the command vectors writes them"
    )
    verify.add_argument("results", nargs="?", metavar="RESULTS", help="a folder with a folder per case")
    verify.add_argument("--cases", metavar="PATTERNS", help="of names of cases, with commas: 'timm/*float32*'")
    verify.add_argument("--outputs", metavar="NAMES", help=f"what the program wrote, of {','.join(OUTPUTS)}")
    verify.add_argument(
        "--black-box",
        nargs=2,
        metavar=("X", "Y"),
        help="x, and y or with one more axis in front the y of successive calls, as .npy files",
    )
    verify.add_argument("--drop-prob", type=float)
    verify.add_argument("--block-size", type=_integers, help="one integer, or one per spatial axis")
    verify.add_argument("--data-format", choices=tuple(DATA_FORMATS), help="default channels_first")
    verify.add_argument("--convention", choices=tuple(CONVENTIONS), help="default paper")
    verify.add_argument("--dtype", choices=FLOATING_DTYPES, help="of x and y; bfloat16 is written as its uint16 bits")
    verify.add_argument(
        "--false-alarm", type=float, metavar="P", help="bound of the probability to fail a correct one (default 1e-9)"
    )
    verify.add_argument("--json", action="store_true", help="print a JSON list of one report, as check does")
    verify.set_defaults(command=_verify)
    return parser


def _add_check(commands: Any) -> None:
    check = commands.add_parser(
        "check", help="check implementations of DropBlock", description="Check implementations of DropBlock."
    )
    check.add_argument(
        "backends",
        nargs="*",
        metavar="BACKEND",
        help=f"one of {', '.join(backends.NAMES)}, or module:attribute for a Backend of your own; by default every "
        "installed package, or numpy where there is none",
    )
    check.add_argument(
        "--checks", metavar="NAMES", help="checks or groups (replay, recover, search, distribution), with commas"
    )
    profile = check.add_mutually_exclusive_group()
    profile.add_argument("--quick", action="store_true", help="fewer draws")
    profile.add_argument(
        "--compiled", action="store_true", help="fewer draws and few shapes, for backends that compile for each"
    )
    check.add_argument("--seed", type=int, default=0, help="of the oracle's choices (default 0)")
    check.add_argument(
        "--false-alarm",
        type=float,
        default=1e-9,
        metavar="P",
        help="bound of the probability to fail a correct backend (default 1e-9)",
    )
    check.add_argument(
        "--examples", type=int, metavar="N", help="calls that the search draws (default 100; 25 with --quick)"
    )
    check.add_argument("--json", action="store_true", help="print a JSON list of reports")
    check.add_argument("--list", action="store_true", help="list the checks and stop")
    check.set_defaults(command=_check)

    compare = commands.add_parser(
        "compare",
        help="show what differs between reports",
        description="Show what differs between reports, of two versions of a package for example.",
    )
    compare.add_argument("files", nargs="+", metavar="FILE", help="as `check --json` writes it; two reports at least")
    compare.set_defaults(command=_compare)


_MOST_CELLS_SHOWN = 1_000_000


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected integers with commas, as in 28,28; got {text!r}") from None


def _check(options: argparse.Namespace) -> int:
    if options.list:
        width = max(map(len, CHECKS))
        for one in CHECKS.values():
            _print(f"{one.group:<12}  {one.name:<{width}}  {one.summary}")
        return 0
    checks = [] if options.checks is None else [name.strip() for name in options.checks.split(",")]
    checks += [profile for profile in ("quick", "compiled") if getattr(options, profile)]
    select_checks(checks or None, options.examples)
    reports: list[Report] = []
    with _aside(options.json):  # what the backend's module prints must not stand between the JSON
        under_test = [_find_backend(name) for name in options.backends or backends.installed() or ("numpy",)]
        for backend in under_test:
            given = {name: getattr(options, name) for name in ("seed", "false_alarm", "examples")}
            report = _run(backend, checks=checks or None, **given)
            reports.append(report)
            if not options.json:
                _print(f"{report}\n")
            if report.interrupted:
                break
    if options.json:
        _print(_as_json(reports))
    else:
        _print(_summary(reports))
    if reports[-1].interrupted:
        return 130
    return _exit_code(reports)


def _exit_code(reports: Sequence[Report]) -> int:
    verdicts = {report.verdict for report in reports}
    return 1 if "FAILED" in verdicts else 3 if "INCOMPLETE" in verdicts else 0


@contextlib.contextmanager
def _aside(wanted: bool) -> Iterator[None]:
    """Let what others print go to stderr, their child processes and libraries in C included."""
    if not wanted:
        yield
        return
    try:
        sys.stdout.flush()
        kept = os.dup(1)
    except (OSError, ValueError, AttributeError):  # stdout is closed
        with contextlib.redirect_stdout(sys.stderr):
            yield
        return
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _find_backend(name: str) -> Backend:
    """A backend of this package, or module:attribute: a Backend or a function that returns one."""
    if ":" not in name:
        return backends.load(name)
    module, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        backend = found if isinstance(found, Backend) else found()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may end the program, or skip a test
        raise ImportError(f"backend {name!r} cannot be had: {describe_error(error)}") from error
    if not isinstance(backend, Backend):
        raise TypeError(f"backend {name!r} must be a Backend or a function that returns one, got {describe(backend)}")
    return backend


def _run(backend: Backend, **how: Any) -> Report:
    """check_backend, with its progress on a terminal; an interrupted run gives what it has."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    progress = run_checks(backend, **how)
    try:
        for number, total, name, result in progress:
            if terminal:
                text = f"{backend.name}: {number + 1}/{total} {name}" if result is None else ""
                sys.stderr.write(f"\r\x1b[K{text}")
                sys.stderr.flush()
    except KeyboardInterrupt:
        pass
    return progress.report()


def _as_json(reports: list[Report]) -> str:
    return json.dumps([json.loads(report.to_json()) for report in reports], indent=2)


def _compare(options: argparse.Namespace) -> int:
    _print(compare_reports([report for name in options.files for report in _read_reports(Path(name))]))
    return 0


def _read_reports(path: Path) -> list[Report]:
    """The reports of a file: one, or a list of them."""
    try:
        told = json.loads(path.read_text("utf-8"))
        return [Report.from_json(json.dumps(one)) for one in (told if isinstance(told, list) else [told])]
    except ValueError as error:
        raise ValueError(f"{path} must have reports as `check --json` writes them: {error}") from error


def _summary(reports: list[Report]) -> str:
    width = max(len(report.backend) for report in reports)
    lines = []
    for report in reports:
        failed = ", ".join(result.name for result in report.failures)
        told = {"PASSED": "passed", "FAILED": f"FAILED: {failed}"}.get(report.verdict)
        lines.append(f"{report.backend:<{width}}  {told or 'INCOMPLETE: ' + '; '.join(report.missing)}")
    return "\n".join(lines)


def _drop(options: argparse.Namespace) -> int:
    shape, seed = check_shape(options.shape), check_integer(options.seed, "seed", 0)
    find_layout(options.data_format, shape, "shape")
    if math.prod(shape) > _MOST_CELLS_SHOWN:
        raise ValueError(f"shape must have at most {_MOST_CELLS_SHOWN} cells to be shown as text, got {shape}")
    x = np.arange(1, 1 + math.prod(shape), dtype=np.float32).reshape(shape)
    block_size = options.block_size[0] if len(options.block_size) == 1 else options.block_size
    stages = trace(
        x,
        options.drop_prob,
        block_size,
        rng=seed,
        data_format=options.data_format,
        convention=options.convention,
    )
    with np.printoptions(precision=4, suppress=True, linewidth=120, threshold=10_000):
        _print(f"x is 1, 2, 3, ...; convention {options.convention}; gamma {stages.gamma:.6g}")
        for sample in range(shape[0]):
            for channel in range(shape[1 if options.data_format in _CHANNELS_FIRST else -1]):
                _print(f"\nsample {sample}, channel {channel}")
                for name, array in (
                    ("seeds", stages.seeds),
                    ("keep_mask", stages.keep_mask),
                    ("output", stages.output),
                ):
                    moved = array if options.data_format in _CHANNELS_FIRST else np.moveaxis(array, -1, 1)
                    one = moved[sample, min(channel, moved.shape[1] - 1)]
                    _print(f"{name}\n{one.astype(int) if one.dtype == np.bool_ else one}")
        _print(f"\nscale\n{stages.scale}")
    return 0


def _identify(options: argparse.Namespace) -> int:
    _print(f"{identify(_find_backend(options.backend), seed=options.seed)}")
    return 0


_THEORY = (
    ("gamma", "gamma"),
    ("nominal", "nominal dropped fraction"),
    ("expected", "exact dropped fraction"),
    ("deviation", "its standard deviation (one mask)"),
    ("untouched", "probability that a mask drops nothing"),
    ("all", "probability that it drops everything, at most"),
    ("corner", "probability that a corner cell drops"),
    ("edge", "probability that the middle of an edge drops"),
    ("centre", "probability that the centre cell drops"),
    ("E corner", "E[y] / x of a corner cell, many masks"),
    ("E centre", "E[y] / x of the centre cell, many masks"),
    ("calibrated", "gamma that drops exactly the nominal fraction"),
)


def _theory(options: argparse.Namespace) -> int:
    block_size = options.block_size[0] if len(options.block_size) == 1 else options.block_size
    if not options.all:
        numbers = _numbers(options.drop_prob, block_size, options.shape, options.convention)
        for key, text in _THEORY:
            _print(f"{text:<46}{numbers[key]:.6g}")
        return 0
    _print("convention".ljust(18) + "".join(f"{key:>12}" for key, _ in _THEORY))
    for name in CONVENTIONS:
        _print(f"{name:<18}{_row_of_numbers(options.drop_prob, block_size, options.shape, name)}")
    return 0


def _row_of_numbers(drop_prob: float, block_size: Any, shape: tuple[int, ...], convention: str) -> str:
    if not accepts_block(block_size, check_spatial_shape(shape), CONVENTIONS[convention]):
        return "refuses this block on this map"
    numbers = _numbers(drop_prob, block_size, shape, convention)
    return "".join(f"{numbers[key]:>12.6g}" for key, _ in _THEORY)


def _numbers(drop_prob: float, block_size: Any, shape: tuple[int, ...], convention: str) -> dict[str, float]:
    how: dict[str, Any] = {"block_size": block_size, "spatial_shape": shape, "convention": convention}
    dropped, ratio = (theory.drop_probability(drop_prob, **how), theory.expected_output_ratio(drop_prob, **how))
    corner, centre = (0,) * dropped.ndim, tuple(S // 2 for S in dropped.shape)
    return {
        "gamma": gamma(drop_prob, **how),
        "nominal": drop_prob,
        "expected": theory.expected_drop_fraction(drop_prob, **how),
        "deviation": theory.drop_fraction_variance(drop_prob, **how) ** 0.5,
        "untouched": theory.untouched_probability(drop_prob, **how),
        "all": theory.all_dropped_probability(drop_prob, **how)[1],
        "corner": float(dropped[corner]),
        "edge": float(dropped[(0, *centre[1:])]),
        "centre": float(dropped[centre]),
        "E corner": float(ratio[corner]),
        "E centre": float(ratio[centre]),
        "calibrated": theory.calibrated_gamma(drop_prob, **how),
    }


def _vectors(options: argparse.Namespace) -> int:
    number = write_vectors(options.folder, small=options.small)
    _print(f"{number} cases in {options.folder}")
    return 0


_OF_FILES, _OF_BLACK_BOX = (
    ("vectors", "results", "cases", "outputs"),
    ("drop_prob", "block_size", "data_format", "convention", "dtype", "false_alarm"),
)


def _verify(options: argparse.Namespace) -> int:
    excluded: tuple[str, ...] = _OF_BLACK_BOX
    needed = "vectors", "results"
    if options.black_box is not None:
        excluded, needed = _OF_FILES, ("drop_prob", "block_size")
    given = {name for name, value in vars(options).items() if value is not None}
    forms = "verify OUT RESULTS [--cases --outputs], or verify --black-box X Y --drop-prob P --block-size B [...]"
    missing, unwanted = [name for name in needed if name not in given], [name for name in excluded if name in given]
    if missing or unwanted:
        wrong = [f"{_as_typed(name)} is missing" for name in missing]
        wrong += [f"{_as_typed(name)} is of the other form" for name in unwanted]
        raise ValueError(f"the command is {forms}; {', '.join(wrong)}")
    report = _report_of_files(options) if options.black_box is None else _report_of_black_box(options)
    _print(_as_json([report]) if options.json else f"{report}")
    return _exit_code([report])


def _as_typed(name: str) -> str:
    """How an argument of verify is called on the command line."""
    return {"vectors": "OUT", "results": "RESULTS"}.get(name, "--" + name.replace("_", "-"))


def _report_of_files(options: argparse.Namespace) -> Report:
    outputs = OUTPUTS if options.outputs is None else [name.strip() for name in options.outputs.split(",")]
    return verify_results(options.vectors, options.results, cases=options.cases, outputs=outputs)


def _report_of_black_box(options: argparse.Namespace) -> Report:
    x, y = (read_array(Path(path), options.dtype) for path in options.black_box)
    if options.dtype is None and x.dtype == np.uint16:
        path = options.black_box[0]
        raise ValueError(f"{path} is of uint16; if these are the bits of bfloat16, add --dtype bfloat16")
    if options.dtype not in (None, x.dtype.name):
        raise ValueError(f"{options.black_box[0]} must be of dtype {options.dtype}, and is of {x.dtype}")
    given = ("data_format", "convention", "false_alarm")
    report = verify_black_box(
        x,
        y,
        options.drop_prob,
        options.block_size[0] if len(options.block_size) == 1 else options.block_size,
        **{name: getattr(options, name) for name in given if getattr(options, name) is not None},
    )
    return replace(report, backend=options.black_box[1])


_CHANNELS_FIRST = tuple(name for name, (first, _) in DATA_FORMATS.items() if first)


def _print(text: str) -> None:
    stream = sys.stdout
    if stream is None or getattr(
        stream, "closed", False
    ):  # a verdict is worth more than the stream that it was meant for
        stream = sys.stderr
    if stream is None or getattr(stream, "closed", False):
        return
    try:
        stream.write(text + "\n")
    except UnicodeEncodeError:  # a name that this terminal cannot show is shown by its number
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
