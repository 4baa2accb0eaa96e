"""Reading test vectors: the manifest is judged before a file is opened, and each file by its sha256."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..arguments import (
    FLOATING_DTYPES,
    check_block_size,
    check_choice,
    check_flag,
    check_instance,
    check_probability,
    check_shape,
    describe_error,
)
from ..call import Layout, find_layout, mask_shape
from ..convention import Convention
from .npy import read_data, read_header
from .write import FORMAT, VERSION

ARRAYS = ("x", "seeds", "keep_mask", "scale", "y", "cotangent", "x_bar")
_CHOICES = tuple(field.name for field in fields(Convention) if field.name not in {"name", "source"})
_PATH = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)*")  # nothing that leaves the folder


@dataclass(frozen=True)
class Vector:
    """A case of the manifest."""

    name: str
    rules: Convention
    data_format: str
    layout: Layout
    dtype: str
    shape: tuple[int, ...]
    block_size: tuple[int, ...]
    drop_prob: float
    training: bool
    files: dict[str, tuple[Path, str]]  # of each array, and its sha256

    @property
    def mask_shape(self) -> tuple[int, ...]:
        """Of seeds and keep mask."""
        return mask_shape(self.shape, self.layout, self.rules)

    def dtype_of(self, array: str) -> str:
        """Of the array of that name."""
        return {"seeds": "bool", "keep_mask": "bool", "scale": "float64"}.get(array, self.dtype)

    def shape_of(self, array: str) -> tuple[int, ...]:
        """Of the array of that name, but not of the scale."""
        return self.mask_shape if array in {"seeds", "keep_mask"} else self.shape

    def read(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, from files that are as the manifest says."""
        return {name: self._read(name, *self.files[name]) for name in ARRAYS}

    def _read(self, name: str, path: Path, sha256: str) -> NDArray[Any]:
        header = read_header(path)
        seen = hashlib.sha256(path.read_bytes()).hexdigest()
        if seen != sha256:
            raise ValueError(
                f"{path} is not the file that was written: its sha256 is {seen}, and manifest.json says {sha256}; "
                "write the test vectors anew"
            )
        shape = self.shape_of(name)
        if name == "scale":
            fits = len(header.shape) == len(shape) and all(
                a in (1, b) for a, b in zip(header.shape, shape, strict=True)
            )
        else:
            fits = header.shape == shape
        if not (fits and header.holds(self.dtype_of(name))):
            raise ValueError(
                f"{path} must be {self.dtype_of(name)} of shape {shape}, as case {self.name!r} of manifest.json says, "
                f"and is {header.dtype} of shape {header.shape}"
            )
        return read_data(header, self.dtype_of(name))


def read_manifest(folder: Path) -> list[Vector]:
    """The cases of the test vectors in a folder."""
    path = folder / "manifest.json"
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no manifest of test vectors: {describe_error(error)}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is no manifest of test vectors: its format must be {FORMAT!r}")
    if content.get("version") != VERSION:
        raise ValueError(f"{path} must be of version {VERSION}, and says {content.get('version')!r}")
    entries = content.get("cases")
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path} has no list of cases")
    vectors: dict[str, Vector] = {}
    for number, entry in enumerate(entries):
        try:
            vector = _parse(folder, entry)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}, case {number}: {error}") from error
        if vector.name in vectors:
            raise ValueError(f"{path}, case {number}: name {vector.name!r} occurs twice")
        vectors[vector.name] = vector
    return list(vectors.values())


def _parse(folder: Path, entry: Any) -> Vector:
    get = _Fields(entry, "the case")
    name = get.path("name")
    get("convention", str, "a string")
    rules = Convention(
        name=entry["convention"], source="manifest.json", **{choice: get(choice, object, "") for choice in _CHOICES}
    )
    check_choice(get("dtype", object, ""), "dtype", FLOATING_DTYPES)
    shape = check_shape(get("shape", list, "a list"))
    layout = find_layout(get("data_format", object, ""), shape, "shape")
    arrays = _Fields(get("arrays", object, ""), "arrays")
    files = {}
    for array in ARRAYS:
        of_array = _Fields(arrays(array, object, ""), f"arrays.{array}")
        files[array] = (folder / of_array.path("file", ".npy"), of_array("sha256", str, "a string"))
    return Vector(
        name=name,
        rules=rules,
        data_format=entry["data_format"],
        layout=layout,
        dtype=entry["dtype"],
        shape=shape,
        block_size=check_block_size(get("block_size", list, "a list"), len(layout.spatial_axes)),
        drop_prob=check_probability(get("drop_prob", object, ""), "drop_prob"),
        training=check_flag(get("training", object, ""), "training"),
        files=files,
    )


class _Fields:
    """The fields of a JSON object, each judged as it is asked for."""

    def __init__(self, value: Any, name: str) -> None:
        self.fields = check_instance(value, name, dict, "a JSON object")
        self.name = name

    def __call__(self, key: str, kind: type, accepted: str) -> Any:
        if key not in self.fields:
            raise ValueError(f"{self.name} lacks {key!r}")
        return check_instance(self.fields[key], key, kind, accepted)

    def path(self, key: str, suffix: str = "") -> str:
        """A path that stays in its folder."""
        value: str = self(key, str, "a string")
        if not value.endswith(suffix) or not _PATH.fullmatch(value.removesuffix(suffix)):
            raise ValueError(
                f"{key} must be a path inside the folder, of lower-case letters, digits, underscores and slashes"
                f"{f', and end with {suffix}' if suffix else ''}; got {value!r}"
            )
        return value


def select(vectors: list[Vector], patterns: str | None) -> list[Vector]:
    """The cases whose names match one of the patterns, which are separated by commas."""
    if patterns is None:
        return vectors
    chosen: set[str] = set()
    for pattern in (part.strip() for part in patterns.split(",")):
        matching = {vector.name for vector in vectors if fnmatchcase(vector.name, pattern)}
        if not matching:
            raise ValueError(
                f"cases must be patterns of names, as in 'torchvision/*float32*,timm/2d_*'; {pattern!r} matches none "
                f"of {len(vectors)} cases, the first of which is {vectors[0].name!r}"
            )
        chosen |= matching
    return [vector for vector in vectors if vector.name in chosen]
