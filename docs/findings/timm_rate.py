import torch
from timm.layers import drop_block_2d

for gamma_scales in ((1, 1, 1), (0.7386, 0.4477, 0.0378)):
    for size, gamma_scale in zip((28, 14, 7), gamma_scales, strict=True):
        x = torch.ones(20000, 1, size, size)
        torch.manual_seed(0)
        y = drop_block_2d(x, 0.1, block_size=7, gamma_scale=gamma_scale)
        dropped = 100 * (y == 0).double().mean()
        print(f"{size}x{size}, gamma_scale={gamma_scale}: {dropped:.1f} % dropped")
