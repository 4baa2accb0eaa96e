import torch
from torchvision.ops import DropBlock2d

layer = DropBlock2d(p=0.1, block_size=7)
for dtype in (torch.float16, torch.bfloat16):
    for computed_in in (dtype, torch.float32):
        errors = []
        for size in range(64, 182, 2):
            torch.manual_seed(size)
            x = torch.rand(1, 1, size, size).add(0.5).to(dtype)
            y = layer(x.to(computed_in)).to(dtype).double()
            kept = y != 0
            applied = y.sum() / x.double()[kept].sum()
            errors.append(abs(applied * kept.sum() / kept.numel() - 1))
        print(f"{dtype}, computed in {computed_in}: {100 * max(errors):.2f} % off")
