"""Algorithm 1 of the paper as a whole, its stages, and its derivative."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arguments import check_boolean, check_flag, check_floating, check_instance, check_probability, describe
from .convention import PAPER, Convention, find_convention
from .dilation import drop_blocks
from .geometry import PlacedBlock, place_block
from .layout import find_layout
from .normalization import scale
from .picture import picture, telling_cell
from .seed_probability import gamma
from .seeds import check_eligible, mask_shape, sample_seeds


@dataclass(frozen=True, eq=False, repr=False)
class Trace:
    """Every stage of one application of DropBlock, as `trace` returns it.

    Attributes
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
    data_format : str or None
        Order of the axes; None if the Trace was not made by `trace`. No argument of Trace, as `block` is none.
    block : PlacedBlock or None
        How a block lies around its seed, after clipping; None as before.

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
    data_format: str | None = field(default=None, init=False)
    block: PlacedBlock | None = field(default=None, init=False)

    def __repr__(self) -> str:
        output, mask, seeds = np.asarray(self.output), np.asarray(self.keep_mask), np.asarray(self.seeds)
        number, factors = int(np.count_nonzero(seeds)), np.unique(np.asarray(self.scale, dtype=np.float64))
        dropped = 100 * (mask.size - np.count_nonzero(mask)) / max(mask.size, 1)
        scales = " to ".join(f"{factor:.6g}" for factor in factors[[0, -1][: factors.size]]) or "of no sample"
        facts = (
            f"Trace: output {output.shape} {output.dtype}, gamma {self.gamma:.6g}, {number} seed{'s' * (number != 1)}, "
            f"{dropped:.3g} % of cells dropped, scale {scales}"
        )
        if self.data_format is None or mask.size == 0:
            return facts
        first = find_layout(self.data_format, mask.shape, "keep_mask").map_index(0, 0)
        shown = picture(mask[first], {"o": seeds[first]}, telling_cell(mask[first]))
        return f"{facts}\nsample 0, channel 0 (. kept, # dropped, o seed):\n{shown}"


def drop_block(
    x: Any,
    drop_prob: Any,
    block_size: Any,
    *,
    rng: np.random.Generator | int | None = None,
    seeds: Any = None,
    training: bool = True,
    data_format: str = "channels_first",
    convention: Convention | str = PAPER,
) -> NDArray[Any]:
    """Drop blocks of a feature map and scale what is kept.

    Parameters
    ----------
    x : array_like of float16, bfloat16 (of ml_dtypes), float32 or float64
        Feature maps, 4 or 5 dimensions: batch, channels and (H, W) or (D, H, W), in the order of `data_format`.
        Whatever `numpy.asarray` converts. Never modified.
    drop_prob : float
        Nominal probability that a unit is dropped, in [0, 1]; 1 - keep_prob of the paper.
    block_size : int or sequence of int
        Side of the block in cells, at least 1; one int per spatial axis, or one for all.
    rng : numpy.random.Generator or int, optional
        Source of the seeds; an int stands for ``numpy.random.default_rng(int)``.
    seeds : array_like of bool, optional
        The seeds themselves, instead of `rng`: of x's shape (1 on the channel axis where the convention shares masks),
        True only on eligible cells. `gamma` then has no influence.
    training : bool
        False is the identity.
    data_format : {"channels_first", "channels_last", "NCHW", "NHWC", "NCDHW", "NDHWC"}
        Order of the axes.
    convention : Convention or str
        The choices to follow, or their name in `CONVENTIONS`.

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
    Algorithm 1 of the paper (arXiv:1810.12890).

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
    return trace(
        x,
        drop_prob,
        block_size,
        rng=rng,
        seeds=seeds,
        training=training,
        data_format=data_format,
        convention=convention,
    ).output


def trace(
    x: Any,
    drop_prob: Any,
    block_size: Any,
    *,
    rng: np.random.Generator | int | None = None,
    seeds: Any = None,
    training: bool = True,
    data_format: str = "channels_first",
    convention: Convention | str = PAPER,
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
    x = check_floating(x, "x")
    convention = find_convention(convention)
    layout = find_layout(data_format, x.shape, "x")
    spatial_shape = layout.spatial_shape(x.shape)
    shape = mask_shape(x.shape, layout, convention)
    block = place_block(block_size, spatial_shape, convention)  # refused in every mode, not only once training begins
    drop_prob = check_probability(drop_prob, "drop_prob")
    if not check_flag(training, "training") or drop_prob == 0:
        identity = Trace(0.0, np.zeros(shape, dtype=np.bool_), np.ones(shape, dtype=np.bool_), 1.0, x.copy())
        return _placed(identity, data_format, block)

    seed_prob = gamma(drop_prob, block_size, spatial_shape, convention=convention)
    if (rng is None) == (seeds is None):
        given = "neither" if rng is None else "both"
        raise ValueError(f"exactly one of rng and seeds must be given when training with drop_prob > 0, got {given}")
    if rng is not None:
        seeds = sample_seeds(seed_prob, block_size, x.shape, rng=rng, data_format=data_format, convention=convention)
    else:
        seeds = check_boolean(seeds, "seeds").copy()
        if seeds.shape != shape:
            raise ValueError(
                f"seeds must have shape {shape}, which convention {convention.name!r} samples for x of shape "
                f"{x.shape}; got shape {seeds.shape}"
            )
        check_eligible(seeds, block, layout, convention)
    mask = drop_blocks(seeds, block, layout)
    factor = scale(mask, data_format=data_format, convention=convention)
    return _placed(Trace(seed_prob, seeds, mask, factor, _product(x, mask, factor)), data_format, block)


def _placed(trace: Trace, data_format: str, block: PlacedBlock) -> Trace:
    """The new trace, which now knows how its maps and blocks lie; frozen for everybody else."""
    object.__setattr__(trace, "data_format", data_format)
    object.__setattr__(trace, "block", block)
    return trace


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
    return _product(cotangent, check_boolean(trace.keep_mask, "trace.keep_mask"), trace.scale, output.dtype)


def _product(
    x: NDArray[Any], mask: NDArray[np.bool_], factor: float | NDArray[np.float64], dtype: np.dtype[Any] | None = None
) -> NDArray[Any]:
    """x * mask * factor in `dtype` (x's by default); half precision is computed in float32 and rounded once."""
    dtype = x.dtype if dtype is None else dtype
    compute = np.dtype(np.float64 if dtype.name == "float64" else np.float32)
    # Infinities and NaN are legal input, and a large kept value may leave the dtype's range: the product as it is.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        # M is 0 or 1: M * scale is exact, so the product is rounded once, as in the order of the paper.
        weights = mask.astype(compute)
        weights *= np.asarray(factor, dtype=compute)
        out = weights if weights.shape == x.shape else None  # where masks are shared, they are smaller
        product: NDArray[Any] = np.multiply(x, weights, dtype=compute, out=out)
        return product.astype(dtype, copy=False)
