"""A mutant: a backend with exactly one planted bug, and the checks of the oracle that must find it.

A bug is a subclass of the correct DropBlock that replaces one stage; `Bugs` collects those of one stage.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from dropblock_ref.convention import Convention
from dropblock_ref.testing.backend import Backend

from .correct import DropBlock, make_backend

Kind = TypeVar("Kind", bound=type[DropBlock])


@dataclass(frozen=True)
class Mutant:
    """One planted bug."""

    name: str
    stage: str
    bug: str  # one sentence
    make: Callable[[], Backend]
    caught_by: frozenset[str]  # at least one of these checks must fail


def correct_twin(backend: Backend) -> Backend:
    """The correct backend of the same convention, layout, ranks and dtypes; as black a box."""
    replay = backend.apply is not None
    return make_backend(
        backend.rules,
        backend.data_format,
        backend.spatial_ndims,
        backend.dtypes,
        with_draw_seeds=replay,
        with_apply=replay,
    )


class Bugs:
    """The mutants of one stage, in the order in which they are written."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.mutants: list[Mutant] = []

    def plant(
        self,
        bug: str,
        caught_by: str,
        *,
        convention: Convention | str = "paper",
        data_format: str = "channels_first",
        ndims: tuple[int, ...] = (2,),
        dtypes: tuple[str, ...] = ("float32",),
        replay: bool = False,
    ) -> Callable[[Kind], Kind]:
        """Class decorator: enter the class, named in snake case; a black box unless `replay`."""

        def enter(kind: Kind) -> Kind:
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
            make = partial(
                make_backend,
                convention,
                data_format,
                ndims,
                dtypes,
                name=name,
                kind=kind,
                with_draw_seeds=replay,
                with_apply=replay,
            )
            self.mutants.append(Mutant(name, self.stage, bug, make, frozenset(caught_by.split())))
            return kind

        return enter
