"""Mutants of the seeds: drawn where they are not eligible, not drawn where they are, or not independent."""

from __future__ import annotations

import numpy as np

from .correct import Block, Box, DropBlock, Mask, Shape, in_spatial_order
from .mutant import Bugs

seed_bugs = Bugs("seeds")
PLACE = "cell_rates map_rate"
ILLEGAL = "legal_blocks"


def shifted(box: Box, axis: int, start: int, stop: int) -> Box:
    """The eligible box with one axis begun and ended elsewhere, never before the map and never empty."""
    old = box[axis]
    first = max(old.start + start, 0)
    return (*box[:axis], slice(first, max(old.stop + stop, first + 1)), *box[axis + 1 :])


# Where seeds may lie.


@seed_bugs.plant("the first row of eligible cells never gets a seed", PLACE)
class FirstRowMissing(DropBlock):
    def eligible(self, block: Block, spatial_shape: Shape, /) -> Box:
        box = super().eligible(block, spatial_shape)
        return shifted(box, 0, int(box[0].stop - box[0].start > 1), 0)


@seed_bugs.plant("the last column of eligible cells never gets a seed", PLACE, data_format="channels_last")
class LastColumnMissing(DropBlock):
    def eligible(self, block: Block, spatial_shape: Shape, /) -> Box:
        return shifted(super().eligible(block, spatial_shape), len(spatial_shape) - 1, 0, -1)


@seed_bugs.plant("the first plane of eligible cells never gets a seed", PLACE, ndims=(3,))
class FirstPlaneMissing(FirstRowMissing):
    pass


@seed_bugs.plant("the last row never gets a seed, though every cell is eligible", PLACE, convention="timm")
class LastRowMissingShared(DropBlock):
    def eligible(self, block: Block, spatial_shape: Shape, /) -> Box:
        return shifted(super().eligible(block, spatial_shape), 0, 0, -1)


@seed_bugs.plant("one row too many is eligible before the first, so blocks stick out of the map", ILLEGAL)
class ExtraRowBefore(DropBlock):
    def eligible(self, block: Block, spatial_shape: Shape, /) -> Box:
        return shifted(super().eligible(block, spatial_shape), 0, -1, 0)


@seed_bugs.plant(
    "one column too many is eligible after the last, so blocks stick out of the map", ILLEGAL, convention="torchvision"
)
class ExtraColumnAfter(DropBlock):
    def eligible(self, block: Block, spatial_shape: Shape, /) -> Box:
        box = super().eligible(block, spatial_shape)
        return shifted(box, len(box) - 1, 0, int(box[-1].stop < spatial_shape[-1]))


@seed_bugs.plant(
    "one plane too many is eligible before the first, so blocks stick out of the volume",
    ILLEGAL,
    ndims=(3,),
    data_format="channels_last",
)
class ExtraPlaneBefore(ExtraRowBefore):
    pass


@seed_bugs.plant(
    "the eligible height is bounded by the width, so tall maps get no seeds below", f"{ILLEGAL} {PLACE} non_square_maps"
)
class HeightBoundedByWidth(DropBlock):
    def eligible(self, block: Block, spatial_shape: Shape, /) -> Box:
        box = super().eligible(block, spatial_shape)
        stop = min(spatial_shape[-1] - (spatial_shape[0] - box[0].stop), spatial_shape[0])
        return (slice(box[0].start, max(stop, box[0].start + 1)), *box[1:])


@seed_bugs.plant(
    "the eligible depth is bounded by the height, so deep volumes get no seeds at the back",
    f"{ILLEGAL} {PLACE} non_square_maps",
    ndims=(3,),
)
class DepthBoundedByHeight(DropBlock):
    def eligible(self, block: Block, spatial_shape: Shape, /) -> Box:
        box = super().eligible(block, spatial_shape)
        stop = min(spatial_shape[1] - (spatial_shape[0] - box[0].stop), spatial_shape[0])
        return (slice(box[0].start, max(stop, box[0].start + 1)), *box[1:])


@seed_bugs.plant("every cell is eligible where only fitting blocks are allowed", ILLEGAL)
class EverywhereForFitting(DropBlock):
    def eligible(self, _: Block, spatial_shape: Shape, /) -> Box:
        return tuple(slice(0, S) for S in spatial_shape)


@seed_bugs.plant(
    "every cell is eligible where only fitting blocks are allowed", ILLEGAL, ndims=(3,), data_format="channels_last"
)
class EverywhereForFittingVolumes(EverywhereForFitting):
    pass


@seed_bugs.plant("seeds lie only where blocks fit, but every cell is eligible", PLACE, convention="timm")
class FittingForEverywhere(DropBlock):
    def eligible(self, block: Block, spatial_shape: Shape, /) -> Box:
        sides = zip(block.before, block.after, spatial_shape, strict=True)
        return tuple(slice(min(i, S - 1), max(S - j, min(i, S - 1) + 1)) for i, j, S in sides)


