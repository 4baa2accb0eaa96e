"""docs/findings.md shows every finding that test_findings.py holds, and every program of docs/findings."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from . import test_findings

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "findings.md").read_text(encoding="utf-8")

# test of a finding -> the programs that show it
PROGRAMS = {
    "test_torchvision_float16_with_more_than_65504_kept_cells": ["torchvision_float16_zeros"],
    "test_torchvision_float16_scale_of_a_large_map": ["torchvision_scale"],
    "test_torchvision_bfloat16_scale": ["torchvision_scale"],
    "test_torchvision_float16_all_dropped": ["torchvision_float16_nan"],
    "test_timm_drop_rate": ["timm_rate"],
    "test_timm_float16_all_dropped": ["timm_float16_nan"],
    "test_timm_half_precision_scale": ["timm_scale"],
    "test_timm_float64_scale": ["timm_float64"],
    "test_timm_refuses_a_percentage": ["timm_bad_rate"],
    "test_dropblock_keeps_half_precision": ["dropblock_dtype"],
    "test_dropblock_and_toolbelt_3d_large_values": ["dropblock_large_values", "pytorch_toolbelt_large_values"],
    "test_dropblock_and_toolbelt_refuse_what_is_no_probability": ["dropblock_bad_rate", "pytorch_toolbelt_bad_rate"],
    "test_toolbelt_float16_with_more_than_65504_dropped_cells": ["pytorch_toolbelt_float16_zeros"],
    "test_toolbelt_half_precision_scale": ["pytorch_toolbelt_scale"],
    "test_toolbelt_float64_scale_of_maps": ["pytorch_toolbelt_float64"],
    "test_toolbelt_3d_float16_of_a_large_volume": ["pytorch_toolbelt_3d_float16"],
    "test_toolbelt_3d_float16_large_values": ["pytorch_toolbelt_3d_float16"],
    "test_toolbelt_schedule_reaches_its_stop_value": ["pytorch_toolbelt_schedule"],
    "test_toolbelt_schedule_goes_on_from_a_checkpoint": ["pytorch_toolbelt_schedule"],
    "test_keras_cv_map_higher_than_wide": ["keras_cv_oblong_maps", "keras_cv_corrected"],
    "test_keras_cv_map_wider_than_high": ["keras_cv_oblong_maps", "keras_cv_corrected"],
    "test_keras_cv_block_one_larger_than_the_map": ["keras_cv_oversize_block", "keras_cv_corrected"],
    "test_keras_cv_block_larger_than_the_map_drops_too_little": ["keras_cv_oversize_block", "keras_cv_corrected"],
    "test_keras_cv_block_larger_than_the_map_on_one_axis_never_drops": [
        "keras_cv_oversize_block",
        "keras_cv_corrected",
    ],
    "test_keras_cv_keeps_the_dtype_by_default": ["keras_cv_dtype"],
    "test_keras_cv_scale_of_a_layer_with_that_dtype": ["keras_cv_scale", "keras_cv_float64"],
    "test_keras_cv_in_a_graph": ["keras_cv_graph", "keras_cv_corrected"],
}


def test_every_finding_is_shown_and_nothing_else() -> None:
    findings = {
        name
        for name, function in inspect.getmembers(test_findings, inspect.isfunction)
        if any(mark.name == "xfail" for mark in getattr(function, "pytestmark", ()))
    }
    assert findings == set(PROGRAMS)


def test_every_program_shows_a_finding_and_stands_on_the_page_once() -> None:
    programs = sorted(path.stem for path in (DOCS / "findings").glob("*.py"))
    assert programs == sorted({program for shown in PROGRAMS.values() for program in shown})
    assert programs == sorted(re.findall(r'\brun\("findings/(\w+)\.py"\)', PAGE))
    for program in programs:
        assert (DOCS / "findings" / f"{program}.py").read_text(encoding="utf-8") in PAGE, program
