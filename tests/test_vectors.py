"""The test vectors: the same bytes everywhere, as the schema says, and right by nested loops."""

from __future__ import annotations

import copy
import hashlib
import json
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import jsonschema
import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from dropblock_ref import CONVENTIONS, Convention
from dropblock_ref.convention import CHOICES
from dropblock_ref.testing.observation import find_dtype
from dropblock_ref.vectors import write_vectors
from dropblock_ref.vectors.write import _bits

from . import brute_force

KEPT = Path(__file__).parent / "vectors"
SCHEMA = json.loads((KEPT / "schema.json").read_text("utf-8"))
FIELDS = (*CHOICES, "shared_channels", "shared_samples", "epsilon")
DTYPES = {"float16": "<f2", "bfloat16": "<u2", "float32": "<f4", "float64": "<f8"}
NAN_BITS = {"float16": 0x7E00, "bfloat16": 0x7FC0, "float32": 0x7FC00000, "float64": 0x7FF8000000000000}
EDGES = {
    *("block_1", "block_map", "larger_block", "all_dropped", "special_values", "drop_prob_0", "drop_prob_1"),
    *("no_seeds", "evaluation", "one_cell", "batch_1", "batch_0"),
}
REFUSE_LARGER = tuple(name for name, row in CONVENTIONS.items() if row.oversize_block == "refused")
REFUSE_EVEN = tuple(name for name, row in CONVENTIONS.items() if row.even_extra_cell == "refused")
Document = dict[str, Any]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vectors") / "full"
    write_vectors(folder)
    return folder


@pytest.fixture(params=["small", "full"])
def folder(request: pytest.FixtureRequest, full: Path) -> Path:
    return KEPT if request.param == "small" else full


def manifest_of(folder: Path) -> Document:
    manifest: Document = json.loads((folder / "manifest.json").read_text("utf-8"))
    return manifest


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kind_of(case: Document) -> str:
    return str(case["name"]).split(f"_{case['dtype']}_")[1]


def rank_of(case: Document) -> int:
    return len(case["block_size"])


def convention_of(case: Document) -> Convention:
    return Convention(name=case["convention"], source="manifest", **{field: case[field] for field in FIELDS})


def load(folder: Path, case: Document, name: str) -> NDArray[Any]:
    array: NDArray[Any] = np.load(folder / case["arrays"][name]["file"], allow_pickle=False)
    return array.view(ml_dtypes.bfloat16) if array.dtype == np.uint16 else array


def test_the_small_set_is_kept_in_the_repository_byte_for_byte(tmp_path: Path) -> None:
    number = write_vectors(tmp_path / "new" / "small", small=True)
    written, kept = files_in(tmp_path / "new" / "small"), files_in(KEPT)
    assert written.keys() == kept.keys()
    stale = [name for name, content in kept.items() if content != written[name]]
    assert not stale, "make it again: rm -r tests/vectors; python -m dropblock_ref vectors tests/vectors --small"
    assert number == len(manifest_of(KEPT)["cases"])
    assert sum(map(len, kept.values())) < 20_000 * len(CONVENTIONS)


def test_the_small_set_is_part_of_the_full_set(full: Path) -> None:
    everything = {case["name"]: case for case in manifest_of(full)["cases"]}
    small = manifest_of(KEPT)["cases"]
    assert small == [everything[case["name"]] for case in small]
    assert sum(map(len, files_in(full).values())) < 600_000 * len(CONVENTIONS)


def test_the_manifest_is_as_its_schema_says(folder: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads((folder / "schema.json").read_text("utf-8")) == SCHEMA
    jsonschema.validate(manifest_of(folder), SCHEMA)


def first(change: Callable[[Document], Any]) -> Callable[[Document], Any]:
    return lambda manifest: change(manifest["cases"][0])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda manifest: manifest.update(version=2),
        lambda manifest: manifest.update(cases=[]),
        lambda manifest: manifest.pop("format"),
        first(lambda case: case.update(extra=1)),
        first(lambda case: case.pop("epsilon")),
        first(lambda case: case.update(block_size=3)),
        first(lambda case: case.update(dtype="float8")),
        first(lambda case: case.update(drop_prob=1.5)),
        first(lambda case: case.update(name="/etc/passwd")),
        first(lambda case: case["arrays"].pop("y")),
        first(lambda case: case["arrays"]["y"].update(sha256="0")),
        first(lambda case: case["arrays"]["y"].update(dtype=">f4")),
        first(lambda case: case["arrays"]["y"].update(file="../y.npy")),
    ],
)
def test_the_schema_refuses_another_manifest(spoil: Callable[[Document], Any]) -> None:
    manifest = copy.deepcopy(manifest_of(KEPT))
    spoil(manifest)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest, SCHEMA)


