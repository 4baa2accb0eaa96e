"""identify: the right convention for every correct backend, the right difference for planted bugs.

The backends' streams and the seeds are fixed, so nothing here is left to chance; over streams, each answer of identify
is wrong with a probability of at most 1e-6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from dropblock_ref import CONVENTIONS, PAPER, Convention, drop_block, gamma
from dropblock_ref.testing import Answer, Backend, Identification, identify
from tests.mutants.correct import DropBlock, make_backend
from tests.mutants.mutant import Mutant, in_sample
from tests.mutants.mutants import ALL, MUTANTS

FIELDS = tuple(one.name for one in fields(Convention))[2:]
# Rows that differ in nothing that a black box shows.
TIES = {"keras_cv": ("tpu", "keras_cv"), "dropblock": ("dropblock", "pytorch_toolbelt")}


@cache
def identified(convention: Convention | str, ndim: int = 2, data_format: str = "channels_first") -> Identification:
    """Of the correct backend of a convention, which several tests look at."""
    return identify(make_backend(convention, data_format, (ndim,), ("float32",)))


def answers_of(found: Identification) -> dict[str, Answer]:
    return {answer.field: answer for answer in found.answers}


# The other rows are those of implementations in tests/published.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["paper", "keras_cv", "dropblock", "torchvision", "timm", "timm_uncoupled"])
def test_a_correct_backend_is_recognised(name: str) -> None:
    expect_recognised(identified(name), name, (28, 28))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dropblock", "bimm"])
def test_a_correct_backend_of_volumes_is_recognised(name: str) -> None:
    expect_recognised(identified(name, 3, "channels_last"), name, (14, 14, 14))


def expect_recognised(found: Identification, name: str, shape: tuple[int, ...]) -> None:
    assert found.nearest == TIES.get(name, (name,))
    assert found.contradictions[name] == ()
    assert found.gamma is not None
    estimate, low, high = found.gamma
    assert low < gamma(0.1, 7, shape, convention=name) < high
    assert low < estimate < high
    assert found.unexplained == ()


@pytest.mark.slow
def test_the_calibrated_convention_is_recognised() -> None:
    streams = [np.random.default_rng(0)]

    def forward(x: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None) -> Any:
        if seed is not None:
            streams[0] = np.random.default_rng(seed)
        return drop_block(x, drop_prob, block_size, rng=streams[0], training=training, convention="calibrated")

    assert identify(Backend(name="mine", forward=forward)).nearest == ("calibrated",)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        {"scale_over": "sample"},
        {"scale_over": "channel", "all_dropped": "nan", "oversize_block": "clip_to_smallest_axis"},
        {"scale_over": "none", "even_extra_cell": "after", "seed_region": "everywhere"},
    ],
)
def test_a_convention_of_ones_own_is_described_field_by_field(changed: dict[str, Any]) -> None:
    own = replace(PAPER, name=f"own {' '.join(changed)}", **changed)
    found = identified(own)
    answers = answers_of(found)
    for field in FIELDS:
        assert getattr(own, field) in answers[field].values, answers[field]
    for field, value in changed.items():
        assert answers[field].values == (value,)
        assert any(text.startswith(f"{field} ") and "; the paper's is " in text for text in found.differences)


@pytest.mark.slow
def test_what_cannot_be_observed_is_said_to_be_so() -> None:
    odd_only = replace(
        make_backend("paper", "channels_first", (2,), ("float32",)),
        accepts=lambda spatial_shape, block_size: block_size % 2 == 1 and block_size <= min(spatial_shape),
    )
    answers = answers_of(identify(odd_only))
    for field in ("even_extra_cell", "oversize_block"):
        assert answers[field].text.startswith("cannot be observed: the backend says that it is not for")
        assert not answers[field].observed
        assert getattr(PAPER, field) in answers[field].values
    even = answers_of(identified("paper"))["even_extra_cell"]
    assert even.text == "cannot be observed: where blocks must fit, both anchors give the same masks"
    assert even.values == ("before", "after")


def test_an_anchor_that_differs_between_the_axes_is_seen() -> None:
    correct = make_backend("timm_uncoupled", "channels_first", (2,), ("float32",))

    def forward(x: Any, *arguments: Any, **options: Any) -> Any:
        return correct.forward(x[..., ::-1], *arguments, **options)[..., ::-1]

    found = identify(Backend(name="mine", forward=forward))
    answers = answers_of(found)
    assert answers["even_extra_cell"].values == ()
    assert "at -2 to 12 on axis 0 (blocks fit at 0 to 11), at -1 to 13 on axis 1" in answers["even_extra_cell"].text
    assert found.contradictions["timm_uncoupled"] == ("even_extra_cell",)


@pytest.mark.slow
def test_the_words_of_a_wrong_rate_say_how_much_and_why() -> None:
    found = identified("timm_uncoupled")
    # The exact fractions are 0.1329 and 0.0939, and their ratio is 1.416.
    assert found.differences[-1] == (
        "drops 0.133 of the cells at drop_prob 0.1 on 28x28 with block 7, 42% more than the paper's 0.094: every cell "
        "is eligible while gamma assumes that blocks fit"
    )
    text = str(found)
    assert text.startswith("correct timm_uncoupled does what convention 'timm_uncoupled' says\n  gamma is 0.0033")
    assert "differences from the paper:\n" in text
    found = identified("paper")
    assert "no difference from the paper" in str(found)
    assert repr(found) == str(found)


def test_a_backend_that_refuses_everything_is_refused_in_its_own_words() -> None:
    def forward(*_: Any, **__: Any) -> Any:
        raise ImportError("no module named 'framework'")

    with pytest.raises(ValueError, match="'mute' gives no output that can be looked at: ImportError: no module"):
        identify(Backend(name="mute", forward=forward))


def test_a_backend_that_is_for_nothing_says_so() -> None:
    with pytest.raises(ValueError, match="it says that it is for none of the settings that identify tries"):
        identify(replace(make_backend("paper"), accepts=lambda *_: False))


def test_an_output_of_another_shape_is_said_to_be_one() -> None:
    with pytest.raises(ValueError, match=r"the output has shape \(4, 15, 15\); expected that of x, \(4, 1, 15, 15\)"):
        identify(simple(lambda x: x[:, 0]))


def restricted(convention: str, takes: Callable[..., bool], raised: Exception) -> Backend:
    """The correct backend of a convention, which raises that where it does not take x, drop_prob and block_size."""
    correct = make_backend(convention, "channels_first", (2,), ("float32",))

    def forward(x: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None) -> Any:
        if not takes(x, drop_prob, block_size):
            raise raised
        return correct.forward(x, drop_prob, block_size, training=training, seed=seed)

    return Backend(name="mine", forward=forward)


@pytest.mark.parametrize(
    ("takes", "notes"),
    [
        (lambda x, *_: len(x) == 1, ["takes one sample at a time only"]),
        (lambda x, *_: x.shape[1] >= 4, ["takes no single channel; 4 are answered"]),
        (lambda x, *_: x.shape[:2] == (1, 1), ["takes one sample at a time only", "takes one channel only"]),
    ],
)
def test_one_sample_and_one_or_more_channels_are_tried(takes: Callable[..., bool], notes: list[str]) -> None:
    found = identify(restricted("timm_uncoupled", takes, RuntimeError("not so")))
    assert list(found.unexplained) == notes
    assert "timm_uncoupled" in found.nearest
    assert found.contradictions["timm_uncoupled"] == ()


@pytest.mark.parametrize(
    "takes",
    [
        lambda x, _, block_size: (x.shape[2:], block_size) == ((28, 28), 7),
        lambda _, __, block_size: block_size == 1,
        lambda x, drop_prob, _: x.shape[-1] % 8 == 0 and drop_prob <= 0.2,
    ],
)
def test_a_refusal_of_nearly_everything_is_no_rule_for_even_and_larger_blocks(takes: Callable[..., bool]) -> None:
    found = identify(restricted("timm", takes, ValueError("not so")))
    assert "timm" in found.nearest
    assert found.contradictions["timm"] == ()
    for field in ("even_extra_cell", "oversize_block"):
        assert not answers_of(found)[field].observed
        assert "ValueError: not so" in answers_of(found)[field].text


def test_even_blocks_of_which_one_is_refused_have_no_anchor() -> None:
    even = answers_of(identify(restricted("timm", lambda _, __, b: b != 2, ValueError("not so"))))["even_extra_cell"]
    assert (even.values, even.text) == ((), "block 2 is refused, 15x15 with block 4 is not: ValueError: not so")


def test_a_backend_that_stops_is_described_as_far_as_it_was_seen() -> None:
    calls = [0]

    def takes(*_: Any) -> bool:
        calls[0] += 1
        return calls[0] < 120

    found = identify(restricted("paper", takes, MemoryError("full")))
    assert found.unexplained[0] == "gives no output where it did before: MemoryError: full"
    assert answers_of(found)["shared_channels"].values == (False,)
    assert answers_of(found)["gamma_rule"].text == "cannot be observed: the backend gives no output where it did before"


def test_larger_blocks_whose_output_has_another_shape_follow_no_rule() -> None:
    correct = make_backend("paper", "channels_first", (2,), ("float32",))

    def forward(x: Any, drop_prob: Any, block_size: Any, **how: Any) -> Any:
        if block_size > min(x.shape[2:]):
            return x[..., :1]
        return correct.forward(x, drop_prob, block_size, **how)

    oversize = answers_of(identify(Backend(name="mine", forward=forward)))["oversize_block"]
    assert oversize.values == ()
    assert oversize.text.startswith("none of the published rules: the output has shape ")


@pytest.mark.parametrize("share", [1e-3, 0.02])
def test_of_a_backend_that_hardly_drops_little_is_said(share: float) -> None:
    correct = make_backend("timm", "channels_first", (2,), ("float32",))

    def forward(x: Any, drop_prob: Any, block_size: Any, **how: Any) -> Any:
        return correct.forward(x, drop_prob * share, block_size, **how)

    answers = answers_of(identify(Backend(name="mine", forward=forward)))
    for field in ("seed_region", "even_extra_cell", "shared_channels", "scale_over", "epsilon"):
        assert not answers[field].observed, answers[field]


def test_a_backend_that_drops_nothing_on_large_maps_has_no_gamma_rule() -> None:
    correct = make_backend("paper", "channels_first", (2,), ("float32",))

    def forward(x: Any, drop_prob: Any, block_size: Any, **how: Any) -> Any:
        return x.copy() if x.shape[2] > 20 else correct.forward(x, drop_prob, block_size, **how)

    found = identify(Backend(name="mine", forward=forward))
    assert answers_of(found)["gamma_rule"].values == ()
    assert found.gamma is not None
    assert found.gamma[0] == 0


def test_answers_that_make_no_convention_together_are_told_each_for_itself() -> None:
    own = replace(CONVENTIONS["dropblock"], name="own", gamma_rule="border_corrected", oversize_block="refused")
    fitting = replace(
        make_backend(own, "channels_first", (2,), ("float32",)),
        accepts=lambda spatial_shape, block_size: max(np.ravel(block_size)) <= min(spatial_shape),
    )
    found = identify(fitting)
    assert found.nearest == ("dropblock", "pytorch_toolbelt")  # whose larger blocks are left as they are
    assert found.contradictions["dropblock"] == ("gamma_rule",)


def test_a_backend_is_recognised_without_random_seeds_and_whatever_convention_it_declares() -> None:
    timm = make_backend("timm", "channels_first", (2,), ("float16",))
    found = identify(replace(timm, convention="torchvision", reseeds=False))
    assert (found.nearest, found.unexplained) == (("timm",), ())


def test_what_is_refused_is_not_told_by_the_words_of_a_message_and_leaves_the_rest() -> None:
    correct = make_backend("torchvision", "channels_first", (2,), ("float32",))

    def forward(x: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None) -> Any:
        if block_size % 2 == 0 or block_size > min(x.shape[2:]) or drop_prob > 0.8:
            raise ValueError("the backend says that it is not for it")
        y = correct.forward(x, drop_prob, block_size, training=training, seed=seed)
        return y[0] if x.shape[2:] == (2, 2) else y

    found = identify(Backend(name="mine", forward=forward))
    answers = answers_of(found)
    for field in ("even_extra_cell", "oversize_block"):
        assert answers[field].values == ("refused",)
        assert answers[field].text.startswith("refused: ValueError: the backend says that it is not for it")
    assert answers["all_dropped"].text == "cannot be observed: no output with every cell dropped was had"
    assert answers["epsilon"].text == "cannot be observed: no draws with few kept cells were had"
    assert found.nearest == ("mmdetection",)


# The methods of the correct backend, and the fields of which a bug in them may make something else. All other fields
# must be told right, or not at all.
RATES = {"gamma_rule", "seed_region", "even_extra_cell", "oversize_block"}
SHARED = {"shared_channels", "shared_samples"}
SCALE = {"scale_over", "epsilon", "all_dropped"}
MAY_CHANGE = {
    "gamma": {"gamma_rule", "oversize_block"},
    "resolve_block": {"even_extra_cell", "oversize_block"},
    "check_block": {"even_extra_cell"},
    "eligible": RATES - {"gamma_rule"},
    "bernoulli": {"gamma_rule", "seed_region"} | SHARED,
    "draw": SHARED,
    "mask_shape": SHARED,
    "dilate": {"seed_region", "even_extra_cell"},
    "count_scale": SCALE,
    "ratio": SCALE,
    "sample": SCALE,
    "multiply": SCALE | {"shared_channels"},
}
# What some bugs make of a field: another value of it, or none that it has.
NONE = object()
MADE: dict[str, tuple[str, Any]] = {
    "no_border_factor": ("gamma_rule", "uncorrected"),
    "unwanted_border_factor": ("gamma_rule", "border_corrected"),
    "no_border_factor_shared": ("gamma_rule", "uncorrected"),
    "last_axis_for_all": ("gamma_rule", "last_axis"),
    "no_border_factor_in_depth": ("gamma_rule", NONE),
    "keep_prob_for_drop_prob": ("gamma_rule", NONE),
    "block_counted_once": ("gamma_rule", NONE),
    "block_counted_twice": ("gamma_rule", NONE),
    "drop_prob_as_gamma": ("gamma_rule", NONE),
    "five_percent_high": ("gamma_rule", NONE),
    "five_percent_low": ("gamma_rule", NONE),
    "gamma_of_unclipped_block": ("oversize_block", NONE),
    "everywhere_for_fitting": ("seed_region", "everywhere"),
    "fitting_for_everywhere": ("seed_region", "fitting"),
    "last_row_missing_shared": ("seed_region", NONE),
    "extra_row_before": ("seed_region", NONE),
    "height_bounded_by_width": ("seed_region", NONE),
    "seed_at_corner": ("seed_region", NONE),
    "wrap_around": ("seed_region", NONE),
    "even_rounded_down": ("even_extra_cell", NONE),
    "even_rounded_up": ("even_extra_cell", NONE),
    "even_anchor_other_side_shared": ("even_extra_cell", "before"),
    "shared_over_channels": ("shared_channels", True),
    "own_mask_per_channel": ("shared_channels", False),
    "half_of_channels_copied": ("shared_channels", NONE),
    "shared_over_samples": ("shared_samples", True),
    "only_first_sample": ("shared_samples", NONE),
    "no_scale": ("scale_over", "none"),
    "reciprocal_of_keep_prob": ("scale_over", "keep_prob"),
    "per_sample": ("scale_over", "sample"),
    "per_channel": ("scale_over", "channel"),
    "per_batch": ("scale_over", "batch"),
    "inverted": ("scale_over", NONE),
    "squared": ("scale_over", NONE),
    "large_epsilon": ("epsilon", NONE),
    "all_dropped_gives_nan": ("all_dropped", "nan"),
    "oversize_clipped": ("oversize_block", "clip_each_axis"),
    "oversize_refused": ("oversize_block", "refused"),
    "oversize_clipped_to_smallest": ("oversize_block", "clip_to_smallest_axis"),
}
# Each takes a second or three: some in every run, all of them with DROPBLOCK_REF_LONG set.
ALWAYS = {
    "all_or_nothing",
    "even_rounded_up",
    "five_percent_high",
    "fixed_number_of_seeds",
    "frozen_mask",
    "half_of_channels_copied",
    "height_bounded_by_width",
    "one_block_per_row",
}
SOME = [one for one in ALL if not one.reported and in_sample(one.name, 40)]


def false_statements(mutant: Mutant, found: Identification) -> list[str]:
    """What is said of a bug that is not so."""
    implementation = mutant.make().forward.__self__  # type: ignore[attr-defined]
    changed = {
        field
        for kind in type(implementation).__mro__
        if not issubclass(DropBlock, kind) and kind.__module__ != DropBlock.__module__
        for method in vars(kind)
        for field in MAY_CHANGE.get(method, ())
    }
    told = answers_of(found)
    wrong = [
        f"{field} {told[field].text}"
        for field in set(told) - changed
        if getattr(implementation.rules, field) not in told[field].values
    ]
    field, value = MADE.get(mutant.name, ("", NONE))
    if field and (
        value not in told[field].values if value is not NONE else told[field].observed and told[field].values
    ):
        wrong.append(f"{field} {told[field].text}")
    return wrong


@pytest.mark.parametrize(
    "mutant",
    [
        *(pytest.param(one, id=one.name) for one in ALL if one.name in ALWAYS),
        *(pytest.param(one, id=one.name, marks=pytest.mark.slow) for one in SOME if one.name not in ALWAYS),
    ],
)
def test_of_a_planted_bug_nothing_false_is_said_and_it_is_named(mutant: Mutant) -> None:
    found = identify(mutant.make())
    assert false_statements(mutant, found) == [], mutant.bug
    if mutant in MUTANTS and mutant.stage != "replay":
        assert found.unexplained or found.contradictions[mutant.make().rules.name], found


def test_the_bugs_that_are_known_to_change_a_field_exist() -> None:
    assert set(MADE) <= {one.name for one in ALL}


def simple(change: Any) -> Backend:
    """A black box that does `change` to x in training, and knows no block, seed or convention."""

    def forward(x: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None) -> Any:
        del drop_prob, block_size, seed
        return change(x) if training else x.copy()

    return Backend(name="simple", forward=forward)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (np.copy, "drops nothing"),
        (np.zeros_like, "drops everything"),
        (
            lambda x: np.where(np.indices(x.shape)[-1] % 3 == 0, 0.1, x).astype(x.dtype),
            "writes what is neither 0 nor x",
        ),
        (lambda x: np.where(x > 0, np.inf, 0).astype(x.dtype), "writes what is neither 0 nor x times one factor"),
    ],
)
def test_where_no_masks_are_seen_no_convention_is_told(change: Any, what: str) -> None:
    found = identify(simple(change))
    assert found.gamma is None
    assert found.nearest == ()
    assert str(found).startswith("simple: no convention can be told, because nothing was seen of its masks\n")
    assert found.unexplained[0].startswith(what)
    assert not any(answer.observed for answer in found.answers)
    assert all(answer.text.startswith("cannot be observed: ") for answer in found.answers)


def test_a_backend_for_square_maps_only_is_identified() -> None:
    square = replace(
        make_backend("paper", "channels_first", (2,), ("float32",)),
        accepts=lambda spatial_shape, block_size: spatial_shape[0] == spatial_shape[1],  # noqa: ARG005
    )
    found = identify(square)
    # On square maps alone, the last axis is like any other.
    assert answers_of(found)["gamma_rule"].values == ("border_corrected", "last_axis", "first_axis")
    assert found.nearest == ("paper",)


@pytest.mark.slow
def test_the_text_names_ties_and_what_contradicts_the_nearest() -> None:
    ties = str(identified("dropblock"))
    assert "does what convention 'dropblock' or 'pytorch_toolbelt' says\n" in ties
    assert "\n  (those joined by 'or' differ in nothing that was seen)\n" in ties
    own = replace(PAPER, name="own scale_over", scale_over="sample")
    text = str(identified(own))
    assert text.startswith("correct own scale_over is nearest to convention 'paper' but for scale_over\n")


def test_ties_are_grouped_by_what_they_contradict() -> None:
    answers = (Answer("seed_region", (), "neither"), Answer("scale_over", ("sample",), "sample"))
    contradictions: dict[str, tuple[str, ...]] = {
        "paper": ("scale_over",),
        "tpu": ("scale_over",),
        "timm": ("seed_region",),
    }
    found = Identification("own", tuple(contradictions), (), None, "", answers, contradictions)
    told = "own is nearest to convention 'paper' or 'tpu' but for scale_over; to 'timm' but for seed_region\n"
    assert str(found).startswith(f"{told}  (those joined by 'or'")


@pytest.mark.slow
def test_fields_that_decide_which_cells_drop_weigh_more_than_the_epsilon() -> None:
    own = replace(PAPER, name="own", seed_region="everywhere", oversize_block="clip_each_axis", epsilon=0.5)
    assert identify(make_backend(own, "channels_first", (2,), ("float32",))).nearest == ("timm_uncoupled",)
