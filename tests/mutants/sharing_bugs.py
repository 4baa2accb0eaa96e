"""Mutants of batches and channels: what is right for a few samples and channels is wrong for many, or for one."""

from __future__ import annotations

import numpy as np

from .case import Case
from .correct import Array, DropBlock, Mask, Scale, Shape, product
from .mutant import Bugs

sharing_bugs = Bugs("batches and channels", causes=True)
RATES = "map_rate cell_rates block_of_one block_of_map_size one_cell_map drop_prob_one"
SAMPLES = "sample_independence channel_sharing repeated_draws search"
CHANNELS = "channel_sharing channel_independence repeated_draws search"


class ChannelsShareFrom(DropBlock):
    """Masks are drawn for so many channels; further ones share them."""

    drawn = 20

    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        return seeds[:, np.arange(shape[1]) % self.drawn] if shape[1] > self.drawn else seeds


@sharing_bugs.plant("channels after the 20th share masks with the first", CHANNELS, at=Case((2, 24, 9, 9)))
class ChannelsAfterTwentyShare(ChannelsShareFrom):
    pass


@sharing_bugs.plant("channels after the 32nd share masks with the first", CHANNELS, at=Case((2, 40, 9, 9)))
class ChannelsAfterThirtyTwoShare(ChannelsShareFrom):
    drawn = 32


@sharing_bugs.plant(
    "channels after the 64th share masks with the first",
    CHANNELS,
    data_format="channels_last",
    at=Case((2, 72, 9, 9)),
)
class ChannelsAfterSixtyFourShare(ChannelsShareFrom):
    drawn = 64


class SamplesShareFrom(DropBlock):
    """Masks are drawn for so many samples; further ones share them."""

    drawn = 8

    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        return seeds[np.arange(shape[0]) % self.drawn] if shape[0] > self.drawn else seeds


@sharing_bugs.plant(
    "samples after the eighth share masks with the first",
    SAMPLES,
    first="channel_sharing sample_independence repeated_draws",
    at=Case((10, 2, 9, 9)),
)
class SamplesAfterEightShare(SamplesShareFrom):
    pass


@sharing_bugs.plant(
    "samples after the 20th share masks with the first",
    SAMPLES,
    first="channel_sharing sample_independence repeated_draws",
    at=Case((24, 2, 9, 9)),
)
class SamplesAfterTwentyShare(SamplesShareFrom):
    drawn = 20


@sharing_bugs.plant(
    "samples after the 64th share masks with the first, channels shared",
    SAMPLES,
    first="channel_sharing sample_independence repeated_draws",
    convention="timm",
    at=Case((72, 2, 9, 9)),
)
class SamplesAfterSixtyFourShare(SamplesShareFrom):
    drawn = 64


