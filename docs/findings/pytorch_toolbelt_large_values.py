import torch
from pytorch_toolbelt.modules.dropblock import DropBlock2D, DropBlock3D

for layer, shape in ((DropBlock2D(0.1, 3), (16, 1, 64, 64)), (DropBlock3D(0.1, 3), (16, 1, 16, 16, 16))):
    x = torch.full(shape, 1e34)
    torch.manual_seed(0)
    y = layer(x)
    torch.manual_seed(0)
    scaled = layer(x * 1e-34) * 1e34
    print(f"{type(layer).__name__}: 1e34 becomes {y.max():.2e}; scaled down and up again {scaled.max():.2e}")