def test_the_schema_has_the_choices_of_a_convention_and_describes_every_field() -> None:
    fields = SCHEMA["$defs"]["case"]["properties"]
    for field, choices in CHOICES.items():
        assert fields[field]["enum"] == list(choices)
    described = {**fields, **fields["arrays"]["properties"], **SCHEMA["$defs"]["array"]["properties"]}
    assert all(what["description"].endswith(".") for what in described.values())


def test_a_case_is_one_line_for_programs_without_a_json_library(folder: Path) -> None:
    content = (folder / "manifest.json").read_bytes()
    assert b"\r" not in content
    lines = content.decode("ascii").split("\n")
    assert lines[0] == '{"format": "dropblock_ref vectors", "version": 1, "cases": ['
    assert lines[-2:] == ["]}", ""]
    cases = [json.loads(line.removesuffix(",")) for line in lines[1:-2]]
    assert cases == manifest_of(folder)["cases"]
    for line, case in zip(lines[1:-2], cases, strict=True):
        assert line.startswith(f'{{"name": "{case["name"]}", "convention": "{case["convention"]}", ')
        assert len(line) < 4000
        # The first `"shape": ` of a line is that of the case, not that of an array.
        keys = [line.index(f'"{key}": ') for key in case]
        assert keys == sorted(keys)
        assert list(case)[-1] == "arrays"
    assert len({case["name"] for case in cases}) == len(cases)


def test_there_is_a_file_for_every_entry_and_none_else(folder: Path) -> None:
    files = files_in(folder)
    entries = {}
    for case in manifest_of(folder)["cases"]:
        for name, entry in case["arrays"].items():
            assert entry["file"] == f"{case['name']}/{name}.npy"
            entries[entry["file"]] = entry
    assert files.keys() == {"manifest.json", "schema.json", *entries}
    for file, entry in entries.items():
        content = files[file]
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        # Read by the description of the format: magic, version 1.0, length of the header, a literal, the numbers.
        assert content[:8] == b"\x93NUMPY\x01\x00"
        end = 10 + int.from_bytes(content[8:10], "little")
        assert end % 64 == 0
        shape = ", ".join(map(str, entry["shape"]))
        header = f"{{'descr': '{entry['dtype']}', 'fortran_order': False, 'shape': ({shape}), }}"
        assert content[10:end].decode("ascii").rstrip() == header
        cells = int(np.prod(entry["shape"]))
        assert len(content) - end == cells * int(entry["dtype"][2])


def test_shapes_and_dtypes_are_those_of_the_case(folder: Path) -> None:
    for case in manifest_of(folder)["cases"]:
        convention, arrays = convention_of(case), case["arrays"]
        assert [arrays[name]["dtype"] for name in ("seeds", "keep_mask", "scale")] == ["|b1", "|b1", "<f8"]
        mask_shape = list(brute_force.mask_shape(tuple(case["shape"]), case["data_format"], convention))
        assert arrays["seeds"]["shape"] == arrays["keep_mask"]["shape"] == mask_shape
        assert all(size in (1, whole) for size, whole in zip(arrays["scale"]["shape"], mask_shape, strict=True))
        for name in ("x", "y", "cotangent", "x_bar"):
            assert arrays[name]["dtype"] == DTYPES[case["dtype"]]
            assert arrays[name]["shape"] == case["shape"]


def test_the_conventions_are_those_of_the_package(folder: Path) -> None:
    for case in manifest_of(folder)["cases"]:
        row = CONVENTIONS[case["convention"]]
        assert {field: case[field] for field in FIELDS} == {field: getattr(row, field) for field in FIELDS}


