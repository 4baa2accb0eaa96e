"""The table of conventions, and what a convention may be."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, MutableMapping
from dataclasses import FrozenInstanceError, asdict, fields, replace
from fractions import Fraction
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dropblock_ref
from dropblock_ref import CONVENTIONS, PAPER, Convention
from dropblock_ref.convention import find_convention
from dropblock_ref.testing.strategies import conventions

from .examples import examples

FIELDS = (
    "name",
    "source",
    "gamma_rule",
    "seed_region",
    "even_extra_cell",
    "oversize_block",
    "shared_channels",
    "scale_over",
    "epsilon",
    "all_dropped",
    "shared_samples",
)
# From design.md section 4 and the table of facts about each package.
FACTS: dict[str, tuple[str, str, str, bool, float]] = {
    "paper": ("border_corrected", "fitting", "before", False, 0),
    "tpu": ("border_corrected", "fitting", "before", False, 0),
    "keras_cv": ("border_corrected", "fitting", "before", False, 0),
    "dropblock": ("uncorrected", "everywhere", "after", True, 0),
    "tutorial": ("last_axis", "everywhere", "refused", False, 0),
    "torchvision": ("border_corrected", "fitting", "refused", False, 1e-6),
    "timm": ("border_corrected", "everywhere", "before", True, 1e-7),
    "timm_1_0_22": ("border_corrected", "fitting", "refused", False, 1e-7),
    "bimm": ("border_corrected", "fitting", "before", False, 1e-7),
    "mmdetection": ("border_corrected", "fitting", "refused", False, 1e-6),
    "paddle_detection": ("border_corrected", "everywhere", "refused", False, 0),
    "assembled_cnn": ("border_corrected", "fitting", "before", False, 0),
    "metaoptnet": ("first_axis", "fitting", "before", False, 0),
    "timm_uncoupled": ("border_corrected", "everywhere", "before", False, 1e-7),
    "pytorch_toolbelt": ("uncorrected", "everywhere", "after", True, 0),
}


@pytest.mark.parametrize("name", FACTS)
def test_rows_state_the_facts_about_each_package(name: str) -> None:
    row = CONVENTIONS[name]
    assert (row.gamma_rule, row.seed_region, row.even_extra_cell, row.shared_channels, row.epsilon) == FACTS[name]
    assert row.name == name
    assert row.scale_over == "batch"
    assert row.source


def test_few_conventions_share_samples_or_do_not_count() -> None:
    assert {name for name, row in CONVENTIONS.items() if row.shared_samples} == {"bimm", "assembled_cnn"}
    assert {name for name, row in CONVENTIONS.items() if row.scale_over != "batch"} == {"tf2_dropblock"}


def test_all_published_rows_are_there() -> None:
    assert FACTS.keys() <= CONVENTIONS.keys()


def test_paper_is_the_default_and_is_algorithm_1() -> None:
    assert CONVENTIONS["paper"] is PAPER
    assert (PAPER.oversize_block, PAPER.scale_over, PAPER.all_dropped) == ("refused", "batch", "zeros")


def test_fields_are_the_pinned_ones_and_keyword_only() -> None:
    assert tuple(field.name for field in fields(Convention)) == FIELDS
    assert all(field.kw_only for field in fields(Convention))


def test_conventions_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        PAPER.epsilon = 1.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        cast("MutableMapping[str, Convention]", CONVENTIONS)["mine"] = PAPER


def pickled(kept: Any) -> Any:
    return pickle.loads(pickle.dumps(kept))  # noqa: S301


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled])
def test_the_table_and_its_rows_copy_and_pickle(again: Callable[[Any], Any]) -> None:
    assert again(CONVENTIONS) == CONVENTIONS
    assert list(again(CONVENTIONS)) == list(CONVENTIONS)
    for convention in CONVENTIONS.values():
        assert again(convention) == convention
        assert type(again(convention)) is Convention


def test_the_table_reads_as_a_mapping_does() -> None:
    assert dict(CONVENTIONS) == {name: CONVENTIONS[name] for name in CONVENTIONS}
    assert len(CONVENTIONS) == len(list(CONVENTIONS)) == len(set(CONVENTIONS))
    assert repr(CONVENTIONS) == repr(dict(CONVENTIONS))


@given(st.one_of(conventions(published=False), st.sampled_from(list(CONVENTIONS.values()))))
@examples(100)
def test_a_convention_goes_through_json_unchanged(convention: Convention) -> None:
    assert Convention(**json.loads(json.dumps(asdict(convention)))) == convention


def test_a_convention_of_numpy_scalars_goes_through_json_too() -> None:
    flags = {"shared_channels": np.bool_(True), "epsilon": np.array(0.5, dtype=np.float32), "name": np.str_("mine")}
    convention = replace(PAPER, **cast("Any", flags))
    assert type(convention.shared_channels) is bool
    assert type(convention.epsilon) is float
    assert Convention(**json.loads(json.dumps(asdict(convention)))) == convention


@pytest.mark.parametrize("name", FACTS)
def test_a_name_stands_for_its_row(name: str) -> None:
    assert find_convention(name) is CONVENTIONS[name]
    mask = np.ones((1, 1, 3, 3), dtype=np.bool_)
    mask[0, 0, 0, 0] = False
    assert dropblock_ref.scale(mask, convention=name) == 9 / (8 + FACTS[name][4])


@given(conventions(published=False))
@examples(200)
def test_a_convention_of_ones_own_is_taken_as_it_is(convention: Convention) -> None:
    assert find_convention(convention) is convention
    assert replace(convention) == convention
    assert hash(replace(convention)) == hash(convention)


@pytest.mark.parametrize("field", [f for f in FIELDS if f not in ("epsilon", "shared_channels", "shared_samples")])
@pytest.mark.parametrize("value", [None, 1, True, b"paper", ["batch"]])
def test_a_field_of_the_wrong_type_is_refused(field: str, value: Any) -> None:
    with pytest.raises(TypeError, match=field):
        replace(PAPER, **{field: value})


@pytest.mark.parametrize("field", FIELDS[2:6] + FIELDS[7:8] + FIELDS[9:10])
def test_a_field_outside_its_choices_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=rf"{field} must be one of .*'sideways'"):
        replace(PAPER, **{field: cast("Any", "sideways")})


@pytest.mark.parametrize("value", [0, 1, None, "True", np.ones(1, dtype=np.bool_)])
def test_shared_channels_must_be_a_flag(value: Any) -> None:
    with pytest.raises(TypeError, match="shared_channels"):
        replace(PAPER, shared_channels=value)


@pytest.mark.parametrize("value", [True, "0", None, 1j, [0.0], np.zeros(1)])
def test_epsilon_must_be_a_real_number(value: Any) -> None:
    with pytest.raises(TypeError, match="epsilon"):
        replace(PAPER, epsilon=value)


@pytest.mark.parametrize("value", [-1e-9, float("nan"), float("inf"), -1, 10**400, Fraction(10**400)])
def test_epsilon_must_be_finite_and_not_negative(value: Any) -> None:
    with pytest.raises(ValueError, match="epsilon"):
        replace(PAPER, epsilon=value)


@pytest.mark.parametrize("epsilon", [Fraction(1, 2), 10**30, np.longdouble(0.5), np.float32(0.5), 1])
@pytest.mark.parametrize("scale_over", ["batch", "sample", "channel"])
def test_any_real_epsilon_gives_a_float64_scale(epsilon: Any, scale_over: str) -> None:
    convention = replace(PAPER, epsilon=epsilon, scale_over=scale_over)
    scale = np.asarray(dropblock_ref.scale(np.ones((2, 1, 3, 3), dtype=np.bool_), convention=convention))
    count = 18 if scale_over == "batch" else 9
    assert scale.dtype == np.float64
    assert np.all(scale == count / (count + float(epsilon)))


@pytest.mark.parametrize(
    ("gamma_rule", "seed_region"),
    [("border_corrected", "everywhere"), ("calibrated", "everywhere"), ("uncorrected", "fitting")],
)
def test_unclipped_blocks_need_a_gamma_and_a_region_that_allow_them(gamma_rule: str, seed_region: str) -> None:
    with pytest.raises(ValueError, match=r"oversize_block 'unclipped' needs"):
        replace(PAPER, oversize_block="unclipped", gamma_rule=gamma_rule, seed_region=seed_region)
