import torch
from timm.layers import drop_block_2d

for samples in (1, 2):
    x = torch.ones(samples, 64, 7, 7, dtype=torch.float16)
    torch.manual_seed(0)
    nan = sum(bool(drop_block_2d(x, drop_prob=0.1, block_size=7).isnan().all()) for _ in range(1000))
    torch.manual_seed(0)
    zero = sum(not drop_block_2d(x.float(), drop_prob=0.1, block_size=7).any() for _ in range(1000))
    print(f"samples {samples}: {nan} of 1000 outputs are NaN; in float32 {zero} are zeros")