def test_gamma_is_that_of_the_rule_and_0_for_the_identity(folder: Path) -> None:
    for case in manifest_of(folder)["cases"]:
        spatial_shape = brute_force.spatial_shape_of(tuple(case["shape"]), case["data_format"])
        block = tuple(case["block_size"])
        if is_identity(case):
            assert case["gamma"] == 0
        elif (gamma := brute_force.gamma(case["drop_prob"], block, spatial_shape, convention_of(case))) is not None:
            assert case["gamma"] == pytest.approx(float(gamma), rel=1e-11)
        else:
            fraction = brute_force.drop_fraction(case["gamma"], block, spatial_shape, convention_of(case))
            assert float(fraction) == pytest.approx(case["drop_prob"], rel=1e-9)


def is_identity(case: Document) -> bool:
    return not case["training"] or case["drop_prob"] == 0


def test_masks_scales_and_values_are_those_of_nested_loops(folder: Path) -> None:
    for case in manifest_of(folder)["cases"]:
        name, convention, data_format = case["name"], convention_of(case), case["data_format"]
        block = tuple(case["block_size"])
        seeds, mask, factor = (load(folder, case, array) for array in ("seeds", "keep_mask", "scale"))
        eligible = brute_force.eligible_cells(block, brute_force.spatial_shape_of(mask.shape, data_format), convention)
        indices = brute_force.cells_of(mask.shape)
        assert {brute_force.parts(index, data_format)[2] for index in indices if seeds[index]} <= set(eligible), name
        if is_identity(case):
            dropping, factors = np.ones_like(mask), dict.fromkeys(indices, 1.0)
        else:
            dropping = brute_force.keep_mask(seeds, block, data_format, convention)
            factors = brute_force.scale(mask, data_format, convention, case["drop_prob"])
        assert np.array_equal(mask, dropping), name
        of_each = np.broadcast_to(factor, mask.shape)
        assert all(brute_force.same(float(of_each[index]), factors[index]) for index in indices), name
        assert indices or convention.scale_over == "keep_prob" or (factor == 1).all(), name
        for given, result in (("x", "y"), ("cotangent", "x_bar")):
            before, after = load(folder, case, given), load(folder, case, result)
            for index in brute_force.cells_of(before.shape):
                sample, channel, cell = brute_force.parts(index, data_format)
                sample = 0 if convention.shared_samples else sample
                of_mask = brute_force.whole(sample, 0 if convention.shared_channels else channel, cell, data_format)
                right = brute_force.is_product(after[index], before[index], bool(mask[of_mask]), factors[of_mask])
                assert right, (name, result, index)


def test_inputs_are_exact_in_every_dtype_and_have_no_zeros(folder: Path) -> None:
    for case in manifest_of(folder)["cases"]:
        for name in ("x", "cotangent"):
            values = load(folder, case, name).astype(np.float64)
            if kind_of(case) != "special_values" or name == "cotangent":
                steps = np.abs(values * 32)
                assert np.isin(steps, np.arange(1, 129)).all(), case["name"]
                assert values.size < 20 or (values.min() < 0 < values.max()), case["name"]


def test_special_values_are_kept_and_only_zeros_are_dropped(full: Path) -> None:
    for case in manifest_of(full)["cases"]:
        if kind_of(case) == "special_values":
            x, y = (load(full, case, name).astype(np.float64) for name in ("x", "y"))
            mask = np.broadcast_to(load(full, case, "keep_mask"), x.shape)
            kept = [str(value) for value in x[mask]]
            assert {"inf", "-inf", "nan", "0.0", "-0.0"} <= set(kept)
            assert {"0.0", "-0.0"} <= {str(value) for value in x[~mask]}
            assert np.isfinite(x[~mask]).all()
            assert np.array_equal(np.isfinite(y), np.isfinite(x))


def test_nan_has_one_bit_pattern(folder: Path) -> None:
    found = 0
    for case in manifest_of(folder)["cases"]:
        for name in ("x", "y", "x_bar", "scale"):
            dtype = "float64" if name == "scale" else case["dtype"]
            values = load(folder, case, name)
            bits = values.view(f"u{values.dtype.itemsize}")[np.isnan(values)]
            assert set(bits.tolist()) <= {NAN_BITS[dtype]}
            found += bits.size
    assert found


