import numpy as np
from keras_cv.layers import DropBlock2D

x = np.ones((1, 5, 5, 20000), dtype="float32")
for block_size in (5, 6, 7, 8, (7, 3)):
    y = np.asarray(DropBlock2D(0.1, block_size, seed=0)(x, training=True))
    dropped, nan = 100 * (y == 0).mean(), 100 * np.isnan(y).mean()
    print(f"block {block_size} on 5x5: {dropped:4.1f} % dropped, {nan:.0f} % NaN")
