import torch
from pytorch_toolbelt.modules.dropblock import DropBlock2D, DropBlock3D

for DropBlock, spatial_shape in ((DropBlock2D, (64, 64)), (DropBlock3D, (16, 16, 16))):
    layer, x = DropBlock(0.1, 3), torch.full((16, 1, *spatial_shape), 1e34)
    torch.manual_seed(0)
    y = layer(x)
    torch.manual_seed(0)
    scaled = layer(x * 1e-34) * 1e34
    print(f"{DropBlock.__name__}: 1e34 becomes {y.max():.2e}")
    print(f"  scaled down and up again: {scaled.max():.2e}")
