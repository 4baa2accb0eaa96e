import inspect

import numpy as np
import tensorflow as tf
from keras_cv.src.layers.regularization import dropblock_2d

source = inspect.getsource(dropblock_2d)
source = source.replace("h_i < width", "h_i < height")
source = source.replace("int(dropblock_height // 2)", "dropblock_height // 2")
source = source.replace("int(dropblock_width // 2)", "dropblock_width // 2")
source = source.replace("(width - self._drop", "(width - drop")
source = source.replace("(height - self._drop", "(height - drop")
exec(source, corrected := {})  # noqa: S102

maps = ((28, 14), 7), ((14, 28), 7), ((5, 5), 6), ((5, 5), 8), ((5, 5), (7, 3))
for shape, block_size in maps:
    layer = corrected["DropBlock2D"](0.1, block_size, seed=0)
    x = np.ones((1, *shape, 2000), dtype="float32")
    y = np.asarray(tf.function(layer)(x, training=True))
    rows = (y == 0).mean(axis=(0, 2, 3))
    print(f"block {block_size} on {shape}: dropped per row, in percent")
    print("  ", *(f"{100 * rate:.0f}" for rate in rows))
