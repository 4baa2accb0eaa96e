import torch
from pytorch_toolbelt.modules.dropblock import DropBlock2D

layer = DropBlock2D(drop_prob=0.1, block_size=7)
for batch in (32, 64):
    x = torch.ones(batch, 1, 128, 128, dtype=torch.float16)
    torch.manual_seed(0)
    y = layer(x)
    torch.manual_seed(0)
    correct = layer(x.float()).to(x.dtype)
    print(f"batch {batch}: {y.count_nonzero():6d} of {x.numel()} values are not zero")
    print(f"   float32: {correct.count_nonzero():6d}")
