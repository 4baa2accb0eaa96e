"""Mutants of the modes and the edges: evaluation, drop_prob 0 and 1, extreme blocks and maps, arguments to refuse."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .correct import Array, Block, Box, DropBlock, Mask, Scale, Shape
from .mutant import Bugs

evaluation_bugs = Bugs("evaluation")
edge_bugs = Bugs("edges")

# Evaluation and drop_prob 0.


@evaluation_bugs.plant("blocks are dropped in evaluation too", "evaluation_identity")
class DropsInEvaluation(DropBlock):
    def is_identity(self, p: float, _: bool, /) -> bool:
        return p == 0


@evaluation_bugs.plant(
    "blocks are dropped in evaluation too",
    "evaluation_identity",
    ndims=(3,),
    data_format="channels_last",
    convention="torchvision",
)
class DropsInEvaluationVolumes(DropsInEvaluation):
    pass


@evaluation_bugs.plant("blocks are dropped in evaluation too where the batch is one sample", "evaluation_identity")
class DropsInEvaluationOfOneSample(DropBlock):
    def begin(
        self, x: Any, drop_prob: Any, block_size: Any, training: bool, seed: int | None, /
    ) -> tuple[Array, tuple[Mask, Scale] | None]:
        return super().begin(x, drop_prob, block_size, training or len(x) == 1, seed)


@evaluation_bugs.plant("evaluation multiplies by keep_prob, as the first form of Dropout", "evaluation_identity")
class ScalesInEvaluation(DropBlock):
    def judge(self, shape: Shape, drop_prob: Any, block_size: Any, /) -> tuple[float, Block]:
        self.keep_prob = 1 - (p_and_block := super().judge(shape, drop_prob, block_size))[0]
        return p_and_block

    def identity(self, x: Array, /) -> Array:
        y: Array = x * x.dtype.type(self.keep_prob)
        return y


@evaluation_bugs.plant("training and evaluation are exchanged", "evaluation_identity map_rate")
class ModesExchanged(DropBlock):
    def is_identity(self, p: float, training: bool, /) -> bool:
        return super().is_identity(p, not training)


@evaluation_bugs.plant("training is the identity", "map_rate cell_rates drop_prob_one")
class IdentityInTraining(DropBlock):
    def is_identity(self, _: float, __: bool, /) -> bool:
        return True


@evaluation_bugs.plant("volumes are never dropped", "map_rate cell_rates drop_prob_one", ndims=(3,))
class IdentityInVolumes(IdentityInTraining):
    pass


@evaluation_bugs.plant("drop_prob 0 still divides by count_ones(M) + 1e-3", "zero_drop_prob_identity")
class ZeroDropProbDivides(DropBlock):
    def is_identity(self, _: float, training: bool, /) -> bool:
        return not training

    def count_scale(self, mask: Mask, /) -> Scale:
        return mask.size / (mask.size + 1e-3) if mask.all() and mask.size else super().count_scale(mask)


@evaluation_bugs.plant("drop_prob 0 is taken for no drop_prob given, and becomes 0.1", "zero_drop_prob_identity")
class ZeroDropProbIsDefault(DropBlock):
    def check_probability(self, drop_prob: Any, /) -> float:
        return super().check_probability(drop_prob) or 0.1


@evaluation_bugs.plant("drop_prob 0 is refused", "zero_drop_prob_identity", convention="timm_uncoupled")
class ZeroDropProbRefused(DropBlock):
    def check_probability(self, drop_prob: Any, /) -> float:
        if super().check_probability(drop_prob) == 0:
            raise ValueError("drop_prob must be positive")
        return float(drop_prob)


@evaluation_bugs.plant(
    "evaluation gives float32 for float16", "evaluation_identity shape_and_dtype", dtypes=("float16", "float32")
)
class EvaluationUpcasts(DropBlock):
    def identity(self, x: Array, /) -> Array:
        return x.astype(np.float32)


# Blocks of one cell, of the map's size and larger; maps of one cell.


@edge_bugs.plant("a block of 1 is taken for nothing to do", "block_of_one")
class BlockOfOneIsIdentity(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        return 0.0 if all(b == 1 for b in block.size) else super().gamma(p, block, spatial_shape)


@edge_bugs.plant("a block of 1 drops nothing with a drop_prob below 0.05", "block_of_one")
class BlockOfOneIgnoresSmallDropProb(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        return 0.0 if p < 0.05 and all(b == 1 for b in block.size) else super().gamma(p, block, spatial_shape)


@edge_bugs.plant("a block of 1 clips drop_prob to 0.95", "block_of_one", ndims=(2, 3))
class BlockOfOneClipsLargeDropProb(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        return super().gamma(min(p, 0.95) if all(b == 1 for b in block.size) else p, block, spatial_shape)


@edge_bugs.plant("a block of 1 becomes one of 3", "block_of_one")
class BlockOfOneGrows(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        if all(b == 1 for b in block.size):
            block = self.anchor((3,) * len(block.size))
        return super().dilate(seeds, block)


@edge_bugs.plant("a block of the map's size drops nothing", "block_of_map_size")
class BlockOfMapDropsNothing(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        whole = block.size == spatial_shape and any(b > 1 for b in block.size)
        return 0.0 if whole else super().gamma(p, block, spatial_shape)


@edge_bugs.plant("a block of the volume's size drops nothing", "block_of_map_size", ndims=(3,))
class BlockOfVolumeDropsNothing(BlockOfMapDropsNothing):
    pass


@edge_bugs.plant(
    "an even block of the map's size has no eligible cell, a mistake of parity", "block_of_map_size even_blocks"
)
class EvenBlockOfMapHasNoSeed(DropBlock):
    def eligible(self, block: Block, spatial_shape: Shape, /) -> Box:
        if block.size == spatial_shape and any(b % 2 == 0 for b in block.size):
            return tuple(slice(0, 0) for _ in spatial_shape)
        return super().eligible(block, spatial_shape)


@edge_bugs.plant(
    "a block of the map's size drops all but the last row, a mistake of parity", "block_of_map_size legal_blocks"
)
class BlockOfMapMissesRow(DropBlock):
    def dilate(self, seeds: Mask, block: Block, /) -> Mask:
        dropped = super().dilate(seeds, block)
        if block.size == seeds.shape[2:] and block.size[0] > 1:
            dropped[:, :, -1] = False
        return dropped


@edge_bugs.plant("a map of one cell is never dropped", "one_cell_map", data_format="channels_last")
class OneCellMapKept(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        return 0.0 if math.prod(spatial_shape) == 1 else super().gamma(p, block, spatial_shape)


@edge_bugs.plant("a volume of one cell divides by S - b, which is 0", "one_cell_map", ndims=(3,))
class OneCellVolumeCrashes(DropBlock):
    def gamma(self, p: float, block: Block, spatial_shape: Shape, /) -> float:
        if math.prod(spatial_shape) == 1:
            raise ZeroDivisionError("division by zero")
        return super().gamma(p, block, spatial_shape)


@edge_bugs.plant("drop_prob 1 gives nan, the scale 1 / keep_prob times 0", "drop_prob_one")
class DropProbOneGivesNan(DropBlock):
    def sample(self, shape: Shape, p: float, block: Block, rng: np.random.Generator, /) -> tuple[Mask, Scale]:
        mask, scale = super().sample(shape, p, block, rng)
        return mask, math.nan if p == 1 else scale


@edge_bugs.plant("drop_prob 1 drops every cell, though gamma is below 1", "drop_prob_one")
class DropProbOneDropsAll(DropBlock):
    def sample(self, shape: Shape, p: float, block: Block, rng: np.random.Generator, /) -> tuple[Mask, Scale]:
        mask, _ = super().sample(shape, p, block, rng)
        mask &= p < 1
        return mask, self.count_scale(mask)


@edge_bugs.plant(
    "a block larger than the map is clipped silently where it must be refused", "oversize_block bad_arguments"
)
class OversizeClipped(DropBlock):
    def resolve_block(self, sides: Shape, spatial_shape: Shape, /) -> Block:
        return super().resolve_block(tuple(map(min, sides, spatial_shape)), spatial_shape)


@edge_bugs.plant(
    "a block larger than the map is refused where it must be clipped",
    "oversize_block",
    convention="tpu",
    ndims=(3,),
)
class OversizeRefused(DropBlock):
    def resolve_block(self, sides: Shape, spatial_shape: Shape, /) -> Block:
        if any(b > S for b, S in zip(sides, spatial_shape, strict=True)):
            raise ValueError("block_size is larger than the map")
        return super().resolve_block(sides, spatial_shape)


@edge_bugs.plant(
    "a block larger than the map is clipped to the smallest axis, not each side to its own",
    "oversize_block",
    convention="keras_cv",
    data_format="channels_last",
)
class OversizeClippedToSmallest(DropBlock):
    def resolve_block(self, sides: Shape, spatial_shape: Shape, /) -> Block:
        if any(b > S for b, S in zip(sides, spatial_shape, strict=True)):
            sides = tuple(min(b, *spatial_shape) for b in sides)
        return super().resolve_block(sides, spatial_shape)


@edge_bugs.plant(
    "an even block becomes odd silently where it must be refused",
    "even_blocks bad_arguments",
    convention="torchvision",
)
class EvenAccepted(DropBlock):
    def check_block(self, block_size: Any, ndim: int, /) -> Shape:
        return tuple(b - 1 + b % 2 for b in super().check_block(block_size, ndim))


# Arguments to refuse.


@edge_bugs.plant("what must be refused gives None, and no exception", "bad_arguments", reported=True)
class NoneForRefusal(DropBlock):
    def forward(self, x: Any, drop_prob: Any, block_size: Any, *, training: bool, seed: int | None) -> Any:
        try:
            return super().forward(x, drop_prob, block_size, training=training, seed=seed)
        except (TypeError, ValueError):
            return None


@edge_bugs.plant("a drop_prob of 1.5 is taken for 1", "bad_arguments", reported=True)
class DropProbOverOneAccepted(DropBlock):
    def check_probability(self, drop_prob: Any, /) -> float:
        return 1.0 if isinstance(drop_prob, float) and drop_prob > 1 else super().check_probability(drop_prob)


@edge_bugs.plant("a negative drop_prob is taken for 0", "bad_arguments", data_format="channels_last", reported=True)
class NegativeDropProbAccepted(DropBlock):
    def check_probability(self, drop_prob: Any, /) -> float:
        return 0.0 if isinstance(drop_prob, float) and drop_prob < 0 else super().check_probability(drop_prob)


@edge_bugs.plant("a drop_prob of nan drops nothing", "bad_arguments", ndims=(3,), reported=True)
class NanDropProbAccepted(DropBlock):
    def check_probability(self, drop_prob: Any, /) -> float:
        return 0.0 if isinstance(drop_prob, float) and math.isnan(drop_prob) else super().check_probability(drop_prob)


@edge_bugs.plant("a block_size of 0 is taken for 1", "bad_arguments", reported=True)
class BlockOfZeroAccepted(DropBlock):
    def check_block(self, block_size: Any, ndim: int, /) -> Shape:
        return super().check_block(1 if isinstance(block_size, int) and block_size == 0 else block_size, ndim)


@edge_bugs.plant("a negative block_size is taken for 1", "bad_arguments", reported=True)
class NegativeBlockAccepted(DropBlock):
    def check_block(self, block_size: Any, ndim: int, /) -> Shape:
        return super().check_block(1 if isinstance(block_size, int) and block_size < 0 else block_size, ndim)


@edge_bugs.plant("a block_size of the wrong length is filled up with its last side", "bad_arguments", reported=True)
class BlockOfWrongLengthAccepted(DropBlock):
    def check_block(self, block_size: Any, ndim: int, /) -> Shape:
        if isinstance(block_size, Iterable):
            sides = tuple(block_size)
            block_size = (sides + sides[-1:] * ndim)[:ndim]
        return super().check_block(block_size, ndim)
