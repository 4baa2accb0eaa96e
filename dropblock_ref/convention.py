"""The choices that published implementations of DropBlock make differently, one row for each implementation.

What a package does by mistake is not a row here but a finding, kept as a strict expected failure in tests/peers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from .arguments import check_choice, check_flag, check_instance, check_real, describe

CHOICES = {
    "gamma_rule": ("border_corrected", "uncorrected", "last_axis", "first_axis", "calibrated"),
    "seed_region": ("fitting", "everywhere"),
    "even_extra_cell": ("before", "after", "refused"),
    "oversize_block": ("refused", "clip_each_axis", "clip_to_smallest_axis", "unclipped", "nothing_dropped"),
    "scale_over": ("batch", "sample", "channel", "keep_prob", "none"),
    "all_dropped": ("zeros", "nan"),
}


@dataclass(frozen=True, kw_only=True)
class Convention:
    """The choices that an implementation of DropBlock makes, as data.

    Parameters
    ----------
    name : str
        Lower-case name, as used in `CONVENTIONS` and in messages.
    source : str
        Where the choices come from: paper, or package and version.
    gamma_rule : {"border_corrected", "uncorrected", "last_axis", "first_axis", "calibrated"}
        How `gamma` follows from `drop_prob`, with S the map's sides, b the block's and d their number:

        - ``"border_corrected"``: eq. (1) of the paper, ``drop_prob / prod(b) * prod(S / (S - b + 1))``;
        - ``"uncorrected"``: ``drop_prob / prod(b)``;
        - ``"last_axis"``: eq. (1) as if every axis were the last one,
          ``drop_prob * (S[-1] / b[-1] / (S[-1] - b[-1] + 1))**d``;
        - ``"first_axis"``: the same with the first one;
        - ``"calibrated"``: the gamma for which the expected dropped fraction is exactly `drop_prob`. No published
          package has it. Eq. (1) drops less, the more so the larger `drop_prob`; whoever compares block sizes, map
          sizes or Dropout itself at equal strength wants this one.
    seed_region : {"fitting", "everywhere"}
        Where a seed may lie: where its whole block lies in the map, or on every cell.
    even_extra_cell : {"before", "after", "refused"}
        On which side of the seed a block with an even side has its extra cell, or that such a block is refused.
    oversize_block : {"refused", "clip_each_axis", "clip_to_smallest_axis", "unclipped", "nothing_dropped"}
        What happens to a block larger than the map: it is refused; each side is clipped to its own axis of the map, or
        all sides to the smallest axis; or it stays as it is and sticks out, which only ``"uncorrected"`` with
        ``"everywhere"`` gives a meaning; or no cell is eligible then, so that nothing is dropped.
    shared_channels : bool
        Whether the channels of a sample share one mask.
    scale_over : {"batch", "sample", "channel", "keep_prob", "none"}
        Over what kept cells are counted for the scale: all masks together, those of each sample, each mask by itself
        (one channel of one sample), or not at all: the scale is 1 / (1 - drop_prob), or 1, and `epsilon` has no effect.
    epsilon : float
        Added to the number of kept cells, finite and not negative.
    all_dropped : {"zeros", "nan"}
        What becomes of cells whose mask keeps nothing: scale 0 and zeros, or a division of 0 by 0. With
        ``scale_over="keep_prob"`` it concerns drop_prob 1 only, whose scale is 0 or infinite; with ``"none"`` nothing.
    shared_samples : bool
        Whether the samples of a call share their masks.

    Raises
    ------
    TypeError, ValueError
        If a field is not one of the values above, or the fields contradict each other.

    Examples
    --------
    A convention of one's own is a row of the table with other values:

    >>> from dataclasses import replace
    >>> from dropblock_ref import PAPER
    >>> mine = replace(PAPER, name="mine", source="our layer, version 2", scale_over="sample")
    >>> mine.scale_over, mine.gamma_rule
    ('sample', 'border_corrected')
    """

    name: str
    source: str
    gamma_rule: str
    seed_region: str
    even_extra_cell: str
    oversize_block: str
    shared_channels: bool
    scale_over: str
    epsilon: float
    all_dropped: str
    shared_samples: bool = False

    def __post_init__(self) -> None:
        check_instance(self.name, "name", str, "a string")
        check_instance(self.source, "source", str, "a string")
        for field, choices in CHOICES.items():
            check_choice(getattr(self, field), field, choices)
        # As Python's own bool and float, whatever was given: JSON has no others.
        for flag in ("shared_channels", "shared_samples"):
            object.__setattr__(self, flag, check_flag(getattr(self, flag), flag))
        epsilon = check_real(self.epsilon, "epsilon", sys.float_info.max, "a finite real number of at least 0")
        object.__setattr__(self, "epsilon", epsilon)
        if self.oversize_block == "unclipped" and (self.gamma_rule, self.seed_region) != ("uncorrected", "everywhere"):
            raise ValueError(
                "oversize_block 'unclipped' needs gamma_rule 'uncorrected' and seed_region 'everywhere', because "
                "a block larger than the map nowhere fits and has no border correction; "
                f"got gamma_rule {self.gamma_rule!r} and seed_region {self.seed_region!r}"
            )

    def __hash__(self) -> int:
        return hash(self.name)  # of all fields it would take as long as a stage of a small call


# One row for each implementation: the fields in their order; shared_samples where it is True.
# fmt: off
_ROWS: tuple[tuple[Any, ...], ...] = (
  ("paper", "Ghiasi, Lin, Le, NeurIPS 2018, arXiv:1810.12890, Algorithm 1 and eq. (1)",
   "border_corrected", "fitting",    "before",  "refused",               False, "batch",     0.0,   "zeros"),
  ("tpu", "the authors' TensorFlow ResNet for TPU, resnet_model.py, dropblock (square maps only)",
   "border_corrected", "fitting",    "before",  "clip_each_axis",        False, "batch",     0.0,   "nan"),
  ("keras_cv", "keras-cv 0.8.2 to 0.9.0, keras_cv.layers.DropBlock2D",
   "border_corrected", "fitting",    "before",  "clip_each_axis",        False, "batch",     0.0,   "nan"),
  ("dropblock", "dropblock 0.3.0 on PyPI, DropBlock2D and DropBlock3D",
   "uncorrected",      "everywhere", "after",   "unclipped",             True,  "batch",     0.0,   "nan"),
  ("tutorial", "the article's PyTorch code with max-pooling (2D maps only)",
   "last_axis",        "everywhere", "refused", "refused",               False, "batch",     0.0,   "nan"),
  ("torchvision", "torchvision 0.27.1 to 0.29.1, torchvision.ops.drop_block2d and drop_block3d",
   "border_corrected", "fitting",    "refused", "clip_to_smallest_axis", False, "batch",     1e-6,  "zeros"),
  ("timm", "timm 1.0.23 to 1.0.31, timm.layers.drop_block_2d",
   "border_corrected", "everywhere", "before",  "clip_each_axis",        True,  "batch",     1e-7,  "zeros"),
  ("timm_uncoupled", "timm 1.0.23 to 1.0.31, timm.layers.drop_block_2d with couple_channels=False",
   "border_corrected", "everywhere", "before",  "clip_each_axis",        False, "batch",     1e-7,  "zeros"),
  ("timm_1_0_22", "timm 0.9.0 to 1.0.22, timm.layers.drop_block_2d (square maps only)",
   "border_corrected", "fitting",    "refused", "clip_to_smallest_axis", False, "batch",     1e-7,  "zeros"),
  ("bimm", "bimm, a port of timm to Rust, by default",
   "border_corrected", "fitting",    "before",  "clip_each_axis",        False, "batch",     1e-7,  "zeros", True),
  ("mmdetection", "mmdetection 2.22.0 to 3.3.0, mmdet DropBlock, after its warm-up",
   "border_corrected", "fitting",    "refused", "refused",               False, "batch",     1e-6,  "zeros"),
  ("paddle_detection", "PaddleDetection 2.3.0 to 2.6.0, ppdet.modeling.layers.DropBlock, blocks that fit",
   "border_corrected", "everywhere", "refused", "refused",               False, "batch",     0.0,   "nan"),
  ("tf2_dropblock", "TF2_DropBlock, and other ports to TensorFlow that divide by keep_prob",
   "border_corrected", "fitting",    "before",  "refused",               False, "keep_prob", 0.0,   "nan"),
  ("assembled_cnn", "assembled-cnn, and others with one mask for all samples",
   "border_corrected", "fitting",    "before",  "refused",               False, "batch",     0.0,   "nan", True),
  ("metaoptnet", "copies of MetaOptNet's ResNet12 in few-shot learning, where blocks are whole",
   "first_axis",       "fitting",    "before",  "refused",               False, "batch",     0.0,   "nan"),
  ("pytorch_toolbelt", "pytorch-toolbelt 0.5.0 to 0.8.0, pytorch_toolbelt.modules.dropblock",
   "uncorrected",      "everywhere", "after",   "unclipped",             True,  "batch",     0.0,   "nan"),
  ("calibrated", "dropblock_ref; like paper, but the expected dropped fraction is exactly drop_prob",
   "calibrated",       "fitting",    "before",  "refused",               False, "batch",     0.0,   "zeros"),
)
# fmt: on


class _Conventions(Mapping[str, Convention]):
    """The table as a read-only mapping; a copy or a pickle of it is the table itself."""

    def __init__(self, conventions: Iterable[Convention]) -> None:
        self._rows = {convention.name: convention for convention in conventions}

    def __getitem__(self, name: str) -> Convention:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return repr(self._rows)

    def __reduce__(self) -> str:
        return "CONVENTIONS"


CONVENTIONS: Mapping[str, Convention] = _Conventions(
    Convention(**{field.name: value for field, value in zip(fields(Convention), row, strict=False)}) for row in _ROWS
)
PAPER = CONVENTIONS["paper"]


def find_convention(convention: Any) -> Convention:
    """The convention, given as itself or by its name in `CONVENTIONS`."""
    if isinstance(convention, Convention):
        return convention
    named = isinstance(convention, str)
    if named and (found := CONVENTIONS.get(convention)):
        return found
    accepted = f"convention must be a Convention or one of the names {', '.join(CONVENTIONS)}"
    raise (ValueError if named else TypeError)(f"{accepted}, got {describe(convention)}")
