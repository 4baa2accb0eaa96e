import torch
from dropblock import DropBlock2D

drop = DropBlock2D(drop_prob=0.1, block_size=3)
convolution = torch.nn.Conv2d(8, 8, 3).half()
x = torch.ones(1, 8, 14, 14, dtype=torch.float16)
print("evaluation:", convolution(drop.eval()(x)).dtype)
try:
    convolution(drop.train()(x))
except RuntimeError:
    print("training:", drop(x).dtype, "and RuntimeError in the convolution")
print("training, with .to(x.dtype):", convolution(drop(x).to(x.dtype)).dtype)
