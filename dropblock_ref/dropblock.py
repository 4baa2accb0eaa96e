"""Algorithm 1 of the paper as a whole, every stage of it, and its derivative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import fast, rules
from .algorithm import Block
from .arguments import (
    as_array,
    check_boolean,
    check_flag,
    check_floating,
    check_instance,
    check_probability,
    check_rng,
    describe,
)
from .call import Call, check_eligible, check_fits, documented, find_layout, resolve
from .convention import Convention
from .picture import picture, telling_cell


@dataclass(frozen=True, eq=False, repr=False)
class Trace:
    """Every stage of one application of DropBlock, as `trace` returns it.

    Parameters
    ----------
    gamma : float
        Probability that an eligible cell is a seed; 0 where DropBlock is the identity.
    seeds : ndarray of bool
        True = a block is centred here; 1 on the channel axis where the convention shares masks over channels.
    keep_mask : ndarray of bool, shape of `seeds`
        True = kept.
    scale : float, or ndarray of float64 that broadcasts over `keep_mask`
        Factor on kept cells.
    output : ndarray, shape and dtype of x
        ``x * keep_mask * scale``.
    data_format : str
        Order of the axes of these arrays.
    block : Block
        How a block lies around its seed on the map, after clipping: `size`, `before`, `after`, `eligible`.

    Examples
    --------
    As text it shows its first map, of a volume the slice with the most dropped cells, and of a large map a part:

    >>> import numpy as np
    >>> from dropblock_ref import trace
    >>> trace(np.ones((1, 1, 4, 4), dtype=np.float32), 0.3, 2, rng=4)
    Trace: output (1, 1, 4, 4) float32, gamma 0.133333, 1 seed, 25 % of cells dropped, scale 1.33333
    sample 0, channel 0 (. kept, # dropped, o seed):
    ....
    ##..
    #o..
    ....
    """

    gamma: float
    seeds: NDArray[np.bool_]
    keep_mask: NDArray[np.bool_]
    scale: float | NDArray[np.float64]
    output: NDArray[Any]
    data_format: str
    block: Block

    def __repr__(self) -> str:
        number, factors = int(np.count_nonzero(self.seeds)), np.unique(self.scale)
        dropped = 100 * (self.keep_mask.size - np.count_nonzero(self.keep_mask)) / max(self.keep_mask.size, 1)
        scales = " to ".join(f"{factor:.6g}" for factor in factors[[0, -1][: factors.size]]) or "of no sample"
        facts = (
            f"Trace: output {self.output.shape} {self.output.dtype}, gamma {self.gamma:.6g}, "
            f"{number} seed{'s' * (number != 1)}, {dropped:.3g} % of cells dropped, scale {scales}"
        )
        if self.keep_mask.size == 0:
            return facts
        first = find_layout(self.data_format, self.keep_mask.shape, "keep_mask").map_index(0, 0)
        mask = self.keep_mask[first]
        shown = picture(mask, {"o": self.seeds[first]}, telling_cell(mask))
        return f"{facts}\nsample 0, channel 0 (. kept, # dropped, o seed):\n{shown}"


@documented
def drop_block(
    x: Any,
    drop_prob: Any,
    block_size: Any,
    *,
    rng: np.random.Generator | int | None = None,
    seeds: Any = None,
    training: bool = True,
    data_format: str = "channels_first",
    convention: Convention | str = "paper",
) -> NDArray[Any]:
    """Drop blocks of a feature map and scale what is kept.

    Parameters
    ----------
    x : array_like of float16, bfloat16 (of ml_dtypes), float32 or float64
        Feature maps, 4 or 5 dimensions: batch, channels and (H, W) or (D, H, W), in the order of `data_format`.
        Whatever `numpy.asarray` converts, and CPU tensors of torch in bfloat16. Never modified.
    {drop_prob}
    {block_size}
    rng : numpy.random.Generator or int, optional
        Source of the seeds; an int stands for ``numpy.random.default_rng(int)``.
    seeds : array_like of bool, optional
        The seeds themselves, instead of `rng`: of x's shape (1 on the channel axis where the convention shares masks),
        True only on eligible cells. `gamma` then has no influence.
    training : bool
        False is the identity.
    {data_format}
    {convention}

    Returns
    -------
    ndarray, shape and dtype of x
        Always a new array: ``x * keep_mask * scale``, or a copy of x where ``training=False`` or ``drop_prob=0``
        (`rng` and `seeds` are then ignored; all other arguments are judged as ever). float16 and bfloat16 are computed
        in float32 and rounded once. A dropped NaN or infinity becomes NaN, because it is a product; a kept value whose
        product leaves the range of the dtype becomes infinite.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, if not exactly one of `rng` and `seeds` is given, or the
        convention refuses the block on this map. The message names the argument, what was given and what is accepted.

    See Also
    --------
    trace : the same, with every stage.

    Notes
    -----
    Algorithm 1 of the paper (arXiv:1810.12890). Scalars may be 0-d arrays of any framework.

    {stream}

    Examples
    --------
    >>> import numpy as np
    >>> from dropblock_ref import drop_block
    >>> x = np.ones((1, 1, 4, 4), dtype=np.float32)
    >>> drop_block(x, 0.3, 2, rng=4)[0, 0]
    array([[1.3333334, 1.3333334, 1.3333334, 1.3333334],
           [0.       , 0.       , 1.3333334, 1.3333334],
           [0.       , 0.       , 1.3333334, 1.3333334],
           [1.3333334, 1.3333334, 1.3333334, 1.3333334]], dtype=float32)
    """
    x, p, call, source = _judge(x, drop_prob, block_size, rng, seeds, training, data_format, convention)
    if source is None:
        return call.layout.outside(x.copy(order="K"))
    if isinstance(source, np.random.Generator):
        mask = fast.drop(rules.gamma(p, call.block, call.convention), call.block, call.like(x), source)
    else:
        mask = fast.keep_mask(source, call.block)
    return call.layout.outside(fast.multiply(x, mask, rules.scale(mask, p, call.convention)))


@documented
def trace(
    x: Any,
    drop_prob: Any,
    block_size: Any,
    *,
    rng: np.random.Generator | int | None = None,
    seeds: Any = None,
    training: bool = True,
    data_format: str = "channels_first",
    convention: Convention | str = "paper",
) -> Trace:
    """`drop_block` with every stage: gamma, seeds, keep mask, scale, output.

    Parameters
    ----------
    x, drop_prob, block_size, rng, seeds, training, data_format, convention
        As for `drop_block`.

    Returns
    -------
    Trace
        Where DropBlock is the identity: gamma 0, no seeds, all kept, scale 1, and a copy of x.

    Raises
    ------
    TypeError, ValueError
        As for `drop_block`.

    Notes
    -----
    Algorithm 1 of the paper (arXiv:1810.12890), line by line.

    Examples
    --------
    >>> import numpy as np
    >>> from dropblock_ref import trace
    >>> t = trace(np.ones((1, 1, 4, 4)), 0.3, 2, rng=4)
    >>> round(t.gamma, 4), int(t.seeds.sum()), int(t.keep_mask.sum()), t.scale
    (0.1333, 1, 12, 1.3333333333333333)
    """
    x, p, call, source = _judge(x, drop_prob, block_size, rng, seeds, training, data_format, convention)
    like, outside = call.like(x), call.layout.outside
    seed_prob = 0.0
    factor: float | NDArray[np.float64] = 1.0
    if source is None:
        seeds, mask, output = np.zeros_like(like, dtype=np.bool_), np.ones_like(like, dtype=np.bool_), x.copy(order="K")
    else:
        seed_prob = rules.gamma(p, call.block, call.convention)
        if isinstance(source, np.random.Generator):
            seeds = fast.sample_seeds(seed_prob, call.block, like, source)
        else:
            seeds = source.copy(order="K")
        mask = fast.keep_mask(seeds, call.block)
        factor = rules.scale(mask, p, call.convention)
        output = fast.multiply(x, mask, factor)
    return Trace(seed_prob, outside(seeds), outside(mask), outside(factor), outside(output), data_format, call.block)


def _judge(
    x: Any,
    drop_prob: Any,
    block_size: Any,
    rng: Any,
    seeds: Any,
    training: Any,
    data_format: str,
    convention: Any,
) -> tuple[NDArray[Any], float, Call, np.random.Generator | NDArray[np.bool_] | None]:
    """x as (N, C, *map), drop_prob, the call, and a Generator or the seeds, or None where the output is x."""
    x = check_floating(x, "x")
    call = resolve(x.shape, block_size, data_format, convention)  # refused in every mode, not only once training begins
    p = check_probability(drop_prob, "drop_prob")
    inside = call.layout.inside(x)
    if not check_flag(training, "training") or p == 0:
        return inside, p, call, None
    if (rng is None) == (seeds is None):
        given = "neither" if rng is None else "both"
        raise ValueError(f"exactly one of rng and seeds must be given when training with drop_prob > 0, got {given}")
    if rng is not None:
        return inside, p, call, check_rng(rng)
    seeds = check_boolean(seeds, "seeds")
    if seeds.shape != call.shape:
        raise ValueError(
            f"seeds must have shape {call.shape}, which convention {call.convention.name!r} samples for x of shape "
            f"{x.shape}; got shape {seeds.shape}"
        )
    seeds = call.layout.inside(seeds)
    check_eligible(seeds, call)
    return inside, p, call, seeds


@documented
def vjp(cotangent: Any, trace: Trace) -> NDArray[Any]:
    """The derivative of `drop_block` with respect to x, applied to a cotangent; mask and scale are constants.

    Parameters
    ----------
    cotangent : array_like of float16, bfloat16, float32 or float64, shape of the output
        Derivative of a loss with respect to the output.
    trace : Trace
        What `trace` returned for x.

    Returns
    -------
    ndarray, shape and dtype of the output
        ``cotangent * keep_mask * scale``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, or the shapes differ.

    Notes
    -----
    The output of Algorithm 1 of the paper is linear in x once the mask is drawn, so this is the exact gradient.

    Examples
    --------
    >>> import numpy as np
    >>> from dropblock_ref import trace, vjp
    >>> t = trace(np.ones((1, 1, 4, 4)), 0.3, 2, rng=4)
    >>> float(vjp(np.ones((1, 1, 4, 4)), t).sum())
    16.0
    """
    trace = check_instance(trace, "trace", Trace, "a Trace, as dropblock_ref.trace returns it")
    cotangent, output = check_floating(cotangent, "cotangent"), check_floating(trace.output, "trace.output")
    if cotangent.shape != output.shape:
        raise ValueError(f"cotangent must have the output's shape {output.shape}, got {describe(cotangent)}")
    layout = find_layout(trace.data_format, output.shape, "trace.output")
    mask, factor = check_boolean(trace.keep_mask, "trace.keep_mask"), as_array(trace.scale, "trace.scale")
    if factor.dtype.kind != "f":
        raise TypeError(f"trace.scale must be a real number or a floating array, got {describe(trace.scale)}")
    check_fits(mask, "trace.keep_mask", output.shape, "trace.output", (0, layout.channel_axis))
    if factor.ndim:
        check_fits(factor, "trace.scale", mask.shape, "trace.keep_mask", range(mask.ndim))
        factor = layout.inside(factor)
    return layout.outside(fast.multiply(layout.inside(cotangent), layout.inside(mask), factor, output.dtype))
