"""Results that another program wrote for the test vectors: mask, output and derivative, judged as the oracle does."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import check_choice
from ..testing.observation import Fault, difference, find_replayed_problem, find_value_problem, map_picture, same
from ..testing.report import CheckResult, Report
from .npy import read_data, read_header
from .read import Vector, read_manifest, select

OUTPUTS = ("keep_mask", "y", "x_bar")
_TRAINED, _EVALUATED, _ZERO = "in training with drop_prob above 0", "in evaluation", "in training with drop_prob 0"
# For each output and mode the checks that look at its values.
_CHECKS_OF = {
    ("keep_mask", _TRAINED): ("replayed_mask",),
    ("keep_mask", _EVALUATED): ("replayed_mask",),
    ("keep_mask", _ZERO): ("replayed_mask",),
    ("y", _TRAINED): ("scale", "replayed_values"),
    ("x_bar", _TRAINED): ("gradient",),
    ("y", _EVALUATED): ("evaluation_identity",),
    ("y", _ZERO): ("zero_drop_prob_identity",),
    ("x_bar", _EVALUATED): ("evaluation_gradient",),
    ("x_bar", _ZERO): ("evaluation_gradient",),
}
_OF_FILES = ("files", "shape_and_dtype")
_NAMES_SHOWN = 5


@dataclass
class _Tally:
    """What a check has seen."""

    files: int = 0
    masks: int = 0
    left_out: int = 0  # files that cannot be judged
    failures: dict[str, str] = field(default_factory=dict)  # what is wrong, by file

    def enter(self, vector: Vector, path: Path, wrong: str) -> None:
        """Count a file, and what is wrong with it."""
        self.files += 1
        self.masks += math.prod(vector.mask_shape) // math.prod(vector.layout.spatial_shape(vector.shape))
        if wrong:
            self.failures[f"{vector.name}/{path.name}"] = wrong


def verify_results(
    vectors: str | os.PathLike[str],
    results: str | os.PathLike[str],
    *,
    cases: str | None = None,
    outputs: Iterable[str] = OUTPUTS,
) -> Report:
    """Compare what another program wrote for the test vectors with what it must write.

    Parameters
    ----------
    vectors : path
        The folder of the test vectors, as `write_vectors` makes it.
    results : path
        A folder in which the program wrote, for each case, ``<name of the case>/keep_mask.npy``, ``y.npy`` and
        ``x_bar.npy``: of the dtype (bfloat16 as its uint16 bits) and shape of the arrays of these names in the test
        vectors, in either byte order, in C or Fortran order.
    cases : str, optional
        Patterns of names of cases, with commas, as in ``"torchvision/*float32*"``; each must match. By default all.
    outputs : iterable of {"keep_mask", "y", "x_bar"}
        What the program wrote. What is left out is not looked at, and reported as not applicable.

    Returns
    -------
    Report
        As of `dropblock_ref.testing.check_backend`. Masks must be equal bit for bit, values within 4 ulps of the
        float64 product; in evaluation, and with ``drop_prob=0``, y is x and x_bar the cotangent. A file that is missing
        or cannot be read is a failure.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, no case matches a pattern, there is no folder `results`, or the test
        vectors themselves are not as they were written.
    ImportError
        If a case is in bfloat16, and ml_dtypes is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from dropblock_ref.vectors import verify_results, write_vectors
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_vectors(folder, small=True)
    ...     verify_results(folder, folder).passed  # the test vectors themselves are right results
    True
    """
    asked = tuple(dict.fromkeys(outputs))
    for output in asked:
        check_choice(output, "outputs", OUTPUTS)
    if not asked:
        raise ValueError(f"outputs must name at least one of {', '.join(OUTPUTS)}")
    chosen = select(read_manifest(Path(vectors)), cases)
    root = Path(results)
    if not root.is_dir():
        raise ValueError(f"results must be a folder with a folder per case, and {str(root)!r} is none")
    tallies = {check: _Tally() for check in (*_OF_FILES, *dict.fromkeys(itertools.chain(*_CHECKS_OF.values())))}
    for vector in chosen:
        arrays = vector.read()
        for output in asked:
            _judge_file(vector, arrays, output, root / vector.name / f"{output}.npy", tallies)
    conventions = ", ".join(dict.fromkeys(vector.rules.name for vector in chosen))
    return Report(str(root), conventions, 0, tuple(_result(check, tally, asked) for check, tally in tallies.items()))


def _judge_file(
    vector: Vector, arrays: dict[str, NDArray[Any]], output: str, path: Path, tallies: dict[str, _Tally]
) -> None:
    """Read one file and judge it, as far as it can be."""
    checks = _CHECKS_OF[output, _mode(vector)]
    try:
        header = read_header(path)
        shape, dtype = vector.shape_of(output), vector.dtype_of(output)
        fits = header.shape == shape and header.holds(dtype)
        seen = read_data(header, dtype) if fits else None
    except (ValueError, OSError) as error:
        tallies["files"].enter(vector, path, str(error))
        tallies["shape_and_dtype"].left_out += 1
        seen = None
    else:
        asked = f"uint16, the bits of {dtype}," if dtype == "bfloat16" else dtype
        text = f"{path} must be {asked} of shape {shape}, and is {header.dtype} of shape {header.shape}"
        tallies["files"].enter(vector, path, "")
        tallies["shape_and_dtype"].enter(vector, path, "" if fits else text)
    if seen is None:
        for check in checks:
            tallies[check].left_out += 1
        return
    with np.errstate(all="ignore"):  # whatever was written, it is judged
        problem = _find_problem(vector, arrays, output, seen)
    for check in checks:
        found = problem is not None and check == problem.check
        tallies[check].enter(vector, path, problem.text if problem is not None and found else "")


def _mode(vector: Vector) -> str:
    if not vector.training:
        return _EVALUATED
    return _TRAINED if vector.drop_prob > 0 else _ZERO


def _find_problem(vector: Vector, arrays: dict[str, NDArray[Any]], output: str, seen: NDArray[Any]) -> Fault | None:
    """What is wrong with an array of the right shape and dtype, by its check."""
    if output == "keep_mask":
        seeds = arrays["seeds"] if _mode(vector) == _TRAINED else np.zeros(vector.mask_shape, dtype=np.bool_)
        return find_replayed_problem(seen, arrays[output], seeds, vector.block_size, vector.rules, vector.layout)
    given, name = ("x", "y") if output == "y" else ("cotangent", "x_bar")
    (*_, last) = checks = _CHECKS_OF[output, _mode(vector)]
    if _mode(vector) != _TRAINED:
        if same(seen, arrays[given]):
            return None
        return Fault(last, f"{name} must be {given} {_mode(vector)}, and {difference(arrays[given], seen)}")
    problem = _find_wrong_zeros(vector, arrays, output, seen) or find_value_problem(
        arrays[given],
        seen,
        arrays["keep_mask"],
        [arrays["scale"]],
        vector.rules,
        vector.layout,
        vector.drop_prob,
    )
    if problem is None:
        return None
    text = problem.text if output == "y" else f"of x_bar, with the cotangent as x: {problem.text}"
    return Fault(problem.check if problem.check in checks else last, text)


def _find_wrong_zeros(vector: Vector, arrays: dict[str, NDArray[Any]], output: str, seen: NDArray[Any]) -> Fault | None:
    """Where a dropped cell is not 0, or NaN where the convention divides 0 by 0."""
    dropped = ~np.broadcast_to(arrays["keep_mask"], vector.shape)
    wrong = dropped & (seen != 0) & ~(np.isnan(seen) & np.isnan(arrays[output]))
    if not wrong.any():
        return None
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    expected = "0 or nan" if np.isnan(arrays[output][index]) else "0"
    return Fault(
        "values",
        f"dropped cells must be {expected}, but {np.count_nonzero(wrong)} of {np.count_nonzero(dropped)} are not, the "
        f"first at index {index}: seen {seen[index]}\n{map_picture(~dropped, wrong, vector.layout)}",
    )


def _result(check: str, tally: _Tally, asked: tuple[str, ...]) -> CheckResult:
    """What a check says of all cases."""
    modes = {mode: output for (output, mode), checks in _CHECKS_OF.items() if check in checks}
    what, others = ("file", "files") if check in _OF_FILES else ("case", " and ".join(_OF_FILES))
    left_out = f"; {_number(tally.left_out, what)} cannot be judged, see {others}" if tally.left_out else ""
    number = _number(tally.files, what)
    if tally.failures:
        names = list(tally.failures)
        more = f", and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        text = (
            f"{len(names)} of {number} wrong{left_out}: {', '.join(names[:_NAMES_SHOWN])}{more}\n"
            f"{names[0]}: {tally.failures[names[0]]}"
        )
        return CheckResult(check, "failed", text, tally.masks)
    if tally.files:
        return CheckResult(check, "passed", f"{number}{left_out}", tally.masks)
    reason = left_out.removeprefix("; ") or f"no case is {' or '.join(modes)}"
    if modes and (output := next(iter(modes.values()))) not in asked:
        reason = f"{output} is not looked at, only {', '.join(asked)}"
    return CheckResult(check, "not_applicable", reason)


def _number(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
