"""What docs/findings.md generates: the facts of every finding, checked against what the oracle says today."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from blocks import DOCS, package, report, table

from dropblock_ref import backends
from dropblock_ref.testing import check_backend


@dataclass(frozen=True)
class Finding:
    """A section of the page, in its order."""

    title: str
    affected: str
    checks: Mapping[str, str] = field(default_factory=dict)  # backend -> the checks that find it, with commas
    unfound: str = ""  # where no check finds it: why

    @property
    def packages(self) -> str:
        """The packages with versions."""
        return ", ".join(dict.fromkeys(map(package, self.checks)))

    @property
    def found_by(self) -> str:
        """The checks that find it, each of which must fail, or report, at this moment."""
        names = []
        for backend, checks in self.checks.items():
            results = {result.name: result for result in report(backend).results}
            for check in filter(None, checks.split(", ")):
                status, note = results[check].status, ""
                if status == "not_judged":  # because of another fault of the package, in a whole run
                    (alone,) = check_backend(backends.load(backend), checks=check).results
                    status, note = alone.status, " (run by itself)"
                assert status in {"failed", "reported"}, (self.title, backend, check)
                names.append(f"`{check}`" + (" (reported)" if status == "reported" else note))
        return "; ".join(filter(None, [", ".join(dict.fromkeys(names)), self.unfound]))


FINDINGS = (
    Finding(
        "torchvision turns a large float16 batch into zeros",
        "float16, more than 65504 kept cells in the batch; `drop_block2d`, `drop_block3d`",
        {"torchvision": "low_precision"},
    ),
    Finding(
        "pytorch-toolbelt turns float16 volumes into infinity and NaN",
        "`DropBlock3D`, float16",
        {"pytorch_toolbelt": "low_precision, special_values"},
    ),
    Finding(
        "pytorch-toolbelt turns a large float16 batch into zeros",
        "`DropBlock2D`, float16, more than 65504 dropped cells in the batch",
        {"pytorch_toolbelt": "low_precision"},
    ),
    Finding(
        "keras-cv drops in the wrong rows of a map that is not square",
        "maps that are not square",
        {"keras_cv": "replayed_mask, non_square_maps, cell_rates"},
    ),
    Finding(
        "timm drops too much, on small maps almost everything",
        "blocks larger than one cell; most where the block is nearly as large as the map",
        {"timm": "map_rate", "timm_uncoupled": "map_rate"},
    ),
    Finding(
        "keras-cv cannot train in a graph",
        "`tf.function`, and so `fit`",
        {"keras_cv": ""},
        "any check, of a backend that calls the layer in `tf.function`",
    ),
    Finding(
        "The schedule of pytorch-toolbelt starts and ends at wrong values",
        "`DropBlockScheduled`",
        {"pytorch_toolbelt": ""},
        "no check; `dropblock_ref.linear_schedule` gives the right values",
    ),
    Finding(
        "timm and torchvision give NaN where a float16 batch is all dropped",
        "float16, small maps and few masks, or `drop_prob` 1",
        {
            "timm": "block_of_map_size, drop_prob_one",
            "timm_uncoupled": "block_of_map_size, drop_prob_one",
            "torchvision": "drop_prob_one",
        },
    ),
    Finding(
        "keras-cv with a block larger than the map gives NaN or a wrong rate",
        "a block larger than the map on any axis",
        {"keras_cv": "oversize_block"},
    ),
    Finding(
        "dropblock returns float32 for half precision",
        "float16 and bfloat16, in training",
        {"dropblock": "shape_and_dtype"},
    ),
    Finding(
        "The scale is rounded to half precision",
        "float16 and bfloat16",
        {
            "torchvision": "low_precision",
            "pytorch_toolbelt": "low_precision",
            "timm": "",
            "timm_uncoupled": "",
            "keras_cv": "",
        },
        "none for timm and keras-cv, because the oracle allows one rounding of the scale",
    ),
    Finding(
        "A drop_prob that is no probability is accepted",
        "`drop_prob` below 0 or above 1",
        {
            "timm": "bad_arguments",
            "timm_uncoupled": "bad_arguments",
            "dropblock": "bad_arguments",
            "pytorch_toolbelt": "bad_arguments",
        },
    ),
    Finding(
        "Large values overflow on the way to a finite result",
        "float32 values above 3.4e38 / (number of mask cells); `dropblock`, and `DropBlock3D` of `pytorch-toolbelt`",
        {"dropblock": "special_values", "pytorch_toolbelt": "special_values"},
    ),
    Finding(
        "The scale of float64 has the precision of float32",
        "float64",
        {
            "timm": "replayed_values, scale",
            "timm_uncoupled": "replayed_values, scale",
            "pytorch_toolbelt": "replayed_values, scale",
            "keras_cv": "",
        },
        "none for keras-cv, whose layer returns float32 unless it is told otherwise",
    ),
    Finding(
        "keras-cv returns float32 for every dtype",
        "float16, bfloat16, float64, with the default dtype policy",
        {"keras_cv": "shape_and_dtype"},
    ),
)


def anchor(title: str) -> str:
    """The anchor of a heading, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def summary() -> None:
    """Write the table of all findings; their sections must stand on the page in this order."""
    headings = re.findall(r"^## (.+)$", (DOCS / "findings.md").read_text(encoding="utf-8"), re.MULTILINE)
    titles = [finding.title for finding in FINDINGS]
    assert [heading for heading in headings if heading in titles] == titles
    table(
        ("finding", "package", "affected", "check that finds it"),
        [(f"[{one.title}](#{anchor(one.title)})", one.packages, one.affected, one.found_by) for one in FINDINGS],
    )


def facts(title: str) -> None:
    """Write the facts of one finding."""
    (finding,) = (finding for finding in FINDINGS if finding.title == title)
    print(f"\n- Package: {finding.packages}")
    print(f"- Affected: {finding.affected}")
    print(f"- Found by: {finding.found_by}\n")
