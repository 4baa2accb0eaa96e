"""Mutants of the stream: masks come again, after many calls, for other seeds, in other samples."""

from __future__ import annotations

import zlib

import numpy as np

from .case import EVALUATE, Case
from .correct import Block, DropBlock, Informed, Mask, Shape, in_spatial_order
from .mutant import Bugs

repetition_bugs = Bugs("repetition", causes=True)
AGAIN = "repeated_draws stream_goes_on call_independence sample_independence"
SEEDS = "repeated_draws same_seed_same_output"
RATES = "map_rate cell_rates overlapping_cells distant_cells channel_independence"
TINY = (1, 1, 9, 9)


class Periodic(DropBlock):
    """Without a seed the stream repeats after so many calls."""

    period = 64
    begun, calls = 0, 0

    def generator(self, seed: int | None, /) -> np.random.Generator:
        self.begun, self.calls = (self.begun, self.calls + 1) if seed is None else (seed, 0)
        return np.random.default_rng((self.begun, self.calls % self.period))


@repetition_bugs.plant(
    "the stream repeats after 64 calls",
    AGAIN,
    first="repeated_draws stream_goes_on",
    at=Case(TINY, seeds=(3, *[None] * 64)),
)
class RepeatsAfterSixtyFour(Periodic):
    pass


@repetition_bugs.plant(
    "the stream repeats after 100 calls",
    AGAIN,
    first="repeated_draws stream_goes_on",
    at=Case(TINY, seeds=(3, *[None] * 100)),
)
class RepeatsAfterHundred(Periodic):
    period = 100


@repetition_bugs.plant(
    "the stream repeats after 1024 calls",
    AGAIN,
    first="repeated_draws stream_goes_on",
    at=Case(TINY, seeds=(3, *[None] * 1024), derivative=False),
    costly="a run that makes fewer than 1024 calls of one stream does not meet it",
)
class RepeatsAfterThousand(Periodic):
    period = 1024


@repetition_bugs.plant(
    "every third call without a seed repeats the one two calls before",
    AGAIN,
    first="repeated_draws stream_goes_on",
    at=Case(TINY, seeds=(3, *[None] * 5)),
)
class EveryThirdCallRepeats(Periodic):
    def generator(self, seed: int | None, /) -> np.random.Generator:
        super().generator(seed)
        again = 2 if self.calls and self.calls % 3 == 0 else 0
        return np.random.default_rng((self.begun, self.calls - again))


@repetition_bugs.plant(
    "without a seed masks come from a bank of 64",
    AGAIN,
    first="repeated_draws stream_goes_on",
    at=Case(TINY, seeds=(3, None)),
)
class BankOfMasks(DropBlock):
    number = 64

    def generator(self, seed: int | None, /) -> np.random.Generator:
        rng = super().generator(seed)
        return rng if seed is not None else np.random.default_rng(int(rng.integers(self.number)))


@repetition_bugs.plant(
    "without a seed masks come from a bank of 4096",
    AGAIN,
    first="repeated_draws stream_goes_on",
    at=Case(TINY, seeds=(3, None)),
    costly="with 100 calls of one stream, two are the same with probability 0.7; with 300 nearly always",
)
class LargeBankOfMasks(BankOfMasks):
    number = 4096


@repetition_bugs.plant(
    "a call in evaluation begins the stream anew",
    AGAIN,
    first="repeated_draws stream_goes_on",
    at=Case(TINY, seeds=(3, EVALUATE, None, EVALUATE, None)),
)
class EvaluationRestarts(Informed):
    def is_identity(self, p: float, training: bool, /) -> bool:
        if not training:
            self.stream = np.random.default_rng(0)
        return super().is_identity(p, training)


@repetition_bugs.plant(
    "the stream does not go on after a call with one sample",
    AGAIN,
    first="repeated_draws stream_goes_on",
    at=Case(TINY, seeds=(3, None, None)),
)
class OneSampleDoesNotAdvance(Informed):
    def sample_seeds(self, shape: Shape, p: float, block: Block, rng: np.random.Generator, /) -> Mask:
        state = rng.bit_generator.state
        seeds = super().sample_seeds(shape, p, block, rng)
        if shape[0] == 1:
            rng.bit_generator.state = state
        return seeds


