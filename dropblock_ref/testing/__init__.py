"""The oracle: tests for any implementation of DropBlock, in any framework, whether it does what DropBlock must do.

report = check_backend(Backend(name="mine", forward=forward))
print(report)
"""

import importlib
from typing import TYPE_CHECKING, Any

from .assertions import assert_drop_rate, assert_valid_output
from .backend import Backend, Setting
from .identification import identify
from .observation import make_input
from .oracle import check_backend, iterate_checks, run_checks
from .report import REPORT_SCHEMA, Answer, CheckResult, Identification, Report, compare_reports

if TYPE_CHECKING:
    from . import strategies
    from .parametrize import parametrize_with_checks

__all__ = [
    "Answer",
    "Backend",
    "CheckResult",
    "Identification",
    "REPORT_SCHEMA",
    "Report",
    "Setting",
    "assert_drop_rate",
    "assert_valid_output",
    "check_backend",
    "compare_reports",
    "identify",
    "iterate_checks",
    "make_input",
    "parametrize_with_checks",
    "run_checks",
    "strategies",
]


def __getattr__(name: str) -> Any:
    # hypothesis and pytest are imported only by those who ask for what needs them.
    if name == "strategies":
        return importlib.import_module(".strategies", __name__)
    if name == "parametrize_with_checks":
        return importlib.import_module(".parametrize", __name__).parametrize_with_checks
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
