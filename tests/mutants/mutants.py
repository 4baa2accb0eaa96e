"""Every mutant, stage by stage: what the oracle must not miss."""

from __future__ import annotations

from .dilation_bugs import dilation_bugs
from .gamma_bugs import gamma_bugs
from .gradient_bugs import gradient_bugs
from .mode_bugs import edge_bugs, evaluation_bugs
from .mutant import Mutant
from .replay_bugs import replay_bugs
from .scale_bugs import scale_bugs
from .seed_bugs import seed_bugs
from .value_bugs import value_bugs

STAGES = (
    gamma_bugs,
    seed_bugs,
    dilation_bugs,
    scale_bugs,
    value_bugs,
    gradient_bugs,
    evaluation_bugs,
    edge_bugs,
    replay_bugs,
)
MUTANTS: tuple[Mutant, ...] = tuple(mutant for stage in STAGES for mutant in stage.mutants)