@seed_bugs.plant(
    "seeds lie only where blocks fit, but every cell is eligible", PLACE, convention="dropblock", ndims=(3,)
)
class FittingForEverywhereVolumes(FittingForEverywhere):
    pass


@seed_bugs.plant(
    "the eligible cells of an even block are those of a block with its extra cell on the other side",
    f"{ILLEGAL} even_blocks",
)
class EligibleForOtherAnchor(DropBlock):
    def eligible(self, block: Block, spatial_shape: Shape, /) -> Box:
        return super().eligible(Block(block.size, block.after, block.before), spatial_shape)


@seed_bugs.plant("the last eligible cell never gets a seed", "cell_rates")
class LastCellNeverSeed(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        # Where it is the only one it does get seeds, so that only the rate of a cell shows the bug.
        if any(size > 1 for size in shape[2:]):
            np.moveaxis(seeds, (0, 1), (-2, -1))[tuple(S - 1 for S in shape[2:])] = False
        return seeds


@seed_bugs.plant("seeds lie on the black cells of a checkerboard only, at twice the rate", "cell_rates distant_cells")
class CheckerboardSeeds(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        if all(size == 1 for size in shape[2:]):
            return super().bernoulli(rng, shape, gamma)
        black = np.indices(shape[2:]).sum(axis=0) % 2 == 0
        seeds: Mask = super().bernoulli(rng, shape, min(2 * gamma, 1.0)) & black
        return seeds


@seed_bugs.plant("random numbers have 8 bits, so gamma is rounded up to a multiple of 1/256", "map_rate cell_rates")
class CoarseRandomNumbers(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        numbers = rng.integers(0, 256, size=shape[2:] + shape[:2], dtype=np.uint8)
        return in_spatial_order(numbers < gamma * 256)


# Independence within a mask.


@seed_bugs.plant(
    "half of the cells copy the outcome of their left neighbour", "overlapping_cells distant_cells cell_rates map_rate"
)
class NeighbouringCellsCorrelated(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        copied = super().bernoulli(rng, (*shape[:-1], shape[-1] - 1), 0.5)
        correlated = seeds.copy(order="K")
        correlated[..., 1:] = np.where(copied, seeds[..., :-1], seeds[..., 1:])
        return correlated


@seed_bugs.plant(
    "half of the cells copy the outcome of the plane before",
    "overlapping_cells distant_cells cell_rates map_rate",
    ndims=(3,),
)
class NeighbouringPlanesCorrelated(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        copied = super().bernoulli(rng, (*shape[:2], shape[2] - 1, *shape[3:]), 0.5)
        correlated = seeds.copy(order="K")
        correlated[:, :, 1:] = np.where(copied, seeds[:, :, :-1], seeds[:, :, 1:])
        return correlated


@seed_bugs.plant("the right half of every mask mirrors the left half", "distant_cells overlapping_cells cell_rates")
class MirroredMask(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        half = shape[-1] // 2
        seeds[..., shape[-1] - half :] = seeds[..., :half][..., ::-1].copy()
        return seeds


@seed_bugs.plant(
    "the number of seeds of a mask is fixed, so cells exclude each other",
    "distant_cells overlapping_cells cell_rates map_rate",
)
class FixedNumberOfSeeds(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        cells = int(np.prod(shape[2:]))
        # The mean number of seeds, rounded up or down at random so that the rate of every seed is still gamma.
        number = np.floor(cells * gamma + rng.random((1, *shape[:2])))
        order = rng.random((cells, *shape[:2])).argsort(axis=0).argsort(axis=0)
        return in_spatial_order((order < number).reshape(shape[2:] + shape[:2]))


# Independence over channels, samples and calls.


@seed_bugs.plant("one mask is shared over the channels", "channel_sharing channel_independence")
class SharedOverChannels(DropBlock):
    def draw(self, rng: np.random.Generator, shape: Shape, gamma: float, eligible: Box, /) -> Mask:
        one = super().draw(rng, (shape[0], 1, *shape[2:]), gamma, eligible)
        return np.repeat(one, shape[1], axis=1)


@seed_bugs.plant(
    "one mask is shared over the channels",
    "channel_sharing channel_independence",
    ndims=(3,),
    data_format="channels_last",
)
class SharedOverChannelsVolumes(SharedOverChannels):
    pass


@seed_bugs.plant("every channel has its own mask where channels share one", "channel_sharing", convention="timm")
class OwnMaskPerChannel(DropBlock):
    def mask_shape(self, shape: Shape, /) -> Shape:
        return shape


@seed_bugs.plant(
    "every channel has its own mask where channels share one",
    "channel_sharing",
    convention="dropblock",
    ndims=(2, 3),
    data_format="channels_last",
)
class OwnMaskPerChannelVolumes(OwnMaskPerChannel):
    pass


@seed_bugs.plant("the second half of the channels copies the first", "channel_sharing channel_independence")
class HalfOfChannelsCopied(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        half = shape[1] // 2
        seeds[:, shape[1] - half :] = seeds[:, :half]
        return seeds


@seed_bugs.plant("masks are drawn for 8 channels, and further channels share them", "channel_sharing")
class GroupsOfChannelsShare(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        return seeds[:, np.arange(shape[1]) % 8]


@seed_bugs.plant("half of the cells copy the seed of the channel before", "channel_independence")
class NeighbouringChannelsCorrelated(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        if shape[1] < 2:
            return seeds
        copied = super().bernoulli(rng, (shape[0], shape[1] - 1, *shape[2:]), 0.5)
        correlated = seeds.copy(order="K")
        correlated[:, 1:] = np.where(copied, seeds[:, :-1], seeds[:, 1:])
        return correlated


@seed_bugs.plant(
    "every channel's seeds are the first channel's, turned upside down for odd channels",
    "channel_independence channel_sharing",
    data_format="channels_last",
)
class ChannelsMirrored(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        seeds[:, 1:] = seeds[:, :1]
        seeds[:, 1::2] = seeds[:, 1::2, ::-1].copy()
        return seeds


@seed_bugs.plant("one mask is shared over the samples", "repeated_draws sample_independence")
class SharedOverSamples(DropBlock):
    def draw(self, rng: np.random.Generator, shape: Shape, gamma: float, eligible: Box, /) -> Mask:
        one = super().draw(rng, (min(shape[0], 1), *shape[1:]), gamma, eligible)
        return np.repeat(one, shape[0], axis=0) if shape[0] else one


@seed_bugs.plant(
    "one mask is shared over the samples",
    "repeated_draws sample_independence",
    convention="timm",
    data_format="channels_last",
)
class SharedOverSamplesAndChannels(SharedOverSamples):
    pass


@seed_bugs.plant("every second sample has the mask of the sample before, mirrored", "sample_independence")
class SamplesMirrored(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        seeds[1::2] = seeds[: 2 * (shape[0] // 2) : 2, ..., ::-1].copy()
        return seeds


@seed_bugs.plant("only the first sample of a batch gets seeds", "batch_rates sample_independence")
class OnlyFirstSample(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        seeds[1:] = False
        return seeds


@seed_bugs.plant(
    "a coin for the whole batch decides whether it gets twice the seeds or none",
    "sample_independence channel_independence call_independence distant_cells map_rate cell_rates",
)
class AllOrNothing(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        twice = 2 * gamma if rng.random() < 0.5 else 0.0
        # A gamma over 1/2 cannot be doubled; the coin then leaves it as it is.
        return super().bernoulli(rng, shape, gamma if gamma > 0.5 else twice)


@seed_bugs.plant(
    "the same mask comes at every call that does not reseed", "stream_goes_on repeated_draws call_independence"
)
class SameMaskEveryCall(DropBlock):
    def generator(self, seed: int | None, /) -> np.random.Generator:
        return super().generator(0 if seed is None else seed)


@seed_bugs.plant(
    "the mask of the first call is kept, as if frozen into a compiled graph, and seeds are ignored",
    "stream_goes_on repeated_draws call_independence",
)
class FrozenMask(DropBlock):
    def generator(self, _: int | None, /) -> np.random.Generator:
        return super().generator(1810)


@seed_bugs.plant(
    "every second call that does not reseed repeats the mask of the one before",
    "stream_goes_on repeated_draws call_independence",
)
class EverySecondCallRepeats(DropBlock):
    repeat = False

    def generator(self, seed: int | None, /) -> np.random.Generator:
        rng = super().generator(seed)
        self.repeat = seed is None and not self.repeat
        if self.repeat:
            self.state = rng.bit_generator.state
        elif seed is None:
            rng.bit_generator.state = self.state
        return rng


@seed_bugs.plant(
    "a call without a seed begins the stream of the last seed again", "stream_goes_on repeated_draws call_independence"
)
class RestartsLastSeed(DropBlock):
    last = 0

    def generator(self, seed: int | None, /) -> np.random.Generator:
        self.last = self.last if seed is None else seed
        return super().generator(self.last)


@seed_bugs.plant("the seed is ignored, so the same seed gives another output", "same_seed_same_output")
class SeedIgnored(DropBlock):
    def generator(self, _: int | None, /) -> np.random.Generator:
        return super().generator(None)


@seed_bugs.plant(
    "a call without a seed reseeds NumPy's global stream with a constant and draws from it",
    "stream_goes_on repeated_draws call_independence",
)
class ReseedsGlobalStream(DropBlock):
    def generator(self, seed: int | None, /) -> np.random.Generator:
        if seed is None:
            np.random.seed(0)  # noqa: NPY002
            seed = int(np.random.randint(2**31))  # noqa: NPY002
        return super().generator(seed)
