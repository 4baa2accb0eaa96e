import numpy as np
from keras_cv.layers import DropBlock2D

x = np.ones((1, 60, 60, 1), dtype=np.float64)
y = np.asarray(DropBlock2D(0.1, block_size=7, seed=0, dtype="float64")(x, training=True))
kept = y != 0
print(f"{y.dtype}: scale {y.max():.12f}, counted {kept.size / kept.sum():.12f}")
