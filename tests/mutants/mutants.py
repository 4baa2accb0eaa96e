"""Every mutant, kind by kind: what the oracle must not miss.

`MUTANTS` are the stages that the oracle finds bug by bug; `NEW` are the kinds that it is being taught to find, with the
check that names the cause. `ALL` is both.
"""

from __future__ import annotations

from .corner_bugs import corner_bugs
from .count_bugs import count_bugs
from .derivative_bugs import derivative_bugs
from .dilation_bugs import dilation_bugs
from .early_bugs import early_bugs
from .gamma_bugs import gamma_bugs
from .gradient_bugs import gradient_bugs
from .memory_bugs import memory_bugs
from .mode_bugs import edge_bugs, evaluation_bugs
from .mutant import Mutant
from .quiet_bugs import quiet_bugs
from .realistic_bugs import realistic_bugs
from .regularity_bugs import regularity_bugs
from .repetition_bugs import repetition_bugs
from .replay_bugs import replay_bugs
from .scalar_bugs import scalar_bugs
from .scale_bugs import scale_bugs
from .seed_bugs import seed_bugs
from .sharing_bugs import sharing_bugs
from .value_bugs import value_bugs
from .verdict_bugs import verdict_bugs

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
NEW_KINDS = (
    memory_bugs,
    early_bugs,
    derivative_bugs,
    corner_bugs,
    realistic_bugs,
    sharing_bugs,
    repetition_bugs,
    regularity_bugs,
    quiet_bugs,
    count_bugs,
    scalar_bugs,
    verdict_bugs,
)
MUTANTS: tuple[Mutant, ...] = tuple(mutant for stage in STAGES for mutant in stage.mutants)
NEW: tuple[Mutant, ...] = tuple(mutant for kind in NEW_KINDS for mutant in kind.mutants)
ALL: tuple[Mutant, ...] = (*MUTANTS, *NEW)
