"""A mutant: a backend with exactly one planted bug, and the checks of the oracle that must find it.

A bug is a subclass of the correct DropBlock that replaces one stage; `Bugs` collects those of one kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from dropblock_ref.convention import Convention
from dropblock_ref.testing.backend import Backend

from .case import Case
from .correct import DropBlock, make_backend

Kind = TypeVar("Kind", bound=type[DropBlock])


@dataclass(frozen=True)
class Mutant:
    """One planted bug."""

    name: str
    stage: str
    bug: str  # one sentence
    make: Callable[[], Backend]
    caught_by: frozenset[str]  # at least one of these checks must fail, and no other may
    first: frozenset[str] = frozenset()  # the first check that fails is one of these, which name the cause
    at: Case = field(default_factory=Case)  # where the bug shows
    reported: bool = False  # a correct backend may do so: one of `caught_by` is "reported", and none fails
    costly: str = ""  # why a run of ordinary cost does not find it


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
    """The mutants of one kind, in the order in which they are written."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.mutants: list[Mutant] = []

    def plant(
        self,
        bug: str,
        caught_by: str,
        *,
        first: str = "",
        at: Case = Case(),  # noqa: B008  (frozen)
        convention: Convention | str = "paper",
        data_format: str = "channels_first",
        ndims: tuple[int, ...] = (2,),
        dtypes: tuple[str, ...] = ("float32",),
        replay: bool = False,
        reported: bool = False,
        costly: str = "",
    ) -> Callable[[Kind], Kind]:
        """Class decorator: enter the class, named in snake case; a black box unless `replay`.

        What fails first is one of `first`, by default the first name of `caught_by`.
        """

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
            names = caught_by.split()
            causes = frozenset(first.split() or names[:1])
            self.mutants.append(
                Mutant(name, self.stage, bug, make, frozenset(names) | causes, causes, at, reported, costly)
            )
            return kind

        return enter
