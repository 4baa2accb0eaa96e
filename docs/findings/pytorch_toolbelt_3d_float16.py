import torch
from pytorch_toolbelt.modules.dropblock import DropBlock3D

layer = DropBlock3D(drop_prob=0.1, block_size=5)
for side, value in ((16, 10), (16, 20), (48, 2), (48, 0.5)):
    x = torch.full((1, 8, side, side, side), value, dtype=torch.float16)
    torch.manual_seed(0)
    y = layer(x).max().item()
    torch.manual_seed(0)
    correct = layer(x.float()).to(x.dtype).max().item()
    print(f"{side}x{side}x{side}: {value} becomes {y:.2f}, in float32 {correct:.2f}")
