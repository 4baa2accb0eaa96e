"""One map as text, for the messages of the oracle and the text form of a trace."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROWS, _COLUMNS = 24, 60  # of a larger map a part is shown


def picture(
    mask: NDArray[np.bool_], marks: dict[str, NDArray[np.bool_]] | None = None, cell: tuple[int, ...] | None = None
) -> str:
    """A map as text, . kept and # dropped, with further marks; of a large one a part."""
    symbols = np.where(mask, ".", "#")
    for symbol, where in (marks or {}).items():
        symbols[where] = symbol
    cell = (0,) * mask.ndim if cell is None else cell
    title = ""
    if mask.ndim == 3:
        title = f"slice {cell[0]} of {mask.shape[0]} in depth\n"
        symbols, cell = symbols[cell[0]], cell[1:]
    top = max(0, min(cell[0] - _ROWS // 2, symbols.shape[0] - _ROWS))
    left = max(0, min(cell[1] - _COLUMNS // 2, symbols.shape[1] - _COLUMNS))
    part = symbols[top : top + _ROWS, left : left + _COLUMNS]
    if part.shape != symbols.shape:
        title += f"rows {top}.., columns {left}.. of {symbols.shape[0]} x {symbols.shape[1]}\n"
    return title + "\n".join("".join(row) for row in part)


def telling_cell(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """The first dropped cell, or 0 where all are kept; of a volume in the slice that has the most dropped cells."""
    if mask.ndim == 3:
        depth = int(np.argmin(np.count_nonzero(mask, axis=(1, 2))))
        return (depth, *telling_cell(mask[depth]))
    return tuple(int(i) for i in np.unravel_index(int(np.argmin(mask)), mask.shape))
