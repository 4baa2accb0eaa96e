import numpy as np
import torch
from pytorch_toolbelt.modules.dropblock import DropBlock2D, DropBlockScheduled

x = torch.ones(1, 1, 8, 8)
options = {"start_value": 0.05, "stop_value": 0.25, "nr_steps": 5}
layer = DropBlockScheduled(DropBlock2D(0, 3), **options)
print("step  scheduled  by hand")
for step, by_hand in enumerate(np.linspace(0.05, 0.25, num=5)):
    layer(x)
    print(f"{step}     {layer.dropblock.drop_prob:.2f}       {by_hand:.2f}")
resumed = DropBlockScheduled(DropBlock2D(0, 3), **options)
resumed.load_state_dict(layer.state_dict())
resumed(x)
print(f"5     {resumed.dropblock.drop_prob:.2f}       (loaded from the state_dict)")