@sharing_bugs.plant(
    "with one channel all samples share a mask",
    SAMPLES,
    first="channel_sharing sample_independence repeated_draws",
    at=Case((4, 1, 9, 9)),
)
class OneChannelSharesSamples(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        return np.repeat(seeds[:1], len(seeds), axis=0) if shape[1] == 1 and len(seeds) else seeds


@sharing_bugs.plant(
    "on maps of one row all samples share a mask",
    SAMPLES,
    first="channel_sharing sample_independence repeated_draws search",
    at=Case((4, 3, 1, 40), (1, 3), 0.3),
)
class OneRowSharesSamples(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        # Eligible rows may be one on higher maps too: there nothing is shared.
        return np.repeat(seeds[:1], len(seeds), axis=0) if self.one_row and len(seeds) else seeds

    one_row = False

    def mask_shape(self, shape: Shape, /) -> Shape:
        self.one_row = shape[2] == 1 and shape[3] > 1
        return super().mask_shape(shape)


@sharing_bugs.plant(
    "on maps of one column all channels share a mask",
    CHANNELS,
    first="channel_sharing repeated_draws search",
    at=Case((4, 3, 40, 1), (3, 1), 0.3),
)
class OneColumnSharesChannels(OneRowSharesSamples):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = DropBlock.bernoulli(self, rng, shape, gamma)
        return np.repeat(seeds[:, :1], shape[1], axis=1) if self.one_row and shape[1] else seeds

    def mask_shape(self, shape: Shape, /) -> Shape:
        self.one_row = shape[3] == 1 and shape[2] > 1
        return DropBlock.mask_shape(self, shape)


@sharing_bugs.plant(
    "all samples share masks in a batch of more than 20",
    SAMPLES,
    first="channel_sharing sample_independence repeated_draws",
    at=Case((24, 2, 9, 9)),
)
class LargeBatchShares(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        return np.repeat(seeds[:1], len(seeds), axis=0) if len(seeds) > 20 else seeds


@sharing_bugs.plant(
    "the last sample of a batch of 8 and more is never dropped",
    "sample_independence map_rate batch_rates search channel_sharing",
    first="sample_independence map_rate batch_rates search channel_sharing",
    at=Case((12, 3, 9, 9)),
)
class LastSampleNeverDropped(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        if len(seeds) >= 8:
            seeds[-1] = False
        return seeds


@sharing_bugs.plant(
    "the last sample of a large batch, of more than 100, is never dropped",
    "sample_independence map_rate batch_rates search",
    first="sample_independence map_rate batch_rates search",
    at=Case((128, 3, 9, 9)),
)
class LastOfManyNeverDropped(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        if len(seeds) > 100:
            seeds[-1] = False
        return seeds


@sharing_bugs.plant(
    "channels after the 32nd are never dropped",
    "batch_rates channel_sharing map_rate search",
    first="batch_rates channel_sharing map_rate search",
    at=Case((4, 40, 9, 9)),
)
class ChannelsAfterThirtyTwoKept(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        seeds[:, 32:] = False
        return seeds


@sharing_bugs.plant(
    "the second half of a batch of 8 and more mirrors the first",
    "sample_independence repeated_draws search",
    first="sample_independence repeated_draws",
    at=Case((12, 2, 9, 9)),
)
class SecondHalfMirrored(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        half = len(seeds) // 2
        if len(seeds) >= 8:
            seeds[len(seeds) - half :] = seeds[:half, ..., ::-1].copy()
        return seeds


@sharing_bugs.plant(
    "the second half of a batch has the random numbers of the first, taken from 1",
    "sample_independence batch_rates search",
    first="sample_independence regularity",
    at=Case((8, 2, 9, 9)),
)
class SecondHalfAntithetic(DropBlock):
    least = 2

    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        half = len_half = shape[0] // 2
        if shape[0] < self.least:
            return super().bernoulli(rng, shape, gamma)
        numbers = rng.random((*shape[2:], shape[0] - half, shape[1]))
        numbers = np.concatenate([numbers, 1 - numbers[..., :len_half, :]], axis=-2)
        return np.moveaxis(numbers < gamma, (-2, -1), (0, 1))


@sharing_bugs.plant(
    "the second half of a batch of 32 and more has the random numbers of the first, taken from 1",
    "sample_independence batch_rates search",
    first="sample_independence regularity",
    at=Case((32, 2, 9, 9)),
)
class SecondHalfOfManyAntithetic(SecondHalfAntithetic):
    least = 32


@sharing_bugs.plant(
    "every second channel has the random numbers of the one before, taken from 1",
    "channel_independence batch_rates search",
    at=Case((4, 4, 9, 9)),
)
class ChannelsAntithetic(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        numbers = rng.random(shape[2:] + shape[:2])
        numbers[..., 1::2] = 1 - numbers[..., : 2 * (shape[1] // 2) : 2]
        return np.moveaxis(numbers < gamma, (-2, -1), (0, 1))


class InChunks(DropBlock):
    """The scale is counted over so many samples at a time."""

    samples = 32

    def count_scale(self, mask: Mask, /) -> Scale:
        if len(mask) <= self.samples:
            return super().count_scale(mask)
        starts = range(0, len(mask), self.samples)
        scales = [np.asarray(super(InChunks, self).count_scale(mask[i : i + self.samples])) for i in starts]
        return np.concatenate([np.repeat(scale, self.samples, axis=0) for scale in scales])[: len(mask)]


@sharing_bugs.plant("the scale is counted in chunks of 32 samples", "scale search", at=Case((40, 2, 9, 9)))
class ScaleInChunks(InChunks):
    pass


@sharing_bugs.plant("the scale is counted in chunks of 64 samples", "scale search", at=Case((72, 2, 9, 9)))
class ScaleInLargerChunks(InChunks):
    samples = 64


@sharing_bugs.plant("the scale is counted over the first 32 channels only", "scale search", at=Case((4, 40, 9, 9)))
class ScaleOfThirtyTwoChannels(DropBlock):
    def count_scale(self, mask: Mask, /) -> Scale:
        return super().count_scale(mask[:, :32])


@sharing_bugs.plant("channels after the 64th are not scaled", "scale search", at=Case((4, 72, 9, 9)))
class ChannelsAfterSixtyFourUnscaled(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = product(x, mask, scale)
        y[:, 64:] = product(x[:, 64:], mask[:, 64:], 1.0)
        return y


@sharing_bugs.plant(
    "a batch of 100 and more gives its samples in another order",
    "legal_blocks values scale search",
    first="values scale legal_blocks search",
    at=Case((128, 2, 9, 9)),
)
class ManySamplesReordered(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = product(x, mask, scale)
        return y[::-1] if len(y) >= 100 else y


@sharing_bugs.plant(
    "samples after the 48th are left as they are",
    f"scale values sample_independence batch_rates channel_sharing search {RATES}",
    first=f"scale values sample_independence batch_rates search {RATES}",
    at=Case((52, 2, 9, 9)),
)
class SamplesAfterFortyEightUntouched(DropBlock):
    def multiply(self, x: Array, mask: Mask, scale: Scale, /) -> Array:
        y = product(x, mask, scale)
        y[48:] = x[48:]
        return y
