"""Reading .npy files that another program wrote: whatever is wrong with one is a ValueError that names the file."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..arguments import describe_error
from ..testing.observation import find_dtype


@dataclass(frozen=True)
class Header:
    """What a .npy file says that it holds, and where its data begin."""

    path: Path
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    offset: int

    @property
    def size(self) -> int:
        """Bytes of data."""
        return math.prod(self.shape) * self.dtype.itemsize

    def holds(self, dtype: str) -> bool:
        """Whether the file holds that dtype, in either byte order; of bfloat16 the uint16 bits."""
        return self.dtype.newbyteorder("=") == np.dtype("uint16" if dtype == "bfloat16" else dtype)


def read_header(path: Path) -> Header:
    """The header of a file of plain numbers, whose length is judged before anything of that length is read."""
    if not path.is_file():  # a pipe would make us wait
        raise ValueError(f"{path} {'is no regular file' if path.exists() else 'does not exist'}; expected a .npy file")
    try:
        with path.open("rb") as file:
            header = _parse_header(path, file)
        actual = path.stat().st_size - header.offset
    except Exception as error:  # of whatever bytes, by several parsers
        raise ValueError(f"{path} is no .npy file of version 1.0 or 2.0: {describe_error(error)}") from error
    dtype, shape = header.dtype, header.shape
    if dtype.kind not in "biuf" or dtype.itemsize > 8 or any(side < 0 for side in shape):
        raise ValueError(f"{path} must hold plain numbers, and its header says {dtype} of shape {shape}")
    if actual != header.size:
        raise ValueError(
            f"{path} must have {header.size} bytes of data for {dtype} of shape {shape}, as its header says, and has "
            f"{actual}: it is {'truncated' if actual < header.size else 'too long'}"
        )
    return header


def _parse_header(path: Path, file: BinaryIO) -> Header:
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"it is of version {version}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about headers as Python 2 wrote them, which are right
        shape, fortran_order, dtype = readers[version](file)
    return Header(path, dtype, tuple(int(side) for side in shape), bool(fortran_order), file.tell())


def read_data(header: Header, dtype: str) -> NDArray[Any]:
    """The array, in C order and this machine's byte order; `dtype` bfloat16 is made of its uint16 bits."""
    with header.path.open("rb") as file:
        file.seek(header.offset)
        flat = np.frombuffer(file.read(header.size), dtype=header.dtype)
    if header.dtype == np.bool_ and (flat.view(np.uint8) > 1).any():
        raise ValueError(f"{header.path} must hold booleans, and has bytes other than 0 and 1")
    array = flat.reshape(header.shape, order="F" if header.fortran_order else "C")
    native = np.array(array, dtype=header.dtype.newbyteorder("="), order="C")
    return native.view(find_dtype(dtype)) if dtype == "bfloat16" else native


def read_array(path: Path, dtype: str | None) -> NDArray[Any]:
    """The array of a file, whose uint16 are bits of bfloat16 if that is asked for."""
    header = read_header(path)
    bits = dtype == "bfloat16" and header.holds("bfloat16")
    return read_data(header, "bfloat16" if bits else header.dtype.name)
