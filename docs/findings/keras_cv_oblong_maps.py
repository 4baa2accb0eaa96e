import numpy as np
from keras_cv.layers import DropBlock2D

for height, width in ((28, 14), (14, 28)):
    x = np.ones((1, height, width, 2000), dtype="float32")
    y = np.asarray(DropBlock2D(0.1, block_size=7, seed=0)(x, training=True))
    rates = (y == 0).mean(axis=(0, 2, 3))  # of each row of cells
    print(f"{height}x{width}: dropped per row, in percent")
    print("  ", *(f"{100 * rate:.0f}" for rate in rates))