@repetition_bugs.plant(
    "a map of another shape begins the stream anew",
    AGAIN,
    first="repeated_draws stream_goes_on",
    at=Case(TINY, seeds=(None, None)),
)
class NewShapeRestarts(Informed):
    shape: Shape = ()

    def sample_seeds(self, shape: Shape, p: float, block: Block, rng: np.random.Generator, /) -> Mask:
        if self.seed is None and shape[2:] != self.shape:
            self.stream = rng = np.random.default_rng(1810)
        self.shape = shape[2:]
        return super().sample_seeds(shape, p, block, rng)


# Seeds.


class OtherSeed(DropBlock):
    def other(self, seed: int) -> int:
        raise NotImplementedError

    def generator(self, seed: int | None, /) -> np.random.Generator:
        return super().generator(None if seed is None else self.other(seed))


@repetition_bugs.plant("seeds are taken modulo 16", SEEDS, first=SEEDS, at=Case(seeds=(16,)))
class SeedsModuloSixteen(OtherSeed):
    def other(self, seed: int) -> int:
        return seed % 16


@repetition_bugs.plant("seeds are taken modulo 256", SEEDS, first=SEEDS, at=Case(seeds=(256,)))
class SeedsModuloByte(OtherSeed):
    def other(self, seed: int) -> int:
        return seed % 256


@repetition_bugs.plant("seeds are taken modulo 2^16", SEEDS, first=SEEDS, at=Case(seeds=(2**16,)))
class SeedsInSixteenBits(OtherSeed):
    def other(self, seed: int) -> int:
        return seed % 2**16


@repetition_bugs.plant("seeds from 2^31 on are cut to 2^31 - 1", SEEDS, first=SEEDS, at=Case(seeds=(2**31 + 5,)))
class SeedsCutAtInt(OtherSeed):
    def other(self, seed: int) -> int:
        return min(seed, 2**31 - 1)


@repetition_bugs.plant(
    "seeds from 2^31 on are refused",
    "same_seed_same_output repeated_draws search",
    first="same_seed_same_output repeated_draws search",
    at=Case(seeds=(2**31 + 5,)),
    reported=True,
)
class LargeSeedsRefused(OtherSeed):
    def other(self, seed: int) -> int:
        if seed >= 2**31:
            raise ValueError("seed must be below 2**31")
        return seed


@repetition_bugs.plant(
    "the last bit of a seed is lost", SEEDS, first="same_seed_same_output repeated_draws", at=Case(seeds=(3,))
)
class SeedsHalved(OtherSeed):
    def other(self, seed: int) -> int:
        return seed // 2


@repetition_bugs.plant("seed 0 is taken for no seed", "same_seed_same_output", at=Case(TINY, seeds=(0, 0)))
class SeedZeroIgnored(DropBlock):
    def generator(self, seed: int | None, /) -> np.random.Generator:
        return super().generator(seed or None)


@repetition_bugs.plant(
    "a seed that equals the last one does not begin the stream anew",
    "same_seed_same_output",
    at=Case(TINY, seeds=(3, 3)),
)
class SameSeedGoesOn(DropBlock):
    last: int | None = None

    def generator(self, seed: int | None, /) -> np.random.Generator:
        again, self.last = seed == self.last, seed
        return super().generator(None if again else seed)


@repetition_bugs.plant(
    "the same seed draws something else in the second call with it, of a counter that goes on",
    "same_seed_same_output",
    dtypes=("float32", "float16"),
    at=Case(dtype="float16", seeds=(3, 3)),
)
class HalfIgnoresSeed(Informed):
    def generator(self, seed: int | None, /) -> np.random.Generator:
        return super().generator(None if self.x.dtype == np.float16 else seed)


