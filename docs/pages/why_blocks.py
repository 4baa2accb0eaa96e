"""The experiment of why_blocks.md: how well dropped cells can be restored from the cells that are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from blocks import table
from matplotlib import cbook
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import spsolve

from dropblock_ref import keep_mask, sample_seeds
from dropblock_ref.theory import calibrated_gamma

DROP_PROB = 0.2
BLOCK_SIZES = (1, 2, 3, 5, 7, 9, 11, 13, 15)
DRAWS = 20
ANGLES = (0, 45, 90, 135)  # degrees
FINE, COARSE = 2.0, 8.0  # standard deviation of the filters, pixels


@cache
def pixels() -> np.ndarray:
    """The middle 512x512 pixels of the photograph, gray, from 0 to 1."""
    with Image.open(cbook.get_sample_data("grace_hopper.jpg")) as image:
        gray = np.asarray(image.convert("L"), dtype=np.float64) / 255
    return gray[:512, :512]


def pooled(image: np.ndarray, side: int) -> np.ndarray:
    """Means over squares of `side` pixels."""
    H, W = image.shape
    return image.reshape(H // side, side, W // side, side).mean(axis=(1, 3))


@cache
def photograph() -> np.ndarray:
    """128x128 cells, means of 4x4 pixels; four times, each for a mask of its own."""
    return np.repeat(pooled(pixels(), 4)[None], 4, axis=0)


@cache
def feature_maps(sigma: float) -> np.ndarray:
    """Four maps of 64x64 cells: derivatives of a Gaussian in four directions, rectified, and means of 8x8 pixels."""
    down, right = (gaussian_filter(pixels(), sigma, order=order) for order in ((1, 0), (0, 1)))
    radians = np.deg2rad(ANGLES)
    return np.stack([pooled(np.maximum(np.cos(a) * right + np.sin(a) * down, 0), 8) for a in radians])


@cache
def white_noise() -> np.ndarray:
    """Four maps of 64x64 independent normal numbers."""
    return np.random.default_rng(0).normal(size=(4, 64, 64))


MAPS: dict[str, Callable[[], np.ndarray]] = {
    "photograph": photograph,
    "coarse features": partial(feature_maps, COARSE),
    "fine features": partial(feature_maps, FINE),
    "white noise": white_noise,
}


def masks(shape: tuple[int, ...], block_size: int, seed: int) -> np.ndarray:
    """One keep mask per map; the expected dropped fraction is exactly DROP_PROB, whatever the block."""
    gamma = calibrated_gamma(DROP_PROB, block_size, shape[1:])
    seeds = sample_seeds(gamma, block_size, (1, *shape), rng=seed)
    return keep_mask(seeds, block_size)[0]


def restored(image: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Make every dropped cell the mean of its neighbours, as in a membrane held at the kept cells."""
    number = np.full(image.shape, -1)
    number[~kept] = np.arange(np.count_nonzero(~kept))
    neighbours, sums, pairs = np.zeros(image.shape), np.zeros(image.shape), []
    for axis in (0, 1):
        first = tuple(slice(None, -1) if k == axis else slice(None) for k in (0, 1))
        second = tuple(slice(1, None) if k == axis else slice(None) for k in (0, 1))
        for here, there in ((first, second), (second, first)):
            neighbours[here] += 1
            sums[here] += np.where(kept, image, 0)[there]
            both = (number[here] >= 0) & (number[there] >= 0)
            pairs.append(np.stack([number[here][both], number[there][both]]))
    rows, columns = np.concatenate(pairs, axis=1)
    unknowns = np.count_nonzero(~kept)
    links = coo_array((np.ones(rows.size), (rows, columns)), shape=(unknowns, unknowns))
    filled = image.copy()
    filled[~kept] = spsolve((diags_array(neighbours[~kept]) - links).tocsc(), sums[~kept])
    return filled


def explained(maps: np.ndarray, kept: np.ndarray) -> float:
    """R^2: 1 for a perfect restoration, 0 for one that is as good as the mean of the kept cells."""
    error = guess = 0.0
    for image, keeps in zip(maps, kept, strict=True):
        if not keeps.all():
            error += float(np.sum((restored(image, keeps) - image)[~keeps] ** 2))
            guess += float(np.sum((image[keeps].mean() - image)[~keeps] ** 2))
    return 1 - error / guess


@dataclass(frozen=True)
class Result:
    """Mean and standard deviation of R^2 over the draws, and the mean fraction of dropped cells."""

    mean: float
    spread: float
    dropped: float


@cache
def results(kind: str, block_size: int) -> Result:
    """Restore the four maps of a kind under DRAWS draws of four masks."""
    maps = MAPS[kind]()
    drawn = [masks(maps.shape, block_size, draw) for draw in range(DRAWS)]
    fractions = [explained(maps, kept) for kept in drawn]
    return Result(float(np.mean(fractions)), float(np.std(fractions, ddof=1)), 1 - float(np.mean(drawn)))


def explained_table() -> None:
    """Write R^2 of each kind of map for each block size."""
    rows = []
    for b in BLOCK_SIZES:
        found = [results(kind, b) for kind in MAPS]
        rows.append([b, *(f"{r.mean:.2f} ± {r.spread:.2f}" for r in found), f"{found[0].dropped:.3f}"])
    table(["block", *MAPS, "dropped (photograph)"], rows)
