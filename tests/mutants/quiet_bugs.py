"""Mutants of the identity: in evaluation, or with drop_prob 0, something happens to some x."""

from __future__ import annotations

import numpy as np

from .case import EVALUATE, Case
from .correct import Array, Informed
from .mutant import Bugs

quiet_bugs = Bugs("identity", causes=True)
EVALUATION = "evaluation_identity evaluation_gradient search"
ZERO = "zero_drop_prob_identity evaluation_gradient search"


class DropsSome(Informed):
    """Drops in evaluation, in some calls."""

    def drops(self) -> bool:
        raise NotImplementedError

    def is_identity(self, p: float, training: bool, /) -> bool:
        return p == 0 or (not training and not self.drops())


@quiet_bugs.plant(
    "drops in evaluation with a drop_prob of at most 0.1", EVALUATION, at=Case((4, 8, 28, 28), 7, 0.1, training=False)
)
class SmallDropProbInEvaluation(DropsSome):
    def drops(self) -> bool:
        return self.p <= 0.1


@quiet_bugs.plant("drops in evaluation where the block is one cell", EVALUATION, at=Case(block_size=1, training=False))
class BlockOfOneInEvaluation(DropsSome):
    def drops(self) -> bool:
        return set(self.block.size) == {1}


@quiet_bugs.plant("drops in evaluation where the block is the map", EVALUATION, at=Case(block_size=9, training=False))
class BlockOfMapInEvaluation(DropsSome):
    def drops(self) -> bool:
        return self.block.size == self.x.shape[2:]


@quiet_bugs.plant("drops in evaluation with drop_prob 1", EVALUATION, at=Case(drop_prob=1.0, training=False))
class DropProbOneInEvaluation(DropsSome):
    def drops(self) -> bool:
        return self.p == 1


@quiet_bugs.plant(
    "drops in evaluation on maps of 14 and more", EVALUATION, at=Case((4, 8, 28, 28), 7, 0.1, training=False)
)
class LargeMapsInEvaluation(DropsSome):
    def drops(self) -> bool:
        return all(S >= 14 for S in self.x.shape[2:])


@quiet_bugs.plant(
    "drops in evaluation in a batch of more than 20 samples", EVALUATION, at=Case((24, 3, 9, 9), training=False)
)
class ManySamplesInEvaluation(DropsSome):
    def drops(self) -> bool:
        return len(self.x) > 20


@quiet_bugs.plant("drops in evaluation with an even block", EVALUATION, at=Case(block_size=4, training=False))
class EvenBlockInEvaluation(DropsSome):
    def drops(self) -> bool:
        return any(b % 2 == 0 for b in self.block.size)


@quiet_bugs.plant(
    "drops in evaluation in float64",
    EVALUATION,
    dtypes=("float32", "float64"),
    at=Case(dtype="float64", training=False),
)
class DoubleInEvaluation(DropsSome):
    def drops(self) -> bool:
        return self.x.dtype == np.float64


@quiet_bugs.plant(
    "drops in evaluation with one channel",
    EVALUATION,
    ndims=(3,),
    data_format="channels_last",
    at=Case((2, 1, 5, 5, 5), training=False),
)
class OneChannelInEvaluation(DropsSome):
    def drops(self) -> bool:
        return bool(self.x.shape[1] == 1)


@quiet_bugs.plant(
    "evaluation draws from the stream, though it drops nothing",
    "evaluation_stream",
    first="evaluation_stream",
    reported=True,
    at=Case(seeds=(3, EVALUATE, None)),
)
class EvaluationDraws(Informed):
    def is_identity(self, p: float, training: bool, /) -> bool:
        if not training:
            self.stream.random(17)
        return super().is_identity(p, training)


class ChangesSome(Informed):
    """The identity is none for some values."""

    evaluation = True

    def change(self, x: Array, /) -> Array:
        raise NotImplementedError

    def changed(self, x: Array, /) -> Array:
        if self.training == self.evaluation:
            return x.copy()
        with np.errstate(all="ignore"):
            return self.change(x).astype(x.dtype)

    def identity(self, x: Array, /) -> Array:
        return self.changed(x)


@quiet_bugs.plant(
    "evaluation flushes tiny numbers to 0",
    "evaluation_identity special_values search",
    at=Case(values="tiny", training=False),
)
class TinyFlushedInEvaluation(ChangesSome):
    def change(self, x: Array, /) -> Array:
        return np.where(np.abs(x) < 1e-30, 0, x)


@quiet_bugs.plant(
    "evaluation makes zeros of NaN",
    "evaluation_identity special_values search",
    at=Case(values="special", training=False),
)
class NanReplacedInEvaluation(ChangesSome):
    def change(self, x: Array, /) -> Array:
        return np.where(np.isnan(x), 0, x)


@quiet_bugs.plant(
    "evaluation clips to [-1e4, 1e4]",
    "evaluation_identity special_values search",
    at=Case(values="large", training=False),
)
class ClippedInEvaluation(ChangesSome):
    def change(self, x: Array, /) -> Array:
        return np.clip(x, -1e4, 1e4)


@quiet_bugs.plant(
    "with drop_prob 0 infinities and NaN become NaN, as if multiplied by 0 somewhere",
    "zero_drop_prob_identity special_values search",
    at=Case(values="special", drop_prob=0.0),
)
class InfinityLostAtDropProbZero(ChangesSome):
    evaluation = False

    def change(self, x: Array, /) -> Array:
        return np.asarray(x + 0 * x)


@quiet_bugs.plant("evaluation differs from x by one ulp", "evaluation_identity", at=Case(training=False))
class OneUlpInEvaluation(ChangesSome):
    def change(self, x: Array, /) -> Array:
        return np.asarray(np.nextafter(x, np.copysign(x.dtype.type(np.inf), x)))


@quiet_bugs.plant(
    "with drop_prob 0 float64 differs from x by one ulp",
    "zero_drop_prob_identity",
    dtypes=("float64",),
    at=Case(drop_prob=0.0),
)
class OneUlpAtDropProbZero(OneUlpInEvaluation):
    evaluation = False


@quiet_bugs.plant(
    "with drop_prob 0 the output is scaled by 1 + 1e-6 on maps of 14 and more", ZERO, at=Case((2, 3, 28, 28), 7, 0.0)
)
class LargeMapsScaledAtDropProbZero(ChangesSome):
    evaluation = False

    def change(self, x: Array, /) -> Array:
        return x * (1 + 1e-6) if min(x.shape[2:]) >= 14 else x


@quiet_bugs.plant(
    "evaluation after training still drops what training dropped last",
    "evaluation_identity search",
    first="evaluation_identity search",
    at=Case(seeds=(3, EVALUATE)),
)
class LastMaskInEvaluation(Informed):
    last: Array | None = None

    def identity(self, x: Array, /) -> Array:
        same = self.last is not None and self.last.shape == x.shape and not self.training
        return x * self.last if same and self.last is not None else x.copy()

    def multiply(self, x: Array, mask: Array, scale: object, /) -> Array:
        self.last = mask
        return super().multiply(x, mask, scale)  # type: ignore[arg-type]
