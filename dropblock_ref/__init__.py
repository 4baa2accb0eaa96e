"""The reference for DropBlock (Ghiasi, Lin, Le, 2018, arXiv:1810.12890), and with `dropblock_ref.testing` its referee.

>>> import numpy as np
>>> import dropblock_ref
>>> x = np.ones((2, 3, 8, 8), dtype=np.float32)
>>> dropblock_ref.drop_block(x, 0.1, 3, rng=0).shape
(2, 3, 8, 8)
"""

from .convention import CONVENTIONS, PAPER, Convention
from .dropblock import Trace, drop_block, trace, vjp
from .schedule import linear_schedule
from .stages import gamma, keep_mask, recover_seeds, sample_seeds, scale, valid_seeds

__version__ = "0.1.0"

__all__ = [
    "CONVENTIONS",
    "PAPER",
    "Convention",
    "Trace",
    "drop_block",
    "gamma",
    "keep_mask",
    "linear_schedule",
    "recover_seeds",
    "sample_seeds",
    "scale",
    "trace",
    "valid_seeds",
    "vjp",
]
