import numpy as np
from keras_cv.layers import DropBlock2D

layer = DropBlock2D(0.1, block_size=7, seed=0, dtype="float64")
y = np.asarray(layer(np.ones((1, 60, 60, 1)), training=True))
kept = y != 0
print(f"scale {y.max():.12f}, counted {kept.size / kept.sum():.12f}")