@pytest.mark.parametrize("dtype", NAN_BITS)
def test_a_nan_of_any_sign_and_payload_is_written_as_that_pattern(dtype: str) -> None:
    """A machine of another kind than this one makes NaN with another sign."""
    kind = find_dtype(dtype)
    unsigned = np.dtype(f"u{kind.itemsize}")
    other = NAN_BITS[dtype] | 1 << (8 * kind.itemsize - 1) | 1
    values = np.array([other, 0], dtype=unsigned).view(kind)
    assert np.isnan(values[0])
    assert _bits(values).view(unsigned).tolist() == [NAN_BITS[dtype], 0]
    assert values.view(unsigned)[0] == other  # the array itself is left alone


def names(conventions: set[str], ranks: Any, layouts: Any, dtypes: Any, kinds: Any) -> set[str]:
    parts = product(conventions, ranks, layouts, dtypes, kinds)
    return {f"{convention}/{rank}d_{layout}_{dtype}_{kind}" for convention, rank, layout, dtype, kind in parts}


def test_the_full_set_has_every_convention_rank_layout_parity_dtype_and_edge(full: Path) -> None:
    every, layouts = set(CONVENTIONS), ("channels_first", "channels_last")
    written = {case["name"] for case in manifest_of(full)["cases"]}
    expected = names(every, (2, 3), layouts, DTYPES, ("odd", "per_axis"))
    expected |= names(every.difference(REFUSE_EVEN), (2, 3), layouts, DTYPES, ("even",))
    for rank, layout in ((2, "channels_first"), (3, "channels_last")):
        expected |= names(every, (rank,), (layout,), DTYPES, ("all_dropped", "special_values"))
        expected |= names(every, (rank,), (layout,), ("float32",), EDGES - {"larger_block"})
        expected |= names(every.difference(REFUSE_LARGER), (rank,), (layout,), ("float32",), ("larger_block",))
    assert written == expected


def test_the_small_set_has_each_of_them_at_least_once() -> None:
    cases = manifest_of(KEPT)["cases"]
    assert {(case["convention"], rank_of(case)) for case in cases} == set(product(CONVENTIONS, (2, 3)))
    assert {(case["dtype"], rank_of(case)) for case in cases} == set(product(DTYPES, (2, 3)))
    assert {case["data_format"] for case in cases} == {"channels_first", "channels_last"}
    assert {kind_of(case) for case in cases} == {"odd", "even", "per_axis", *EDGES}


def test_each_kind_is_what_its_name_says(folder: Path) -> None:
    for case in manifest_of(folder)["cases"]:
        kind, block = kind_of(case), tuple(case["block_size"])
        spatial_shape = brute_force.spatial_shape_of(tuple(case["shape"]), case["data_format"])
        seeds, mask = load(folder, case, "seeds"), load(folder, case, "keep_mask")
        what = {
            "odd": set(block) == {3},
            "even": set(block) == {2},
            "per_axis": len(set(block)) > 1,
            "block_1": set(block) == {1},
            "block_map": block == spatial_shape,
            "larger_block": any(b > S for b, S in zip(block, spatial_shape, strict=True)),
            "all_dropped": not mask.any(),
            "special_values": True,
            "drop_prob_0": case["drop_prob"] == 0,
            "drop_prob_1": case["drop_prob"] == 1,
            "no_seeds": not seeds.any(),
            "evaluation": not case["training"],
            "one_cell": set(spatial_shape) == {1},
            "batch_1": case["shape"][0] == 1,
            "batch_0": case["shape"][0] == 0,
        }
        assert what[kind], case["name"]
        assert all(what[other] == (kind == other) for other in ("drop_prob_0", "drop_prob_1", "evaluation", "batch_1"))
        if kind not in ("no_seeds", "batch_0"):
            assert seeds.any(), case["name"]
        if kind not in ("no_seeds", "batch_0", "all_dropped", "drop_prob_0", "evaluation"):
            assert 0 < mask.sum() < mask.size, case["name"]
        if kind != "one_cell":
            assert len(set(spatial_shape)) > 1, case["name"]


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for taken in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ValueError, match=r"folder must not exist or be an empty folder, got '.*'") as error:
            write_vectors(taken)
        assert str(taken) in str(error.value)
    assert files_in(tmp_path) == {"notes.txt": b"mine"}


def test_without_ml_dtypes_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match="pip install ml_dtypes"):
        write_vectors(tmp_path / "new")
    assert not (tmp_path / "new").exists()
