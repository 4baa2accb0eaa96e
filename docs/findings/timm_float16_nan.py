import torch
from timm.layers import DropBlock2d

layer = DropBlock2d(drop_prob=0.1, block_size=7)
for samples in (1, 2):
    x = torch.ones(samples, 64, 7, 7, dtype=torch.float16)
    torch.manual_seed(0)
    nan = sum(bool(layer(x).isnan().all()) for _ in range(1000))
    torch.manual_seed(0)
    zero = sum(not layer(x.float()).any() for _ in range(1000))
    print(f"samples {samples}: {nan} of 1000 are NaN, in float32 {zero} are zeros")
