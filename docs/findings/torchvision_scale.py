import torch
from torchvision.ops import drop_block2d

for dtype in (torch.float16, torch.bfloat16):
    for computed_in in (dtype, torch.float32):
        errors = []
        for size in range(64, 258, 2):
            torch.manual_seed(size)
            x = torch.rand(1, 1, size, size).add(0.5).to(dtype)
            y = drop_block2d(x.to(computed_in), p=0.1, block_size=7).to(dtype).double()
            kept = y != 0
            applied, counted = y.sum() / x.double()[kept].sum(), kept.numel() / kept.sum()
            errors.append(abs(applied / counted - 1))
        print(f"{dtype}, computed in {computed_in}: scale up to {100 * max(errors):.2f} % off")
