"""What the oracle says of every published package: each of its known defects, by a check whose name fits, and no other.

The packages' streams are seeded by the oracle, so these verdicts do not change from run to run. A package that is fixed
shows here as a failure.
"""

from __future__ import annotations

from typing import Any

import pytest

from dropblock_ref import backends
from dropblock_ref.testing import Report, check_backend, identify
from dropblock_ref.testing.report import CheckResult

# name -> check -> what its message must say
DEFECTS: dict[str, dict[str, tuple[str, ...]]] = {
    "numpy": {},
    "torchvision": {
        "low_precision": (
            "float16: about 0.48",
            "all cells are dropped",
            "bfloat16: the scale must be the counted one",
        ),
        "drop_prob_one": ("cells are dropped and NaN; expected zeros",),  # float16: 0 * infinity
    },
    "timm": {
        "replayed_values": ("ulps of float64 off",),  # the scale is computed in float32
        "scale": ("ulps of float64 off",),
        "block_of_map_size": ("cells are dropped and NaN; expected zeros", "float16"),  # where all are dropped
        "oversize_block": ("cells are dropped and NaN; expected zeros", "float16"),
        "drop_prob_one": ("cells are dropped and NaN; expected zeros",),
    },
    "timm_uncoupled": {
        "replayed_values": ("ulps of float64 off",),
        "scale": ("ulps of float64 off",),
        "block_of_map_size": ("cells are dropped and NaN; expected zeros", "float16"),  # where all are dropped
        "oversize_block": ("cells are dropped and NaN; expected zeros", "float16"),
        "drop_prob_one": ("cells are dropped and NaN; expected zeros",),
    },
    "dropblock": {
        "shape_and_dtype": ("the output has dtype float32; expected that of x, float16",),
        "special_values": ("becomes inf",),  # x is multiplied by numel before it is divided
    },
    "pytorch_toolbelt": {
        "replayed_values": ("ulps of float64 off",),
        "scale": ("ulps of float64 off",),
        "low_precision": ("float16", "seen nan", "on 40x42x40"),
        "search": ("becomes inf",),  # in 3D, as in dropblock
    },
    "keras_cv": {
        "replayed_mask": ("the drawn seeds are not legal",),  # on maps wider than high
        "shape_and_dtype": ("the output has dtype float32; expected that of x, float16",),
        "non_square_maps": ("dropped cells must be a union of legal blocks", "on 5x11"),
        "cell_rates": ("must be dropped with probability", "on 4x7"),
        "large_maps": ("must be dropped on average", "on 264x256"),
    },
}


def verdict(report: Report) -> dict[str, CheckResult]:
    return {result.name: result for result in report.results if result.status == "failed"}


@pytest.mark.parametrize("name", DEFECTS)
def test_the_defects_of_a_package_are_found_and_nothing_else(name: str) -> None:
    report = check_backend(backends.load(name))
    failed = verdict(report)
    assert set(failed) == set(DEFECTS[name]), str(report)
    for check, words in DEFECTS[name].items():
        for text in words:
            assert text in failed[check].message, failed[check].message
        assert "reproduce: " in failed[check].message
    rate = next(result for result in report.results if result.name == "map_rate")
    if name.startswith("timm"):
        assert rate.status == "reported"
        assert rate.message.endswith(f"as convention {name!r} has it, 33% more than drop_prob")
    else:
        assert rate.status == "passed"


def test_keras_cv_in_a_graph_is_refused() -> None:
    import tensorflow as tf

    backends.load("keras_cv")
    from keras_cv.layers import DropBlock2D

    @tf.function  # type: ignore[untyped-decorator, unused-ignore]
    def in_graph(x: Any, layer: Any) -> Any:
        return layer(x, training=True)

    graph = backends.from_tensorflow(
        lambda x, p, b, training: in_graph(x, DropBlock2D(p, b, seed=0)) if training else x,
        name="keras_cv in a graph",
        convention="keras_cv",
        data_format="channels_last",
        dtypes=("float32",),
    )
    (result,) = check_backend(graph, checks="legal_blocks").results
    assert result.status == "failed"
    assert "an input that the backend must support was refused: TypeError" in result.message


TIES = {
    "keras_cv": ("tpu", "keras_cv"),
    "dropblock": ("dropblock", "pytorch_toolbelt"),
    "pytorch_toolbelt": ("dropblock", "pytorch_toolbelt"),
    "numpy": ("paper",),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_package_is_identified(name: str) -> None:
    assert identify(backends.load(name)).nearest == TIES.get(name, (name,))