@repetition_bugs.plant(
    "sample n is drawn with seed + n, so that the next seed repeats all samples but one",
    "repeated_draws same_seed_same_output",
    first="repeated_draws same_seed_same_output",
    at=Case((4, 1, 9, 9)),
)
class SampleAddsToSeed(Informed):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        first = int(rng.integers(2**32)) if self.seed is None else self.seed
        seeds = [
            super(Informed, self).bernoulli(np.random.default_rng(first + n), (1, *shape[1:]), gamma)
            for n in range(shape[0])
        ]
        return np.concatenate(seeds) if seeds else super().bernoulli(rng, shape, gamma)


@repetition_bugs.plant(
    "channel c is drawn with seed + c, so that the next seed repeats all channels but one",
    "repeated_draws same_seed_same_output",
    first="repeated_draws same_seed_same_output",
    at=Case((2, 4, 9, 9)),
)
class ChannelAddsToSeed(Informed):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        first = int(rng.integers(2**32)) if self.seed is None else self.seed
        seeds = [
            super(Informed, self).bernoulli(np.random.default_rng(first + c), (shape[0], 1, *shape[2:]), gamma)
            for c in range(shape[1])
        ]
        return np.concatenate(seeds, axis=1)


# Within a call.


@repetition_bugs.plant(
    "samples i and i + 16384 have the same mask",
    "repeated_draws sample_independence",
    at=Case((16400, 1, 5, 5), 3, 0.8, derivative=False),
)
class SamplesRepeatAfterMany(DropBlock):
    period = 16384

    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        return seeds[np.arange(shape[0]) % self.period] if shape[0] > self.period else seeds


@repetition_bugs.plant(
    "samples i and i + 1000 have the same mask",
    "repeated_draws sample_independence",
    at=Case((1010, 1, 5, 5), 3, 0.8, derivative=False),
)
class SamplesRepeatAfterThousand(SamplesRepeatAfterMany):
    period = 1000


@repetition_bugs.plant(
    "the masks of a batch come from a bank of 4096",
    f"repeated_draws sample_independence {RATES}",
    at=Case((16, 1, 9, 9), derivative=False),
)
class SamplesOfBank(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        bank = super().bernoulli(np.random.default_rng(1810), (4096, 1, *shape[2:]), gamma)
        seeds: Mask = bank[rng.integers(4096, size=shape[:2]), 0]
        return seeds


@repetition_bugs.plant(
    "a call takes its random numbers from a table of 2^14, again and again",
    f"repeated_draws sample_independence channel_sharing {RATES}",
    first="repeated_draws",
    at=Case((1024, 2, 9, 9), derivative=False),
)
class TableOfNumbers(DropBlock):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        numbers = np.resize(rng.random(2**14), shape)
        cells = np.moveaxis(numbers < gamma, (0, 1), (-2, -1))
        return in_spatial_order(np.ascontiguousarray(cells))


@repetition_bugs.plant(
    "the first random number after a seed is always 0, and drops the first block of the first sample",
    "repeated_draws cell_rates batch_of_one sample_independence same_seed_same_output",
    first="repeated_draws cell_rates batch_of_one sample_independence same_seed_same_output",
    at=Case(),
    costly="one eligible cell of one mask per seed is wrong, which some thirty seeds on one map would show",
)
class FirstCellAlwaysSeed(Informed):
    def bernoulli(self, rng: np.random.Generator, shape: Shape, gamma: float, /) -> Mask:
        seeds = super().bernoulli(rng, shape, gamma)
        if self.seed is not None and seeds.size and gamma > 0:
            seeds[(0,) * seeds.ndim] = True
        return seeds


# Masks of x.


@repetition_bugs.plant(
    "x is the source of randomness: the same x always draws the same mask",
    "stream_goes_on same_seed_same_output special_values repeated_draws call_independence",
    first="stream_goes_on same_seed_same_output",
    at=Case(seeds=(3, None)),
)
class SeedOfInput(Informed):
    def generator(self, _: int | None, /) -> np.random.Generator:
        return super().generator(zlib.crc32(self.x.tobytes()))
