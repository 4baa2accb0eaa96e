import torch
from timm.layers import drop_block_2d

for size, gamma_scale in ((28, 1), (14, 1), (7, 1), (28, 0.7386), (14, 0.4477), (7, 0.0378)):
    x = torch.ones(20000, 1, size, size)
    torch.manual_seed(0)
    y = drop_block_2d(x, drop_prob=0.1, block_size=7, gamma_scale=gamma_scale)
    print(f"{size:2d}x{size:<2d} with gamma_scale={gamma_scale:<6}: {100 * (y == 0).double().mean():4.1f} % dropped")
