import torch
from torchvision.ops import DropBlock2d

layer = DropBlock2d(p=0.1, block_size=7)
for channels in (1, 2):
    x = torch.ones(1, channels, 7, 7, dtype=torch.float16)
    torch.manual_seed(0)
    nan = sum(bool(layer(x).isnan().all()) for _ in range(1000))
    torch.manual_seed(0)
    zero = sum(not layer(x.float()).any() for _ in range(1000))
    print(f"channels {channels}: {nan} of 1000 are NaN, in float32 {zero} are zeros")
