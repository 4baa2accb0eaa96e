"""Tensors of other frameworks as arguments of the reference: what numpy.asarray converts, and words for the rest."""

from __future__ import annotations

import numpy as np
import pytest

from dropblock_ref import drop_block, keep_mask, trace, vjp


def test_torch_tensors_are_accepted() -> None:
    import torch

    x = torch.ones(2, 3, 8, 8)
    seeds = torch.zeros(2, 3, 8, 8, dtype=torch.bool)
    seeds[0, 0, 4, 4] = True
    y = drop_block(x, 0.1, 3, seeds=seeds)
    assert type(y) is np.ndarray
    assert y.dtype == np.float32
    assert np.array_equal(y != 0, keep_mask(seeds, 3))
    assert x.min() == 1  # not modified
    stages = trace(x, 0.1, 3, seeds=seeds)
    assert np.array_equal(vjp(x, stages), y)


def test_a_torch_tensor_that_requires_grad_is_refused_with_what_to_do() -> None:
    import torch

    with pytest.raises(TypeError, match=r"x must be an array .*requires grad.*x\.detach\(\)\.cpu\(\)\.numpy\(\)"):
        drop_block(torch.ones(1, 1, 4, 4, requires_grad=True), 0.1, 3, rng=0)


def test_a_torch_tensor_of_bfloat16_is_refused_by_its_name() -> None:
    import torch

    with pytest.raises(TypeError, match=r"x must be an array that numpy\.asarray converts.*BFloat16"):
        drop_block(torch.ones(1, 1, 4, 4, dtype=torch.bfloat16), 0.1, 3, rng=0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_tensorflow_and_jax_arrays_keep_their_dtype(dtype: str) -> None:
    import jax.numpy as jnp
    import tensorflow as tf

    for x in (tf.ones((1, 1, 4, 4), dtype), jnp.ones((1, 1, 4, 4), dtype)):
        assert drop_block(x, 0.1, 3, rng=0).dtype.name == dtype
