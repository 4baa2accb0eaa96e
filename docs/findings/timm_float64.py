import torch
from timm.layers import DropBlock2d

torch.manual_seed(0)
x = torch.ones(1, 1, 64, 64, dtype=torch.float64)
y = DropBlock2d(drop_prob=0.1, block_size=7)(x)
kept = y != 0
print(f"scale {y.max():.12f}, counted {kept.numel() / int(kept.sum()):.12f}")
