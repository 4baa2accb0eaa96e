"""Stands for the package that docs/contributing.md adds: blockdrop 1.2.0."""

from __future__ import annotations

import torch


def drop_block(x: torch.Tensor, drop_prob: float, block_size: int, *, training: bool) -> torch.Tensor:
    if not 0 <= drop_prob <= 1 or not isinstance(block_size, int) or block_size < 1:
        raise ValueError(f"drop_prob {drop_prob}, block_size {block_size}")
    if not training or drop_prob == 0:
        return x.clone()
    sides = [min(block_size, side) for side in x.shape[2:]]
    seeds = (torch.rand(x.shape) < drop_prob / (sides[0] * sides[1])).float()
    padding = [side // 2 for side in sides]
    dropped = torch.nn.functional.max_pool2d(seeds, sides, stride=1, padding=padding)[..., : x.shape[2], : x.shape[3]]
    kept = 1 - dropped
    count = kept.double().sum(dim=(1, 2, 3), keepdim=True)
    scale = torch.where(count > 0, x[:1].numel() / count, 0.0)
    return (x.to(scale.dtype) * scale).to(x.dtype) * kept.to(x.dtype)
