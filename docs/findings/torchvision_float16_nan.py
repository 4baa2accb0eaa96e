import torch
from torchvision.ops import drop_block2d

for channels in (1, 2):
    x = torch.ones(1, channels, 7, 7, dtype=torch.float16)
    torch.manual_seed(0)
    nan = sum(bool(drop_block2d(x, p=0.1, block_size=7).isnan().all()) for _ in range(1000))
    torch.manual_seed(0)
    zero = sum(not drop_block2d(x.float(), p=0.1, block_size=7).any() for _ in range(1000))
    print(f"channels {channels}: {nan} of 1000 outputs are NaN; in float32 {zero} are zeros")
