"""The correct backend is correct, and every mutant is not: shown without the oracle.

Masks and values are compared with nested loops over cells, and with `dropblock_ref.trace` for injected seeds.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import MethodType
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import dropblock_ref
from dropblock_ref import CONVENTIONS, PAPER, Convention
from dropblock_ref.testing.backend import Backend

from .correct import ALL_DTYPES, Array, DropBlock, make_backend
from .mutant import Mutant, correct_twin
from .mutants import MUTANTS

LAYOUTS = ("channels_first", "channels_last")
DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}
# Every value of every field that no published convention has.
OWN = (
    replace(PAPER, name="own_1", scale_over="sample"),
    replace(PAPER, name="own_2", scale_over="channel", all_dropped="nan"),
    replace(PAPER, name="own_3", scale_over="none", even_extra_cell="after"),
    replace(PAPER, name="own_4", scale_over="sample", shared_channels=True, epsilon=0.5),
    replace(PAPER, name="own_5", shared_samples=True),
    replace(
        PAPER, name="own_6", gamma_rule="last_axis", seed_region="everywhere", oversize_block="clip_to_smallest_axis"
    ),
)
ALL_CONVENTIONS = (*(row for row in CONVENTIONS.values() if row.gamma_rule != "calibrated"), *OWN)
BLOCKS: tuple[tuple[Any, tuple[int, ...]], ...] = (
    (1, (4, 5)),
    (2, (5, 4)),
    (3, (5, 7)),
    ((3, 1), (4, 6)),
    ((2, 4), (4, 6)),
    (5, (5, 5)),
    (4, (4, 4)),
    (1, (1, 1)),
    (6, (5, 4)),
    (9, (3, 4)),
    (2, (3, 4, 3)),
    ((1, 3, 2), (4, 3, 5)),
    (3, (3, 3, 3)),
    (4, (3, 5, 4)),
)


def array_of(shape: tuple[int, ...], data_format: str, dtype: str, seed: int = 0) -> Array:
    """An x without zeros; `shape` is (N, C, *spatial)."""
    if data_format == "channels_last":
        shape = (shape[0], *shape[2:], shape[1])
    rng = np.random.default_rng(seed)
    return (rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 2, shape)).astype(DTYPES[dtype])


def ulps_between(a: Array, b: Array) -> float:
    """The largest distance of two arrays of one dtype, in units of the last place; NaN equals NaN."""
    bits = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}[a.dtype.name]
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    if not np.array_equal(np.isnan(a64), np.isnan(b64)):
        return math.inf
    distance = np.abs(np.nan_to_num(a64) - np.nan_to_num(b64))
    with np.errstate(divide="ignore"):
        exponent = np.floor(np.log2(np.abs(np.nan_to_num(b64))))
    unit = np.where(np.isfinite(exponent), 2.0 ** (np.maximum(exponent, -1000) - bits + 1), 1.0)
    return float(np.max(distance / unit, initial=0.0))


def accepted(block_size: Any, spatial_shape: tuple[int, ...], convention: Convention) -> bool:
    try:
        dropblock_ref.gamma(0.1, block_size, spatial_shape, convention=convention)
    except ValueError:
        return False
    return True


def cases() -> Iterator[tuple[Convention, str, Any, tuple[int, ...]]]:
    for convention, data_format, (block_size, spatial_shape) in itertools.product(ALL_CONVENTIONS, LAYOUTS, BLOCKS):
        if accepted(block_size, spatial_shape, convention):
            yield convention, data_format, block_size, spatial_shape


# The correct backend.


def dropped_by_loops(seeds: Array, block_size: Any, convention: Convention) -> Array:
    """Cell by cell and seed by seed; `seeds` is (N, C, *spatial) and the block is not clipped."""
    sides = block_size if isinstance(block_size, tuple) else (block_size,) * (seeds.ndim - 2)
    dropped = np.zeros(seeds.shape, dtype=np.bool_)
    for n, c, *seed in np.argwhere(seeds):
        for cell in np.ndindex(seeds.shape[2:]):
            inside = True
            for u, s, b in zip(cell, seed, sides, strict=True):
                first = s - b // 2 if convention.even_extra_cell != "after" else s - (b - 1) // 2
                inside = inside and first <= u < first + b
            if inside:
                dropped[(n, c, *cell)] = True
    return dropped


@pytest.mark.parametrize("convention", ALL_CONVENTIONS, ids=lambda row: row.name)
@pytest.mark.parametrize("data_format", LAYOUTS)
def test_the_output_is_that_of_nested_loops(convention: Convention, data_format: str) -> None:
    backend = make_backend(convention, data_format)
    assert backend.draw_seeds is not None
    checked = 0
    for block_size, spatial_shape in BLOCKS:
        sides = block_size if isinstance(block_size, tuple) else (block_size,) * len(spatial_shape)
        clipped = any(b > S for b, S in zip(sides, spatial_shape, strict=True))
        if not accepted(block_size, spatial_shape, convention) or (
            clipped and convention.oversize_block != "unclipped"
        ):
            continue
        x = array_of((2, 3, *spatial_shape), data_format, "float64")
        y = backend.forward(x, 0.6, block_size, training=True, seed=5)
        seeds = backend.draw_seeds(x.shape, "float64", 0.6, block_size, seed=5)
        if data_format == "channels_last":
            x, y, seeds = (np.moveaxis(array, -1, 1) for array in (x, y, seeds))
        dropped = dropped_by_loops(seeds, block_size, convention)
        if convention.seed_region == "fitting":
            one_block = [dropped_by_loops(one, block_size, convention).sum() for one in each_seed(seeds)]
            assert all(cells == math.prod(sides) for cells in one_block)
        counted = {"batch": (0, 1), "sample": (1,)}.get(convention.scale_over, ())
        axes = (*counted, *range(2, x.ndim))
        kept = np.sum(~dropped, axis=axes, keepdims=True)
        count = math.prod(dropped.shape[axis] for axis in axes)
        with np.errstate(all="ignore"):
            scale = np.where(kept == 0, 0.0 if convention.all_dropped == "zeros" else np.nan, count / kept)
            if convention.epsilon:
                scale = np.where(kept == 0, scale, count / (kept + convention.epsilon))
        scale = np.asarray({"none": 1.0, "keep_prob": 1 / (1 - 0.6)}.get(convention.scale_over, scale))
        assert ulps_between(y, x * ~dropped * scale) <= 2
        checked += 1
    assert checked >= 4


def each_seed(seeds: Array) -> Iterator[Array]:
    """The seeds one at a time."""
    for index in np.argwhere(seeds):
        one = np.zeros_like(seeds)
        one[tuple(index)] = True
        yield one


@pytest.mark.parametrize("dtype", ALL_DTYPES)
def test_the_output_and_the_gradient_are_those_of_the_reference_for_the_same_seeds(dtype: str) -> None:
    masks = 0
    for convention, data_format, block_size, spatial_shape in cases():
        backend = make_backend(convention, data_format)
        assert backend.draw_seeds is not None
        assert (backend.apply is None) == (convention.scale_over == "keep_prob")
        assert backend.vjp is not None
        x = array_of((3, 2, *spatial_shape), data_format, dtype)
        cotangent = array_of((3, 2, *spatial_shape), data_format, dtype, seed=1)
        for drop_prob in (0.3, 1.0):
            seeds = backend.draw_seeds(x.shape, dtype, drop_prob, block_size, seed=masks)
            expected = dropblock_ref.trace(
                x, drop_prob, block_size, seeds=seeds, data_format=data_format, convention=convention
            )
            outputs = [backend.forward(x, drop_prob, block_size, training=True, seed=masks)]
            outputs += [] if backend.apply is None else [backend.apply(x, seeds, block_size)]
            y, x_bar = backend.vjp(x, cotangent, drop_prob, block_size, training=True, seed=masks)
            for output in (*outputs, y):
                assert output.dtype == x.dtype
                assert output.shape == x.shape
                if np.all(np.isfinite(output.astype(np.float64))) and output.any():
                    assert np.array_equal(output != 0, np.broadcast_to(expected.keep_mask, x.shape))
                assert ulps_between(output, expected.output) <= 2
            assert ulps_between(x_bar, dropblock_ref.vjp(cotangent, expected)) <= 2
            masks += 1
    assert masks > 400


def test_it_refuses_the_blocks_that_the_reference_refuses() -> None:
    refused = 0
    for convention, (block_size, spatial_shape) in itertools.product(ALL_CONVENTIONS, BLOCKS):
        if not accepted(block_size, spatial_shape, convention):
            x = array_of((1, 1, *spatial_shape), "channels_first", "float32")
            for training in (True, False):
                with pytest.raises(ValueError, match="block_size"):
                    make_backend(convention).forward(x, 0.1, block_size, training=training, seed=0)
            refused += 1
    assert refused > 20


def test_gamma_is_that_of_the_reference() -> None:
    for convention, _, block_size, spatial_shape in cases():
        backend = DropBlock(convention)
        for drop_prob in (0.01, 0.3, 1.0):
            p, block = backend.judge((1, 1, *spatial_shape), drop_prob, block_size)
            expected = dropblock_ref.gamma(drop_prob, block_size, spatial_shape, convention=convention)
            assert backend.gamma(p, block, spatial_shape) == pytest.approx(expected, rel=1e-14)


def test_every_eligible_cell_is_a_seed_with_probability_gamma() -> None:
    for convention in ("paper", "timm", "dropblock"):
        backend = make_backend(convention)
        assert backend.draw_seeds is not None
        seeds = backend.draw_seeds((100_000, 1, 5, 6), "float32", 0.4, 3, seed=0)
        gamma = dropblock_ref.gamma(0.4, 3, (5, 6), convention=convention)
        eligible = dropblock_ref.valid_seeds(3, (5, 6), convention=convention)
        rates = seeds.mean(axis=(0, 1))
        assert not rates[~eligible].any()
        # Six standard deviations; the seed is fixed, so this is no test that may fail by chance.
        assert np.all(np.abs(rates[eligible] - gamma) < 6 * math.sqrt(gamma * (1 - gamma) / 100_000))
        together = np.mean(seeds[:, 0, 2, 2] & seeds[:, 0, 2, 3])
        assert abs(together - gamma**2) < 6 * gamma / math.sqrt(100_000)


@pytest.mark.parametrize("dtype", ALL_DTYPES)
@pytest.mark.parametrize("data_format", LAYOUTS)
def test_evaluation_and_drop_prob_zero_give_a_copy(dtype: str, data_format: str) -> None:
    backend = make_backend("paper", data_format)
    assert backend.vjp is not None
    for spatial_shape in ((5, 6), (3, 4, 5)):
        x = array_of((2, 3, *spatial_shape), data_format, dtype)
        for drop_prob, training in ((0.5, False), (0.0, True)):
            for y in backend.vjp(x, x, drop_prob, 3, training=training, seed=0):
                assert y.tobytes() == x.tobytes()
                assert y.dtype == x.dtype
                assert not np.shares_memory(x, y)
        given = x.copy()
        backend.forward(given, 0.9, 3, training=True, seed=0)
        assert given.tobytes() == x.tobytes()


def test_the_memory_order_of_the_input_has_no_influence() -> None:
    backend = make_backend()
    large = array_of((4, 4, 12, 12), "channels_first", "float32")
    for x in (large[::2, ::2, ::2, ::2], large[::-1, :, ::-1], large.transpose(1, 0, 3, 2), np.asfortranarray(large)):
        y = backend.forward(x, 0.4, 3, training=True, seed=0)
        assert np.array_equal(y, backend.forward(np.ascontiguousarray(x), 0.4, 3, training=True, seed=0))


def test_empty_batches_and_empty_masks_give_no_warning() -> None:
    for convention, data_format in itertools.product(ALL_CONVENTIONS, LAYOUTS):
        backend = make_backend(convention, data_format)
        for training in (True, False):
            x = array_of((0, 3, 5, 5), data_format, "float16")
            y = backend.forward(x, 0.5, 3, training=training, seed=0)
            assert (y.shape, y.dtype) == (x.shape, x.dtype)
        x = array_of((2, 2, 3, 3), data_format, "float32")
        y = backend.forward(x, 1.0, 1, training=True, seed=0)
        assert np.isnan(y).all() if convention.all_dropped == "nan" and convention.scale_over != "none" else not y.any()


def test_a_seed_repeats_and_without_one_the_stream_goes_on() -> None:
    backend = make_backend()
    x = array_of((2, 2, 20, 20), "channels_first", "float32")
    first, again, *others = (
        backend.forward(x, 0.3, 3, training=True, seed=seed).tobytes() for seed in (1, 1, None, None, None, 2)
    )
    assert first == again
    assert len({first, *others}) == 5


@pytest.mark.parametrize(
    ("drop_prob", "block_size", "error"),
    [
        (1.5, 3, ValueError),
        (-0.1, 3, ValueError),
        (math.nan, 3, ValueError),
        ("0.1", 3, TypeError),
        (True, 3, TypeError),
        (0.1, 0, ValueError),
        (0.1, -1, ValueError),
        (0.1, 2.0, TypeError),
        (0.1, True, TypeError),
        (0.1, "3", TypeError),
        (0.1, (3,), ValueError),
        (0.1, (3, 3, 3), ValueError),
        (0.1, (3, 0), ValueError),
        (0.1, 9, ValueError),
    ],
)
def test_bad_arguments_are_refused(drop_prob: Any, block_size: Any, error: type[Exception]) -> None:
    x = array_of((1, 1, 8, 8), "channels_first", "float32")
    for training in (True, False):
        with pytest.raises(error, match=r"drop_prob|block_size"):
            make_backend().forward(x, drop_prob, block_size, training=training, seed=0)


def test_inputs_of_wrong_rank_or_dtype_are_refused() -> None:
    forward = make_backend().forward
    for shape in ((3,), (3, 8, 8), (1, 1, 1, 3, 8, 8), (1, 1, 0, 8)):
        with pytest.raises(ValueError, match="x must have"):
            forward(np.ones(shape, dtype=np.float32), 0.1, 3, training=True, seed=0)
    with pytest.raises(TypeError, match="x must be"):
        forward(np.ones((1, 1, 8, 8), dtype=np.int64), 0.1, 3, training=True, seed=0)
    with pytest.raises(ValueError, match="calibrated"):
        make_backend(replace(PAPER, gamma_rule="calibrated"))


def test_a_black_box_offers_forward_only() -> None:
    backend = make_backend(with_vjp=False, with_draw_seeds=False, with_apply=False)
    assert backend.vjp is None
    assert backend.draw_seeds is None
    assert backend.apply is None


def test_it_is_fast_enough_to_be_drawn_from_many_times() -> None:
    backend = make_backend()
    x = array_of((64, 8, 28, 28), "channels_first", "float32")
    times = []
    for _ in range(5):
        start = time.perf_counter()
        backend.forward(x, 0.1, 7, training=True, seed=None)
        times.append(time.perf_counter() - start)
    # 1.3 ms on 2 cores in 2026; the bound is wide for slow and busy machines.
    assert min(times) < 0.03


# The mutants.

CHECKS = frozenset(
    {
        "replayed_mask",
        "replayed_values",
        "evaluation_identity",
        "zero_drop_prob_identity",
        "shape_and_dtype",
        "input_unmodified",
        "same_seed_same_output",
        "stream_goes_on",
        "channel_sharing",
        "legal_blocks",
        "scale",
        "values",
        "low_precision",
        "gradient",
        "evaluation_gradient",
        "non_square_maps",
        "even_blocks",
        "per_axis_blocks",
        "block_of_one",
        "block_of_map_size",
        "oversize_block",
        "one_cell_map",
        "drop_prob_one",
        "non_contiguous_input",
        "special_values",
        "batch_of_one",
        "empty_batch",
        "bad_arguments",
        "map_rate",
        "cell_rates",
        "overlapping_cells",
        "distant_cells",
        "channel_independence",
        "sample_independence",
        "call_independence",
        "batch_rates",
        "repeated_draws",
    }
)
LEAST = {
    "gamma": 15,
    "seeds": 30,
    "dilation": 20,
    "scale": 15,
    "values": 15,
    "gradient": 8,
    "evaluation": 6,
    "edges": 12,
    "replay": 8,
}
# Stages whose bugs need a draw: in evaluation, at drop_prob 0 and before refusals they do what the correct one does.
DRAWING = ("gamma", "seeds", "dilation", "scale", "replay")


def test_mutants_have_names_of_their_own_and_cover_every_stage() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    counts = Counter(mutant.stage for mutant in MUTANTS)
    assert set(counts) == set(LEAST)
    assert all(counts[stage] >= least for stage, least in LEAST.items())


def test_mutants_live_in_both_ranks_both_layouts_and_under_many_conventions() -> None:
    backends = [mutant.make() for mutant in MUTANTS]
    assert sum(3 in backend.spatial_ndims for backend in backends) >= 20
    assert sum(backend.data_format == "channels_last" for backend in backends) >= 20
    rows = Counter(backend.rules.name for backend in backends)
    assert len(rows) >= 8
    assert sum(rows.values()) - rows["paper"] >= 20


def test_checks_named_by_mutants_exist() -> None:
    for mutant in MUTANTS:
        assert mutant.caught_by
        assert mutant.caught_by <= CHECKS, mutant.name
    assert frozenset().union(*(mutant.caught_by for mutant in MUTANTS)) == CHECKS


def test_mutants_are_black_boxes_unless_replay_is_their_subject() -> None:
    for mutant in MUTANTS:
        backend = mutant.make()
        assert backend.name == mutant.name
        known = backend.draw_seeds is not None, backend.apply is not None
        assert known == (mutant.stage == "replay",) * 2


MAPS: dict[int, tuple[tuple[tuple[int, ...], Any, float], ...]] = {
    2: (
        ((4, 4, 9, 9), 3, 0.4),
        ((3, 2, 8, 8), 4, 0.4),
        ((3, 2, 10, 6), 3, 0.4),
        ((3, 2, 6, 10), 5, 0.4),
        ((3, 2, 9, 9), (3, 5), 0.4),
        ((8, 8, 28, 28), 7, 0.1),
        ((2, 3, 6, 6), 1, 0.4),
        ((3, 2, 6, 6), 1, 0.02),
        ((4, 2, 6, 6), 1, 0.98),
        ((20, 2, 6, 6), 3, 0.4),
        ((2, 12, 6, 6), 3, 0.4),
        ((4, 4, 5, 5), 5, 0.4),
        ((4, 4, 4, 4), 4, 0.4),
        ((4, 4, 1, 1), 1, 0.4),
        ((2, 2, 7, 7), 3, 1.0),
        ((2, 2, 5, 5), 5, 1.0),
        ((2, 2, 5, 7), 6, 0.4),
        ((2, 2, 5, 5), 9, 0.4),
        ((1, 3, 9, 9), 3, 0.4),
        ((0, 3, 9, 9), 3, 0.4),
        ((1, 2, 264, 256), 3, 0.5),
    ),
    3: (
        ((3, 3, 7, 7, 7), 3, 0.4),
        ((2, 2, 6, 5, 4), (2, 3, 1), 0.4),
        ((4, 4, 3, 3, 3), 3, 0.4),
        ((4, 4, 1, 1, 1), 1, 0.4),
        ((2, 2, 5, 5, 5), 3, 1.0),
        ((2, 2, 3, 4, 5), 5, 0.4),
        ((0, 3, 5, 5, 5), 3, 0.4),
    ),
}
BAD_ARGUMENTS: tuple[tuple[Any, Any], ...] = (
    (1.5, 3),
    (-0.1, 3),
    (math.nan, 3),
    (0.1, 0),
    (0.1, -1),
    (0.1, 2.5),
    (0.1, (3,)),
)


def seen(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """What a call gives: arrays as their bytes, or the kind of its refusal."""
    with np.errstate(all="ignore"):
        try:
            answer = function(*args, **kwargs)
        except (ValueError, TypeError, ZeroDivisionError) as error:
            return (type(error).__name__,)
    if answer is None:
        return ("None",)
    arrays = answer if isinstance(answer, tuple) else (answer,)
    return tuple((array.shape, array.dtype.name, array.tobytes()) for array in arrays)


def probe(backend: Backend) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """What a backend does in each mode, on maps and inputs of many kinds; every key begins with the mode."""
    answers: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    forward, vjp = backend.forward, backend.vjp
    assert vjp is not None
    train = {"training": True, "seed": 3}
    for rank, dtype in itertools.product(backend.spatial_ndims, backend.dtypes):
        for shape, block_size, drop_prob in MAPS[rank]:
            x = array_of(shape, backend.data_format, dtype)
            for mode, p, training in (("train", drop_prob, True), ("evaluate", drop_prob, False), ("zero", 0.0, True)):
                how = {"training": training, "seed": 3}
                where = (mode, shape, block_size, dtype)
                given = x.copy()
                answers[(*where, "forward")] = seen(forward, given, p, block_size, **how)
                answers[(*where, "input")] = (given.tobytes() == x.tobytes(),)
                answers[(*where, "vjp")] = seen(vjp, x.copy(), x[..., ::-1], p, block_size, **how)
        x = array_of(MAPS[rank][0][0], backend.data_format, dtype)
        for number in range(4):
            answers["stream", number, rank, dtype] = seen(forward, x.copy(), 0.4, 3, training=True, seed=None)
        strided = array_of(MAPS[rank][0][0], backend.data_format, dtype)[::2, ..., ::2][..., ::-1]
        answers["strided", rank, dtype] = seen(forward, strided, 0.4, 1, **train)
        special = x.copy()
        for number, value in enumerate((np.nan, np.inf, 0, 60000)):
            special.flat[number::7] = value
        answers["special", rank, dtype] = seen(forward, special, 0.4, 3, **train)
        for p, block_size in BAD_ARGUMENTS:
            answers["bad", p, block_size, rank, dtype] = seen(forward, x.copy(), p, block_size, **train)
        if rank == 2:
            answers["bad", "rank", dtype] = seen(forward, x[0], 0.4, 3, **train)
        if backend.apply is not None:
            given, seeds = injected(backend, rank, dtype)
            answers["apply", rank, dtype] = seen(backend.apply, given, seeds, 3)
    return answers


def injected(backend: Backend, rank: int, dtype: str) -> tuple[Array, Array]:
    """An x and seeds for it, two of them neighbours."""
    x = array_of((2, 2, *(7,) * rank), backend.data_format, dtype)
    how: dict[str, Any] = {"data_format": backend.data_format, "convention": backend.rules}
    return x, dropblock_ref.sample_seeds(0.3, 3, x.shape, rng=0, **how)


def implementation(backend: Backend) -> DropBlock:
    assert isinstance(backend.forward, MethodType)
    owner = backend.forward.__self__
    assert isinstance(owner, DropBlock)
    return owner


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_differs_from_the_correct_backend_and_only_where_its_stage_matters(mutant: Mutant) -> None:
    wrong, right = probe(mutant.make()), probe(correct_twin(mutant.make()))
    assert wrong.keys() == right.keys()
    differing = [key for key in right if wrong[key] != right[key]]
    assert differing, mutant.bug
    assert len(differing) < len(right)
    if mutant.stage == "gradient":
        assert {key[-1] for key in differing} == {"vjp"}
    if mutant.stage in DRAWING:
        assert not {key[0] for key in differing} & {"evaluate", "zero", "bad"}


def test_mutants_of_gamma_and_seeds_treat_given_seeds_as_the_correct_backend() -> None:
    for mutant in MUTANTS:
        if mutant.stage not in ("gamma", "seeds"):
            continue
        wrong = implementation(mutant.make())
        right = implementation(correct_twin(mutant.make()))
        if wrong.mask_shape((2, 3, 4)) != right.mask_shape((2, 3, 4)):
            continue  # its bug is the shape of the seeds
        x, seeds = injected(mutant.make(), mutant.make().spatial_ndims[0], "float32")
        assert np.array_equal(wrong.apply(x, seeds, 3), right.apply(x, seeds, 3)), mutant.name
