"""Backend: what it takes, what it refuses by name, and what it says that it supports."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pytest

from dropblock_ref import CONVENTIONS, PAPER
from dropblock_ref.testing import Backend, Setting


def forward(x: Any, drop_prob: float, block_size: Any, *, training: bool, seed: int | None) -> Any:
    raise NotImplementedError(f"never called: {x} {drop_prob} {block_size} {training} {seed}")


def backend(**given: Any) -> Backend:
    fields_: dict[str, Any] = {"name": "mine", "forward": forward}
    return Backend(**(fields_ | given))


def test_fields_and_defaults_are_the_pinned_ones() -> None:
    assert [field.name for field in fields(Backend)] == [
        "name",
        "forward",
        "convention",
        "data_format",
        "spatial_ndims",
        "dtypes",
        "vjp",
        "draw_seeds",
        "apply",
        "accepts",
        "settings",
        "output_dtype",
        "modes",
        "reseeds",
        "thread_safe",
        "expected_failures",
    ]
    mine = backend()
    assert (mine.convention, mine.data_format, mine.spatial_ndims, mine.dtypes) == (
        None,
        "channels_first",
        (2,),
        ("float32",),
    )
    assert (mine.vjp, mine.draw_seeds, mine.apply, mine.accepts) == (None, None, None, None)
    assert (mine.settings, mine.output_dtype, mine.modes) == (None, None, ("training", "evaluation"))
    assert (mine.reseeds, mine.thread_safe) == (True, False)
    assert dict(mine.expected_failures) == {}


def test_a_backend_is_frozen_and_keyword_only() -> None:
    with pytest.raises(FrozenInstanceError):
        backend().name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError, match="positional"):
        Backend("mine", forward)  # type: ignore[call-arg]


def test_expected_failures_are_not_shared_between_backends() -> None:
    assert backend().expected_failures is not backend().expected_failures


BAD: tuple[tuple[str, Any, type[Exception]], ...] = (
    ("name", None, TypeError),
    ("name", b"mine", TypeError),
    ("forward", None, TypeError),
    ("forward", "forward", TypeError),
    ("convention", "nope", ValueError),
    ("convention", 3, TypeError),
    ("data_format", "NCWH", ValueError),
    ("data_format", None, TypeError),
    ("data_format", 4, TypeError),
    ("spatial_ndims", (), ValueError),
    ("spatial_ndims", (1,), ValueError),
    ("spatial_ndims", (2, 4), ValueError),
    ("spatial_ndims", 2, ValueError),
    ("spatial_ndims", [2], ValueError),
    ("spatial_ndims", ("2",), ValueError),
    ("dtypes", (), ValueError),
    ("dtypes", "float32", ValueError),
    ("dtypes", ("int32",), ValueError),
    ("dtypes", (np.float32,), ValueError),
    ("dtypes", None, ValueError),
    ("vjp", 1, TypeError),
    ("draw_seeds", "x", TypeError),
    ("apply", (), TypeError),
    ("accepts", True, TypeError),
    ("settings", (), TypeError),
    ("settings", Setting(), TypeError),
    ("settings", (7,), TypeError),
    ("output_dtype", "int8", ValueError),
    ("modes", (), ValueError),
    ("modes", ("train",), ValueError),
    ("reseeds", None, TypeError),
    ("thread_safe", 1, TypeError),
    ("expected_failures", None, TypeError),
    ("expected_failures", ["scale"], TypeError),
    ("expected_failures", {"scale": None}, TypeError),
    ("expected_failures", {1: "reason"}, TypeError),
    ("expected_failures", "scale", TypeError),
)


@pytest.mark.parametrize(("field", "value", "error"), BAD, ids=[f"{field}-{value!r:.20}" for field, value, _ in BAD])
def test_a_bad_field_is_refused_by_its_name(field: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"{field}.*got"):
        backend(**{field: value})


@pytest.mark.parametrize(
    ("data_format", "spatial_ndims"), [("NCHW", (3,)), ("NHWC", (2, 3)), ("NCDHW", (2,)), ("NDHWC", (2, 3))]
)
def test_a_layout_that_contradicts_the_ranks_is_refused(data_format: str, spatial_ndims: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="data_format"):
        backend(data_format=data_format, spatial_ndims=spatial_ndims)


def test_the_rules_are_the_papers_unless_stated() -> None:
    own = replace(PAPER, name="own")
    assert backend().rules is PAPER
    assert backend(convention="timm").rules is CONVENTIONS["timm"]
    assert backend(convention=own).rules is own


@pytest.mark.parametrize(
    ("convention", "spatial_shape", "block_size", "supported"),
    [
        ("paper", (5, 5), 3, True),
        ("paper", (5, 5), 6, False),
        ("paper", (5, 5, 5), (1, 2, 3), True),
        ("torchvision", (5, 5), 2, False),
        ("torchvision", (5, 5), 6, True),
        ("timm", (5, 5), 9, True),
        ("tutorial", (5, 5), 4, False),
    ],
)
def test_without_accepts_it_supports_what_its_convention_accepts(
    convention: str, spatial_shape: tuple[int, ...], block_size: Any, supported: bool
) -> None:
    assert backend(convention=convention).supports(spatial_shape, block_size) is supported


def test_accepts_narrows_what_the_convention_accepts() -> None:
    asked: list[tuple[Any, Any]] = []

    def accepts(spatial_shape: tuple[int, ...], block_size: Any) -> Any:
        asked.append((spatial_shape, block_size))
        return np.bool_(isinstance(block_size, int))

    mine = backend(accepts=accepts)
    assert mine.supports((5, 5), 3) is True
    assert mine.supports((5, 5), (3, 3)) is False
    assert asked == [((5, 5), 3), ((5, 5), (3, 3))]
    assert mine.supports((5, 5), 7) is False
    assert len(asked) == 2  # the convention refuses it, whatever the backend says


@pytest.mark.parametrize(
    "accepts",
    [
        lambda spatial_shape, block_size, drop_prob: (spatial_shape, block_size, drop_prob) == ((5, 5), 3, 0.1),
        lambda *given: given == ((5, 5), 3, 0.1),
    ],
)
def test_an_accepts_with_a_place_for_drop_prob_is_asked_with_it(accepts: Any) -> None:
    mine = backend(accepts=accepts)
    assert mine.supports((5, 5), 3, 0.1)
    assert not mine.supports((5, 5), 3, 0.2)
    assert mine.supports((5, 5), 3)  # with some drop_prob


def test_an_accepts_without_a_signature_or_with_a_default_of_its_own_is_asked_with_two() -> None:
    class NoSignature:
        __signature__ = "none"

        def __call__(self, spatial_shape: Any, block_size: Any) -> bool:
            return bool(spatial_shape == (5, 5) and block_size == 3)

    assert backend(accepts=NoSignature()).supports((5, 5), 3, 0.1)
    assert backend(accepts=lambda _, __, strict=True: strict is True).supports((5, 5), 3, 0.1)


def test_settings_are_all_that_a_backend_is_for() -> None:
    mine = backend(settings=[Setting((5, 5), 3, 0.1), Setting(block_size=1)])
    assert mine.settings == (Setting((5, 5), 3, 0.1), Setting(None, 1))
    assert mine.is_for((5, 5), 3, 0.1)
    assert not mine.is_for((5, 5), 3, 0.2)
    assert mine.is_for((8, 9), 1, 0.7)
    assert not mine.is_for((8, 9), 2)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"spatial_shape": (5,)}, ValueError, "spatial_shape"),
        ({"spatial_shape": 5}, TypeError, "spatial_shape"),
        ({"block_size": 0}, ValueError, "block_size"),
        ({"block_size": (1, 0)}, ValueError, "block_size"),
        ({"block_size": 2.5}, TypeError, "block_size"),
        ({"drop_prob": 1.5}, ValueError, "drop_prob"),
        ({"samples": 0}, ValueError, "samples"),
        ({"channels": "3"}, TypeError, "channels"),
    ],
)
def test_a_bad_setting_is_refused_by_its_name(given: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Setting(**given)


def test_a_setting_is_shown_in_words() -> None:
    assert str(Setting()) == "anything"
    assert str(Setting([7, 9], [1, 3], 0.1)) == "spatial_shape 7x9, block_size (1, 3), drop_prob 0.1"  # type: ignore[arg-type]


def test_limits_are_told_in_words() -> None:
    limited = backend(modes=("training",), reseeds=False, settings=(Setting(block_size=7),) * 4, output_dtype="float16")
    assert limited.limits == (
        "no evaluation",
        "no seeds",
        "only block_size 7; block_size 7; block_size 7; ...",
        "output in float16",
    )
    assert backend().limits == ()


FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "timm", "torchvision", "keras_cv", "dropblock")
FOREIGN = ("hypothesis", "pytest", "_pytest", "scipy.stats", "scipy.optimize", "ml_dtypes", *FRAMEWORKS)


@pytest.mark.parametrize(
    "statement",
    [
        "import dropblock_ref.testing",
        "from dropblock_ref import backends; backends.load('numpy')",
        "from dropblock_ref.testing import Backend, check_backend, assert_valid_output, assert_drop_rate, make_input",
    ],
)
def test_importing_the_oracle_imports_nothing_else(statement: str) -> None:
    code = f"import sys; {statement}; print(*[name for name in {FOREIGN!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_what_needs_hypothesis_or_pytest_is_imported_when_asked_for() -> None:
    code = (
        "import sys; import dropblock_ref.testing as t; t.strategies.cases(); "
        "assert 'hypothesis' in sys.modules and 'pytest' not in sys.modules; "
        "t.parametrize_with_checks; assert 'pytest' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_an_unknown_name_of_the_oracle_is_an_attribute_error() -> None:
    import dropblock_ref.testing as oracle

    with pytest.raises(AttributeError, match=r"'dropblock_ref\.testing' has no attribute 'nope'"):
        oracle.nope  # noqa: B018
    assert all(hasattr(oracle, name) for name in oracle.__all__)


def test_a_scale_of_one_over_keep_prob_has_no_drop_prob_of_one_and_no_apply() -> None:
    mine = backend(convention="tf2_dropblock")
    assert mine.is_for((5, 5), 3, 0.9)
    assert not mine.is_for((5, 5), 3, 1.0)
    assert backend(convention="assembled_cnn").is_for((5, 5), 3, 1.0)
    with pytest.raises(ValueError, match=r"apply must be None under convention 'tf2_dropblock', whose scale is"):
        backend(convention="tf2_dropblock", apply=forward)
