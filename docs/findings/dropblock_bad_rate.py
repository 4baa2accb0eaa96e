import torch
from dropblock import DropBlock2D

for drop_prob in (-0.1, 0.1, 10):
    torch.manual_seed(0)
    y = DropBlock2D(drop_prob, block_size=7)(torch.ones(100, 1, 28, 28))
    print(f"drop_prob={drop_prob}: {100 * (y == 0).double().mean():5.1f} % dropped")
