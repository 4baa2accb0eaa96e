import torch
from torchvision.ops import drop_block2d

for batch in (4, 8):
    x = torch.ones(batch, 64, 14, 14, dtype=torch.float16)
    torch.manual_seed(0)
    y = drop_block2d(x, p=0.1, block_size=7)
    torch.manual_seed(0)
    correct = drop_block2d(x.float(), p=0.1, block_size=7).to(x.dtype)
    print(f"batch {batch}: {y.count_nonzero():5d} of {x.numel()} values are not zero")
    print(f"  float32: {correct.count_nonzero():5d}")

with torch.autocast("cpu", dtype=torch.float16):
    x = torch.nn.Conv2d(3, 64, 1)(torch.ones(8, 3, 14, 14))
    y = drop_block2d(x, p=0.1, block_size=7)
    print(f"autocast: {y.count_nonzero()} values are not zero")
